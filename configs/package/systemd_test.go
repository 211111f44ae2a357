package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// systemdRuns has systemd be the first process of a machine, with devices and control groups of the machine's own.
const systemdRuns = `for h in /sys/fs/cgroup /sys/fs/cgroup/*; do # one hierarchy, or one for each resource
	[ -e "$h/cgroup.procs" ] && mkdir "$h/$GROUP" 2>/dev/null && echo $$ >"$h/$GROUP/cgroup.procs" || rmdir "$h/$GROUP" 2>/dev/null || true
done
exec unshare --cgroup bash -c '` + layRoot + `
mount -t sysfs sysfs "$whole/sys"
if [ -e /sys/fs/cgroup/cgroup.procs ]; then
	mount -t cgroup2 cgroup2 "$whole/sys/fs/cgroup" || { echo "unable: control groups cannot be mounted"; exit; }
else
	mount -t tmpfs none "$whole/sys/fs/cgroup"
	mkdir "$whole/sys/fs/cgroup/systemd"
	mount -t cgroup -o none,name=systemd cgroup "$whole/sys/fs/cgroup/systemd" || { echo "unable: control groups cannot be mounted"; exit; }
fi
mount -t tmpfs -o mode=755 none "$whole/dev"
mkdir "$whole/dev/pts" "$whole/dev/shm"
for device in null zero full random urandom tty; do
	touch "$whole/dev/$device"
	mount --bind "/dev/$device" "$whole/dev/$device"
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$whole/dev/pts"
ln -s pts/ptmx "$whole/dev/ptmx"
mount -t tmpfs none "$whole/dev/shm"
cd "$whole"
rm -rf etc/systemd/system/*.wants
echo "d /tmp 1777 root root -" >etc/tmpfiles.d/tmp.conf # as it is
ln -sf /usr/lib/systemd/system/multi-user.target etc/systemd/system/default.target
for unit in getty.target console-getty.service systemd-udevd.service systemd-logind.service systemd-networkd.service systemd-resolved.service; do
	ln -sf /dev/null "etc/systemd/system/$unit"
done
mkdir before
pivot_root . before
umount -l before
echo ready
exec env -i container=other PATH=/usr/sbin:/usr/bin /usr/lib/systemd/systemd --log-target=journal' "$0" "$@"`

// bootSystemd starts a machine that systemd runs.
func bootSystemd(t *testing.T, files ...string) *machine {
	t.Helper()
	dir := t.TempDir()
	group := "machine-" + filepath.Base(filepath.Dir(dir))
	t.Cleanup(func() { // when all of its processes have ended
		groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + group)
		for _, g := range append(groups, "/sys/fs/cgroup/"+group) {
			exec.Command("find", g, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run()
		}
	})
	m := bootAs(t, "GROUP="+group+"\n"+systemdRuns, dir, "/", files)
	m.await("systemctl is-system-running | grep -E 'running|degraded'")
	return m
}

// TestSystemd lives with the package on a machine that systemd runs: it is installed, serves, is reloaded, upgraded, removed and purged.
// What is connected stays connected as long as that can be.
func TestSystemd(t *testing.T) {
	rootNeeded(t)
	m := bootSystemd(t, releaseFile(t, old, "*.deb"), releaseFile(t, newer, "*.deb"))
	before := m.run(traces)
	const dpkg = "dpkg --no-triggers --force-unsafe-io "
	m.run(dpkg + "--install /tmp/push-server_1.2.3_*.deb")
	m.startRedis()
	m.run("systemctl enable --now push-server-one")
	m.says("systemctl show --property=ActiveState,Type,WatchdogUSec push-server", "ActiveState=active", "Type=notify", "WatchdogUSec=30s")
	p := m.openPortal("push-server %s --config /etc/push-server")
	p.hears()

	first := m.mainPID()
	m.run("systemctl reload push-server")
	second := m.mainPID()
	if second == first {
		t.Error("after a reload it is the same process")
	}
	p.hears()
	// A successor that does not start: reload says so, and the process goes on.
	m.run("cp /etc/push-server/push-server-sub-8010.json /tmp; echo '{' >/etc/push-server/push-server-sub-8010.json")
	if out, err := m.try("systemctl reload push-server"); err == nil {
		t.Errorf("the configuration is broken, and the reload succeeds: %s", out)
	}
	m.says("journalctl --no-pager --unit push-server-one", "push-server-sub-8010.json")
	if pid := m.mainPID(); pid != second {
		t.Errorf("process %s has taken the place of %s", pid, second)
	}
	m.run("cp /tmp/push-server-sub-8010.json /etc/push-server")
	p.hears()
	p.stayed(1)

	m.run(dpkg + "--install /tmp/push-server_1.2.4_*.deb")
	third := m.mainPID()
	if third == second {
		t.Error("after an upgrade of the package it is the same process")
	}
	m.runsInstalled(third)
	m.says("push-server version", "v1.2.4")
	p.hears()
	p.stayed(1)

	// A configuration under which clients cannot go on: they come back.
	m.run(`sed -i '1s/{/{"push":{"sharePort":true},/' /etc/push-server/push-server-*-[89]*.json`)
	m.says(dpkg+"--install /tmp/push-server_1.2.4_*.deb 2>&1", "push.sharePort", "clients of push-server-one.service are told to come back")
	if pid := m.mainPID(); pid == third {
		t.Error("after an upgrade of the package it is the same process")
	}
	p.hears()
	p.stayed(2)

	m.run(dpkg + "--remove push-server")
	m.run("! pgrep -x push-server; test -e /etc/push-server/push-server-sub-8010.json")
	m.run(dpkg + "--purge push-server; pkill redis-server")
	if after := m.run(traces); after != before {
		t.Errorf("purging leaves\n%s\nbefore there was\n%s", after, before)
	}
}

// runsInstalled sees that processes run the program that is installed, which nobody has put another one in the place of.
func (m *machine) runsInstalled(pids ...string) {
	m.t.Helper()
	for _, pid := range pids {
		m.run("[ $(readlink /proc/" + pid + "/exe) = /usr/bin/push-server ]")
	}
}

// mainPID is the process that systemd knows as the server, which has to be active.
func (m *machine) mainPID() string {
	m.t.Helper()
	m.run("systemctl is-active push-server-one")
	return strings.TrimSpace(m.run("systemctl show --value --property=MainPID push-server-one"))
}
