package redisbus_test

import (
	"testing"

	"push-server/engine"
	"push-server/engine/bustest"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

var (
	_ engine.Bus        = (*redisbus.Bus)(nil)
	_ engine.Presence   = (*redisbus.Bus)(nil)
	_ engine.Statistics = (*redisbus.Bus)(nil)
)

func TestContract(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bustest.Factory {
		server := redistest.Start(t)
		t.Cleanup(func() { wantOldCommands(t, server) })
		proxy := server.Proxy(t)
		return bustest.Factory{
			Open:       func(t *testing.T) engine.Bus { return open(t, redisbus.Options{Addr: proxy.Addr()}) },
			Processes:  true,
			LoseAnswer: func(*testing.T) { proxy.LoseAnswer("EVALSHA") },
		}
	})
}

// wantOldCommands fails a test after which the server was asked for something that Redis 6.0, the oldest that is supported, does not have.
func wantOldCommands(t *testing.T, server *redistest.Server) {
	t.Helper()
	if newer := server.CommandsAfter60(); len(newer) > 0 {
		t.Errorf("these are not in Redis 6.0: %q", newer)
	}
}

// open makes a bus that is closed at the end of the test.
func open(t testing.TB, o redisbus.Options) *redisbus.Bus {
	t.Helper()
	bus, err := redisbus.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	return bus
}
