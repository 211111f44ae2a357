package load

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// floor is what a push server is measured against: it accepts connections, answers the handshake, and then does nothing but
// write(2) the same frame to one socket after another. It runs in a worker process of its own, whose processor time is its cost.
type floor struct {
	w       *worker
	fd      int // listening
	sockets []int
	full    chan struct{} // closed when all have connected
	err     error         // set before full is closed
}

const floorReply = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + wsAccept + "\r\n\r\n"

func (w *worker) startFloor(id int, o *Listen) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("load: socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fmt.Errorf("load: bind: %w", err)
	}
	if err := unix.Listen(fd, 4096); err != nil {
		return fmt.Errorf("load: listen: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("load: getsockname: %w", err)
	}
	w.floor = &floor{w: w, fd: fd, full: make(chan struct{})}
	go w.floor.accept(o.Count)
	w.answer(Answer{ID: id, Address: fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)})
	return nil
}

// accept takes count connections, then no more.
func (f *floor) accept(count int) {
	defer close(f.full)
	defer unix.Close(f.fd)
	for len(f.sockets) < count {
		fd, _, err := unix.Accept4(f.fd, unix.SOCK_CLOEXEC)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err == nil {
			err = f.handshake(fd)
		}
		if err != nil {
			f.err = fmt.Errorf("load: floor: %w", err)
			return
		}
		f.sockets = append(f.sockets, fd)
	}
}

func (f *floor) handshake(fd int) error {
	var head []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(head, crlf2) {
		n, err := unix.Read(fd, buf)
		if err != nil {
			return err
		}
		if n == 0 {
			return errClosed
		}
		head = append(head, buf[:n]...)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	reply := []byte(floorReply)
	if greeting := f.w.dialect.greeting(); greeting != nil {
		reply = append(reply, serverFrame(opText, greeting)...)
	}
	if _, err := unix.Write(fd, reply); err != nil {
		return err
	}
	return unix.SetNonblock(fd, true)
}

func (w *worker) spread(id int, o *Spread) error {
	if w.floor == nil {
		return fmt.Errorf("load: spread without a floor")
	}
	go func() {
		elapsed, err := w.floor.spread(o)
		w.loop.post(func() {
			a := Answer{ID: id, Elapsed: int64(elapsed)}
			if err != nil {
				a.Error = err.Error()
			}
			w.answer(a)
		})
	}()
	return nil
}

// spread writes Count messages to all, from as many threads as told, each with its share of the sockets.
func (f *floor) spread(o *Spread) (time.Duration, error) {
	<-f.full
	if f.err != nil {
		return 0, f.err
	}
	crew := newCrew(f.sockets, max(o.Threads, 1))
	defer crew.dismiss()
	stream := &f.w.board.streams[o.Stream]
	began := now()
	for range o.Count {
		want := stream.delivered.Load() + stream.receivers.Load()
		p := payload{stream: uint32(o.Stream), number: stream.published.Add(1), at: now()}
		if err := crew.write(f.frame(p)); err != nil {
			return 0, err
		}
		for limit := now() + stallAfter; int32(stream.delivered.Load()-want) < 0; {
			if now() > limit {
				return 0, fmt.Errorf("load: floor: not delivered to all in time")
			}
			time.Sleep(time.Duration(glance))
		}
	}
	return time.Duration(now() - began), nil
}

// frame is a message as the server under test would send it.
func (f *floor) frame(p payload) []byte {
	return serverFrame(f.w.dialect.frame(appendBody(nil, p, f.w.plan.Payload)))
}

// serverFrame is a frame of a server with a message of up to 64 KiB.
func serverFrame(op byte, message []byte) []byte {
	if len(message) < 126 {
		return append([]byte{0x80 | op, byte(len(message))}, message...)
	}
	return append([]byte{0x80 | op, 126, byte(len(message) >> 8), byte(len(message))}, message...)
}

// crew is the threads of a floor.
type crew struct {
	work []chan []byte
	errs chan error
	wait sync.WaitGroup
}

func newCrew(sockets []int, threads int) *crew {
	c := &crew{errs: make(chan error, threads)}
	for i := range threads {
		work := make(chan []byte)
		c.work = append(c.work, work)
		from, to := i*len(sockets)/threads, (i+1)*len(sockets)/threads
		c.wait.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for b := range work {
				c.errs <- writeAll(sockets[from:to], b)
			}
		})
	}
	return c
}

// write has b written to all sockets and returns when it is.
func (c *crew) write(b []byte) (err error) {
	for _, w := range c.work {
		w <- b
	}
	for range c.work {
		if e := <-c.errs; e != nil {
			err = e
		}
	}
	return err
}

func (c *crew) dismiss() {
	for _, w := range c.work {
		close(w)
	}
	c.wait.Wait()
}

func writeAll(sockets []int, b []byte) error {
	for _, fd := range sockets {
		n, err := rawWrite(fd, b)
		if err != nil {
			return fmt.Errorf("load: floor: write: %w", err)
		}
		if n < len(b) {
			return fmt.Errorf("load: floor: a reader is behind by a whole socket buffer")
		}
	}
	return nil
}
