package main

import (
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// goodDay are two servers, one of which has been upgraded and has room for all: what Prometheus has of them each quarter of a minute, in the
// notation of its tests. Counters go on, and so does what happens now and then on any portal.
var goodDay = map[string]string{
	`up{job="push-server",instance="a"}`:                         "1x240",
	`push_ready{instance="a"}`:                                   "1x240",
	`process_start_time_seconds{job="push-server",instance="a"}`: "1000x100 2500x140",
	`push_bus_silence_seconds{instance="a"}`:                     "0.4 0.9 0.2 2x237",
	`push_probe_failures_total{instance="a"}`:                    "0x60 1x60 2x120",
	`push_publish_queue{instance="a"}`:                           "0x60 1500x4 0x176",
	`push_publish_rejected_total{instance="a"}`:                  "7x240",
	`push_connections{instance="a"}`:                             "800+1x240",
	`push_connections_free{instance="a"}`:                        "1200-1x240",
	`push_held_bytes{instance="a",kind="window"}`:                "100x240",
	`push_held_limit_bytes{instance="a",kind="window"}`:          "100x240",
	`push_held_bytes{instance="a",kind="output"}`:                "0x60 95x4 50x176",
	`push_held_limit_bytes{instance="a",kind="output"}`:          "100x240",
	`push_closes_total{instance="a",reason="slow_reader"}`:       "0+1x240",
	`push_closes_total{instance="a",reason="peer"}`:              "0+300x240",
	`up{job="push-server",instance="b"}`:                         "1x240",
	`push_ready{instance="b"}`:                                   "1x240",
	`up{job="nginx",instance="c"}`:                               "0x240",
}

// TestAlertsFire: each alert comes for the trouble it is there for, in time and alone, and none on a good day. The trouble begins after half an
// hour.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	rules := readAlerts(t)
	untested := make(map[string]bool)
	for _, r := range rules {
		untested[r.Alert] = true
	}
	f := func(changes map[string]string, within time.Duration, want ...string) {
		t.Helper()
		series := maps.Clone(goodDay)
		for name, values := range changes {
			if series[name] == "" {
				t.Fatalf("%s is no series of a good day", name)
			}
			series[name] = values
		}
		first := firing(t, rules, series)
		if got := slices.Sorted(maps.Keys(first)); !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", changes, first, want)
		}
		for alert, after := range first {
			delete(untested, alert)
			if after <= 30*time.Minute || after > 30*time.Minute+within {
				t.Errorf("%s after %v, want it within %v of half an hour", alert, after, within)
			}
		}
	}
	f(nil, 0)
	f(map[string]string{`up{job="push-server",instance="a"}`: "1x120 0x119"}, 90*time.Second, "PushServerDown")
	f(map[string]string{`push_ready{instance="b"}`: "1x120 0x119"}, 90*time.Second, "PushServerNotReady")
	f(map[string]string{`push_ready{instance="a"}`: "1x120 0x119", `push_bus_silence_seconds{instance="a"}`: "1x120 2+15x119"}, 2*time.Minute, "PushServerBusSilent", "PushServerNotReady")
	f(map[string]string{`push_bus_silence_seconds{instance="a"}`: "1x120 2+15x119"}, 2*time.Minute, "PushServerBusSilent")
	f(map[string]string{`process_start_time_seconds{job="push-server",instance="a"}`: "1000x120 2800x4 2860x4 2920x110"}, 4*time.Minute, "PushServerRestarts")
	f(map[string]string{`push_probe_failures_total{instance="a"}`: "0x120 0+1x119"}, 2*time.Minute, "PushServerProbesFail")
	f(map[string]string{`push_publish_queue{instance="a"}`: "0x120 1001+100x119"}, 3*time.Minute, "PushServerPublicationsWait")
	f(map[string]string{`push_publish_rejected_total{instance="a"}`: "7x120 8+5x119"}, time.Minute, "PushServerRefusesPublications")
	f(map[string]string{`push_connections_free{instance="a"}`: "1200x120 80x119"}, 6*time.Minute, "PushServerRoomForConnections")
	f(map[string]string{`push_held_bytes{instance="a",kind="output"}`: "50x120 95x119"}, 3*time.Minute, "PushServerHoldsMuch")
	f(map[string]string{`push_closes_total{instance="a",reason="slow_reader"}`: "0x120 0+30x119"}, 15*time.Minute, "PushServerSlowReaders")
	if len(untested) > 0 {
		t.Errorf("no trouble has caused %v", untested)
	}
}

// firing evaluates rules over an hour of series, and returns when each alert has come.
func firing(t *testing.T, rules []rulefmt.Rule, series map[string]string) map[string]time.Duration {
	t.Helper()
	data := readSeries(t, series)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute})
	defer engine.Close()
	first := make(map[string]time.Duration)
	for _, r := range rules {
		since := make(map[string]time.Duration) // by labels
		for at := time.Duration(0); at <= time.Hour; at += step {
			pending := make(map[string]time.Duration)
			for _, labels := range ask(t, engine, data, r.Expr, at) {
				begin, ok := since[labels]
				if !ok {
					begin = at
				}
				pending[labels] = begin
				if _, ok := first[r.Alert]; !ok && at-begin >= time.Duration(r.For) {
					first[r.Alert] = at
				}
			}
			since = pending
		}
	}
	return first
}

const step = 15 * time.Second // from one scrape and evaluation to the next

func readSeries(t *testing.T, series map[string]string) storage.Queryable {
	t.Helper()
	var all []promql.Series
	for name, values := range series {
		labels, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(name + " " + values)
		if err != nil {
			t.Fatal(err)
		}
		s := promql.Series{Metric: labels}
		for i, v := range values {
			s.Floats = append(s.Floats, promql.FPoint{T: int64(i) * step.Milliseconds(), F: v.Value})
		}
		all = append(all, s)
	}
	return &storage.MockQueryable{MockQuerier: &storage.MockQuerier{
		SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
			set := &seriesSet{at: -1}
			for _, s := range all {
				if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Metric.Get(m.Name)) }) {
					set.series = append(set.series, promql.NewStorageSeries(s))
				}
			}
			return set
		},
	}}
}

// seriesSet is a storage.SeriesSet.
type seriesSet struct {
	series []storage.Series
	at     int
}

func (s *seriesSet) Next() bool                      { s.at++; return s.at < len(s.series) }
func (s *seriesSet) At() storage.Series              { return s.series[s.at] }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }

// ask returns the labels of what an expression finds.
func ask(t *testing.T, engine *promql.Engine, data storage.Queryable, expr string, at time.Duration) (found []string) {
	t.Helper()
	q, err := engine.NewInstantQuery(t.Context(), data, nil, expr, time.Unix(0, 0).Add(at))
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	v, err := q.Exec(t.Context()).Vector()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range v {
		found = append(found, s.Metric.String())
	}
	return found
}

func readAlerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, problems := rulefmt.ParseFile("../prometheus/alerts.yaml", false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(problems) > 0 || len(groups.Groups) != 1 {
		t.Fatal(problems)
	}
	return groups.Groups[0].Rules
}
