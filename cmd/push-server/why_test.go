package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// A case is one server with a window on a Redis, of which why is asked.
type whyCase struct {
	t      *testing.T
	config config
	redis  *redistest.Server
	args   []string
	http   *testclient.HTTP

	process *process
}

func startWhy(t *testing.T, redis *redistest.Server, options map[string]any) *whyCase {
	t.Helper()
	c := standalone(t)
	c["storage"] = map[string]any{"type": "redis", "socket": redis.Addr()}
	c["clusterMode"] = true
	c.option("acceptTimeout", "10s") // a busy machine is no reason for a 202
	c.option("metrics", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	for key, value := range options {
		c.option(key, value)
	}
	w := serveWhy(t, c)
	w.redis = redis
	return w
}

func serveWhy(t *testing.T, c config) *whyCase {
	t.Helper()
	w := &whyCase{t: t, config: c, args: writeConfigs(t, c), http: testclient.NewHTTP(false), process: start(t, c)}
	testclient.AwaitNil(t, "the server is ready", func() error {
		_, _, err := execute(t, append([]string{"health"}, w.args...)...)
		return err
	})
	return w
}

func (w *whyCase) channel() testclient.Channel {
	return testclient.NewChannel(w.config["security"].(map[string]any)["key"].(string))
}

// publish wants that status of a publication.
func (w *whyCase) publish(t *testing.T, status int, ch testclient.Channel, body string, expiry int) {
	t.Helper()
	reply, err := w.http.PublishText(t.Context(), "http://"+w.config.addr("pub")+pubPath, body, expiry, ch.Private)
	if err != nil || reply.Status != status {
		t.Fatalf("%v, %v, want %d", reply, err, status)
	}
}

func (w *whyCase) ask(t *testing.T, id, mid string) string {
	t.Helper()
	args := append([]string{"why", "--channel", id}, w.args...)
	if mid != "" {
		args = append(args, "--mid", mid)
	}
	out, _, err := execute(t, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// want waits for a verdict, and texts in what is said.
func (w *whyCase) want(t *testing.T, verdict, id, mid string, texts ...string) {
	t.Helper()
	testclient.AwaitNil(t, verdict, func() error {
		out := w.ask(t, id, mid)
		for _, text := range append(texts, "\nverdict: "+verdict+"\n") {
			if !strings.Contains(out, text) {
				return fmt.Errorf("%q is missing in\n%s", text, out)
			}
		}
		return nil
	})
}

// latest is the id of the latest publication of a channel.
func (w *whyCase) latest(t *testing.T, ch testclient.Channel) string {
	t.Helper()
	out := w.ask(t, ch.Private, "")
	found := regexp.MustCompile(`message (\d{26}):`).FindStringSubmatch(out)
	if found == nil {
		t.Fatal(out)
	}
	return found[1]
}

// TestWhy plays out what happens to publications, and has why tell it.
func TestWhy(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	redis.Do("SET", "server:startdate", "1700000000")
	w := startWhy(t, redis, nil)
	for name, f := range map[string]func(t *testing.T){
		"delivered": w.delivered, "away": w.away, "expired": w.expired, "wrong key": w.wrongKey, "other database": w.otherDatabase,
		"never published": w.neverPublished, "beyond the limit": w.beyondLimit, "other channel": w.otherChannel, "nothing stored": w.notStored,
	} {
		t.Run(name, f)
	}
}

func (w *whyCase) delivered(t *testing.T) {
	ch := w.channel()
	socket, err := testclient.Dial(t.Context(), w.config.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	w.want(t, "never-published", ch.Signed(), "", "1 listen to this channel")
	w.publish(t, http.StatusOK, ch, `{"a":1}`, 60)
	if _, err := socket.Receive(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{ch.Signed(), ch.Private, "ws://x/?CHANNEL_ID=" + ch.Signed()} {
		w.want(t, "delivered", id, w.latest(t, ch), "published by a back end", "is stored for another", "it was sent the message", "online: ")
	}
	w.want(t, "delivered", ch.Signed(), "", "signature: right\n")
}

func (w *whyCase) away(t *testing.T) {
	ch := w.channel()
	w.publish(t, http.StatusOK, ch, `{"a":1}`, 60)
	first := w.latest(t, ch)
	w.want(t, "away", ch.Signed(), first, "nobody listens to this channel", "online: no", "gets nothing: there is nothing newer", "away before the message and comes now, with the mid that it saw last, gets it")
	w.publish(t, http.StatusOK, ch, `{"a":2}`, 60)
	w.want(t, "away", ch.Signed(), first, "gets 1 newer messages: "+w.latest(t, ch))
}

func (w *whyCase) expired(t *testing.T) {
	ch := w.channel()
	w.publish(t, http.StatusOK, ch, `{"a":1}`, 1)
	w.want(t, "expired", ch.Signed(), w.latest(t, ch), "has expired")
}

func (w *whyCase) wrongKey(t *testing.T) {
	ch := testclient.NewChannel("another key than that of the server")
	w.publish(t, http.StatusOK, ch, `{"a":1}`, 60)
	w.want(t, "wrong-key", ch.Signed(), "", "signed with another key", "4010", "is stored for another")
}

// The id of a message of another portal, in another database of the same Redis.
func (w *whyCase) otherDatabase(t *testing.T) {
	other := standalone(t)
	other["storage"] = map[string]any{"type": "redis", "socket": "unix://" + w.redis.Addr() + "?db=1"}
	other.option("acceptTimeout", "10s")
	x := &whyCase{t: t, config: other, redis: w.redis, args: writeConfigs(t, other), http: w.http}
	start(t, other)
	ch := w.channel()
	testclient.AwaitNil(t, "it is stored", func() error {
		reply, err := x.http.PublishText(t.Context(), "http://"+other.addr("pub")+pubPath, `{"a":1}`, 60, ch.Private)
		if err == nil && reply.Status != http.StatusOK {
			err = errors.New(reply.String())
		}
		return err
	})
	w.want(t, "other-database", ch.Signed(), x.latest(t, ch), "of another portal, of another database")
	x.want(t, "away", ch.Signed(), "", "the configuration has no push.metrics")
}

func (w *whyCase) neverPublished(t *testing.T) {
	ch := w.channel()
	w.want(t, "never-published", ch.Signed(), "", "there is none", "with any mid gets nothing")
	w.want(t, "never-published", ch.Signed(), "17000000000000000099999999", "was not given to anything yet")
}

func (w *whyCase) beyondLimit(t *testing.T) {
	ch := w.channel()
	w.publish(t, http.StatusOK, ch, `{"n":0}`, 60)
	first := w.latest(t, ch)
	for n := range 100 {
		w.publish(t, http.StatusOK, ch, fmt.Sprintf(`{"n":%d}`, n+1), 60)
	}
	w.want(t, "beyond-limit", ch.Signed(), first, "100 newer ones are stored", "push.historyPerChannel", "gets 100 newer messages")
	w.want(t, "away", ch.Signed(), w.latest(t, ch))
}

func (w *whyCase) otherChannel(t *testing.T) {
	ch := w.channel()
	w.publish(t, http.StatusOK, ch, `{"a":1}`, 60)
	w.want(t, "other-channel", w.channel().Signed(), w.latest(t, ch), "not in the history of this channel")
}

func (w *whyCase) notStored(t *testing.T) {
	ch, other := w.channel(), w.channel()
	w.publish(t, http.StatusOK, other, `{"a":0}`, 60)
	w.publish(t, http.StatusOK, ch, `{"a":1}`, 0)
	w.publish(t, http.StatusOK, other, `{"a":2}`, 60)
	var second uint64
	if _, err := fmt.Sscanf(w.latest(t, other), "1700000000%d", &second); err != nil {
		t.Fatal(err)
	}
	w.want(t, "not-stored", ch.Signed(), fmt.Sprintf("1700000000%016d", second-1), "cannot be known")
}

// A connection that does not read is closed, and why knows.
func TestWhyOfASlowReader(t *testing.T) {
	t.Parallel()
	w := startWhy(t, startRedis(t), map[string]any{"maxBuffered": 1 << 16, "operators": map[string]any{"token": "only-those-who-know-this-may-look"}})
	ch := w.channel()
	socket, err := testclient.Dial(t.Context(), w.config.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := socket.Conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	body := `{"a":"` + strings.Repeat("x", 500_000) + `"}`
	w.publish(t, http.StatusOK, ch, body, 60)
	first := w.latest(t, ch)
	testclient.AwaitNil(t, "the connection is closed", func() error {
		w.publish(t, http.StatusOK, ch, body, 60)
		out := w.ask(t, ch.Signed(), first)
		if !strings.Contains(out, "\nverdict: cut-off\n") || !strings.Contains(out, "reason slow_reader (it did not read") || !strings.Contains(out, "cut off after the message was published") {
			return errors.New(out)
		}
		return nil
	})
}

// All processes of an installation are asked, and what they know is one answer.
func TestWhyAsksAllProcesses(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	w, other := startWhy(t, redis, nil), startWhy(t, redis, nil)
	ch := w.channel()
	here := testclient.Subscribe(t, w.config.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
	there := testclient.Subscribe(t, other.config.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
	w.publish(t, http.StatusOK, ch, `{"a":1}`, 60)
	here.Bodies(1)
	there.Bodies(1)
	mid, alone := w.latest(t, ch), w.args
	f := func(args []string, connections int) {
		t.Helper()
		w.args = args
		w.want(t, "delivered", ch.Signed(), mid)
		if n := strings.Count(w.ask(t, ch.Signed(), mid), "it was sent the message"); n != connections {
			t.Errorf("%v: %d connections are told of, want %d", args, n, connections)
		}
	}
	f(alone, 1)
	f(append(alone[:2:2], "--ops", other.config["push"].(map[string]any)["metrics"].(string)), 2)
	f(append(alone[:2:2], other.args...), 2)
	f(append(alone[:2:2], "--ops", w.config["push"].(map[string]any)["metrics"].(string)), 1)
}

// While Redis is away nothing is known of what is stored, but the server knows what waits.
func TestWhyWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	w := startWhy(t, startRedis(t), map[string]any{"acceptTimeout": "300ms"})
	ch := w.channel()
	w.redis.Kill()
	w.publish(t, http.StatusAccepted, ch, `{"a":1}`, 60)
	w.want(t, "redis-away", ch.Signed(), "", "what is stored cannot be known", "1 publications were accepted (answered 202) and wait for Redis")
	w.redis.Restart()
	w.want(t, "away", ch.Signed(), "", "Redis had to be asked again")
}

func TestWhyInMemory(t *testing.T) {
	t.Parallel()
	c := standalone(t)
	out, _, err := execute(t, append([]string{"why", "--channel", exampleSigned}, writeConfigs(t, c)...)...)
	if err != nil || !strings.Contains(out, "verdict: unknown\n") || !strings.Contains(out, "in the memory of the server") {
		t.Error(out, err)
	}
}

func TestWhyNeedsAQuestion(t *testing.T) {
	t.Parallel()
	f := func(want int, args ...string) {
		t.Helper()
		if _, _, err := execute(t, append([]string{"why", "--config", "../../configs/standalone.json"}, args...)...); exitCode(err) != want {
			t.Errorf("%v: exit code %d, want %d: %v", args, exitCode(err), want, err)
		}
	}
	f(exitUsage)
	f(exitUsage, "--channel", exampleChannel, "--mid", "123")
	f(exitFailure, "--channel", "0123")
	f(exitFailure, "--channel", exampleChannel+"/"+exampleChannel)
}
