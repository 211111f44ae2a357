package channels

import (
	"encoding/binary"
	"testing"

	"push-server/protocol"
)

func numbered(i int) protocol.ChannelID {
	ch := protocol.ChannelID{Private: true}
	binary.LittleEndian.PutUint32(ch.Bytes[8:], uint32(i)*2654435761) // spread as digests are
	return ch
}

func hasChannel(table *Table, i int) bool {
	return table.Interested([]protocol.Receiver{{Channel: numbered(i)}})
}

// A channel with subscribers is always of interest, through growth and departures; one without hardly ever.
func TestInterest(t *testing.T) {
	const n = 10_000
	table := New()
	subs := make([]Subscription, n)
	for i := range subs {
		ch := numbered(i)
		subs[i] = table.Join(&ch, uint32(i), 0)
		if !hasChannel(&table, i) {
			t.Fatalf("channel %d is of no interest", i)
		}
	}
	for i := range n / 2 {
		table.Leave(subs[i])
	}
	none := 0
	for i := range n {
		switch has := hasChannel(&table, i); {
		case i >= n/2 && !has:
			t.Fatalf("channel %d is of no interest after others have left", i)
		case !has:
			none++
		}
	}
	if none < n/2*8/10 {
		t.Errorf("%d of %d channels without subscribers are of no interest", none, n/2)
	}
}

// A counter that was full once stays, since it has forgotten how many there are.
func TestFullCounterStays(t *testing.T) {
	in := new(interest)
	in.count(64, nil, nil)
	ch := numbered(1)
	for range 20 {
		in.enter(Hash(&ch))
	}
	for range 20 {
		in.leave(Hash(&ch))
	}
	if !in.has([]protocol.Receiver{{Channel: numbered(2)}, {Channel: ch}}) {
		t.Error("the counter is empty")
	}
}
