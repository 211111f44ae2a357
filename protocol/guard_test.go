package protocol

import (
	"encoding/json"
	"testing"
)

// What browsers obey the portal in does not come from a client of versions 3 and 4, in whatever form browsers would read it; what clients
// send as they are sold passes as it is.
func TestGuard(t *testing.T) {
	f := func(body, want string, refusal *Error) {
		t.Helper()
		p := &Publication{Body: []byte(body)}
		if got := p.guard(); got != refusal || refusal == nil && string(p.Body) != want {
			t.Errorf("%s: %v, %s", body, got, p.Body)
		}
	}
	const usual = `{"module_id":"im","command":"startWriting","params":{"extra":{"a":1},"n":12345678901234567890}}`
	f(usual, usual, nil)
	for _, body := range []string{`{}`, `[]`, `1`, `null`, `"{}"`, `[{"module_id":"pull"}]`} {
		f(body, body, nil)
	}
	f(` {"module_id":["pull"]}`, ` {"module_id":["pull"]}`, nil) // which browsers cannot read
	f(`{"module_id":"im","extra":{"revision_web":1},"params":{"n":12345678901234567890}}`, `{"module_id":"im","params":{"n":12345678901234567890}}`, nil)
	f(`{"extra":1,"module_id":"im","\u0065xtra":{"revision_web":1}}`, `{"module_id":"im"}`, nil)
	for _, body := range []string{
		`{"module_id":"pull"}`, `{"module_id":"PULL"}`, `{"module_id":"pu\u006cl"}`, `{"modul\u0065_id":"pull"}`, `{"module_id":"im","module_id":"pull"}`,
		"\n{\"module_id\":\"Pull\",\"extra\":{}}",
	} {
		f(body, "", ErrModule)
	}
	for _, body := range []string{
		``, `x`, `{}}`, `1,"text":{"module_id":"pull"}`, `{`, `{"module_id":"im"},"text":{"module_id":"pull"}`,
		`{}}#!NGINXNME!##!NGINXNMS!#{"id":1,"text":{"module_id":"pull"}`,
	} {
		f(body, "", ErrBody)
	}
}

func FuzzGuard(f *testing.F) {
	f.Add([]byte(`{"module_id":"im","extra":{}}`))
	f.Add([]byte(`{"module_id":"pull"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p := &Publication{Body: body}
		if p.guard() != nil {
			return
		}
		var value any
		if err := json.Unmarshal(p.Body, &value); err != nil {
			t.Fatalf("%q became %q: %v", body, p.Body, err)
		}
		read, _ := value.(map[string]any) // nil: no object
		if _, has := read["extra"]; has || read["module_id"] == "pull" {
			t.Fatalf("%q became %q", body, p.Body)
		}
	})
}
