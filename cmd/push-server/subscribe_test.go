package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"push-server/protocol/testclient"
)

const allZeros = "00000000000000000000000000"

// modes are the ways in which subscribe may listen.
var modes = [][]string{{}, {"--protobuf"}, {"--poll"}, {"--poll", "--protobuf"}}

// A following is a subscribe that runs.
type following struct {
	out, log testclient.Log
	cancel   context.CancelFunc
	done     chan error
}

// follow runs subscribe until it ends by itself, at the latest at the end of the test.
func follow(t *testing.T, args ...string) *following {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &following{cancel: cancel, done: make(chan error, 1)}
	go func() {
		defer close(f.done)
		f.done <- run(ctx, append([]string{"subscribe"}, args...), &f.out, &f.log)
	}()
	t.Cleanup(func() {
		cancel()
		<-f.done
	})
	return f
}

func (f *following) awaitLog(t *testing.T, text string) {
	t.Helper()
	testclient.Await(t, fmt.Sprintf("subscribe says %q", text), func() bool { return strings.Contains(f.log.String(), text) })
}

// wait returns the exit code.
func (f *following) wait(t *testing.T) int {
	t.Helper()
	err := testclient.AwaitFrom(t, "subscribe ends", f.done)
	if strings.Contains(f.log.String()+fmt.Sprint(err), "CHANNEL_ID=") {
		t.Errorf("a URL with its signature is shown: %v\n%s", err, f.log.String())
	}
	return exitCode(err)
}

// publishBy is the command publish, which has to work.
func publishBy(t *testing.T, args ...string) {
	t.Helper()
	if out, log, err := execute(t, append([]string{"publish"}, args...)...); err != nil || !strings.Contains(out, "published ") {
		t.Fatalf("%v: %v\n%s%s", args, err, out, log)
	}
}

// bodies are what stands behind the ids in lines of subscribe.
func bodies(out string) (list []string) {
	for line := range strings.Lines(out) {
		_, body, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		list = append(list, body)
	}
	return list
}

func TestSubscribeReplays(t *testing.T) {
	c := standalone(t)
	start(t, c)
	file := writeConfigs(t, c)
	for _, body := range []string{`{"n": 1}`, "two\n\x1b[2J", `"3"`} {
		publishBy(t, append(file, "--expiry", "1m", exampleChannel+"/"+otherChannel, body)...)
	}
	for _, mode := range modes {
		f := follow(t, append(append(file, "--mid", allZeros, "--count", "3", exampleChannel), mode...)...)
		if code := f.wait(t); code != exitOK {
			t.Errorf("%v: exit code %d\n%s", mode, code, f.log.String())
		}
		got := strings.Join(bodies(f.out.String()), "|")
		if want := `{"n":1}|"two\n\x1b[2J"|"3"`; got != want {
			t.Errorf("%v: got %s, want %s", mode, got, want)
		}
	}
}

// Scripts get one JSON object a line, from whose mid they can go on.
func TestSubscribeForScripts(t *testing.T) {
	c := standalone(t)
	start(t, c)
	file := writeConfigs(t, c)
	publishBy(t, append(file, "--expiry", "1m", exampleChannel, `{"n":1}`)...)
	publishBy(t, append(file, "--expiry", "1m", exampleChannel, `no JSON`)...)
	for _, mode := range modes {
		mid := allZeros
		for _, want := range []any{map[string]any{"n": 1.0}, "no JSON"} {
			f := follow(t, append(append(file, "--json", "--mid", mid, "--count", "1", exampleChannel), mode...)...)
			f.wait(t)
			var got struct {
				Mid, Created, Sender, From string
				Body                       any
			}
			if err := json.Unmarshal([]byte(f.out.String()), &got); err != nil || fmt.Sprint(got.Body) != fmt.Sprint(want) || len(got.Mid) != 26 {
				t.Errorf("%v: %v\n%s", mode, err, f.out.String())
			}
			if protobuf := strings.Contains(fmt.Sprint(mode), "protobuf"); protobuf != (got.Sender == "backend") || protobuf != (got.Created != "") {
				t.Errorf("%v: %+v", mode, got)
			}
			mid = got.Mid
		}
	}
}

