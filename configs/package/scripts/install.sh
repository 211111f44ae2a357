#!/bin/sh
# Runs after a package was installed or upgraded: dpkg says "configure", rpm 1 or 2. Nothing that is there is changed, and nothing
# is started for the first time: the portal has to know the key first, and a Node server may have the ports.
set -e
PATH=/usr/sbin:/usr/bin:/sbin:/bin # what make install has put into /usr/local stays out of it

case ${1:-} in
configure | 1 | 2) ;;
*) exit 0 ;; # dpkg takes back something that did not work
esac

share=/usr/share/push-server/etc
settings=/etc/default/push-server
if [ -e /etc/sysconfig/push-server-multi ]; then # of the Node server
	settings=/etc/sysconfig/push-server-multi
fi

# Who runs the services: who did so far, the user of a BitrixVM, or one of our own.
user=push-server
if [ -e "$settings" ]; then
	user=$(sed -n 's/^USER=["'\'']\{0,1\}\([A-Za-z0-9_.-]*\).*/\1/p' "$settings" | tail -n 1)
	user=${user:-bitrix}
elif getent passwd bitrix >/dev/null; then
	user=bitrix
fi
if [ "$user" = push-server ] && ! getent passwd push-server >/dev/null; then
	useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
		--comment 'push server' push-server
fi
group=$(id -gn "$user" 2>/dev/null || echo "$user")

keep() { # template, file
	[ ! -e "$2" ] || return 0
	mkdir -p "${2%/*}"
	sed -e "s/^USER=push-server\$/USER=$user/" -e "s/^GROUP=push-server\$/GROUP=$group/" -e "s/su push-server push-server/su $user $group/" \
		"$share/$1" >"$2"
}
keep push-server.default "$settings"
keep push-server.logrotate /etc/logrotate.d/push-server
if [ "$user" != push-server ]; then
	for unit in push-server push-server-one push-server@; do
		mkdir -p "/etc/systemd/system/$unit.service.d"
		[ -e "/etc/systemd/system/$unit.service.d/user.conf" ] ||
			printf '[Service]\nUser=%s\nGroup=%s\n' "$user" "$group" >"/etc/systemd/system/$unit.service.d/user.conf"
	done
fi

# The first configuration, with a key of its own.
configured=
for file in /etc/push-server/*.json; do
	case $file in
	*__PORT__*) ;;
	*) [ ! -e "$file" ] || configured=1 ;;
	esac
done
if [ -z "$configured" ]; then
	push-server-multi configs ||
		echo 'push-server: there is no configuration yet: see push-server-multi configs' >&2
	cat <<'END'
push-server: /etc/push-server has a configuration, with a key that the portal has to know.
  push-server check --config /etc/push-server     what would be served
  systemctl enable --now push-server-one          serve it
END
fi

say() { echo "push-server: $*" >&2; }

# renew has a unit go on with the new program. Nobody is disconnected; where the old process does not let go of its clients, they are told
# to come back; where it hands over nothing, as one of a version without upgrades, the unit is started again.
renew() { # unit
	pid=$(systemctl show --property=MainPID "$1" | cut -d = -f 2)
	case $pid in
	0) # its services are those of push-server-multi
		push-server-multi upgrade && return
		;;
	*)
		case $(readlink "/proc/$pid/exe") in
		/usr/bin/push-server*) ;;
		*) return 0 ;; # of somebody else
		esac
		push-server upgrade --pid "$pid" --exec /usr/bin/push-server && return
		push-server upgrade --pid "$pid" --exec /usr/bin/push-server --drop && say "clients of $1 are told to come back" && return
		;;
	esac
	say "$1 is started again"
	systemctl restart "$1" || say "$1 could not be started again: see systemctl status $1"
}

renew_all() {
	if [ -d /run/systemd/system ]; then
		for unit in $(systemctl list-units --plain --no-legend --state=active,reloading 'push-server*.service' | cut -d ' ' -f 1); do
			renew "$unit"
		done
	else
		push-server-multi upgrade || { say 'the services are started again' && push-server-multi restart --drop; } ||
			say 'the services could not be started again: see push-server-multi status'
	fi
}

[ ! -d /run/systemd/system ] || systemctl daemon-reload || true
# An upgrade of the package goes on with the new version, unless that would not start.
if [ "$1" = 2 ] || [ -n "${2:-}" ]; then
	if runuser -u "$user" -- push-server check --config /etc/push-server >/dev/null 2>&1; then
		renew_all
	else
		say 'the services go on with the old version: see push-server check --config /etc/push-server'
	fi
fi
