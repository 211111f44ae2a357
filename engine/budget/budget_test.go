package budget

import (
	"sync"
	"testing"
)

func TestTakeIsAllOrNothing(t *testing.T) {
	b := New(10)
	if !b.Take(8) || b.Take(3) || !b.Take(2) {
		t.Fatalf("a budget of 10 bytes took the wrong ones, %d are used", b.Used())
	}
	b.Give(8)
	if b.Used() != 2 || b.Refused() != 1 || b.Limit() != 10 {
		t.Fatalf("used %d, refused %d, limit %d", b.Used(), b.Refused(), b.Limit())
	}
}

func TestAddTellsWhenTheLimitIsPassed(t *testing.T) {
	b := New(10)
	if !b.Add(10) || b.Add(1) {
		t.Fatal("the limit is 10 bytes")
	}
	if b.Give(1); b.Used() != 10 {
		t.Fatalf("used %d", b.Used())
	}
}

func TestNoLimit(t *testing.T) {
	for _, b := range []*Budget{nil, New(0)} {
		if !b.Take(1<<40) || !b.Add(1) {
			t.Fatal("a budget without a limit refused")
		}
		b.Give(1<<40 + 1)
	}
}

// Concurrent takers never hold more than the limit together, and what they return is there again.
func TestConcurrentTakers(t *testing.T) {
	b := New(100)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if b.Take(30) {
					b.Give(30)
				}
			}
		})
	}
	all.Wait()
	if b.Used() != 0 {
		t.Fatalf("%d bytes are lost", b.Used())
	}
}

func TestMoreReturnedThanTaken(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	New(1).Give(1)
}
