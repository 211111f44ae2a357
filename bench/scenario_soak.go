package bench

import (
	"context"
	"fmt"
	"time"

	"push-server/bench/load"
	"push-server/bench/proc"
	"push-server/bench/result"
)

// What a soak must keep.
const (
	maxDrift       = 10.0 // percent
	maxDriftBytes  = 8e6
	maxDescriptors = 16 // more than at the start
)

var soak = &Scenario{
	Name:     "soak",
	Doc:      "the mixed load for a long time: memory stays flat, descriptors come back, nothing is lost",
	Defaults: Params{N: 10_000, Rate: 1000, Time: 10 * time.Minute},
	Plan:     portal,
	Run:      runSoak,
	Without:  foreign,
}

func runSoak(ctx context.Context, t *Trial) error {
	before, err := proc.Descriptors(t.Server.PIDs...)
	if err != nil {
		return err
	}
	if err := t.openPortal(ctx); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan error, 1)
	go func() { watched <- t.watch(watching) }()
	err = t.measureWork(ctx)
	stop()
	if e := <-watched; err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := t.judgeMemory(); err != nil {
		return err
	}
	return t.judgeDescriptors(ctx, before)
}

// watch notes memory and descriptors every second until ctx ends.
func (t *Trial) watch(ctx context.Context) error {
	began := time.Now()
	for pause(ctx, time.Second) == nil {
		m, err := t.memory()
		if err != nil {
			return err
		}
		n, err := proc.Descriptors(t.Server.PIDs...)
		if err != nil {
			return err
		}
		x := time.Since(began).Seconds()
		t.Run.Series["memory over time"] = append(t.Run.Series["memory over time"], result.Point{X: x, Y: m})
		t.Run.Series["descriptors over time"] = append(t.Run.Series["descriptors over time"], result.Point{X: x, Y: float64(n)})
	}
	return nil
}

// judgeMemory compares the last fifth with the third one. The first two are the warm-up: servers keep the latest publications, and
// that memory has to fill first.
func (t *Trial) judgeMemory() error {
	points := t.Run.Series["memory over time"]
	fifth := len(points) / 5
	if fifth == 0 {
		return nil
	}
	early, late := median(points[2*fifth:3*fifth]), median(points[len(points)-fifth:])
	drift := 100 * (late - early) / early
	t.set("memoryDrift", drift)
	if drift > maxDrift && late-early > maxDriftBytes {
		return fmt.Errorf("bench: memory grew by %.1f %%, from %.1f to %.1f MB", drift, early/1e6, late/1e6)
	}
	return nil
}

func median(points []result.Point) float64 {
	var values []float64
	for _, p := range points {
		values = append(values, p.Y)
	}
	return result.SpreadOf(values).Median
}

// judgeDescriptors lets everybody go, after holding the run against what must not be lost, and waits for the descriptors.
func (t *Trial) judgeDescriptors(ctx context.Context, before int) error {
	if err := t.conclude(ctx); err != nil {
		return err
	}
	for _, group := range []string{speakers, sockets, polls} {
		if err := t.Fleet.Drop(ctx, load.Drop{Group: group}); err != nil {
			return err
		}
	}
	left := 0
	for range 40 {
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
		n, err := proc.Descriptors(t.Server.PIDs...)
		if err != nil {
			return err
		}
		if left = n - before; left <= maxDescriptors {
			break
		}
	}
	t.set("descriptorsLeft", float64(left))
	if left > maxDescriptors {
		return fmt.Errorf("bench: %d descriptors more than at the start are open after everybody has gone", left)
	}
	return nil
}
