package main

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"push-server/cmd/push-server/internal/logfiles"
	"push-server/configs"
)

// trace writes what clients of debug.ip do into the debug file.
type trace struct {
	files      *logfiles.Folder
	ips        []string // a client is followed if its address contains one of them
	trustProxy bool     // its address is what proxies say
	process    string   // what ids begin with
	requests   atomic.Uint64
}

// newTrace returns nil if nobody is to be followed.
func newTrace(d *configs.Debug, files *logfiles.Folder) *trace {
	t := &trace{files: files, trustProxy: d.TrustProxy, process: fmt.Sprintf("%dT", os.Getpid())}
	for _, ip := range d.IP {
		if ip != "" { // would be everybody
			t.ips = append(t.ips, ip)
		}
	}
	if files == nil || len(t.ips) == 0 {
		return nil
	}
	return t
}

// Begin implements engine.Trace.
func (t *trace) Begin(addr string, forwarded []byte) (id, client string) {
	if t.trustProxy && len(forwarded) > 0 {
		addr = string(forwarded)
	}
	for _, ip := range t.ips {
		if strings.Contains(addr, ip) {
			return fmt.Sprintf("%s%08d", t.process, t.requests.Add(1)), addr
		}
	}
	return "", ""
}

// Line implements engine.Trace.
func (t *trace) Line(text string) { t.files.Write(logfiles.Debug, text) }
