#!/usr/bin/env bats
# A close that is taken back, where the system does not play along: the gate cannot be undone, or could not be set.

load helper

setup() { common_setup; }

teardown() {
	exec 7>&-
	common_teardown
}

# closing_gated: a port of its own, whose close waits at its gate with one connection in the queue (descriptor 7).
closing_gated() {
	chmod 777 "$work"
	as=${who:-} start_conf "grace 20s; settle 20s; log-level info;
		service site http { root $work/site; keepalive 1s; }
		listen 127.0.0.1:0 -> site;" -w 2
	bound=$("$lastcall" open 127.0.0.1:0 site)
	# shellcheck disable=SC2046
	kill -STOP $(workers)
	exec 7<>"/dev/tcp/${bound%:*}/${bound##*:}"
	[ -z "${fault:-}" ] || inject "$fault"
	"$lastcall" close "$bound" >receipt 2>&1 3>&- 7>&- &
	closing=$!
	background+=($closing)
	wait_until grep -q "$bound: gate: " "$log"
}

# inject WHAT: the master's system calls fail so from now on, until inject_no_more.
inject() {
	strace -qq -o /dev/null -p "$server" -e trace="${1%%:*}" -e inject="$1" 3>&- 7>&- &
	tracer=$!
	background+=($tracer)
	wait_until grep -q "TracerPid:.*$tracer" "/proc/$server/status"
}

inject_no_more() {
	kill "$tracer"
	wait "$tracer" || :
}

go_on() {
	# shellcheck disable=SC2046
	kill -CONT $(workers)
}

served_on_7() {
	printf 'GET / HTTP/1.0\r\n\r\n' >&7
	timeout 10 grep -q welcome <&7
}

serves() {
	[ "$(curl -sf -m 10 "http://$bound/")" = 'hello, and welcome' ]
}

# The gate stays, so the close goes on to its end as if nobody had asked.
cannot_be_undone() {
	closing_gated
	inject setsockopt:error=EPERM
	run -1 "$lastcall" cancel "$bound"
	[[ $output == *"the gate of $bound cannot be undone: Operation not permitted"* ]]
	inject_no_more
	[ "$(state_of "$bound")" = closing ]
	go_on
	served_on_7
	wait $closing
	grep -q '1 accepted' receipt
	grep -q '0 cut' receipt
	wait_until nobody_listens "${bound##*:}"
	run -0 "$lastcall" open "$bound" site
	serves
}

@test "a gate that cannot be undone: cancel says so, and the port is closed as it would have been" {
	is_posix && skip 'the twin has no gate that needs the system to undo it'
	cannot_be_undone
}

@test "the same with the gate of the unprivileged" {
	[ "$(id -u)" -eq 0 ] || skip 'the test above was it'
	who=$unprivileged cannot_be_undone
}

@test "a gate that cannot be undone at first: cancel may be tried again" {
	closing_gated
	inject setsockopt:error=EPERM
	run -1 "$lastcall" cancel "$bound"
	inject_no_more
	run -0 "$lastcall" cancel "$bound"
	run ! wait $closing
	go_on
	served_on_7
	serves
}

@test "a close whose gate cannot be set is taken back like any other" {
	is_posix && skip 'the twin has another way where this one is not permitted'
	fault=setsockopt:error=EPERM closing_gated
	grep -q "$bound: gate: none" "$log"
	run -0 "$lastcall" cancel "$bound"
	inject_no_more
	run ! wait $closing
	go_on
	served_on_7
	serves
	run -0 "$lastcall" close "$bound"
}

@test "closed and taken back again and again, also with both gates: everybody who comes in between is served" {
	for who in '' "$unprivileged"; do
		closing_gated
		"$lastcall" cancel "$bound"
		go_on
		served_on_7
		for ((i = 0; i < 5; i++)); do
			# shellcheck disable=SC2046
			kill -STOP $(workers)
			exec 7<>"/dev/tcp/${bound%:*}/${bound##*:}"
			"$lastcall" close "$bound" >receipt 2>&1 3>&- 7>&- &
			closing=$!
			background+=($closing)
			wait_until is_gated $((i + 2))
			"$lastcall" cancel "$bound"
			go_on
			served_on_7
			serves
		done
		stop_server
		[ "$ended" -eq 0 ]
		[ "$(receipt_number cut)" -eq 0 ]
		[ -n "$unprivileged" ] || break
	done
}

is_gated() {
	[ "$(grep -c "$bound: gate: " "$log")" -eq "$1" ]
}
