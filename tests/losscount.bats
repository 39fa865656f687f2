#!/usr/bin/env bats
# The instrument must be right before what it measures can be believed: for each way in which a
# server can fail, losscount counts exactly that class, and for correct servers it counts no loss.
# faulty fails on purpose.

# Each test is a subshell with its own variables.
# shellcheck disable=SC2001,SC2013,SC2030,SC2031
bats_require_minimum_version 1.5.0

setup() {
	: "${LASTCALL_BUILD:?is the folder of the binaries}"
	losscount=$LASTCALL_BUILD/tools/losscount
	pids=()
}

teardown() {
	local pid
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
}

# faulty OPTION… WAY: starts it, sets address. Opening the pipe to read waits for the ready line.
faulty() {
	local fifo=$BATS_TEST_TMPDIR/ready.${#pids[@]} word
	mkfifo "$fifo"
	"$LASTCALL_BUILD/tools/faulty" "$@" >"$fifo" 3>&- &
	pids+=($!)
	read -r -t 20 word address <"$fifo"
	[ "$word" = listening ]
}

# count STATUS OPTION…: runs losscount against address, keeps what it printed.
count() {
	local wanted=$1
	shift
	run -"$wanted" "$losscount" "$@" "$address"
	counted=$output
}

# expect KEY=VALUE…: exactly these counters, and no other, are not 0 (times apart).
expect() {
	local wanted found
	wanted=$(printf '%s\n' "$@" | sort)
	found=$(grep -Ev '=0$|^(latency_max|elapsed|connect_slow)' <<<"$counted" | sort)
	if [ "$wanted" != "$found" ]; then
		diff <(echo "$wanted") <(echo "$found")
	fi
}

value() {
	sed -n "s/^$1=//p" <<<"$counted"
}

# The body that faulty sends: the alphabet over and over.
alphabet() {
	local i
	for ((i = 0; i < $1; i += 26)); do
		printf abcdefghijklmnopqrstuvwxyz
	done | head -c "$1"
}

# ---- correct servers ---------------------------------------------------------------------

@test "a correct server loses nothing: one request per connection" {
	faulty ok
	count 0 -n 200 -c 8 -e 1000
	expect connected=200 answered=200 responses=200 clean_close=200
}

@test "a correct server loses nothing: keep-alive, the client closes" {
	faulty -k 5 ok
	count 0 -m keep -r 50 -n 20 -c 8 -e 1000
	expect connected=20 answered=20 responses=1000 client_close=20
}

@test "a correct server loses nothing: idle between requests" {
	faulty -k 5 ok
	count 0 -m idle -i 20 -r 5 -n 8 -c 8
	expect connected=8 answered=8 responses=40 client_close=8
}

@test "a correct server loses nothing: silent clients" {
	faulty ok
	count 0 -m silent -i 50 -n 8 -c 8
	expect connected=8 answered=8 responses=8 clean_close=8
}

@test "a correct server loses nothing: over a unix socket" {
	faulty -u "$BATS_TEST_TMPDIR/socket" ok
	count 0 -n 50 -c 8
	expect connected=50 answered=50 responses=50 clean_close=50
}

@test "a run that ends with its duration has lost nothing and left nothing out" {
	faulty -k 5 ok
	count 0 -m keep -d 200 -c 8
	expect connected=8 answered=8 "responses=$(value responses)" client_close=8
	count 0 -d 200 -c 8
	expect "connected=$(value answered)" "answered=$(value answered)" \
		"responses=$(value answered)" "clean_close=$(value answered)"
}

@test "silent clients cut by the end of the run are unasked, not lost; nothing answered is 4" {
	faulty ok
	count 4 -m silent -i 30000 -d 200 -c 4
	expect connected=4 client_close=4 unasked=4
}

@test "TERM ends the run as its duration does" {
	faulty -k 5 ok
	local fifo=$BATS_TEST_TMPDIR/load pid
	mkfifo "$fifo"
	"$losscount" -m keep -c 4 -d 30000 --ready-fd 9 "$address" \
		9>"$fifo" >"$BATS_TEST_TMPDIR/out" 3>&- &
	pid=$!
	pids+=("$pid")
	read -r -t 20 line <"$fifo"
	[ "$line" = ready ]
	kill "$pid"
	wait "$pid"
	counted=$(cat "$BATS_TEST_TMPDIR/out")
	expect connected=4 answered=4 "responses=$(value responses)" client_close=4
	[ "$(value elapsed_ms)" -lt 25000 ]
}

@test "an announced close is a clean one" {
	faulty announce
	count 0 -m keep -n 20 -c 4
	expect connected=20 answered=20 responses=20 clean_close=20
}

@test "a response in single bytes, after an interim one, is whole" {
	faulty fragments
	alphabet 26 >"$BATS_TEST_TMPDIR/body"
	count 0 -m keep -n 4 -c 4 --expect-file "$BATS_TEST_TMPDIR/body"
	expect connected=4 answered=4 responses=4 clean_close=4
}

@test "a body that ends with the connection is whole" {
	faulty -b 70000 until-close
	count 0 -n 4 -c 4 -e 70000
	expect connected=4 answered=4 responses=4 clean_close=4
	count 1 -n 4 -c 4 -e 70001
	expect connected=4 truncated=4 lost=4
}

@test "the body is compared with a file" {
	faulty -b 100000 ok
	alphabet 100000 >"$BATS_TEST_TMPDIR/body"
	count 0 -n 8 -c 4 --expect-file "$BATS_TEST_TMPDIR/body"
	expect connected=8 answered=8 responses=8 clean_close=8
}

@test "echo: the same bytes, then end of file" {
	faulty echo
	count 0 -P echo -b 300000 -n 20 -c 4
	expect connected=20 answered=20 responses=20 clean_close=20
	count 0 -P echo -m keep -b 5000 -r 10 -n 8 -c 4
	expect connected=8 answered=8 responses=80 client_close=8
	count 0 -P echo -m silent -i 20 -n 8 -c 4
	expect connected=8 answered=8 responses=8 clean_close=8
}

# ---- never let in ------------------------------------------------------------------------

@test "refused is not lost" {
	faulty -n 10 refuse-after
	count 0 -c 1 -d 30000 --stop-on-refused
	expect connected=10 answered=10 responses=10 clean_close=10 refused=1
}

@test "nobody listening: refused, again and again, and 4" {
	faulty -n 1 refuse-after
	count 0 -n 1
	count 4 -c 2 -d 100 --stop-on-refused
	expect "refused=$(value refused)"
	[ "$(value refused)" -ge 2 ]
}

@test "a socket that TCP connects to itself is nobody let in" {
	unshare -rn ip link set lo up 2>/dev/null || skip "no network namespace here"
	address=127.0.0.1:40000
	# shellcheck disable=SC2016
	run -4 unshare -rn sh -c 'ip link set lo up &&
		echo 40000 40003 >/proc/sys/net/ipv4/ip_local_port_range && exec "$@"' \
		sh "$losscount" -c 4 -d 500 "$address"
	counted=$output
	[ "$(value self_connected)" -gt 0 ]
	expect "refused=$(value refused)" "self_connected=$(value self_connected)"
}

@test "a unix socket that is gone is refused" {
	address=unix:$BATS_TEST_TMPDIR/nothing
	count 4 -c 1 -d 50
	expect "refused=$(value refused)"
}

@test "a dropped SYN is slow, not lost" {
	faulty slow-handshake
	count 0 -c 1 -n 1
	expect connected=1 answered=1 responses=1 clean_close=1
	[ "$(value connect_slow)" -eq 1 ]
	[ "$(value latency_max_connect_ms)" -ge 900 ]
}

# ---- lost --------------------------------------------------------------------------------

@test "reset right after accept" {
	faulty reset-accept
	count 1 -n 50 -c 8
	expect connected=50 reset=50 lost=50
	count 1 -n 8 -c 8 -m silent -i 30000
	expect connected=8 reset=8 lost=8
	count 1 -n 8 -c 8 -m connect
	expect connected=8 reset=8 lost=8
}

@test "reset right after accept, over a unix socket" {
	faulty -u "$BATS_TEST_TMPDIR/socket" reset-accept
	count 1 -n 20 -c 4
	[ "$(value connected)" -eq 20 ]
	[ "$(value lost)" -eq 20 ]
}

@test "a listener closed with connections in its queue resets them" {
	faulty -n 20 unread-queue
	count 1 -n 20 -c 20 --stop-on-refused
	expect connected=20 reset=20 lost=20
}

@test "reset after the request" {
	faulty reset-request
	count 1 -n 20 -c 4
	expect connected=20 reset=20 lost=20
}

@test "end of file right after accept" {
	faulty eof-accept
	count 1 -n 20 -c 4
	expect connected=20 eof=20 lost=20
	count 1 -n 4 -c 4 -m silent -i 30000
	expect connected=4 eof=4 lost=4
}

@test "end of file after the request" {
	faulty eof-request
	count 1 -n 20 -c 4 -m keep
	expect connected=20 eof=20 lost=20
}

@test "end of file within the head is truncated" {
	faulty part-head
	count 1 -n 8 -c 4
	expect connected=8 truncated=8 lost=8
}

@test "end of file within the body is truncated" {
	faulty short-eof
	count 1 -n 8 -c 4
	expect connected=8 truncated=8 lost=8
}

@test "reset within the body is truncated" {
	faulty short-reset
	count 1 -n 8 -c 4
	expect connected=8 truncated=8 lost=8
}

@test "more bytes than announced are truncated, in keep mode too" {
	faulty surplus
	count 1 -n 8 -c 4
	expect connected=8 truncated=8 lost=8
	count 1 -n 4 -c 4 -m idle -i 20000
	[ "$(value truncated)" -eq 4 ]
}

@test "a body of another length or with another byte is truncated" {
	faulty wrong-body
	alphabet 1000 >"$BATS_TEST_TMPDIR/body"
	count 0 -n 8 -c 4 -e 1000
	count 1 -n 8 -c 4 -e 999
	expect connected=8 truncated=8 lost=8
	count 1 -n 8 -c 4 -e 1001
	expect connected=8 truncated=8 lost=8
	count 1 -n 8 -c 4 --expect-file "$BATS_TEST_TMPDIR/body"
	expect connected=8 truncated=8 lost=8
}

@test "what is not HTTP is truncated" {
	faulty malformed
	count 1 -n 8 -c 4
	expect connected=8 truncated=8 lost=8
}

@test "no answer within -T is a timeout" {
	faulty never
	count 1 -n 4 -c 4 -T 200
	expect connected=4 timeout=4 lost=4
	count 1 -n 4 -c 4 -T 200 -m connect
	expect connected=4 timeout=4 lost=4
}

@test "a request that is outstanding when the duration is over is waited for" {
	faulty never
	count 1 -d 100 -c 4 -T 500
	expect connected=4 timeout=4 lost=4
	[ "$(value elapsed_ms)" -ge 500 ]
}

@test "a reused connection reset within the promised time is lost" {
	faulty -k 30 reuse-reset
	count 1 -m keep -n 8 -c 4
	expect connected=8 responses=8 reused_reset=8 lost=8
}

@test "a reused connection ended within the promised time is lost" {
	faulty -k 30 reuse-eof
	count 1 -m idle -i 20 -n 8 -c 4
	expect connected=8 responses=8 reused_reset=8 lost=8
}

@test "a reused connection reset within the second response is truncated, promise or not" {
	faulty reuse-short
	count 1 -m keep -n 8 -c 4
	expect connected=8 responses=8 truncated=8 lost=8
}

@test "echo that drops a byte is truncated, or times out where it may still come" {
	faulty echo-drop
	count 1 -P echo -n 8 -c 4
	expect connected=8 truncated=8 lost=8
	count 1 -P echo -b 1 -n 8 -c 4
	expect connected=8 eof=8 lost=8
	faulty echo-garble
	count 1 -P echo -n 8 -c 4
	expect connected=8 truncated=8 lost=8
}

# ---- neither answered nor lost, and informational ----------------------------------------

@test "a reused connection reset without a promise, or after its time, is late" {
	faulty reuse-reset
	count 4 -m keep -n 8 -c 4
	expect connected=8 responses=8 reused_late=8
	faulty -k 0 reuse-eof
	count 4 -m keep -n 8 -c 4
	expect connected=8 responses=8 reused_late=8
}

@test "an idle connection ended before the promised time is an early close" {
	faulty -k 30 idle-eof
	count 0 -m idle -i 20000 -n 4 -c 4
	expect connected=4 answered=4 responses=4 early_close=4
	faulty -k 30 idle-reset
	count 0 -m idle -i 20000 -n 4 -c 4
	expect connected=4 answered=4 responses=4 early_close=4
}

@test "an idle connection ended without a promise is a clean close, reset it is a reset after" {
	faulty idle-eof
	count 0 -m idle -i 20000 -n 4 -c 4
	expect connected=4 answered=4 responses=4 clean_close=4
	faulty idle-reset
	count 0 -m idle -i 20000 -n 4 -c 4
	expect connected=4 answered=4 responses=4 reset_after=4
}

@test "a 408 on an idle connection is an answer and a clean close" {
	faulty idle-408
	count 0 -m idle -i 20000 -n 4 -c 4
	expect connected=4 answered=4 responses=8 clean_close=4 status_4xx=4 status_408=4
}

@test "a connection that is not closed after its last response is counted, not lost" {
	faulty never-close
	count 0 -m keep -n 4 -c 4 -T 200
	expect connected=4 answered=4 responses=4 not_closed=4
}

@test "408 and close is an answer: to a request, to a silent client, to one that never speaks" {
	faulty 408
	local options
	for options in "-m close" "-m silent -i 20000" "-m connect -i 20000"; do
		# shellcheck disable=SC2086
		count 0 $options -n 8 -c 4
		expect connected=8 answered=8 responses=8 clean_close=8 status_4xx=8 status_408=8
	done
}

@test "who never speaks gets an orderly end, but not before its time" {
	faulty eof-accept
	count 0 -m connect -i 0 -n 8 -c 4
	expect connected=8 answered=8 clean_close=8
	count 1 -m connect -i 30000 -n 8 -c 4
	expect connected=8 eof=8 lost=8
}

@test "503 is an answer, and counted" {
	faulty 503
	count 0 -n 8 -c 4 -e 1000
	expect connected=8 answered=8 responses=8 clean_close=8 status_5xx=8
}

# ---- the command line --------------------------------------------------------------------

@test "--ready-fd: one line when every client was answered, nothing when not" {
	faulty -k 5 ok
	"$losscount" -m keep -r 2 -n 8 -c 4 --ready-fd 9 "$address" 9>"$BATS_TEST_TMPDIR/ready" >&2
	[ "$(cat "$BATS_TEST_TMPDIR/ready")" = ready ]
	faulty eof-accept
	run -1 "$losscount" -n 4 -c 4 --ready-fd 9 "$address" 9>"$BATS_TEST_TMPDIR/ready"
	[ ! -s "$BATS_TEST_TMPDIR/ready" ]
}

@test "--json is one object with the same keys" {
	faulty ok
	count 0 -n 4 -c 2
	run -0 "$losscount" --json -n 4 -c 2 "$address"
	[ "${#lines[@]}" -eq 1 ]
	[[ $output == '{"connected":4,"answered":4,'*',"lost":0,"unaccounted":0,'*'}' ]]
	diff <(sed 's/=.*//' <<<"$counted") <(grep -o '"[a-z0-9_]*"' <<<"$output" | tr -d '"')
}

@test "wrong usage is 2" {
	local arguments
	for arguments in "" "-c 0 127.0.0.1:1" "-m walk 127.0.0.1:1" "-P ftp 127.0.0.1:1" \
		"127.0.0.1" "localhost:1" "-n x 127.0.0.1:1" "--nonsense 127.0.0.1:1" \
		"--expect-file /nonexistent 127.0.0.1:1" "127.0.0.1:1 127.0.0.1:2"; do
		# shellcheck disable=SC2086
		run -2 "$losscount" $arguments
		[ -n "$output" ]
	done
}

@test "--help defines every counter that is printed" {
	faulty ok
	count 0 -n 1
	run -0 "$losscount" --help
	local key
	for key in $(sed 's/=.*//' <<<"$counted"); do
		grep -q "^  $key " <<<"$output"
	done
}
