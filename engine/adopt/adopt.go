// Package adopt makes a connection of an event loop out of a socket that gnet has not accepted itself. gnet's own way, EventLoop.Enroll,
// makes a net.Conn first and goes over a pool of goroutines: 15 system calls and 170 µs a connection, which clients wait for. On the loop
// it is one system call.
//
// It reaches for two functions of gnet that have no name outside. Their signatures are those of the version in go.mod: whoever changes that
// compares them, and runs the tests of package engine whose names end with PassOver.
package adopt

import (
	"net"
	"unsafe"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

//go:linkname newStreamConn github.com/panjf2000/gnet/v2.newStreamConn
func newStreamConn(proto string, fd int, loop unsafe.Pointer, sa unix.Sockaddr, local, remote net.Addr) unsafe.Pointer

//go:linkname register github.com/panjf2000/gnet/v2.(*eventloop).register0
func register(loop, conn unsafe.Pointer) error

// words are what an interface value consists of.
type words struct{ table, data unsafe.Pointer }

// Conn makes socket, which it takes over, a connection of the loop that sibling belongs to; on that loop it has to be called. OnOpen, which
// it calls, finds value as the context. An error means that the socket was closed.
func Conn(sibling gnet.Conn, socket int, local, remote net.Addr, value any) error {
	el := sibling.EventLoop()
	loop := (*words)(unsafe.Pointer(&el)).data
	conn := newStreamConn("tcp", socket, loop, nil, local, remote)
	c := sibling // of the same type
	(*words)(unsafe.Pointer(&c)).data = conn
	c.SetContext(value)
	return register(loop, conn)
}
