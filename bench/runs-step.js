// Starts runs-tithe.ts as bin/tithe.js starts the program, and counts on the way how often the disk is asked to keep bytes.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { stopGrowing } from '../bin/memory.js'

let syncs = 0
const { fdatasync } = fs
fs.fdatasync = (fd, callback) => {
  syncs += 1
  fdatasync(fd, callback)
}
syncBuiltinESMExports()
await import('../src/wiring.ts')
await import('../src/runs/driver.ts')
stopGrowing()
const { takeStep } = await import('./runs-tithe.ts')
await takeStep(() => syncs)
