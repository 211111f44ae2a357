package protocol

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestAppendText(t *testing.T) {
	f := func(id string, nowMillis int64, body, want string) {
		t.Helper()
		p := Publication{ID: mustMessageID(t, id), Body: []byte(body)}
		if got := string(AppendText([]byte("before"), &p, nowMillis)); got != "before"+want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
	f("17954614120000000000000126", 1795461740561, `{"x":1}`,
		`#!NGINXNMS!#{"id":126,"mid":"17954614120000000000000126","channel":"-","tag":"561",`+
			`"time":"Mon, 23 Nov 2026 19:22:20 GMT","text":{"x":1}}#!NGINXNME!#`)
	f("17954614120000000000000225", 1795461913822, `d41d8cd98f00b204e9800998ecf8427e`,
		`#!NGINXNMS!#{"id":225,"mid":"17954614120000000000000225","channel":"-","tag":"822",`+
			`"time":"Mon, 23 Nov 2026 19:25:13 GMT","text":d41d8cd98f00b204e9800998ecf8427e}#!NGINXNME!#`)
	f("17954638490000000000000002", 1795463850318, `{"b":2}`,
		`#!NGINXNMS!#{"id":2,"mid":"17954638490000000000000002","channel":"-","tag":"318",`+
			`"time":"Mon, 23 Nov 2026 19:57:30 GMT","text":{"b":2}}#!NGINXNME!#`)
	f("99999999999999999999999999", 7, ``,
		`#!NGINXNMS!#{"id":9999999999999999,"mid":"99999999999999999999999999","channel":"-","tag":"007",`+
			`"time":"Thu, 01 Jan 1970 00:00:00 GMT","text":}#!NGINXNME!#`)
}

func TestTextBody(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		in := []byte(body)
		got := string(textBody(in))
		if got != want {
			t.Fatalf("%q became %q, want %q", body, got, want)
		}
		if string(in) != body {
			t.Fatalf("%q was changed", body)
		}
		if json.Valid(in) && !sameJSON(t, body, got) {
			t.Fatalf("%q and %q do not mean the same", body, got)
		}
	}
	f(`{"a":1}`, `{"a":1}`)
	f(`"a — “b” Ж 😀"`, `"a — “b” Ж 😀"`)
	f("{\"a\":\"x\u2028y\u2029z\"}", `{"a":"x\u2028y\u2029z"}`)
	f("{\"a\\\\\u2028\":\"\u2029\u2029\"}", `{"a\\\u2028":"\u2029\u2029"}`)
	f("{\n\"a\":\r\n1}\n", `{"a":1}`)
	f(`{"a":"#!NGINXNME!#"}`, `{"a":"#!NGINXNME!\u0023"}`)
	f(`{"a":"\\#!NGINXNME!#!NGINXNME!#"}`, `{"a":"\\#!NGINXNME!\u0023!NGINXNME!#"}`)
	f("[\n\"#!NGINXNME!#\u2028\"]", `["#!NGINXNME!\u0023\u2028"]`)
	f(`{"a":"line\nfeed"}`, `{"a":"line\nfeed"}`)

	// What is not JSON stays as it is.
	f("a\u2028b", "a\u2028b")
	f("two\nlines", "two\nlines")
	f("{\"a\":\"raw\nline feed\"}", "{\"a\":\"raw\nline feed\"}")
	f("[\n\"\\x\"]", "[\n\"\\x\"]")
	f("[\n\"\xff\\u12\"]", "[\n\"\xff\\u12\"]")
	f("#!NGINXNME!#", "#!NGINXNME!#")
	f("1\n2", "1\n2")
	f("\n", "\n")
	f("", "")
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	return canonicalJSON(t, a) == canonicalJSON(t, b)
}

func canonicalJSON(t *testing.T, s string) string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %q", err, s)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The pattern of the clients finds every message whose body is JSON.
func TestTextIsFound(t *testing.T) {
	var frame []byte
	bodies := []string{`{"a":1}`, "{\"a\":\"\u2028\"}", "[\r\n1]", `"#!NGINXNME!#"`}
	for i, body := range bodies {
		frame = AppendText(frame, &Publication{ID: MakeMessageID(1, uint64(i)), Body: []byte(body)}, 0)
	}
	rest := string(frame)
	for _, body := range bodies {
		message, after, ok := strings.Cut(strings.TrimPrefix(rest, textBegin), textEnd)
		var got struct{ Text any }
		if !ok || strings.ContainsAny(message, "\r\n\u2028\u2029") || json.Unmarshal([]byte(message), &got) != nil {
			t.Fatalf("%q is not found in %q", body, rest)
		}
		rest = after
	}
	if rest != "" {
		t.Fatalf("%q is left over", rest)
	}
}
