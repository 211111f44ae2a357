package load

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Board is memory that all processes of a run share: a set of counters for each worker and three numbers for each stream. It is
// made by the parent and inherited by the workers as an open file. Everything in it is read and written atomically.
type Board struct {
	mem     []byte
	file    *os.File
	workers []Tally
	streams []streamState
}

// Tally is what one worker counts while it runs, for the progress line and for waiting. It fills its own cache lines.
type Tally struct {
	Connected  atomic.Int64 // connections that are open and subscribed now
	Deliveries atomic.Int64 // messages read by subscribers
	Answered   atomic.Int64 // publications answered with success
	Trouble    atomic.Int64 // anything that fails the run
	_          [96]byte
}

// streamState is what is known of a stream.
type streamState struct {
	published atomic.Uint32 // number of the last message sent
	delivered atomic.Uint32 // deliveries of all its messages to all its subscribers
	receivers atomic.Uint32 // subscribers that follow it now
	_         uint32
}

// NewBoard makes a board for workers and streams.
func NewBoard(workers, streams int) (*Board, error) {
	fd, err := unix.MemfdCreate("push-bench", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("load: shared memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "push-bench-board")
	if err := f.Truncate(int64(boardSize(workers, streams))); err != nil {
		f.Close()
		return nil, fmt.Errorf("load: shared memory: %w", err)
	}
	return OpenBoard(f, workers, streams)
}

// OpenBoard maps the board that f holds. The board owns f.
func OpenBoard(f *os.File, workers, streams int) (*Board, error) {
	mem, err := unix.Mmap(int(f.Fd()), 0, boardSize(workers, streams), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("load: shared memory: %w", err)
	}
	b := &Board{mem: mem, file: f}
	// The mapping is page-aligned, never moves, and holds no Go pointers; it outlives these slices because Close drops them first.
	b.workers = unsafe.Slice((*Tally)(unsafe.Pointer(&mem[0])), workers)
	b.streams = unsafe.Slice((*streamState)(unsafe.Pointer(&mem[workers*int(unsafe.Sizeof(Tally{}))])), streams)
	return b, nil
}

func boardSize(workers, streams int) int {
	return workers*int(unsafe.Sizeof(Tally{})) + (streams+1)*int(unsafe.Sizeof(streamState{}))
}

// Close unmaps the board.
func (b *Board) Close() error {
	b.workers, b.streams = nil, nil
	err := unix.Munmap(b.mem)
	if e := b.file.Close(); err == nil {
		err = e
	}
	return err
}

// Total sums the tallies of all workers.
func (b *Board) Total() (t Totals) {
	for i := range b.workers {
		w := &b.workers[i]
		t.Connected += w.Connected.Load()
		t.Deliveries += w.Deliveries.Load()
		t.Answered += w.Answered.Load()
		t.Trouble += w.Trouble.Load()
	}
	return t
}

// Totals are the tallies of all workers together.
type Totals struct{ Connected, Deliveries, Answered, Trouble int64 }
