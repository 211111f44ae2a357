#!/bin/sh
# Runs before a package is removed: dpkg says "remove", rpm 0. Before an upgrade it does nothing.
set -e

case ${1:-} in
remove | 0) ;;
*) exit 0 ;;
esac

if [ -d /run/systemd/system ]; then
	systemctl disable --now push-server-one.service push-server.service || true
	systemctl stop 'push-server@*.service' || true
else
	push-server-multi stop || true
fi
