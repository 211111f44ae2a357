package testclient

import (
	"os/exec"
	"syscall"
	"testing"
)

// StartNginx starts nginx with the file nginx.conf of a folder, until the end of
// the test, which shows what nginx has said if it fails.
func StartNginx(t testing.TB, folder string) {
	t.Helper()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		nginx = "/usr/sbin/nginx" // not in everybody's path
	}
	var log Log
	cmd := exec.Command(nginx, "-p", folder, "-c", "nginx.conf", "-e", "stderr")
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; apt-get install nginx", err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("nginx says:\n%s", log.String())
		}
	})
}
