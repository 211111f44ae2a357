// As much of protobuf as the push protocol needs.

function varint(n) {
  const bytes = [];
  for (; n > 127; n = Math.floor(n / 128)) bytes.push((n % 128) | 128);
  bytes.push(n);
  return Buffer.from(bytes);
}

function field(number, bytes) {
  return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
}

// outgoing encodes an OutgoingMessage.
export function outgoing(id, body, expiry, created, sender) {
  const date = Buffer.alloc(5);
  date[0] = 0x25;
  date.writeUInt32LE(created, 1);
  const from = [Buffer.from([8, sender.type])];
  if (sender.id) from.push(field(2, sender.id));
  return Buffer.concat([field(1, id), field(2, Buffer.from(body)), Buffer.from([0x18]), varint(expiry), date, field(5, Buffer.concat(from))]);
}

// batch encodes a ResponseBatch with one response that holds all messages.
export function batch(messages) {
  return field(1, field(1, Buffer.concat(messages.map((m) => field(1, m)))));
}

// Reader takes a message apart.
export class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }
  varint() {
    let n = 0;
    for (let scale = 1; ; scale *= 128) {
      const b = this.bytes[this.at++];
      n += (b & 127) * scale;
      if (b < 128 || b === undefined) return n;
    }
  }
  fields() {
    const all = [];
    while (this.at < this.bytes.length) {
      const tag = this.varint();
      const number = tag >>> 3;
      switch (tag & 7) {
        case 0:
          all.push({ number, value: this.varint() });
          break;
        case 2: {
          const size = this.varint();
          all.push({ number, bytes: this.bytes.subarray(this.at, this.at + size) });
          this.at += size;
          break;
        }
        case 5:
          this.at += 4;
          break;
        default:
          throw new Error('no protobuf');
      }
    }
    return all;
  }
}
