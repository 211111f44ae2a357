package ops

import (
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"push-server/engine"
	"push-server/engine/latency"
)

// overview is everything that is watched live. Counters are those since the start, so that whoever asks again has rates; latencies are of
// the last seconds.
type overview struct {
	Version     string                       `json:"version"`
	Go          string                       `json:"go"`
	Process     string                       `json:"process"`
	PID         int                          `json:"pid"`
	Time        time.Time                    `json:"time"`
	Started     time.Time                    `json:"started"`
	Uptime      float64                      `json:"uptime"` // seconds, as all durations
	Ready       bool                         `json:"ready"`
	Problem     string                       `json:"problem"`
	ReadOnly    bool                         `json:"readOnly"`
	Profiles    bool                         `json:"profiles"`
	Loops       int                          `json:"loops"`
	Storage     string                       `json:"storage"`
	ClusterMode bool                         `json:"clusterMode"`
	Connections places                       `json:"connections"`
	Channels    int                          `json:"channels"`
	Counters    map[string]float64           `json:"counters"`
	Latency     map[string]latency.Quantiles `json:"latency"`
	Queue       int                          `json:"publishQueue"`
	Bus         bus                          `json:"bus"`
	Memory      memory                       `json:"memory"`
	Goroutines  int                          `json:"goroutines"`
	Window      window                       `json:"window"`
	Closes      map[string]uint64            `json:"closes"`
	Held        []engine.Held                `json:"held"`
}

type places struct {
	Total     int                       `json:"total"`
	Free      int                       `json:"free"`
	Encrypted int                       `json:"encrypted"`
	Listening map[string]map[string]int `json:"listening"` // by transport and dialect
}

type bus struct {
	Connected bool              `json:"connected"`
	Silence   float64           `json:"silence"`
	Lag       float64           `json:"lag"`
	Errors    map[string]uint64 `json:"errors"`
}

type memory struct {
	Heap     uint64 `json:"heap"`
	Resident uint64 `json:"resident"`
	Limit    int64  `json:"limit"` // 0: none
}

type window struct {
	Publications int `json:"publications"`
	Bytes        int `json:"bytes"`
}

// overviewer makes overviews of one server.
type overviewer struct {
	source   Source
	o        *Options
	readOnly bool
	started  time.Time
}

func (v *overviewer) serve(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, v.look(v.source.Stats(), time.Now()))
}

func (v *overviewer) look(st engine.Stats, now time.Time) *overview {
	l := v.source.Latency()
	o := &overview{
		Version: v.o.Version, Go: runtime.Version(), Process: v.o.Process, PID: os.Getpid(),
		Time: now, Started: v.started, Uptime: now.Sub(v.started).Seconds(), ReadOnly: v.readOnly, Profiles: v.o.Profiles,
		Loops: v.o.Loops, Storage: v.o.Storage, ClusterMode: v.o.ClusterMode,
		Connections: places{Total: st.Connections, Free: st.Free, Encrypted: st.Encrypted, Listening: make(map[string]map[string]int)},
		Channels:    st.Channels,
		Counters:    countersOf(&st),
		Latency: map[string]latency.Quantiles{
			"publish": l.Publish.Recent(now), "bus": l.Bus.Recent(now), "turn": l.Turn.Recent(now), "delivery": l.Delivery.Recent(now),
		},
		Queue:      st.PublishQueue,
		Bus:        bus{Connected: st.Connected, Silence: st.Silence.Seconds(), Lag: st.BusLag.Seconds(), Errors: st.BusErrors},
		Memory:     memoryNow(),
		Goroutines: runtime.NumGoroutine(),
		Window:     window{Publications: st.WindowLength, Bytes: st.WindowBytes},
		Closes:     st.Closes,
		Held:       st.Held,
	}
	for _, n := range st.Listening {
		if o.Connections.Listening[n.Transport] == nil {
			o.Connections.Listening[n.Transport] = make(map[string]int)
		}
		o.Connections.Listening[n.Transport][n.Dialect] = n.Connections
	}
	if problem := v.source.Problem(); problem != nil {
		o.Problem = problem.Error()
	}
	o.Ready = o.Problem == ""
	return o
}

func countersOf(st *engine.Stats) map[string]float64 {
	return map[string]float64{
		"opened": float64(st.Opened), "published": float64(st.Published), "delivered": float64(st.Delivered), "frames": float64(st.Frames),
		"replaysWindow": float64(st.ReplaysWindow), "replaysHistory": float64(st.ReplaysHistory),
		"gaps": float64(st.Gaps), "lags": float64(st.Lags), "resets": float64(st.Resets),
		"publishRetries": float64(st.PublishRetries), "publishRejected": float64(st.PublishRejected),
		"acceptFailures": float64(st.AcceptFailures), "handshakesFailed": float64(st.HandshakesFailed),
		"turns": float64(st.Turns), "turnSeconds": st.TurnTime.Seconds(),
	}
}

func memoryNow() memory {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(samples)
	m := memory{Heap: samples[0].Value.Uint64(), Resident: resident()}
	if limit := debug.SetMemoryLimit(-1); limit < 1<<62 { // reads it
		m.Limit = limit
	}
	return m
}

// resident is the memory of the process that is not swapped out; 0 where the system does not say.
func resident() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
