package configs

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Value is what counts for one key.
type Value struct {
	Key   string `json:"key"`
	Value any    `json:"value"` // as it would stand in a file
	Given bool   `json:"given"` // a file has it
	Doc   string `json:"doc"`   // as in the table of keys
	// Changes says what has another value take effect.
	Changes string `json:"changes"`

	exact string // with its secrets
	known bool   // exact is
}

// Masked stands for a secret.
const Masked = "***"

// Effective returns what counts for each key that has an effect, without secrets.
func (c *Config) Effective() (all []Value) {
	for i := range options {
		o := &options[i]
		switch {
		case o.doc == "":
		case o.of != nil:
			all = append(all, o.value(c, o.key, o.of(c), c.given[o.key]))
		case strings.Contains(o.key, ".ssl."):
			all = append(all, o.ofServers(c, func(s *Server) bool { return s.SSL != nil })...)
		default:
			all = append(all, o.ofServers(c, func(*Server) bool { return true })...)
		}
	}
	return all
}

func (o *option) value(c *Config, key string, target any, given bool) Value {
	return Value{Key: key, Value: o.shown(target), Given: given, Doc: o.doc, Changes: o.changes.String(), exact: o.exact(c, target), known: true}
}

// ofServers is the key of each listener that may have it.
func (o *option) ofServers(c *Config, has func(s *Server) bool) (all []Value) {
	var unset Server
	for i := range c.Servers {
		s := &c.Servers[i]
		if !has(s) {
			continue
		}
		key, given := strings.Replace(o.key, "[]", fmt.Sprintf("[%d]", i), 1), o.shown(o.each(s)) != o.shown(o.each(&unset))
		all = append(all, o.value(c, key, o.each(s), given))
	}
	return all
}

// shown is the value behind target for everybody's eyes.
func (o *option) shown(target any) any {
	switch v := target.(type) {
	case *string:
		switch {
		case *v == "":
			return ""
		case o.secret() && o.key != "storage.socket":
			return Masked
		}
		return withoutUser(*v)
	case *[]string:
		list := make([]string, len(*v))
		for i, text := range *v {
			list[i] = withoutUser(text)
		}
		return list
	case *int:
		return *v
	case *bool:
		return *v
	case *time.Duration:
		if o.unit > 0 {
			return int64(*v / o.unit)
		}
		return strings.Trim(o.duration(*v), "`\"")
	}
	panic(fmt.Sprintf("BUG: configs: an option of type %T cannot be shown", target))
}

// withoutUser is an address without the name and the password that it may have, and without what its query says but for plain things.
func withoutUser(text string) string {
	if !strings.ContainsAny(text, "@?") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" {
		return Masked
	}
	shown := u.Scheme + "://"
	if u.User != nil {
		shown += Masked + "@"
	}
	shown += u.Host + u.Path
	separator, query := "?", u.Query()
	for _, key := range slices.Sorted(maps.Keys(query)) {
		for _, value := range query[key] {
			if key != "addr" && key != "master_set" && key != "db" {
				value = Masked
			}
			shown += separator + key + "=" + value
			separator = "&"
		}
	}
	return shown
}
