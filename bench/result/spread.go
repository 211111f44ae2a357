package result

import (
	"slices"
)

// Spread is a value measured several times.
type Spread struct {
	Median, Min, Max float64
	Count            int
}

// SpreadOf summarises values.
func SpreadOf(values []float64) (s Spread) {
	if len(values) == 0 {
		return s
	}
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	s = Spread{Median: v[mid], Min: v[0], Max: v[len(v)-1], Count: len(v)}
	if len(v)%2 == 0 {
		s.Median = (v[mid-1] + v[mid]) / 2
	}
	return s
}

// Overlaps says whether the ranges have a value in common, so that the difference of the medians may be chance.
func (s Spread) Overlaps(o Spread) bool { return s.Min <= o.Max && o.Min <= s.Max }

// Spread summarises a metric over the repetitions of a key; Count is 0 if it was not measured.
func (f *File) Spread(k Key, metric string) Spread {
	var values []float64
	for _, r := range f.Of(k) {
		if v, ok := r.Metrics[metric]; ok {
			values = append(values, v)
		}
	}
	return SpreadOf(values)
}

// Largest is the key of a scenario and target with the most connections.
func (f *File) Largest(scenario, target string) (best Key, ok bool) {
	for _, k := range f.Keys() {
		if k.Scenario == scenario && k.Target == target && (!ok || k.N > best.N) {
			best, ok = k, true
		}
	}
	return best, ok
}
