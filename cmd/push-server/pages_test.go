package main

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are the texts for people, by their path from the top of the repository.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md", "configs/*.md", "engine/*.md", "protocol/*.md", "bench/*.md"} {
		names, err := filepath.Glob("../../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts[strings.TrimPrefix(name, "../../")] = string(text)
		}
	}
	return texts
}

var (
	linkOfPage  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors are what links into a page may name: its headings, as sites that show Markdown spell them.
func anchors(text string) map[string]bool {
	found := make(map[string]bool)
	for line := range strings.Lines(text) {
		if heading := strings.TrimLeft(line, "#"); heading != line && strings.HasPrefix(heading, " ") {
			words := notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			found[strings.ReplaceAll(words, " ", "-")] = true
		}
	}
	return found
}

// Links between pages lead to files and headings that are there.
func TestLinksOfPages(t *testing.T) {
	texts := pages(t)
	if len(texts) < 10 {
		t.Fatalf("%d pages", len(texts))
	}
	for page, text := range texts {
		for _, link := range linkOfPage.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			name := page
			if target != "" {
				name = path.Join(path.Dir(page), target)
			}
			if _, err := os.Stat("../../" + name); err != nil {
				t.Errorf("%s: %s leads nowhere", page, link[1])
			} else if anchor != "" && !anchors(texts[name])[anchor] {
				t.Errorf("%s: %s: no such heading", page, link[1])
			}
		}
	}
}

var quoted = regexp.MustCompile("`([^`]+)`")

// What docs/troubleshoot.md quotes from the log is what the server says.
func TestQuotedLogLines(t *testing.T) {
	var source strings.Builder
	err := fs.WalkDir(os.DirFS("../.."), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			text, err := os.ReadFile("../../" + name)
			source.Write(text)
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(pages(t)["docs/troubleshoot.md"], "\n## Redis\n")
	section, _, _ = strings.Cut(section, "\n## ")
	lines := 0
	for line := range strings.Lines(section) {
		says, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		if strings.HasSuffix(says, "in an error") {
			continue // of Redis
		}
		for _, text := range quoted.FindAllStringSubmatch(says, -1) {
			if lines++; text[1] != "/readyz" && !strings.Contains(source.String(), text[1]) {
				t.Errorf("nothing says %q", text[1])
			}
		}
	}
	if lines < 5 {
		t.Errorf("%d lines are quoted", lines)
	}
}
