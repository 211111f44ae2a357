package fakepush

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
)

// subscriber is a WebSocket or a waiting poll. What it sends goes through a queue, so that a delivery never waits for a client.
type subscriber struct {
	conn   net.Conn
	ids    []string
	binary bool
	poll   bool
	out    chan []byte
	later  []stored
}

// queueSize bounds what waits for one subscriber; a fake that is behind by more has lost messages, which tests notice.
const queueSize = 4096

func newSubscriber(c net.Conn, query url.Values, poll bool) *subscriber {
	return &subscriber{
		conn: c, ids: channels(query), binary: query.Get("binaryMode") == "true", poll: poll,
		out: make(chan []byte, queueSize),
	}
}

func (sub *subscriber) send(ms ...stored) {
	var b []byte
	for _, m := range ms {
		if sub.binary {
			b = appendResponse(b, m)
		} else {
			b = fmt.Appendf(b, `#!NGINXNMS!#{"id":%d,"mid":"%026d","channel":"-","tag":"1","time":"now","text":%s}#!NGINXNME!#`, m.id, m.id, m.body)
		}
	}
	select {
	case sub.out <- b:
	default:
	}
}

func (sub *subscriber) hang() { sub.conn.Close() }

func (s *Server) websocket(c net.Conn, r *bufio.Reader, query url.Values) {
	sub := newSubscriber(c, query, false)
	s.join(sub, query.Get("mid")) // before the client can know of it
	accept := sha1.Sum([]byte("dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(accept[:]))
	end := make(chan struct{})
	s.wait.Go(func() { sub.write(end) })
	s.read(r)
	s.leave(sub)
	close(end)
}

// write sends a ping now and then, so that clients must answer.
func (sub *subscriber) write(end chan struct{}) {
	for n := 1; ; n++ {
		select {
		case <-end:
			return
		case m := <-sub.out:
			op := byte(0x81)
			if sub.binary {
				op = 0x82
			}
			sub.conn.Write(appendFrame(nil, op, m))
			if n%10 == 0 {
				sub.conn.Write(appendFrame(nil, 0x89, []byte("ws ping")))
			}
		}
	}
}

func appendFrame(dst []byte, op byte, m []byte) []byte {
	dst = append(dst, op)
	switch {
	case len(m) < 126:
		dst = append(dst, byte(len(m)))
	case len(m) < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(len(m)))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(len(m)))
	}
	return append(dst, m...)
}

// read takes publications of the client until it leaves.
func (s *Server) read(r *bufio.Reader) {
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(r, head); err != nil {
			return
		}
		size := int(head[1] & 127)
		if size == 126 {
			long := make([]byte, 2)
			if _, err := io.ReadFull(r, long); err != nil {
				return
			}
			size = int(binary.BigEndian.Uint16(long))
		}
		b := make([]byte, 4+size)
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		if head[0]&15 == 2 {
			s.publishRequest(b[4:]) // the mask of the harness is zero
		}
	}
}

// poll answers one poll; false: the client is gone.
func (s *Server) poll(c net.Conn, r *bufio.Reader, query url.Values) bool {
	sub := newSubscriber(c, query, true)
	s.join(sub, query.Get("mid"))
	defer s.leave(sub)
	asked := make(chan error, 1) // the next request has begun to arrive, or the client has left
	s.wait.Go(func() {
		_, err := r.Peek(1)
		asked <- err
	})
	select {
	case err := <-asked:
		return err == nil
	case m := <-sub.out:
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(m), m)
		return <-asked == nil
	}
}
