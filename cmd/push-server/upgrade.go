package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func upgradeCommand() *cobra.Command {
	var pid int
	var pidFile, program string
	var elseReload, drop bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "upgrade {--pid PID | --pid-file FILE} [--exec PROGRAM] [--else-reload] [--drop] [-- ARGUMENT...]",
		Short: "Put a new process in the place of a running server without closing a connection",
		Long: `Have a running server start its program anew, the file as it is now, and hand over its ports and connections. No client notices.
The new process reads its configuration and connects to Redis first; if it cannot serve, the old one goes on as if nothing had been.
Encrypted connections stay with the old process until they end, for push.upgradeLinger at most. Process 1 of a container can have no
successor; with --else-reload it gets SIGHUP. A configuration that needs a restart (see push-server diff) is refused, too.

With --drop only the ports are handed over: nobody who connects is refused, and whoever is connected is told to come back, at the pace of
push.drainPace. So it is a restart, and any configuration will do.

With ARGUMENTs the new process has these instead of those of the old one. FILE gets the id of the new process. SIGUSR2 does the same.

Exit codes: 0 the new process serves, 1 the old one goes on, and why, 2 wrong command line, 3 that process knows no upgrades.`,
		Example: `  push-server upgrade --pid-file /run/push-server.pid --else-reload
  push-server upgrade --pid-file /run/push-server.pid --else-reload --exec /opt/push-server-2/push-server
  push-server upgrade --pid-file /run/push-server.pid --drop`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if pidFile != "" {
				var err error
				if pid, err = readPid(pidFile); err != nil {
					return err
				}
			}
			if pid <= 0 {
				return usage(errors.New("--pid or --pid-file is missing"))
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			next, err := giveOrder(ctx, pid, order{Exec: program, Args: args, Drop: drop})
			if elseReload && errors.As(err, new(impossible)) {
				fmt.Fprintf(cmd.OutOrStdout(), "process %d is reloaded: %v\n", pid, err)
				return syscall.Kill(pid, syscall.SIGHUP)
			}
			if err != nil {
				return err
			}
			if pidFile != "" {
				if err := os.WriteFile(pidFile, []byte(strconv.Itoa(next)+"\n"), 0o644); err != nil {
					return err
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "process %d serves in place of process %d\n", next, pid)
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&pid, "pid", 0, "process `ID` of the running server")
	f.StringVar(&pidFile, "pid-file", "", "`FILE` with it")
	f.StringVar(&program, "exec", "", "start this `PROGRAM` instead of the one that runs")
	f.BoolVar(&elseReload, "else-reload", false, "send SIGHUP to a server that can have no successor")
	f.BoolVar(&drop, "drop", false, "hand over no connections, which are closed instead")
	f.DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait for the end")
	return cmd
}

func readPid(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("%s has no process id", file)
	}
	return pid, nil
}

// orderSocket is where a server takes orders: a name that lasts as long as the process, and is no file.
func orderSocket(pid int) string { return "@push-server/" + strconv.Itoa(pid) }

// orderReply is an outcome, as it is sent.
type orderReply struct {
	Pid        int
	Error      string
	Impossible bool
}

// errNobody is about a process that cannot be asked for an upgrade.
var errNobody = errors.New("takes no orders: it is no push server, or one without upgrades")

// giveOrder has the process pid do o, and returns the id of the process that serves in its place.
func giveOrder(ctx context.Context, pid int, o order) (next int, err error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", orderSocket(pid))
	if err != nil {
		return 0, fmt.Errorf("process %d %w: %w", pid, errNobody, err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })()
	if err := json.NewEncoder(c).Encode(o); err != nil {
		return 0, err
	}
	var r orderReply
	switch err := json.NewDecoder(c).Decode(&r); {
	case errors.Is(err, io.EOF):
		return 0, fmt.Errorf("process %d has ended, or does not listen to this user", pid)
	case err != nil:
		return 0, fmt.Errorf("process %d does not answer: %w", pid, lateness(err))
	case r.Impossible:
		return 0, impossible{errors.New(r.Error)}
	case r.Error != "":
		return 0, fmt.Errorf("process %d goes on: %s", pid, r.Error)
	}
	return r.Pid, nil
}

// takeOrders brings orders for upgrades, of SIGUSR2 and of the command, until stop.
func takeOrders(log *slog.Logger) (t *orderTaker, stop func()) {
	t = &orderTaker{orders: make(chan order), ended: make(chan struct{}), log: log, stopHandingOver: func() {}}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2)
	t.tasks.Go(func() { t.hear(signals) })
	ln, err := net.Listen("unix", orderSocket(os.Getpid()))
	if err != nil {
		log.Debug("no orders can be taken but signals", "err", err)
	} else {
		t.tasks.Go(func() { t.accept(ln) })
	}
	return t, sync.OnceFunc(func() {
		signal.Stop(signals)
		close(t.ended)
		if ln != nil {
			ln.Close()
		}
		t.stopHandingOver()
		t.tasks.Wait()
	})
}

// orderTaker passes on one order after the other.
type orderTaker struct {
	orders chan order
	ended  chan struct{}
	tasks  sync.WaitGroup
	log    *slog.Logger

	stopHandingOver func()
}

// pass gives o to the server and waits for what becomes of it.
func (t *orderTaker) pass(o order) outcome {
	o.answer = make(chan outcome, 1)
	select {
	case t.orders <- o:
		return <-o.answer
	case <-t.ended:
		return outcome{err: errors.New("it is ending")}
	}
}

func (t *orderTaker) hear(signals <-chan os.Signal) {
	for {
		select {
		case <-signals:
			t.pass(order{}) // the log has what becomes of it
		case <-t.ended:
			return
		}
	}
}

// orderTime is how long it may take to say what is wanted.
const orderTime = 5 * time.Second

func (t *orderTaker) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil { // it was closed
			return
		}
		t.tasks.Go(func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(orderTime))
			var o order
			if !mayOrder(c.(*net.UnixConn)) || json.NewDecoder(io.LimitReader(c, 1<<20)).Decode(&o) != nil {
				return
			}
			_ = c.SetDeadline(time.Time{})
			done := t.pass(o)
			r := orderReply{Pid: done.pid}
			if done.err != nil {
				r.Error, r.Impossible = done.err.Error(), errors.As(done.err, new(impossible))
			}
			if err := json.NewEncoder(c).Encode(r); err != nil {
				t.log.Debug("who ordered an upgrade has gone", "err", err)
			}
		})
	}
}

// mayOrder lets in who could kill this process as well: its own user, and root.
func mayOrder(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	controlErr := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if controlErr != nil || err != nil {
		return false
	}
	return peer.Uid == 0 || int(peer.Uid) == os.Getuid()
}
