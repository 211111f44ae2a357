#!/bin/sh
# Runs after a package was removed: dpkg says "remove", and "purge" when the configuration is to go, too; rpm 0.
set -e

case ${1:-} in
remove | 0) ;;
purge)
	rm -rf /etc/push-server /var/log/push-server /run/push-server
	rm -f /etc/default/push-server /etc/logrotate.d/push-server
	for unit in push-server push-server-one push-server@; do
		rm -f "/etc/systemd/system/$unit.service.d/user.conf"
		rmdir "/etc/systemd/system/$unit.service.d" 2>/dev/null || true
	done
	if getent passwd push-server >/dev/null; then
		userdel push-server || true
	fi
	;;
*) exit 0 ;;
esac

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
