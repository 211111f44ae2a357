package doctor

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Severity says what a Finding asks for.
type Severity uint8

// A Note asks for nothing; a Warning is about what fails under load or later; with an Error something fails now.
const (
	Note Severity = iota + 1
	Warning
	Error
)

var severities = map[Severity]string{Note: "note", Warning: "warning", Error: "error"}

func (s Severity) String() string { return severities[s] }

// MarshalText writes the word.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing that an operator should know. It never quotes a secret.
type Finding struct {
	Code     string   `json:"code"` // short and stable
	Severity Severity `json:"severity"`
	Where    string   `json:"where"`  // file:line, a key of the configuration, a kernel setting, or Redis
	Found    string   `json:"found"`  // what is there
	Why      string   `json:"why"`    // what comes of it
	Change   string   `json:"change"` // the line to write, or what to do; "" where nothing has to be done
}

// Report is all that was found, the worst first.
type Report struct {
	Findings []Finding `json:"findings"`
}

func (r *Report) add(s Severity, code, where, found, why, change string) {
	r.Findings = append(r.Findings, Finding{Code: code, Severity: s, Where: where, Found: found, Why: why, Change: change})
}

// sort has the worst come first. What is found once more in the same place is left out.
func (r *Report) sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	seen := make(map[Finding]bool, len(r.Findings))
	r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool {
		twice := seen[f]
		seen[f] = true
		return twice
	})
}

// Count is how many findings are of that severity.
func (r *Report) Count(s Severity) (n int) {
	for i := range r.Findings {
		if r.Findings[i].Severity == s {
			n++
		}
	}
	return n
}

// Print writes the findings for people.
func (r *Report) Print(w io.Writer) {
	for i := range r.Findings {
		f := &r.Findings[i]
		fmt.Fprintf(w, "%s %s: %s: %s\n", f.Severity, f.Code, f.Where, f.Found)
		fmt.Fprintf(w, "    why     %s\n", f.Why)
		for n, line := range strings.Split(f.Change, "\n") {
			label := "change"
			if n > 0 {
				label = ""
			}
			if line != "" {
				fmt.Fprintf(w, "    %-7s %s\n", label, line)
			}
		}
	}
}
