package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Sessions, and the list of what they have had, do not go over the socket pair: it holds little of them, so that the two processes would wait
// for each other again and again. They stand in memory that both have, and only descriptors follow, of which it holds thousands.

// SendParts sends a list, and bodies as they are, each with its descriptor, which stays open here.
func (c *Conn) SendParts(list []byte, bodies [][]byte, sockets []int) error {
	size := 4 + len(list)
	for _, b := range bodies {
		size += 4 + len(b)
	}
	all := appendPart(make([]byte, 0, size), list)
	for _, b := range bodies {
		all = appendPart(all, b)
	}
	if c.memory == nil {
		if err := c.Reserve(size); err != nil {
			return err
		}
	}
	_, err := c.memory.WriteAt(all, 0)
	if err := errors.Join(err, c.memory.Truncate(int64(size))); err != nil {
		return fmt.Errorf("handover: sending %v: %w", Sessions, err)
	}
	if err := c.send(Sessions, nil, int(c.memory.Fd())); err != nil {
		return err
	}
	for len(sockets) > 0 {
		n := min(len(sockets), MaxSockets)
		if err := c.send(Sockets, nil, sockets[:n]...); err != nil {
			return err
		}
		sockets = sockets[n:]
	}
	return nil
}

func appendPart(dst, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(b))), b...)
}

// Reserve gets the memory for so many bytes of SendParts, which takes longer than to fill it.
func (c *Conn) Reserve(size int) error {
	fd, err := unix.MemfdCreate("handover", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	c.memory = os.NewFile(uintptr(fd), "handover")
	if size == 0 {
		return nil
	}
	if err := unix.Fallocate(fd, 0, 0, int64(size)); err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	return nil
}

// ReceiveParts takes what SendParts has sent.
func (c *Conn) ReceiveParts() (list []byte, bodies [][]byte, sockets []int, err error) {
	_, memory, err := c.await(Sessions)
	if err != nil {
		return nil, nil, nil, err
	}
	if len(memory) == 1 {
		bodies, err = readParts(os.NewFile(uintptr(memory[0]), "handover"))
	} else {
		CloseAll(memory)
		err = errors.New("no memory came")
	}
	if err == nil && len(bodies) == 0 {
		err = errors.New("there is no list")
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("handover: %v: %w", Sessions, err)
	}
	list, bodies = bodies[0], bodies[1:]
	for len(sockets) < len(bodies) {
		_, some, err := c.await(Sockets)
		if err == nil && (len(some) == 0 || len(some) > len(bodies)-len(sockets)) {
			CloseAll(some)
			err = fmt.Errorf("handover: %d descriptors came for %d sessions", len(sockets)+len(some), len(bodies))
		}
		if err != nil {
			CloseAll(sockets)
			return nil, nil, nil, err
		}
		sockets = append(sockets, some...)
	}
	return list, bodies, sockets, nil
}

// readParts takes the memory over.
func readParts(memory *os.File) (bodies [][]byte, err error) {
	defer memory.Close()
	about, err := memory.Stat()
	if err != nil {
		return nil, err
	}
	if about.Size() > maxMessage {
		return nil, fmt.Errorf("%d bytes are too many", about.Size())
	}
	all := make([]byte, about.Size())
	if _, err := memory.ReadAt(all, 0); err != nil {
		return nil, err
	}
	for len(all) >= 4 {
		size := int(binary.BigEndian.Uint32(all))
		if size > len(all)-4 {
			break
		}
		bodies = append(bodies, all[4:4+size])
		all = all[4+size:]
	}
	if len(all) > 0 {
		return nil, errors.New("they are malformed")
	}
	return bodies, nil
}
