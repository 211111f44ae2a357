package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// A portal runs real clients, those of the vendor's SDK, in one process of Node or on a page of a browser.
type portal struct {
	t      *testing.T
	in     *installation
	orders io.Writer // safe for concurrent use
	shared testclient.Channel
	mids   int
	mu     sync.Mutex // what follows
	users  []*user
	events map[string]chan event
}

// A user is one of the portal, with a client whose way to the server can be cut.
type user struct {
	name      string
	id        int
	channel   testclient.Channel
	version   int
	websocket bool
	relay     *testclient.Relay
	renewed   atomic.Int32 // times that its client has asked for another configuration
}

// An event is what a client tells.
type event struct {
	Client    string
	Status    string
	From      string
	Command   string
	Params    map[string]any
	Extra     map[string]any
	Complaint string
}

// body is what PHP puts into a publication.
func (p *portal) body(command string) string {
	p.mids++
	now := time.Now()
	return fmt.Sprintf(`{"module_id":"test","command":%q,"params":{"n":%d,"text":"\u0437\u0434\u0440\u0430\u0432"},"extra":{"server_time":%q,"server_time_unix":%d.5,"server_name":"portal.example","revision_web":19,"revision_mobile":3}}`,
		command, p.mids, now.Format(time.RFC3339), now.Unix())
}

func (p *portal) publishText(backend *testclient.HTTP, expiry int, command string, to testclient.Channel) {
	p.t.Helper()
	reply, err := backend.PublishText(p.t.Context(), p.in.pubURL(), p.body(command), expiry, to.Private)
	if err != nil || reply.Status != 200 || len(reply.Body) > 0 {
		p.t.Fatalf("publication answered %d %q, %v", reply.Status, reply.Body, err)
	}
}

func (p *portal) publishBatch(backend *testclient.HTTP, expiry uint32, command string, to testclient.Channel) {
	p.t.Helper()
	reply, err := backend.Request(p.t.Context(), p.in.pubURL(), testclient.AppendPublish(nil, testclient.Publication{
		Receivers: []testclient.Receiver{to.PrivateReceiver()}, Body: p.body(command), Expiry: expiry,
	}))
	if err != nil || reply.Status != 200 || len(reply.Body) > 0 {
		p.t.Fatalf("publication answered %d %q, %v", reply.Status, reply.Body, err)
	}
}

// expect waits for the next message of the user, which has to be that one.
func (p *portal) expect(u *user, from, command string) event {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		switch e := p.next(u, deadline, "get "+command); {
		case e.Status != "":
		case e.From != from || e.Command != command:
			p.t.Fatalf("%s got %s from %s, want %s from %s", u.name, e.Command, e.From, command, from)
		default:
			return e
		}
	}
}

// next waits for what the client of a user says next, which must be no complaint.
func (p *portal) next(u *user, deadline <-chan time.Time, does string) (e event) {
	p.t.Helper()
	select {
	case e = <-p.eventsOf(u.name):
		if e.Complaint != "" {
			p.t.Fatalf("%s complains: %s", u.name, e.Complaint)
		}
	case <-deadline:
		p.t.Fatalf("%s does not %s", u.name, does)
	}
	return e
}

// waitConnected waits until the client of a user says that it is online.
func (p *portal) waitConnected(u *user) {
	p.t.Helper()
	p.waitStatus(u, "online")
}

// waitStatus waits until the client of a user says something of itself, or of those it watches. No message may come before that.
func (p *portal) waitStatus(u *user, status string) {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		switch e := p.next(u, deadline, fmt.Sprintf("say %q", status)); {
		case e.Command != "":
			p.t.Fatalf("%s got %s, and has not said %q", u.name, e.Command, status)
		case e.Status == status:
			return
		}
	}
}

// A clientHost runs the clients of a portal: it takes orders, one a line, and tells events.
type clientHost func(p *portal)

// openPortal starts what clients run in.
func openPortal(t *testing.T, in *installation, host clientHost) *portal {
	t.Helper()
	p := &portal{t: t, in: in, shared: testclient.NewChannel(testKey), events: map[string]chan event{}}
	host(p)
	t.Cleanup(p.closeRelays)
	select {
	case <-p.eventsOf("all"):
	case <-time.After(5 * patience): // a browser takes its time where many tests run
		t.Fatal("what clients run in does not start")
	}
	return p
}

