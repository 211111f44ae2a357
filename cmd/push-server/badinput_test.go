package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"push-server/protocol/testclient"
)

// TestBadInput sends everything that has to be refused, all at once and several times over, while others use the server,
// who may not notice. The limits are small: 2048 bytes, 3 connections of a channel, 3 messages of a request, 4 channels of a message.
func TestBadInput(t *testing.T) {
	in := install(t, "low-limits", nil, 1)
	healthy := startTraffic(t, in)
	var all sync.WaitGroup
	for range 4 {
		for _, c := range newRefusals(in).list {
			all.Go(func() {
				if err := c.check(); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			})
		}
		all.Go(func() { checkEviction(t, in) })
	}
	all.Wait()
	healthy.end()
}

// A refusal is something bad and how it has to be answered.
type refusal struct {
	name  string
	check func() error
}

// refusals collects all of the error table that there is without licences, and what HTTP and WebSocket refuse by themselves.
type refusals struct {
	in    *installation
	ch    testclient.Channel // of the sender
	other testclient.Channel // of a portal with another key
	list  []refusal
}

func newRefusals(in *installation) *refusals {
	r := &refusals{in: in, ch: testclient.NewChannel(testKey), other: testclient.NewChannel("another key")}
	r.addPolls()
	r.addQuestions()
	r.addBackendRequests()
	r.addClientRequests()
	r.addSubscriptions()
	r.addFrames()
	r.addViolations()
	r.addOversized()
	r.addHeads()
	return r
}

func (r *refusals) add(name string, check func() error) {
	r.list = append(r.list, refusal{name, check})
}

func (r *refusals) addPolls() {
	f := func(name, query, body string) {
		request := "GET " + subPath + query + " HTTP/1.1\r\nHost: x\r\n\r\n"
		r.add("poll: "+name, func() error { return checkReply(r.in.subs[0], request, 400, body, true) })
	}
	f("no channel", "", "4010: Wrong Channel Id.")
	f("wrong signature", testclient.Query(false, "", r.other.Signed()), "4010: Wrong Channel Id.")
	f("one of two wrong", testclient.Query(true, "", r.ch.Signed(), r.other.Alone()), "4010: Wrong Channel Id.")
	f("unsigned", "?CHANNEL_ID="+r.ch.Private, "4010: Wrong Channel Id.")
}

func (r *refusals) addQuestions() {
	f := func(name, query, body string) {
		request := "GET " + pubPath + query + " HTTP/1.1\r\nHost: x\r\n\r\n"
		r.add("who is online: "+name, func() error { return checkReply(r.in.pub, request, 400, body, true) })
	}
	f("no channels", "", "4017: No channels found.")
	f("bad channels", "?CHANNEL_ID=x", "4017: No channels found.")
	f("too many", "?CHANNEL_ID="+strings.Repeat(r.ch.Private+"/", 4)+r.ch.Private, "4018: Request exceeded the maximum number of channels.")
}

const (
	garbage      = "\xff\xff\xff"
	serverStats  = "\x0a\x02\x1a\x00"
	registration = "\x0a\x02\x22\x00"
)

// publish is a request with one message for n times the receiver.
func publish(n int, receiver testclient.Receiver) string {
	return string(testclient.AppendPublish(nil, testclient.Publication{Receivers: slices.Repeat([]testclient.Receiver{receiver}, n), Body: "{}"}))
}

// say is a request with one message.
func say(receiver testclient.Receiver, body string) string {
	return string(testclient.AppendPublish(nil, testclient.Publication{Receivers: []testclient.Receiver{receiver}, Body: body}))
}

// publications is a request with n messages.
func publications(n int) string {
	return string(testclient.AppendPublish(nil, make([]testclient.Publication, n)...))
}

func (r *refusals) post(name, target, body, want string) {
	request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body)
	r.add(target+": "+name, func() error { return checkReply(r.in.pub, request, 400, want, true) })
}

const backendTarget = pubPath + "?binaryMode=true"

