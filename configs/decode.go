package configs

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// decoder puts the values of a file over the defaults and notes what is wrong with their form. Bounds are the business of Validate.
type decoder struct {
	config   *Config
	problems []Problem
}

func (d *decoder) warn(key, suggestion, text string, args ...any) {
	d.problems = append(d.problems, Problem{Key: key, Severity: Warning, Text: fmt.Sprintf(text, args...), Suggestion: suggestion})
}

func (d *decoder) fail(key, suggestion, text string, args ...any) {
	d.problems = append(d.problems, Problem{Key: key, Severity: Error, Text: fmt.Sprintf(text, args...), Suggestion: suggestion})
}

// section decodes an object. path is "" for the whole file, "storage", "servers[0].routes" and so on; s is the listener it belongs to.
func (d *decoder) section(path string, o *object, s *Server) {
	if path == "limits" {
		d.config.limits = o
	}
	for _, key := range o.twice {
		d.warn(under(path, key), "remove all but one", "is there more than once: the last one counts")
	}
	for _, key := range o.keys {
		d.value(under(path, key), o.values[key], o, s)
	}
}

func under(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (d *decoder) value(path string, v any, parent *object, s *Server) {
	key := pattern(path)
	opt, known := byKey[key]
	switch {
	case free[key]:
	case key == "servers":
		d.servers(v)
	case isSection(key):
		d.object(path, v, s)
	case !known:
		d.unknown(path, key)
	case opt.insteadOf != "":
		d.misspelt(path, opt, v, parent, s)
	default:
		d.option(path, opt, v, s)
	}
}

func (d *decoder) object(path string, v any, s *Server) {
	if v == nil {
		d.absent(path)
		return
	}
	o, ok := v.(*object)
	if !ok {
		d.fail(path, fmt.Sprintf(`write "%s": {…}`, last(path)), "must be an object")
		return
	}
	switch pattern(path) {
	case "servers[].ssl":
		s.ssl()
	case "storage.tls":
		d.config.Storage.TLS.On = true
	}
	d.section(path, o, s)
}

func (d *decoder) servers(v any) {
	list, ok := v.([]any)
	if !ok {
		d.fail("servers", `write "servers": [{…}]`, "must be an array of objects, one for each listener")
		return
	}
	d.config.Servers = make([]Server, len(list))
	for i, v := range list {
		path, s := fmt.Sprintf("servers[%d]", i), &d.config.Servers[i]
		o, ok := v.(*object)
		if !ok {
			d.fail(path, `write {"port": 8010, "routes": {…}}`, "must be an object")
			continue
		}
		d.section(path, o, s)
	}
}

// unknown is an error in the section that only this server reads; elsewhere the Node server passes over it, and so do we.
func (d *decoder) unknown(path, key string) {
	suggestion := ""
	if near := nearestKey(key); near != "" {
		suggestion = "did you mean " + near + "?"
	}
	if strings.HasPrefix(key, "push.") {
		d.fail(path, suggestion, "unknown key")
		return
	}
	d.warn(path, suggestion, "unknown key, has no effect")
}

func (d *decoder) misspelt(path string, o *option, v any, parent *object, s *Server) {
	right := last(o.insteadOf)
	if _, ok := parent.values[right]; ok {
		d.warn(path, "remove it", "has no effect, since %s is there too", right)
		return
	}
	d.warn(path, "write "+right, "misspelt; its value is used for %s", right)
	d.option(path, byKey[o.insteadOf], v, s)
}

func (d *decoder) option(path string, o *option, v any, s *Server) {
	if o.remark != "" {
		d.warn(path, "", "%s", o.remark)
	}
	target := o.target(d.config, s)
	if target == nil {
		return
	}
	if v == nil {
		d.null(path, o, target)
		return
	}
	if o.each == nil {
		d.config.given[o.key] = true
	}
	if on, ok := v.(bool); ok && o.yes != "" {
		if v = ""; on {
			v = o.yes
		}
	}
	d.assign(path, o, target, v)
}

// null is taken as absent, but for messageTTL: there, as in the Node server, it is 0.
func (d *decoder) null(path string, o *option, target any) {
	if ttl, ok := target.(*time.Duration); ok && o.key == "storage.messageTTL" {
		*ttl = 0
		d.config.given[o.key] = true
		d.warn(path, "write 0 if that is meant", "null is 0: nothing is stored")
		return
	}
	d.absent(path)
}

func (d *decoder) absent(path string) { d.warn(path, "remove it", "null is taken as absent") }

func (d *decoder) assign(path string, o *option, target, v any) {
	if s, ok := v.(string); ok && isPlaceholder(s) {
		d.fail(path, unfilled, "%s has no value", s)
		return
	}
	switch t := target.(type) {
	case *string:
		if list, ok := v.([]any); ok && o.key == "security.key" {
			v = d.keys(path, list)
		}
		d.text(path, t, v)
	case *bool:
		d.flag(path, t, v)
	case *int:
		d.integer(path, t, v)
	case *[]string:
		d.list(path, t, v)
	case *time.Duration:
		d.duration(path, o.unit, t, v)
	default:
		panic(fmt.Sprintf("BUG: %s has a target of type %T", path, target))
	}
}

// keys notes all keys but the first, which it returns.
func (d *decoder) keys(path string, list []any) (first string) {
	if len(list) == 0 {
		d.fail(path, `write "key": ["the newest", "an older one"]`, "is an empty array")
		return ""
	}
	for i, v := range list {
		key, ok := v.(string)
		switch {
		case !ok || key == "":
			d.fail(fmt.Sprintf("%s[%d]", path, i), "", "must be a text that is not empty")
		case i == 0:
			first = key
		default:
			d.config.Security.OlderKeys = append(d.config.Security.OlderKeys, key)
		}
	}
	return first
}

func (d *decoder) text(path string, t *string, v any) {
	switch v := v.(type) {
	case string:
		*t = v
	case json.Number:
		d.warn(path, "write it in quotes", "is a number and taken as text")
		*t = v.String()
	default:
		d.fail(path, "write text in quotes", "must be a string")
	}
}

// flag takes only true for true, as the Node server does.
func (d *decoder) flag(path string, t *bool, v any) {
	b, ok := v.(bool)
	if !ok {
		d.warn(path, "write true or false", "is not a boolean and counts as false")
	}
	*t = b
}

func (d *decoder) integer(path string, t *int, v any) {
	n, ok := number(v)
	if !ok {
		d.fail(path, example(int64(*t)), "must be a whole number")
		return
	}
	*t = int(n)
}

// example suggests the default.
func example(n int64) string {
	if n == 0 {
		return "write digits alone"
	}
	return fmt.Sprintf("for example %d", n)
}

func (d *decoder) list(path string, t *[]string, v any) {
	list, ok := v.([]any)
	if ok {
		*t = make([]string, 0, len(list)) // an empty list is not an absent one
	}
	for _, v := range list {
		s, isText := v.(string)
		ok = ok && isText
		*t = append(*t, s)
	}
	if !ok {
		d.fail(path, `for example ["10.0.0.1"]`, "must be an array of strings")
	}
}

func (d *decoder) duration(path string, unit time.Duration, t *time.Duration, v any) {
	if unit == 0 {
		d.durationText(path, t, v)
		return
	}
	n, ok := number(v)
	if !ok {
		d.fail(path, example(int64(*t/unit)), "must be a whole number")
		return
	}
	limit := math.MaxInt64 / int64(unit)
	*t = time.Duration(max(min(n, limit), -limit)) * unit
}

func (d *decoder) durationText(path string, t *time.Duration, v any) {
	s, ok := v.(string)
	if !ok {
		d.fail(path, `for example "40s"`, "must be a string with a duration")
		return
	}
	parsed, err := time.ParseDuration(s)
	if err != nil {
		d.fail(path, `for example "40s", "300ms", "1m30s"`, "%q is not a duration", s)
		return
	}
	*t = parsed
}

// number takes numeric strings as well: the templates of installers quote what they fill in.
func number(v any) (int64, bool) {
	var s string
	switch v := v.(type) {
	case json.Number:
		s = v.String()
	case string:
		s = strings.TrimSpace(v)
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// pattern is the path with [] for [0], [1] and so on.
func pattern(path string) string {
	open, end := strings.IndexByte(path, '['), strings.IndexByte(path, ']')
	if open < 0 || end < open {
		return path
	}
	return path[:open+1] + path[end:]
}

func last(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

func isSection(key string) bool {
	for i := range options {
		if strings.HasPrefix(options[i].key, key+".") {
			return true
		}
	}
	return false
}

// nearestKey looks among the keys of the same section first, then among those of other sections.
func nearestKey(key string) string {
	section, name := strings.TrimSuffix(key, last(key)), last(key)
	same := sectionNames(section)
	var others []string
	for i := range options {
		o := &options[i]
		sibling, ok := strings.CutPrefix(o.key, section)
		switch {
		case o.of == nil && o.each == nil:
		case ok && !strings.Contains(sibling, "."):
			same = append(same, sibling)
		case o.of != nil && !o.nested():
			others = append(others, last(o.key))
		}
	}
	if near := Nearest(name, same); near != "" {
		return section + near
	}
	return elsewhere(Nearest(name, others))
}

// elsewhere finds the full key of the last part of one.
func elsewhere(name string) string {
	for i := range options {
		if o := &options[i]; o.of != nil && !o.nested() && last(o.key) == name {
			return o.key
		}
	}
	return ""
}

// nested says whether o belongs to a section within a section: its name means too little elsewhere.
func (o *option) nested() bool { return strings.Count(o.key, ".") > 1 }

func sectionNames(section string) []string {
	switch section {
	case "":
		return []string{"servers", "storage", "limits", "security", "debug", "push"}
	case "servers[].":
		return []string{"routes", "ssl"}
	case "storage.":
		return []string{"tls"}
	case "push.":
		return []string{"operators", "v5", "perAddress"}
	}
	return nil
}
