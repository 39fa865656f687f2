#!/bin/bash
# HAProxy in front of three instances of lastcall, each in a network namespace of its own: all three are restarted,
# reloaded or upgraded, one after the other, under load, and no request may fail at the client.
#
#	tests/rolling.bash restart [ROUNDS]        or another of the ways below
#
# Wants root, network namespaces (ip from iproute2), haproxy and curl. HAProxy runs as conf/haproxy.cfg says, with addresses
# of its own and without retries: what fails, fails. Nothing is left behind. It prints what the clients counted.
# Exit status: 0 nothing was lost, 1 something was, or did not go as it should, 2 usage, 77 it cannot run here.
set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
build=${LASTCALL_BUILD:-$root/build/cc}
lastcall=$build/lastcall
losscount=$build/tools/losscount
PATH=$PATH:/usr/sbin:/sbin

# What can be done to an instance, whose number comes last: a function of below with its first words.
declare -A ways=(
	[restart]='restart'
	[reload]='ask reload'
	[upgrade]='ask upgrade'
)

usage() {
	echo "usage: tests/rolling.bash $(printf '%s\n' "${!ways[@]}" | sort | paste -s -d '|') [ROUNDS]" >&2
	exit 2
}

cannot() {
	echo "rolling: $1" >&2
	exit 77
}

fail() {
	echo "rolling: $1" >&2
	tail -n 20 "$work"/log.* "$work"/haproxy.log >&2 2>/dev/null
	exit 1
}

# ---- the ways; "running" is the pid of an instance, and it serves again when these return

restart() {
	local status=0
	kill -TERM "${running[$1]}"
	wait "${running[$1]}" || status=$?
	[ "$status" -eq 0 ] || fail "instance $1 ended with status $status"
	instance_start "$1"
}

# ask COMMAND N: one that returns when it is done.
ask() {
	LASTCALL_CONTROL=$work/control.$2 "$lastcall" "$1" || fail "instance $2: $1 failed"
}

# ---- the machines: a bridge in one namespace, where HAProxy and the clients are, and one namespace for each instance

balancer=lastcall-$$-b
network=10.79.0

namespaces_make() {
	ip netns add "$balancer" 2>/dev/null || cannot 'there are no network namespaces here'
	ip -n "$balancer" link set lo up
	ip -n "$balancer" link add bridge type bridge || cannot 'there are no bridges here'
	ip -n "$balancer" address add "$network.254/24" dev bridge
	ip -n "$balancer" link set bridge up
	for i in 1 2 3; do
		ip netns add "lastcall-$$-$i"
		ip -n "lastcall-$$-$i" link set lo up
		ip -n "lastcall-$$-$i" link add eth0 type veth peer name "port$i" netns "$balancer"
		ip -n "lastcall-$$-$i" address add "$network.$i/24" dev eth0
		ip -n "lastcall-$$-$i" link set eth0 up
		ip -n "$balancer" link set "port$i" master bridge up
	done
}

# Put in front of a command. It becomes that command, so a pid in the background is the command's.
in_balancer=(ip netns exec "$balancer")

# ---- what runs there

running=() clients=() haproxy=''

# instance_start N: returns when it is ready.
instance_start() {
	local ready=$work/ready.$1 word rest
	mkfifo "$ready"
	LASTCALL_CONTROL=$work/control.$1 ip netns exec "lastcall-$$-$1" "$lastcall" run -c "$work/conf.$1" --ready-fd 9 9>"$ready" \
		>/dev/null 2>>"$work/log.$1" &
	running[$1]=$!
	while read -r -t 30 word rest; do
		[ "$word" != ready ] || break
	done <"$ready"
	rm -f "$ready"
	# ip becomes the server, which is our child and has the pid that it says.
	[ "${rest:-}" = "${running[$1]}" ] || fail "instance $1 did not become ready"
}

instances_start() {
	for i in 1 2 3; do
		cat >"$work/conf.$i" <<-END
			workers 2;
			drain-delay 3s;
			service site http { root $work/site; health /healthz; access-log $work/access.$i; }
			listen $network.$i:8080 -> site { proxy-protocol on; from $network.254; }
		END
		instance_start $i
	done
}

haproxy_start() {
	sed -e "s/10\.0\.0\./$network./; s/bind :80\$/bind 127.0.0.1:8080/" -e '/^defaults/a\	retries 0' \
		"$root/conf/haproxy.cfg" >"$work/haproxy.cfg"
	"${in_balancer[@]}" haproxy -db -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 &
	haproxy=$!
	for name in a b c; do
		wait_until is_up $name
	done
}

