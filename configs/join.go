package configs

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Join makes one Config for a process that serves several files. They must agree in storage and security; of other keys the first
// file that has one counts, with a warning when a later file says something else. The listeners of all are served.
func Join(all []*Config) (*Config, []Problem) {
	if len(all) == 0 {
		return nil, []Problem{{Severity: Error, Text: "no configuration given"}}
	}
	j := joiner{first: all[0], sum: copyOf(all[0])}
	for _, c := range all[1:] {
		j.add(c)
	}
	if len(all) > 1 {
		j.problems = append(j.problems, sameAddress(j.sum)...)
	}
	return j.sum, j.problems
}

type joiner struct {
	first, sum *Config
	problems   []Problem
}

func copyOf(c *Config) *Config {
	sum := *c
	sum.Servers = append([]Server{}, c.Servers...)
	sum.given = map[string]bool{}
	for key := range c.given {
		sum.given[key] = true
	}
	return &sum
}

func (j *joiner) add(c *Config) {
	j.sum.File += ", " + c.File
	j.sum.Servers = append(j.sum.Servers, c.Servers...)
	j.sum.PublishMode = j.sum.PublishMode && c.PublishMode
	j.sum.ClusterMode = j.sum.ClusterMode || c.ClusterMode
	if j.sum.ProcessUniqueID == "" { // one process is one entry of the statistics; each file has another name, so nothing is said
		j.sum.ProcessUniqueID = c.ProcessUniqueID
	}
	for i := range options {
		if o := &options[i]; o.of != nil && o.joins() {
			j.option(o, c)
		}
	}
	if c.Storage.TLS.On != j.sum.Storage.TLS.On {
		j.problems = append(j.problems, Problem{File: c.File, Key: "storage.tls", Severity: Error,
			Text: "is only in one of " + j.first.File + " and this file", Suggestion: "all files of one process must agree"})
	}
	if !slices.Equal(c.Security.OlderKeys, j.sum.Security.OlderKeys) && c.Security.Key == j.sum.Security.Key {
		j.problems = append(j.problems, Problem{File: c.File, Key: "security.key", Severity: Error,
			Text: "differs from " + j.first.File + " in the older keys", Suggestion: "all files of one process must agree"})
	}
	j.limits(c)
}

// joins says whether o is joined by the rule for all: the rest has rules of its own.
func (o *option) joins() bool {
	return o.key != "publishMode" && o.key != "clusterMode" && o.key != "processUniqueId"
}

func (j *joiner) option(o *option, c *Config) {
	mine, theirs := o.of(j.sum), o.of(c)
	mustAgree := strings.HasPrefix(o.key, "storage.") || strings.HasPrefix(o.key, "security.")
	switch {
	case equal(mine, theirs):
	case mustAgree:
		j.conflict(o, c, Error, "all files of one process must agree")
	case !c.given[o.key]:
	case !j.sum.given[o.key]:
		set(mine, theirs)
	default:
		j.conflict(o, c, Warning, "the first counts")
	}
	j.sum.given[o.key] = j.sum.given[o.key] || c.given[o.key]
}

func (j *joiner) conflict(o *option, c *Config, s Severity, suggestion string) {
	text := fmt.Sprintf("differs from %s: %s against %s", j.first.File, o.text(o.of(c)), o.text(o.of(j.sum)))
	if o.secret() {
		text = "differs from " + j.first.File
	}
	j.problems = append(j.problems, Problem{File: c.File, Key: o.key, Severity: s, Text: text, Suggestion: suggestion})
}

func (o *option) secret() bool {
	return slices.Contains([]string{"security.key", "debug.testConnectionKey", "storage.socket", "storage.password", "storage.sentinelPassword",
		"push.operators.token"}, o.key)
}

// limits keeps what only statistics show.
func (j *joiner) limits(c *Config) {
	if c.limits == nil {
		return
	}
	joined := &object{values: map[string]any{}}
	for _, o := range []*object{j.sum.limits, c.limits} {
		if o == nil {
			continue
		}
		for _, key := range o.keys {
			if _, ok := joined.values[key]; !ok {
				joined.set(key, o.values[key])
			}
		}
	}
	j.sum.limits = joined
}

func equal(a, b any) bool {
	switch a := a.(type) {
	case *string:
		return *a == *b.(*string)
	case *bool:
		return *a == *b.(*bool)
	case *int:
		return *a == *b.(*int)
	case *time.Duration:
		return *a == *b.(*time.Duration)
	case *[]string:
		return strings.Join(*a, "\n") == strings.Join(*b.(*[]string), "\n")
	}
	panic(fmt.Sprintf("BUG: options of type %T cannot be compared", a))
}

func set(dst, src any) {
	switch dst := dst.(type) {
	case *string:
		*dst = *src.(*string)
	case *bool:
		*dst = *src.(*bool)
	case *int:
		*dst = *src.(*int)
	case *time.Duration:
		*dst = *src.(*time.Duration)
	case *[]string:
		*dst = *src.(*[]string)
	}
}
