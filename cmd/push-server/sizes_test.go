package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// What one sitting can take in.
const (
	maxFunctionLines = 60
	maxFileLines     = 450
	maxEngineFiles   = 30
)

// TestSizes keeps functions, files and the folder of the engine small. Generated code may be of any size.
func TestSizes(t *testing.T) {
	inEngine := 0
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || len(name) > 1 && strings.HasPrefix(entry.Name(), ".")):
			return fs.SkipDir
		case path.Ext(name) != ".go":
			return nil
		}
		if path.Dir(name) == "engine" && !strings.HasSuffix(name, "_test.go") {
			inEngine++
		}
		text, err := fs.ReadFile(root, name)
		if err == nil {
			checkSizes(t, name, text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if inEngine > maxEngineFiles {
		t.Errorf("engine has %d files, at most %d", inEngine, maxEngineFiles)
	}
}

func checkSizes(t *testing.T, name string, text []byte) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if ast.IsGenerated(file) {
		return
	}
	if n := bytes.Count(text, []byte("\n")); n > maxFileLines {
		t.Errorf("%s has %d lines, at most %d", name, n, maxFileLines)
	}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok {
			if n := files.Position(f.End()).Line - files.Position(f.Pos()).Line + 1; n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, at most %d", name, f.Name.Name, n, maxFunctionLines)
			}
		}
	}
}
