package redisbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"push-server/protocol"
)

// listener is the connection over which publications come in. It is not one of rueidis, which makes five objects of a message
// before we see it, two goroutines and half a megabyte of buffers: a connection that only listens needs neither.
//
// Publications alias the blocks into which they are read. A block is filled once and lives as long as one of them: mostly that of
// the engine's window, where they stand side by side as well.
type listener struct {
	conn     net.Conn
	block    []byte
	from, to int // of what is not parsed yet
}

const (
	blockSize = 32 << 10 // the largest size that Go allocates without a system of its own for it
	// minRead is the room below which a new block is begun.
	minRead = 2 << 10
)

// dialListener connects and logs in. It is bounded by ctx, and by DialTimeout.
func (b *Bus) dialListener(ctx context.Context) (*listener, error) {
	o := &b.dialing
	conn, err := b.dial(ctx, o.InitAddress[0], &o.Dialer, o.TLSConfig)
	if err != nil {
		return nil, err
	}
	l := &listener{conn: conn}
	defer context.AfterFunc(ctx, l.close)()
	if err := l.logIn(o.Username, o.Password, o.ClientName); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *listener) close() { _ = l.conn.Close() } // nothing is lost with it that a gap does not tell of

// logIn identifies the connection. The name is only for whoever looks at Redis.
func (l *listener) logIn(user, password, name string) error {
	if err := l.conn.SetDeadline(time.Now().Add(confirmTime)); err != nil {
		return err
	}
	switch {
	case user != "":
		if err := l.do("AUTH", user, password); err != nil {
			return err
		}
	case password != "":
		if err := l.do("AUTH", password); err != nil {
			return err
		}
	}
	var refused redisError
	if err := l.do("CLIENT", "SETNAME", name); err != nil && !errors.As(err, &refused) {
		return err
	}
	return nil
}

// redisError is a reply that says no.
type redisError string

func (e redisError) Error() string { return "redis: " + string(e) }

// do sends a command and waits for its reply.
func (l *listener) do(args ...string) error {
	if err := l.send(args...); err != nil {
		return err
	}
	_, err := l.next()
	return err
}

func (l *listener) send(args ...string) error {
	command := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		command = strconv.AppendInt(append(command, '$'), int64(len(arg)), 10)
		command = append(append(append(command, "\r\n"...), arg...), "\r\n"...)
	}
	_, err := l.conn.Write(command)
	return err
}

// next waits for a reply. What it holds is never overwritten.
func (l *listener) next() (reply, error) {
	for {
		r, n, err := parseReply(l.block[l.from:l.to])
		switch {
		case err == nil && r.kind == '-':
			return r, redisError(r.words[0])
		case err == nil:
			l.from += n
			return r, nil
		case !errors.Is(err, protocol.ErrShort):
			return r, err
		}
		if err := l.fill(); err != nil {
			return r, err
		}
	}
}

// fill reads more, into a new block if this one is nearly full.
func (l *listener) fill() error {
	if len(l.block)-l.to < minRead {
		rest := l.block[l.from:l.to]
		l.block = make([]byte, max(blockSize, 2*len(rest)))
		l.from, l.to = 0, copy(l.block, rest)
	}
	n, err := l.conn.Read(l.block[l.to:])
	l.to += n
	if n == 0 && err == nil {
		return io.ErrNoProgress
	}
	if n > 0 {
		return nil
	}
	return err
}
