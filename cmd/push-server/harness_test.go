package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// asServer makes the test binary the server itself, so that what is tested is a process of its own, built with the race
// detector whenever the tests are.
const asServer = "PUSH_TEST_AS_SERVER"

func TestMain(m *testing.M) {
	if how := os.Getenv(fakeVariable); how != "" {
		fakeSuccessor(how)
		os.Exit(1)
	}
	if fault := os.Getenv(betweenVariable); fault != "" {
		newGoBetween(fault).run()
		os.Exit(0)
	}
	if what := os.Getenv(crowdVariable); what != "" {
		crowd(what)
	}
	if os.Getenv(bareVariable) != "" {
		bareServer()
	}
	if how := os.Getenv(hasteVariable); how != "" {
		hasten(how)
	}
	if os.Getenv(asServer) != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"), // one, for ever
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1"),    // gnet's pool keeps idle workers
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"), // sleeps up to ten seconds more
	)
}

const (
	subPath  = "/bitrix/subws/"
	pubPath  = "/bitrix/pub/"
	restPath = "/bitrix/rest/"
	statPath = "/server-stat/"
	testKey  = "conversations-0123456789abcdef0123456789abcdef0123456789abcdef-key"
)

// patience is how long anything that has to happen may take on a busy machine.
const patience = testclient.Patience

// A config is a configuration file in the format of the Node server.
type config map[string]any

// recordedConfig is the configuration that a conversation was recorded with, on ports of its own, with redis (a socket)
// or memory as its store.
func recordedConfig(t *testing.T, name, redis string) config {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "conversations", "configs", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var c config
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	for _, listener := range c.listeners() {
		listener["port"] = freePort(t)
		listener["hostname"] = "127.0.0.1"
	}
	storage := c["storage"].(map[string]any)
	delete(storage, "host")
	delete(storage, "port")
	if redis != "" {
		storage["type"], storage["socket"] = "redis", redis
	} else {
		storage["type"] = "memory"
		delete(c, "clusterMode") // which would need a store that others reach
	}
	c["debug"] = map[string]any{"folderName": t.TempDir()}
	c.option("acceptTimeout", "10s") // a busy machine is no reason for a 202
	return c
}

// option sets an option of push.
func (c config) option(key string, value any) {
	push, ok := c["push"].(map[string]any)
	if !ok {
		push = make(map[string]any)
		c["push"] = push
	}
	push[key] = value
}

// hasty has publishers wait for no longer than they do in production.
func (c config) hasty() { c.option("acceptTimeout", "300ms") }

func (c config) listeners() []map[string]any {
	var out []map[string]any
	for _, listener := range c["servers"].([]any) {
		out = append(out, listener.(map[string]any))
	}
	return out
}

// addr is where the first listener with that route listens.
func (c config) addr(route string) string {
	for _, listener := range c.listeners() {
		if _, ok := listener["routes"].(map[string]any)[route]; ok {
			return fmt.Sprintf("127.0.0.1:%v", listener["port"])
		}
	}
	return ""
}

// joined is one process that does what two are configured for.
func joined(sub, pub config) config {
	pub["servers"] = append(sub["servers"].([]any), pub["servers"].([]any)...)
	delete(pub, "publishMode")
	return pub
}

var nextPort atomic.Int64

func init() { nextPort.Store(20000 + rand.Int64N(10000)) }

// freePort is a port that nobody listens on, below those that the kernel gives to outgoing connections.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := int(20000 + nextPort.Add(1)%12000)
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// A process is a server under test.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  testclient.Log
	done chan struct{} // closed when it has ended; its state is in cmd then
}

// start runs the server with one configuration file for each config and waits until it accepts connections. At the end
// of the test it has to stop by SIGTERM in good order.
func start(t *testing.T, configs ...config) *process {
	t.Helper()
	p := launch(t, writeConfigs(t, configs...)...)
	for _, c := range configs {
		for _, listener := range c.listeners() {
			p.waitListening(fmt.Sprintf("127.0.0.1:%v", listener["port"]))
		}
	}
	t.Cleanup(p.finish)
	return p
}

func writeConfigs(t *testing.T, configs ...config) (args []string) {
	t.Helper()
	for i, c := range configs {
		text, err := json.MarshalIndent(c, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), fmt.Sprintf("server-%d.json", i))
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", file)
	}
	return args
}

// launch starts the server with these arguments.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	return launchAs(t, exec.Command(executable(t), args...))
}

