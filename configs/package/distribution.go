package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // a format of packages
	_ "github.com/goreleaser/nfpm/v2/rpm" // another one
)

// distribution makes a package for a distribution. nfpm.yaml says what is in it.
func (r *release) distribution(arch, format string) error {
	text, err := os.ReadFile(filepath.Join(r.root, "configs/package/nfpm.yaml"))
	if err != nil {
		return err
	}
	values := map[string]string{
		"VERSION": r.packageVersion, "ARCH": arch, "STAGE": r.staged(arch, ofPackages), "HERE": filepath.Join(r.root, "configs/package"),
	}
	value := func(name string) string { return values[name] }
	config, err := nfpm.ParseWithEnvMapping(strings.NewReader(os.Expand(string(text), value)), value)
	if err != nil {
		return err
	}
	info, err := config.Get(format)
	if err != nil {
		return err
	}
	info.MTime = r.date
	info = nfpm.WithDefaults(info)
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	info.Target = filepath.Join(r.out, packager.ConventionalFileName(info))
	var b bytes.Buffer
	if err := packager.Package(info, &b); err != nil {
		return err
	}
	return os.WriteFile(info.Target, b.Bytes(), 0o644)
}
