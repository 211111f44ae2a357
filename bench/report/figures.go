package report

import (
	"slices"

	"gonum.org/v1/plot"

	"push-server/bench/result"
)

// measure is a metric of a scenario.
type measure struct {
	scenario, metric, label string
}

// figures draws everything that the file has numbers for.
func figures(f *result.File) (figs []figure, err error) {
	add := func(name, title, caption string, p *plot.Plot, e error) {
		if e != nil {
			err = e
		}
		if p != nil {
			figs = append(figs, figure{name, title, caption, p})
		}
	}
	addBars := func(name, title, caption, y string, measures ...measure) {
		p, e := bars(y, groupsOf(f, measures))
		add(name, title, caption, p, e)
	}
	addBars("cpu", "Processor time per operation", "With Redis where there is one. Less is better; whiskers are the range of the repetitions.", "µs",
		measure{"connect", "cpuPerConnect", "connect + subscribe"},
		measure{"unique", "cpuPerPublish", "publish to one user"},
		measure{"poll", "cpuPerAnswer", "answer a long poll"},
		measure{"replay", "cpuPerReturn", "return + replay"})
	addBars("memory", "Memory per connection", "Slope from the empty server, after garbage collection where the server offers it.", "bytes",
		measure{"idle", "bytesPerConnection", "WebSocket, two channels"},
		measure{"idle-poll", "bytesPerConnection", "parked long poll"})
	p, e := bars("deliveries a second", withFloor(f, measure{"fanout", "deliveriesPerSecond", "fan-out"}, "floorDeliveriesPerSecond"))
	add("fanout-rate", "Fan-out to all subscribers of one channel", "In turn with a raw write(2) loop on as many sockets, read by the same clients. More is better.", p, e)
	p, e = bars("seconds", withFloor(f, measure{"fanout", "cpuPerMillion", "CPU per million deliveries"}, "floorCpuPerMillion"))
	add("fanout-cpu", "Processor time of fan-out", "Nearly all of it is the kernel's, for sending. Less is better.", p, e)
	addBars("rate", "Publications to one user each", "Closed loop: done when delivered. More is better.", "a second", measure{"unique", "publishesPerSecond", "publish → WebSocket"})
	for _, l := range []struct{ scenario, name, title string }{
		{"unique", "open", "Latency from publication to WebSocket"},
		{"poll", "poll", "Latency from publication to long poll"},
		{"fanout", "steady", "Latency of steady traffic to everybody"},
		{"mixed", "mixed", "Latency under the load of a portal"},
	} {
		p, e := percentilesOf(f, l.scenario, l.name)
		add("latency-"+l.name, l.title, "Open loop, from the moment that a message was due. All repetitions: the median at each share. Both axes are logarithmic.", p, e)
	}
	p, e = costOverN(f)
	add("growth", "Cost per operation as connections grow", "Processor time, with Redis where there is one, as a share of what it is with the fewest connections: the lowest of the repetitions, as a shared machine only adds. Flat is good.", p, e)
	addBars("channels", "Cost as channels grow", "As many connections with a few channels and, in turn, with 50,000, with Redis.", "µs",
		measure{"channels", "fewPublish", "publish, 65 channels"},
		measure{"channels", "manyPublish", "publish, 50,000"},
		measure{"channels", "fewPerMillion", "deliver, 65 channels"},
		measure{"channels", "manyPerMillion", "deliver, 50,000"})
	p, e = seriesOverN(f, "idle", "memory")
	add("memory-growth", "Memory as connections grow", "Whole server, WebSockets with two channels.", p, e)
	p, e = soakOf(f, "memory over time", "MB", 1e6)
	add("soak-memory", "Memory during the soak", "Mixed load with people who come and go.", p, e)
	p, e = soakOf(f, "descriptors over time", "descriptors", 1)
	add("soak-descriptors", "Descriptors during the soak", "", p, e)
	return figs, err
}

func targetsOf(f *result.File, scenario string) (targets []string) {
	for _, k := range f.Keys() {
		if k.Scenario == scenario && !slices.Contains(targets, k.Target) {
			targets = append(targets, k.Target)
		}
	}
	return order(targets)
}

// usual is the number of connections at which the most runs of a scenario were made, so that targets are compared at the same.
func usual(f *result.File, scenario string) (best int) {
	count := make(map[int]int)
	for _, r := range f.Runs {
		if r.Scenario != scenario || r.Failed != "" {
			continue
		}
		count[r.N]++
		if count[r.N] > count[best] || count[r.N] == count[best] && r.N > best {
			best = r.N
		}
	}
	return best
}

