package ops

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"push-server/engine"
	"push-server/engine/accept"
	"push-server/engine/latency"
	"push-server/engine/recorder"
	"push-server/engine/view"
)

// gnet starts a pool of goroutines when it is imported.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

// server is a Source.
type server struct {
	stats   engine.Stats
	ready   bool
	latency *latency.Set
	asked   view.Query
	askedOf view.UserQuery
	err     error

	follower *recorder.Follower
}

func (s *server) Latency() *latency.Set {
	if s.latency == nil {
		s.latency = latency.New()
	}
	return s.latency
}

func (s *server) Connections(_ context.Context, q view.Query) (*view.List, error) {
	s.asked = q
	return &view.List{Total: 1, Connections: []view.Connection{{ID: "0-17-3"}}}, s.err
}

func (s *server) Users(_ context.Context, q view.UserQuery) (*view.Users, error) {
	s.askedOf = q
	return &view.Users{Users: []view.User{{ID: 17, Connections: 3}}}, s.err
}

func (s *server) Events(_ context.Context, id view.ID) ([]recorder.Line, error) {
	if id.Generation != 3 {
		return nil, s.err
	}
	return []recorder.Line{{Kind: "open"}}, s.err
}

func (s *server) Watch(_ context.Context, id view.ID) (*recorder.Follower, error) {
	if id.Generation != 3 {
		return nil, s.err
	}
	return s.follower, s.err
}

func (s *server) Disconnect(_ context.Context, id view.ID) (bool, error) {
	return id == view.ID{Loop: 0, Place: 17, Generation: 3}, s.err
}

func (s *server) Stats() engine.Stats { return s.stats }
func (s *server) Problem() error {
	if s.ready {
		return nil
	}
	return errors.New("the bus has been silent for 7s")
}

func open(t *testing.T, source Source) *Server {
	t.Helper()
	return openWith(t, source, Options{Profiles: true, Version: "1.2.3"})
}

func openWith(t *testing.T, source Source, o Options) *Server {
	t.Helper()
	if o.Warnings == nil {
		o.Warnings = NewWarnings()
	}
	s, err := Listen("127.0.0.1:0", source, accept.NewFailures(slog.New(slog.DiscardHandler)), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func get(t *testing.T, s *Server, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestMetrics(t *testing.T) {
	s := open(t, &server{ready: true, stats: engine.Stats{
		WebSockets: 1, Polls: 2, Connections: 3, Free: 4, Encrypted: 19, HandshakesFailed: 20, AcceptFailures: 21, Channels: 5, Opened: 6, Frames: 7, Published: 8, Delivered: 9,
		ReplaysWindow: 10, ReplaysHistory: 11, Gaps: 12, Lags: 13, PublishQueue: 14, PublishRetries: 15, PublishRejected: 16,
		ByKey: []int{27, 28}, ProbeFailures: 24, BusRebuilds: 26,
		Listening: []engine.Listening{{Transport: "websocket", Dialect: "protobuf", Connections: 23}},
		Closes:    map[string]uint64{"peer": 17, "slow_reader": 18}, BusErrors: map[string]uint64{"publish": 22, "put_statistics": 0},
	}})
	status, page := get(t, s, "/metrics")
	if status != http.StatusOK {
		t.Fatal(status, page)
	}
	f := func(want string) {
		t.Helper()
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(page) {
			t.Errorf("%s is missing", want)
		}
	}
	f(`push_sessions\{transport="websocket"\} 1`)
	f(`push_sessions\{transport="poll"\} 2`)
	f(`push_connections 3`)
	f(`push_connections_free 4`)
	f(`push_tls_connections 19`)
	f(`push_tls_handshakes_failed_total 20`)
	f(`push_accept_failures_total 21`)
	f(`push_channels 5`)
	f(`push_connections_opened_total 6`)
	f(`push_frames_received_total 7`)
	f(`push_published_total 8`)
	f(`push_delivered_total 9`)
	f(`push_replays_total\{source="window"\} 10`)
	f(`push_replays_total\{source="history"\} 11`)
	f(`push_gaps_total 12`)
	f(`push_lags_total 13`)
	f(`push_publish_queue 14`)
	f(`push_publish_retries_total 15`)
	f(`push_publish_rejected_total 16`)
	f(`push_closes_total\{reason="peer"\} 17`)
	f(`push_closes_total\{reason="slow_reader"\} 18`)
	f(`push_bus_errors_total\{operation="publish"\} 22`)
	f(`push_bus_errors_total\{operation="put_statistics"\} 0`)
	f(`push_probe_seconds_count 0`)
	f(`push_connections_by_key\{key="1"\} 27`)
	f(`push_connections_by_key\{key="2"\} 28`)
	f(`push_probe_failures_total 24`)
	f(`push_bus_rebuilds_total 26`)
	f(`push_ready 1`)
	f(`push_sessions_by_dialect\{dialect="protobuf",transport="websocket"\} 23`)
	f(`push_turn_seconds_bucket\{le="\S+"\} 0`)
	f(`push_turn_seconds_count 0`)
	f(`push_publish_seconds_count 0`)
	f(`push_bus_probe_seconds_count 0`)
	f(`push_delivery_seconds_count 0`)
	f(`push_build_info\{goversion="go\S+",version="1\.2\.3"\} 1`)
	f(`go_goroutines \d+`)
	f(`go_memstats_mallocs_total \S+`)
	f(`process_open_fds \d+`)
	f(`process_resident_memory_bytes \S+`)
}

func TestHealth(t *testing.T) {
	source := &server{}
	f := func(path string, ready bool, want int) {
		t.Helper()
		source.ready = ready
		if status, body := get(t, open(t, source), path); status != want {
			t.Errorf("%s with ready %v: %d %s", path, ready, status, body)
		}
	}
	f("/healthz", false, 200)
	f("/healthz", true, 200)
	f("/readyz", false, 503)
	f("/readyz", true, 200)
	f("/", true, 404)
}

func TestProfiles(t *testing.T) {
	s := open(t, &server{})
	f := func(path, want string) {
		t.Helper()
		if status, body := get(t, s, path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d without %q", path, status, want)
		}
	}
	f("/debug/pprof/", "goroutine")
	f("/debug/pprof/goroutine?debug=1", "goroutine profile")
	f("/debug/pprof/heap?gc=1&debug=1", "heap profile")
	f("/debug/pprof/cmdline", "ops")
}

func TestAddressInUse(t *testing.T) {
	s := open(t, &server{})
	if _, err := Listen(s.Addr(), &server{}, nil, Options{}); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Error(err)
	}
}
