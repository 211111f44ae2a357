package poll

import (
	"bufio"
	"bytes"
	"net"
	"sync"

	"github.com/valyala/fasthttp"
)

// ServeBytes runs h on one complete request, a head that passed CheckHead and a body as long as its Content-Length, and
// appends the complete reply to dst. closes says that the connection ends behind it. h must not keep anything of its context;
// request is not modified and not kept. It may be called from any goroutine, and remote may be nil.
func ServeBytes(h fasthttp.RequestHandler, dst, request []byte, remote net.Addr) (reply []byte, closes bool) {
	s := inMemory.Get().(*memoryServer)
	defer inMemory.Put(s)
	return s.serve(h, dst, request, remote)
}

var inMemory = sync.Pool{New: func() any { return newMemoryServer() }}

// memoryServer does on bytes what a fasthttp.Server does on a connection.
type memoryServer struct {
	ctx    fasthttp.RequestCtx
	conn   memoryConn
	source bytes.Reader
	reader *bufio.Reader
	sink   sink
	writer *bufio.Writer
}

func newMemoryServer() *memoryServer {
	s := &memoryServer{}
	s.reader = bufio.NewReaderSize(&s.source, MaxHead)
	s.writer = bufio.NewWriter(&s.sink)
	return s
}

func (s *memoryServer) serve(h fasthttp.RequestHandler, dst, request []byte, remote net.Addr) (reply []byte, closes bool) {
	if !s.read(request, remote) {
		return AppendBadRequest(dst), true
	}
	closes = s.ctx.Request.Header.ConnectionClose()
	h(&s.ctx)
	closes = closes || s.ctx.Response.Header.ConnectionClose()
	if closes {
		s.ctx.SetConnectionClose()
	}
	s.ctx.Response.SkipBody = s.ctx.IsHead()
	return s.write(dst), closes
}

func (s *memoryServer) read(request []byte, remote net.Addr) bool {
	defer s.source.Reset(nil)
	s.source.Reset(request)
	s.reader.Reset(&s.source)
	s.conn.remote = remote
	s.ctx.Init2(&s.conn, quietLogger{}, true)
	s.ctx.Request.Reset()
	s.ctx.Response.Reset()
	s.ctx.ResetUserValues()
	if s.ctx.Request.Header.Read(s.reader) != nil && !s.readEmptyHost(request) {
		return false
	}
	unread := s.source.Len() + s.reader.Buffered()
	s.ctx.Request.SetBodyRaw(request[len(request)-unread:])
	return max(s.ctx.Request.Header.ContentLength(), 0) == unread
}

// readEmptyHost reads a head with an empty Host, which the parser does not take.
func (s *memoryServer) readEmptyHost(request []byte) bool {
	h, err := checkHead(request)
	if err != nil || h.emptyHost == 0 {
		return false
	}
	s.source.Reset(h.appendWithHost(nil, request))
	s.reader.Reset(&s.source)
	return s.ctx.Request.Header.Read(s.reader) == nil
}

func (s *memoryServer) write(dst []byte) []byte {
	s.sink.b = dst
	s.writer.Reset(&s.sink)
	err := s.ctx.Response.Write(s.writer)
	if err == nil {
		err = s.writer.Flush()
	}
	if err != nil {
		panic("BUG: writing to memory: " + err.Error())
	}
	dst, s.sink.b = s.sink.b, nil
	s.ctx.Request.Reset() // lets go of request
	return dst
}

// sink is an io.Writer that appends.
type sink struct{ b []byte }

func (s *sink) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}

// memoryConn is what a handler sees of the connection: its ends.
type memoryConn struct {
	net.Conn
	remote net.Addr
}

func (c *memoryConn) RemoteAddr() net.Addr {
	if c.remote == nil {
		return noAddr
	}
	return c.remote
}

func (c *memoryConn) LocalAddr() net.Addr { return noAddr }

var noAddr = &net.TCPAddr{IP: net.IPv4zero}
