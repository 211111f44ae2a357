package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// maxExposure is how much of the system a unit may leave open to whoever takes the server over, in tenths: 0 is nothing, 100 is all.
const maxExposure = 22

// TestExposureOfUnits has systemd judge the units.
func TestExposureOfUnits(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Fatalf("%v; apt-get install systemd", err)
	}
	units, err := filepath.Glob("../../configs/systemd/*.service")
	if err != nil || len(units) != 3 {
		t.Fatal(units, err)
	}
	for _, unit := range units {
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", fmt.Sprintf("--threshold=%d", maxExposure), unit).CombinedOutput()
		if err != nil {
			t.Errorf("%s is more exposed than %d tenths:\n%s", unit, maxExposure, out)
		}
	}
}

// TestUnitsNotify: those with one process tell systemd when they serve, and that they are alive.
func TestUnitsNotify(t *testing.T) {
	for _, name := range []string{"push-server-one.service", "push-server@.service"} {
		text, err := os.ReadFile("../../configs/systemd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"\nType=notify\n", "\nWatchdogSec=", "\nRestart=always\n", "\nLimitNOFILE=1048576\n", "\nMemoryDenyWriteExecute=no\n", "/push-server upgrade --pid $MAINPID --else-reload\n"} {
			if !strings.Contains(string(text), line) {
				t.Errorf("%s has no %q", name, line)
			}
		}
	}
}