func (r *refusals) addBackendRequests() {
	f := func(name, body, want string) { r.post(name, backendTarget, body, want) }
	receiver := r.ch.PrivateReceiver()
	f("garbage", garbage, "4013: Wrong Request Data.")
	f("empty", "", "4013: Wrong Request Data.")
	f("registration", registration, "4015: Wrong Request Command.")
	f("too many messages", publications(4), "4016: Request exceeded the maximum number of messages.")
	f("no receivers", publish(0, receiver), "4017: No channels found.")
	f("too many receivers", publish(5, receiver), "4018: Request exceeded the maximum number of channels.")
	f("short id", publish(1, testclient.Receiver{ID: receiver.ID[1:], Private: true}), "4019: Request has an invalid channel id.")
}

func (r *refusals) addClientRequests() {
	receiver := r.ch.PublicReceiver()
	r.post("nobody", restPath, publish(1, receiver), "4012: Public Channel Id is Required.")
	r.post("no public id", restPath+testclient.Query(false, "", r.ch.Alone()), publish(1, receiver), "4012: Public Channel Id is Required.")

	f := func(name, body, want string) {
		r.post(name, restPath+testclient.Query(false, "", r.ch.Signed()), body, want)
	}
	f("garbage", garbage, "4013: Wrong Request Data.")
	f("server statistics", serverStats, "4014: Request command is not allowed.")
	f("registration", registration, "4014: Request command is not allowed.")
	f("too many messages", publications(4), "4016: Request exceeded the maximum number of messages.")
	f("no receivers", publish(0, receiver), "4017: No channels found.")
	f("too many receivers", publish(5, receiver), "4018: Request exceeded the maximum number of channels.")
	f("private receiver", publish(1, r.ch.PrivateReceiver()), "4020: Private channel is not allowed.")
	f("wrong signature", publish(1, r.other.PublicReceiver()), "4021: Channel has an invalid signature.")
	f("no signature", publish(1, testclient.Receiver{ID: receiver.ID}), "4021: Channel has an invalid signature.")
	f("an order of the portal", say(receiver, portalOrder), "4040: Messages of the module pull come from the portal only.")
	f("no JSON", say(receiver, "[]]"), "4041: Message body must be JSON.")
}

func (r *refusals) close(name, query string, frame []byte, code uint16, reason string) {
	r.add("WebSocket: "+name, func() error { return checkClose(r.in.subs[0], query, frame, code, reason) })
}

func (r *refusals) addSubscriptions() {
	f := func(name, query string) { r.close(name, query, nil, 4010, "4010: Wrong Channel Id.") }
	f("no channel", "")
	f("wrong signature", testclient.Query(true, "", r.other.Signed()))
	f("wrong signature and mid", testclient.Query(false, strings.Repeat("1", 26), r.other.Alone()))
}

func (r *refusals) addFrames() {
	receiver := r.ch.PublicReceiver()
	alone := testclient.Query(true, "", testclient.NewChannel(testKey).Alone())
	r.close("no public id", alone, masked(ws.OpBinary, publish(1, receiver)), 4012, "4012: Public Channel Id is Required.")

	f := func(name, payload string, code uint16, reason string) {
		// On a channel of its own, because one takes no more than three connections.
		query := testclient.Query(true, "", testclient.NewChannel(testKey).Signed())
		r.close(name, query, masked(ws.OpBinary, payload), code, reason)
	}
	f("garbage", garbage, 4013, "4013: Wrong Request Data.")
	f("server statistics", serverStats, 4014, "4014: Request command is not allowed.")
	f("too many messages", publications(4), 4016, "4016: Request exceeded the maximum number of messages.")
	f("no receivers", publish(0, receiver), 4017, "4017: No channels found.")
	f("too many receivers", publish(5, receiver), 4018, "4018: Request exceeded the maximum number of channels.")
	f("private receiver", publish(1, r.ch.PrivateReceiver()), 4020, "4020: Private channel is not allowed.")
	f("wrong receiver", publish(1, r.other.PublicReceiver()), 4021, "4021: Channel has an invalid signature.")
	f("an order of the portal", say(receiver, portalOrder), 4040, "4040: Messages of the module pull come from the portal only.")
	f("no JSON", say(receiver, "x"), 4041, "4041: Message body must be JSON.")
}

