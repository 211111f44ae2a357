package poll

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"push-server/protocol"
)

func TestOnline(t *testing.T) {
	h, b := newHandlers()
	b.are[protocol.ChannelID{Bytes: id(privA), Private: true}] = true
	b.are[protocol.ChannelID{Bytes: id(pubA)}] = true
	f := func(line, body, want string) {
		t.Helper()
		if got := exchange(t, h, line, body); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
	const ok = "200 OK" + anyOriginLine + plainLine + "\n"
	const infoA = `{"channel":"` + privA + `","subscribers":1}`
	const refused = "400 Bad Request" + anyOriginLine + plainLine + "\n"

	f("GET /pub/?CHANNEL_ID="+privA+" HTTP/1.1", "", ok+`{"infos":[`+infoA+`]}`)
	f("GET /pub/?CHANNEL_ID="+privB+"/"+privA+"/"+privA+" HTTP/1.1", "", ok+`{"infos":[`+infoA+`,`+infoA+`]}`)
	f("GET /pub/?CHANNEL_ID="+signedA+" HTTP/1.1", "", ok+`{"infos":[`+infoA+`]}`)
	f("GET /pub/?CHANNEL_ID="+privB+" HTTP/1.1", "", ok+`{"infos":[]}`)
	f("GET /pub/?CHANNEL_ID="+privA+strings.Repeat("/"+privB, 3)+" HTTP/1.1", "", ok+`{"infos":[`+infoA+`]}`)
	f("GET /pub/?CHANNEL_ID="+privA+" HTTP/1.1", privA+"/"+privB, ok+`{"infos":[`+infoA+`]}`)
	f("GET /pub/?CHANNEL_ID="+privA+"&binaryMode=1 HTTP/1.1", "", ok+`{"infos":[`+infoA+`]}`)
	f("GET /pub/?CHANNEL_ID="+privA+" HTTP/1.0", "", "200 OK"+anyOriginLine+closeLine+plainLine+"\n"+`{"infos":[`+infoA+`]}`)

	f("GET /pub/ HTTP/1.1", "", refused+"4017: No channels found.")
	f("GET /pub/?CHANNEL_ID="+privA+"/xyz HTTP/1.1", "", refused+"4017: No channels found.")
	f("GET /pub/?CHANNEL_ID="+unsignedA+" HTTP/1.1", "", refused+"4017: No channels found.")
	f("GET /pub/?CHANNEL_ID="+privA+strings.Repeat("/"+privB, 4)+" HTTP/1.1", "",
		refused+"4018: Request exceeded the maximum number of channels.")
	equalLines(t, "log", b.takeLog(), "No channels found. ::ffff:192.0.2.1", "No channels found. ::ffff:192.0.2.1",
		"No channels found. ::ffff:192.0.2.1", "Request exceeded the maximum number of channels. ::ffff:192.0.2.1")
	if got := string(h.Counters.AppendJSON(nil)); got != `{"requests":{"channelStats":12},"messages":{}}` {
		t.Errorf("counted %s", got)
	}
	b.err = errors.New("away")
	f("GET /pub/?CHANNEL_ID="+privA+" HTTP/1.1", "", ok+`{"infos":[]}`)
}

func TestOnlineInProtobuf(t *testing.T) {
	h, b := newHandlers()
	b.are[protocol.ChannelID{Bytes: id(privA), Private: true}] = true
	b.are[protocol.ChannelID{Bytes: id(pubB)}] = true
	f := func(line, body, want string) {
		t.Helper()
		got := exchange(t, h, line, body)
		const ok = "200 OK" + anyOriginLine + binaryLine + "\n"
		if raw, found := strings.CutPrefix(got, ok); !found || hex.EncodeToString([]byte(raw)) != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s %q: %q, want %s", line, body, got, want)
		}
	}
	const statA, statB = "0a16 0a10" + privA + "1001 1801", "0a16 0a10" + privB + "1001 1800"
	const statPubA, statPubB = "0a16 0a10" + pubA + "1000 1800", "0a16 0a10" + pubB + "1000 1801"

	get := "GET /pub/?CHANNEL_ID=" + signedA + "/" + privB + "&binaryMode=true HTTP/1.1"
	pub, rest := "POST /pub/?binaryMode=true HTTP/1.1", "POST /rest/?CHANNEL_ID="+signedA+" HTTP/1.1"
	f(get, "", "0a32 1230"+statA+statB)
	f(pub, asking(private(privA), public(pubB, "")), "0a32 1230"+statA+statPubB)
	f(pub, asking(private(privB), private(privA), private(privA)), "0a4a 1248"+statB+statA+statA)
	f(rest, asking(public(pubB, sigPub(pubB)), public(pubA, sigPub(pubA))), "0a32 1230"+statPubB+statPubA)

	// An id of another length is not refused when a client signs it; nobody can be behind it.
	odd := field(1, field(1, "ab"), field(3, string(newSigner().AppendSum(nil, []byte("public:6162")))))
	f(rest, asking(odd, public(pubB, sigPub(pubB))), "0a24 1222 0a08 0a026162 1000 1800"+statPubB)
	f(rest, asking(odd), "0a0c 120a 0a08 0a026162 1000 1800")

	b.err = errors.New("away")
	f(get, "", "0a02 1200")
	f(pub, asking(private(privA)), "0a02 1200")
}

