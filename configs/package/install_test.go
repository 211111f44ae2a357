package main

import (
	"slices"
	"strings"
	"testing"
)

const traces = `find /etc /usr /var /run /opt -xdev -name '*push-server*' | sort; getent passwd push-server || true`

// TestDeb lives with the package on a machine without systemd, where push-server-multi runs the services.
func TestDeb(t *testing.T) {
	rootNeeded(t)
	m := boot(t, releaseFile(t, old, "*.deb"), releaseFile(t, newer, "*.deb"))
	before := m.run(traces)
	const dpkg = "dpkg --no-triggers --force-unsafe-io "
	m.run(dpkg + "--install /tmp/push-server_1.2.3_*.deb")
	m.run("systemd-analyze verify /usr/lib/systemd/system/push-server.service /usr/lib/systemd/system/push-server-one.service /usr/lib/systemd/system/push-server@.service")
	m.run("sed -i s/^ID_SUB=5/ID_SUB=1/ /etc/default/push-server; push-server-multi configs sub; rm /etc/push-server/push-server-sub-801[2-5].json")
	m.startRedis()
	m.run("push-server-multi start")
	p := m.openPortal("push-server %s --config /etc/push-server")
	p.hears()
	m.upgrade(p, "push-server-multi status", dpkg+"--install /tmp/push-server_1.2.4_*.deb")

	m.run(dpkg + "--remove push-server")
	m.run("! pgrep -x push-server; ! test -e /usr/bin/push-server; grep -q 1025 /etc/push-server/push-server-sub-__PORT__.json")
	m.run("test -e /etc/push-server/push-server-sub-8010.json && grep -q SECURITY_KEY=. /etc/default/push-server")
	key := m.run("grep ^SECURITY_KEY /etc/default/push-server")
	m.run(dpkg + "--install /tmp/push-server_1.2.4_*.deb")
	m.says("cat /etc/default/push-server; runuser -u push-server -- push-server check --config /etc/push-server", key, "no error")
	m.run(dpkg + "--purge push-server")
	if after := m.run(traces); after != before {
		t.Errorf("purging leaves\n%s\nbefore there was\n%s", after, before)
	}
}

// TestRPM does it on a machine that systemd runs, with the user, the settings and the unit that a BitrixVM has.
func TestRPM(t *testing.T) {
	rootNeeded(t)
	m := bootSystemd(t, releaseFile(t, old, "*.rpm"), releaseFile(t, newer, "*.rpm"))
	m.run(`useradd --system bitrix; mkdir -p /etc/sysconfig; printf 'USER=bitrix\nGROUP=bitrix\nID_SUB=1\nSECURITY_KEY=known\nRUN_DIR=/run/push-server\nREDIS_SOCK=/run/redis/redis.sock\n' >/etc/sysconfig/push-server-multi`)
	const rpm = "rpm --force-debian --nodeps " // the database of this system has no packages of RPM
	m.run(rpm + "--install /tmp/push-server-1.2.3-*.rpm")
	m.says("rpm --query --provides push-server", "bx-push-server")
	m.says("rpm --query --configfiles push-server", "/etc/push-server/push-server-sub-__PORT__.json")
	m.says("cat /etc/systemd/system/push-server-one.service.d/user.conf /etc/logrotate.d/push-server", "User=bitrix\nGroup=bitrix\n", "su bitrix bitrix")
	m.says("cat /etc/push-server/push-server-sub-8010.json", `"key": "known"`)
	m.run("! getent passwd push-server; ! test -e /etc/default/push-server")
	m.startRedis()
	m.run("systemctl enable --now push-server")
	p := m.openPortal("push-server %s --config /etc/push-server")
	p.hears()
	m.upgrade(p, "systemctl is-active push-server; push-server-multi status", rpm+"--upgrade --force /tmp/push-server-1.2.4-*.rpm")

	m.run("rpm --erase push-server")
	m.run("! pgrep -x push-server; ! test -e /usr/bin/push-server; grep -q 1025 /etc/push-server/push-server-sub-__PORT__.json*")
	m.run("test -e /etc/push-server/push-server-sub-8010.json && test -e /etc/sysconfig/push-server-multi")
}

func (m *machine) startRedis() {
	m.t.Helper()
	m.run(`mkdir -p /run/redis; redis-server --port 0 --unixsocket /run/redis/redis.sock --unixsocketperm 777 --save "" --daemonize yes`)
}

const exampleChannel = "0123456789abcdef0123456789abcdef"

func (m *machine) deliver() {
	m.t.Helper()
	m.await("push-server publish --config /etc/push-server --expiry 1m " + exampleChannel + ` '{"hello":"world"}'`)
	m.says("push-server subscribe --config /etc/push-server --mid 00000000000000000000000000 --expect 1 --timeout 20s "+exampleChannel, "hello")
}

// servers are the processes that push-server-multi knows.
func (m *machine) servers() []string {
	m.t.Helper()
	return strings.Fields(m.run("cat /run/push-server/*.pid"))
}

// upgrade installs another version over what push-server-multi runs: what is the operator's stays as it is, and nobody is disconnected, as
// long as there is no process that hands over nothing.
func (m *machine) upgrade(p *portal, status, command string) {
	m.t.Helper()
	m.run(`sed -i s/1024/1025/ /etc/push-server/push-server-sub-__PORT__.json; echo "# mine" >>/etc/logrotate.d/push-server`)
	const files = "md5sum /etc/push-server/* /etc/logrotate.d/push-server"
	mine, first := m.run(files), m.servers()
	m.run(command)
	if after := m.run(files); after != mine {
		m.t.Errorf("the upgrade changes\n%s\nto\n%s", mine, after)
	}
	m.run(status)
	second := m.servers()
	m.onlyNew(first, second)
	m.says("push-server version", "v1.2.4")
	p.hears()
	p.stayed(1)

	// One service is of a version without upgrades: all are started again.
	m.run(`push-server-multi stop sub 8011
		cd /run/push-server
		runuser -u $(stat --format=%U .) -- setsid bash -c 'echo $$ >sub-8011.pid
			exec -a "old --config /etc/push-server/push-server-sub-8011.json" sleep 1000' >/dev/null 2>&1 </dev/null &`)
	m.await("push-server-multi status sub 8011")
	m.says(command, "sub-8011 goes on as it was", "started again")
	m.run(status)
	m.onlyNew(second, m.servers())
	m.deliver()

	m.run("cp /etc/push-server/push-server-sub-8010.json /tmp; echo '{' >/etc/push-server/push-server-sub-8010.json")
	before := m.servers()
	m.says(command, "go on with the old version")
	if after := m.servers(); !slices.Equal(after, before) {
		m.t.Errorf("a configuration that does not load: %q has become %q", before, after)
	}
	m.run("cp /tmp/push-server-sub-8010.json /etc/push-server; " + status)
	m.deliver()
}

// onlyNew sees that no process is the same as before, and that each runs what is installed.
func (m *machine) onlyNew(before, after []string) {
	m.t.Helper()
	if len(before) != 4 || len(after) != 4 || slices.ContainsFunc(after, func(pid string) bool { return slices.Contains(before, pid) }) {
		m.t.Errorf("processes %q have become %q, want four new ones", before, after)
	}
	m.runsInstalled(after...)
}
