package configs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Change says when another value of a key takes effect.
type Change uint8

// From the least to the most that it takes.
const (
	onReload  Change = iota + 1 // when the running server reads its configuration again
	onUpgrade                   // when another process takes the place of the server with its connections
	onRestart                   // when the server ends and another one starts
)

// Reloads says whether it takes effect while the server runs.
func (c Change) Reloads() bool { return c == onReload }

// Restarts says whether nothing less than another server does.
func (c Change) Restarts() bool { return c == onRestart }

// String is what brings the change about.
func (c Change) String() string {
	switch c {
	case onReload:
		return "SIGHUP"
	case onUpgrade:
		return "upgrade"
	}
	return "restart"
}

// Difference is a key for which two configurations have different values.
type Difference struct {
	Key      string
	From, To any // as they would stand in a file, secrets as Masked; nil: the key is not there
	Change   Change
}

// Text is a value of d as it would stand in a file.
func (d *Difference) Text() (from, to string) { return textOf(d.From), textOf(d.To) }

func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "absent"
	case string:
		if v != "" {
			return v
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic("BUG: a value of a file that is no JSON: " + err.Error())
	}
	return string(text)
}

// Differences returns the keys for which to has another value than c, in the order of the table.
func (c *Config) Differences(to *Config) []Difference {
	all, _ := Compare(c.Effective(), to.Effective())
	if from, to := c.Storage.TLS.On, to.Storage.TLS.On; from != to { // the section may be empty
		all = append(all, Difference{"storage.tls", from, to, onUpgrade})
	}
	return all
}

// Compare returns the keys for which values differ. hidden are those with secrets that are not known here, as one side came as JSON.
func Compare(from, to []Value) (all []Difference, hidden []string) {
	was := make(map[string]*Value, len(from))
	for i := range from {
		was[from[i].Key] = &from[i]
	}
	moved := movesOf(from, to)
	differ := func(key string, a, b any) {
		all = append(all, Difference{key, a, b, moved.changeOf(key, a == nil || b == nil)})
	}
	for i := range to {
		v := &to[i]
		old := was[v.Key]
		delete(was, v.Key)
		same, known := v.equal(old)
		switch {
		case !known:
			hidden = append(hidden, v.Key)
		case !same && old == nil:
			differ(v.Key, nil, v.Value)
		case !same:
			differ(v.Key, old.Value, v.Value)
		}
	}
	for i := range from { // what is left was there only before
		if v := &from[i]; was[v.Key] != nil {
			differ(v.Key, v.Value, nil)
		}
	}
	return all, hidden
}

// equal says whether two values are the same, if that can be known.
func (v *Value) equal(other *Value) (same, known bool) {
	if other == nil {
		return false, true
	}
	if v.known && other.known {
		return v.exact == other.exact, true
	}
	a, b := textOf(v.Value), textOf(other.Value)
	return a == b, a != b || !strings.Contains(a, Masked)
}

// exact is a value with its secrets.
func (o *option) exact(c *Config, target any) string {
	if o.key == "security.key" {
		return string(bytes.Join(c.Security.All(), []byte{'\n'}))
	}
	if list, ok := target.(*[]string); ok {
		return strings.Join(*list, "\n")
	}
	return fmt.Sprint(reflect.ValueOf(target).Elem())
}

// Adopt returns c with what takes effect on a reload as it is in to.
func (c *Config) Adopt(to *Config) *Config {
	sum := copyOf(c)
	for i := range options {
		o := &options[i]
		if o.of == nil || !o.changes.Reloads() {
			continue
		}
		set(o.of(sum), o.of(to))
		delete(sum.given, o.key)
		if to.given[o.key] {
			sum.given[o.key] = true
		}
	}
	sum.Security.OlderKeys = to.Security.OlderKeys
	sum.limits = to.limits
	for i := range sum.Servers[:min(len(sum.Servers), len(to.Servers))] {
		if mine, theirs := sum.Servers[i].SSL, to.Servers[i].SSL; mine != nil && theirs != nil {
			sum.Servers[i].SSL = &SSL{Key: theirs.Key, Cert: theirs.Cert, Ciphers: mine.Ciphers}
		}
	}
	return sum
}
