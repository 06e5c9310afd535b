import { LOCAL_SETTINGS } from '../../src/upstreams/local/local-upstream.ts'

// Imported before the program (`node --import`): an embedded service with other settings than its users can give it.

Object.assign(LOCAL_SETTINGS, JSON.parse(process.env['SERVICE']!))