// What is published while there is no connection is not missed.
func TestSubscribeFollowsOverReconnects(t *testing.T) {
	c := standalone(t)
	start(t, c)
	file := writeConfigs(t, c)
	for i, mode := range modes {
		relay, err := testclient.NewRelay(c.addr("sub"))
		if err != nil {
			t.Fatal(err)
		}
		channel := fmt.Sprintf("%032x", i)
		f := follow(t, append(append(file, "--url", "ws://"+relay.Addr()+subPath, channel), mode...)...)
		f.awaitLog(t, "listening at")
		testclient.Await(t, "the first message", func() bool {
			publishBy(t, append(file, "--expiry", "1m", channel, "first")...) // again, as a poll is registered some time after it was sent
			return f.out.String() != ""
		})
		relay.Cut()
		publishBy(t, append(file, "--expiry", "1m", channel, "second")...)
		publishBy(t, append(file, "--expiry", "1m", channel, "third")...)
		relay.Join()
		testclient.Await(t, "the last message", func() bool { return strings.Contains(f.out.String(), "third\n") })
		got := strings.Join(bodies(f.out.String()), " ")
		if !strings.HasPrefix(got, "first ") || !strings.HasSuffix(got, "first second third") {
			t.Errorf("%v: %s\n%s", mode, got, f.log.String())
		}
		f.cancel()
		if code := f.wait(t); code != exitOK {
			t.Errorf("%v: exit code %d after an interrupt", mode, code)
		}
		relay.Close()
	}
}

func TestSubscribeExpects(t *testing.T) {
	c := standalone(t)
	start(t, c)
	file := append(writeConfigs(t, c), "--mid", allZeros)
	publishBy(t, append(file[:2:2], "--expiry", "1m", exampleChannel, "one")...)
	f := func(want int, args ...string) {
		t.Helper()
		if _, log, err := execute(t, append(append([]string{"subscribe"}, file...), args...)...); exitCode(err) != want {
			t.Errorf("%v: %v\n%s", args, err, log)
		}
	}
	const long, short = "20s", "300ms"
	f(exitOK, "--expect", "1", "--timeout", long, exampleChannel)
	f(exitUnexpected, "--expect", "2", "--timeout", short, exampleChannel)
	f(exitUnexpected, "--expect", "0", "--timeout", long, exampleChannel)
	f(exitOK, "--expect", "0", "--timeout", short, otherChannel)
	f(exitUnexpected, "--poll", "--expect", "1", "--timeout", short, otherChannel)
	f(exitOK, "--timeout", short, otherChannel)
	f(exitOK, "--count", "1", exampleChannel)
	f(exitUsage, "--expect", "1", exampleChannel)
	f(exitUsage, "--count", "0", exampleChannel)
	f(exitUsage, "--count", "1", "--expect", "1", "--timeout", short)
	f(exitUsage, "--timeout", short, "xyz")
	f(exitUsage, "--mid", "1")
	f(exitFailure, "--timeout", long, exampleChannel+"."+strings.Repeat("0", 40))
}

func TestSubscribeWithoutAConfiguration(t *testing.T) {
	c := standalone(t)
	start(t, c)
	at := "http://" + c.addr("sub") + subPath
	publishBy(t, "--url", "http://"+c.addr("pub")+pubPath, "--expiry", "1m", exampleChannel, "one")
	f := func(want int, text string, args ...string) {
		t.Helper()
		out, log, err := execute(t, append([]string{"subscribe", "--count", "1", "--mid", allZeros}, args...)...)
		if shown := fmt.Sprint(out, log, err); exitCode(err) != want || !strings.Contains(shown, text) || strings.Contains(shown, "CHANNEL_ID=") {
			t.Errorf("%v: exit code %d\n%s", args, exitCode(err), shown)
		}
	}
	f(exitOK, "one", "--url", at, exampleSigned)
	f(exitOK, "one", "--url", at, "--poll", url.QueryEscape(exampleSigned))
	f(exitOK, "one", "--url", at+"?CHANNEL_ID="+exampleSigned)
	f(exitUsage, "is not signed", "--url", at, exampleChannel)
	f(exitUsage, "no channel", "--url", at)
	f(exitUsage, "no server", exampleSigned)
	f(exitUsage, "scheme", "--url", "ftp://127.0.0.1/", exampleSigned)
	f(exitFailure, "4010: Wrong Channel Id.", "--url", at, exampleChannel+"."+strings.Repeat("0", 40))
	f(exitFailure, "4010: Wrong Channel Id.", "--url", at, "--poll", exampleChannel+"."+strings.Repeat("0", 40))
	f(exitFailure, "no route sub at this address", "--url", at+"x", exampleSigned)
	f(exitFailure, "no route sub at this address", "--url", "http://"+c.addr("pub")+subPath, "--poll", exampleSigned)
}

