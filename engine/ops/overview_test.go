package ops

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"push-server/engine"
)

// look asks the window for JSON.
func look(t *testing.T, source Source, o Options, path string, v any) {
	t.Helper()
	s := openWith(t, source, o)
	status, body := get(t, s, path)
	if status != 200 {
		t.Fatal(status, body)
	}
	if err := json.Unmarshal([]byte(body), v); err != nil {
		t.Fatal(err, body)
	}
}

// at is the value in v at a path like "connections.total".
func at(v any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

func TestOverview(t *testing.T) {
	source := &server{stats: engine.Stats{
		Connections: 3, Free: 4, Channels: 5, Published: 6, PublishQueue: 7, Silence: 1500 * time.Millisecond,
		Listening: []engine.Listening{{Transport: "poll", Dialect: "text", Connections: 8}},
		Closes:    map[string]uint64{"peer": 9}, Held: []engine.Held{{Kind: "input", Bytes: 10, Limit: 11, Refused: 12}},
	}}
	for range 100 {
		source.Latency().Publish.Observe(time.Millisecond)
	}
	var got any
	look(t, source, Options{Version: "1.2.3", Process: "p", Storage: "redis", Loops: 2, ReadOnly: true}, "/overview", &got)
	f := func(path string, want any) {
		t.Helper()
		if v := at(got, path); fmt.Sprint(v) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", path, v, want)
		}
	}
	f("version", "1.2.3")
	f("process", "p")
	f("storage", "redis")
	f("loops", 2)
	f("ready", false)
	f("problem", "the bus has been silent for 7s")
	f("readOnly", true)
	f("connections.total", 3)
	f("connections.free", 4)
	f("connections.listening.poll.text", 8)
	f("channels", 5)
	f("counters.published", 6)
	f("publishQueue", 7)
	f("bus.silence", 1.5)
	f("closes.peer", 9)
	f("held", "[map[bytes:10 kind:input limit:11 refused:12]]")
	f("latency.publish.count", 100)
	for _, path := range []string{"latency.publish.p50", "latency.publish.p99", "memory.heap", "memory.resident", "goroutines", "uptime", "pid"} {
		if n, _ := at(got, path).(float64); n <= 0 {
			t.Errorf("%s: %v", path, at(got, path))
		}
	}
}

func TestWarnings(t *testing.T) {
	w := NewWarnings()
	log := slog.New(w).With("process", "p").WithGroup("g")
	log.Info("nothing to see")
	log.Warn("first", "err", errors.New("away"), slog.Group("h", "n", 1))
	var got []Warning
	look(t, &server{}, Options{Warnings: w}, "/warnings", &got)
	if len(got) != 1 || got[0].Message != "first" || got[0].Level != "WARN" || time.Since(got[0].Time) > time.Hour ||
		fmt.Sprint(got[0].Attrs) != "map[g.err:away g.h.n:1 process:p]" {
		t.Errorf("%+v", got)
	}
	message, value := strings.Repeat("x", 1<<20), strings.Repeat("é", 1<<20)
	for i := range 2 * maxWarnings {
		log.Error(message, "i", i, "long", value)
	}
	got = w.Recent()
	if len(got) != maxWarnings || got[0].Attrs["g.i"] != fmt.Sprint(2*maxWarnings-1) || got[maxWarnings-1].Attrs["g.i"] != fmt.Sprint(maxWarnings) {
		t.Error("the newest are not kept, newest first:", len(got), got[0].Attrs["g.i"])
	}
	if n := len(got[0].Message) + len(got[0].Attrs["g.long"]); n > 3*maxAttrBytes {
		t.Errorf("%d bytes of one are kept", n)
	}
}

func TestConfigIsServed(t *testing.T) {
	var got map[string]any
	look(t, &server{}, Options{Config: map[string]any{"files": "f.json"}}, "/config", &got)
	if got["files"] != "f.json" {
		t.Error(got)
	}
}
