package poll

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"push-server/protocol"
)

// exchange sends a request to h in memory and returns the reply in the form of the tests. The request line and the header
// lines are written with "\n"; a Host and the length of the body are added.
func exchange(t *testing.T, h *Handlers, lines, body string) string {
	t.Helper()
	request := lines + "\nHost: push.example\n"
	if body != "" {
		request += "Content-Length: " + strconv.Itoa(len(body)) + "\n"
	}
	raw := append(toHead(request+"\n"), body...)
	b, _ := ServeBytes(h.Handler(testRoutes), nil, raw, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5555})
	method, _, _ := strings.Cut(lines, " ")
	return reply(t, b, method)
}

func TestPublishText(t *testing.T) {
	h, b := newHandlers()
	f := func(query, headers, body string, want ...string) {
		t.Helper()
		if got := exchange(t, h, "POST /pub/?"+query+" HTTP/1.1"+headers, body); got != "200 OK"+anyOriginLine+plainLine+"\n" {
			t.Errorf("%q: %s", query, got)
		}
		equalLines(t, query, b.take(), want...)
	}
	const sender = " sender=2: type="
	toA, toB := " "+privA+" private=true", " "+privB+" private=true"

	f("CHANNEL_ID="+privA, "", `{"a":1}`, `{"a":1} expiry=0`+sender+toA)
	f("CHANNEL_ID="+privA+"/"+privB, "", "x", "x expiry=0"+sender+toA+toB)
	f("CHANNEL_ID="+privA+"%2F"+privB+"&x=1", "", "x", "x expiry=0"+sender+toA+toB)
	f("CHANNEL_ID="+privA+"/"+privA, "", "x", "x expiry=0"+sender+toA)
	f("CHANNEL_ID="+aloneA, "", "x", "x expiry=0"+sender+toA)
	f("CHANNEL_ID="+privA+"."+strings.Repeat("0", 40), "", "x", "x expiry=0"+sender+toA)
	f("CHANNEL_ID="+signedA, "", "x", "x expiry=0"+sender+toA+" "+pubA+" private=false")
	f("CHANNEL_ID="+privA+strings.Repeat("/"+privB, 400), "", "x", "x expiry=0"+sender+toA+toB)
	f("CHANNEL_ID="+privA+"&binaryMode=TRUE", "", "x", "x expiry=0"+sender+toA)
	f("CHANNEL_ID="+privA, "", "\xff\xc3(\xe2\x82", "\ufffd\ufffd(\ufffd expiry=0"+sender+toA)

	f("CHANNEL_ID="+privA, "\nMessage-Expiry: 60", "x", "x expiry=60"+sender+toA)
	f("CHANNEL_ID="+privA, "\nmessage-expiry: 10abc", "x", "x expiry=10"+sender+toA)
	f("CHANNEL_ID="+privA, "\nMessage-Expiry: -5", "x", "x expiry=0"+sender+toA)
	f("CHANNEL_ID="+privA, "\nMessage-Expiry: abc", "x", "x expiry=0"+sender+toA)
	f("CHANNEL_ID="+privA, "\nMessage-Expiry: 5\nMessage-Expiry: 7", "x", "x expiry=5"+sender+toA)
	f("CHANNEL_ID="+privA, "\nContent-Type: multipart/form-data; boundary=b", "--b\r\nx", "--b\r\nx expiry=0"+sender+toA)
	f("CHANNEL_ID="+privA, "\nContent-Type: application/x-www-form-urlencoded\nContent-Encoding: gzip", "a=b", "a=b expiry=0"+sender+toA)

	counted := `{"requests":{},"messages":{"unknown":17}}`
	if got := string(h.Counters.AppendJSON(nil)); got != counted {
		t.Errorf("counted %s, want %s", got, counted)
	}
	// Nothing to publish, or nobody to publish to: 200 all the same, and not counted.
	f("CHANNEL_ID="+privA, "", "")
	f("CHANNEL_ID="+privA, "\nContent-Length: 0", "")
	f("", "", "x")
	f("CHANNEL_ID=", "", "x")
	f("CHANNEL_ID="+privA+"/xyz", "", "x")
	f("CHANNEL_ID="+privA+"/", "", "x")
	f("CHANNEL_ID="+strings.ToUpper(privA), "", "x")
	f("CHANNEL_ID="+unsignedA, "", "x")
	f("CHANNEL_ID="+privA+"."+strings.Repeat("0", 31), "", "x")
	if got := string(h.Counters.AppendJSON(nil)); got != counted {
		t.Errorf("counted %s, want %s", got, counted)
	}
	equalLines(t, "log", b.takeLog())
}

