package channels

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"push-server/protocol"
)

// tableModel is a table and a plain map of the same.
type tableModel struct {
	table Table
	subs  map[uint32][]Subscription // by session
	want  map[protocol.ChannelID]map[uint32]bool
}

func (m *tableModel) join(id protocol.ChannelID, session uint32) {
	if m.want[id][session] {
		return
	}
	if m.want[id] == nil {
		m.want[id] = make(map[uint32]bool)
	}
	m.want[id][session] = true
	m.subs[session] = append(m.subs[session], m.table.Join(&id, session, uint32(len(m.subs[session]))))
}

func (m *tableModel) leave(session uint32, at int) {
	subs := m.subs[session]
	delete(m.want[m.table.Channel(subs[at])], session)
	if moved, ok := m.table.Leave(subs[at]); ok {
		m.subs[moved.Session][moved.At].Pos = subs[at].Pos
	}
	m.subs[session] = slices.Delete(subs, at, at+1)
	for i, sub := range m.subs[session][at:] {
		m.table.Renumber(sub, uint32(at+i))
	}
}

func (m *tableModel) check(t *testing.T, ids []protocol.ChannelID) {
	t.Helper()
	for _, id := range ids {
		got := m.table.Subscribers(&id)
		for _, member := range got {
			if !m.want[id][member.Session] {
				t.Fatalf("session %d does not listen", member.Session)
			}
			if m.table.Channel(m.subs[member.Session][member.At]) != id {
				t.Fatalf("subscription %d of session %d is another one", member.At, member.Session)
			}
		}
		if len(got) != len(m.want[id]) {
			t.Fatalf("%d subscribers, want %d", len(got), len(m.want[id]))
		}
	}
}

// The table agrees with a plain map, whatever comes and goes.
func TestChannelTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	m := tableModel{table: New(), subs: make(map[uint32][]Subscription), want: make(map[protocol.ChannelID]map[uint32]bool)}
	var ids []protocol.ChannelID
	for i := range 300 {
		id := numbered(i)
		ids = append(ids, id, protocol.ChannelID{Bytes: id.Bytes}) // two name spaces
	}
	for step := range 20_000 {
		session := uint32(rng.IntN(400))
		if n := len(m.subs[session]); n > 0 && rng.IntN(3) > 0 {
			m.leave(session, rng.IntN(n))
		} else {
			for range 1 + rng.IntN(3) {
				m.join(ids[rng.IntN(len(ids))], session)
			}
		}
		if step%500 == 0 {
			m.check(t, ids)
		}
	}
	for session, subs := range m.subs {
		for i := len(subs) - 1; i >= 0; i-- {
			m.leave(session, i)
		}
	}
	if m.table.Len() != 0 || m.table.Private() != 0 || len(m.table.All()) != 0 {
		t.Errorf("%d channels, %d private, are left", m.table.Len(), m.table.Private())
	}
}

// The slab of channels is what a connection costs here.
func TestSizeOfAChannel(t *testing.T) {
	if size := unsafe.Sizeof(channel{}); size > 28 {
		t.Errorf("a channel takes %d bytes", size)
	}
}
