package protocol

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"testing"
)

func publishCall(t *testing.T, params string) *Call {
	t.Helper()
	calls, _, e := ParseCalls([]byte(`{"jsonrpc":"2.0","method":"publish","params":` + params + `}`))
	if e != nil {
		t.Fatalf("%s: %+v", params, e)
	}
	return &calls[0]
}

func incoming(t *testing.T, p *Publication, user uint64) (params map[string]json.RawMessage) {
	t.Helper()
	var call struct {
		Method string
		Params map[string]json.RawMessage
	}
	text := AppendIncoming(nil, p, p.ParamsOf(user))
	if err := json.Unmarshal(text, &call); err != nil || call.Method != "incoming.message" {
		t.Fatalf("%s: %v", text, err)
	}
	return call.Params
}

func TestAppendIncoming(t *testing.T) {
	f := func(p Publication, user uint64, want string) {
		t.Helper()
		p.ID = MakeMessageID(1795461412, 7)
		if got := string(AppendIncoming(nil, &p, p.ParamsOf(user))); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	const begin = `{"jsonrpc":"2.0","method":"incoming.message","params":{"mid":"17954614120000000000000007","body":`
	backend := Sender{Type: SenderBackend}
	f(Publication{Body: []byte(`{"a": 1}`), Sender: backend}, 0, begin+`{"a": 1},"sender":{"type":2,"id":""}}}`)
	f(Publication{Body: []byte(`no "JSON"`), Sender: backend}, 0, begin+`"no \"JSON\"","sender":{"type":2,"id":""}}}`)
	f(Publication{Sender: backend}, 0, begin+`"","sender":{"type":2,"id":""}}}`)
	f(Publication{Body: []byte(`1`), Sender: UserSender(17)}, 0, begin+`1,"sender":{"type":1,"id":"17"}}}`)
	public := [16]byte{0xab}
	f(Publication{Body: []byte(`1`), Sender: Sender{Type: SenderClient, ID: public[:]}}, 0, begin+`1,"sender":{"type":1,"id":"ab000000000000000000000000000000"}}}`)
	extra := []byte(`{"user_params":{"17":{"x":1},"18":[]},"dictionary":{"d":2}}`)
	f(Publication{Body: []byte(`1`), Sender: backend, Extra: extra}, 17, begin+`1,"sender":{"type":2,"id":""},"user_params":{"x":1},"dictionary":{"d":2}}}`)
	f(Publication{Body: []byte(`1`), Sender: backend, Extra: extra}, 18, begin+`1,"sender":{"type":2,"id":""}}}`)
	f(Publication{Body: []byte(`1`), Sender: backend, Extra: extra}, 0, begin+`1,"sender":{"type":2,"id":""}}}`)
}

// What version 5 sends beside the body travels between processes and in history, and reaches no client of another version.
func TestExtraIsNotSentToOthers(t *testing.T) {
	p := &Publication{ID: MakeMessageID(1, 1), Body: []byte("{}"), Extra: []byte(`{"user_params":{"1":{"secret":1}}}`), Receivers: []Receiver{{}}}
	err := ParseNotifications(AppendNotification(nil, p), func(q *Publication) {
		if string(q.Extra) != string(p.Extra) {
			t.Errorf("%q arrives", q.Extra)
		}
	})
	if err != nil {
		t.Error(err)
	}
	var q Publication
	if err := ParseOutgoing(appendStored(nil, p), &q); err != nil || string(q.Extra) != string(p.Extra) {
		t.Errorf("%q is stored, %v", q.Extra, err)
	}
	if len(appendStored(nil, p)) != SizeStored(p) || len(AppendOutgoing(nil, p)) != SizeOutgoing(p) {
		t.Error("sizes are wrong")
	}
	if got := AppendResponse(nil, []*Publication{p}); len(got) != len(AppendResponse(nil, []*Publication{{ID: p.ID, Body: p.Body}})) {
		t.Errorf("a client gets %q", got)
	}
}

func TestParseCalls(t *testing.T) {
	f := func(text string, n int, batch bool, want *RPCError) {
		t.Helper()
		calls, isBatch, e := ParseCalls([]byte(text))
		if len(calls) != n || isBatch != batch || e != want {
			t.Errorf("%s: %d calls, %v, %+v", text, len(calls), isBatch, e)
		}
	}
	f(`{"method":"ping","id":1}`, 1, false, nil)
	f(`[{"method":"ping","id":1},{"result":true}]`, 2, true, nil)
	f(`[]`, 0, true, ErrRPCRequest)
	f(`[1]`, 0, true, ErrRPCRequest)
	f(`1`, 0, false, ErrRPCRequest)
	f(`{"method":1}`, 0, false, ErrRPCRequest)
	f(`{"method":`, 0, false, ErrRPCParse)
	f(``, 0, false, ErrRPCParse)
	f(" \n", 0, false, ErrRPCParse)
	f(`[{]`, 0, true, ErrRPCParse)
	calls, _, _ := ParseCalls([]byte(`{"id":"x","result":1}`))
	if !calls[0].Answers() {
		t.Error("an answer is none")
	}
	if got := string(AppendResult(nil, calls[0].ID, []byte(`true`))); got != `{"jsonrpc":"2.0","id":"x","result":true}` {
		t.Error(got)
	}
	if got := string(AppendRPCError(nil, nil, ErrRPCParse)); got != `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}` {
		t.Error(got)
	}
}

func TestBackendPublication(t *testing.T) {
	const a, b = "00000000000000000000000000000001", "00000000000000000000000000000002"
	f := func(params, body, extra string, receivers ...ChannelID) {
		t.Helper()
		p, e := publishCall(t, params).BackendPublication()
		if e != nil || p == nil {
			t.Errorf("%s: %+v", params, e)
			return
		}
		var got []ChannelID
		for _, r := range p.Receivers {
			got = append(got, r.Channel)
		}
		if string(p.Body) != body || string(p.Extra) != extra || !slices.Equal(got, receivers) {
			t.Errorf("%s:\n%s\n%s\n%v", params, p.Body, p.Extra, got)
		}
	}
	private := func(last byte) ChannelID { return ChannelID{Bytes: [16]byte{15: last}, Private: true} }
	f(`{"channelList":["`+a+`","x","`+b+`","`+a+`"],"userList":[17,0,-5,"18",17],"body":{"a":1},"expiry":86400}`, `{"a":1}`, "",
		private(1), private(2), UserChannel(17), UserChannel(18))
	f(`{"channelList":["`+a+`"],"body":{"params":[]},"user_params":{},"dictionary":[]}`, `{"params":[]}`, "", private(1))
	f(`{"userList":[1],"body":{"params":[],"x":"\u0416"},"user_params":{"1":{"b":2}}}`, `{"params":{},"x":"\u0416"}`, `{"user_params":{"1":{"b":2}}}`, UserChannel(1))
	f(`{"userList":[1],"body":{"params":{"o":{"p":1},"q":1}},"dictionary":{"o":{"r":2},"q":3}}`, `{"params":{"o":{"p":1,"r":2},"q":3}}`, "", UserChannel(1))
	f(`{"userList":[1],"body":{},"user_params":[{"z":1},{"y":2}],"dictionary":{"d":1}}`, `{"params":{"d":1}}`,
		`{"user_params":{"0":{"z":1},"1":{"y":2}},"dictionary":{"d":1}}`, UserChannel(1))

	if p, e := publishCall(t, `{"userList":[0],"body":{}}`).BackendPublication(); p != nil || e != nil {
		t.Error("somebody is left")
	}
	for _, wrong := range []string{`{}`, `[]`, `{"userList":[1],"body":[]}`, `{"userList":{},"body":{}}`, `{"userList":[1],"body":1}`} {
		if p, e := publishCall(t, wrong).BackendPublication(); e == nil || e.Code != -32602 {
			t.Errorf("%s: %+v, %+v", wrong, p, e)
		}
	}
}

func TestClientPublication(t *testing.T) {
	s, err := NewSigner("", []byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	id := [16]byte{1}
	public := hex.EncodeToString(id[:])
	signed := public + "." + hex.EncodeToString(s.SignPublic(id))
	lim := Limits{MaxChannels: 3}
	f := func(user uint64, params, want string) {
		t.Helper()
		p, e := publishCall(t, params).ClientPublication(user, UserSender(user), s, &lim, 1.5)
		switch {
		case e != nil && e.Message != want:
			t.Errorf("%s: %+v, want %q", params, e, want)
		case e == nil && string(p.Body) != want:
			t.Errorf("%s: %s, want %s", params, p.Body, want)
		}
	}
	const body = `,"body":{"module_id":"im","command":"c","extra":{"revision_web":1}}}`
	const guarded = `{"command":"c","extra":{"server_time_unix":1.500000},"module_id":"im"}`
	f(17, `{"userList":[1,"2"]`+body, guarded)
	f(17, `{"channelList":["`+signed+`"]`+body, guarded)
	f(0, `{"channelList":[{"publicId":"`+public+`","signature":"`+hex.EncodeToString(s.SignPublic(id))+`"}]`+body, guarded)
	f(0, `{"userList":[1]`+body, "Only for users")
	f(17, `{"userList":[0]`+body, "userList has an entry that is no user id")
	f(17, `{"userList":[1,2,3,4]`+body, "Too many receivers")
	f(17, `{"userList":[]`+body, "No receivers")
	f(17, `{"channelList":["`+public+`"]`+body, "channelList has an invalid signature")
	f(17, `{"channelList":["x.y"]`+body, "channelList has an entry that is no public channel")
	f(17, `{"userList":[1],"body":{"module_id":"Pull","command":"c"}}`, "Messages of the module pull come from the portal only")
	f(17, `{"userList":[1],"body":{"command":"c"}}`, "module_id is missing")
	f(17, `{"userList":[1],"body":{"module_id":"im"}}`, "command is missing")
	f(17, `{"userList":[1],"body":{"module_id":1,"command":"c"}}`, "module_id is missing")
	f(17, `{"userList":[1],"body":"x"}`, "body must be an object")
}

func FuzzCalls(f *testing.F) {
	s, err := NewSigner("", []byte("key"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`[{"method":"publish","params":{"userList":[1],"body":{"module_id":"a","command":"b","params":[]},"user_params":{"1":{}},"dictionary":{"a":{}}}}]`))
	f.Add([]byte(`{"id":"1","result":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		calls, _, _ := ParseCalls(text)
		for i := range calls {
			if p, e := calls[i].BackendPublication(); e == nil && p != nil {
				for user := range uint64(2) {
					incoming(t, p, user)
				}
			}
			if p, e := calls[i].ClientPublication(1, UserSender(1), s, &Limits{MaxChannels: 10}, 0); e == nil {
				incoming(t, p, 1)
			}
		}
	})
}
