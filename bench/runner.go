package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"push-server/bench/load"
	"push-server/bench/result"
	"push-server/bench/target"
)

// runLimit is how long one run may take, beside the time that its parameters ask for.
const runLimit = 5 * time.Minute

// Job is a scenario to be run against a server.
type Job struct {
	Scenario *Scenario
	Target   target.Options
	Params   Params
	Rep      int
}

// Runner carries out jobs one after the other, each with a fresh server and fresh clients.
type Runner struct {
	Fleet load.FleetOptions
	// Lines gets each run as a line of JSON.
	Lines    io.Writer
	Progress *Progress
}

// Run carries out the jobs and returns their runs, failed ones included. The error is that of ctx or of writing.
func (r *Runner) Run(ctx context.Context, jobs []Job) (runs []result.Run, err error) {
	defer r.Progress.end()
	for i, j := range jobs {
		r.Progress.job(i+1, len(jobs), j)
		run := r.one(ctx, j)
		if err := ctx.Err(); err != nil {
			return runs, err
		}
		runs = append(runs, *run)
		r.Progress.report(run)
		if err := r.write(run); err != nil {
			return runs, err
		}
	}
	return runs, nil
}

func (r *Runner) write(run *result.Run) error {
	if r.Lines == nil {
		return nil
	}
	b, err := json.Marshal(run)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if _, err := r.Lines.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// one carries out a job; what goes wrong is in the run.
func (r *Runner) one(ctx context.Context, j Job) *result.Run {
	p := j.Params.or(j.Scenario.Defaults).or(common)
	run := &result.Run{
		Scenario: j.Scenario.Name, Target: j.Target.Label(), N: p.N, Rep: j.Rep, Started: time.Now(),
		Metrics: make(map[string]float64), Latency: make(map[string]result.Percentiles), Series: make(map[string][]result.Point),
	}
	ctx, cancel := context.WithTimeout(ctx, runLimit+2*p.Time)
	defer cancel()
	if err := r.trial(ctx, j, p, run); err != nil {
		run.Failed = err.Error()
	}
	run.Elapsed = time.Since(run.Started)
	return run
}

func (r *Runner) trial(ctx context.Context, j Job, p Params, run *result.Run) error {
	r.Progress.say("starting " + j.Target.Label())
	j.Target.Scenario = []byte(j.Scenario.Config)
	server, err := target.Start(ctx, j.Target)
	if err != nil {
		return err
	}
	defer server.Stop()
	plan := j.Scenario.Plan(p)
	plan.Target = server.Target
	plan.Seed = run.Started.Format(time.RFC3339Nano)
	o := r.Fleet
	o.Floor = j.Scenario.Floor
	fleet, err := load.StartFleet(ctx, plan, o)
	if err != nil {
		return err
	}
	defer fleet.Close()
	r.Progress.watch(fleet)
	defer r.Progress.watch(nil)
	t := &Trial{Params: p, Server: server, Fleet: fleet, Run: run, say: r.Progress.say}
	err = j.Scenario.Run(ctx, t)
	r.Progress.say("checking what arrived")
	// Integrity is looked at even when the scenario has failed: it may say why.
	return errors.Join(err, t.conclude(ctx))
}
