package bench

import (
	"cmp"
	"time"

	"push-server/bench/load"
	"push-server/bench/target"
)

// grown are the numbers of connections at which cost is compared.
var grown = []int{1000, 5000, 10_000, 18_900}

// growing are the scenarios whose cost must not depend on the number of connections.
var growing = []*Scenario{connect, unique, poll}

// repetitions of a full suite: ours, those of the peers, and those of each number of connections as they grow.
const (
	ownReps   = 5
	peerReps  = 3
	grownReps = 3
)

// Smoke is most scenarios with few connections and short measurements: about a minute.
func Smoke(o target.Options) (jobs []Job) {
	for _, s := range Scenarios {
		p := Params{N: 2000, Time: 2 * time.Second, Rounds: 3, Rest: 2 * time.Second}
		switch s {
		case soak:
			continue // a minute says nothing about memory over time
		case idle, idlePoll:
			p.N = 10_000 // what does not depend on it, up to a megabyte, is to be little
		case upgrade:
			p.Time = 500 * time.Millisecond
		case channels:
			p.Time, p.Rounds = time.Second, 1
		}
		jobs = append(jobs, Job{Scenario: s, Target: o, Params: p})
	}
	return jobs
}

// Quick is all scenarios once, against each of the servers: about ten minutes for each.
func Quick(servers ...target.Options) (jobs []Job) {
	for _, s := range Scenarios {
		p := Params{}
		if s == soak {
			p.Time = 3 * time.Minute
		}
		for _, o := range servers {
			if s.Can(o.Kind) {
				jobs = append(jobs, Job{Scenario: s, Target: o, Params: p})
			}
		}
	}
	return jobs
}

// Full is all scenarios several times, some with each format, growing numbers of connections, many connections over several processes, and
// the peers: an hour and a half.
func Full(o target.Options, peers []target.Options) (jobs []Job) {
	for _, s := range Scenarios {
		if s == soak || s == upgrade {
			jobs = append(jobs, Job{Scenario: s, Target: o})
			continue
		}
		for rep := range ownReps {
			jobs = append(jobs, Job{Scenario: s, Target: o, Rep: rep})
			if rep < peerReps {
				jobs = append(jobs, peerJobs(s, peers, rep)...)
			}
		}
	}
	jobs = append(jobs, formatJobs(o)...)
	for _, s := range growing {
		for rep := range grownReps {
			for _, n := range grown {
				jobs = append(jobs, Job{Scenario: s, Target: o, Params: Params{N: n}, Rep: ownReps + rep})
			}
		}
	}
	// The subscribers of the floor are in the same number of client processes again, so growth stops earlier here.
	for _, n := range grown[:2] {
		jobs = append(jobs, Job{Scenario: fanout, Target: o, Params: Params{N: n}})
	}
	return append(jobs, Many(o, 6, 100_000))
}

// formatJobs are the scenarios whose cost depends on how messages are framed, with the formats that the others are not run with.
func formatJobs(o target.Options) (jobs []Job) {
	for rep := range peerReps {
		for _, s := range []*Scenario{fanout, unique, idle} {
			if s == idle && rep > 0 {
				continue
			}
			for _, format := range load.Formats {
				if format != cmp.Or(o.Format, load.Protobuf) {
					o := o
					o.Format = format
					jobs = append(jobs, Job{Scenario: s, Target: o, Rep: rep})
				}
			}
		}
	}
	return jobs
}

// Many is n idle connections held by several processes on one port, all reached by one message.
func Many(o target.Options, processes, n int) Job {
	o.Processes = processes
	return Job{Scenario: idle, Target: o, Params: Params{N: n}}
}

// peerJobs are the same scenario against the peers, next to ours so that the machine is in the same mood.
func peerJobs(s *Scenario, peers []target.Options, rep int) (jobs []Job) {
	if s == mixed || s == channels {
		return nil // a peer need not do everything
	}
	if (s == idle || s == idlePoll) && rep > 0 {
		return nil // takes more than a minute, and memory is the same each time
	}
	for _, peer := range peers {
		if s.Can(peer.Kind) {
			jobs = append(jobs, Job{Scenario: s, Target: peer, Rep: rep})
		}
	}
	return jobs
}
