// Package proxyproto reads the header with which a proxy that passes on bytes says whose connection it is: the PROXY protocol, versions 1
// and 2, as HAProxy's proxy-protocol.txt has it. Only who is trusted may say so: to know that is the caller's part.
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"

	"push-server/protocol"
)

// MaxHeader is the longest header that is read, in bytes: one of version 2 may have more behind its addresses than anybody sends.
const MaxHeader = 4 << 10

// ErrHeader is what no header is.
var ErrHeader = errors.New("no PROXY header")

const (
	maxLine = 107 // of version 1, with its end
	prefix  = "PROXY "
)

// signature begins a header of version 2.
var signature = []byte("\r\n\r\n\x00\r\nQUIT\n")

// Read reads the header at the beginning of b, which is n bytes long. client is whose connection it is; it is not valid if that is the
// proxy's own, or the proxy does not know. The error is protocol.ErrShort when there has to come more, ErrHeader when there is no header.
// Nothing of b is kept.
func Read(b []byte) (client netip.Addr, n int, err error) {
	switch {
	case len(b) == 0:
		return client, 0, protocol.ErrShort
	case b[0] == signature[0]:
		return readBinary(b)
	default:
		return readLine(b)
	}
}

func readLine(b []byte) (client netip.Addr, n int, err error) {
	if begins := min(len(b), len(prefix)); string(b[:begins]) != prefix[:begins] {
		return client, 0, ErrHeader
	}
	end := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	switch {
	case end < 0 && len(b) >= maxLine:
		return client, 0, ErrHeader
	case end < 0:
		return client, 0, protocol.ErrShort
	case b[end-1] != '\r':
		return client, 0, ErrHeader
	}
	line := string(b[len(prefix) : end-1])
	if line == "UNKNOWN" || strings.HasPrefix(line, "UNKNOWN ") {
		return client, end + 1, nil
	}
	fields := strings.Split(line, " ")
	if len(fields) != 5 {
		return client, 0, ErrHeader
	}
	source, err1 := endpoint(fields[1], fields[3])
	target, err2 := endpoint(fields[2], fields[4])
	is4 := fields[0] == "TCP4"
	if err1 != nil || err2 != nil || !is4 && fields[0] != "TCP6" || source.Is4() != is4 || target.Is4() != is4 {
		return client, 0, ErrHeader
	}
	return source.Unmap(), end + 1, nil
}

func endpoint(addr, port string) (netip.Addr, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" {
		return a, ErrHeader
	}
	if a.Is6() {
		addr = "[" + addr + "]"
	}
	_, err = netip.ParseAddrPort(addr + ":" + port)
	return a, err
}

// The parts of a header of version 2.
const (
	fixed = 16 // bytes before the addresses

	commandLocal = 0x20 // the version, 2, is in the upper half
	commandProxy = 0x21

	familyIPv4, familyIPv6 = 1, 2 // in the upper half of a byte; a stream or packets in the lower
	sizeIPv4, sizeIPv6     = 4, 16
	sizePorts              = 4
)

func readBinary(b []byte) (client netip.Addr, n int, err error) {
	if begins := min(len(b), len(signature)); !bytes.Equal(b[:begins], signature[:begins]) {
		return client, 0, ErrHeader
	}
	if len(b) < fixed {
		return client, 0, protocol.ErrShort
	}
	command, family := b[12], b[13]>>4
	n = fixed + int(binary.BigEndian.Uint16(b[14:]))
	if n > MaxHeader || command != commandLocal && command != commandProxy {
		return client, 0, ErrHeader
	}
	if len(b) < n {
		return client, 0, protocol.ErrShort
	}
	addresses := b[fixed:n]
	switch {
	case command == commandLocal: // the proxy's own, whatever it says
	case family == familyIPv4 && len(addresses) >= 2*sizeIPv4+sizePorts:
		client = netip.AddrFrom4([sizeIPv4]byte(addresses))
	case family == familyIPv6 && len(addresses) >= 2*sizeIPv6+sizePorts:
		client = netip.AddrFrom16([sizeIPv6]byte(addresses)).Unmap()
	case family == familyIPv4, family == familyIPv6:
		return client, 0, ErrHeader
	}
	return client, n, nil
}