func executable(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// launchAs runs a command that becomes the server.
func launchAs(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asServer+"=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = patience // another process may have its output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) waitListening(addr string) {
	p.t.Helper()
	testclient.AwaitNil(p.t, addr+" accepts connections", func() error {
		select {
		case <-p.done:
			p.t.Fatalf("the server ended: %v\n%s", p.cmd.ProcessState, p.log.String())
		default:
		}
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// signal sends sig and waits for the end, which has to come in time. It returns the exit code.
func (p *process) signal(sig syscall.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
	return p.wait()
}

func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.cmd.Process.Signal(syscall.SIGQUIT) // shows what it is waiting for
		<-p.done
		p.t.Errorf("the server did not end in %v\n%s", patience, p.log.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

var alarming = regexp.MustCompile(`DATA RACE|(?m)^panic:|BUG:`)

// finish ends the process as an operator does and fails the test if it did not like that.
func (p *process) finish() {
	select {
	case <-p.done:
	default:
		if code := p.signal(syscall.SIGTERM); code != 0 {
			p.t.Errorf("exit code %d after SIGTERM, want 0\n%s", code, p.log.String())
		}
	}
	log := p.log.String()
	if alarming.MatchString(log) {
		p.t.Errorf("alarming output of the server:\n%s", log)
	} else if p.t.Failed() {
		p.t.Logf("output of the server:\n%s", log)
	}
}

func (p *process) kill() {
	select {
	case <-p.done:
	default:
		p.cmd.Process.Kill()
		<-p.done
	}
}

// An installation is what a portal has: servers for subscribers and for the backend, and what joins them.
type installation struct {
	subs  []string // addresses for subscribers
	pub   string   // address for the backend
	redis *redistest.Server
	procs []*process

	configs []config // of procs
}

// startRedis starts one that keeps what it has acknowledged when it is killed.
func startRedis(t *testing.T) *redistest.Server {
	t.Helper()
	return redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
}

// absentRedis is one that is yet to be started.
func absentRedis(t *testing.T) *redistest.Server {
	t.Helper()
	redis := startRedis(t)
	redis.Kill()
	return redis
}

// socketOf is where Redis listens; none for the memory bus.
func socketOf(redis *redistest.Server) string {
	if redis == nil {
		return ""
	}
	return redis.Addr()
}

// onEachBus runs f as a subtest with the memory bus and with Redis.
func onEachBus(t *testing.T, f func(t *testing.T, redis *redistest.Server)) {
	t.Run("memory", func(t *testing.T) { f(t, nil) })
	t.Run("redis", func(t *testing.T) { f(t, startRedis(t)) })
}

// install starts the servers of a group of conversations and waits until messages pass. With Redis, subscribers and
// backend have processes of their own, as in production, and there may be several for subscribers; on memory there is one
// process for all.
func install(t *testing.T, group string, redis *redistest.Server, subscribers int) *installation {
	t.Helper()
	return installWith(t, group, redis, subscribers, func(config) {})
}

// installWith is install with other configurations.
func installWith(t *testing.T, group string, redis *redistest.Server, subscribers int, change func(c config)) *installation {
	t.Helper()
	in := &installation{redis: redis}
	add := func(c config) {
		change(c)
		in.add(t, c)
	}
	_, err := os.Stat(filepath.Join("testdata", "conversations", "configs", group+".json"))
	switch {
	case err == nil:
		add(recordedConfig(t, group, socketOf(redis)))
	case redis == nil:
		add(joined(recordedConfig(t, group+"-sub", ""), recordedConfig(t, group+"-pub", "")))
	default:
		add(recordedConfig(t, group+"-pub", socketOf(redis)))
		for i := range subscribers {
			c := recordedConfig(t, group+"-sub", socketOf(redis))
			c["processUniqueId"] = fmt.Sprintf("%s-sub-%d", group, i)
			add(c)
		}
	}
	if group != "sha256" {
		in.waitDelivering(t)
	}
	return in
}

func (in *installation) add(t *testing.T, c config) {
	t.Helper()
	in.procs = append(in.procs, start(t, c))
	in.configs = append(in.configs, c)
	if addr := c.addr("sub"); addr != "" {
		in.subs = append(in.subs, addr)
	}
	if addr := c.addr("pub"); addr != "" {
		in.pub = addr
	}
}

// signal sends a signal to a server and does not wait.
func (in *installation) signal(t *testing.T, i int, sig syscall.Signal) {
	t.Helper()
	if err := in.procs[i].cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// descriptors is how many each server has open.
func (in *installation) descriptors(t *testing.T) (ns []int) {
	t.Helper()
	for _, p := range in.procs {
		ns = append(ns, openFiles(t, p))
	}
	return ns
}

func (in *installation) pubURL() string { return "http://" + in.pub + pubPath }

// waitDelivering waits until what is published reaches a client of each process.
func (in *installation) waitDelivering(t *testing.T) {
	t.Helper()
	backend := testclient.NewHTTP(false)
	ch := testclient.NewChannel(testKey)
	for _, sub := range in.subs {
		testclient.AwaitNil(t, "messages pass", func() error {
			w, err := testclient.Dial(t.Context(), sub, subPath+testclient.Query(false, "", ch.Signed()))
			if err != nil {
				return err
			}
			defer w.Close()
			if _, err := backend.PublishText(t.Context(), in.pubURL(), `{}`, 0, ch.Private); err != nil {
				return err
			}
			w.SetReadDeadline(time.Now().Add(time.Second))
			_, err = w.Receive()
			return err
		})
	}
}