# Whether HAProxy has checked that server, and sends it clients.
is_up() {
	"${in_balancer[@]}" curl -s --max-time 2 'http://127.0.0.1:8404/;csv' |
		awk -F , -v name="$1" '$1 == "lastcall" && $2 == name { up = $18 ~ /^UP/ } END { exit !up }'
}

wait_until() {
	local end=$((SECONDS + 30))
	until "$@"; do
		[ $SECONDS -lt $end ] || fail "waited in vain for: $*"
		sleep 0.05
	done
}

# load_start NAME OPTION…: clients that come to HAProxy until they are told to end; returns when each was answered once.
load_start() {
	local name=$1 ready=$work/load.ready word=''
	shift
	mkfifo "$ready"
	"${in_balancer[@]}" "$losscount" -d 600000 -t /1k.txt -e 1000 --ready-fd 8 "$@" 127.0.0.1:8080 8>"$ready" >"$work/counted.$name" 2>&1 &
	clients+=($!)
	read -r -t 30 word <"$ready"
	rm -f "$ready"
	[ "$word" = ready ] || fail "the clients \"$name\" are not answered"
}

# Ends the load, and says what it counted. Fails if anything was lost.
load_end() {
	local lost=0 key value
	for pid in "${clients[@]}"; do
		kill -TERM "$pid"
		wait "$pid" || lost=1
	done
	clients=()
	for name in fresh kept; do
		for key in lost status_4xx status_5xx refused connect_failed unaccounted; do
			value=$(sed -n "s/^$key=//p" "$work/counted.$name")
			[ "$value" = 0 ] || {
				echo "rolling: $name: $key=$value" >&2
				lost=1
			}
		done
		echo "$name: $(sed -n 's/^connected=/connections /p; s/^responses=/responses /p' "$work/counted.$name" | paste -s -d ,)"
	done
	return $lost
}

cleanup() {
	local workers=''
	# Those of a master that is killed would finish what they have.
	for pid in "${running[@]}"; do
		workers+=" $(pgrep -P "$pid" | paste -s -d ' ')"
	done
	for pid in "${clients[@]}" ${haproxy:+"$haproxy"} "${running[@]}"; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	# shellcheck disable=SC2086
	[ -z "${workers// /}" ] || kill -KILL $workers 2>/dev/null
	for name in b 1 2 3; do
		ip netns del "lastcall-$$-$name" 2>/dev/null
	done
	rm -rf "$work"
}

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
	usage
fi
way=${ways[$1]:-} rounds=${2:-1}
if [ -z "$way" ] || ! [[ $rounds =~ ^[1-9][0-9]*$ ]]; then
	usage
fi
[ "$(id -u)" -eq 0 ] || cannot 'it wants root, for network namespaces'
for tool in ip haproxy curl "$lastcall" "$losscount"; do
	type -P "$tool" >/dev/null || cannot "there is no $tool"
done

work=$(mktemp -d "${TMPDIR:-/tmp}/lastcall-rolling.XXXXXX") || exit 1
trap cleanup EXIT
trap 'exit 1' INT TERM HUP
chmod 755 "$work"
mkdir "$work/site"
head -c 1000 /dev/zero | tr '\0' x >"$work/site/1k.txt"
namespaces_make
instances_start
haproxy_start
load_start fresh -c 16 -m silent -i 30
load_start kept -c 16 -m idle -i 30 -r 20
for ((round = 1; round <= rounds; round++)); do
	for i in 1 2 3; do
		$way $i
		name=$(printf '%b' "\\x$((60 + i))")
		wait_until is_up "$name"
		echo "$1 of instance $i: HAProxy has it again"
	done
done
load_end || fail 'a request failed'
# HAProxy told who the clients are, and each instance has served.
for i in 1 2 3; do
	[ -s "$work/access.$i" ] || fail "instance $i has served nobody"
	grep -qv '^127\.0\.0\.1 ' "$work/access.$i" && fail "instance $i took HAProxy for the client"
done
for i in 1 2 3; do
	kill -TERM "${running[$i]}"
done
for i in 1 2 3; do
	wait "${running[$i]}" || fail "instance $i ended with status $?"
done
running=()
echo "rolling: nothing was lost"