func TestServerStats(t *testing.T) {
	h, b := newHandlers()
	f := func(line, body, want string) {
		t.Helper()
		if got := exchange(t, h, line, body); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	const plain, binary = "200 OK" + anyOriginLine + plainLine + "\n", "200 OK" + anyOriginLine + binaryLine + "\n"
	f("GET /stat/ HTTP/1.1", "", plain+"[]")
	b.stats = `[{"pid":1}]`
	f("GET /stat/abc?anything HTTP/1.1\nX-Forwarded-For: 203.0.113.7", "", plain+`[{"pid":1}]`)
	f("GET /stat/?binaryMode=true HTTP/1.1", "", binary+"\n\x0f\x1a\r\n\v[{\"pid\":1}]")
	f("POST /pub/?binaryMode=true HTTP/1.1", field(1, field(3)), binary+"\n\x0f\x1a\r\n\v[{\"pid\":1}]")
	if got := string(h.Counters.AppendJSON(nil)); got != `{"requests":{"serverStats":4},"messages":{}}` {
		t.Errorf("counted %s", got)
	}
}

func TestStatAllow(t *testing.T) {
	h, b := newHandlers()
	f := func(line, allow, want string) {
		t.Helper()
		h.StatAllow = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix(allow)}
		if got := exchange(t, h, line, ""); got != want {
			t.Errorf("%s for %s: %q, want %q", line, allow, got, want)
		}
	}
	const allowed, refused = "200 OK" + anyOriginLine + plainLine + "\n[]", "403 Forbidden" + anyOriginLine + plainLine + "\n"
	f("GET /stat/ HTTP/1.1", "192.0.2.1/32", allowed)
	f("GET /stat/ HTTP/1.1", "192.0.2.0/24", allowed)
	f("GET /stat/ HTTP/1.1", "192.0.2.2/32", refused)
	f("GET /stat/?binaryMode=true HTTP/1.1", "::1/128", refused)
	equalLines(t, "log", b.takeLog(), "Statistics are not allowed. ::ffff:192.0.2.1", "Statistics are not allowed. ::ffff:192.0.2.1")
	f("GET /stat/ HTTP/1.1\nX-Forwarded-For: 203.0.113.7", "::/0", refused)
	equalLines(t, "log", b.takeLog(), "Statistics are not allowed. 203.0.113.7")
	f("GET /stat/ HTTP/1.1", "0.0.0.0/0", allowed)
	if got := string(h.Counters.AppendJSON(nil)); got != `{"requests":{"serverStats":3},"messages":{}}` {
		t.Errorf("counted %s", got)
	}
}

// Whoever is in no list neither publishes nor learns who is online, whatever proxies are said to be in front. Clients publish as before.
func TestPubAllow(t *testing.T) {
	h, b := newHandlers()
	f := func(line, body, allow, want string) {
		t.Helper()
		h.PubAllow = []netip.Prefix{netip.MustParsePrefix(allow)}
		if got := exchange(t, h, line, body); got != want {
			t.Errorf("%s for %s: %q, want %q", line, allow, got, want)
		}
	}
	const publish, allowed, refused = "POST /pub/?CHANNEL_ID=" + privA + " HTTP/1.1", "200 OK" + anyOriginLine + plainLine + "\n", "403 Forbidden" + anyOriginLine + plainLine + "\n"
	f(publish, "text", "192.0.2.0/24", allowed)
	f(publish, "text", "192.0.2.2/32", refused)
	f(publish+"\nX-Forwarded-For: 203.0.113.7", "text", "203.0.113.0/24", refused)
	f("GET /pub/?CHANNEL_ID="+privA+" HTTP/1.1", "", "::1/128", refused)
	equalLines(t, "log", b.takeLog(), "Publishing is not allowed. ::ffff:192.0.2.1", "Publishing is not allowed. 203.0.113.7", "Publishing is not allowed. ::ffff:192.0.2.1")
	if got := string(h.Counters.AppendJSON(nil)); !strings.Contains(got, `"messages":{"unknown":1}`) {
		t.Errorf("counted %s", got)
	}
}

func TestOtherRequests(t *testing.T) {
	h, b := newHandlers()
	f := func(lines, body, want string) {
		t.Helper()
		if got := exchange(t, h, lines, body); got != want {
			t.Errorf("%s: %s, want %s", lines, got, want)
		}
	}
	const notFound = "404 Not Found" + anyOriginLine + plainLine + "\n"
	f("GET /nothing HTTP/1.1", "", notFound)
	f("GET /sub/?CHANNEL_ID="+signedA+" HTTP/1.1", "", notFound)
	f("POST /sub/?CHANNEL_ID="+privA+" HTTP/1.1", "x", notFound)
	f("PUT /pub/?CHANNEL_ID="+privA+" HTTP/1.1", "x", notFound)
	f("DELETE /pub/?CHANNEL_ID="+privA+" HTTP/1.1", "", notFound)
	f("OPTIONS /pub/?CHANNEL_ID="+privA+" HTTP/1.1", "", notFound)
	f("OPTIONS * HTTP/1.1", "", notFound)
	f("GET http://push.example/stat/ HTTP/1.1", "", notFound)
	f("HEAD /stat/ HTTP/1.1", "", notFound)
	f("OPTIONS /sub/?CHANNEL_ID=x HTTP/1.1\nOrigin: https://portal.example\nAccess-Control-Request-Method: GET", "",
		"200 OK\nAccess-Control-Allow-Headers: If-Modified-Since, If-None-Match"+
			"\nAccess-Control-Allow-Methods: POST, GET, DELETE, OPTIONS"+anyOriginLine+plainLine+"\n")
	f("POST /pub/?CHANNEL_ID="+privA+" HTTP/1.1\nExpect: something", "x", "417 Expectation Failed\n")
	equalLines(t, "published", b.take())
	equalLines(t, "log", b.takeLog())
}
