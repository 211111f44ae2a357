package load

import (
	"hash/crc32"
)

// A body is JSON, so that it may be put raw into the text framing:
//
//	{"load":"SSSSSSSSNNNNNNNNTTTTTTTTTTTTTTTTKKKKKKKK","pad":"xxx…"}
//
// hex digits of stream, number, scheduled time, and the CRC-32C of everything else.
const (
	bodyStart   = `{"load":"`
	bodyMiddle  = `","pad":"`
	bodyEnd     = `"}`
	fieldsSize  = 8 + 8 + 16
	sumSize     = 8
	sumOffset   = len(bodyStart) + fieldsSize
	padOffset   = sumOffset + sumSize + len(bodyMiddle)
	minBodySize = padOffset + len(bodyEnd)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// payload is what a body says.
type payload struct {
	stream, number uint32 // the first number of a stream is 1
	at             int64  // when it was to be sent, CLOCK_MONOTONIC in ns
}

// appendBody appends a body of size bytes, or of minBodySize if that is more.
func appendBody(dst []byte, p payload, size int) []byte {
	start := len(dst)
	dst = append(dst, bodyStart...)
	dst = appendHex(dst, uint64(p.stream), 8)
	dst = appendHex(dst, uint64(p.number), 8)
	dst = appendHex(dst, uint64(p.at), 16)
	dst = append(dst, "00000000"+bodyMiddle...)
	for i := minBodySize; i < size; i++ {
		dst = append(dst, 'a'+byte((uint32(i)+p.number)%26))
	}
	dst = append(dst, bodyEnd...)
	body := dst[start:]
	appendHex(body[sumOffset:sumOffset], uint64(sum(body)), sumSize)
	return dst
}

// parseBody reads a body. ok is false when it is damaged.
func parseBody(b []byte) (p payload, ok bool) {
	if len(b) < minBodySize || string(b[:len(bodyStart)]) != bodyStart {
		return p, false
	}
	f := b[len(bodyStart):]
	stream, ok1 := parseHex(f[:8])
	number, ok2 := parseHex(f[8:16])
	at, ok3 := parseHex(f[16:32])
	want, ok4 := parseHex(f[32:40])
	if !(ok1 && ok2 && ok3 && ok4) || uint32(want) != sum(b) {
		return p, false
	}
	return payload{stream: uint32(stream), number: uint32(number), at: int64(at)}, true
}

func sum(body []byte) uint32 {
	c := crc32.Update(0, castagnoli, body[:sumOffset])
	return crc32.Update(c, castagnoli, body[sumOffset+sumSize:])
}

const hexDigits = "0123456789abcdef"

func appendHex(dst []byte, v uint64, digits int) []byte {
	for i := digits - 1; i >= 0; i-- {
		dst = append(dst, hexDigits[v>>(4*i)&15])
	}
	return dst
}

func parseHex(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		d := unhex[c]
		if d < 0 {
			return 0, false
		}
		v = v<<4 | uint64(d)
	}
	return v, true
}

// unhex maps lower-case digits to their value, everything else to -1.
var unhex = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i := range hexDigits {
		t[hexDigits[i]] = int8(i)
	}
	return t
}()
