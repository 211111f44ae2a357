package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"push-server/protocol/testclient"
)

// as is the address of a window with a token before it, as an operator has it in his bookmarks.
func (w *window) as(token string) string {
	return strings.Replace(w.base, "http://", "http://operator:"+token+"@", 1) + "/"
}

// TestPageBehindToken: with the token everything works; in a window that is read-only besides, all but doing. That there is nothing without
// it is tested in engine/ops: a browser without a head has nobody to ask.
func TestPageBehindToken(t *testing.T) {
	t.Parallel()
	const token = "token-of-operators-0123"
	w := openWindow(t, map[string]any{"token": token})
	o := newVisitor(t)
	o.secrets = []string{token, w.config["security"].(map[string]any)["key"].(string)}
	o.open(w.as(token))
	o.do(chromedp.Click(`nav a[href="#tester"]`), chromedp.Click(`#tester-send`))
	o.result(1)
	o.follows(w)

	w = openWindow(t, map[string]any{"token": token, "readOnly": true})
	key := w.config["security"].(map[string]any)["key"].(string)
	o.secrets = []string{token, key}
	ch := testclient.NewChannel(key)
	testclient.Subscribe(t, w.config.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
	o.open(w.as(token))
	o.do(chromedp.Click(`nav a[href="#tester"]`))
	o.wait("nothing can be sent, and it is said why", `document.querySelector("#tester-send").disabled &&
		document.querySelector("#tester").innerText.includes("read-only")`)
	o.looksRight("readonly", "tester")
	o.do(chromedp.Click(`nav a[href="#configuration"]`))
	o.wait("the configuration is shown", `document.querySelector("#options").textContent.includes("***")`)
	o.keepsSecrets("the configuration")
	o.do(chromedp.Click(`nav a[href="#connections"]`))
	o.wait("the connection is listed", `document.querySelectorAll("#connections-table a").length === 1`)
	o.do(chromedp.Click(`#connections-table a`))
	o.wait("it can be followed, not closed", `(([follow, close]) => close?.hidden === true && !follow.hidden)(document.querySelectorAll("#detail button"))`)
	o.quiet()
}

// TestPageWhileRedisIsAway: the page says so, and by itself that it is over.
func TestPageWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	c := recordedConfig(t, "single", redis.Addr())
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	c.option("metrics", addr)
	start(t, c).waitListening(addr)
	o := openPage(t, &window{t, "http://" + addr, c})
	redis.Kill()
	o.wait("the page says that Redis is away", `document.querySelector("#pill").dataset.state === "bad" &&
		document.querySelector("#hero").innerText.includes("Redis")`)
	o.wait("the warning is counted", `!document.querySelector("#warning-count").hidden`)
	o.looksRight("away", "overview", "warnings")
	redis.Restart()
	o.knowsServer()
	o.quiet()
}
