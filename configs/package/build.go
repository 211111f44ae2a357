package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// place is where files of a stage are meant to go.
type place string

const (
	ofTarball  place = "/usr/local"
	ofPackages place = "/usr"
)

func (r *release) binary(arch string) string {
	return filepath.Join(r.work, "bin", arch, "push-server")
}

// staged is the folder with the files of an architecture as they are to be installed, below the root of the system.
func (r *release) staged(arch string, p place) string {
	return filepath.Join(r.work, arch, filepath.Base(string(p)))
}

// build makes the program. It says its version itself, so that the state of a repository, which others need not have, is left out.
func (r *release) build(ctx context.Context, arch string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version="+r.version,
		"-o", r.binary(arch), "./cmd/push-server")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0")
	return r.run(cmd)
}

func (r *release) run(cmd *exec.Cmd) error {
	cmd.Dir = r.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return nil
}

// stage lets make install put everything in its place, adds what only releases have, and takes away what differs between machines.
func (r *release) stage(ctx context.Context, arch string, p place) error {
	root := r.staged(arch, p)
	user := "bitrix"
	if p == ofPackages {
		user = "push-server" // scripts/install.sh knows better once it is there
	}
	cmd := exec.CommandContext(ctx, "make", "install", "DESTDIR="+root, "PREFIX="+string(p), "RUN_AS="+user, "SERVER="+r.binary(runtime.GOARCH),
		fmt.Sprintf("DATE=%d", r.date.Unix()))
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "LC_ALL=C")
	if err := r.run(cmd); err != nil {
		return err
	}
	inside := func(name string) string { return filepath.Join(root, string(p), name) }
	text, err := os.ReadFile(r.binary(arch))
	if err != nil {
		return err
	}
	bill, err := os.ReadFile(r.billFile(arch))
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{
		"bin/push-server": text, "share/doc/push-server/THIRD_PARTY_LICENSES": r.licences, "share/doc/push-server/sbom.cdx.json": bill,
	} {
		if err := os.WriteFile(inside(name), text, 0o644); err != nil {
			return err
		}
	}
	return r.normalise(root)
}

// normalise sets modes and times.
func (r *release) normalise(root string) error {
	return filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if entry.IsDir() || filepath.Base(filepath.Dir(name)) == "bin" {
			mode = 0o755
		}
		if err := os.Chmod(name, mode); err != nil {
			return err
		}
		return os.Chtimes(name, r.date, r.date)
	})
}
