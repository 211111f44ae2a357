package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"push-server/redisbus/redistest"
)

// A block is what stands between two fences of a page. The words behind the first fence say what it is: "sh" is pasted into a shell as it
// stands, "sh by-hand" needs root, systemd, containers or hours, and everything else is no shell.
type block struct {
	page, info, text string
	line             int
}

// otherBlocks are the kinds of blocks that are not for a shell.
var otherBlocks = map[string]bool{"text": true, "json": true, "yaml": true, "php": true, "nginx": true}

// blocksOf are the blocks of a page, and the text around them.
func blocksOf(page, text string) (blocks []block, prose string) {
	for i, part := range strings.Split("\n"+text, "\n```") {
		if i%2 == 0 {
			prose += part
			continue
		}
		info, body, _ := strings.Cut(part, "\n")
		line := strings.Count(text[:strings.Index(text, part)], "\n") + 1
		blocks = append(blocks, block{page: page, info: info, text: body, line: line})
	}
	return blocks, prose
}

// said is what has to be printed by the block that begins so.
var said = map[string]string{
	"channel=0123456789abcdef0123456789abcdef":               `"text":{"hello":"world"}`,
	"push-server publish --config /etc/push-server --expiry": `{"hello":"world"}`,
}

var (
	serves     = regexp.MustCompile(`\n(.*bin/push-server(?: --config \S+)?)$`) // in its last line
	localURL   = regexp.MustCompile("http://(127\\.0\\.0\\.1:(\\d+)(?:/[^\\s>`\")]*)?)")
	inlineCode = regexp.MustCompile("`([^`]+)`")
)

// TestBlocksOfPages pastes every shell block of the pages for people into a shell. Of those that only a machine of their own could run, and
// of commands in the text, it looks whether the commands, flags, files, units and variables are there.
func TestBlocksOfPages(t *testing.T) {
	x := newExamples(t)
	x.serve(t)
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(x.dir, "bin/push-bench"), "../push-bench")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	v := newVerifier(t, x)
	x.write(t, "bin/make", fmt.Sprintf("#!/bin/sh\nexec '%s' -C '%s' --dry-run \"$@\"\n", program(t, "make"), repository(t)))
	run, read := 0, 0
	for page, text := range pages(t) {
		if dir := filepath.Dir(page); dir == "engine" || dir == "protocol" {
			continue
		}
		blocks, prose := blocksOf(page, text)
		for _, b := range blocks {
			where := fmt.Sprintf("%s:%d", b.page, b.line)
			switch {
			case b.info == "sh":
				run++
				t.Run(where, func(t *testing.T) { x.paste(t, b.text) })
			case b.info == "sh by-hand":
				read++
				v.script(where, b.text)
			case !otherBlocks[b.info]:
				t.Errorf("%s: the kind of a block is %q", where, b.info)
			}
		}
		v.prose(page, prose)
	}
	if run < 9 || read < 15 {
		t.Errorf("%d blocks are run, %d read", run, read)
	}
}

func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func repository(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// paste runs a block as somebody does who has pasted it into a terminal.
func (x *examples) paste(t *testing.T, text string) {
	t.Helper()
	script := "\n" + strings.TrimSpace(x.actual.Replace(text))
	if serves.MatchString(script) {
		x.pasteServer(t, serves.ReplaceAllString(script, "\nexec env $1"))
		return
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", script)
	cmd.Dir = x.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for begin, want := range said {
		if strings.HasPrefix(text, begin) && !strings.Contains(string(out), want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

// pasteServer runs a block that ends with a server, which has to take messages.
func (x *examples) pasteServer(t *testing.T, script string) {
	t.Helper()
	_, redis := redistest.StartTCP(t)
	c := standalone(t)
	c["clusterMode"], c["storage"] = true, map[string]any{"type": "redis", "host": "127.0.0.1", "port": redis}
	x.write(t, "configs/redis.json", c.text(t))
	_, sub, _ := strings.Cut(c.addr("sub"), ":")
	_, pub, _ := strings.Cut(c.addr("pub"), ":")
	for name, value := range map[string]string{"LISTEN_HOSTNAME": "127.0.0.1", "PUSH_SUB_PORT": sub, "PUSH_PUB_PORT": pub} {
		t.Setenv(name, value)
	}
	cmd := exec.Command("bash", "-euc", script)
	cmd.Dir = x.dir
	server := launchAs(t, cmd)
	server.waitListening(c.addr("sub"))
	server.waitListening(c.addr("pub"))
	if _, stderr, err := execute(t, "publish", "--url", "http://"+c.addr("pub")+pubPath, "--expiry", "1m", exampleChannel, "a message"); err != nil {
		t.Error(err, stderr)
	}
	if code := server.signal(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d\n%s", code, server.log.String())
	}
}

// prose looks at commands and addresses in the text around the blocks of a page.
func (v *verifier) prose(page, text string) {
	for _, m := range inlineCode.FindAllStringSubmatch(text, -1) {
		code := strings.ReplaceAll(strings.ReplaceAll(m[1], "\n", " "), `\|`, "|")
		words := strings.Fields(code)
		if len(words) > 1 && v.rule(words[0]) != nil && !strings.Contains(code, "…") {
			v.script(page, code)
		}
	}
	for _, m := range localURL.FindAllStringSubmatch(text, -1) {
		if err := v.address(m[1], m[2]); err != nil {
			v.t.Errorf("%s: %v", page, err)
		}
	}
}

// address asks for a page at an address of configs/standalone.json, or finds its port in what serves the others.
func (v *verifier) address(addr, port string) error {
	actual := v.examples.actual.Replace(addr)
	if actual == addr {
		for _, file := range []string{"configs/compose/compose.yaml", "configs/nginx/push-server-site.conf", "configs/nginx/push-server.conf"} {
			if text, err := os.ReadFile("../../" + file); err != nil || strings.Contains(string(text), port) {
				return err
			}
		}
		return errors.New("nothing serves " + addr)
	}
	resp, err := http.Get("http://" + actual)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", addr, resp.Status)
	}
	return nil
}
