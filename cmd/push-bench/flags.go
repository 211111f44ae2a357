package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"push-server/bench"
	"push-server/bench/load"
	"push-server/bench/target"
)

// serverFlags say what is measured and where the results go.
type serverFlags struct {
	server, extra, peers, out string
	processes, workers        int
	perWorker                 int
	formats                   []string
	acknowledge, keep         bool
	sources                   []string
	external                  externalFlags
}

// externalFlags describe a server that somebody else has started.
type externalFlags struct {
	subscribe, publish []string
	subPath, pubPath   string
	key, dialect       string
	metrics            string
	pids               []int
	redisPID           int
}

// register adds the flags; out is the default folder for results.
func (f *serverFlags) register(fs *pflag.FlagSet, out string) {
	fs.StringVar(&f.server, "server", "bin/push-server", "program of the server of this project")
	fs.StringVar(&f.extra, "config", "", "`JSON` merged into the configuration that is made for it, or a file with it after @")
	fs.IntVar(&f.processes, "processes", 1, "server processes that share the subscribers' port")
	fs.StringVar(&f.peers, "peers", "bench/peers", "folder of the other servers")
	fs.StringVar(&f.out, "out", out, "folder for the results and their report; empty: none are written")
	fs.StringSliceVar(&f.formats, "format", []string{string(load.Protobuf)}, "how messages are framed: protobuf, text or json-rpc, which is version 5; several are measured in turn, and compared with the first one")
	fs.BoolVar(&f.acknowledge, "acknowledge", false, "clients of json-rpc acknowledge each message, as browsers do")
	fs.BoolVar(&f.keep, "keep", false, "keep the temporary folders of servers, with their logs")
	fs.IntVar(&f.workers, "workers", 1, "least number of client processes")
	fs.IntVar(&f.perWorker, "per-worker", 0, "most connections of a client process (0: 19000)")
	fs.StringSliceVar(&f.sources, "sources", nil, "source addresses of clients (default on this machine: 127.<n>.0.1)")
}

func (f *externalFlags) register(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.subscribe, "sub", nil, "external: address of subscribers, `host:port`")
	fs.StringSliceVar(&f.publish, "pub", nil, "external: address of publishers")
	fs.StringVar(&f.subPath, "sub-path", "/bitrix/subws/", "external: path of subscribers")
	fs.StringVar(&f.pubPath, "pub-path", "/bitrix/pub/", "external: path of publishers")
	fs.StringVar(&f.key, "key", "", "external: key of signatures (HMAC-SHA1)")
	fs.StringVar(&f.dialect, "dialect", "push", "external: push or nchan")
	fs.StringVar(&f.metrics, "metrics", "", "external: `URL` of Prometheus metrics")
	fs.IntSliceVar(&f.pids, "pid", nil, "external: process ids whose CPU and memory are measured")
	fs.IntVar(&f.redisPID, "redis-pid", 0, "external: process id of Redis")
}

// options are those for a kind of server, of which ours are measured with each format.
func (f *serverFlags) options(kind string) (all []target.Options, err error) {
	formats := f.formats
	if len(formats) == 0 {
		formats = []string{string(load.Protobuf)}
	}
	for _, format := range formats {
		o, err := f.optionsOf(kind, load.Format(format))
		if err != nil {
			return nil, err
		}
		if len(all) == 0 || o.IsOurs() {
			all = append(all, o)
		}
	}
	return all, nil
}

func (f *serverFlags) optionsOf(kind string, format load.Format) (target.Options, error) {
	o := target.Options{
		Kind: kind, Binary: f.server, Processes: f.processes, Peers: f.peers, Format: format, Acknowledge: f.acknowledge, Keep: f.keep,
		ExternalPID: f.external.pids, RedisPID: f.external.redisPID, Metrics: f.external.metrics,
		External: load.Target{
			Dialect: f.external.dialect, Subscribe: f.external.subscribe, Publish: f.external.publish,
			SubPath: f.external.subPath, PubPath: f.external.pubPath, Key: f.external.key,
		},
	}
	if !slices.Contains(load.Formats, o.Format) {
		return o, fmt.Errorf("no format %q; known are %v", format, load.Formats)
	}
	extra := []byte(f.extra)
	if file, ok := strings.CutPrefix(f.extra, "@"); ok {
		var err error
		if extra, err = os.ReadFile(file); err != nil {
			return o, err
		}
	}
	if len(extra) > 0 && !json.Valid(extra) {
		return o, fmt.Errorf("--config is no JSON")
	}
	o.Extra = extra
	return o, nil
}

func (f *serverFlags) fleet() load.FleetOptions {
	return load.FleetOptions{PerWorker: f.perWorker, Workers: f.workers, Sources: f.sources, Log: os.Stderr}
}

// paramFlags are the numbers of scenarios; 0 takes the default of each.
type paramFlags struct {
	ns []int
	p  bench.Params
}

func (f *paramFlags) register(fs *pflag.FlagSet) {
	fs.IntSliceVar(&f.ns, "n", nil, "connections; several for one run each")
	fs.IntVar(&f.p.Payload, "payload", 0, "bytes of a message")
	fs.IntVar(&f.p.Expiry, "expiry", 0, "seconds that a message stays in history")
	fs.Float64Var(&f.p.Rate, "rate", 0, "publications a second in open loops")
	fs.IntVar(&f.p.Connections, "in-flight", 0, "publications under way in closed loops")
	fs.DurationVar(&f.p.Time, "time", 0, "of each measurement")
	fs.IntVar(&f.p.Rounds, "rounds", 0, "rounds in turn with the floor")
	fs.IntVar(&f.p.Dial, "dial", 0, "handshakes under way")
}

// revision is that of the source in the current folder.
func revision() string {
	out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	rev := strings.TrimSpace(string(out))
	if changed, err := exec.Command("git", "status", "--porcelain", "--untracked-files=no").Output(); err == nil && len(changed) > 0 {
		rev += "-changed"
	}
	return rev
}

func commandLine(args []string) string { return "push-bench " + strings.Join(args, " ") }

// today is when the results were made, to the second.
func today() time.Time { return time.Now().UTC().Truncate(time.Second) }