// tell sorts an event, which is JSON, by client.
func (p *portal) tell(text []byte) {
	var e event
	if err := json.Unmarshal(text, &e); err != nil {
		e = event{Complaint: err.Error()}
	}
	if strings.HasPrefix(e.Status, "asks pull.config.get") {
		p.renew(e.Client)
	}
	p.eventsOf(e.Client) <- e
}

// renew gives a client a new configuration, with a token that is good.
func (p *portal) renew(name string) {
	p.mu.Lock()
	u := p.users[slices.IndexFunc(p.users, func(u *user) bool { return u.name == name })]
	p.mu.Unlock()
	u.renewed.Add(1)
	if err := p.write(map[string]any{"answer": name, "result": p.configuration(u, time.Now().Add(time.Hour))}); err != nil {
		p.eventsOf(name) <- event{Complaint: err.Error()}
	}
}

// eventsOf are those that the client of this name tells.
func (p *portal) eventsOf(name string) chan event {
	p.mu.Lock()
	defer p.mu.Unlock()
	queue := p.events[name]
	if queue == nil {
		queue = make(chan event, 1000)
		p.events[name] = queue
	}
	return queue
}

func (p *portal) closeRelays() {
	for _, u := range p.users {
		u.relay.Close()
	}
}

func (p *portal) addUser(name string, version int, websocket bool) *user {
	p.t.Helper()
	relay, err := testclient.NewRelay(p.in.subs[0])
	if err != nil {
		p.t.Fatal(err)
	}
	u := &user{
		name: name, id: len(p.users) + 1, version: version, websocket: websocket,
		channel: testclient.NewChannel(testKey), relay: relay,
	}
	p.mu.Lock()
	p.users = append(p.users, u)
	p.mu.Unlock()
	return u
}

func (p *portal) order(order map[string]any) {
	p.t.Helper()
	if err := p.write(order); err != nil {
		p.t.Fatal(err)
	}
}

// write is safe for concurrent use.
func (p *portal) write(order map[string]any) error {
	text, err := json.Marshal(order)
	if err == nil {
		_, err = p.orders.Write(append(text, '\n'))
	}
	return err
}

// start gives the client the configuration that a portal would.
func (p *portal) start(u *user) {
	p.t.Helper()
	p.startAt(u, "", time.Now().Add(time.Hour))
}

// noMid is before all messages.
var noMid = strings.Repeat("0", 26)

// startAt has the client have all messages up to mid, and its token expire at a time of which it knows nothing.
func (p *portal) startAt(u *user, mid string, expires time.Time) {
	p.t.Helper()
	p.order(map[string]any{"start": u.name, "user": u.id, "mid": mid, "config": p.configuration(u, expires)})
}

// configuration is what the portal answers to pull.config.get.
func (p *portal) configuration(u *user, expires time.Time) map[string]any {
	now := time.Now()
	begin, end := now.Add(-time.Hour).Format(time.RFC3339), now.Add(12*time.Hour).Format(time.RFC3339)
	signed := u.channel.Signed()
	if u.version < 4 {
		signed = u.channel.Alone()
	}
	public := map[string]any{}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, other := range p.users {
		public[strconv.Itoa(other.id)] = map[string]any{
			"user_id": other.id, "public_id": other.channel.Public,
			"signature": hex.EncodeToString(other.channel.PublicReceiver().Signature), "start": begin, "end": end,
		}
	}
	config := map[string]any{
		"api": map[string]any{"revision_web": 19, "revision_mobile": 3},
		"channels": map[string]any{
			"shared":  map[string]any{"id": p.shared.Alone(), "start": begin, "end": end, "type": "shared"},
			"private": map[string]any{"id": signed, "start": begin, "end": end, "type": "private"},
		},
		"publicChannels": public,
		"server": map[string]any{
			"version": u.version, "server_enabled": true, "mode": "personal", "config_timestamp": 0,
			"long_polling": "http://" + u.relay.Addr() + subPath, "websocket_enabled": u.websocket,
			"websocket": "ws://" + u.relay.Addr() + subPath, "publish_enabled": true, "publish": "http://" + p.in.pub + restPath,
		},
		"serverTime": now.Format(time.RFC3339),
	}
	if u.version == 5 {
		config["jwt"] = testclient.Token(testKey, expires.Unix(), u.id, p.shared.Private)
		config["exp"] = now.Add(time.Hour).Unix()
	}
	return config
}
