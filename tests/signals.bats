#!/usr/bin/env bats
# Signals to the master: whatever comes, in whatever number and at whatever moment, it lives or it ends in order.

load helper

setup() {
	common_setup
}

teardown() {
	common_teardown
}

# No process runs with the configuration of this test, and what a start makes is gone.
nothing_is_left() {
	wait_until run ! pgrep -f "$work/lastcall.conf"
	[ ! -e "$work/sock" ]
	[ ! -e "$work/pid" ]
}

# The one receipt of the log, and the one beginning of the stop.
one_receipt() {
	[ "$(receipt | wc -l)" -eq 1 ]
	[ "$(grep -c '^lastcall: last call: ' "$log")" -eq 1 ]
}

# A connection that a worker holds, its request not complete: on descriptor 6.
open_connection() {
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET' >&6
	wait_until request_was_read
}

request_was_read() {
	[ "$(ss -Htn state established "sport = :${address##*:}" | awk '{print $1}')" = 0 ]
}

finish_request() {
	printf ' / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&6
	[[ "$(timeout 10 cat <&6)" == *"200 OK"*"hello, and welcome"* ]]
	exec 6>&-
}

serves() {
	[ "$(curl -s --max-time 10 "http://$address/")" = "hello, and welcome" ]
}

# ---- the end ----

@test "100 TERMs at once are one orderly end with one receipt" {
	start_site
	open_connection
	"$tools/storm" "$server" 100 TERM
	wait_until grep -q 'last call' "$log" # sent is not yet heard
	finish_request
	end_server
	[ "$ended" -eq 0 ]
	one_receipt
	[ "$(receipt)" = "1 answered, 0 of them from the queue, 0 cut" ]
}

@test "TERM, INT and QUIT in any mix end it once: 0 with nobody there" {
	for mix in 'TERM INT QUIT' 'QUIT TERM INT' 'INT INT TERM' 'TERM CHLD TERM HUP INT'; do
		start_site
		# shellcheck disable=SC2086
		"$tools/storm" "$server" 60 $mix
		end_server
		[ "$ended" -eq 0 ]
		one_receipt
		[ "$(receipt)" = "0 answered, 0 of them from the queue, 0 cut" ]
	done
}

@test "QUIT among them cuts who is in, once: 3" {
	for mix in 'TERM INT QUIT' 'QUIT TERM INT' 'INT QUIT'; do
		start_site
		open_connection
		# shellcheck disable=SC2086
		"$tools/storm" "$server" 60 $mix
		end_server
		exec 6>&-
		[ "$ended" -eq 3 ]
		one_receipt
		[ "$(receipt_number cut)" -eq 1 ]
	done
}

@test "TERM after TERM goes on waiting; an INT after it too; a second INT cuts" {
	start_site
	open_connection
	for signal in TERM TERM INT; do
		kill "-$signal" "$server"
		wait_until grep -q 'last call' "$log"
		wait_until port_is_free "${address##*:}"
		kill -0 "$server"
	done
	# The INT was heard before the next one comes: signals of one kind that come together are one.
	wait_until signals_were_heard
	run ! grep -q cutting "$log"
	kill -INT "$server"
	end_server
	exec 6>&-
	[ "$ended" -eq 3 ]
	[ "$(receipt_number cut)" -eq 1 ]
}

# None is pending, and the master sleeps again.
signals_were_heard() {
	[ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$server/status")" = S ] &&
		[ "$(sed -n 's/^ShdPnd:\t0*\([^0].*\)/\1/p' "/proc/$server/status")" = '' ]
}

# ---- TERM at every moment ----

# term_after MILLISECONDS: a start that is stopped after so long.
term_after() {
	local pid status=0
	"$lastcall" run -c "$work/lastcall.conf" >out 2>log.moment 3>&- &
	pid=$!
	background=("$pid")
	sleep "$(printf '0.%03d' "$1")"
	kill -TERM "$pid"
	wait "$pid" || status=$?
	# 143: TERM came before anything was begun.
	if [ $status -ne 0 ] && [ $status -ne 143 ]; then
		echo "TERM after $1 ms: exit status $status"
		return 1
	fi
	if [ $status -eq 143 ] && [ -s out ]; then
		echo "TERM after $1 ms: killed when it was ready"
		return 1
	fi
	nothing_is_left
}

@test "TERM at any moment of the start is an orderly end: no orphan, no Unix path, no pid file" {
	printf '%s\n' 'service site http { root site; }' 'workers 2;' "pid-file $work/pid;" \
		"listen unix:$work/sock -> site;" 'listen 127.0.0.1:0 -> site;' >lastcall.conf
	step=10
	[ "$LASTCALL_ROUNDS" -le 2 ] || step=1
	for ((moment = 0; moment <= 300; moment += step)); do
		term_after $moment
	done
}

@test "TERM during the start with -d: nothing is left behind" {
	printf '%s\n' 'service site http { root site; }' 'workers 2;' "pid-file $work/pid;" \
		"listen unix:$work/sock -> site;" >lastcall.conf
	for ((round = 0; round < LASTCALL_ROUNDS * 5; round++)); do
		"$lastcall" run -c "$work/lastcall.conf" -d -e "$work/log.d" >/dev/null 2>&1 3>&- &
		starter=$!
		wait_until [ -s "$work/pid" ]
		run "$lastcall" stop -p "$work/pid"
		[ "$status" -eq 0 ]
		# The one in front was answered before, or is told that there is nobody.
		status=0
		wait $starter || status=$?
		[ $status -le 1 ]
		nothing_is_left
	done
}

@test "TERM while workers are being replaced is an orderly end" {
	for ((round = 0; round < LASTCALL_ROUNDS * 5; round++)); do
		start_conf 'service site http { root site; }
			workers 2;
			listen 127.0.0.1:0 -> site;'
		# Again and again, so that TERM comes in a start, in a back-off, or between death and replacement.
		for ((kills = 0; kills <= round % 4; kills++)); do
			# shellcheck disable=SC2046
			kill -KILL $(workers) 2>/dev/null || true
		done
		stop_server TERM
		[ "$ended" -eq 0 ]
		[ "$(receipt_number cut)" -eq 0 ]
		wait_until run ! pgrep -f "$work/lastcall.conf"
	done
}

@test "TERM in a back-off, with no worker alive, still serves the queue" {
	start_conf 'service site http { root site; }
		workers 1;
		listen 127.0.0.1:0 -> site;'
	# The first replacement comes at once, the later ones wait.
	wait_until kill_until_back_off
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&6
	kill -TERM "$server"
	[[ "$(timeout 10 cat <&6)" == *"200 OK"*"hello, and welcome"* ]]
	exec 6>&-
	end_server
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
}

kill_until_back_off() {
	# shellcheck disable=SC2046
	kill -KILL $(workers) 2>/dev/null
	grep -q 'starting another in' "$log"
}

# ---- the others ----

@test "HUP, USR1 and USR2 do not end it, nor a connection; each leaves a line" {
	start_site
	open_connection
	kill -HUP "$server"
	wait_until grep -q 'reloaded: ' "$log"
	serves
	kill -USR1 "$server"
	wait_until grep -q 'log files opened anew: ' "$log"
	serves
	kill -USR2 "$server"
	wait_until grep -q 'upgraded: ' "$log"
	serves
	finish_request
	stop_server TERM
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
}

@test "HUP and USR2 that come too late leave a line that says so; USR1 opens the log files" {
	start_site
	open_connection
	kill -TERM "$server"
	wait_until grep -q 'last call: TERM' "$log"
	kill -HUP "$server"
	wait_until grep -qx 'lastcall: error: reload: the server is stopping; going on as before' "$log"
	kill -USR2 "$server"
	wait_until grep -qx 'lastcall: error: upgrade: the server is stopping; going on as before' "$log"
	kill -USR1 "$server"
	wait_until grep -q 'log files opened anew: ' "$log"
	finish_request
	end_server
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
}

@test "signals that whoever started it had blocked or ignored are heard" {
	env --block-signal=TERM true 2>/dev/null || skip "this env(1) cannot block signals"
	as='env --block-signal=TERM,HUP,CHLD,TTIN --ignore-signal=USR1' start_site
	kill -HUP "$server"
	kill -USR1 "$server"
	wait_until grep -q 'reloaded: ' "$log"
	wait_until grep -q 'log files opened anew: ' "$log"
	# shellcheck disable=SC2046
	kill -KILL $(workers | head -n 1)
	wait_until grep -q 'was killed by signal 9' "$log"
	wait_until worker_count_is 2
	stop_server TERM
	[ "$ended" -eq 0 ]
}

@test "a CHLD without a death, and a PIPE, change nothing" {
	start_site
	before=$(workers)
	"$tools/storm" "$server" 100 CHLD
	kill -PIPE "$server"
	serves
	[ "$(workers)" = "$before" ]
	stop_server TERM
	[ "$ended" -eq 0 ]
}

@test "TTIN starts a worker more, TTOU retires one, and the last one stays" {
	start_site
	kill -TTIN "$server"
	wait_until worker_count_is 3
	for expected in 2 1; do
		kill -TTOU "$server"
		wait_until worker_count_is $expected
	done
	kill -TTOU "$server"
	wait_until signals_were_heard
	serves
	worker_count_is 1
	stop_server TERM
	[ "$ended" -eq 0 ]
}

@test "workers are deaf to what is meant for the master: a signal to the whole group loses nothing" {
	start_site
	open_connection
	before=$(workers)
	for signal in HUP INT USR1 USR2 TTIN TTOU QUIT TERM; do
		# shellcheck disable=SC2086
		kill "-$signal" $before
	done
	serves
	[ "$(workers)" = "$before" ]
	finish_request
	stop_server TERM
	[ "$ended" -eq 0 ]
}

@test "it lives through a storm of signals, serves, and ends in order" {
	count=20000
	[ "$LASTCALL_ROUNDS" -le 2 ] || count=100000
	start_site
	open_connection
	"$tools/storm" "$server" $count TTIN TTOU HUP USR1 USR2 CHLD
	serves
	finish_request
	wait_until signals_were_heard
	serves
	wait_until no_zombies
	"$tools/storm" "$server" $count TERM HUP TTIN TTOU
	end_server
	[ "$ended" -eq 0 ]
	one_receipt
	[ "$(receipt_number cut)" -eq 0 ]
}

# workers leaves them out.
no_zombies() {
	[ "$(pgrep -P "$server" | wc -l)" -eq "$(workers | wc -l)" ]
}

# ---- the clock ----

# Where the library of faketime(1) is, or nothing.
faketime_library() {
	local path
	for path in /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1 \
		/usr/lib64/faketime/libfaketimeMT.so.1; do
		if [ -e "$path" ]; then
			echo "$path"
			return
		fi
	done
}

# The year of the Date of an answer.
year_is() {
	curl -s --max-time 10 -o /dev/null -D - "http://$address/" | grep -q "^Date: .* $1 "
}

@test "a clock that jumps a year moves Date, and nothing else" {
	library=$(faketime_library)
	[ -n "$library" ] || skip "there is no libfaketime here"
	ldd "$lastcall" >/dev/null 2>&1 || skip "a static program takes no preloaded library"
	year=$(date -u +%Y)
	echo +0 >clock
	chmod 644 clock
	faked="env LD_PRELOAD=$library FAKETIME_TIMESTAMP_FILE=$work/clock FAKETIME_NO_CACHE=1 FAKETIME_DISABLE_SHM=1
		FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 ASAN_OPTIONS=verify_asan_link_order=0"
	# With clang's sanitizers each waits for the other.
	if is_sanitized; then
		# shellcheck disable=SC2086
		timeout 10 $faked "$lastcall" --version || skip "this sanitizer and libfaketime do not go together"
	fi
	as=$faked start_site
	before=$(workers)
	open_connection
	year_is "$year"
	for offset in +366d -366d +0; do
		echo $offset >clock.new
		mv clock.new clock
		case $offset in
		+366d) wait_until year_is $((year + 1)) ;;
		-366d) wait_until year_is $((year - 1)) ;;
		*) wait_until year_is "$year" ;;
		esac
	done
	echo +366d >clock
	wait_until year_is $((year + 1))
	sleep 1.5 # the time in which timers and the watchdog look; what is asserted does not depend on it
	[ "$(workers)" = "$before" ]
	finish_request
	stop_server TERM
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
	run ! grep -q 'watchdog\|killed\|exited' "$log"
}
