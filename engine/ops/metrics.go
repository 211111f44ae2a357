package ops

import (
	"maps"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"push-server/engine"
)

// metrics is the page for Prometheus, from a registry of its own: nothing that a library registers elsewhere gets in.
func metrics(source Source) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		engineCollector{source},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// metric is one line of the page, or the lines of one name that differ in one label.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	label string
	value func(st *engine.Stats) float64
}

func gauge(name, help string, value func(st *engine.Stats) float64) metric {
	return metric{desc: prometheus.NewDesc(name, help, nil, nil), kind: prometheus.GaugeValue, value: value}
}

func counter(name, help string, value func(st *engine.Stats) float64) metric {
	return metric{desc: prometheus.NewDesc(name, help, nil, nil), kind: prometheus.CounterValue, value: value}
}

// with gives m a label: of the name before it in the table, one line each.
func (m metric) with(desc *prometheus.Desc, label string) metric {
	m.desc, m.label = desc, label
	return m
}

// Names with a label.
var (
	sessionsDesc = prometheus.NewDesc("push_sessions", "Connections that listen now.", []string{"transport"}, nil)
	replaysDesc  = prometheus.NewDesc("push_replays_total", "Returning clients, by where what they missed came from.", []string{"source"}, nil)
	closesDesc   = prometheus.NewDesc("push_closes_total", "Connections that ended, by reason.", []string{"reason"}, nil)
)

// table is everything that an engine tells. The names are stable; labels have few values, never a channel.
var table = []metric{
	gauge("", "", func(st *engine.Stats) float64 { return float64(st.WebSockets) }).with(sessionsDesc, "websocket"),
	gauge("", "", func(st *engine.Stats) float64 { return float64(st.Polls) }).with(sessionsDesc, "poll"),
	gauge("push_connections", "Connections to subscribers' ports now.", func(st *engine.Stats) float64 { return float64(st.Connections) }),
	gauge("push_connections_free", "Connections that descriptors, or push.maxConnections, leave room for.",
		func(st *engine.Stats) float64 { return float64(st.Free) }),
	gauge("push_channels", "Private channels with a connection.", func(st *engine.Stats) float64 { return float64(st.Channels) }),
	counter("push_connections_opened_total", "Connections to subscribers' ports since the start.",
		func(st *engine.Stats) float64 { return float64(st.Opened) }),
	counter("push_frames_received_total", "WebSocket frames from clients.", func(st *engine.Stats) float64 { return float64(st.Frames) }),
	counter("push_published_total", "Publications that came from the bus.", func(st *engine.Stats) float64 { return float64(st.Published) }),
	counter("push_delivered_total", "Publications times the connections that they were sent to.",
		func(st *engine.Stats) float64 { return float64(st.Delivered) }),
	counter("", "", func(st *engine.Stats) float64 { return float64(st.ReplaysWindow) }).with(replaysDesc, "window"),
	counter("", "", func(st *engine.Stats) float64 { return float64(st.ReplaysHistory) }).with(replaysDesc, "history"),
	counter("push_gaps_total", "Times that publications may have been missed, and history was read.",
		func(st *engine.Stats) float64 { return float64(st.Gaps) }),
	counter("push_lags_total", "Times that an event loop fell behind the window.", func(st *engine.Stats) float64 { return float64(st.Lags) }),
	gauge("push_publish_queue", "Publications accepted and not yet stored.", func(st *engine.Stats) float64 { return float64(st.PublishQueue) }),
	counter("push_publish_retries_total", "Repeated attempts to store publications.",
		func(st *engine.Stats) float64 { return float64(st.PublishRetries) }),
	counter("push_publish_rejected_total", "Publications that found the queue full.",
		func(st *engine.Stats) float64 { return float64(st.PublishRejected) }),
}

var readyDesc = prometheus.NewDesc("push_ready", "1 while the server is ready.", nil, nil)

// engineCollector reads the counters of an engine when asked.
type engineCollector struct{ source Source }

// Describe implements prometheus.Collector.
func (c engineCollector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range table {
		to <- m.desc
	}
	to <- closesDesc
	to <- readyDesc
}

// Collect implements prometheus.Collector.
func (c engineCollector) Collect(to chan<- prometheus.Metric) {
	st := c.source.Stats()
	for _, m := range table {
		var labels []string
		if m.label != "" {
			labels = append(labels, m.label)
		}
		to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&st), labels...)
	}
	for _, reason := range slices.Sorted(maps.Keys(st.Closes)) {
		to <- prometheus.MustNewConstMetric(closesDesc, prometheus.CounterValue, float64(st.Closes[reason]), reason)
	}
	ready := 0.0
	if c.source.Ready() {
		ready = 1
	}
	to <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, ready)
}