func TestPublishAnswersWhatThePublisherSays(t *testing.T) {
	h, b := newHandlers()
	f := func(err error, status string) {
		t.Helper()
		b.err = err
		want := status + anyOriginLine + plainLine + "\n"
		if got := exchange(t, h, "POST /pub/?CHANNEL_ID="+privA+" HTTP/1.1", "x"); got != want {
			t.Errorf("text, %v: %s", err, got)
		}
		if got := exchange(t, h, "POST /pub/?binaryMode=true HTTP/1.1", publishing(message("x", private(privA)))); got != want {
			t.Errorf("protobuf, %v: %s", err, got)
		}
	}
	f(nil, "200 OK")
	f(ErrAccepted, "202 Accepted")
	f(ErrQueueFull, "503 Service Unavailable")
	f(errors.New("anything"), "503 Service Unavailable")
	b.err = protocol.ErrUnkept
	want := "500 Internal Server Error" + anyOriginLine + plainLine + "\ndelivered to clients that are connected, "
	if got := exchange(t, h, "POST /pub/?CHANNEL_ID="+privA+" HTTP/1.1", "x"); !strings.HasPrefix(got, want) {
		t.Errorf("not kept: %s", got)
	}
}

func TestPublishProtobuf(t *testing.T) {
	h, b := newHandlers()
	f := func(query, body string, want ...string) {
		t.Helper()
		if got := exchange(t, h, "POST /pub/?binaryMode=true"+query+" HTTP/1.1", body); got != "200 OK"+anyOriginLine+plainLine+"\n" {
			t.Errorf("%q: %s", body, got)
		}
		equalLines(t, body, b.take(), want...)
	}
	f("", publishing())
	f("", publishing(message("1", private(privA))), "1 expiry=0 sender=2: type= "+privA+" private=true")
	f("&hostname=h&CHANNEL_ID=xyz", publishing(message("1", private(privA), public(pubB, ""), scalar(4, 60), field(5, "im_m"))),
		"1 expiry=60 sender=2: type=im_m "+privA+" private=true "+pubB+" private=false")
	f("", publishing(message("1", private(privA)), message("2", private(privB), field(2, scalar(1, 1), field(2, "liar")))),
		"1 expiry=0 sender=2: type= "+privA+" private=true", "2 expiry=0 sender=2: type= "+privB+" private=true")
	want := `{"requests":{"incomingMessages":4},"messages":{"unknown":3,"im_m":1}}`
	if got := string(h.Counters.AppendJSON(nil)); got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
}

