#!/bin/sh
# Writes a configuration from the environment and serves it. The names are those of the images with the Node server:
#
#   PUSH_SECURITY_KEY, SECURITY_KEY   key of signatures, the same as in the portal; required
#   PUSH_SUB_MODE=sub, MODE=sub       serve subscribers
#   PUSH_PUB_MODE=pub, MODE=pub       serve publishing; a container may do both
#   PUSH_SUB_PORT, PUSH_PUB_PORT      8010 and 9010; LISTEN_PORT of a container that does one of them
#   LISTEN_HOSTNAME                   address to listen at; every one by default
#   REDIS_HOST, REDIS_PORT            6379; without a host history and delivery are in memory, in a container that does both
#   REDIS_PASSWORD                    if Redis wants one
#   SUB_URI, PUB_URI, REST_URI        /bitrix/subws/, /bitrix/pub/, /bitrix/rest/
#   RUN_DIR                           folder of the configuration, /tmp/push-server
#
# With arguments it serves nothing of that, but runs push-server with them: --config FILE, check --config FILE, …
set -eu

die() {
	echo "entrypoint.sh: $*" >&2
	exit 2
}

[ $# -eq 0 ] || exec push-server "$@"

mode=" ${MODE:-} ${PUSH_SUB_MODE:-} ${PUSH_PUB_MODE:-} "
sub='' pub=''
case $mode in *' sub '*) sub=${PUSH_SUB_PORT:-${LISTEN_PORT:-8010}} ;; esac
case $mode in *' pub '*) pub=${PUSH_PUB_PORT:-${LISTEN_PORT:-9010}} ;; esac
key=${PUSH_SECURITY_KEY:-${SECURITY_KEY:-}}

[ -n "$sub$pub" ] || die 'say what to serve: PUSH_SUB_MODE=sub, PUSH_PUB_MODE=pub, or both'
[ -n "$key" ] || die 'PUSH_SECURITY_KEY is empty'
[ -n "${REDIS_HOST:-}" ] || { [ -n "$sub" ] && [ -n "$pub" ]; } || die 'REDIS_HOST is empty: it joins this container with the others'

string() { printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"; }

listener() { # name, port, routes
	printf '\t\t{"name": "%s", "hostname": %s, "port": %s, "routes": {%s}}' "$1" "$(string "${LISTEN_HOSTNAME:-}")" "$(string "$2")" "$3"
}

servers() {
	[ -z "$sub" ] || listener sub "$sub" "\"sub\": $(string "${SUB_URI:-/bitrix/subws/}")"
	[ -z "$sub" ] || [ -z "$pub" ] || printf ',\n'
	[ -z "$pub" ] || listener pub "$pub" \
		"\"pub\": $(string "${PUB_URI:-/bitrix/pub/}"), \"rest\": $(string "${REST_URI:-/bitrix/rest/}"), \"stat\": \"/server-stat/\""
}

percent() { printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g'; }

storage() {
	if [ -z "${REDIS_HOST:-}" ]; then
		echo '"type": "memory"'
	elif [ -n "${REDIS_PASSWORD:-}" ]; then
		echo "\"type\": \"redis\", \"socket\": $(string "redis://:$(percent "$REDIS_PASSWORD")@$REDIS_HOST:${REDIS_PORT:-6379}")"
	else
		echo "\"type\": \"redis\", \"host\": $(string "$REDIS_HOST"), \"port\": $(string "${REDIS_PORT:-6379}")"
	fi
}

publish_only=false cluster=false
[ -n "$sub" ] || publish_only=true
[ -z "${REDIS_HOST:-}" ] || cluster=true

folder=${RUN_DIR:-/tmp/push-server}
mkdir -p "$folder"
umask 077
# Docker kills ten seconds after it asked for an end.
cat >"$folder/config.json" <<END
{
	"servers": [
$(servers)
	],
	"publishMode": $publish_only,
	"clusterMode": $cluster,
	"storage": {$(storage)},
	"security": {"key": $(string "$key")},
	"push": {"drainTimeout": "8s"}
}
END
exec push-server --config "$folder/config.json"
