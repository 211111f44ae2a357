package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	classifier "github.com/google/licenseclassifier/v2"
	"github.com/google/licenseclassifier/v2/assets"
)

// accepted are licences that ask for no more than that their text comes along.
var accepted = []string{"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "BSL-1.0", "ISC", "0BSD", "Unlicense", "CC0-1.0"}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([-.].*)?$`)

// collectLicences returns the licences of Go and of all modules in a program. It fails where one has none, or one that is not accepted.
func collectLicences(ctx context.Context, root, goRoot, program string) ([]byte, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	names, err := assets.DefaultClassifier()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	text.WriteString("push-server is under the MIT licence. In it are Go and these modules, under licences of their own:\n")
	if err := addLicences(&text, names, "Go "+info.GoVersion, goRoot, false); err != nil {
		return nil, err
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		found, err := goCommand(ctx, root, "mod", "download", "-json", m.Path+"@"+m.Version)
		if err != nil {
			return nil, err
		}
		var module struct{ Dir string }
		if err := json.Unmarshal(found, &module); err != nil {
			return nil, err
		}
		if err := addLicences(&text, names, m.Path+" "+m.Version, module.Dir, true); err != nil {
			return nil, err
		}
	}
	return text.Bytes(), nil
}

func goCommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", cmd.Args, err)
	}
	return out, nil
}

// addLicences adds the licence files of a folder and, for deep, of those in it: parts of a module may have another one.
func addLicences(to *bytes.Buffer, names *classifier.Classifier, what, dir string, deep bool) error {
	known := false
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != dir && (!deep || entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), "_")):
			return fs.SkipDir
		case entry.IsDir() || !licenceFile.MatchString(entry.Name()) || filepath.Ext(name) == ".go":
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		ids, err := classify(names, text)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", what, entry.Name(), err)
		}
		known = known || filepath.Dir(name) == dir && len(ids) > 0
		inside, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(to, "\n%s\n%s, %s: %s\n\n%s\n", strings.Repeat("=", 80), what, inside, strings.Join(ids, ", "), bytes.TrimSpace(text))
		return nil
	})
	if err == nil && !known {
		err = fmt.Errorf("%s has no licence that is known", what)
	}
	return err
}

// classify names the licences of a text. One that is not accepted is an error.
func classify(names *classifier.Classifier, text []byte) (ids []string, err error) {
	for _, m := range names.Match(text).Matches {
		if m.MatchType != "License" && m.MatchType != "Header" || slices.Contains(ids, m.Name) {
			continue
		}
		if !slices.Contains(accepted, m.Name) {
			return nil, fmt.Errorf("%s is not among the accepted licences", m.Name)
		}
		ids = append(ids, m.Name)
	}
	slices.Sort(ids)
	return ids, nil
}
