package channels

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"push-server/protocol"
)

// The table agrees with a plain map, whatever comes and goes.
func TestChannelTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	table := New()
	var ids []protocol.ChannelID
	for i := range 300 {
		id := numbered(i)
		ids = append(ids, id, protocol.ChannelID{Bytes: id.Bytes}) // two name spaces
	}
	subs := make(map[uint32][]Subscription) // by session
	want := make(map[protocol.ChannelID]map[uint32]bool)
	leave := func(session uint32) {
		for _, sub := range subs[session] {
			delete(want[table.Channel(sub)], session)
			if moved, ok := table.Leave(sub); ok {
				subs[moved.Session][moved.At].Pos = sub.Pos
			}
		}
		delete(subs, session)
	}
	for step := range 20_000 {
		session := uint32(rng.IntN(400))
		if subs[session] != nil {
			leave(session)
			continue
		}
		for at := range uint32(1 + rng.IntN(3)) {
			id := ids[rng.IntN(len(ids))]
			if want[id][session] {
				continue
			}
			if want[id] == nil {
				want[id] = make(map[uint32]bool)
			}
			want[id][session] = true
			subs[session] = append(subs[session], table.Join(&id, session, uint32(len(subs[session]))))
			_ = at
		}
		if step%500 != 0 {
			continue
		}
		for _, id := range ids {
			got := table.Subscribers(&id)
			for _, m := range got {
				if !want[id][m.Session] {
					t.Fatalf("step %d: session %d does not listen", step, m.Session)
				}
			}
			if len(got) != len(want[id]) {
				t.Fatalf("step %d: %d subscribers, want %d", step, len(got), len(want[id]))
			}
		}
	}
	for session := range subs {
		leave(session)
	}
	if table.Len() != 0 || table.Private() != 0 || len(table.All()) != 0 {
		t.Errorf("%d channels, %d private, are left", table.Len(), table.Private())
	}
}

// The slab of channels is what a connection costs here.
func TestSizeOfAChannel(t *testing.T) {
	if size := unsafe.Sizeof(channel{}); size > 28 {
		t.Errorf("a channel takes %d bytes", size)
	}
}
