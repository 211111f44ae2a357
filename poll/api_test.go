package poll

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// seers knows that users with even ids were seen a second ago.
type seers struct{}

func (seers) See(context.Context, map[uint64]int64) error { return nil }

func (seers) SecondsSinceSeen(_ context.Context, users []uint64) ([]int64, error) {
	seconds := make([]int64, len(users))
	for i, user := range users {
		seconds[i] = 1 - 2*int64(user%2)
	}
	return seconds, nil
}

// backEnd5 returns a function that sends a signed body as PHP of version 5 does.
func backEnd5() (call func(body string, more ...string) (status int, reply string), b *backend) {
	h, b := newHandlers()
	h.Users, h.Repeats = seers{}, new(Repeats)
	handler := h.Handler(testRoutes)
	return func(body string, more ...string) (int, string) {
		mac := hmac.New(sha1.New, []byte("example-key"))
		mac.Write([]byte(body))
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetMethod("POST")
		ctx.Request.Header.SetContentType("application/x-www-form-urlencoded")
		ctx.Request.Header.SetHost("a")
		query := "signature=" + hex.EncodeToString(mac.Sum(nil))
		if len(more) == 0 {
			query = "hostId=0123&" + query
		}
		for i := 0; i+1 < len(more); i += 2 {
			ctx.Request.Header.Set(more[i], more[i+1])
		}
		ctx.Request.SetRequestURI("/pub/?" + query)
		ctx.Request.SetBodyString(body)
		handler(&ctx)
		return ctx.Response.StatusCode(), string(ctx.Response.Body())
	}, b
}

const batchOfTwo = `[{"jsonrpc":"2.0","method":"publish","params":{"userList":[17],"expiry":60,"body":{"module_id":"im","command":"a","params":[]},` +
	`"user_params":{"17":{"x":"\u0434\/"}},"dictionary":{"y":1}}},{"jsonrpc":"2.0","method":"publish","params":{"channelList":["` +
	`0123456789abcdef0123456789abcdef"],"body":{}}}]`

// A body that is cut off anywhere publishes nothing of what is whole in it, and is answered as JSON-RPC says.
func TestAPICutOff(t *testing.T) {
	call, b := backEnd5()
	for n := range len(batchOfTwo) {
		status, reply := call(batchOfTwo[:n])
		if status != 400 || reply != `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}` {
			t.Fatalf("%q: %d %s", batchOfTwo[:n], status, reply)
		}
	}
	if len(b.published) != 0 {
		t.Fatalf("%d are published", len(b.published))
	}
	if status, reply := call(batchOfTwo); status != 200 || reply != "[]" || len(b.published) != 2 {
		t.Errorf("the whole is answered %d %s, and %d are published", status, reply, len(b.published))
	}
}

// What is JSON and makes no sense is refused in words, whatever it consists of, and what stands beside it is published.
func TestAPINonsense(t *testing.T) {
	call, b := backEnd5()
	for _, params := range []string{
		`null`, `1`, `"x"`, `[]`, `{}`, `{"body":null}`, `{"userList":17,"body":{}}`, `{"userList":{"a":1},"body":{}}`, `{"channelList":"x","body":{}}`,
		`{"userList":[17],"body":"{}"}`, `{"userList":[17],"body":[1]}`, `{"userList":[17],"body":{},"expiry":{}}`, `{"userList":[17],"body":{},"type":1}`,
	} {
		status, reply := call(fmt.Sprintf(`[{"method":"publish","params":%s},{"method":"publish","params":{"userList":[1],"body":{}}}]`, params))
		var errs []struct {
			Error struct {
				Code int
				Data struct{ Index int }
			}
		}
		if err := json.Unmarshal([]byte(reply), &errs); err != nil || status != 200 || len(errs) != 1 || errs[0].Error.Code != -32602 || errs[0].Error.Data.Index != 0 {
			t.Errorf("%s: %d %s", params, status, reply)
		}
		if len(b.published) != 1 {
			t.Errorf("%s: %d are published", params, len(b.published))
		}
		b.published = nil
	}
	for _, body := range []string{`null`, `1`, `"x"`, `[1]`, `[[]]`, `{"method":1}`, `{"params":{}}`, `[{"method":["publish"]}]`} {
		if status, reply := call(body); !strings.Contains(reply, `"error"`) || status != 200 && status != 400 || len(b.published) > 0 {
			t.Errorf("%s: %d %s", body, status, reply)
		}
	}
}

// PHP bounds neither the calls of a batch nor the users that it asks about; an older one names the host in a header.
func TestAPIHasNoLimitsOfCount(t *testing.T) {
	call, b := backEnd5()
	const calls, users = 5000, 20_000
	one := `{"method":"publish","params":{"userList":[17],"body":{}}}`
	if status, reply := call("["+strings.Repeat(one+",", calls-1)+one+"]", "X-HostId", "0123"); status != 200 || reply != "[]" || len(b.published) != calls {
		t.Errorf("%d calls: %d %.100s, %d are published", calls, status, reply, len(b.published))
	}
	var ids []string
	for i := range users {
		ids = append(ids, fmt.Sprint(i+1))
	}
	status, reply := call(`{"method":"getUsersLastSeen","params":{"userList":[` + strings.Join(ids, ",") + `]}}`)
	var answer struct{ Result map[string]int }
	if err := json.Unmarshal([]byte(reply), &answer); err != nil || status != 200 || len(answer.Result) != users/2 || answer.Result["20000"] != 1 {
		t.Errorf("%d users: %d, %d of them, %v", users, status, len(answer.Result), err)
	}
}

func FuzzAPI(f *testing.F) {
	for _, body := range []string{batchOfTwo, `[]`, `{"method":"getUsersLastSeen","params":{"userList":[1]},"id":"x"}`, `{"method":"updateUsersLastSeen","params":{"1":2}}`} {
		f.Add(body)
	}
	call, b := backEnd5()
	f.Fuzz(func(t *testing.T, body string) {
		status, reply := call(body)
		if status != 200 && status != 400 || !json.Valid([]byte(reply)) || status == 400 && len(b.published) > 0 {
			t.Fatalf("%q: %d %s", body, status, reply)
		}
		b.published = nil
	})
}