func TestProtobufRefusals(t *testing.T) {
	f := func(target, body, text, logged, counted string) {
		t.Helper()
		h, b := newHandlers()
		if got := exchange(t, h, "POST "+target+" HTTP/1.1", body); got != "400 Bad Request"+anyOriginLine+plainLine+"\n"+text {
			t.Errorf("%s %q: %s, want %s", target, body, got, text)
		}
		equalLines(t, "published", b.take())
		equalLines(t, "log", b.takeLog(), logged+" ::ffff:192.0.2.1")
		if got := string(h.Counters.AppendJSON(nil)); got != `{"requests":{`+counted+`},"messages":{}}` {
			t.Errorf("%s %q: counted %s", target, body, got)
		}
	}
	const pub, published, asked = "/pub/?binaryMode=true", `"incomingMessages":1`, `"channelStats":1`
	rest := "/rest/?CHANNEL_ID=" + signedA
	to := private(privA)

	f(pub, "\x01\x02\x03", "4013: Wrong Request Data.", "4013: Wrong Request Data.", "")
	f(pub, "", "4013: Wrong Request Data.", "4013: Wrong Request Data.", "")
	f(pub, field(1), "4013: Wrong Request Data.", "4013: Wrong Request Data.", "")
	f(pub, `{"a":1}`, "4013: Wrong Request Data.", "4013: Wrong Request Data.", "")
	f(pub, field(1, field(4)), "4015: Wrong Request Command.", "4015: Wrong Request Command.", `"registration":1`)
	f(pub, publishing(message("", to), message("", to), message("", to), message("", to)),
		"4016: Request exceeded the maximum number of messages.", "Request exceeded the maximum number of messages.", published)
	f(pub, publishing(message("", to), message("")), "4017: No channels found.", "No channels found.", published)
	f(pub, publishing(message("", to, to, to, to, to)),
		"4018: Request exceeded the maximum number of channels.", "Request exceeded the maximum number of channels.", published)
	f(pub, publishing(message("", to), message("", field(1, field(1, "ab"), scalar(2, 1)))),
		"4019: Request has an invalid channel id.", "Request has an invalid channel id.", published)
	f(pub, asking(), "4017: No channels found.", "No channels found.", asked)
	f(pub, asking(to, to, to, to, to),
		"4018: Request exceeded the maximum number of channels.", "Request exceeded the maximum number of channels.", asked)
	f(pub, asking(field(1, field(1, "ab"))), "4019: Request has an invalid channel id.", "Request has an invalid channel id.", asked)

	// A client, who has to say first who it is.
	f("/rest/", "\x01", "4012: Public Channel Id is Required.", "4012: Public Channel Id is Required.", "")
	f("/rest/?CHANNEL_ID="+aloneA, "\x01", "4012: Public Channel Id is Required.", "4012: Public Channel Id is Required.", "")
	f("/rest/?CHANNEL_ID="+unsignedA, "\x01", "4012: Public Channel Id is Required.", "4012: Public Channel Id is Required.", "")
	f("/rest/?CHANNEL_ID="+signedA+"/"+privB, "", "4012: Public Channel Id is Required.", "4012: Public Channel Id is Required.", "")
	f(rest, "\xff\xff\xff", "4013: Wrong Request Data.", "4013: Wrong Request Data.", "")
	f(rest, field(1, field(3)), "4014: Request command is not allowed.", "4014: Request command is not allowed.", "")
	f(rest, field(1, field(4)), "4014: Request command is not allowed.", "4014: Request command is not allowed.", "")
	f(rest, publishing(message("", to)), "4020: Private channel is not allowed.", "Private channel is not allowed.", published)
	f(rest, publishing(message("", public(pubB, sigPub(pubA)))),
		"4021: Channel has an invalid signature.", "Channel has an invalid signature.", published)
	f(rest, publishing(message("", public(pubB, ""))),
		"4021: Channel has an invalid signature.", "Channel has an invalid signature.", published)
	f(rest, publishing(message("", public(pubB, sigPub(pubB)), public(pubA, sigPub(pubB)))),
		"4021: Channel has an invalid signature.", "Channel has an invalid signature.", published)
	f(rest, asking(public(pubB, "")), "4021: Channel has an invalid signature.", "Channel has an invalid signature.", asked)
	f(rest, asking(to), "4020: Private channel is not allowed.", "Private channel is not allowed.", asked)
}

