// Runs real portal clients, in whatever runs JavaScript. Orders say what clients do, and what they see is told, both as objects:
//   {"start": NAME, "user": 1, "mid": "...", "config": {...}}                    what it has, and what pull.config.get would answer
//   {"send": NAME, "users": [2], "command": "c", "params": {...}, "expiry": 60}  "channels" in place of users: signed public ids
//   {"watch": NAME, "of": 17}
//   {"look": NAME, "at": [17, 18]}                                               who was seen when?
//   {"answer": NAME, "result": {...}}                                            to what a client asks the portal
//   {"client": NAME, "status": "online"|"watches 17"|"17 true"|"asks METHOD PARAMS"|"seen {...}"}
//   {"client": NAME, "from": "server"|"client", "command": "c", "params": {...}, "extra": {...}}
//   {"client": NAME, "complaint": "..."}                                         what the client finds wrong
export function portal ({ B24PullClientManager, AbstractLogger }, options, tell) {
  const clients = {}
  const asked = {}

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

  // The other style of subscriptions.
  class Handler {
    constructor (client) {
      this.client = `${client}, by handler`
    }

    getModuleId () {
      return 'test'
    }

    handleBoth (params) {
      tell({ client: this.client, from: 'server', command: 'both', params })
    }
  }

  // rest is how a client asks the portal.
  const rest = (name) => ({ actions: { v2: { call: {
    make: ({ method, params }) => new Promise((resolve) => {
      asked[name] = (result) => resolve({ getData: () => ({ result }) })
      tell({ client: name, status: `asks ${method} ${JSON.stringify(params)}` })
    })
  } } } })

  const does = {
    start ({ start: name, user, mid, config }) {
      const pull = new B24PullClientManager({ b24: rest(name), userId: user, siteId: 's1', serverEnabled: true, ...options })
      pull.setLogger(new Complaints(name))
      pull.subscribe({ type: 'status', callback: ({ status }) => tell({ client: name, status }) })
      for (const from of ['server', 'client']) {
        pull.subscribe({ type: from, moduleId: 'test', callback: (data) => tell({ client: name, from, ...data }) })
      }
      pull.subscribe(new Handler(name))
      clients[name] = pull
      if (mid) pull.setLastMessageId(mid)
      return pull.start({ ...config, skipReconnectToLastSession: true })
    },

    send ({ send: name, users, channels, command, params, expiry }) {
      return users
        ? clients[name].sendMessage(users, 'test', command, params, expiry)
        : clients[name].sendMessageToChannels(channels, 'test', command, params, expiry)
    },

    async watch ({ watch: name, of }) {
      await clients[name].subscribeUserStatusChange(of, ({ userId, isOnline }) => tell({ client: name, status: `${userId} ${isOnline}` }))
      tell({ client: name, status: `watches ${of}` })
    },

    async look ({ look: name, at }) {
      tell({ client: name, status: `seen ${JSON.stringify(await clients[name].getUsersLastSeen(at))}` })
    },

    async answer ({ answer: name, result }) {
      asked[name](result)
    }
  }

  tell({ client: 'all', status: 'ready' })
  return (order) => {
    const what = Object.keys(does).find((what) => what in order)
    Promise.resolve(order).then(does[what]).catch((error) => tell({ client: order[what], complaint: `${what}: ${error?.message ?? JSON.stringify(error)}` }))
  }
}

// A client waits for up to half a minute at random before it asks for another configuration; here it is short of luck.
const random = Math.random
Math.random = () => random() / 30
