package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"push-server/bench/load"
	"push-server/bench/target"
)

// Params are the numbers of a scenario. A zero takes the scenario's default.
type Params struct {
	N           int           // connections
	Payload     int           // bytes of a body
	Expiry      int           // seconds in history
	Rate        float64       // publications a second in the open loop
	Connections int           // publications under way in the closed loop
	Time        time.Duration // of each measurement
	Rounds      int           // of scenarios that measure in turn with the floor
	Dial        int           // handshakes under way at a time
	Patience    time.Duration // without a message, after which what is pending counts as lost
	Rest        time.Duration // that memory is given to fall before it is measured
}

// or fills in what p leaves open.
func (p Params) or(d Params) Params {
	fill(&p.N, d.N)
	fill(&p.Payload, d.Payload)
	fill(&p.Expiry, d.Expiry)
	fill(&p.Rate, d.Rate)
	fill(&p.Connections, d.Connections)
	fill(&p.Time, d.Time)
	fill(&p.Rounds, d.Rounds)
	fill(&p.Dial, d.Dial)
	fill(&p.Patience, d.Patience)
	fill(&p.Rest, d.Rest)
	return p
}

func fill[T comparable](p *T, d T) {
	var zero T
	if *p == zero {
		*p = d
	}
}

// common are the defaults that scenarios share.
var common = Params{Payload: 200, Expiry: 600, Connections: 64, Time: 5 * time.Second, Rounds: 5, Dial: 256, Patience: 3 * time.Second, Rest: rest}

// Scenario is a way to use a server, and what is measured of it.
type Scenario struct {
	Name     string
	Doc      string // one line
	Defaults Params
	// Plan says who subscribes to what. Its target is filled in later.
	Plan func(p Params) *load.Plan
	Run  func(ctx context.Context, t *Trial) error
	// Floor is the group that connects to the floor; "": no floor is needed.
	Floor string
	// Config is JSON merged into the configuration of this project's server; "": the usual one.
	Config string
	// Without are kinds of servers that cannot do this.
	Without []string
}

// Scenarios are all scenarios, in the order in which they run.
var Scenarios = []*Scenario{idle, idlePoll, connect, fanout, unique, poll, channels, replay, storm, stormOwn, mixed, upgrade, soak}

// FindScenario finds a scenario by name.
func FindScenario(name string) (*Scenario, error) {
	var names []string
	for _, s := range Scenarios {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return nil, fmt.Errorf("bench: no scenario %q; known are %s", name, strings.Join(names, ", "))
}

// Can says whether a kind of server can do the scenario.
func (s *Scenario) Can(kind string) bool { return !slices.Contains(s.Without, kind) }

// What other servers cannot do, or not in a way that can be compared.
var (
	noPolls = []string{target.Centrifugo, target.CentrifugoRedis}
	foreign = append([]string{target.Nchan, target.NchanRedis}, noPolls...) // what only the dialect of the push server can do
)

// everybody is a plan with one group of n users.
func everybody(p Params, g load.Group) *load.Plan {
	g.Name, g.Count = all, p.N
	return &load.Plan{Users: p.N, Groups: []load.Group{g}, Shared: len(g.Shared), Payload: p.Payload, Expiry: p.Expiry}
}

// all is the name of the group that everybody is in.
const all = "all"
