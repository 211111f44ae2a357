package load

import (
	"testing"
	"time"
)

// An open loop that was held up must not forget what it was held up from: each job is timed from when it was due.
func TestOpenLoopIsTimedFromTheSchedule(t *testing.T) {
	const second = int64(time.Second)
	c := &campaign{
		Campaign: Campaign{Rate: 10, Streams: 3, Count: 100}, total: 100,
		every: float64(second) / 10, began: 5 * second,
		senders: make([]sender, 2), queues: make([][]job, 2),
	}
	next := c.schedule(6*second - 1) // called late: ten are due
	if c.waiting != 10 || next != 6*second {
		t.Fatalf("%d waiting, next at %d", c.waiting, next)
	}
	for i := range 10 {
		q := i % 3 % 2
		j, ok := c.next(q, 6*second)
		want := job{stream: i % 3, at: 5*second + int64(i)*second/10}
		if !ok || j != want {
			t.Errorf("job %d: %+v, want %+v", i, j, want)
		}
	}
}

// What is sent to one stream goes over one connection, or it could overtake itself.
func TestClosedLoopSharesStreams(t *testing.T) {
	c := &campaign{
		Campaign: Campaign{Streams: 5, Count: 1000}, total: 1000,
		senders: make([]sender, 2), queues: make([][]job, 2), free: make([]int, 2),
	}
	owner := make(map[int]int)
	for range 20 {
		for i := range 2 {
			j, _ := c.next(i, 0)
			if o, known := owner[j.stream]; known && o != i {
				t.Fatalf("stream %d is sent by %d and %d", j.stream, o, i)
			}
			owner[j.stream] = i
		}
	}
	if len(owner) != 5 {
		t.Errorf("streams %v", owner)
	}
}
