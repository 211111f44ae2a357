package doctor

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// sysctlFile is where the lines of this project are, and those of the operator should be.
const sysctlFile = "/etc/sysctl.d/90-push-server.conf"

func (x *examination) kernel() {
	x.descriptors()
	x.queues()
	x.ports()
	x.tracking()
	x.tcpMemory()
	x.clock()
}

// sysctl reads numbers, such as net.core.somaxconn. ok is false where there is none.
func (x *examination) sysctl(name string) (values []int64, ok bool) {
	text, err := x.read(filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/")))
	if err != nil {
		return nil, false
	}
	for _, field := range strings.Fields(text) {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return nil, false
		}
		values = append(values, n)
	}
	return values, len(values) > 0
}

func sysctlLine(name string, value any) string {
	return fmt.Sprintf("%s: %s = %v", sysctlFile, name, value)
}

// fewDescriptors is what a limit is called too low at where nothing says how many clients there are.
const fewDescriptors = 16384

// descriptors looks at how many files the service may open: each connection is one.
func (x *examination) descriptors() {
	wanted, why := int64(fewDescriptors), "each connection takes one: further clients are answered 503"
	if n := x.Config.Push.MaxConnections; n > 0 {
		wanted, why = int64(n)+100, fmt.Sprintf("push.maxConnections is %d, and each connection takes one: further clients are answered 503", n)
	}
	units := x.units()
	for _, u := range units {
		if u.limit > 0 && u.limit < wanted {
			x.add(Warning, "descriptors-service", u.where(), fmt.Sprintf("the service may open %d files", u.limit), why, "LimitNOFILE=1048576")
		}
	}
	if len(units) == 0 {
		x.ownLimit(wanted, why)
	}
	if open, ok := x.sysctl("fs.nr_open"); ok {
		for _, u := range units {
			if u.limit > open[0] && u.limit != infinite {
				x.add(Warning, "nr-open", "fs.nr_open", fmt.Sprintf("it is %d, and %s asks for %d", open[0], u.where(), u.limit),
					"no process may open more than fs.nr_open: the service gets less than it asks for", sysctlLine("fs.nr_open", u.limit))
			}
		}
	}
	if all, ok := x.sysctl("fs.file-max"); ok && all[0] < 2*wanted {
		x.add(Warning, "file-max", "fs.file-max", fmt.Sprintf("it is %d", all[0]),
			"all processes together, nginx and this server among them, may open no more: a client behind nginx takes three", sysctlLine("fs.file-max", 4*wanted))
	}
}

// ownLimit stands for that of the service where no unit says what it gets.
func (x *examination) ownLimit(wanted int64, why string) {
	limit, err := x.Descriptors()
	switch {
	case err != nil:
		x.add(Note, "descriptors-unknown", "this user", "the limit of open files cannot be read: "+err.Error(), why, "")
	case limit < 4096 || x.Config.Push.MaxConnections > 0 && limit < uint64(wanted):
		x.add(Warning, "descriptors-user", "this user", fmt.Sprintf("he may open %d files, and no unit of systemd says otherwise", limit), why,
			"LimitNOFILE=1048576 in the unit, or in /etc/security/limits.conf: * hard nofile 1048576")
	case limit < fewDescriptors:
		x.add(Note, "descriptors-few", "this user", fmt.Sprintf("he may open %d files, and no unit of systemd says otherwise", limit), why, "")
	}
}

func (x *examination) queues() {
	if n, ok := x.sysctl("net.core.somaxconn"); ok && n[0] < 1024 {
		x.add(Warning, "somaxconn", "net.core.somaxconn", fmt.Sprintf("it is %d", n[0]),
			"so many connections wait to be accepted; after a restart all clients return within seconds, and those who find no place try again later and later",
			sysctlLine("net.core.somaxconn", 16384))
	}
	n, ok := x.sysctl("net.ipv4.tcp_max_syn_backlog")
	cookies, known := x.sysctl("net.ipv4.tcp_syncookies")
	if ok && n[0] < 1024 {
		s := Note // cookies let connections in that have no place
		if known && cookies[0] == 0 {
			s = Warning
		}
		x.add(s, "syn-backlog", "net.ipv4.tcp_max_syn_backlog", fmt.Sprintf("it is %d", n[0]),
			"so many handshakes may be under way; after a restart all clients return within seconds", sysctlLine("net.ipv4.tcp_max_syn_backlog", 16384))
	}
}

