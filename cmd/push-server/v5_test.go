package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// A backend5 publishes as PHP does under version 5.
type backend5 struct {
	t   *testing.T
	url string // of the publishing path
}

// call sends a body and returns status and reply.
func (b *backend5) call(body string) (int, string) {
	b.t.Helper()
	signature := hex.EncodeToString(testclient.NewChannel(testKey).Sign(body))
	return b.callSigned(body, signature)
}

func (b *backend5) callSigned(body, signature string) (int, string) {
	b.t.Helper()
	reply, err := testclient.NewHTTP(false).Post(b.t.Context(), b.url+"?hostId=0123&signature="+signature, []byte(body))
	if err != nil {
		b.t.Fatal(err)
	}
	return reply.Status, string(reply.Body)
}

// publish sends a batch of one call, which has to be taken.
func (b *backend5) publish(params string) {
	b.t.Helper()
	if status, reply := b.call(`[{"jsonrpc":"2.0","method":"publish","params":` + params + `}]`); status != 200 || reply != "[]" {
		b.t.Fatalf("%s: answered %d %s", params, status, reply)
	}
}

func installV5(t *testing.T, redis *redistest.Server) *installation {
	t.Helper()
	return installWith(t, "default", redis, 1, func(c config) {
		c.option("v5", map[string]any{"enabled": true})
	})
}

// The replies to back ends of version 5 are such that PHP goes on, whatever it sends.
func TestAPI(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		in := installV5(t, redis)
		b := &backend5{t, in.pubURL()}
		f := func(body string, status int, want string) {
			t.Helper()
			if got, reply := b.call(body); got != status || reply != want {
				t.Errorf("%s: answered %d %s", body, got, reply)
			}
		}
		const failed = `{"jsonrpc":"2.0","id":null,"error":{"code":%d,"message":"%s"}}`
		f(`[]`, 200, `[]`)
		f(`[{"jsonrpc":"2.0","method":"publish","params":{"userList":[0,-5],"body":{}}}]`, 200, `[]`)
		f(`[{"method":"publish","params":{"userList":[1],"body":[]}},{"method":"publish","params":{"userList":[1],"body":{}}},{"method":"x"}]`, 200,
			`[{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"body must be an object","data":{"index":0}}},{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"Method not found","data":{"index":2}}}]`)
		f(`{"jsonrpc":"2.0","method":"publish","params":{"userList":[1],"body":{}},"id":7}`, 200, `{"jsonrpc":"2.0","id":7,"result":true,"error":null}`)
		f(`{"method":"x"}`, 200, fmt.Sprintf(failed, -32601, "Method not found"))
		f(`{`, 400, fmt.Sprintf(failed, -32700, "Parse error"))
		f(``, 400, fmt.Sprintf(failed, -32700, "Parse error"))
		f(`{"method":"updateUsersLastSeen","params":{"17":1700000000,"x":1}}`, 200, `{"jsonrpc":"2.0","id":null,"result":true,"error":null}`)
		f(`{"method":"getUsersLastSeen","params":{"userList":[18]}}`, 200, `{"jsonrpc":"2.0","id":null,"result":{},"error":null}`)
		if _, reply := b.call(`{"method":"getUsersLastSeen","params":{"userList":[17,18,"17"]}}`); !strings.HasPrefix(reply, `{"jsonrpc":"2.0","id":null,"result":{"17":`) {
			t.Errorf("answered %s", reply)
		}
		if status, reply := b.callSigned(`[]`, "00"); status != 403 || reply != fmt.Sprintf(failed, -32600, "Wrong signature") {
			t.Errorf("a wrong signature is answered %d %s", status, reply)
		}
		if status, reply := b.call(`[{"method":"publish","params":{"userList":[1],"body":{"a":"` + strings.Repeat("я", 700<<10) + `"}}}]`); status != 200 || reply != `[]` {
			t.Errorf("more bytes than limits.maxPayload are answered %d %.100s", status, reply)
		}
	})
}

