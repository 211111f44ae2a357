// A small push server over ws and redis: signed channels, WebSocket and long poll, text and protobuf framing, history in Redis and
// replay after mid. One process, local delivery; written to be measured against, not to be used.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { createClient, RESP_TYPES } from 'redis';
import { WebSocketServer } from 'ws';
import { Reader, batch, outgoing } from './protobuf.js';

const { PORT, REDIS, KEY, SUB, PUB } = process.env;
const pollTimeout = 40_000;
const historyLimit = 100;
const keepHistory = 86_400;

const plain = await createClient({ socket: { path: REDIS } }).connect();
const redis = plain.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
const startdate = String(Math.floor(Date.now() / 1000)).padStart(10, '0');

const channels = new Map(); // "private id" or "public id" → Set of subscribers

function signed(message, signature) {
  const want = createHmac('sha1', KEY).update(message).digest();
  const got = Buffer.from(signature, 'hex');
  return got.length === want.length && timingSafeEqual(got, want);
}

// subscriptions returns the ids of a CHANNEL_ID of a client; none when one of them is not signed.
function subscriptions(list) {
  const ids = [];
  for (const item of (list ?? '').split('/')) {
    const [, priv, pub, signature] = /^([0-9a-f]{32})(?::([0-9a-f]{32}))?\.([0-9a-f]{40})$/.exec(item) ?? [];
    if (!priv || !signed(pub ? `${priv}:${pub}` : priv, signature)) return [];
    ids.push('p' + priv);
    if (pub) ids.push('u' + pub);
  }
  return ids;
}

function join(subscriber, ids) {
  for (const id of ids) {
    let set = channels.get(id);
    if (!set) channels.set(id, (set = new Set()));
    set.add(subscriber);
  }
}

function leave(subscriber, ids) {
  for (const id of ids) {
    const set = channels.get(id);
    set?.delete(subscriber);
    if (set?.size === 0) channels.delete(id);
  }
}

const historyKey = (id) => Buffer.concat([Buffer.from(id[0] === 'p' ? 'channel:messages:' : 'pubchannel:messages:'), Buffer.from(id.slice(1), 'hex')]);
const messageKey = (id) => Buffer.concat([Buffer.from('message:'), id]);

// publish stores a message and delivers it. Messages are stored in the order of their ids, because one connection carries them.
async function publish(ids, body, expiry, sender) {
  const counter = await plain.incr('server:messagecounter');
  const mid = startdate + String(counter).padStart(16, '0');
  const id = Buffer.from(mid, 'hex');
  const message = { id, mid, counter, body, encoded: outgoing(id, body, expiry, Math.floor(Date.now() / 1000), sender) };
  if (expiry > 0) {
    const multi = plain.multi().setEx(messageKey(id), expiry, message.encoded);
    for (const channel of ids) {
      multi.zAdd(historyKey(channel), { score: 0, value: id }).expire(historyKey(channel), keepHistory);
    }
    await multi.exec();
  }
  const reached = new Set();
  for (const channel of ids) for (const s of channels.get(channel) ?? []) reached.add(s);
  for (const s of reached) s.deliver([message]);
}

async function history(ids, mid) {
  const since = Buffer.from(mid, 'hex');
  const after = (id) =>
    redis.zRange(historyKey(id), Buffer.concat([Buffer.from('('), since]), '+', { BY: 'LEX', LIMIT: { offset: 0, count: historyLimit } });
  const lists = await Promise.all(ids.map(after));
  const found = [...new Set(lists.flat().map((id) => id.toString('hex')))].sort();
  if (found.length === 0) return [];
  const stored = await redis.mGet(found.map((hex) => messageKey(Buffer.from(hex, 'hex'))));
  return found.flatMap((hex, i) => (stored[i] ? [{ mid: hex, counter: Number(hex.slice(10)), encoded: stored[i] }] : []));
}

const bodyOf = (m) => m.body ?? new Reader(m.encoded).fields().find((f) => f.number === 2)?.bytes ?? '';

function frame(messages, binary) {
  if (binary) return messages.length === 1 ? (messages[0].frame ??= batch(messages.map((m) => m.encoded))) : batch(messages.map((m) => m.encoded));
  const now = new Date();
  return messages
    .map((m) => `#!NGINXNMS!#{"id":${m.counter},"mid":"${m.mid}","channel":"-","tag":"${now.getTime() % 1000}","time":"${now.toUTCString()}","text":${bodyOf(m)}}#!NGINXNME!#`)
    .join('');
}

// subscribe joins first and reads history then, so that nothing falls in between; what comes meanwhile waits.
async function subscribe(subscriber, ids, query) {
  join(subscriber, ids);
  const mid = query.get('mid') ?? '';
  if (!/^[0-9]{26}$/.test(mid)) return;
  subscriber.hold = [];
  const missed = await history(ids, mid);
  const late = subscriber.hold.filter((m) => missed.every((h) => h.mid !== m.mid));
  subscriber.hold = null;
  if (missed.length + late.length > 0) subscriber.deliver([...missed, ...late]);
}

