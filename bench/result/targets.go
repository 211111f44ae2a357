package result

// Goal is a target of the project: a metric of a scenario with what must hold and what is hoped for. 0: no such limit.
type Goal struct {
	Scenario, Metric string
	N                int // connections that it is meant for
	Node             string
	Best             string // the best that other servers reached when they were measured
	Must, Record     float64
}

// Goals are all targets, with what the Node push server 0.4.0 and the best of the others reached on two cores of the same kind.
var Goals = []Goal{
	{"idle", "bytesPerConnection", 18_900, "6,900", "nchan + Redis 14,100", 1000, 700},
	{"idle-poll", "bytesPerConnection", 18_900, "10,500", "nchan 12,100", 1000, 700},
	{"connect", "cpuPerConnect", 10_000, "155", "nchan + Redis 63", 45, 30},
	{"fanout", "cpuPerMillion", 10_000, "14.9–20.9", "nchan + Redis 11.3", 9, 7.5},
	{"fanout", "userPerMillion", 10_000, "9.5", "nchan + Redis 2.0", 1.5, 0.7},
	{"fanout", "deliveriesPerSecond", 10_000, "65,000", "nchan 94,000", 100_000, 125_000},
	{"fanout", "rateOfFloor", 10_000, "", "", 90, 100},
	{"fanout", "steadyP99", 10_000, "560", "nchan 172", 172, 143},
	{"unique", "publishesPerSecond", 10_000, "7,700", "Centrifugo + Redis 11,200", 20_000, 28_000},
	{"unique", "cpuPerPublish", 10_000, "173", "Centrifugo + Redis 117", 45, 35},
	{"unique", "openP99", 10_000, "7–10", "Centrifugo + Redis 2.4", 2.5, 1.6},
	{"poll", "cpuPerAnswerBusy", 10_000, "329", "nchan 53 (no Redis)", 60, 45},
	{"poll", "cpuPerAnswer", 10_000, "329", "nchan 53 (no Redis)", 60, 45},
	{"poll", "pollP99", 10_000, "65", "nchan 5.8", 3, 1.6},
	{"channels", "publishGrowth", 5000, "", "", 120, 0},
	{"channels", "deliveryGrowth", 5000, "", "", 120, 0},
	{"replay", "replaySeconds", 10_000, "", "", 1, 0},
	{"replay", "cpuPerReturn", 10_000, "", "", 60, 0},
	{"fanout", "allocsPerDelivery", 10_000, "", "", 0.01, 0},
	{"unique", "allocsPerPublish", 10_000, "", "", 10, 5},
}

// Verdict judges a value.
type Verdict string

// The verdicts.
const (
	Missed   Verdict = "missed"
	Must     Verdict = "must"
	Recorded Verdict = "record"
)

// Judge says which limit of the goal v keeps.
func (g Goal) Judge(v float64) Verdict {
	m, _ := Find(g.Metric)
	keeps := func(limit float64) bool {
		if limit == 0 {
			return false
		}
		if m.More {
			return v >= limit
		}
		return v <= limit
	}
	switch {
	case keeps(g.Record):
		return Recorded
	case keeps(g.Must):
		return Must
	}
	return Missed
}
