package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"push-server/protocol/testclient"
)

// visitor is somebody with the page in a real browser.
type visitor struct {
	t          *testing.T
	ctx        context.Context
	complaints func() []string // of the browser: exceptions, what the policy forbids
	secrets    []string        // that nobody may see
}

// openPage opens the page of a window.
func openPage(t *testing.T, w *window) *visitor {
	t.Helper()
	o := newVisitor(t)
	o.open(w.base + "/")
	return o
}

// open goes to the page at url, which has to come to know the server.
func (o *visitor) open(url string) {
	o.t.Helper()
	o.do(chromedp.Navigate(url))
	o.knowsServer()
}

// knowsServer waits until the page has shown that the server is ready. Before something is painted the browser drops clicks.
func (o *visitor) knowsServer() {
	o.t.Helper()
	o.wait("the page knows the server", `document.querySelector("#pill")?.dataset.state === "good" &&
		performance.getEntriesByName("first-contentful-paint").length > 0`)
}

// newVisitor starts a browser.
func newVisitor(t *testing.T) *visitor {
	t.Helper()
	var output testclient.Log
	ctx, closeBrowser := chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.ExecPath("chromium"), chromedp.CombinedOutput(&output),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.UserDataDir(t.TempDir())))
	o := &visitor{t: t, ctx: ctx, secrets: []string{}}
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Log("the browser did not end by itself:", err)
		}
		closeBrowser()
		if t.Failed() {
			t.Logf("the browser says:\n%s", output.String())
		}
	})
	console := chromedp.Console(ctx)
	var mu sync.Mutex
	var list []string
	go func() {
		for m, err := range console {
			if err != nil {
				return
			}
			if m.IsException() || m.Type == chromedp.ConsoleError {
				mu.Lock()
				list = append(list, m.String())
				mu.Unlock()
			}
		}
	}()
	o.complaints = func() []string {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
	return o
}

func (o *visitor) do(steps ...chromedp.Action[chromedp.Void]) {
	o.t.Helper()
	done := make(chan error, 1)
	go func() { done <- chromedp.Do(o.ctx, steps...) }()
	if err := testclient.AwaitFrom(o.t, "the browser does it", done); err != nil {
		o.t.Fatalf("%v; the browser complains of %q", err, o.complaints())
	}
}

// evaluate is what a script answers.
func evaluate[T any](o *visitor, script string) T {
	o.t.Helper()
	value, err := chromedp.Run(o.ctx, chromedp.Evaluate[T](script))
	if err != nil {
		o.t.Fatal(err)
	}
	return value
}

// wait waits until a script answers true.
func (o *visitor) wait(what, script string) {
	o.t.Helper()
	defer func() {
		if o.t.Failed() {
			o.t.Logf("the browser complains of %q; the page:\n%s", o.complaints(), evaluate[string](o, `document.body.innerText`))
		}
	}()
	testclient.Await(o.t, what, func() bool { return evaluate[bool](o, script) })
}

// result waits until a message has come by both transports, and answers what the page says about it.
func (o *visitor) result(number int) string {
	o.t.Helper()
	wanted := fmt.Sprintf("Message %d stored", number)
	o.wait(wanted, fmt.Sprintf(`(e => e.dataset.state !== "" && e.textContent.startsWith(%q))(document.querySelector("#tester-result"))`, wanted))
	text := evaluate[string](o, `document.querySelector("#tester-result").textContent`)
	for _, part := range []string{"by WebSocket after", "by long poll after"} {
		if !strings.Contains(text, part) {
			o.t.Errorf("%q is missing in %q", part, text)
		}
	}
	return text
}

