// Runs portal clients in Node: each line of stdin is an order, each line of stdout tells something.
import { createInterface } from 'node:readline'
import ws from 'ws'
import xhr2 from 'xhr2'
import { portal } from './portal.mjs'

globalThis.WebSocket = ws
globalThis.XMLHttpRequest = xhr2
const location = { href: 'http://portal.example/' }
globalThis.document = { location }
globalThis.window = { WebSocket: ws, document, location, addEventListener () {}, removeEventListener () {} }

const obey = portal(await import('@bitrix24/b24jssdk'), { skipStorageInit: true },
  (event) => process.stdout.write(JSON.stringify(event) + '\n'))
for await (const line of createInterface({ input: process.stdin })) obey(JSON.parse(line))
process.exit(0)