// A server that is not there may come, but nobody says that all is well if it has not.
func TestSubscribeWithoutAServer(t *testing.T) {
	file := writeConfigs(t, standalone(t))
	f := func(text string, args ...string) {
		t.Helper()
		args = append(append([]string{"subscribe", "--timeout", "300ms", "--expect", "0"}, file...), args...)
		if _, _, err := execute(t, args...); exitCode(err) != exitFailure || !strings.Contains(err.Error(), text) {
			t.Errorf("%v: %v", args, err)
		}
	}
	for _, mode := range modes {
		f("connection refused", mode...)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	f("did not answer in time", "--url", "ws://"+silent.Addr().String()+"/")
}

// Without a channel id there is one to publish to all the same.
func TestSubscribeToARandomChannel(t *testing.T) {
	c := standalone(t)
	start(t, c)
	file := writeConfigs(t, c)
	f := follow(t, append(file, "--count", "1")...)
	f.awaitLog(t, "listening at ws://"+c.addr("sub")+subPath)
	_, id, _ := strings.Cut(f.log.String(), "private id ")
	publishBy(t, append(file, id[:32], "for you")...)
	if code := f.wait(t); code != exitOK || !strings.HasSuffix(f.out.String(), " for you\n") {
		t.Errorf("exit code %d\n%s", code, f.out.String())
	}
}

// A certificate of the file is trusted, no other.
func TestSubscribeOverTLS(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, "portal.example")
	c := encrypted(t, dir)
	start(t, c)
	file := writeConfigs(t, c)
	publishBy(t, append(file, "--expiry", "1m", exampleChannel, "secret")...)
	for _, mode := range modes {
		f := follow(t, append(append(file, "--count", "1", "--mid", allZeros, exampleChannel), mode...)...)
		if code := f.wait(t); code != exitOK {
			t.Errorf("%v: exit code %d\n%s", mode, code, f.log.String())
		}
	}
	insecure := follow(t, "--url", "https://"+c.addr("sub")+subPath, "--insecure", "--count", "1", "--mid", allZeros, exampleSigned)
	if code := insecure.wait(t); code != exitOK {
		t.Errorf("--insecure: exit code %d\n%s", code, insecure.log.String())
	}
	writeCertificate(t, dir, "portal.example") // the server has not read it
	if _, _, err := execute(t, append([]string{"publish"}, append(file, exampleChannel, "x")...)...); err == nil || !strings.Contains(err.Error(), "another certificate") {
		t.Error(err)
	}
}

func TestPublishRefuses(t *testing.T) {
	c := standalone(t)
	file := writeConfigs(t, c)
	f := func(want int, text string, args ...string) {
		t.Helper()
		if _, _, err := execute(t, append(append([]string{"publish"}, file...), args...)...); exitCode(err) != want || !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("%v: %v", args, err)
		}
	}
	f(exitFailure, "connection refused", exampleChannel, "x")
	start(t, c)
	f(exitUsage, "a channel id is missing")
	f(exitUsage, "31 digits", exampleChannel[1:], "x")
	f(exitUsage, "unexpected argument", exampleChannel, "x", "y")
	f(exitUsage, "--expiry", "--expiry", "1500ms", exampleChannel, "x")
	f(exitFailure, "empty", exampleChannel, "")
	f(exitFailure, "limits.maxPayload", exampleChannel, strings.Repeat("x", 1<<20+1))
	f(exitFailure, "no route pub at this address", "--url", "http://"+c.addr("sub")+"/elsewhere/", exampleChannel, "x")
}
