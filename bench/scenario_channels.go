package bench

import (
	"context"
	"time"

	"push-server/bench/load"
	"push-server/bench/result"
)

const (
	few, many = "few", "many"
	talkers   = "talkers"
)

const (
	talkerCount   = 64
	manyChannels  = 50_000
	quietMax      = 100 // channels of one connection; more do not fit into a request head
	crowdMessages = 20
)

// channels compares the cost of a publication, and of a delivery, when a server has few channels and when it has many, with as many
// connections. Few are one that all follow, and one for each of those who are written to.
var channels = &Scenario{
	Name:     "channels",
	Doc:      "publications to one user each and to all, with 65 channels and, in turn, with 50,000",
	Defaults: Params{N: 5000, Time: 2 * time.Second},
	Plan:     planChannels,
	Run:      runChannels,
	Without:  foreign,
}

// planChannels has the two crowds apart, so that one can be there without the other.
func planChannels(p Params) *load.Plan {
	some := min(talkerCount, p.N/2)
	crowd := p.N - some
	quiet := min((manyChannels+crowd-1)/crowd, quietMax)
	return &load.Plan{
		Users: some + 2*crowd, Shared: 1, Payload: p.Payload, Expiry: p.Expiry,
		Groups: []load.Group{
			{Name: talkers, Count: some, Own: true},
			{Name: few, First: some, Count: crowd, Shared: []int{0}},
			{Name: many, First: some + crowd, Count: crowd, Shared: []int{0}, Quiet: quiet},
		},
	}
}

// crowdCost is what one crowd cost in each round, in µs.
type crowdCost struct{ publish, delivery []float64 }

func runChannels(ctx context.Context, t *Trial) error {
	if _, err := t.connect(ctx, talkers, 0); err != nil {
		return err
	}
	costs := map[string]*crowdCost{few: {}, many: {}}
	crowds := []string{few, many}
	for round := range t.Rounds + 1 { // the first one warms up
		for i := range crowds {
			crowd := crowds[(round+i)%len(crowds)]
			publish, delivery, err := t.withCrowd(ctx, crowd)
			if err != nil {
				return err
			}
			if c := costs[crowd]; round > 0 {
				c.publish, c.delivery = append(c.publish, publish), append(c.delivery, delivery)
			}
		}
	}
	t.setGrowth("fewPublish", "manyPublish", "publishGrowth", costs[few].publish, costs[many].publish)
	t.setGrowth("fewPerMillion", "manyPerMillion", "deliveryGrowth", costs[few].delivery, costs[many].delivery)
	return nil
}

// withCrowd lets a crowd come, measures, and lets it go.
func (t *Trial) withCrowd(ctx context.Context, crowd string) (publish, delivery float64, err error) {
	if _, err := t.connect(ctx, crowd, 0); err != nil {
		return 0, 0, err
	}
	g, err := t.Fleet.Plan.Group(talkers)
	if err != nil {
		return 0, 0, err
	}
	t.say("publishing with " + crowd + " channels")
	one := load.Campaign{First: t.Fleet.Plan.OwnStream(g.First), Streams: g.Count, Connections: t.Connections, Await: true, Time: t.Time}
	s, p, err := t.measurePublishing(ctx, one)
	if err != nil {
		return 0, 0, err
	}
	publish = micros(s.Cost.Server.Total()+s.Cost.Redis.Total(), p.Sent)
	s, _, err = t.measurePublishing(ctx, t.shared(0, crowdMessages))
	if err != nil {
		return 0, 0, err
	}
	delivery = micros(s.Cost.Server.Total(), s.Deliveries)
	return publish, delivery, t.Fleet.Drop(ctx, load.Drop{Group: crowd, Reset: true})
}

// setGrowth sets the medians, and that of the ratios of the rounds: both sides of a ratio meet the machine in the same state.
func (t *Trial) setGrowth(fewMetric, manyMetric, growth string, few, many []float64) {
	ratios := make([]float64, len(few))
	for i := range few {
		ratios[i] = 100 * many[i] / few[i]
	}
	t.set(fewMetric, result.SpreadOf(few).Median)
	t.set(manyMetric, result.SpreadOf(many).Median)
	t.set(growth, result.SpreadOf(ratios).Median)
}