func groupsOf(f *result.File, measures []measure) (groups []group) {
	for _, m := range measures {
		g := group{label: m.label}
		for _, target := range targetsOf(f, m.scenario) {
			if s := f.Spread(result.Key{Scenario: m.scenario, Target: target, N: usual(f, m.scenario)}, m.metric); s.Count > 0 {
				g.bars = append(g.bars, bar{target, s})
			}
		}
		if len(g.bars) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

// withFloor has the floor beside each target: it was measured in turn with it.
func withFloor(f *result.File, m measure, floorMetric string) (groups []group) {
	for _, target := range targetsOf(f, m.scenario) {
		k := result.Key{Scenario: m.scenario, Target: target, N: usual(f, m.scenario)}
		own, floor := f.Spread(k, m.metric), f.Spread(k, floorMetric)
		if own.Count == 0 {
			continue
		}
		g := group{label: target, bars: []bar{{target, own}}}
		if floor.Count > 0 {
			g.bars = append(g.bars, bar{floorName, floor})
		}
		groups = append(groups, g)
	}
	return groups
}

func percentilesOf(f *result.File, scenario, name string) (*plot.Plot, error) {
	var lines []line
	for _, target := range targetsOf(f, scenario) {
		runs := f.Of(result.Key{Scenario: scenario, Target: target, N: usual(f, scenario)})
		if points := medianCurve(runs, name); len(points) > 1 {
			lines = append(lines, line{label: target, target: target, points: points})
		}
	}
	if len(lines) == 0 {
		return nil, nil
	}
	return percentiles(lines)
}

// medianCurve takes at each share of messages the median of the runs that have enough messages to say.
func medianCurve(runs []result.Run, name string) (curve []result.Point) {
	at := make(map[float64][]float64)
	var shares []float64
	for _, r := range runs {
		for _, pt := range r.Latency[name].Curve {
			if at[pt.X] == nil {
				shares = append(shares, pt.X)
			}
			at[pt.X] = append(at[pt.X], pt.Y)
		}
	}
	slices.Sort(shares)
	for _, x := range shares {
		curve = append(curve, result.Point{X: x, Y: result.SpreadOf(at[x]).Median})
	}
	return curve
}

// costOverN draws what an operation costs at different numbers of connections, in percent of the cost with the fewest.
func costOverN(f *result.File) (*plot.Plot, error) {
	var lines []line
	for i, m := range []measure{
		{"connect", "cpuPerConnect", "connect"}, {"unique", "cpuPerPublish", "publish to one user"},
		{"poll", "cpuPerAnswerBusy", "answer a poll, closed loop"}, {"fanout", "cpuOfFloor", "fan-out, against raw write(2)"},
	} {
		points := over(f, m)
		if len(points) < 2 {
			continue
		}
		first := points[0].Y
		for k := range points {
			points[k].Y *= 100 / first
		}
		lines = append(lines, line{label: m.label, target: []string{"push-server", "node", "nchan", "nchan-redis"}[i], points: points})
	}
	if len(lines) == 0 {
		return nil, nil
	}
	return overN("%", lines)
}

// over is a metric of this project's server by the number of connections, the lowest of all repetitions.
func over(f *result.File, m measure) (points []result.Point) {
	for _, k := range f.Keys() {
		if k.Scenario != m.scenario || k.Target != "push-server" {
			continue
		}
		if s := f.Spread(k, m.metric); s.Count > 0 && s.Min > 0 {
			points = append(points, result.Point{X: float64(k.N), Y: s.Min})
		}
	}
	slices.SortFunc(points, func(a, b result.Point) int { return int(a.X - b.X) })
	return points
}

func seriesOverN(f *result.File, scenario, series string) (*plot.Plot, error) {
	var lines []line
	for _, target := range targetsOf(f, scenario) {
		k, ok := f.Largest(scenario, target)
		if !ok {
			continue
		}
		k.N = min(k.N, usual(f, scenario))
		if runs := f.Of(k); len(runs) > 0 {
			lines = append(lines, line{label: target, target: target, points: scaled(runs[0].Series[series], 1e6)})
		}
	}
	if len(lines) == 0 {
		return nil, nil
	}
	return overN("MB", lines)
}

func soakOf(f *result.File, series, unit string, by float64) (*plot.Plot, error) {
	var lines []line
	for _, r := range f.Runs {
		if r.Scenario == "soak" && len(r.Series[series]) > 1 {
			lines = append(lines, line{label: r.Target, target: r.Target, points: scaled(r.Series[series], by)})
		}
	}
	if len(lines) == 0 {
		return nil, nil
	}
	return overTime(unit, lines)
}

func scaled(points []result.Point, by float64) (out []result.Point) {
	for _, p := range points {
		out = append(out, result.Point{X: p.X, Y: p.Y / by})
	}
	return out
}
