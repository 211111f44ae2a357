package redisbus_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"push-server/protocol"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

// What tools ask leaves Redis as it is, down to every key, and is answered as things are.
func TestInspectionChangesNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	publishAll(t, bus, numbered(0, 3, alice))
	server.Do("HSET", "stats", "somebody", "{}")
	all := history(t, bus, alice)
	first, last := all[0].ID, all[2].ID
	server.Do("DEL", "message:"+string(first[:]))
	before := everything(t, server)

	ctx := timeout(t, patience)
	if missing, err := bus.Missing(ctx); err != nil || len(missing) > 0 {
		t.Errorf("%v, %v", missing, err)
	}
	if latest, ok, err := bus.Latest(ctx, alice); err != nil || !ok || latest.ID != last || latest.Publication == nil || latest.Remaining <= 0 {
		t.Errorf("latest: %+v, %v, %v", latest, ok, err)
	}
	if gone, err := bus.Record(ctx, first); err != nil || gone.Publication != nil {
		t.Errorf("a message that is gone: %+v, %v", gone, err)
	}
	for id, want := range map[protocol.MessageID]bool{first: true, last: true, protocol.MakeMessageID(1, 1): false} {
		if listed, err := bus.Listed(ctx, alice, id); err != nil || listed != want {
			t.Errorf("%v is listed: %v, %v", id, listed, err)
		}
	}
	if ids, err := bus.Living(ctx, alice, protocol.MessageID{}, 10); err != nil || len(ids) != 2 || ids[1] != last {
		t.Errorf("living: %v, %v", ids, err)
	}
	if startdate, counter, err := bus.Counter(ctx); err != nil || protocol.MakeMessageID(startdate, counter) != last {
		t.Errorf("counter: %d, %d, %v", startdate, counter, err)
	}
	if after := everything(t, server); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// everything is all keys with their values.
func everything(t *testing.T, server *redistest.Server) string {
	t.Helper()
	m := server.Do("KEYS", "*")
	keys, err := m.AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, key := range keys {
		value := server.Do("DUMP", key)
		text, err := value.ToString()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%q %q\n", key, text)
	}
	return b.String()
}
