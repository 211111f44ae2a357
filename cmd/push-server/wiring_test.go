package main

import (
	"testing"

	"push-server/configs"
)

// Zero in the configuration is no limit, which the engine would take for its default.
func TestClientRate(t *testing.T) {
	f := func(configured, want int) {
		t.Helper()
		if got := clientRate(&configs.Push{ClientRate: configured}); got != want {
			t.Errorf("%d in the configuration is %d for the engine, want %d", configured, got, want)
		}
	}
	f(configs.Default().Push.ClientRate, 100)
	f(7, 7)
	f(0, -1)
}
