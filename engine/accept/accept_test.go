package accept

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"push-server/protocol/testclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// failing is a listener that fails with one error after the other before it accepts.
type failing struct {
	net.Listener
	errs []error
}

func (ln *failing) Accept() (net.Conn, error) {
	if len(ln.errs) == 0 {
		return ln.Listener.Accept()
	}
	err := ln.errs[0]
	ln.errs = ln.errs[1:]
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func dial(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// Everything that accept(2) and its neighbours may say, but for the end of the listener itself.
func TestListenerOutlivesFailures(t *testing.T) {
	var log bytes.Buffer
	failures := NewFailures(slog.New(slog.NewTextHandler(&log, nil)))
	inner := listen(t)
	errs := []error{
		syscall.EPERM, syscall.EPROTO, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.ENOBUFS, syscall.ENOMEM, syscall.EMFILE,
		syscall.ENFILE, syscall.EINVAL, syscall.ECONNABORTED,
	}
	want := len(errs)
	ln := NewListener(&failing{inner, errs}, "port", failures, nil)
	dial(t, inner)
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if int(failures.Count()) != want {
		t.Errorf("%d failures, want %d", failures.Count(), want)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), "listener=port") {
		t.Errorf("want one line a minute:\n%s", log.String())
	}
	ln.Close()
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// writes gets what is written.
type writes chan string

func (w writes) Write(b []byte) (int, error) {
	w <- string(b)
	return len(b), nil
}

// A listener that is closed does not wait any longer.
func TestCloseWhileWaiting(t *testing.T) {
	errs := make([]error, 1000)
	for i := range errs {
		errs[i] = syscall.EPERM
	}
	logged := make(writes, 1)
	failures := NewFailures(slog.New(slog.NewTextHandler(logged, nil)))
	inner := &failing{listen(t), errs}
	ln := NewListener(inner, "port", failures, nil)
	done := make(chan error, 1)
	go func() {
		_, err := ln.Accept()
		done <- err
	}()
	<-logged
	ln.Close()
	if err := testclient.AwaitFrom(t, "the end of Accept", done); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// The answer arrives although the client has sent more than anybody wants to read.
func TestRefuse(t *testing.T) {
	f := func(request string) {
		t.Helper()
		ln := listen(t)
		client := dial(t, ln)
		if _, err := io.WriteString(client, request); err != nil {
			t.Fatal(err)
		}
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		l := NewListener(ln, "port", nil, []byte("no room"))
		defer l.spare.Release()
		l.refuse(server)
		b := make([]byte, 100)
		n, err := client.Read(b)
		if err != nil || string(b[:n]) != "no room" {
			t.Errorf("%q, %v", b[:n], err)
		}
	}
	f("")
	f("GET / HTTP/1.1\r\n\r\n")
	f(strings.Repeat("x", 100_000))
}