// TestPage: whoever has said "make run" opens the address that is printed, and two clicks later a message has come by WebSocket and by long
// poll: on a telephone and on a desk, by day and by night, and without a mouse.
func TestPage(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("make", "-C", "../..", "-n", "run").CombinedOutput(); err != nil || !strings.Contains(string(out), "bin/push-server --config configs/standalone.json\n") {
		t.Errorf("make run: %v\n%s", err, out)
	}
	c := standalone(t)
	c.option("metrics", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	p := start(t, c)
	printed := regexp.MustCompile(`for operators: (http://\S+)/ \(a page`)
	testclient.Await(t, "the address of the page is printed", func() bool { return printed.MatchString(p.log.String()) })
	w := &window{t, printed.FindStringSubmatch(p.log.String())[1], c}
	o := openPage(t, w)
	o.secrets = []string{w.config["security"].(map[string]any)["key"].(string)}
	twoClicks := func(number int) {
		o.do(chromedp.Click(`nav a[href="#tester"]`), chromedp.Click(`#tester-send`))
		o.result(number)
	}
	twoClicks(1)
	o.everywhere(func(where string) {
		o.withoutMouse(where == "light-390") // and the page is a new one
		o.do(chromedp.Click(`nav a[href="#overview"]`))
		twoClicks(2)
	})
	for n, choice := range []string{"protobuf", "browser", "text"} { // the second and the third one from the browser itself
		o.do(chromedp.Click(`input[value="`+choice+`"]`), chromedp.Click(`#tester-send`))
		o.result(n + 3)
	}
	if got := evaluate[int](o, `document.querySelectorAll(".messages li").length`); got != 10 {
		t.Errorf("%d messages are shown, want five in each of both lists", got)
	}
	o.do(chromedp.Click(`.lane:first-child .summary button`))
	o.wait("all is replayed", `document.querySelectorAll(".lane:first-child .delay.again").length === 5`)
	o.follows(w)
	o.looksRight("open", "overview", "tester", "connections", "configuration", "warnings")
	o.quiet()
}

// quiet sees that the browser had nothing to complain of.
func (o *visitor) quiet() {
	o.t.Helper()
	if complaints := o.complaints(); len(complaints) > 0 {
		o.t.Errorf("the browser complains:\n%s", strings.Join(complaints, "\n"))
	}
}

// follows sees a message go to a connection.
func (o *visitor) follows(w *window) {
	o.t.Helper()
	ch := testclient.NewChannel(w.config["security"].(map[string]any)["key"].(string))
	client := testclient.Subscribe(o.t, w.config.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
	o.do(chromedp.Click(`nav a[href="#connections"]`), chromedp.SendKeys(`#search`, ch.Private))
	o.wait("the connection is found", `document.querySelectorAll("#connections-table a").length === 1`)
	o.do(chromedp.Click(`#connections-table a`), chromedp.Click(`#detail button`))
	o.wait("the connection is followed", `document.querySelector("#detail button").getAttribute("aria-pressed") === "true" &&
		[...document.querySelectorAll(".events td")].some((e) => e.textContent.startsWith("subscribed"))`)
	if _, err := testclient.NewHTTP(false).PublishText(o.t.Context(), "http://"+w.config.addr("pub")+pubPath, `"`+saidInSecret+`"`, 60, ch.Private); err != nil {
		o.t.Fatal(err)
	}
	client.Bodies(1)
	o.wait("the message is shown", `document.querySelector(".events tbody tr").textContent.includes("to client")`)
	signed := ch.Signed()
	o.secrets = append(o.secrets, signed[strings.LastIndexByte(signed, '.')+1:], saidInSecret)
	o.keepsSecrets("the page of a connection")
}

// keepsSecrets sees that none of them is anywhere on the page.
func (o *visitor) keepsSecrets(name string) {
	o.t.Helper()
	secrets, err := json.Marshal(o.secrets)
	if err != nil {
		o.t.Fatal(err)
	}
	const shown = `(secrets => (page => secrets.filter(s => page.includes(s)))(document.documentElement.outerHTML))`
	if found := evaluate[[]string](o, shown+"("+string(secrets)+")"); len(found) > 0 {
		o.t.Errorf("%s shows %q", name, found)
	}
}

// reload opens the page anew, at its beginning.
func (o *visitor) reload() {
	o.t.Helper()
	evaluate[string](o, `location.hash = ""`)
	o.do(chromedp.Reload())
	o.knowsServer()
}

// withoutMouse opens the page anew and sends a message with the keys Tab and Enter alone; skipping: past the link to the content. Whatever
// has the focus shows it.
func (o *visitor) withoutMouse(skipping bool) {
	o.t.Helper()
	o.reload()
	seen := []string{}
	reach := func(name string) {
		for range 60 {
			o.do(chromedp.KeyEvent(kb.Tab))
			focus := evaluate[struct {
				Name  string
				Shown bool
			}](o, `(e => ({name: (e.textContent || e.id).trim(), shown: getComputedStyle(e).outlineStyle !== "none" || e.type === "radio"}))(document.activeElement)`)
			seen = append(seen, focus.Name)
			if !focus.Shown {
				o.t.Errorf("nobody sees that %q has the focus", focus.Name)
			}
			if focus.Name == name {
				o.do(chromedp.KeyEvent(kb.Enter))
				return
			}
		}
		o.t.Fatalf("Tab does not lead to %q but to %q", name, seen)
	}
	if skipping {
		reach("Skip to the content")
		o.wait("the content has the focus", `document.activeElement.id === "main"`)
		o.reload()
	}
	reach("Channel tester")
	o.do(chromedp.WaitVisible(`#tester-send`))
	reach("Send yourself a message")
	o.result(1)
}

// everywhere does something on a telephone and on a desk, by day and by night.
func (o *visitor) everywhere(do func(where string)) {
	o.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}
		if _, err := chromedp.Run(o.ctx, func(ctx context.Context, target *chromedp.Target) (cdp.Empty, error) {
			return cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
		}); err != nil {
			o.t.Fatal(err)
		}
		for _, width := range []int64{390, 1400} {
			o.do(chromedp.EmulateViewport(width, 900))
			do(fmt.Sprintf("%s-%d", scheme, width))
		}
	}
}