class Socket {
  constructor(ws, binary) {
    this.ws = ws;
    this.binary = binary;
    this.hold = null;
  }
  deliver(messages) {
    if (this.hold) this.hold.push(...messages);
    else this.ws.send(frame(messages, this.binary), { binary: this.binary });
  }
}

class Poll {
  constructor(res, ids, binary, mid) {
    this.res = res;
    this.ids = ids;
    this.binary = binary;
    this.hold = null;
    this.timer = setTimeout(() => this.end(304, { 'Last-Message-Id': mid ?? '' }), pollTimeout);
  }
  deliver(messages) {
    if (this.hold) this.hold.push(...messages);
    else this.end(200, {}, frame(messages, this.binary));
  }
  end(status, headers, body) {
    leave(this, this.ids);
    clearTimeout(this.timer);
    this.res.writeHead(status, { 'Content-Type': 'text/plain', 'Access-Control-Allow-Origin': '*', ...headers });
    this.res.end(body);
  }
}

const queryOf = (req) => new URLSearchParams(req.url.split('?')[1]);

function answer(res, status, text = '') {
  res.writeHead(status, { 'Content-Type': 'text/plain' });
  res.end(text);
}

function poll(req, res) {
  const query = queryOf(req);
  const ids = subscriptions(query.get('CHANNEL_ID'));
  if (ids.length === 0) return answer(res, 400, '4010: Wrong Channel Id.');
  const p = new Poll(res, ids, query.get('binaryMode') === 'true', query.get('mid'));
  req.on('close', () => leave(p, ids));
  res.on('close', () => { leave(p, ids); clearTimeout(p.timer); });
  subscribe(p, ids, query);
}

async function post(req, res) {
  const pieces = [];
  for await (const piece of req) pieces.push(piece);
  const body = Buffer.concat(pieces);
  const query = queryOf(req);
  if (query.get('binaryMode') === 'true') {
    await publishRequest(body, { type: 2 }, () => true);
  } else {
    const ids = (query.get('CHANNEL_ID') ?? '').split('/').map((item) => 'p' + item.slice(0, 32));
    await publish(ids, body.toString(), Number.parseInt(req.headers['message-expiry'] ?? '0', 10) || 0, { type: 2 });
  }
  answer(res, 200);
}

// publishRequest publishes the messages of a RequestBatch whose receivers are allowed.
async function publishRequest(bytes, sender, allowed) {
  const inside = (b, number) => new Reader(b).fields().filter((f) => f.number === number);
  for (const message of inside(bytes, 1).flatMap((r) => inside(r.bytes, 1)).flatMap((m) => inside(m.bytes, 1))) {
    const fields = new Reader(message.bytes).fields();
    const receivers = fields.filter((f) => f.number === 1).map((f) => {
      const r = new Reader(f.bytes).fields();
      const value = (number) => r.find((x) => x.number === number);
      return { id: value(1).bytes.toString('hex'), isPrivate: Boolean(value(2)?.value), signature: value(3)?.bytes };
    });
    if (!receivers.every(allowed)) return false;
    const body = fields.find((f) => f.number === 3)?.bytes.toString() ?? '';
    await publish(receivers.map((r) => (r.isPrivate ? 'p' : 'u') + r.id), body, fields.find((f) => f.number === 4)?.value ?? 0, sender);
  }
  return true;
}

const byClient = (r) => !r.isPrivate && r.signature && signed('public:' + r.id, r.signature.toString('hex'));

const server = createServer((req, res) => {
  if (req.method === 'POST' && req.url.startsWith(PUB)) post(req, res);
  else if (req.method === 'GET' && req.url.startsWith(SUB)) poll(req, res);
  else answer(res, 404);
});
server.keepAliveTimeout = 75_000;

const sockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 1 << 20 });
sockets.on('connection', (ws, req) => {
  const query = queryOf(req);
  const ids = subscriptions(query.get('CHANNEL_ID'));
  if (ids.length === 0) return ws.close(4010, '4010: Wrong Channel Id.');
  const s = new Socket(ws, query.get('binaryMode') === 'true');
  const own = ids.find((id) => id[0] === 'u');
  ws.on('close', () => leave(s, ids));
  ws.on('error', () => ws.terminate());
  ws.on('message', async (data, isBinary) => {
    if (s.binary && own && !(await publishRequest(data, { type: 1, id: Buffer.from(own.slice(1), 'hex') }, byClient))) ws.close(4021);
  });
  subscribe(s, ids, query);
});

server.listen({ port: Number(PORT), host: '127.0.0.1', backlog: 4096 });
