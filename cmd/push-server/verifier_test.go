package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// A verifier looks whether what a command names is there, without running it.
type verifier struct {
	t        *testing.T
	examples *examples
	root     *cobra.Command
	dir      string            // what make install has installed in it
	help     map[string]string // by program; "seen" for words of make
	known    string            // where variables and files that are not installed have to stand
}

func newVerifier(t *testing.T, x *examples) *verifier {
	t.Helper()
	v := &verifier{t: t, examples: x, dir: t.TempDir(), root: rootCommand(io.Discard, io.Discard), help: make(map[string]string)}
	v.root.InitDefaultHelpCmd()
	out, err := exec.Command("make", "-C", "../..", "install", "DESTDIR="+v.dir, "SERVER="+filepath.Join(x.dir, "bin/push-server")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, file := range []string{"environment.go", "compose/compose.yaml", "bitrixvm/push-server-multi"} {
		text, err := os.ReadFile("../../configs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		v.known += string(text)
	}
	return v
}

// script looks at each command of a script.
func (v *verifier) script(where, text string) {
	v.t.Helper()
	if out, err := exec.Command("bash", "-n", "-c", text).CombinedOutput(); err != nil {
		v.t.Errorf("%s: %v\n%s", where, err, out)
	}
	dir := "../.."
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.NewReplacer("&&", "\n", "|", "\n", ";", "\n", `"`, "", "'", "").Replace(line)
		for command := range strings.Lines(line) {
			if err := v.command(&dir, strings.Fields(command)); err != nil {
				v.t.Errorf("%s: %s: %v", where, strings.TrimSpace(command), err)
			}
		}
	}
}

func (v *verifier) command(dir *string, words []string) error {
	for len(words) > 0 && strings.Contains(words[0], "=") {
		if err := v.variable(words[0]); err != nil {
			return err
		}
		words = words[1:]
	}
	if len(words) == 0 {
		return nil
	}
	rule := v.rule(words[0])
	if rule == nil {
		return fmt.Errorf("the verifier has no rule for %s", words[0])
	}
	for _, word := range words {
		if err := v.path(word); err != nil {
			return err
		}
	}
	if words[0] == "cd" {
		*dir = filepath.Join(*dir, words[1])
		_, err := os.Stat(*dir)
		return err
	}
	return rule(words[1:])
}

// rule is what has to be true of the arguments of a program.
func (v *verifier) rule(program string) func(args []string) error {
	switch name := filepath.Base(program); name {
	case "make":
		return v.makes
	case "push-server":
		return v.serverCommand
	case "push-bench":
		return func(args []string) error { return v.flags("push-bench "+args[0], args) }
	case "push-server-multi":
		return v.verb
	case "systemctl", "journalctl":
		return func(args []string) error { return v.unit(name, args) }
	case "docker":
		return v.container
	case "sysctl":
		return v.setting
	case "useradd", "usermod":
		return func(args []string) error { return v.flags(name, args) }
	case "cd", "cp", "mv", "cat", "tar", "chown", "chmod", "printf", "curl", "sha256sum", "nginx", "apt", "dnf":
		return func([]string) error { return nil }
	}
	return nil
}

func (v *verifier) makes(args []string) error {
	words := "make " + strings.Join(args, " ")
	if v.help[words] != "" {
		return nil
	}
	v.help[words] = "seen"
	if out, err := exec.Command(filepath.Join(v.examples.dir, "bin/make"), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

func (v *verifier) serverCommand(args []string) error {
	cmd, rest, err := v.root.Find(args)
	if err != nil {
		return err
	}
	for _, arg := range rest {
		if name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "="); strings.HasPrefix(arg, "--") && cmd.Flag(name) == nil {
			return fmt.Errorf("there is no %s", arg)
		}
	}
	return nil
}

// flags looks for those that are given in the help of a program.
func (v *verifier) flags(program string, args []string) error {
	if v.help[program] == "" {
		out, err := exec.Command("bash", "-c", "PATH="+filepath.Join(v.examples.dir, "bin")+":$PATH:/usr/sbin:/sbin; "+program+" --help").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		v.help[program] = string(out)
	}
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") && !strings.Contains(v.help[program], arg) {
			return fmt.Errorf("%s has no %s", program, arg)
		}
	}
	return nil
}

func (v *verifier) verb(args []string) error {
	if !strings.Contains(v.known, "\n  "+args[0]+" ") {
		return fmt.Errorf("there is no %s", args[0])
	}
	return nil
}

// unit wants every unit to be one of the project.
func (v *verifier) unit(program string, args []string) error {
	if err := v.flags(program, args); err != nil {
		return err
	}
	for i, arg := range args {
		named := program == "systemctl" && i > 0 && args[i-1] != "-p" || i > 0 && slices.Contains([]string{"-u", "--unit"}, args[i-1])
		if !named || strings.HasPrefix(arg, "-") {
			continue
		}
		if _, err := os.Stat("../../configs/systemd/" + arg + ".service"); err != nil {
			return err
		}
	}
	return nil
}

// container looks at the variables that a container is given, and at the command of the server in it.
func (v *verifier) container(args []string) error {
	for i, arg := range args {
		if i > 0 && args[i-1] == "-e" {
			if err := v.variable(arg); err != nil {
				return err
			}
		}
	}
	if at := slices.Index(args, "push-server"); at > 0 && args[0] == "run" && at+1 < len(args) {
		return v.serverCommand(args[at+1:])
	}
	return nil
}

func (v *verifier) variable(assignment string) error {
	if name, _, _ := strings.Cut(assignment, "="); !strings.Contains(v.known, name) {
		return fmt.Errorf("nothing reads %s", name)
	}
	return nil
}

func (v *verifier) setting(args []string) error {
	if args[0] != "-w" {
		return v.flags("sysctl", args)
	}
	name, _, _ := strings.Cut(args[1], "=")
	_, err := os.Stat("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	return err
}

// path wants a file to be one that make install installs, or of something else.
func (v *verifier) path(word string) error {
	name, _, _ := strings.Cut(strings.TrimLeft(word, ">"), ":")
	if !strings.HasPrefix(name, "/") {
		return nil
	}
	for _, other := range []string{"/var/backups", "/etc/nginx", "/usr/sbin/nologin", "/proc/sys/", "/usr/local"} {
		if strings.HasPrefix(name, other) && !strings.Contains(name, "/usr/local/") {
			return nil
		}
	}
	if _, err := os.Stat(filepath.Join(v.dir, name)); err != nil && !strings.Contains(v.known, name) {
		return fmt.Errorf("%s is not installed", name)
	}
	return nil
}
