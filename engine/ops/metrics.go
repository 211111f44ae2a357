package ops

import (
	"net/http"
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"push-server/engine"
)

// exposition is the page for Prometheus, from a registry of its own: nothing that a library registers elsewhere gets in.
func exposition(source Source, version string) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "push_build_info", Help: "What runs.", ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
		}, func() float64 { return 1 }),
		collector{source},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	r.MustRegister(source.Latency().Collectors()...)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// The names are stable; labels have few values, never a channel.
var (
	sessions        = name("push_sessions", "Connections that listen now.", "transport")
	dialects        = name("push_sessions_by_dialect", "The same, by how messages look to them.", "transport", "dialect")
	byKey           = name("push_connections_by_key", "Connections that listen now, by the key that their channels are signed with: 1 is the first of security.key, removed one that was there before a reload.", "key")
	connected       = name("push_connections", "Connections to subscribers' ports now.")
	connectionsFree = name("push_connections_free", "Connections that descriptors, or push.maxConnections, leave room for.")
	encrypted       = name("push_tls_connections", "Connections over TLS now, with those that are saying hello.")
	handshakes      = name("push_tls_handshakes_failed_total", "Handshakes of TLS that failed.")
	acceptFailures  = name("push_accept_failures_total", "Connections that could not be accepted, on any port.")
	channels        = name("push_channels", "Private channels with a connection.")
	opened          = name("push_connections_opened_total", "Connections to subscribers' ports since the start.")
	closes          = name("push_closes_total", "Connections that ended, by reason.", "reason")
	frames          = name("push_frames_received_total", "WebSocket frames from clients.")
	unacknowledged  = name("push_unacknowledged", "Messages that connections of version 5 were sent, and whose clients have not said they have them.")
	acknowledged    = name("push_acknowledged_total", "Messages that clients of version 5 said they have.")
	statusWatches   = name("push_status_subscriptions", "Users whose coming and going clients of version 5 watch.")
	statusNotices   = name("push_status_notices_total", "Notices that users have come or gone.")
	tokensRefused   = name("push_tokens_refused_total", "Tokens of version 5 that were refused, by reason.", "reason")
	published       = name("push_published_total", "Publications that came from the bus.")
	delivered       = name("push_delivered_total", "Publications times the connections that they were sent to.")
	replays         = name("push_replays_total", "Returning clients, by where what they missed came from.", "source")
	gaps            = name("push_gaps_total", "Times that publications may have been missed, so that history was read.")
	lags            = name("push_lags_total", "Times that an event loop fell behind the window.")
	queue           = name("push_publish_queue", "Publications accepted and not yet stored.")
	retries         = name("push_publish_retries_total", "Repeated attempts to store publications.")
	rejected        = name("push_publish_rejected_total", "Publications that found the queue full.")
	resets          = name("push_resets_total", "Times that the counter of message ids went back.")
	busLag          = name("push_bus_lag_seconds", "How long the last probe of the bus was under way.")
	probeFailures   = name("push_probe_failures_total", "Probes that did not come out of an event loop in time.")
	busRebuilds     = name("push_bus_rebuilds_total", "Times that the bus was connected anew, since it was connected and silent.")
	windowLength    = name("push_window_publications", "Recent publications in memory.")
	windowBytes     = name("push_window_bytes", "Bytes that they take.")
	held            = name("push_held_bytes", "What the process holds of what is bounded, by kind.", "kind")
	heldLimit       = name("push_held_limit_bytes", "How much of it the process may hold.", "kind")
	heldRefused     = name("push_held_refused_total", "Times that something was turned away, or let go of, for want of room.", "kind")
	busSilence      = name("push_bus_silence_seconds", "How long no probe of the bus has come back.")
	busErrors       = name("push_bus_errors_total", "Failed operations of the bus, by operation.", "operation")
	busConnected    = name("push_bus_connected", "1 while probes of the bus come back.")
	ready           = name("push_ready", "1 while the server is ready.")
)

func name(s, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(s, help, labels, nil)
}

// collector reads the counters of its source when Prometheus asks.
type collector struct{ source Source }

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, to) }

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	st := c.source.Stats()
	gauge(sessions, st.WebSockets, "websocket")
	gauge(sessions, st.Polls, "poll")
	for _, l := range st.Listening {
		gauge(dialects, l.Connections, l.Transport, l.Dialect)
	}
	for i, n := range st.ByKey {
		gauge(byKey, n, strconv.Itoa(i+1))
	}
	gauge(byKey, st.ByRemovedKey, "removed")
	gauge(connected, st.Connections)
	gauge(connectionsFree, st.Free)
	gauge(encrypted, st.Encrypted)
	counter(handshakes, st.HandshakesFailed)
	counter(acceptFailures, st.AcceptFailures)
	gauge(channels, st.Channels)
	counter(opened, st.Opened)
	for reason, n := range st.Closes {
		counter(closes, n, reason)
	}
	counter(frames, st.Frames)
	collectV5(&st, gauge, counter)
	counter(published, st.Published)
	counter(delivered, st.Delivered)
	counter(replays, st.ReplaysWindow, "window")
	counter(replays, st.ReplaysHistory, "history")
	counter(gaps, st.Gaps)
	counter(lags, st.Lags)
	gauge(queue, st.PublishQueue)
	counter(retries, st.PublishRetries)
	counter(rejected, st.PublishRejected)
	counter(resets, st.Resets)
	to <- prometheus.MustNewConstMetric(busLag, prometheus.GaugeValue, st.BusLag.Seconds())
	counter(probeFailures, st.ProbeFailures)
	counter(busRebuilds, st.BusRebuilds)
	gauge(windowLength, st.WindowLength)
	gauge(windowBytes, st.WindowBytes)
	for _, h := range st.Held {
		gauge(held, int(h.Bytes), h.Kind)
		gauge(heldLimit, int(h.Limit), h.Kind)
		counter(heldRefused, h.Refused, h.Kind)
	}
	to <- prometheus.MustNewConstMetric(busSilence, prometheus.GaugeValue, st.Silence.Seconds())
	for operation, n := range st.BusErrors {
		counter(busErrors, n, operation)
	}
	gauge(busConnected, one(st.Connected))
	gauge(ready, one(c.source.Problem() == nil))
}

// collectV5 is Collect for what version 5 has alone.
func collectV5(st *engine.Stats, gauge func(d *prometheus.Desc, v int, labels ...string), counter func(d *prometheus.Desc, v uint64, labels ...string)) {
	counter(acknowledged, st.Acknowledged)
	gauge(unacknowledged, int(st.Unacknowledged))
	gauge(statusWatches, st.StatusWatches)
	counter(statusNotices, st.StatusNotices)
	for fault, n := range st.TokensRefused {
		counter(tokensRefused, n, string(fault))
	}
}

func one(ok bool) int {
	if ok {
		return 1
	}
	return 0
}
