// Runs real portal clients. Each line of stdin is an order, each line of stdout says what a client has seen.
//   {"start": NAME, "user": 1, "config": {...}}                                  what pull.config.get would answer
//   {"send": NAME, "users": [2], "command": "c", "params": {...}, "expiry": 60}
//   {"watch": NAME, "of": 17}
//   {"client": NAME, "status": "online"|"watches 17"|"17 true"}
//   {"client": NAME, "from": "server"|"client", "command": "c", "params": {...}, "extra": {...}}
//   {"client": NAME, "complaint": "..."}                                         what the client finds wrong
import { createInterface } from 'node:readline'
import ws from 'ws'
import xhr2 from 'xhr2'

globalThis.WebSocket = ws
globalThis.XMLHttpRequest = xhr2
const location = { href: 'http://portal.example/' }
globalThis.document = { location }
globalThis.window = { WebSocket: ws, document, location, addEventListener () {}, removeEventListener () {} }

const { B24PullClientManager, AbstractLogger } = await import('@bitrix24/b24jssdk')

const clients = {}
const tell = (event) => process.stdout.write(JSON.stringify(event) + '\n')

// Complaints that a lost connection brings with it.
const expected = /connection error|scheduleReconnect|localStorage/

class Complaints extends AbstractLogger {
  constructor (client) {
    super()
    this.client = client
  }

  async log (level, message, context) {
    if (level >= 3 && !expected.test(message)) {
      tell({ client: this.client, complaint: `${message} ${JSON.stringify(context ?? {})}` })
    }
  }
}

function start ({ start: name, user, config }) {
  const pull = new B24PullClientManager({ b24: {}, userId: user, siteId: 's1', serverEnabled: true, skipStorageInit: true })
  pull.setLogger(new Complaints(name))
  pull.subscribe({ type: 'status', callback: ({ status }) => tell({ client: name, status }) })
  for (const from of ['server', 'client']) {
    pull.subscribe({ type: from, moduleId: 'test', callback: (data) => tell({ client: name, from, ...data }) })
  }
  clients[name] = pull
  pull.start({ ...config, skipReconnectToLastSession: true })
    .catch((error) => tell({ client: name, complaint: `start: ${error}` }))
}

function send ({ send: name, users, command, params, expiry }) {
  clients[name].sendMessage(users, 'test', command, params, expiry)
    .catch((error) => tell({ client: name, complaint: `send: ${error}` }))
}

function watch ({ watch: name, of }) {
  clients[name].subscribeUserStatusChange(of, ({ userId, isOnline }) => tell({ client: name, status: `${userId} ${isOnline}` }))
    .then(() => tell({ client: name, status: `watches ${of}` }))
    .catch((error) => tell({ client: name, complaint: `watch: ${error}` }))
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line)
  order.start ? start(order) : order.watch ? watch(order) : send(order)
}
process.exit(0)
