package poll

import (
	"regexp"
	"slices"
	"strings"
)

// A difference is why one reader takes a request that the other one does not take.
type difference struct {
	why string
	is  func(rest string) bool // what comes, from that request on
}

type differences []difference

// reason is empty if there is none.
func (all differences) reason(rest string) string {
	if i := slices.IndexFunc(all, func(d difference) bool { return d.is(rest) }); i >= 0 {
		return all[i].why
	}
	return ""
}

// matches looks at all that comes.
func matches(pattern string) func(string) bool { return regexp.MustCompile(pattern).MatchString }

// inHead looks at the lines of the head, without their ends.
func inHead(is func(line string, fields []string) bool) func(string) bool {
	return func(rest string) bool {
		head, _, _ := strings.Cut(strings.TrimLeft(rest, "\r\n"), "\r\n\r\n")
		lines := strings.Split(head, "\r\n")
		return is(lines[0], lines[1:])
	}
}

// inLine looks at the request line.
func inLine(pattern string) func(string) bool {
	p := regexp.MustCompile(pattern)
	return inHead(func(line string, _ []string) bool { return p.MatchString(line) })
}

// inField looks at one field after the other.
func inField(pattern string) func(string) bool {
	p := regexp.MustCompile(pattern)
	return inHead(func(_ string, fields []string) bool { return slices.ContainsFunc(fields, p.MatchString) })
}

// fieldsOf looks at how many there are of a name.
func fieldsOf(name string, is func(n int) bool) func(string) bool {
	p := regexp.MustCompile("(?i)^" + name + ":")
	return inHead(func(_ string, fields []string) bool {
		n := 0
		for _, f := range fields {
			if p.MatchString(f) {
				n++
			}
		}
		return is(n)
	})
}

func either(a, b func(string) bool) func(string) bool {
	return func(s string) bool { return a(s) || b(s) }
}
func both(a, b func(string) bool) func(string) bool {
	return func(s string) bool { return a(s) && b(s) }
}
func not(a func(string) bool) func(string) bool { return func(s string) bool { return !a(s) } }

func several(n int) bool { return n > 1 }
func none(n int) bool    { return n == 0 }

const nodeMethods = `GET|POST|HEAD|OPTIONS|PUT|DELETE|PATCH|TRACE|COPY|LOCK|MKCOL|MOVE|PROPFIND|PROPPATCH|SEARCH|UNLOCK|BIND|REBIND|UNBIND|ACL|` +
	`REPORT|MKACTIVITY|CHECKOUT|MERGE|M-SEARCH|NOTIFY|SUBSCRIBE|UNSUBSCRIBE|PURGE|MKCALENDAR|LINK|UNLINK|SOURCE|QUERY`

// weNeverTake is what net/http takes at times, and we never do.
var weNeverTake = differences{
	{"a bare LF ends a line for some, and not for others", inHead(func(line string, fields []string) bool {
		return strings.Contains(line+strings.Join(fields, ""), "\n")
	})},
	{"a method that the Node server does not know is none", not(inLine(`^(?:` + nodeMethods + `) `))},
	{"there is HTTP/1.0 and HTTP/1.1", not(inLine(` HTTP/1\.[01]$`))},
	{"a line that begins with a blank goes on the one before for some", inField(`^[ \t]`)},
	{"a name is a token, without a blank behind it", inField(`^[^:]*[^!#-'*+.0-9A-Z^_a-z|~:\x60-]`)},
	{"HTTP/1.1 has a Host", both(inLine(` HTTP/1\.1$`), fieldsOf("Host", none))},
	{"there is one length", fieldsOf("Content-Length", several)},
	{"a length beside chunks is smuggling", both(not(fieldsOf("Content-Length", none)), not(fieldsOf("Transfer-Encoding", none)))},
	{"HTTP/1.0 has no chunks", both(inLine(`HTTP/1\.0$`), not(fieldsOf("Transfer-Encoding", none)))},
}

// weRefuse is what else net/http takes and we do not.
var weRefuse = differences{
	{"a target is a path, a URL of ours or *", not(inLine(`^[A-Z-]+ (?:/|\* |(?i:https?)://[^/?# ])`))},
	{"* is for OPTIONS alone (RFC 9112, 3.2.4)", both(inLine(`^[A-Z-]+ \* `), not(inLine(`^OPTIONS `)))},
	{"a Host is a name or an address", inField(`(?i)^Host:.*(?:[^:] +[^ ]|[],/@%[#?|<>"{}^\x60\\]|:[^0-9]|[\x00-\x1f])`)},
	{"what frames a body is no trailer, and its name is a token", either(inField(`(?i)^Trailer:`),
		matches(`\r\n0[^\r\n]*\r\n(?:[^\r\n]+\r\n)*(?i:Content-Length|Transfer-Encoding):`))},
	{"a bare LF ends a line of a body for some, and not for others", matches(`\r\n\r\n(?:[^\r]*\r\n)*[^\r]*\n`)},
	{"a head has at most 16 KiB", func(rest string) bool { return len(rest) > MaxHead }},
}

// goRefuses is what we take and net/http does not.
var goRefuses = differences{
	{"empty lines before a request are skipped (RFC 9112, 2.2)", matches(`^\r\n`)},
	{"a percent sign that encodes nothing stands for itself, as in Node", inLine(`%(?:[^0-9A-Fa-f]|[0-9A-Fa-f](?:[^0-9A-Fa-f]))`)},
}
