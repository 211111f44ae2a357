package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"push-server/bench/load"
	"push-server/bench/proc"
	"push-server/bench/result"
	"push-server/bench/target"
)

const (
	texts = "texts"

	upgradePolls = 0.2
	upgradeChurn = 0.05 // of the connections, a second

	// upgradeTail is how long after an upgrade messages count as those that it has delayed.
	upgradeTail = 250 * time.Millisecond

	// leastUpgrades is from how many on memory is judged: how much garbage there is at the moment is chance.
	leastUpgrades = 20
)

var upgrade = &Scenario{
	Name:     "upgrade",
	Doc:      "another process takes over, again and again, while messages come and clients come and go",
	Defaults: Params{N: 10_000, Rate: 2000, Rounds: 28, Time: 3 * time.Second},
	Plan:     upgradePlan,
	Run:      runUpgrade,
	Config:   `{"push": {"logLevel": "info"}}`,
	Without:  append([]string{target.Node, target.External}, foreign...),
}

// upgradePlan is N people, those with WebSockets in either framing, and those who poll.
func upgradePlan(p Params) *load.Plan {
	poll := int(float64(p.N) * upgradePolls)
	text := (p.N - poll) / 2
	group := func(name string, first, count int) load.Group {
		g := portalUser
		g.Name, g.First, g.Count = name, first, count
		if g.Poll = name == polls; name == texts {
			g.Format = load.Text
		}
		return g
	}
	return &load.Plan{
		Users: p.N, Shared: 1, Payload: p.Payload, Expiry: p.Expiry,
		Groups: []load.Group{group(sockets, 0, p.N-poll-text), group(texts, p.N-poll-text, text), group(polls, p.N-poll, poll)},
	}
}

// upgrades is what happened in a series of them.
type upgrades struct {
	pauses          []time.Duration
	during, between *load.Latency
	retries         int64
	memory, files   []float64 // after each
}

func runUpgrade(ctx context.Context, t *Trial) error {
	groups := []string{sockets, texts, polls}
	for _, g := range groups {
		if _, err := t.connect(ctx, g, 0); err != nil {
			return err
		}
	}
	t.say("giving everybody a position")
	if _, err := t.publish(ctx, t.shared(0, 1)); err != nil {
		return err
	}
	if err := t.churnAll(ctx, groups, float64(t.N)*upgradeChurn); err != nil {
		return err
	}
	stop, ended := t.publishOn(ctx)
	u := &upgrades{during: load.NewLatency(), between: load.NewLatency()}
	err := t.rest(ctx, u)
	for i := 0; i < t.Rounds && err == nil; i++ {
		t.say(fmt.Sprintf("upgrade %d of %d", i+1, t.Rounds))
		err = t.upgradeOnce(ctx, u)
	}
	close(stop)
	err = errors.Join(err, <-ended, t.churnAll(ctx, groups, 0))
	if err == nil {
		_, err = t.Fleet.Settle(ctx, t.Patience)
	}
	return errors.Join(err, t.judgeUpgrades(u))
}

// publishOn publishes to one user after the other until stop is closed.
func (t *Trial) publishOn(ctx context.Context) (stop chan struct{}, ended chan error) {
	stop, ended = make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			if _, err := t.Fleet.Publish(ctx, load.Campaign{Streams: t.N, Connections: t.Connections, Rate: t.Rate, Time: t.Time}); err != nil {
				ended <- err
				return
			}
		}
	}()
	return stop, ended
}

func (t *Trial) churnAll(ctx context.Context, groups []string, rate float64) error {
	for _, name := range groups {
		g, err := t.Fleet.Plan.Group(name)
		if err != nil {
			return err
		}
		if err := t.Fleet.Churn(ctx, load.Churn{Group: name, Rate: rate * float64(g.Count) / float64(t.N)}); err != nil {
			return err
		}
	}
	return nil
}

// upgradeOnce is an upgrade, and what goes on behind it.
func (t *Trial) upgradeOnce(ctx context.Context, u *upgrades) error {
	stood, err := t.Server.Upgrade(ctx)
	if err != nil {
		return err
	}
	u.pauses = append(u.pauses, stood)
	if err := pause(ctx, upgradeTail); err != nil {
		return err
	}
	if err := t.collectDelivery(ctx, u, u.during); err != nil {
		return err
	}
	if err := t.rest(ctx, u); err != nil {
		return err
	}
	memory, err := t.memory()
	if err != nil {
		return err
	}
	files, err := proc.Descriptors(t.Server.PIDs...)
	u.memory, u.files = append(u.memory, memory), append(u.files, float64(files))
	return err
}

// rest is the time between two upgrades.
func (t *Trial) rest(ctx context.Context, u *upgrades) error {
	if err := pause(ctx, t.Time); err != nil {
		return err
	}
	return t.collectDelivery(ctx, u, u.between)
}

// collectDelivery adds what was delivered since the last time to a histogram.
func (t *Trial) collectDelivery(ctx context.Context, u *upgrades, to *load.Latency) error {
	s, err := t.Fleet.Stats(ctx, true)
	if err != nil {
		return err
	}
	u.retries += s.Retries
	return to.Add(s.Delivery)
}

func (t *Trial) judgeUpgrades(u *upgrades) error {
	if len(u.files) == 0 {
		return nil
	}
	first, last := 0, len(u.files)-1
	during, between := result.Describe(u.during), result.Describe(u.between)
	t.Run.Latency["upgrade"], t.Run.Latency["between"] = during, between
	t.set("upgrades", float64(len(u.pauses)))
	t.set("upgradePause", millis(slices.Max(u.pauses)))
	t.set("upgradeP99", during.P99)
	t.set("upgradeMax", during.Max)
	t.set("betweenP99", between.P99)
	t.set("upgradeRetries", float64(u.retries))
	t.set("upgradeMegabytesFirst", u.memory[first]/1e6)
	t.set("upgradeMegabytesLast", u.memory[last]/1e6)
	t.set("upgradeDescriptorsFirst", u.files[first])
	t.set("upgradeDescriptorsLast", u.files[last])
	for i := range u.pauses {
		x := float64(i + 1)
		t.Run.Series["pause by upgrade"] = append(t.Run.Series["pause by upgrade"], result.Point{X: x, Y: millis(u.pauses[i])})
	}
	for i := range u.files {
		x := float64(i + 1)
		t.Run.Series["memory by upgrade"] = append(t.Run.Series["memory by upgrade"], result.Point{X: x, Y: u.memory[i]})
		t.Run.Series["descriptors by upgrade"] = append(t.Run.Series["descriptors by upgrade"], result.Point{X: x, Y: u.files[i]})
	}
	switch grown := u.memory[last] - u.memory[first]; { // with a bus in memory history does, as long as messages come
	case u.retries > 0:
		return fmt.Errorf("bench: %d attempts to connect failed", u.retries)
	case len(u.memory) >= leastUpgrades && t.Run.Target != target.PushServerMemory && grown > maxDriftBytes && 100*grown > maxDrift*u.memory[first]:
		return fmt.Errorf("bench: memory grew from %.1f to %.1f MB over %d upgrades", u.memory[first]/1e6, u.memory[last]/1e6, len(u.pauses))
	case u.files[last] > u.files[first]+maxDescriptors+float64(t.N)*upgradeChurn:
		return fmt.Errorf("bench: descriptors grew from %.0f to %.0f over %d upgrades", u.files[first], u.files[last], len(u.pauses))
	}
	return nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