// ports looks at the local ports that nginx takes for its connections to the server, and other programs for theirs.
func (x *examination) ports() {
	span, ok := x.sysctl("net.ipv4.ip_local_port_range")
	if !ok || len(span) != 2 {
		return
	}
	for i := range x.Config.Servers {
		port := int64(x.Config.Servers[i].Port)
		if port >= span[0] && port <= span[1] && !x.reserved(port) {
			x.add(Warning, "port-taken", "net.ipv4.ip_local_port_range", fmt.Sprintf("it is %d to %d, with port %d of the configuration in it", span[0], span[1], port),
				"while the server is down an outgoing connection may take the port, and the server does not start", sysctlLine("net.ipv4.ip_local_reserved_ports", port))
		}
	}
	if x.Nginx == "" {
		return
	}
	room, wanted := (span[1]-span[0]+1)*int64(max(x.subPorts(), 1)), int64(max(x.Config.Push.MaxConnections, 20_000))
	if room < wanted {
		x.add(Warning, "port-range", "net.ipv4.ip_local_port_range", fmt.Sprintf("it is %d to %d", span[0], span[1]),
			fmt.Sprintf("nginx takes a local port for each connection to a port of the server: there is room for %d clients, and there may be %d", room, wanted),
			sysctlLine("net.ipv4.ip_local_port_range", "10240 65535"))
	}
}

func (x *examination) subPorts() (n int) {
	for i := range x.Config.Servers {
		if x.Config.Servers[i].Routes.Sub != "" {
			n++
		}
	}
	return n
}

func (x *examination) reserved(port int64) bool {
	text, _ := x.read("/proc/sys/net/ipv4/ip_local_reserved_ports")
	for span := range strings.SplitSeq(text, ",") {
		first, last, isSpan := strings.Cut(strings.TrimSpace(span), "-")
		if !isSpan {
			last = first
		}
		from, err := strconv.ParseInt(first, 10, 64)
		to, err2 := strconv.ParseInt(last, 10, 64)
		if err == nil && err2 == nil && port >= from && port <= to {
			return true
		}
	}
	return false
}

// tracking looks at a firewall that keeps a record of each connection; there may be none.
func (x *examination) tracking() {
	limit, ok := x.sysctl("net.netfilter.nf_conntrack_max")
	if !ok || limit[0] <= 0 {
		return
	}
	const name = "net.netfilter.nf_conntrack_max"
	used, known := x.sysctl("net.netfilter.nf_conntrack_count")
	if wanted := 2 * int64(x.Config.Push.MaxConnections); limit[0] < max(wanted, 32768) {
		x.add(Warning, "conntrack-max", name, fmt.Sprintf("it is %d", limit[0]),
			"the firewall holds two entries for each client, to nginx and from nginx to the server; beyond that it drops connections", sysctlLine(name, 1048576))
	}
	if known && used[0] > limit[0]/10*8 {
		x.add(Error, "conntrack-full", name, fmt.Sprintf("%d of %d entries are in use", used[0], limit[0]), "when there is no more room new connections are dropped",
			sysctlLine(name, 4*limit[0]))
	}
}

// tcpMemory compares what sockets hold with what they may, in pages.
func (x *examination) tcpMemory() {
	limits, ok := x.sysctl("net.ipv4.tcp_mem")
	text, err := x.read("/proc/net/sockstat")
	if !ok || len(limits) != 3 || err != nil {
		return
	}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "TCP:" || fields[len(fields)-2] != "mem" {
			continue
		}
		if used, err := strconv.ParseInt(fields[len(fields)-1], 10, 64); err == nil && used > limits[1] {
			x.add(Warning, "tcp-memory", "net.ipv4.tcp_mem", fmt.Sprintf("sockets hold %d pages, and there is pressure from %d on", used, limits[1]),
				"the kernel makes the buffers of all connections smaller, and drops data in the end",
				sysctlLine("net.ipv4.tcp_mem", fmt.Sprintf("%d %d %d", 4*limits[0], 4*limits[1], 4*limits[2])))
		}
	}
}

func (x *examination) clock() {
	right, err := x.Synchronous()
	if err != nil || right {
		return // who may not ask has no clock of his own
	}
	x.add(Note, "clock", "clock", "the kernel says that nothing keeps it right", "message ids begin with the time, and a portal's channels end at one",
		"timedatectl set-ntp true")
}
