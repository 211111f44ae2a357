package configs

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// FuzzLoad: whatever a file holds, loading it ends with a configuration or a list of problems, and a configuration without errors can be
// joined with another one and shown.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"*.json", "bitrixvm/*.json", "testdata/mangled/*.json"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal(pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	resolver := net.DefaultResolver
	f.Cleanup(func() { net.DefaultResolver = resolver })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("nobody is asked")
	}}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, problems := parse("f.json", text)
		for _, p := range problems {
			if p.File != "f.json" || p.Text == "" || p.Severity != Error && p.Severity != Warning {
				t.Fatalf("%+v", p)
			}
		}
		if c == nil {
			if Valid(problems) {
				t.Fatal("neither a configuration nor a problem")
			}
			return
		}
		if shown := c.LimitsJSON(); !json.Valid(shown) {
			t.Fatalf("limits are shown as %s", shown)
		}
		if !Valid(problems) {
			return
		}
		sum, more := Join([]*Config{c, c})
		if sum == nil || len(sum.Servers) != 2*len(c.Servers) {
			t.Fatal(lines(more))
		}
		_ = lines(more)
	})
}
