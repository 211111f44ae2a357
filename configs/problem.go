package configs

import "strings"

// Severity says whether the server starts in spite of a Problem.
type Severity uint8

// Error keeps the server from starting; with a Warning it starts, and does what the text says.
const (
	Warning Severity = iota + 1
	Error
)

func (s Severity) String() string {
	if s == Error {
		return "error"
	}
	return "warning"
}

// Problem is one thing that is wrong with a configuration. It never quotes a secret.
type Problem struct {
	File       string // "" when the Config was not read from a file
	Key        string // path of the key, such as servers[0].port; "" when it is about the whole file
	Severity   Severity
	Text       string
	Suggestion string // what to write instead; "" when there is nothing to say
}

// String is one line: FILE: KEY: severity: text (suggestion).
func (p Problem) String() string {
	var b strings.Builder
	for _, s := range []string{p.File, p.Key, p.Severity.String()} {
		if s != "" {
			b.WriteString(s + ": ")
		}
	}
	b.WriteString(p.Text)
	if p.Suggestion != "" {
		b.WriteString(" (" + p.Suggestion + ")")
	}
	return b.String()
}
