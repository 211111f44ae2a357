package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Sessions do not go over the socket pair: it holds few of them, so that the two processes would wait for each other again and again. They
// stand in memory that both have, and only descriptors follow, of which it holds thousands.

// SendParts sends bodies as they are, each with its descriptor, which stays open here.
func (c *Conn) SendParts(bodies [][]byte, sockets []int) error {
	size := 0
	for _, b := range bodies {
		size += 4 + len(b)
	}
	all := make([]byte, 0, size)
	for _, b := range bodies {
		all = binary.BigEndian.AppendUint32(all, uint32(len(b)))
		all = append(all, b...)
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
func (c *Conn) ReceiveParts() (bodies [][]byte, sockets []int, err error) {
	_, memory, err := c.await(Sessions)
	if err != nil {
		return nil, nil, err
	}
	if len(memory) == 1 {
		bodies, err = readParts(os.NewFile(uintptr(memory[0]), "handover"))
	} else {
		CloseAll(memory)
		err = errors.New("no memory came")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("handover: %v: %w", Sessions, err)
	}
	for len(sockets) < len(bodies) {
		_, some, err := c.await(Sockets)
		if err == nil && (len(some) == 0 || len(some) > len(bodies)-len(sockets)) {
			CloseAll(some)
			err = fmt.Errorf("handover: %d descriptors came for %d sessions", len(sockets)+len(some), len(bodies))
		}
		if err != nil {
			CloseAll(sockets)
			return nil, nil, err
		}
		sockets = append(sockets, some...)
	}
	return bodies, sockets, nil
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
