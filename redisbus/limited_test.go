package redisbus_test

import (
	"strings"
	"testing"

	"push-server/protocol"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

// Within a limit of bytes all is read that is read without one, whatever its length, and short bodies are not asked for again.
func TestLimitedHistory(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	read := func(shared bool, maxBytes int) protocol.HistoryAnswer {
		t.Helper()
		query := protocol.HistoryQuery{Channels: []protocol.ChannelID{alice}, Shared: []bool{shared}}
		answers, err := bus.History(timeout(t, patience), []protocol.HistoryQuery{query}, maxBytes)
		if err != nil {
			t.Fatal(err)
		}
		return answers[0]
	}
	publishAll(t, bus, numbered(0, 50, alice))
	server.Do("CONFIG", "RESETSTAT")
	if a := read(false, 1<<20); len(a.Publications) != 50 || a.More || server.Calls("mget") != 0 || server.Calls("getrange") != 50 {
		t.Errorf("%d publications, %d of mget, %d of getrange", len(a.Publications), server.Calls("mget"), server.Calls("getrange"))
	}
	for n := range 200 {
		publishAll(t, bus, []*protocol.Publication{publication(strings.Repeat("x", 3950+n), 3600, alice)})
	}
	all := read(false, 0).Publications
	server.Do("DEL", "message:"+string(all[3].ID[:]), "message:"+string(all[100].ID[:]), "message:"+string(all[249].ID[:]))
	server.Do("HSET", "message:"+string(all[249].ID[:]), "a", "b")
	wanted := bodies(append(append(append(all[:0:0], all[:3]...), all[4:100]...), all[101:249]...))
	for _, shared := range []bool{false, true, true, false} {
		if a := read(shared, 1<<20); bodies(a.Publications) != wanted || a.More {
			t.Errorf("shared %t: %d publications, more: %t", shared, len(a.Publications), a.More)
		}
		if a := read(shared, 50_000); !strings.HasPrefix(wanted, bodies(a.Publications)) || len(a.Publications) < 50 || len(a.Publications) > 65 || !a.More {
			t.Errorf("shared %t, a part: %d publications, more: %t", shared, len(a.Publications), a.More)
		}
		if a := read(shared, 1); bodies(a.Publications) != "0" || !a.More {
			t.Errorf("shared %t, one: %d publications, more: %t", shared, len(a.Publications), a.More)
		}
	}
}
