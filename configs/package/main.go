// Command package makes everything that is released of a version: packages for Debian and RPM, tarballs, an image for containers, the
// licences of what is in it, bills of materials, checksums. Twice the same source gives twice the same bytes, wherever and whenever.
//
// It is a module of its own, so that what packages are made with is nothing that the server needs. make package runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	r := &release{}
	flags := flag.NewFlagSet("package", flag.ContinueOnError)
	flags.StringVar(&r.root, "root", "../..", "`folder` of the source")
	flags.StringVar(&r.out, "out", "../../dist", "`folder` for what is made")
	flags.StringVar(&r.version, "version", "unknown", "what git describe says")
	commits := flags.Int("commits", 0, "`number` of commits so far, for versions without a tag")
	seconds := flags.Int64("date", 0, "date of the source, `seconds` since 1970")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r.archs, r.date, r.packageVersion = flags.Args(), time.Unix(*seconds, 0).UTC(), packageVersion(r.version, *commits)
	if len(r.archs) == 0 {
		r.archs = []string{runtime.GOARCH}
	}
	return r.make(ctx)
}

// release is a version of the server for some architectures.
type release struct {
	root, out      string
	version        string // as the program says it
	packageVersion string // as packages compare it
	archs          []string
	date           time.Time // of everything

	work     string // folder for what is on its way
	goRoot   string
	licences []byte // of all modules in the program
}

func (r *release) make(ctx context.Context) (err error) {
	if r.root, err = filepath.Abs(r.root); err != nil {
		return err
	}
	if r.out, err = filepath.Abs(r.out); err != nil {
		return err
	}
	if r.work, err = os.MkdirTemp("", "package"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.work)) }()
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	for _, arch := range withNative(r.archs) {
		if err := r.build(ctx, arch); err != nil {
			return err
		}
	}
	goRoot, err := goCommand(ctx, r.root, "env", "GOROOT")
	if err != nil {
		return err
	}
	r.goRoot = strings.TrimSpace(string(goRoot))
	if r.licences, err = collectLicences(ctx, r.root, r.goRoot, r.binary(r.archs[0])); err != nil {
		return err
	}
	for _, arch := range r.archs {
		if err := r.pack(ctx, arch); err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
	}
	if err := r.image(); err != nil {
		return err
	}
	return writeChecksums(r.out)
}

// pack makes all that is for one architecture.
func (r *release) pack(ctx context.Context, arch string) error {
	if err := r.bill(arch); err != nil {
		return err
	}
	for _, place := range []place{ofTarball, ofPackages} {
		if err := r.stage(ctx, arch, place); err != nil {
			return err
		}
	}
	if err := r.tarball(arch); err != nil {
		return err
	}
	for _, format := range []string{"deb", "rpm"} {
		if err := r.distribution(arch, format); err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
	}
	return nil
}

// withNative adds the architecture of this machine, whose program writes man pages and completions.
func withNative(archs []string) []string {
	if slices.Contains(archs, runtime.GOARCH) {
		return archs
	}
	return append([]string{runtime.GOARCH}, archs...)
}

var tag = regexp.MustCompile(`^\d+\.\d+`)

// packageVersion makes of what git describe says (v1.2.3, v1.2.3-4-gabcdef, abcdef, each perhaps with -dirty) a version that package
// managers take, and that grows.
func packageVersion(described string, commits int) string {
	described, dirty := strings.CutSuffix(described, "-dirty")
	version := strings.TrimPrefix(described, "v")
	if !tag.MatchString(version) {
		version = fmt.Sprintf("0.0.0+%d.%s", commits, described)
	}
	if before, behind, ok := strings.Cut(version, "-"); ok {
		version = before + "+" + strings.ReplaceAll(behind, "-", ".")
	}
	if dirty {
		version += ".dirty"
	}
	return version
}
