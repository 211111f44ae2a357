package result

// Goal is a target of the project: a metric of a scenario against that of another server in the same run, or by itself where no other does
// the same job. Values differ between machines, and on one machine from day to day; the ratio of two servers that took turns does so much less.
type Goal struct {
	Scenario, Metric string
	Server           string  // of this project
	Peer             string  // the other; empty: Limit is a value
	Limit            float64 // what the ratio, or the value, is not to be worse than
}

// The servers of goals.
const (
	ours       = "push-server"
	oursMemory = "push-server-memory"
	node       = "node"
	nchan      = "nchan"
	nchanRedis = "nchan-redis"
	centrifugo = "centrifugo-redis"
)

// Goals are all targets. Where we are far ahead, the limit is what was measured on 28 November 2026 and a twentieth, so that it is kept.
var Goals = []Goal{
	{"unique", "cpuPerPublish", oursMemory, nchan, 0.9},
	{"unique", "publishesPerSecond", oursMemory, nchan, 1},
	{"unique", "cpuPerPublish", ours, nchanRedis, 0.56},
	{"unique", "cpuPerPublish", ours, node, 0.75},
	{"unique", "publishesPerSecond", ours, nchanRedis, 1.65},
	{"unique", "cpuPerPublish", ours, centrifugo, 0.9},
	{"unique", "openP999", ours, nchanRedis, 1},
	{"unique", "openP999", ours, node, 1},
	{"poll", "cpuPerAnswerBusy", oursMemory, nchan, 0.95},
	{"poll", "cpuPerAnswerBusy", ours, nchanRedis, 0.48},
	{"poll", "cpuPerAnswerBusy", ours, node, 0.41},
	{"poll", "cpuPerAnswer", ours, nchanRedis, 0.45},
	{"poll", "cpuPerAnswer", ours, nchan, 1},
	{"connect", "cpuPerConnect", ours, nchanRedis, 0.95},
	{"connect", "cpuPerConnect", ours, node, 0.3},
	{"connect", "cpuPerConnect", ours, centrifugo, 0.5},
	{"fanout", "rateOfFloor", ours, "", 90},
	{"fanout", "deliveriesPerSecond", ours, nchan, 1.05},
	{"fanout", "deliveriesPerSecond", ours, nchanRedis, 1.1},
	{"fanout", "cpuPerMillion", ours, node, 0.7},
	{"fanout", "cpuPerMillion", ours, centrifugo, 0.7},
	{"fanout", "steadyP99", ours, nchan, 1},
	{"fanout", "allocsPerDelivery", ours, "", 0.01},
	{"unique", "allocsPerPublish", ours, "", 10},
	{"idle", "bytesPerConnection", ours, "", 700},
	{"idle", "bytesPerConnection", ours, node, 0.22},
	{"idle-poll", "bytesPerConnection", ours, "", 700},
	{"replay", "cpuPerReturn", ours, node, 0.18},
	{"replay", "replaySeconds", ours, "", 1},
	{"storm", "cpuPerMissed", ours, "", 0.4},
	{"channels", "publishGrowth", ours, "", 120},
	{"channels", "deliveryGrowth", ours, "", 120},
}

// Verdict judges a value.
type Verdict string

// The verdicts.
const (
	Missed  Verdict = "missed"
	Reached Verdict = "reached"
)

// Judge says whether v, a ratio or a value as the goal has it, keeps the limit.
func (g Goal) Judge(v float64) Verdict {
	if m, _ := Find(g.Metric); m.More && v < g.Limit || !m.More && v > g.Limit {
		return Missed
	}
	return Reached
}

// Outcome is a goal with what was measured, with as many connections as there were most.
type Outcome struct {
	Goal
	Metric       Metric
	N            int
	Ours, Others Spread // of the values; Others is empty for a goal without a peer
	Judged       Spread // of the ratios, or of the values
	Verdict      Verdict
}

// Outcomes finds what was reached of each goal. Those of which nothing was measured are left out.
func Outcomes(f *File) (list []Outcome) {
	for _, g := range Goals {
		var best *Outcome
		for _, o := range g.outcomes(f) {
			if best == nil || o.N > best.N {
				best = &o
			}
		}
		if best != nil {
			best.Goal, best.Verdict = g, g.Judge(best.Judged.Median)
			best.Metric, _ = Find(g.Metric)
			list = append(list, *best)
		}
	}
	return list
}

// outcomes are what was measured, by the number of connections.
func (g Goal) outcomes(f *File) (list []Outcome) {
	if g.Peer != "" {
		for _, r := range Ratios(f, g.Server, g.Peer) {
			if r.Scenario == g.Scenario && r.Metric.Name == g.Metric {
				list = append(list, Outcome{N: r.N, Ours: r.Ours, Others: r.Others, Judged: r.Spread})
			}
		}
		return list
	}
	for _, k := range f.Keys() {
		if s := f.Spread(k, g.Metric); k.Scenario == g.Scenario && k.Target == g.Server && s.Count > 0 {
			list = append(list, Outcome{N: k.N, Ours: s, Judged: s})
		}
	}
	return list
}
