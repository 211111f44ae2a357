package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/valyala/fasthttp"

	"push-server/engine/latency"
	"push-server/poll"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

// follower is a Trace that follows some clients.
type follower struct {
	who string // part of the address; proxies are believed
	mu  sync.Mutex
	ids int
	got []string
}

func (f *follower) Begin(addr string, forwarded []byte) (id, client string) {
	if len(forwarded) > 0 {
		addr = string(forwarded)
	}
	if !strings.Contains(addr, f.who) {
		return "", ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids++
	return "T" + string(rune('0'+f.ids)), addr
}

func (f *follower) Line(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text = regexp.MustCompile(`[1-9]\d*B `).ReplaceAllString(text, "NB ")
	text = regexp.MustCompile(`\d+ms`).ReplaceAllString(text, "Nms")
	text = regexp.MustCompile(`"\d{26}"`).ReplaceAllString(text, "ID")
	text = regexp.MustCompile(`[0-9a-f]{32}`).ReplaceAllString(text, "HEX")
	text = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}`).ReplaceAllString(text, "TIME")
	text = regexp.MustCompile(`\{"type":"Buffer","data":\[\d+(,\d+){12}\]\}`).ReplaceAllString(text, "BUFFER")
	f.got = append(f.got, text)
}

// take waits for as many lines as are wanted, and compares.
func (f *follower) take(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	testclient.Await(t, strings.Join(want, "\n"), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		got = slices.Clone(f.got)
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = nil
}

func TestTraceOfAWebSocket(t *testing.T) {
	trace := &follower{who: "127.0.0.1"}
	e := startMemory(t, func(o *Options) { o.Trace = trace })
	a := newItem()
	publish(t, e, "0", 60, private(a))
	c := webSocket(t, e, query("&mid=00000000000000000000000000", a))
	c.Bodies(1)
	target := testSub + "?CHANNEL_ID=HEX:HEX.*&mid=00000000000000000000000000"
	trace.take(t,
		"T1 [TCP-CONNECTION] TIME ::ffff:127.0.0.1",
		"T1 [GET-UPGRADE] "+target+" ::ffff:127.0.0.1",
		"T1 [WS-CONNECTION] "+target+" ::ffff:127.0.0.1",
		"T1 [MESSAGE-GET] 1 Nms ::ffff:127.0.0.1",
		`T1 [WEBSOCKET-SEND] NB {"outgoingMessages":1} [ID]`)
	publish(t, e, "1", 60, private(a))
	c.Bodies(1)
	trace.take(t, `T1 [WEBSOCKET-SEND] NB {"outgoingMessages":1} [ID]`)
	c.SendFrame(ws.OpClose, ws.NewCloseFrameBody(1000, "bye"))
	c.End()
	_ = c.Close()
	trace.take(t, "T1 [WS-CLOSED] 1000 bye Nms ::ffff:127.0.0.1")
	c = webSocket(t, e, query("", a))
	_ = c.Close()
	trace.take(t,
		"T2 [TCP-CONNECTION] TIME ::ffff:127.0.0.1",
		"T2 [GET-UPGRADE] "+testSub+"?CHANNEL_ID=HEX:HEX.* ::ffff:127.0.0.1",
		"T2 [WS-CONNECTION] "+testSub+"?CHANNEL_ID=HEX:HEX.* ::ffff:127.0.0.1",
		"T2 [WS-CLOSED] 1006  Nms ::ffff:127.0.0.1")
}

func TestTraceOfRequests(t *testing.T) {
	trace := &follower{who: "10.0.0.7"}
	e := startMemory(t, func(o *Options) { o.Trace = trace })
	a := newItem()
	c := dial(t, e)
	ask := func(method, target, forwarded, body string) {
		t.Helper()
		c.Say(method + " " + target + " HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: " + forwarded +
			"\r\nContent-Length: " + string(rune('0'+len(body))) + "\r\n\r\n" + body)
	}
	channel := testSub + query("", a)
	ask("GET", channel, "10.0.0.7", "")
	testclient.Await(t, "the poll", func() bool { return e.Stats().Polls == 1 })
	publish(t, e, "1", 60, private(a))
	if resp := c.Reply("GET"); resp.Status != http.StatusOK {
		t.Fatal(resp)
	}
	trace.take(t,
		"T1 [TCP-CONNECTION] TIME 10.0.0.7",
		"T1 [GET] "+testSub+"?CHANNEL_ID=HEX:HEX.* 10.0.0.7",
		`T1 [POLLING-SEND] NB {"outgoingMessages":1} [ID]`,
		"T1 [FINISHED] Nms 200 10.0.0.7",
		"T1 [CLOSED] Nms 200 10.0.0.7")
	ask("GET", "/nothing", "10.0.0.8", "") // is not followed
	c.Reply("GET")
	ask("POST", "/bitrix/pub/?binaryMode=true", "10.0.0.7, 10.1.1.1", "x")
	c.Reply("POST")
	trace.take(t,
		"T2 [TCP-CONNECTION] TIME 10.0.0.7, 10.1.1.1",
		"T2 [POST] /bitrix/pub/?binaryMode=true 10.0.0.7, 10.1.1.1",
		"T2 [FINISHED] Nms 400 10.0.0.7, 10.1.1.1",
		"T2 [CLOSED] Nms 400 10.0.0.7, 10.1.1.1")
	ask("GET", channel, "10.0.0.7", "")
	testclient.Await(t, "the poll", func() bool { return e.Stats().Polls == 1 })
	_ = c.Close()
	trace.take(t,
		"T3 [TCP-CONNECTION] TIME 10.0.0.7",
		"T3 [GET] "+testSub+"?CHANNEL_ID=HEX:HEX.* 10.0.0.7",
		"T3 [CLOSED-BY-CLIENT] Nms 10.0.0.7")
}

func TestTraceOfTLS(t *testing.T) {
	trace := &follower{who: "127.0.0.1"}
	e := startTLS(t, func(o *Options) { o.Trace = trace })
	c := dialTLS(t, e)
	c.Say("GET /nothing HTTP/1.0\r\n\r\n")
	c.Reply("GET")
	trace.take(t,
		"T1 [TCP-CONNECTION] TIME ::ffff:127.0.0.1",
		"T1 [TLS-CONNECTION] TIME ::ffff:127.0.0.1",
		"T1 [GET] /nothing ::ffff:127.0.0.1",
		"T1 [FINISHED] Nms 404 ::ffff:127.0.0.1",
		"T1 [CLOSED] Nms 404 ::ffff:127.0.0.1")
}

func TestSignaturesAreNotTraced(t *testing.T) {
	f := func(target, want string) {
		t.Helper()
		if got := traceTarget([]byte(target)); got != want {
			t.Errorf("%q: got %q, want %q", target, got, want)
		}
	}
	id, signature := strings.Repeat("1", 32), strings.Repeat("a", 40)
	f("", "")
	f("/server-stat/", "/server-stat/")
	f("/s/?CHANNEL_ID="+id+"&x=1.5", "/s/?CHANNEL_ID="+id+"&x=1.5")
	f("/s/?CHANNEL_ID="+id+"."+signature+"/"+id+":"+id+"."+signature+"&mid=1", "/s/?CHANNEL_ID="+id+".*/"+id+":"+id+".*&mid=1")
	token := strings.Repeat("Ab-_9", 8)
	f("/s/?token="+token+"."+token+"."+token+"&jsonRpc=true", "/s/?token="+token+".*.*&jsonRpc=true")
	f("/s/?token=x%2E"+token+"%2e%41"+token, "/s/?token=x%2E*%2e*")
	f("/p/?hostId="+id+"&signature="+signature+"&x=1", "/p/?hostId="+id+"&signature=*&x=1")
	f("/s/?CHANNEL_ID="+id+"%2e"+signature, "/s/?CHANNEL_ID="+id+"%2e*")
	f("/a.b/?CHANNEL_ID="+id+"%2E"+signature+".", "/a.b/?CHANNEL_ID="+id+"%2E*.")
	f("/s/?CHANNEL_ID="+id+"."+strings.ToUpper(signature), "/s/?CHANNEL_ID="+id+".*")
	f("/s/?CHANNEL_ID="+id+".%61"+signature[1:], "/s/?CHANNEL_ID="+id+".*")
	f("/s/?CHANNEL_ID="+id+"%2E"+strings.Repeat("%41", 40)+"&x=%2", "/s/?CHANNEL_ID="+id+"%2E*&x=%2")
	f("/s/?\x80\x80%2E"+signature+"\xc3", "/s/?\x80\x80%2E*\xc3")
	f("/s/?ı%2Eſ%2e"+signature, "/s/?ı%2Eſ%2e*") // these grow when they are put into upper case
	dots := strings.Repeat(".", 16000)
	f("/s/?"+dots, "/s/?"+dots)
}

// A client that is followed may send any bytes: it gets an answer, and others do not notice. Bytes that are not UTF-8 before an encoded
// dot ended the process.
func TestFollowedBytesOfStrangers(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.Trace = &follower{who: "127.0.0.1"} })
	a := newItem()
	other := subscribed(t, e, query("", a))
	for _, odd := range []string{strings.Repeat("\x80", 100) + "%2E", "\xff%2e\xff", "ſſſ%2E", "%", "%2", "%2E%", strings.Repeat("%2e", 4000)} {
		c := dial(t, e)
		c.Say("GET " + testSub + "?" + odd + " HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp := c.Reply("GET"); resp.Status != http.StatusBadRequest {
			t.Errorf("%q: %s", odd, resp)
		}
	}
	publish(t, e, "1", 60, private(a))
	other.Bodies(1)
}

// panicking is a Trace that has a bug which strangers can reach.
type panicking struct{ follower }

func (p *panicking) Begin(addr string, forwarded []byte) (id, client string) {
	if string(forwarded) == "bug" {
		panic("a bug")
	}
	return p.follower.Begin(addr, forwarded)
}

// A panic over the bytes of one connection ends that connection alone, on a loop and on a port of publishers.
func TestPanicEndsOneConnection(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.Trace = &panicking{follower{who: "127.0.0.1"}} })
	a := newItem()
	other := subscribed(t, e, query("", a))
	for range 3 {
		c := dial(t, e)
		c.Say("GET " + testSub + query("", a) + " HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: bug\r\n\r\n")
		if _, err := c.Read(make([]byte, 1)); !testclient.IsEnd(err) {
			t.Errorf("the connection goes on: %v", err)
		}
	}
	if n := e.Stats().Closes["bug"]; n != 3 {
		t.Errorf("%d connections were closed for a bug", n)
	}
	publish(t, e, "1", 60, private(a))
	other.Bodies(1)

	var ctx fasthttp.RequestCtx
	ctx.Request.Header.Set("X-Forwarded-For", "bug")
	e.Handler(poll.Routes{Pub: "/pub/"})(&ctx)
	if code := ctx.Response.StatusCode(); code != http.StatusInternalServerError {
		t.Errorf("a publisher is answered %d", code)
	}
}

// script is a bus whose Publish gives out one answer after the other.
type script struct {
	Bus
	stored  []int
	errs    []error
	counter uint64
}

func (b *script) Publish(_ context.Context, ps []*protocol.Publication) (stored int, err error) {
	stored, err = b.stored[0], b.errs[0]
	b.stored, b.errs = b.stored[1:], b.errs[1:]
	for _, p := range ps[:stored] {
		b.counter++
		p.ID = protocol.MakeMessageID(1_795_461_812, b.counter)
	}
	return stored, err
}

func TestTraceOfWhatIsStored(t *testing.T) {
	trace := &follower{}
	f := follow(trace, "127.0.0.1", nil)
	refused := fmt.Errorf("%w: too large", ErrRefused)
	o := Options{Settings: Settings{Key: []byte(testKey), PublishQueue: 6}}.withDefaults()
	q := newPublishQueue(&script{stored: []int{2, 0, 1, 1}, errs: []error{errors.New("away"), refused, errors.New("away"), nil}}, &o, &publishStats{took: latency.New().Publish})
	enqueue := func(n int, by *followed) error {
		var ps []*protocol.Publication
		for range n {
			ps = append(ps, publication("{}", 60, private(newItem())))
		}
		return q.enqueue(backEnds, ps, nil, by)
	}
	const line = "T1 [MESSAGE-SET] BUFFER Nms 127.0.0.1"
	send := func(want ...string) {
		t.Helper()
		q.send(t.Context(), q.next())
		trace.take(t, want...)
	}
	if err := errors.Join(enqueue(1, nil), enqueue(3, f), enqueue(1, nil)); err != nil {
		t.Fatal(err)
	}
	if err := enqueue(2, f); !errors.Is(err, poll.ErrQueueFull) {
		t.Errorf("a queue that is full says %v", err)
	}
	send(line) // the first of the batch belongs to nobody
	send()     // is refused
	send(line)
	send() // belongs to nobody, and nothing is left
	if q.length() != 0 {
		t.Errorf("%d publications are left", q.length())
	}
}

func TestBufferText(t *testing.T) {
	const want = `{"type":"Buffer","data":[23,149,70,24,18,0,0,0,0,0,0,18,113]}`
	if got := bufferText(protocol.MakeMessageID(1795461812, 1271)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := bufferText(protocol.MessageID{}); got != "none" {
		t.Errorf("got %s for no id", got)
	}
}

func FuzzTraceTarget(f *testing.F) {
	f.Add([]byte("/s/?CHANNEL_ID=1.%61" + strings.Repeat("a", 40)))
	f.Add([]byte("\x80\x80\x80\x80%2E")) // ended the process once
	f.Fuzz(func(t *testing.T, target []byte) {
		shown := traceTarget(target)
		if len(shown) > len(target) {
			t.Fatalf("%q became %q", target, shown)
		}
		decodedTarget, err := url.PathUnescape(shown)
		if err == nil && regexp.MustCompile(`\.[0-9a-fA-F]{32}`).MatchString(decodedTarget) {
			t.Fatalf("%q shows a signature: %q", target, shown)
		}
	})
}
