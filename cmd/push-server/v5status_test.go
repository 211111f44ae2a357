package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// An incoming is a message of version 5.
type incoming struct {
	ID     json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
	Params struct {
		Mid  string
		Body struct {
			Module  string `json:"module_id"`
			Command string
			Params  struct {
				User   uint64 `json:"user_id"`
				Online bool
			}
			Extra struct {
				Time float64 `json:"server_time_unix"`
			}
		}
	}
}

// hearIncoming is the next message or answer, in words, and its mid.
func hearIncoming(t *testing.T, conn *testclient.Conn) (what, mid string) {
	t.Helper()
	text := hearText(t, conn)
	var m incoming
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	body := &m.Params.Body
	switch {
	case m.Error != nil:
		return m.Error.Message, ""
	case m.Result != nil:
		return string(m.Result), ""
	case body.Module != "online":
		return body.Command, m.Params.Mid
	}
	if age := time.Since(time.UnixMicro(int64(body.Extra.Time * 1e6))); age < -time.Minute || age > time.Minute {
		t.Errorf("%s: the notice is %v old", text, age)
	}
	return fmt.Sprint(body.Params.User, " online ", body.Params.Online), m.Params.Mid
}

func wantIncoming(t *testing.T, conn *testclient.Conn, want string) (mid string) {
	t.Helper()
	got, mid := hearIncoming(t, conn)
	if got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	return mid
}

func askV5(t *testing.T, conn *testclient.Conn, method, params, want string) {
	t.Helper()
	if err := sayText(conn, fmt.Sprintf(`{"jsonrpc":"2.0","method":%q,"params":%s,"id":1}`, method, params)); err != nil {
		t.Fatal(err)
	}
	wantIncoming(t, conn, want)
}

func tokenOf(user int) string {
	return testclient.Token(testKey, time.Now().Add(time.Hour).Unix(), user)
}

// processesOf are those to which user 17 is connected, as Redis knows it.
func processesOf(redis *redistest.Server) string {
	m, err := redis.Try("HGET", "server:users", "17")
	if err != nil {
		return ""
	}
	text, _ := m.ToString()
	return text
}

// Who watches a user is told when the first connection comes and the last one has gone, to whichever process, once and in order with messages;
// nothing of it is stored, and no message is lost over it.
func TestStatus(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		t.Parallel()
		in := installWith(t, "default", redis, 2, func(c config) {
			c.option("v5", map[string]any{"enabled": true, "offlineDelay": "1s", "statusPerConnection": 3})
		})
		b := &backend5{t, in.pubURL()}
		elsewhere := in.subs[len(in.subs)-1]
		say := func(command string) {
			b.publish(fmt.Sprintf(`{"userList":[1],"expiry":60,"body":{"module_id":"im","command":%q,"params":{}}}`, command))
		}
		watcher := dialV5(t, in, tokenOf(1), "")
		askV5(t, watcher, "subscribeStatusChange", `{"userId":17}`, "true")
		askV5(t, watcher, "subscribeStatusChange", `{"userId":"17"}`, "true")
		askV5(t, watcher, "subscribeStatusChange", `{"userId":18}`, "true")
		askV5(t, watcher, "unsubscribeStatusChange", `{"userId":"18"}`, "true")
		askV5(t, watcher, "unsubscribeStatusChange", `{"userId":99}`, "true")
		askV5(t, watcher, "listChannels", `{}`, "[]")

		say("before")
		before := wantIncoming(t, watcher, "before")
		tabs := []*testclient.Conn{dialV5(t, in, tokenOf(17), ""), dialSubscriber(t, elsewhere, "?token="+tokenOf(17)+"&jsonRpc=true"), dialV5(t, in, tokenOf(18), "")}
		notice := wantIncoming(t, watcher, "17 online true")
		askV5(t, watcher, "getUsersLastSeen", `{"userList":[17,4711]}`, `{"17":0}`)
		if redis != nil {
			testclient.Await(t, "both processes have noted the user", func() bool {
				return len(strings.Fields(processesOf(redis))) == 2
			})
		}
		for _, tab := range tabs {
			tab.Close()
		}
		wantIncoming(t, watcher, "17 online false")
		say("after")
		after := wantIncoming(t, watcher, "after")
		for _, mid := range []string{before, notice} {
			if got := wantIncoming(t, dialV5(t, in, tokenOf(1), "&mid="+mid), "after"); got != after {
				t.Errorf("after %s comes %s, want %s", mid, got, after)
			}
		}
		askV5(t, watcher, "getUsersLastSeen", `{"userList":[4711]}`, `{}`)
	})
}

// Wrong questions are answered as such, and no connection watches more users than it may.
func TestStatusIsRefused(t *testing.T) {
	t.Parallel()
	in := installWith(t, "default", nil, 1, func(c config) {
		c.option("v5", map[string]any{"enabled": true, "statusPerConnection": 2})
	})
	user := dialV5(t, in, tokenOf(1), "")
	for _, params := range []string{`{}`, `{"userId":0}`, `{"userId":-1}`, `{"userId":"x"}`, `{"userId":null}`, `{"userId":[1]}`} {
		askV5(t, user, "subscribeStatusChange", params, "userId is no user id")
	}
	askV5(t, user, "subscribeStatusChange", `[]`, "Wrong parameters")
	for _, id := range []string{"2", "3", "3"} {
		askV5(t, user, "subscribeStatusChange", `{"userId":`+id+`}`, "true")
	}
	askV5(t, user, "subscribeStatusChange", `{"userId":4}`, "Too many users")
	askV5(t, user, "unsubscribeStatusChange", `{"userId":3}`, "true")
	askV5(t, user, "subscribeStatusChange", `{"userId":4}`, "true")
	guest := dialV5(t, in, testclient.Token(testKey, time.Now().Add(time.Hour).Unix(), 0, testclient.NewChannel("").Private), "")
	askV5(t, guest, "subscribeStatusChange", `{"userId":3}`, "Only for users")
	askV5(t, guest, "unsubscribeStatusChange", `{"userId":3}`, "Only for users")
}

// Users of a process that is killed have gone when their mark has run out, and the others say so.
func TestStatusAfterAKill(t *testing.T) {
	t.Parallel()
	in := installWith(t, "default", startRedis(t), 2, func(c config) {
		storage := c["storage"].(map[string]any)
		storage["onlineTTL"], storage["onlineDelta"] = 5, 1
		c.option("v5", map[string]any{"enabled": true, "offlineDelay": "1s"})
	})
	watcher := dialV5(t, in, tokenOf(1), "")
	askV5(t, watcher, "subscribeStatusChange", `{"userId":17}`, "true")
	dialSubscriber(t, in.subs[1], "?token="+tokenOf(17)+"&jsonRpc=true")
	wantIncoming(t, watcher, "17 online true")
	in.signal(t, len(in.procs)-1, syscall.SIGKILL)
	in.procs[len(in.procs)-1].wait()
	for { // a process that gets no time for six seconds counts as killed, too, and comes back
		what, _ := hearIncoming(t, watcher)
		if what == "17 online false" {
			return
		}
		if !strings.HasPrefix(what, "17 online") {
			t.Fatalf("got %s", what)
		}
	}
}
