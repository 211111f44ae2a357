#!/bin/sh
# Writes a configuration from the environment and serves it. The names are those of the images with the Node server:
#
#   PUSH_SECURITY_KEY, SECURITY_KEY   key of signatures, the same as in the portal; required
#   PUSH_SUB_MODE=sub, MODE=sub       serve subscribers; PUSH_SUB_MODE may also be 1, true, yes or on
#   PUSH_PUB_MODE=pub, MODE=pub       serve publishing, the same way; a container may do both
#   PUSH_SUB_PORT, PUSH_PUB_PORT      8010 and 9010; with MODE it is LISTEN_PORT, 8010 for both
#   LISTEN_HOSTNAME                   address to listen at; every one by default
#   REDIS_HOST, REDIS_PORT            6379, also as tcp://HOST:PORT of a link; without a host history and delivery are in memory, in a
#                                     container that does both; with MODE the host is redis
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

on() { # value, word
	case $(printf '%s' "$1" | tr '[:upper:]' '[:lower:]') in
	"$2" | 1 | true | yes | on) return 0 ;;
	'' | 0 | false | no | off) return 1 ;;
	esac
	return 1
}

# Images that say MODE have one port for both modes and their Redis at the name redis.
: "${PUSH_SUB_MODE=}" "${PUSH_PUB_MODE=}"
if [ -n "${MODE:-}" ]; then
	case $MODE in
	sub) PUSH_SUB_MODE=sub PUSH_SUB_PORT=${PUSH_SUB_PORT:-${LISTEN_PORT:-8010}} ;;
	pub) PUSH_PUB_MODE=pub PUSH_PUB_PORT=${PUSH_PUB_PORT:-${LISTEN_PORT:-8010}} ;;
	*) die "MODE is $MODE, not sub or pub" ;;
	esac
	REDIS_HOST=${REDIS_HOST-redis}
fi
case ${REDIS_PORT:-} in # tcp://172.17.0.2:6379, which links and Kubernetes set
tcp://*:*)
	REDIS_HOST=${REDIS_HOST:-$(printf '%s' "${REDIS_PORT#tcp://}" | sed 's/:[0-9]*$//')}
	REDIS_PORT=${REDIS_PORT##*:}
	;;
esac

sub='' pub=''
! on "$PUSH_SUB_MODE" sub || sub=${PUSH_SUB_PORT:-${LISTEN_PORT:-8010}}
! on "$PUSH_PUB_MODE" pub || pub=${PUSH_PUB_PORT:-${LISTEN_PORT:-9010}}
key=${PUSH_SECURITY_KEY:-${SECURITY_KEY:-}}

[ -n "$sub$pub" ] || die 'say what to serve: PUSH_SUB_MODE=sub, PUSH_PUB_MODE=pub, or both'
[ -n "$key" ] || die 'PUSH_SECURITY_KEY is empty'
[ -n "${REDIS_HOST:-}" ] || { [ -n "$sub" ] && [ -n "$pub" ]; } || die 'REDIS_HOST is empty: it joins this container with the others'

port() { # name, value
	case $2 in
	'' | *[!0-9]* | ??????*) die "$1 is $2, not a port" ;;
	esac
	{ [ "$2" -ge 1 ] && [ "$2" -le 65535 ]; } || die "$1 is $2, not a port"
}
[ -z "$sub" ] || port "PUSH_SUB_PORT or LISTEN_PORT" "$sub"
[ -z "$pub" ] || port "PUSH_PUB_PORT or LISTEN_PORT" "$pub"
[ -z "${REDIS_PORT:-}" ] || port REDIS_PORT "$REDIS_PORT"

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
