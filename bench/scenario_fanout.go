package bench

import (
	"context"
	"time"

	"push-server/bench/load"
	"push-server/bench/proc"
	"push-server/bench/result"
)

const (
	// fanoutMessages is how many messages each side sends to all in one round.
	fanoutMessages = 20
	burst          = 10
	steadyRate     = 4 // messages a second to all
	floorGroup     = "floor"
)

var fanout = &Scenario{
	Name:     "fanout",
	Doc:      "one channel, N subscribers, in turn with a raw write(2) loop on N equal sockets; bursts; steady traffic",
	Defaults: Params{N: 10_000, Time: 10 * time.Second},
	Floor:    floorGroup,
	// The subscribers of the floor are users N … 2N-1 and follow the second shared channel.
	Plan: func(p Params) *load.Plan {
		return &load.Plan{
			Users: 2 * p.N, Shared: 2, Payload: p.Payload, Expiry: p.Expiry,
			Groups: []load.Group{
				{Name: all, Count: p.N, Shared: []int{0}},
				{Name: floorGroup, First: p.N, Count: p.N, Shared: []int{1}},
			},
		}
	},
	Run: runFanout,
}

func runFanout(ctx context.Context, t *Trial) error {
	for _, group := range []string{all, floorGroup} {
		if _, err := t.connect(ctx, group, 0); err != nil {
			return err
		}
	}
	t.say("warming up")
	if _, err := t.publish(ctx, t.shared(0, 5)); err != nil {
		return err
	}
	if err := t.againstFloor(ctx); err != nil {
		return err
	}
	if t.Server.Target.Dialect == "push" {
		if err := t.bursts(ctx); err != nil {
			return err
		}
	}
	return t.steady(ctx)
}

// side is what one of the two did in all rounds.
type side struct {
	deliveries int64
	elapsed    time.Duration
	cpu        proc.CPU
	rates      []float64 // of each round
	costs      []float64 // CPU seconds per million, of each round
}

func (s *side) add(deliveries int64, elapsed time.Duration, cpu proc.CPU) {
	s.deliveries += deliveries
	s.elapsed += elapsed
	s.cpu.User += cpu.User
	s.cpu.System += cpu.System
	s.rates = append(s.rates, perSecond(deliveries, elapsed))
	s.costs = append(s.costs, micros(cpu.Total(), deliveries))
}

// againstFloor lets the server and the floor send in turn, the one that begins changing each round.
func (t *Trial) againstFloor(ctx context.Context) error {
	var server, floor side
	var allocs, publishes float64
	var reads, messages int64
	turns := []func() error{
		func() error {
			t.say("fan-out")
			s, p, err := t.measurePublishing(ctx, t.shared(0, fanoutMessages))
			if err != nil {
				return err
			}
			server.add(s.Deliveries, p.Elapsed, s.Cost.Server)
			allocs += s.Metrics["go_memstats_mallocs_total"]
			publishes += fanoutMessages
			reads, messages = reads+s.Stats.Reads, messages+s.Deliveries
			return nil
		},
		func() error { return t.floorTurn(ctx, &floor) },
	}
	for round := range t.Rounds {
		for i := range turns {
			if err := turns[(round+i)%len(turns)](); err != nil {
				return err
			}
		}
	}
	t.setFanout(&server, &floor)
	if allocs > 0 && messages > 0 {
		t.set("allocsPerDelivery", allocs/float64(messages))
	}
	if reads > 0 {
		t.set("messagesPerRead", float64(messages)/float64(reads))
	}
	return nil
}

func (t *Trial) floorTurn(ctx context.Context, floor *side) error {
	t.say("floor")
	before, err := proc.CPUOf(t.Fleet.FloorPID())
	if err != nil {
		return err
	}
	deliveries := t.Fleet.Totals().Deliveries
	elapsed, err := t.Fleet.Spread(ctx, load.Spread{
		Stream: t.Fleet.Plan.SharedStream(1), Count: fanoutMessages, Threads: proc.Here().Cores,
	})
	if err != nil {
		return err
	}
	after, err := proc.CPUOf(t.Fleet.FloorPID())
	floor.add(t.Fleet.Totals().Deliveries-deliveries, elapsed, after.Sub(before))
	return err
}

func (t *Trial) setFanout(server, floor *side) {
	t.set("deliveriesPerSecond", perSecond(server.deliveries, server.elapsed))
	t.set("cpuPerMillion", micros(server.cpu.Total(), server.deliveries))
	t.set("userPerMillion", micros(server.cpu.User, server.deliveries))
	t.set("floorDeliveriesPerSecond", perSecond(floor.deliveries, floor.elapsed))
	t.set("floorCpuPerMillion", micros(floor.cpu.Total(), floor.deliveries))
	var rates, costs []float64
	for i := range server.rates {
		rates = append(rates, 100*server.rates[i]/floor.rates[i])
		if floor.costs[i] > 0 {
			costs = append(costs, 100*server.costs[i]/floor.costs[i])
		}
	}
	t.set("rateOfFloor", result.SpreadOf(rates).Median)
	t.set("cpuOfFloor", result.SpreadOf(costs).Median)
}

// bursts publishes several messages in one request, as a back end does after a large change.
func (t *Trial) bursts(ctx context.Context) error {
	t.say("bursts")
	c := t.shared(0, fanoutMessages)
	c.Batch = burst
	s, p, err := t.measurePublishing(ctx, c)
	if err != nil {
		return err
	}
	t.set("burstDeliveriesPerSecond", perSecond(s.Deliveries, p.Elapsed))
	t.set("burstCpuPerMillion", micros(s.Cost.Server.Total(), s.Deliveries))
	return nil
}

// steady publishes a few messages a second to all, whatever the server does.
func (t *Trial) steady(ctx context.Context) error {
	t.say("steady traffic")
	c := load.Campaign{First: t.Fleet.Plan.SharedStream(0), Streams: 1, Connections: 1, Rate: steadyRate, Time: t.Time}
	s, _, err := t.measurePublishing(ctx, c)
	if err != nil {
		return err
	}
	p := result.Describe(s.Stats.Broadcast)
	t.Run.Latency["steady"] = p
	t.set("steadyP50", p.P50)
	t.set("steadyP99", p.P99)
	return nil
}
