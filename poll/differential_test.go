package poll

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/valyala/fasthttp"

	"push-server/poll/rfc9112"
)

// heard is a request as one reader has read it, with all that another one must not read otherwise.
type heard struct{ method, target, body string }

// unread is the body of a request that is refused for what it expects, or for its size.
const unread = "(unread)"

// sameUpTo says whether the first n requests are the same to both. A body that was not read is the last thing on its connection.
func sameUpTo(n int, ours, theirs []heard) bool {
	for i := range n {
		same := ours[i]
		if same.body == unread && (i == len(ours)-1 || theirs[i].body == "") {
			same.body = theirs[i].body
		}
		if same != theirs[i] {
			return false
		}
	}
	return true
}

// recorder is a handler that notes what it is asked.
func recorder(note func(ctx *fasthttp.RequestCtx, h heard)) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		var body []byte
		if string(ctx.Request.Header.Peek(fasthttp.HeaderExpect)) == "unknown" || len(ctx.Request.Header.PeekBytes(bodyRefused)) > 0 {
			note(ctx, heard{string(ctx.Method()), string(ctx.Request.Header.RequestURI()), unread})
			return
		}
		if stream := ctx.RequestBodyStream(); stream != nil {
			b, err := io.ReadAll(stream)
			if err != nil {
				ctx.SetStatusCode(400)
				ctx.SetConnectionClose()
				return
			}
			body = b
		} else {
			body = ctx.PostBody()
		}
		note(ctx, heard{string(ctx.Method()), string(ctx.Request.Header.RequestURI()), string(body)})
	}
}

// byPublishers is how a port of publishers reads b: gate, fasthttp and its reader of bodies.
func byPublishers(b []byte) (all []heard, ended bool) {
	server := NewServer(recorder(func(ctx *fasthttp.RequestCtx, h heard) {
		all, ended = append(all, h), ctx.Request.Header.ConnectionClose() || !ctx.Request.Header.IsHTTP11()
	}), ServerOptions{MaxPayload: 1 << 20})
	_ = server.ServeConn(GateConn(&scriptedConn{parts: [][]byte{bytes.Clone(b)}}))
	return all, ended
}

// bySubscribers is how a loop reads b: gate and head, and what it does not read itself is handed off.
func bySubscribers(b []byte) (all []heard, ended bool) {
	var r Reader
	for {
		var req Request
		skip, n, err := CheckHead(b)
		if err != nil || r.Read(b[skip:skip+n], &req) != nil || req.NoHost {
			return all, false
		}
		end := skip + n + req.ContentLength
		switch {
		case req.Expect || req.ContentLength < 0 || req.ContentLength > 64<<10:
			handedOff, _ := byPublishers(b)
			return append(all, handedOff[:min(1, len(handedOff))]...), len(handedOff) > 0
		case end > len(b):
			return all, false
		}
		all = append(all, heard{string(req.Header.Method()), string(req.Target), string(b[skip+n : end])})
		if b = b[end:]; req.Close {
			return all, true
		}
	}
}

// byGo is how net/http reads b. rest is what it has not read, or could not.
func byGo(b []byte) (all []heard, rests [][]byte) {
	source := bytes.NewReader(b)
	in := bufio.NewReaderSize(source, 64<<10)
	rest := func() []byte { return b[len(b)-source.Len()-in.Buffered():] }
	for {
		rests = append(rests, rest())
		req, err := http.ReadRequest(in)
		if err != nil {
			return all, rests
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return all, rests
		}
		all = append(all, heard{req.Method, req.RequestURI, string(body)})
		if req.Close {
			return all, append(rests, rest())
		}
	}
}

// TestRequestsAreReadAsByGo: where we and net/http take a request, it is the same one: where it ends, what it asks for, and its body. Where
// one of us does not take it, that is a difference that we know.
func TestRequestsAreReadAsByGo(t *testing.T) {
	t.Parallel()
	const streams = 3000
	found := map[string]int{}
	for seed := range uint64(streams) {
		b := rfc9112.Stream(seed, []string{"/pub/?a=b", "/rest/", "/sub/", "/%zz"})
		theirs, rests := byGo(b)
		for name, read := range map[string]func([]byte) ([]heard, bool){"publishers": byPublishers, "subscribers": bySubscribers} {
			ours, ended := read(b)
			n := min(len(ours), len(theirs))
			if !sameUpTo(n, ours, theirs) {
				t.Errorf("seed %d, %s: %.600q\nis read as %.300q\nby net/http %.300q", seed, name, b, ours, theirs)
			}
			for i := range n {
				if why := weNeverTake.reason(string(rests[i])); why != "" {
					t.Errorf("seed %d, %s: takes %.300q, although %s", seed, name, rests[i], why)
				}
			}
			rest, reason := string(rests[n]), ""
			switch {
			case len(ours) < len(theirs) && !ended:
				reason = slices.Concat(weNeverTake, weRefuse).reason(rest)
			case len(ours) > len(theirs) && ours[n].body == unread: // that of a refused request need not be right
				continue
			case len(ours) > len(theirs):
				reason = goRefuses.reason(rest)
			default:
				continue
			}
			if found[reason]++; reason == "" {
				t.Errorf("seed %d, %s: no known difference, %d requests of ours, %d of net/http, then %.300q", seed, name, len(ours), len(theirs), rest)
			}
		}
	}
	for _, d := range slices.Concat(weNeverTake, weRefuse, goRefuses) {
		if found[d.why] == 0 {
			t.Errorf("no stream shows that %s", d.why)
		}
	}
}
