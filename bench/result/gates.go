package result

import (
	"errors"
	"fmt"
)

// Gate is a limit that holds on any machine, however noisy: far beyond it something is broken.
type Gate struct {
	Scenario, Metric string
	Limit            float64
}

// Gates are those of the smoke suite. Times and rates have room for a noisy machine; bytes, which a megabyte here or
// there moves, and allocations little. The size of a session is held by tests of the engine.
var Gates = []Gate{
	{"idle", "heapPerConnection", 800},
	{"idle-poll", "heapPerConnection", 800},
	{"fanout", "cpuOfFloor", 200},
	{"fanout", "rateOfFloor", 40},
	{"fanout", "allocsPerDelivery", 0.1},
	{"unique", "allocsPerPublish", 10},
	{"channels", "publishGrowth", 160},
	{"replay", "redisReadsPerReturn", 0.1},
	{"upgrade", "upgradePause", 1000},
}

// CheckGates returns an error that names each gate that a run of this project's server does not pass. A metric that was not
// measured passes.
func CheckGates(f *File, gates []Gate) error {
	var errs []error
	for _, g := range gates {
		for _, k := range f.Keys() {
			s := f.Spread(k, g.Metric)
			if k.Scenario != g.Scenario || s.Count == 0 {
				continue
			}
			if m, _ := Find(g.Metric); m.More && s.Median < g.Limit || !m.More && s.Median > g.Limit {
				errs = append(errs, fmt.Errorf("%s on %s: %s is %s %s, the limit is %s",
					k.Scenario, k.Target, m.Title, Number(s.Median), m.Unit, Number(g.Limit)))
			}
		}
	}
	return errors.Join(errs...)
}
