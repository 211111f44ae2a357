package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"push-server/engine/handover"
)

// A server with push.handoverSocket hands over to whoever connects there: a process that was started elsewhere, in another container that
// shares the folder. Of such a one it knows neither whether it lives nor how to end it, so that here nothing but Go means go.

// succeedAt takes over from the process that listens at a socket. nil: nobody does.
func succeedAt(ctx context.Context, path string) (*succession, error) {
	if path == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("push.handoverSocket: %w", err)
	}
	h, err := greet(handover.Over(c.(*net.UnixConn)))
	if err != nil {
		return nil, fmt.Errorf("push.handoverSocket: %w", gaveUp("the process at "+path+" does not hand over", err))
	}
	h.apart = true
	return h, nil
}

// handoverSocket is where others can connect to take over.
type handoverSocket struct {
	*net.UnixListener
	path, made string // where it is to be, and where it was made
}

// openHandoverSocket makes one, which nobody finds before it is shown. Only the same user, and root, can connect.
func openHandoverSocket(path string) (*handoverSocket, error) {
	if path == "" {
		return nil, nil
	}
	made := path + "." + rand.Text()[:8]
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err == nil {
		ln.SetUnlinkOnClose(false) // another process may have the path by then
		if err = os.Chmod(made, 0o600); err != nil {
			err = errors.Join(err, ln.Close(), os.Remove(made))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("push.handoverSocket: %w", err)
	}
	return &handoverSocket{ln, path, made}, nil
}

// show puts it in the place of that of a process before.
func (h *handoverSocket) show() error {
	err := os.Rename(h.made, h.path)
	if err == nil {
		h.made = ""
	}
	return err
}

// Close leaves the path, at which nobody answers then, to whoever comes.
func (h *handoverSocket) Close() error {
	if h == nil {
		return nil
	}
	err := h.UnixListener.Close()
	if h.made != "" {
		err = errors.Join(err, os.Remove(h.made))
	}
	return err
}

// handOverAt takes orders of processes that connect to a socket.
func (t *orderTaker) handOverAt(h *handoverSocket) {
	if h == nil {
		return
	}
	t.stopHandingOver = func() { _ = h.Close() } // nothing was written
	if err := h.show(); err != nil {
		t.log.Error("push.handoverSocket cannot be put in its place: no other process can take over there", "path", h.path, "err", err)
	}
	t.tasks.Go(func() {
		for {
			c, err := h.AcceptUnix()
			if err != nil { // it was closed
				return
			}
			if !mayOrder(c) {
				t.log.Warn("a process of another user may not take over", "path", h.path)
				_ = c.Close() // it was told nothing
				continue
			}
			t.pass(order{peer: c}) // the log has what becomes of it
		}
	})
}
