package poll

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"push-server/protocol"
)

func TestCounters(t *testing.T) {
	c := NewCounters(noon)
	f := func(want string) {
		t.Helper()
		if got := string(c.AppendJSON([]byte("x"))); got != "x"+want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f(`{"requests":{},"messages":{}}`)
	c.CountRequest(protocol.CommandServerStats)
	c.CountRequest(protocol.CommandPublish)
	c.CountRequest(protocol.CommandPublish)
	c.CountRequest(protocol.CommandNone)
	c.CountRequest(protocol.Command(9))
	f(`{"requests":{"incomingMessages":2,"serverStats":1},"messages":{}}`)
	c.CountRequest(protocol.CommandChannelStats)
	c.CountRequest(protocol.CommandRegister)
	c.CountMessage("")
	c.CountMessage("m_c")
	c.CountMessage("unknown")
	c.CountMessage("m_c")
	f(`{"requests":{"incomingMessages":2,"channelStats":1,"serverStats":1,"registration":1},"messages":{"unknown":2,"m_c":2}}`)
}

func TestCountersKnowTypes(t *testing.T) {
	f := func(messageType, counted string) {
		t.Helper()
		c := NewCounters(noon)
		c.CountMessage(messageType)
		if got, want := string(c.AppendJSON(nil)), `{"requests":{},"messages":{"`+counted+`":1}}`; got != want {
			t.Errorf("%q: %s", messageType, got)
		}
	}
	f("im_message", "im_message")
	f("aZ09_*-", "aZ09_*-")
	f(strings.Repeat("x", 32), strings.Repeat("x", 32))
	f(strings.Repeat("x", 33), "unknown")
	f("", "unknown")
	f("a b", "unknown")
	f(`a"`, "unknown")
	f("a.b", "unknown")
	f("é", "unknown")
	f("a\n", "unknown")
}

func TestCountersBoundTypes(t *testing.T) {
	c := NewCounters(noon)
	for i := range 2 * maxTypes {
		c.CountMessage(fmt.Sprint(i))
	}
	c.CountMessage("0")
	c.CountMessage("unknown")
	if len(c.messages) != maxTypes+1 || c.messages["unknown"] != maxTypes+1 || c.messages["0"] != 2 {
		t.Errorf("%d types, %d unknown, %d of the first", len(c.messages), c.messages["unknown"], c.messages["0"])
	}
}

func TestCountersBeginAtMidnight(t *testing.T) {
	zone := time.FixedZone("zone", 3*60*60)
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, zone)
	c := NewCounters(func() time.Time { return now })
	f := func(at time.Time, want string) {
		t.Helper()
		now = at
		if got := string(c.AppendJSON(nil)); got != want {
			t.Errorf("at %v: %s, want %s", at, got, want)
		}
	}
	const none, one = `{"requests":{},"messages":{}}`, `{"requests":{"incomingMessages":1},"messages":{"unknown":1}}`
	c.CountRequest(protocol.CommandPublish)
	c.CountMessage("")
	f(time.Date(2026, 11, 23, 23, 59, 59, 999, zone), one)
	f(time.Date(2026, 11, 24, 0, 0, 0, 0, zone), none)
	now = time.Date(2026, 11, 26, 12, 0, 0, 0, zone) // nobody asked for two days
	c.CountRequest(protocol.CommandPublish)
	c.CountMessage("")
	f(time.Date(2026, 11, 26, 23, 0, 0, 0, zone), one)
	f(time.Date(2026, 11, 27, 0, 0, 0, 1, zone), none)
}

func TestCountersConcurrently(t *testing.T) {
	c := NewCounters(noon)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				c.CountRequest(protocol.CommandPublish)
				c.CountMessage("x")
				c.AppendJSON(nil)
			}
		})
	}
	wg.Wait()
	if got := string(c.AppendJSON(nil)); got != `{"requests":{"incomingMessages":400},"messages":{"x":400}}` {
		t.Error(got)
	}
}

// Another process goes on with the day, and keeps the order of types; with another day it has nothing to do.
func TestCountersGoOn(t *testing.T) {
	c, next := NewCounters(noon), NewCounters(noon)
	for _, text := range []string{"b", "a", "b", ""} {
		c.CountRequest(protocol.CommandPublish)
		c.CountMessage(text)
	}
	next.GoOn(c.Day())
	next.CountMessage("c")
	next.CountRequest(protocol.CommandServerStats)
	const want = `{"requests":{"incomingMessages":4,"serverStats":1},"messages":{"b":2,"a":1,"unknown":1,"c":1}}`
	if got := string(next.AppendJSON(nil)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	tomorrow := NewCounters(func() time.Time { return noon().AddDate(0, 0, 1) })
	tomorrow.GoOn(c.Day())
	if got := string(tomorrow.AppendJSON(nil)); got != `{"requests":{},"messages":{}}` {
		t.Errorf("the next day has %s", got)
	}
}
