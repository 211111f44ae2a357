package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestPackageVersion(t *testing.T) {
	f := func(described, want string) {
		t.Helper()
		if got := packageVersion(described, 245); got != want {
			t.Errorf("%s: got %s, want %s", described, got, want)
		}
	}
	f("v1.2.3", "1.2.3")
	f("1.2.3", "1.2.3")
	f("v1.2.3-4-gabcdef0", "1.2.3+4.gabcdef0")
	f("v1.2.3-dirty", "1.2.3.dirty")
	f("abcdef0", "0.0.0+245.abcdef0")
	f("1abcdef", "0.0.0+245.1abcdef")
	f("vabcdef-dirty", "0.0.0+245.vabcdef.dirty")
	f("unknown", "0.0.0+245.unknown")
}

// Two releases for this machine are made, once for all tests.
var old, newer = releaseOf("v1.2.3"), releaseOf("v1.2.4")

type madeRelease func() (dir string, err error)

func releaseOf(version string) madeRelease {
	return sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "release")
		if err != nil {
			return "", err
		}
		return dir, makeRelease("../..", dir, version)
	})
}

func makeRelease(root, out, version string) error {
	return run(context.Background(), []string{"-root", root, "-out", out, "-version", version, "-date", "1790000000", runtime.GOARCH})
}

func releaseFile(t *testing.T, made madeRelease, pattern string) string {
	t.Helper()
	dir, err := made()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) != 1 {
		t.Fatal(pattern, files, err)
	}
	return files[0]
}

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv("PUSH_TEST_SLOW") != "" {
		for _, made := range []madeRelease{old, newer} {
			if dir, err := made(); err == nil {
				os.RemoveAll(dir)
			}
		}
	}
	os.Exit(code)
}

// TestReproducible makes the same version once more: of a copy of the source elsewhere, in another time zone, with another umask.
func TestReproducible(t *testing.T) {
	rootNeeded(t)
	first, err := old()
	if err != nil {
		t.Fatal(err)
	}
	source, second := filepath.Join(t.TempDir(), "elsewhere"), t.TempDir()
	if err := os.Mkdir(source, 0o700); err != nil {
		t.Fatal(err)
	}
	copied := "for part in cmd configs docs engine poll protocol redisbus go.mod go.sum Makefile README.md LICENSE; do " +
		"[ ! -e $part ] || cp -r $part " + source + "; done"
	cmd := exec.Command("sh", "-c", copied)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("TZ", "Pacific/Auckland")
	t.Setenv("LC_ALL", "C")
	defer syscall.Umask(syscall.Umask(0o077))
	if err := makeRelease(source, second, "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("diff", "-r", first, second).CombinedOutput(); err != nil {
		t.Errorf("the second time other bytes came out: %v\n%s", err, out)
	}
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = second
	if out, err := check.CombinedOutput(); err != nil || bytes.Count(out, []byte(": OK")) != 5 {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestTarball unpacks it as the documentation says.
func TestTarball(t *testing.T) {
	rootNeeded(t)
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xzf", releaseFile(t, old, "*.tar.gz"), "-C", dir, "--strip-components=1").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(filepath.Join(dir, "bin/push-server"), "check", "--config", filepath.Join(dir, "share/push-server/standalone.json")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "no error") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = exec.Command(filepath.Join(dir, "bin/push-server"), "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "push-server v1.2.3 ") {
		t.Errorf("%v\n%s", err, out)
	}
	file, err := exec.Command("ldd", filepath.Join(dir, "bin/push-server")).CombinedOutput()
	var failure *exec.ExitError
	if !errors.As(err, &failure) {
		t.Errorf("the program needs libraries:\n%s", file)
	}
	for _, name := range []string{
		"lib/systemd/system/push-server-one.service", "share/man/man1/push-server.1", "share/bash-completion/completions/push-server",
		"share/doc/push-server/THIRD_PARTY_LICENSES", "share/push-server/etc/default/push-server",
	} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

var fileOfRelease = regexp.MustCompile(`push-server[-_]1\.2\.3[-_]\S+`)

// TestFilesOfPages: commands of the documentation name files that a release has.
func TestFilesOfPages(t *testing.T) {
	rootNeeded(t)
	dir, err := old()
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, page := range []string{"../../docs/install.md", "../MIGRATION.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range fileOfRelease.FindAllString(string(text), -1) {
			named++
			if runtime.GOARCH != "amd64" {
				name = strings.NewReplacer("amd64", "*", "x86_64", "*").Replace(name)
			}
			if found, err := filepath.Glob(filepath.Join(dir, name)); err != nil || len(found) != 1 {
				t.Errorf("%s: a release has no %s", page, name)
			}
		}
	}
	if named < 4 {
		t.Errorf("%d files are named", named)
	}
}

func TestLicencesAndBill(t *testing.T) {
	rootNeeded(t)
	var text []byte
	dir := t.TempDir()
	out, err := exec.Command("tar", "-xzf", releaseFile(t, old, "*.tar.gz"), "-C", dir, "--strip-components=1").CombinedOutput()
	if err == nil {
		text, err = os.ReadFile(filepath.Join(dir, "share/doc/push-server/THIRD_PARTY_LICENSES"))
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	bill, err := os.ReadFile(releaseFile(t, old, "*.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range []string{"github.com/panjf2000/gnet/v2", "github.com/bytedance/sonic", "github.com/redis/rueidis"} {
		if !strings.Contains(string(text), "\n"+module+" v") {
			t.Errorf("no licence of %s", module)
		}
		if !strings.Contains(string(bill), fmt.Sprintf(`"name": %q`, module)) {
			t.Errorf("%s is not in the bill of materials", module)
		}
	}
	for _, tool := range []string{"nfpm", "gonum.org/v1/plot"} {
		if strings.Contains(string(text), tool) || strings.Contains(string(bill), tool) {
			t.Errorf("%s is no part of the server", tool)
		}
	}
}