// dialV5 opens a WebSocket of version 5.
func dialV5(t *testing.T, in *installation, token, more string) *testclient.Conn {
	t.Helper()
	return dialSubscriber(t, in.subs[0], "?token="+token+"&jsonRpc=true"+more)
}

func sayText(conn *testclient.Conn, text string) error {
	return conn.SendFrame(ws.OpText, []byte(text))
}

// hearText is the next text that is no ping.
func hearText(t *testing.T, conn *testclient.Conn) string {
	t.Helper()
	for {
		f, err := conn.Frame()
		if err != nil || f.Header.OpCode != ws.OpText {
			t.Fatalf("%v, %v %q", err, f.Header.OpCode, f.Payload)
		}
		if string(f.Payload) != "ping" {
			return string(f.Payload)
		}
	}
}

// hearClose is the code with which the server ends the connection.
func hearClose(t *testing.T, conn *testclient.Conn) uint16 {
	t.Helper()
	end, err := conn.End()
	if err != nil || end == nil {
		t.Fatalf("%v, %v", end, err)
	}
	return end.Code
}

// What clients of version 5 say is answered as JSON-RPC 2.0 asks, and nothing that makes no sense disturbs them.
func TestCallsOfClients(t *testing.T) {
	in := installV5(t, nil)
	expires := time.Now().Add(time.Hour).Unix()
	user := dialV5(t, in, testclient.Token(testKey, expires, 17), "")
	guest := dialV5(t, in, testclient.Token(testKey, expires, 0, testclient.NewChannel("").Private), "")
	f := func(conn *testclient.Conn, say, want string) {
		t.Helper()
		if err := sayText(conn, say); err != nil {
			t.Fatal(err)
		}
		if got := hearText(t, conn); got != want {
			t.Errorf("%s is answered %s, want %s", say, got, want)
		}
	}
	f(user, `{"jsonrpc":"2.0","method":"ping","id":1}`, `{"jsonrpc":"2.0","id":1,"result":"pong"}`)
	f(user, `[{"method":"ping","id":"a"},{"method":"ping"},{"method":"x","id":2}]`,
		`[{"jsonrpc":"2.0","id":"a","result":"pong"},{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"Method not found"}}]`)
	f(user, `[]`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid Request"}}`)
	f(user, `{`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}`)
	for _, silent := range []string{"pong", "null", "mack:17954614120000000000000001", "mack:x", `{"result":true}`, `{"method":"ping"}`, `[{"method":"ping"}]`} {
		if err := sayText(user, silent); err != nil {
			t.Fatal(err)
		}
	}
	f(user, `{"method":"listChannels","id":1}`, `{"jsonrpc":"2.0","id":1,"result":[]}`)
	f(user, `{"method":"getUsersLastSeen","params":{"userList":[17,99]},"id":1}`, `{"jsonrpc":"2.0","id":1,"result":{"17":0}}`)
	f(guest, `{"method":"getUsersLastSeen","params":{"userList":[17]},"id":1}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Only for users"}}`)
	f(guest, `{"method":"publish","params":{"userList":[17],"body":{}},"id":1}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Only for users"}}`)
	for range 9 {
		f(guest, `{`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}`)
	}
	if err := sayText(guest, `{`); err != nil {
		t.Fatal(err)
	}
	if code := hearClose(t, guest); code != 1008 {
		t.Errorf("ten messages that are no JSON end with %d", code)
	}
}

// Tokens that are wrong are refused behind the upgrade, with the code on which clients ask the portal for another.
func TestWrongTokens(t *testing.T) {
	in := installV5(t, nil)
	for name, token := range map[string]string{
		"expired": testclient.Token(testKey, time.Now().Unix()-120, 17), "another key": testclient.Token("x", time.Now().Unix()+60, 17), "empty": "",
	} {
		if code := hearClose(t, dialV5(t, in, token, "")); code != 4010 {
			t.Errorf("%s: closed with %d", name, code)
		}
	}
	reply, err := testclient.NewHTTP(false).Poll(t.Context(), "http://"+in.subs[0]+subPath+"?token=x&jsonRpc=true")
	if err != nil || reply.Status != 400 {
		t.Errorf("a poll is answered %d, %v", reply.Status, err)
	}
}

// A poll of version 5 gets an array where it has missed several messages, and one call where it was one.
func TestPollOfVersion5(t *testing.T) {
	in := installV5(t, nil)
	b := &backend5{t, in.pubURL()}
	token := testclient.Token(testKey, time.Now().Add(time.Hour).Unix(), 17)
	get := func(mid string) (calls []map[string]any) {
		t.Helper()
		reply, err := testclient.NewHTTP(false).Poll(t.Context(), "http://"+in.subs[0]+subPath+"?token="+token+"&jsonRpc=true&mid="+mid)
		if err != nil || reply.Status != 200 {
			t.Fatalf("%d, %v", reply.Status, err)
		}
		if reply.Body[0] != '[' {
			reply.Body = []byte("[" + string(reply.Body) + "]")
		}
		if err := json.Unmarshal(reply.Body, &calls); err != nil {
			t.Fatalf("%s: %v", reply.Body, err)
		}
		return calls
	}
	for i := range 3 {
		b.publish(fmt.Sprintf(`{"userList":[17],"expiry":60,"body":{"n":%d}}`, i))
	}
	calls := get(strings.Repeat("0", 26))
	if len(calls) != 3 {
		t.Fatalf("%v", calls)
	}
	second := calls[1]["params"].(map[string]any)["mid"].(string)
	if calls = get(second); len(calls) != 1 || calls[0]["params"].(map[string]any)["body"].(map[string]any)["n"] != 2.0 {
		t.Errorf("%v", calls)
	}
}

// What PHP sends again, because the answer was late, is delivered once; what it means twice comes twice.
func TestRepetitionsAreDropped(t *testing.T) {
	in := installV5(t, nil)
	b := &backend5{t, in.pubURL()}
	conn := dialV5(t, in, testclient.Token(testKey, time.Now().Add(time.Hour).Unix(), 17), "")
	timed := `{"userList":[17,18],"body":{"n":1,"extra":{"server_time_unix":1.25}}}`
	b.publish(timed)
	b.publish(timed)
	b.publish(`{"userList":[18,17],"body":{"n":1,"extra":{"server_time_unix":1.25}}}`)
	for range 2 {
		b.publish(`{"userList":[17],"body":{"n":2}}`)
	}
	var got []string
	for range 3 {
		text := hearText(t, conn)
		_, text, _ = strings.Cut(text, `"body":`)
		text, _, _ = strings.Cut(text, `,"sender"`)
		got = append(got, text)
	}
	if want := `{"n":1,"extra":{"server_time_unix":1.25}} {"n":2} {"n":2}`; strings.Join(got, " ") != want {
		t.Errorf("got %s", got)
	}
}

// What `channel --user` prints to paste does what it says.
func TestTokenSession(t *testing.T) {
	c := standalone(t)
	start(t, c)
	out, _, err := execute(t, append([]string{"channel", "--user", "17"}, writeConfigs(t, c)...)...)
	if err != nil {
		t.Fatal(err)
	}
	_, socket, _ := strings.Cut(out, "websocat 'ws://")
	addr, query, _ := strings.Cut(socket, subPath)
	query, rest, _ := strings.Cut(query, "'")
	conn := dialSubscriber(t, addr, query)
	_, rest, _ = strings.Cut(rest, "curl ")
	command, _, _ := strings.Cut(rest, "\n")
	if reply, err := exec.CommandContext(t.Context(), "bash", "-euc", "curl "+command).CombinedOutput(); err != nil || string(reply) != "[]" {
		t.Fatalf("%v\n%s", err, reply)
	}
	if text := hearText(t, conn); !strings.Contains(text, `"command":"hello"`) {
		t.Errorf("got %s", text)
	}
}
