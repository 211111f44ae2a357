package poll

import (
	"errors"
	"io"
	"net"

	"github.com/valyala/fasthttp"
)

// Budget bounds the bytes of all bodies that are under way; *budget.Budget of the engine is one. Its methods are called from many
// goroutines at once.
type Budget interface {
	Take(n int) bool // all or nothing
	Give(n int)
}

// firstBody is the room that a body gets at first. It grows as the body comes, whatever length was announced: a head of 120 bytes would
// cost a megabyte otherwise.
const firstBody = 4 << 10

// errNoRoom says that the bodies under way have all the memory that they may.
var errNoRoom = errors.New("poll: no room for a body")

// readBody makes the body of the request, of limit bytes at most (0: any number), c.payload. It answers the request itself if that fails.
func (c *call) readBody(limit int) (ok bool) {
	announced := c.Request.Header.ContentLength()
	if limit > 0 && announced > limit || len(c.Request.Header.PeekBytes(bodyRefused)) > 0 {
		c.tooLarge()
		return false
	}
	stream := c.RequestBodyStream()
	if stream == nil { // the whole request was in memory
		c.payload = c.PostBody()
	} else if err := c.readStream(stream, announced, limit); err != nil {
		c.notRead(err)
		return false
	}
	if limit > 0 && len(c.payload) > limit {
		c.tooLarge()
		return false
	}
	return true
}

// readStream reads until the end, or until it is more than it may be.
func (c *call) readStream(stream io.Reader, announced, limit int) error {
	if n := cap(c.room); c.Bodies == nil || c.Bodies.Take(n) {
		c.room, c.taken = c.room[:0], n
	} else {
		c.room = nil
	}
	c.payload = c.room
	for limit <= 0 || len(c.room) <= limit {
		if len(c.room) == cap(c.room) {
			if err := c.growBody(announced); err != nil {
				return err
			}
		}
		n, err := stream.Read(c.room[len(c.room):cap(c.room)])
		c.room = c.room[:len(c.room)+n]
		c.payload = c.room
		switch {
		case err == io.EOF && announced > len(c.room):
			return io.ErrUnexpectedEOF
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// growBody doubles the room, up to what was announced, if there is any.
func (c *call) growBody(announced int) error {
	room := max(2*cap(c.room), firstBody)
	if announced > 0 {
		room = min(room, announced)
	}
	room = max(room, cap(c.room)+1)
	more := room - cap(c.room)
	if c.Bodies != nil && !c.Bodies.Take(more) {
		return errNoRoom
	}
	c.taken += more
	c.room = append(make([]byte, 0, room), c.room...)
	return nil
}

// releaseBody gives back what the body has taken.
func (c *call) releaseBody() {
	if c.Bodies != nil && c.taken > 0 {
		c.Bodies.Give(c.taken)
	}
	c.payload = nil
	if c.taken = 0; cap(c.room) > keptBody {
		c.room = nil
	}
}

func (c *call) tooLarge() {
	answerTooLarge(c.RequestCtx)
	c.SetConnectionClose()
	c.log(tooLargeText)
}

// notRead answers a request whose body does not come.
func (c *call) notRead(err error) {
	c.SetConnectionClose()
	var network net.Error
	switch {
	case err == errNoRoom:
		c.Response.Header.Set(fasthttp.HeaderRetryAfter, retryAfter)
		c.empty(fasthttp.StatusServiceUnavailable)
	case errors.As(err, &network) && network.Timeout():
		c.SetStatusCode(fasthttp.StatusRequestTimeout)
	default:
		c.SetStatusCode(fasthttp.StatusBadRequest)
	}
}