func TestClientsPublish(t *testing.T) {
	h, b := newHandlers()
	f := func(query, body string, want ...string) {
		t.Helper()
		if got := exchange(t, h, "POST /rest/?"+query+" HTTP/1.1", body); got != "200 OK"+anyOriginLine+plainLine+"\n" {
			t.Errorf("%q: %s", query, got)
		}
		equalLines(t, query, b.take(), want...)
	}
	toB := message("1", public(pubB, sigPub(pubB)))
	f("CHANNEL_ID="+signedA, publishing(toB), "1 expiry=0 sender=1:"+pubA+" type= "+pubB+" private=false")
	f("CHANNEL_ID="+aloneA+"/"+signedA, publishing(toB), "1 expiry=0 sender=1:"+pubA+" type= "+pubB+" private=false")
	f("CHANNEL_ID="+signedA+"&binaryMode=false", publishing(toB), "1 expiry=0 sender=1:"+pubA+" type= "+pubB+" private=false")
	f("CHANNEL_ID="+signedA, publishing())
}

// What clients publish goes another way than what back ends do, whichever form a back end chooses.
func TestClientsAreNotBackEnds(t *testing.T) {
	h, backEnds := newHandlers()
	clients := &backend{}
	h.Clients = clients
	publication := publishing(message("x", private(privA)))
	exchange(t, h, "POST /pub/?binaryMode=true HTTP/1.1", publication)
	exchange(t, h, "POST /pub/?CHANNEL_ID="+privA+" HTTP/1.1", "x")
	if n := len(backEnds.take()); n != 2 || len(clients.take()) != 0 {
		t.Errorf("%d of 2 publications of back ends", n)
	}
	exchange(t, h, "POST /rest/?CHANNEL_ID="+signedA+" HTTP/1.1", publishing(message("x", public(pubB, sigPub(pubB)))))
	if n := len(clients.take()); n != 1 || len(backEnds.take()) != 0 {
		t.Errorf("%d of 1 publication of a client", n)
	}
}

func TestTestKeyKeepsRequestsOutOfTheLog(t *testing.T) {
	f := func(key, query string, logged ...string) {
		t.Helper()
		h, b := newHandlers()
		h.TestKey = key
		exchange(t, h, "POST /pub/?binaryMode=true"+query+" HTTP/1.1", "\x01")
		equalLines(t, key+query, b.takeLog(), logged...)
	}
	const line = "4013: Wrong Request Data. ::ffff:192.0.2.1"
	f("", "", line)
	f("", "&testKey=", line)
	f("secret", "", line)
	f("secret", "&testKey=other", line)
	f("secret", "&testKey=secret")
}

func TestLogNamesWhomTheProxyNames(t *testing.T) {
	h, b := newHandlers()
	exchange(t, h, "POST /pub/?binaryMode=true HTTP/1.1\nX-Forwarded-For: 203.0.113.7, 10.0.0.1", "\x01")
	equalLines(t, "log", b.takeLog(), "4013: Wrong Request Data. 203.0.113.7, 10.0.0.1")
	h.ErrorLog = nil
	exchange(t, h, "POST /pub/?binaryMode=true HTTP/1.1", "\x01")
}

func TestBodiesAreBoundedInMemory(t *testing.T) {
	h, b := newHandlers()
	h.Limits.MaxPayload = 3
	f := func(line, body, want string, logged ...string) {
		t.Helper()
		if got := exchange(t, h, line, body); got != want {
			t.Errorf("%s %q: %s, want %s", line, body, got, want)
		}
		equalLines(t, "log", b.takeLog(), logged...)
	}
	const tooLarge = "413 Payload Too Large" + anyOriginLine + closeLine + plainLine + "\n"
	const line = "HTTP Request: Max payload size exceeded. ::ffff:192.0.2.1"
	f("POST /pub/?CHANNEL_ID="+privA+" HTTP/1.1", "abc", "200 OK"+anyOriginLine+plainLine+"\n")
	f("POST /pub/?CHANNEL_ID="+privA+" HTTP/1.1", "abcd", tooLarge, line)
	f("POST /rest/ HTTP/1.1", "abcd", tooLarge, line)
	f("GET /stat/ HTTP/1.1", "abcd", "200 OK"+anyOriginLine+plainLine+"\n[]")
	h.Limits.MaxPayload = 0
	f("POST /pub/?CHANNEL_ID="+privA+" HTTP/1.1", "abcd", "200 OK"+anyOriginLine+plainLine+"\n")
}
