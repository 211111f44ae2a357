package replay

import (
	"fmt"
	"strings"
	"time"
)

// A Conversation is one file: what must be running, and the steps in order.
type Conversation struct {
	Path     string
	Lines    []string // the text of the file
	Config   string   // the server group that it needs
	Slow     bool     // takes longer than ten seconds
	Timeout  time.Duration
	Channels []string
	Steps    []Step
}

// A Step is one thing that happens: an action, a write, or an expectation.
type Step struct {
	Line int    // first line in the file, counted from 1
	Verb string // "send", "expect", "either" or one of the action words
	Conn string // the connection it concerns, if any
	Args string // the words behind an action word
	// Parts are the lines of a write or of an expectation.
	Parts []Part
	// Alternatives are the branches of an either.
	Alternatives [][]Step
}

// A Part is one line of a write or of an expectation, such as
// kind "message" with its text. A plain line has the kind "".
type Part struct {
	Line       int
	Kind, Text string
}

// actions lists the words that start an action, and whether the first
// argument names a connection.
var actions = map[string]bool{
	"open": true, "poll": true, "upgrade": true, "post": true, "redis": true,
	"close": true, "abort": true, "shutdown": true,
	"publish": false, "sleep": false, "let": false,
}

// bodyKinds are the kinds that may describe the body of an HTTP response.
var bodyKinds = map[string]bool{
	"|": true, "hex": true, "proto": true, "message": true, "json": true, "jsoneach": true,
}

// A parser walks over the lines of one file.
type parser struct {
	conv *Conversation
	next int // index of the line to be read next
}

// parse reads a conversation from its text.
func parse(path, text string) (*Conversation, error) {
	p := &parser{conv: &Conversation{
		Path:    path,
		Lines:   strings.Split(strings.TrimSuffix(text, "\n"), "\n"),
		Config:  "default",
		Timeout: 5 * time.Second,
	}}
	steps, end, err := p.steps()
	if err == nil && end != "" {
		err = p.errorf("%q without either", end)
	}
	p.conv.Steps = steps
	return p.conv, err
}

// steps reads up to the end of the file, or to an "or" or "end" line, whose
// word it returns.
func (p *parser) steps() (steps []Step, end string, err error) {
	for p.next < len(p.conv.Lines) {
		line := strings.TrimLeft(p.conv.Lines[p.next], " \t")
		p.next++
		if line == "" || line[0] == '#' {
			continue
		}
		word, args, _ := strings.Cut(line, " ")
		if word == "or" || word == "end" {
			return steps, word, nil
		}
		steps, err = p.line(steps, word, args)
		if err != nil {
			return nil, "", err
		}
	}
	return steps, "", nil
}

// line adds what one line says to steps.
func (p *parser) line(steps []Step, word, args string) ([]Step, error) {
	args = strings.TrimLeft(args, " ")
	if known, err := p.header(word, args); known || err != nil {
		return steps, err
	}
	if word == "either" {
		step, err := p.either()
		return append(steps, step), err
	}
	step := Step{Line: p.next, Verb: word, Args: strings.TrimSpace(args)}
	named, isAction := actions[word]
	if !isAction {
		return p.arrow(steps, word, args)
	}
	if named {
		step.Conn, step.Args, _ = strings.Cut(step.Args, " ")
	}
	return append(steps, step), nil
}

// header handles the lines that describe the conversation as a whole.
func (p *parser) header(word, args string) (known bool, err error) {
	switch word {
	case "config":
		p.conv.Config = strings.TrimSpace(args)
	case "slow":
		p.conv.Slow = true
	case "timeout":
		p.conv.Timeout, err = time.ParseDuration(strings.TrimSpace(args))
	case "channel":
		p.conv.Channels = append(p.conv.Channels, strings.Fields(args)...)
	default:
		return false, nil
	}
	if err != nil {
		err = p.errorf("%v", err)
	}
	return true, err
}

// either reads the branches up to the matching end. Branches may only hold
// expectations, because a write cannot be taken back.
func (p *parser) either() (Step, error) {
	step := Step{Line: p.next, Verb: "either"}
	for {
		branch, end, err := p.steps()
		if err != nil {
			return step, err
		}
		for _, s := range branch {
			if s.Verb != "expect" {
				return step, fmt.Errorf("%s:%d: only expectations may stand in either", p.conv.Path, s.Line)
			}
		}
		step.Alternatives = append(step.Alternatives, branch)
		if end == "" {
			return step, fmt.Errorf("%s:%d: either without end", p.conv.Path, step.Line)
		}
		if end == "end" {
			return step, nil
		}
	}
}

// arrow reads "NAME >kind text" or "NAME <kind text" and joins it to the
// step before where both belong together.
func (p *parser) arrow(steps []Step, name, rest string) ([]Step, error) {
	if rest == "" || rest[0] != '>' && rest[0] != '<' {
		return nil, p.errorf("do not understand %q", name+" "+rest)
	}
	part := Part{Line: p.next}
	part.Kind, part.Text, _ = strings.Cut(rest[1:], " ")
	if isBlock(part.Kind) {
		part.Text = p.block(part.Text)
	}
	verb := "send"
	if rest[0] == '<' {
		verb = "expect"
	}
	if n := len(steps); n > 0 && steps[n-1].accepts(name, verb, part) {
		steps[n-1].Parts = append(steps[n-1].Parts, part)
		return steps, nil
	}
	return append(steps, Step{Line: part.Line, Verb: verb, Conn: name, Parts: []Part{part}}), nil
}

// isBlock reports whether text of this kind may run over several lines, up
// to its closing brace.
func isBlock(kind string) bool {
	switch kind {
	case "proto", "fragments", "batch", "response", "notification", "publish", "store", "stored", "json", "jsoneach":
		return true
	}
	return false
}

// block appends following lines to text until its braces are balanced.
func (p *parser) block(text string) string {
	for braceDepth(text) > 0 && p.next < len(p.conv.Lines) {
		text += "\n" + p.conv.Lines[p.next]
		p.next++
	}
	return text
}

// accepts reports whether part continues the step: lines to one connection
// that follow each other are one write, and the lines of an HTTP response
// are one expectation.
func (s *Step) accepts(name, verb string, part Part) bool {
	if s.Conn != name || s.Verb != verb {
		return false
	}
	if verb == "send" {
		return true
	}
	if s.Parts[0].Kind != "" {
		return false
	}
	if !s.headComplete() {
		return part.Kind == ""
	}
	return bodyKinds[part.Kind] && !hasNoBody(s.Parts[0].Text)
}

// headComplete reports whether the blank line behind the headers was read.
func (s *Step) headComplete() bool {
	for _, part := range s.Parts {
		if part.Kind == "" && part.Text == "" {
			return true
		}
	}
	return false
}

// hasNoBody reports whether the status line is that of an interim response,
// behind which something else begins.
func hasNoBody(status string) bool {
	return strings.HasPrefix(status, "HTTP/1.1 1")
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", p.conv.Path, p.next, fmt.Sprintf(format, args...))
}
