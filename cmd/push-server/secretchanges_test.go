package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"

	"push-server/protocol/testclient"
)

const (
	saidInSecret  = "what-only-the-client-may-read"
	operatorToken = "token-of-operators-0123"
	nextToken     = "the-next-token-of-operators"
	nextKey       = "the-next-key-of-the-portal-0123456789"
	nextPassword  = "the-next-password-of-redis"
)

// changing is a server whose configuration changes, and what is said of that.
type changing struct {
	*service
	window         tokenWindow
	file, original string // of the configuration
	key            string
	pages          map[string]string
}

// Nor do secrets, old and new ones, come into what is said of changes: by diff, by reloads and upgrades, those that fail among them, by drain,
// and in the journal.
func TestChangesShowNoSecrets(t *testing.T) {
	t.Parallel()
	c := startChanging(t)
	ch := testclient.NewChannel(c.key)
	client := testclient.Subscribe(t, c.config.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
	backend := testclient.NewHTTP(false)
	if reply, err := backend.PublishText(t.Context(), "http://"+c.config.addr("pub")+pubPath, `"`+saidInSecret+`"`, 60, ch.Private); err != nil || reply.Status != 200 {
		t.Fatal(reply, err)
	}
	client.Bodies(1)
	backend.Close()

	c.compares()
	c.fails()
	c.rewrite(c.original)
	if err := c.upgrade(); err != nil {
		t.Fatalf("%v\n%s", err, c.log())
	}
	testclient.AwaitNil(t, "the successor shows what it has", func() (err error) {
		c.pages["/config"], err = c.window.look(t.Context(), "/config")
		if err == nil && !strings.Contains(c.pages["/config"], `"***"`) {
			err = errors.New(c.pages["/config"])
		}
		return err
	})
	if err := c.execute("drain", "drain", "--config", c.file); err != nil {
		t.Errorf("drain: %v, %s", err, c.pages["drain"])
	}
	c.pages["log"] = c.log()

	u := unusable(t)
	u["security"] = map[string]any{"key": nextKey}
	u.option("operators", map[string]any{"token": nextToken})
	c.pages["journal"] = string(inFile(t, true, u))
	findSecrets(t, c.pages, []testclient.Channel{ch}, saidInSecret, operatorToken, nextToken, nextKey, nextPassword, c.key)
}

func startChanging(t *testing.T) *changing {
	t.Helper()
	w := tokenWindow{fmt.Sprintf("127.0.0.1:%d", freePort(t)), operatorToken}
	s := startService(t, func(c config) {
		c.option("metrics", w.addr)
		c.option("logLevel", "debug")
		c.option("acceptTimeout", "10s")
		c.option("operators", map[string]any{"token": w.token})
	})
	return &changing{
		service: s, window: w, file: s.first.Args[2], original: s.config.text(t), key: s.config["security"].(map[string]any)["key"].(string),
		pages: make(map[string]string),
	}
}

// compares has diff look at other secrets, and the server read them.
func (c *changing) compares() {
	c.t.Helper()
	next, storage := maps.Clone(c.config), maps.Clone(c.config["storage"].(map[string]any))
	next["security"] = map[string]any{"key": []any{nextKey, c.key}}
	storage["password"] = nextPassword
	next["storage"] = storage
	next["push"] = maps.Clone(c.config["push"].(map[string]any))
	next.option("operators", map[string]any{"token": operatorToken, "readOnly": true})
	for _, command := range []string{"diff", "diff --against " + c.file} {
		if err := c.execute(command, append(strings.Fields(command), writeConfigs(c.t, next)...)...); exitCode(err) != 1 {
			c.t.Errorf("%s: %v, %s", command, err, c.pages[command])
		}
	}
	next["storage"] = c.config["storage"]
	c.reload(next.text(c.t), "key=security.key from=")
}

// fails has the server read files with errors, at a secret or beside it.
func (c *changing) fails() {
	c.t.Helper()
	for i, change := range [][2]string{
		{`"` + c.key + `"`, `"` + c.key + `" "` + nextKey + `"`},
		{`"` + c.key + `"`, `{"` + c.key + `":"` + nextKey + `"}`},
		{`"` + operatorToken + `"`, `["` + nextToken + `"]`},
		{`"token":`, `"tokn":`},
		{`"storage":{`, `"storage":{"password":{"is":"` + nextPassword + `"},`},
	} {
		text := strings.Replace(c.original, change[0], change[1], 1)
		if text == c.original {
			c.t.Fatalf("%s is not there to be mangled", change[0])
		}
		c.reload(text, "keeping the old one")
		if err := c.execute(fmt.Sprintf("check %d", i), "check", "--config", c.file); err == nil {
			c.t.Errorf("%s has no error", change[1])
		}
	}
	if err := c.execute("upgrade that fails", "upgrade", "--pid-file", c.pidFile); err == nil {
		c.t.Error("a successor has started with a configuration that has errors")
	}
	page, err := c.window.look(c.t.Context(), "/warnings")
	if err != nil {
		c.t.Error(err)
	}
	c.pages["/warnings"] = page
}

func (c *changing) execute(name string, args ...string) error {
	stdout, stderr, err := execute(c.t, args...)
	c.pages[name] = stdout + stderr
	if err != nil {
		c.pages[name] += err.Error()
	}
	return err
}

func (c *changing) rewrite(text string) {
	if err := os.WriteFile(c.file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *changing) reload(text, want string) {
	c.t.Helper()
	seen := len(c.log())
	c.rewrite(text)
	if err := syscall.Kill(c.pids[0], syscall.SIGHUP); err != nil {
		c.t.Fatal(err)
	}
	testclient.Await(c.t, want, func() bool { return strings.Contains(c.log()[seen:], want) })
}
