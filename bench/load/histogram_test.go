package load

import (
	"encoding/json"
	"testing"
	"time"
)

func TestLatencyTravels(t *testing.T) {
	l := NewLatency()
	l.record(int64(time.Millisecond))
	l.record(int64(-time.Second))
	l.record(int64(time.Hour))
	b, err := json.Marshal(Stats{Delivery: l, Broadcast: NewLatency()})
	if err != nil {
		t.Fatal(err)
	}
	var s Stats
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(&Stats{Delivery: l, Broadcast: NewLatency()}); err != nil {
		t.Fatal(err)
	}
	if n := s.Delivery.Count(); n != 6 {
		t.Errorf("%d durations", n)
	}
	if got := s.Delivery.Millis(50); got < 0.99 || got > 1.01 {
		t.Errorf("median %v ms", got)
	}
}
