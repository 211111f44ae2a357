package main

import (
	"strings"
	"testing"
)

const traces = `find /etc /usr /var /run /opt -xdev -name '*push-server*' | sort; getent passwd push-server || true`

func TestDeb(t *testing.T) {
	rootNeeded(t)
	m := boot(t, releaseFile(t, old, "*.deb"), releaseFile(t, newer, "*.deb"))
	before := m.run(traces)
	const dpkg = "dpkg --no-triggers --force-unsafe-io "
	m.run(dpkg + "--install /tmp/push-server_1.2.3_*.deb")
	m.operate()
	p := m.openPortal("push-server %s --config /etc/push-server")
	p.hears()
	m.upgrade(dpkg + "--install /tmp/push-server_1.2.4_*.deb")
	p.hears()
	m.run(dpkg + "--remove push-server")
	m.says("cat /systemctl.log", "disable --now push-server-one.service")
	m.run("pkill -x push-server; while pgrep -x push-server; do sleep 0.1; done") // what systemd would have done
	m.run("! test -e /usr/bin/push-server && grep -q 1025 /etc/push-server/push-server-sub-__PORT__.json")
	m.run("test -e /etc/push-server/push-server-sub-8010.json && grep -q SECURITY_KEY=. /etc/default/push-server")
	key := m.run("grep ^SECURITY_KEY /etc/default/push-server")
	m.run(dpkg + "--install /tmp/push-server_1.2.4_*.deb")
	m.says("cat /etc/default/push-server; runuser -u push-server -- push-server check --config /etc/push-server", key, "no error")
	m.run(dpkg + "--purge push-server; rm -rf /run/systemd")
	if after := m.run(traces); after != before {
		t.Errorf("purging leaves\n%s\nbefore there was\n%s", after, before)
	}
}

func TestRPM(t *testing.T) {
	rootNeeded(t)
	m := boot(t, releaseFile(t, old, "*.rpm"), releaseFile(t, newer, "*.rpm"))
	// A BitrixVM has this user, and settings of the Node server.
	m.run(`useradd --system bitrix; mkdir -p /etc/sysconfig; printf 'USER=bitrix\nGROUP=bitrix\nID_SUB=5\nSECURITY_KEY=known\nREDIS_SOCK=/run/redis/redis.sock\n' >/etc/sysconfig/push-server-multi`)
	const rpm = "rpm --force-debian --nodeps " // the database of this system has no packages of RPM
	m.run(rpm + "--install /tmp/push-server-1.2.3-*.rpm")
	m.says("rpm --query --provides push-server", "bx-push-server")
	m.says("rpm --query --configfiles push-server", "/etc/push-server/push-server-sub-__PORT__.json")
	m.says("cat /etc/systemd/system/push-server-one.service.d/user.conf /etc/logrotate.d/push-server", "User=bitrix\nGroup=bitrix\n", "su bitrix bitrix")
	m.says("cat /etc/push-server/push-server-sub-8010.json", `"key": "known"`)
	m.run("! getent passwd push-server; ! test -e /etc/default/push-server")
	m.operate()
	m.upgrade(rpm + "--upgrade /tmp/push-server-1.2.4-*.rpm")
	m.run("rpm --erase push-server")
	m.run("! test -e /usr/bin/push-server && grep -q 1025 /etc/push-server/push-server-sub-__PORT__.json*")
	m.run("test -e /etc/push-server/push-server-sub-8010.json && test -e /etc/sysconfig/push-server-multi")
}

// operate starts the server as its unit does, and has a message delivered.
func (m *machine) operate() {
	m.t.Helper()
	m.run("systemd-analyze verify /usr/lib/systemd/system/push-server.service /usr/lib/systemd/system/push-server-one.service /usr/lib/systemd/system/push-server@.service")
	m.run(`mkdir -p /run/redis; redis-server --port 0 --unixsocket /run/redis/redis.sock --unixsocketperm 777 --save "" --daemonize yes; ln -sfn /run /var/run`)
	m.start()
	m.deliver()
}

// start is what systemd would do for push-server-one.service: its command, its user, its folder of logs.
func (m *machine) start() {
	m.t.Helper()
	m.run(`unit=/usr/lib/systemd/system/push-server-one.service
		user=$(cat $unit $unit.d/*.conf /etc/systemd/system/push-server-one.service.d/*.conf 2>/dev/null | sed -n s/^User=//p | tail -n 1) || true
		install -d -o $user /var/log/push-server
		setsid runuser -u $user -- $(sed -n s/^ExecStart=//p $unit) >/tmp/push-server.log 2>&1 </dev/null &`)
	m.await("push-server health --config /etc/push-server")
}

const exampleChannel = "0123456789abcdef0123456789abcdef"

func (m *machine) deliver() {
	m.t.Helper()
	m.await("push-server publish --config /etc/push-server --expiry 1m " + exampleChannel + ` '{"hello":"world"}'`)
	m.says("push-server subscribe --config /etc/push-server --mid 00000000000000000000000000 --expect 1 --timeout 20s "+exampleChannel, "hello")
}

// upgrade changes what is the operator's, installs another version, and sees that the server goes on.
func (m *machine) upgrade(command string) {
	m.t.Helper()
	m.run(`sed -i s/1024/1025/ /etc/push-server/push-server-sub-__PORT__.json; echo "# mine" >>/etc/logrotate.d/push-server`)
	before := m.run("pgrep -x push-server; md5sum /etc/push-server/* /etc/logrotate.d/push-server")
	// systemd is asked to start the new version, if it would start.
	m.run(`mkdir -p /run/systemd/system; printf '#!/bin/sh\necho "$@" >>/systemctl.log\n' >/usr/local/bin/systemctl; chmod 755 /usr/local/bin/systemctl
		ln -sf /usr/local/bin/systemctl /usr/bin/systemctl`)
	m.run(command)
	if after := m.run("pgrep -x push-server; md5sum /etc/push-server/* /etc/logrotate.d/push-server"); after != before {
		m.t.Errorf("the upgrade changes\n%s\nto\n%s", before, after)
	}
	m.deliver()
	m.says("cat /systemctl.log", "daemon-reload", "try-restart push-server-one.service push-server.service push-server@*.service")
	m.run("pkill -x push-server; while pgrep -x push-server; do sleep 0.1; done")
	m.start()
	m.says("push-server version", "v1.2.4")
	m.deliver()

	m.run("rm /systemctl.log; echo '{' >/etc/push-server/push-server-sub-8010.json")
	if out := m.run(strings.Replace(command, "--upgrade", "--upgrade --force", 1)); !strings.Contains(out, "go on with the old version") {
		m.t.Errorf("a configuration that does not load: the upgrade says\n%s", out)
	}
	m.run("! grep try-restart /systemctl.log; push-server-multi configs")
}
