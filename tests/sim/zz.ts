import { runSeed } from './play-seed.ts'
const [from, n] = process.argv.slice(2).map(Number)
let t=performance.now()
for (let i=from!;i<from!+n!;i++) {
  const r = await runSeed(i)
  if (r.violations.length) console.log(i, r.kind, r.faults.join(';'), r.fired, r.redrawn, r.violations.slice(0,4).map(v=>v.slice(0,700)))
  else if (n===1) console.log(r)
}
console.log('ms per seed', (performance.now()-t)/n!)
