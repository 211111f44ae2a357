package configs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Load reads each path: a file gives one Config, a folder one for each of its files *.json in order of name, but for templates and
// hidden ones. It
// returns all that could be read and all that is wrong with them; use them only if the problems are Valid.
func Load(paths ...string) ([]*Config, []Problem) {
	var all []*Config
	var problems []Problem
	for _, path := range paths {
		files, err := expand(path)
		if err != nil {
			problems = append(problems, Problem{File: path, Severity: Error, Text: err.Error()})
		}
		for _, file := range files {
			c, found := loadFile(file)
			problems = append(problems, found...)
			if c != nil {
				all = append(all, c)
			}
		}
	}
	return all, problems
}

func expand(path string) ([]string, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, reason(err)
	}
	if !stat.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted
	if err != nil {
		return nil, reason(err)
	}
	var files []string
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".json" && !e.IsDir() && e.Name()[0] != '.' && !isTemplate(e.Name()) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if files == nil {
		return nil, fmt.Errorf("the folder has no file whose name ends in .json")
	}
	return files, nil
}

// isTemplate knows what push-server-multi makes the other files of the folder from.
func isTemplate(name string) bool { return strings.Contains(name, "__PORT__") }

// maxFile bounds a file, which may be something else by mistake.
const maxFile = 1 << 20

func loadFile(file string) (*Config, []Problem) {
	text, err := readFile(file)
	if err != nil {
		return nil, []Problem{{File: file, Severity: Error, Text: reason(err).Error()}}
	}
	return parse(file, text)
}

func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("has more than %d bytes, so it is no configuration", maxFile)
	}
	return text, err
}

// reason leaves the path out of an error, since a Problem names it already.
func reason(err error) error {
	if e, ok := err.(*os.PathError); ok {
		return e.Err
	}
	return err
}

func parse(file string, text []byte) (*Config, []Problem) {
	text = bytes.TrimPrefix(text, byteOrderMark)
	root, err := parseTree(text)
	if err != nil {
		return nil, []Problem{{File: file, Severity: Error, Text: "not JSON: " + err.Error(), Suggestion: remedy(text, err)}}
	}
	d := decoder{config: Default()}
	d.config.File = file
	d.encoding(text)
	d.section("", root, nil)
	for i := range d.config.Servers {
		d.config.Servers[i].file = file
	}
	d.modes(root)
	d.repair()
	for i := range d.problems {
		d.problems[i].File = file
	}
	return d.config, append(d.problems, d.config.Validate()...)
}
