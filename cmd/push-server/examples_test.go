package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"push-server/protocol/testclient"
)

// examples runs what stands under Examples in the help of all commands, and in the pages, where there is a server that serves configs/standalone.json.
type examples struct {
	config config
	dir    string // the current directory
	actual *strings.Replacer
}

func newExamples(t *testing.T) *examples {
	t.Helper()
	x := &examples{config: standalone(t), dir: t.TempDir()}
	window := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	x.config.option("metrics", window)
	text := x.config.text(t)
	x.write(t, "configs/standalone.json", text)
	x.write(t, "etc/push-server/standalone.json", text)
	x.write(t, "bin/push-server", fmt.Sprintf("#!/bin/sh\nexport %s=1\nexec '%s' \"$@\"\n", asServer, executable(t)))
	t.Setenv("PATH", filepath.Join(x.dir, "bin")+":"+os.Getenv("PATH"))
	x.actual = strings.NewReplacer("127.0.0.1:8010", x.config.addr("sub"), "127.0.0.1:9010", x.config.addr("pub"), "127.0.0.1:9100", window,
		"/opt/push-server-2/push-server", executable(t), " /etc/", " "+x.dir+"/etc/", " /run/", " "+x.dir+"/run/", ">/", ">"+x.dir+"/")
	return x
}

// text is c as a file.
func (c config) text(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (x *examples) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(x.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (x *examples) command(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	if _, file, ok := strings.Cut(line, " >/"); ok {
		x.write(t, file, "")
	}
	cmd := exec.Command("bash", "-euc", "exec "+x.actual.Replace(line))
	if strings.ContainsAny(line, "|&;") && !strings.Contains(line, "'") {
		cmd = exec.Command("bash", "-euo", "pipefail", "-c", x.actual.Replace(line))
	}
	cmd.Dir = x.dir
	return cmd
}

func exampleLines(cmd *cobra.Command) (lines []string) {
	for line := range strings.Lines(cmd.Example) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// serve runs the first example of the help, which is a server.
func (x *examples) serve(t *testing.T) {
	t.Helper()
	server := launchAs(t, x.command(t, exampleLines(rootCommand(io.Discard, io.Discard))[0]))
	for _, listener := range x.config.listeners() {
		server.waitListening(fmt.Sprintf("127.0.0.1:%v", listener["port"]))
	}
	pidFile := "run/push-server.pid"
	t.Cleanup(func() {
		// An example may have another process serve, which writes to the same log: the first one is not done with it before that has ended.
		text, err := os.ReadFile(filepath.Join(x.dir, pidFile))
		pid, bad := strconv.Atoi(strings.TrimSpace(string(text)))
		if err = errors.Join(err, bad); err != nil {
			t.Error(err)
		} else if pid != server.cmd.Process.Pid {
			_ = syscall.Kill(pid, syscall.SIGTERM) // finish says so if it stays
		}
		server.finish()
	})
	x.write(t, pidFile, fmt.Sprint(server.cmd.Process.Pid))
}

// TestExamples: the first example serves, and with that server all others do what they say.
func TestExamples(t *testing.T) {
	x := newExamples(t)
	root := rootCommand(io.Discard, io.Discard)
	x.serve(t)
	lines := exampleLines(root)[1:]
	for _, cmd := range root.Commands() {
		more := exampleLines(cmd)
		if len(more) == 0 && cmd.Name() != "help" && cmd.Name() != "version" {
			t.Errorf("%s has no example", cmd.Name())
		}
		lines = append(lines, more...)
	}
	for _, line := range lines {
		if strings.Contains(line, "push-server drain ") || strings.Contains(line, " --drop") || strings.HasPrefix(line, "push-server serve ") {
			continue // the server ends, or another one would serve: TestDrainCommand, TestUpgradeDrops, TestServeEndsBeforeItBegins
		}
		if strings.Contains(line, " subscribe ") {
			x.subscribe(t, line)
		} else if out, err := x.command(t, line).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
}

// subscribe runs an example that waits for messages, and publishes until it has ended. One that does not end by itself is interrupted.
func (x *examples) subscribe(t *testing.T, line string) {
	t.Helper()
	p := launchAs(t, x.command(t, line))
	testclient.AwaitNil(t, line, func() error {
		switch {
		case p.ended():
			return nil
		case strings.Contains(p.log.String(), "listening at") && !strings.Contains(line, " --count ") && !strings.Contains(line, " --expect "):
			p.signal(syscall.SIGINT)
		}
		execute(t, "publish", "--url", "http://"+x.config.addr("pub")+pubPath, "--expiry", "1m", exampleChannel, "a message")
		return errors.New(p.log.String())
	})
	if code := p.wait(); code != exitOK {
		t.Errorf("%s: exit code %d\n%s", line, code, p.log.String())
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