// portalOrder makes browsers reconnect.
const portalOrder = `{"module_id":"pull","command":"server_restart","params":{},"extra":{"revision_web":1}}`

// Where it is switched off, clients publish what they like, as with Node.
func TestClientsAreNotGuarded(t *testing.T) {
	t.Parallel()
	in := installWith(t, "default", nil, 1, func(c config) { c.option("clientPublishGuard", false) })
	from, to := testclient.NewChannel(testKey), testclient.NewChannel(testKey)
	conn := dialSubscriber(t, in.subs[0], testclient.Query(true, "", to.Signed()))
	sender := dialSubscriber(t, in.subs[0], testclient.Query(true, "", from.Signed()))
	want := []string{portalOrder, "x"}
	for _, body := range want {
		if err := sender.Send([]byte(say(to.PublicReceiver(), body))); err != nil {
			t.Fatal(err)
		}
	}
	ms, err := receive(conn, len(want))
	if got := testclient.Bodies(ms); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
}

// addViolations breaks the rules of WebSocket, in both modes.
func (r *refusals) addViolations() {
	f := func(name string, frame []byte, code uint16) {
		for _, binary := range []bool{false, true} {
			r.close(name, testclient.Query(binary, "", testclient.NewChannel(testKey).Signed()), frame, code, "")
		}
	}
	f("not masked", []byte("\x81\x01a"), 1002)
	f("reserved bit", []byte("\xc2\x80\x00\x00\x00\x00"), 1002)
	f("opcode 3", []byte("\x83\x80\x00\x00\x00\x00"), 1002)
	f("nothing to continue", []byte("\x80\x80\x00\x00\x00\x00"), 1002)
	f("long ping", masked(ws.OpPing, strings.Repeat("a", 126)), 1002)
	f("not UTF-8", masked(ws.OpText, "\xff"), 1007)
	f("oversized", masked(ws.OpText, strings.Repeat("a", 2049)), 1009)
	f("oversized header", []byte("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"), 1009)
}

func (r *refusals) addOversized() {
	targets := []string{pubPath + "?CHANNEL_ID=" + r.ch.Private, backendTarget, restPath + testclient.Query(false, "", r.ch.Signed())}
	for _, target := range targets {
		f := func(name, rest string) {
			request := "POST " + target + " HTTP/1.1\r\nHost: x\r\n" + rest
			r.add(name+" "+target, func() error { return checkReply(r.in.pub, request, 413, "", false) })
		}
		f("oversized", "Content-Length: 2049\r\n\r\n"+strings.Repeat("a", 2049))
		f("oversized in chunks", "Transfer-Encoding: chunked\r\n\r\n"+strings.Repeat("80\r\n"+strings.Repeat("a", 128)+"\r\n", 17)+"0\r\n\r\n")
	}
}

func (r *refusals) addHeads() {
	f := func(name, request string, status int) {
		for _, addr := range []string{r.in.subs[0], r.in.pub} {
			r.add(name, func() error { return checkReply(addr, request, status, "", false) })
		}
	}
	f("head too long", "GET /?"+strings.Repeat("a", 20000)+" HTTP/1.1\r\nHost: x\r\n\r\n", 431)
	f("many headers", "GET / HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("A: aaaaaaaaaaaaaaaa\r\n", 1000)+"\r\n", 431)
	f("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400)
	f("words", "hello, is anybody there?\r\n\r\n", 400)
	f("lower case", "get / HTTP/1.1\r\nHost: x\r\n\r\n", 400)
	f("line feeds alone", "GET / HTTP/1.1\nHost: x\n\n", 400)
	f("two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", 400)
	f("length and chunks", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)
	f("negative length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400)
	f("no host", "GET / HTTP/1.1\r\n\r\n", 400)
}
