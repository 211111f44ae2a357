package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// TestBrowser lets a real browser subscribe, on a page of another origin.
func TestBrowser(t *testing.T) {
	t.Parallel()
	const count = 3
	in := install(t, "default", nil, 1)
	socket, poll := testclient.NewChannel(testKey), testclient.NewChannel(testKey)
	type seen struct {
		Socket, Poll []json.RawMessage
		Refused      struct {
			Code     int
			Reason   string
			WasClean bool
		}
		Error string
	}
	results := make(chan seen, 1)
	site := http.NewServeMux()
	site.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "testdata/browser/page.html")
	})
	site.HandleFunc("GET /setup", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{
			"sub": in.subs[0], "count": count,
			"socket": subPath + testclient.Query(false, "", socket.Signed()),
			"poll":   subPath + testclient.Query(false, "", poll.Signed()),
			"wrong":  subPath + testclient.Query(true, "", testclient.NewChannel("another key").Signed()),
		})
	})
	site.HandleFunc("POST /result", func(w http.ResponseWriter, r *http.Request) {
		var s seen
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			s.Error = err.Error()
		}
		results <- s
	})
	server := httptest.NewServer(site)
	defer server.Close()
	browse(t, server.URL)
	for _, ch := range []testclient.Channel{socket, poll} {
		waitOnline(t, in, ch)
	}
	var want []string
	backend := testclient.NewHTTP(false)
	for n := range count {
		want = append(want, numbered(n+1))
		if _, err := backend.PublishText(t.Context(), in.pubURL(), numbered(n+1), 60, socket.Private, poll.Private); err != nil {
			t.Fatal(err)
		}
	}
	got := testclient.AwaitFrom(t, "the result", results)
	if got.Error != "" {
		t.Fatal(got.Error)
	}
	if !equalJSON(got.Socket, want) || !equalJSON(got.Poll, want) {
		t.Errorf("got %s by WebSocket and %s by poll, want %s", got.Socket, got.Poll, want)
	}
	if r := got.Refused; r.Code != 4010 || r.Reason != "4010: Wrong Channel Id." || !r.WasClean {
		t.Errorf("a wrong signature is refused with %+v", r)
	}
}

// inChromium runs clients on a page of a real browser, which is told of orders as events of a server, and posts what it has to tell.
func inChromium(p *portal) {
	p.t.Helper()
	sdk := filepath.Join(installedModules(p.t), "@bitrix24", "b24jssdk", "dist", "umd", "index.min.js")
	orders, writer := io.Pipe()
	p.orders = writer
	site := http.NewServeMux()
	site.Handle("GET /", http.FileServer(http.Dir(filepath.Join("testdata", "client"))))
	site.HandleFunc("GET /sdk.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, sdk) })
	site.HandleFunc("GET /orders", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for lines := bufio.NewScanner(orders); lines.Scan(); {
			fmt.Fprintf(w, "data: %s\n\n", lines.Bytes())
			w.(http.Flusher).Flush()
		}
	})
	site.HandleFunc("POST /events", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			text = nil
		}
		p.tell(text)
	})
	server := httptest.NewServer(site)
	p.t.Cleanup(server.Close)
	p.t.Cleanup(func() { orders.Close() }) // ends the page's request
	browse(p.t, server.URL+"/page.html")
}

func equalJSON(got []json.RawMessage, want []string) bool {
	return slices.EqualFunc(got, want, func(g json.RawMessage, w string) bool { return string(g) == w })
}

// browse opens a page until the end of the test.
func browse(t *testing.T, url string) {
	t.Helper()
	var log testclient.Log
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--remote-debugging-port=0", "--user-data-dir="+t.TempDir(), url)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second // some of its processes leave the group
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; apt-get install chromium", err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		if t.Failed() {
			t.Logf("the browser says:\n%s", log.String())
		}
	})
}