// looksRight sees that nothing of these views is cut off at the side, that every text stands out from what is behind it, and that there is
// no secret.
func (o *visitor) looksRight(state string, views ...string) {
	o.t.Helper()
	o.everywhere(func(where string) {
		for _, view := range views {
			evaluate[string](o, fmt.Sprintf("location.hash = %q", view))
			o.do(chromedp.WaitVisible("#" + view + " h1"))
			name := fmt.Sprintf("%s-%s-%s", state, view, where)
			if over := evaluate[int](o, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
				o.t.Errorf("%s is %d pixels too wide", name, over)
			}
			if faint := evaluate[[]string](o, faintTexts); len(faint) > 0 {
				o.t.Errorf("in %s these are hard to read: %q", name, slices.Compact(faint))
			}
			o.keepsSecrets(name)
			o.photograph(name)
		}
	})
}

// photograph leaves a picture in the folder PUSH_TEST_PICTURES, for whoever wants to look himself.
func (o *visitor) photograph(name string) {
	dir := os.Getenv("PUSH_TEST_PICTURES")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(o.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600)
	}
	if err != nil {
		o.t.Error(err)
	}
}

// faintTexts lists texts whose contrast is below 4.5, as WCAG 2 counts it.
const faintTexts = `(() => {
	const parts = (c) => (c.match(/[\d.]+/g) || []).map(Number);
	const light = (c) => parts(c).slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const grounds = new Map([[null, "rgb(255, 255, 255)"]]);
	const behind = (e) => {
		if (!grounds.has(e)) {
			const c = getComputedStyle(e).backgroundColor;
			grounds.set(e, !c.startsWith("rgba") || parts(c)[3] === 1 ? c : behind(e.parentElement));
		}
		return grounds.get(e);
	};
	const faint = [];
	for (const e of document.querySelectorAll("body *")) {
		const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
		if (!own || !e.checkVisibility() || e.closest(":disabled")) continue;
		const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
		if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(e.textContent.trim());
	}
	return faint;
})()`
