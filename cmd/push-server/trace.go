package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"

	"push-server/cmd/push-server/internal/logfiles"
	"push-server/configs"
)

// trace writes what clients of debug.ip do into the debug file.
type trace struct {
	files      *logfiles.Folder
	ips        []string       // a client is followed if its address contains one of them
	prefixes   []netip.Prefix // or lies in one of them
	trustProxy bool           // its address is what proxies say
	process    string         // what ids begin with
	requests   atomic.Uint64
}

// newTrace returns nil if nobody is to be followed.
func newTrace(d *configs.Debug, files *logfiles.Folder) *trace {
	t := &trace{files: files, trustProxy: d.TrustProxy, process: fmt.Sprintf("%dT", os.Getpid())}
	for _, ip := range d.IP {
		if p, err := netip.ParsePrefix(ip); err == nil {
			t.prefixes = append(t.prefixes, p)
		} else if ip != "" { // would be everybody
			t.ips = append(t.ips, ip)
		}
	}
	if files == nil || len(t.ips)+len(t.prefixes) == 0 {
		return nil
	}
	return t
}

// Begin implements engine.Trace.
func (t *trace) Begin(addr string, forwarded []byte) (id, client string) {
	if t.trustProxy && len(forwarded) > 0 {
		addr = string(forwarded)
	}
	if !t.follows(addr) {
		return "", ""
	}
	return fmt.Sprintf("%s%08d", t.process, t.requests.Add(1)), addr
}

// follows says whether addr, which may be all of X-Forwarded-For, is one of those to follow.
func (t *trace) follows(addr string) bool {
	for _, ip := range t.ips {
		if strings.Contains(addr, ip) {
			return true
		}
	}
	if len(t.prefixes) == 0 {
		return false
	}
	for part := range strings.SplitSeq(addr, ",") {
		ip, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		for _, p := range t.prefixes {
			if p.Contains(ip.Unmap()) || p.Contains(ip) {
				return true
			}
		}
	}
	return false
}

// Line implements engine.Trace.
func (t *trace) Line(text string) { t.files.Write(logfiles.Debug, text) }
