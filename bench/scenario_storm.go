package bench

import (
	"context"
	"time"

	"push-server/bench/load"
)

// A storm is everybody who returns at once, many messages behind, which have left the window: they are read from history. What all have
// missed can be read and framed once for many of them, what each has missed alone cannot.
const behind = 100

var storm = &Scenario{
	Name:     "storm",
	Doc:      "everybody returns at once, a hundred messages of one channel behind, which only history has",
	Defaults: Params{N: 10_000, Dial: 2048},
	Plan:     func(p Params) *load.Plan { return everybody(p, load.Group{Shared: []int{0}}) },
	Run: func(ctx context.Context, t *Trial) error {
		return t.storm(ctx, behind, t.shared(0, 1), t.shared(0, behind))
	},
	Without: foreign,
	Config:  `{"push":{"windowCount":64}}`,
}

var stormOwn = &Scenario{
	Name:     "storm-own",
	Doc:      "the same with a channel for each",
	Defaults: Params{N: 2000, Dial: 2048},
	Plan:     func(p Params) *load.Plan { return everybody(p, load.Group{Own: true, Shared: []int{0}}) },
	Run: func(ctx context.Context, t *Trial) error {
		return t.storm(ctx, behind, t.shared(0, 1), load.Campaign{
			First: t.Fleet.Plan.OwnStream(0), Streams: t.N, Connections: 2, Count: t.N, Batch: behind,
			Rate: float64(t.N) / time.Millisecond.Seconds(), // all of them are due at once, so that each channel gets one
		})
	},
	Without: foreign,
	Config:  `{"push":{"windowCount":4096}}`,
}
