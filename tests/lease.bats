#!/usr/bin/env bats
# Leases: a port lives as long as the command that holds it, however that ends; a command gets its port and gives its
# status; and a daemon of one's own leaves nothing behind.

load helper

setup() {
	common_setup
	# Where a private daemon makes its folder: nothing may be left there. Its path has to fit into a socket's.
	mkdir "$work/t"
	export TMPDIR=$work/t
}

teardown() {
	common_teardown
}

start_daemon() {
	start run -s "$work/control" -w 2 "$@"
}

# What a shell starts in the background has INT and QUIT ignored, and a lease leaves it so: `env` undoes it.

# begin_lease WORD…: `lastcall lease WORD…` without a command, in the background, with descriptor 5 as its standard input.
# Sets holder and leased.
begin_lease() {
	rm -f input told
	mkfifo input told
	env --default-signal "$lastcall" lease "$@" <input >told 2>"$work/log.lease" 3>&- &
	holder=$!
	background+=($holder)
	exec 5>input
	read -r -t 20 leased <told
	[ -n "$leased" ]
}

end_lease() {
	lease_status=0
	wait "$holder" || lease_status=$?
	exec 5>&-
}

# The port of $leased answers, and is gone.
answers() {
	[ "$(curl -s --max-time 10 "http://$leased/")" = "hello, and welcome" ]
}

released() {
	port_is_free "${leased##*:}"
}

process_is_gone() {
	[ ! -e "/proc/$1" ] || [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)" = Z ]
}

# Processes that have this test's folder as their current one, but for the shell of the test and what it runs: those of
# private daemons among them.
daemons() {
	local pid
	for pid in $(pgrep -f "$lastcall lease"); do
		[ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" != "$work" ] || echo "$pid"
	done
}

nothing_is_left() {
	[ -z "$(daemons)" ] && [ -z "$(ls -A t)" ]
}

# ---- with a command ----

@test "a command finds its port in the environment, and the port is gone after it" {
	start_daemon
	run -0 --separate-stderr "$lastcall" lease 127.0.0.1:0 http ./site -- sh -c '
		curl -s "http://$LASTCALL_ADDR/" && curl -s "http://$LASTCALL_HOST:$LASTCALL_PORT/" && curl -s "$LASTCALL_URL"
		echo "$LASTCALL_ADDR"'
	[ -z "$stderr" ]
	[ "${lines[0]}" = "hello, and welcome" ]
	[ "${lines[1]}" = "hello, and welcome" ]
	[ "${lines[2]}" = "hello, and welcome" ]
	[[ "${lines[3]}" =~ ^127\.0\.0\.1:[0-9]+$ ]]
	port_is_free "${lines[3]##*:}"
	[[ "$("$lastcall" status)" == *", 0 listeners"* ]]
}

@test "whatever the form of the address, the command is told one that it can connect to" {
	start_daemon
	for form in :0 '*:0' 0.0.0.0:0 '[::]:0' '[::1]:0' localhost:0; do
		run -0 "$lastcall" lease "$form" http site -- sh -c '
			curl -gfs "http://$LASTCALL_ADDR/" && curl -gfs "$LASTCALL_URL" >/dev/null &&
			case $LASTCALL_HOST in *[]*[]*) exit 9 ;; esac'
		[ "$output" = "hello, and welcome" ]
	done
	run -0 "$lastcall" lease unix:a.sock http site -- sh -c '
		curl -fs --unix-socket "${LASTCALL_ADDR#unix:}" http://x/; echo "$LASTCALL_ADDR,$LASTCALL_HOST,$LASTCALL_PORT,${LASTCALL_URL-none}"'
	[ "${lines[0]}" = "hello, and welcome" ]
	[ "${lines[1]}" = "unix:$work/a.sock,,,none" ]
	[ ! -e a.sock ]
}

@test "the status is the command's: its own, 128+N for signal N, 126 and 127 as a shell has them" {
	start_daemon
	for status in 0 1 3 7 125 255; do
		run "-$status" "$lastcall" lease :0 echo -- sh -c "exit $status"
		[ -z "$output" ]
	done
	run -137 "$lastcall" lease :0 echo -- sh -c 'kill -KILL $$'
	run -143 "$lastcall" lease :0 echo -- sh -c 'kill -TERM $$'
	run -127 "$lastcall" lease :0 echo -- no-such-command
	[ "$output" = "lastcall: error: lease: no-such-command: No such file or directory" ]
	run -127 "$lastcall" lease :0 echo -- ./absent
	run -126 "$lastcall" lease :0 echo -- ./site
	[ "$output" = "lastcall: error: lease: ./site: Permission denied" ]
	: >plain
	run -126 "$lastcall" lease :0 echo -- ./plain
	[[ "$("$lastcall" status)" == *", 0 listeners"* ]]
}

@test "a port that cannot be had is status 125, and the command does not run" {
	start_daemon -l 127.0.0.1:0 echo
	for words in "$address echo" '127.0.0.1:0 nonsense' '192.0.2.1:0 echo' '127.0.0.1:0 http absent' \
		'no-such-host.invalid:0 echo'; do
		# shellcheck disable=SC2086
		run -125 --separate-stderr "$lastcall" lease $words -- touch ran
		[[ "$stderr" == "lastcall: error: lease: "* ]]
		[ ! -e ran ]
	done
	run -125 "$lastcall" lease -s nowhere :0 echo -- touch ran
	[ "$output" = "lastcall: error: lease: no lastcall is running at nowhere" ]
	[ ! -e ran ]
}

@test "an endpoint that was named and is not there is not replaced by a private daemon" {
	run -125 "$lastcall" lease :0 echo -- true
	[ "$output" = "lastcall: error: lease: no lastcall is running at $work/control" ]
	nothing_is_left
}

@test "the command has what it would have had without us: descriptors, signals, mask, arguments" {
	start_daemon
	facts='ls /proc/self/fd | wc -l; grep -E "^(Sig(Blk|Ign)|ShdPnd)" /proc/self/status; umask; pwd'
	sh -c "$facts" >direct 3>&-
	"$lastcall" lease :0 echo -- sh -c "$facts" >leased 3>&-
	diff direct leased
	run -0 "$lastcall" lease :0 echo -- printf '%s\n' -x -- 'a b' ''
	[ "$output" = $'-x\n--\na b' ]
	[ "${#lines[@]}" -eq 3 ]
	[ "$(echo through | "$lastcall" lease :0 echo -- cat)" = through ]
	# nohup's choice is the command's, too.
	run -0 bash -c 'trap "" HUP; "$1" lease :0 echo -- grep SigIgn /proc/self/status' - "$lastcall"
	[[ "$output" =~ SigIgn:.*1$ ]]
}

# traps FILE: a command that says in FILE that it runs, and which signals it got; it ends at TERM and at INT.
traps() {
	cat <<-EOF
		trap 'echo HUP >>$1' HUP
		trap 'echo TERM >>$1; exit 5' TERM
		trap 'echo INT >>$1; exit 6' INT
		echo "\$LASTCALL_ADDR" >$1.new
		mv $1.new $1
		while :; do sleep 0.05; done
	EOF
}

# begin_command PREFIX WORD…: a lease with the command of traps, in the background. Sets holder and leased.
begin_command() {
	traps "$work/got" >traps.sh
	# shellcheck disable=SC2086
	$1 env --default-signal "$lastcall" lease "${@:2}" -- bash traps.sh 2>"$work/log.lease" 3>&- &
	holder=$!
	background+=($holder)
	wait_until test -s got
	leased=$(head -n 1 got)
}

@test "TERM and HUP are passed on to the command, which decides; then the port is gone" {
	start_daemon
	begin_command '' 127.0.0.1:0 http site
	answers
	kill -HUP "$holder"
	wait_until grep -q HUP got
	answers
	kill -TERM "$holder"
	end_lease
	[ "$lease_status" -eq 5 ]
	[ "$(sed 1d got)" = $'HUP\nTERM' ]
	released
}

@test "INT of the terminal reaches both: the command ends as it likes, and gives the status" {
	start_daemon
	begin_command setsid 127.0.0.1:0 http site
	kill -INT -- "-$holder"
	end_lease
	[ "$lease_status" -eq 6 ]
	released
}

@test "a command goes on when its port is closed by somebody else, and gives the status" {
	start_daemon
	begin_command '' --ttl 100ms 127.0.0.1:0 http site
	wait_until released
	kill -0 "$holder"
	wait_until grep -q . log.lease
	[ "$(cat log.lease)" = "lastcall: lease: $leased: closed by the server (ttl); the command goes on" ]
	kill -TERM "$holder"
	end_lease
	[ "$lease_status" -eq 5 ]
	rm got
	begin_command '' 127.0.0.1:0 http site
	"$lastcall" stop >/dev/null
	[[ "$(cat log.lease)" == *"$leased: closed by the server (stop); the command goes on"* ]]
	kill -TERM "$holder"
	end_lease
	[ "$lease_status" -eq 5 ]
	end_server
}

@test "the daemon killed: the command is told, goes on, and gives the status" {
	start_daemon
	begin_command '' 127.0.0.1:0 http site
	stop_server KILL
	wait_until grep -q 'the connection to the server ended; the command goes on' log.lease
	kill -TERM "$holder"
	end_lease
	[ "$lease_status" -eq 5 ]
}

# ---- without one ----

@test "without a command the address is printed, and end of input closes the port: status 0, and the receipt" {
	start_daemon
	begin_lease 127.0.0.1:0 http site
	answers
	echo 'this means nothing' >&5
	answers
	exec 5>&-
	end_lease
	[ "$lease_status" -eq 0 ]
	released
	[[ "$(cat log.lease)" == "lastcall: lease: $leased: closed in "*" ms: 2 accepted, 2 answered, 0 cut" ]]
	run -0 "$lastcall" lease 127.0.0.1:0 echo </dev/null
	port_is_free "${lines[0]##*:}"
}

@test "without a command INT, TERM, HUP and QUIT close the port: status 0" {
	start_daemon
	for signal in INT TERM HUP QUIT; do
		begin_lease 127.0.0.1:0 http site
		kill "-$signal" "$holder"
		end_lease
		[ "$lease_status" -eq 0 ]
		released
	done
}

@test "the ttl ends it: status 0; somebody's close and a stop: status 1" {
	start_daemon
	begin_lease --ttl 100ms 127.0.0.1:0 http site
	end_lease
	[ "$lease_status" -eq 0 ]
	[[ "$(cat log.lease)" == "lastcall: lease: $leased: closed by the server (ttl)"* ]]
	released
	begin_lease 127.0.0.1:0 http site
	"$lastcall" close "$leased"
	end_lease
	[ "$lease_status" -eq 1 ]
	[[ "$(cat log.lease)" == "lastcall: lease: $leased: closed by the server (close)"* ]]
	begin_lease 127.0.0.1:0 http site
	"$lastcall" stop
	end_lease
	[ "$lease_status" -eq 1 ]
	[[ "$(cat log.lease)" == "lastcall: lease: $leased: closed by the server (stop)"* ]]
	end_server
}

@test "the daemon killed: it is said, status 1" {
	start_daemon
	begin_lease 127.0.0.1:0 http site
	stop_server KILL
	end_lease
	[ "$lease_status" -eq 1 ]
	[[ "$(cat log.lease)" == "lastcall: lease: $leased: the connection to the server ended" ]]
}

@test "kill -9 of the holder closes the port; who is in is served" {
	start_daemon
	begin_lease 127.0.0.1:0 http site
	exec 6<>"/dev/tcp/127.0.0.1/${leased##*:}"
	printf 'GET / HTTP/1.1\r\n' >&6
	kill -KILL "$holder"
	wait_until released
	printf 'Host: x\r\n\r\n' >&6
	[[ "$(timeout 10 cat <&6)" == *"200 OK"*"hello, and welcome"* ]]
	exec 6>&-
	exec 5>&-
}

@test "a holder that hangs keeps its port, unless a heartbeat is asked for" {
	start_daemon
	begin_lease --heartbeat 300ms 127.0.0.1:0 http site
	heart=$leased heart_pid=$holder
	exec 8>&5
	begin_lease 127.0.0.1:0 http site
	# It beats: ten times its heartbeat later it is still there.
	sleep 3
	answers
	leased=$heart answers
	kill -STOP "$heart_pid" "$holder"
	wait_until port_is_free "${heart##*:}"
	answers
	kill -CONT "$heart_pid" "$holder"
	status=0
	wait "$heart_pid" || status=$?
	[ "$status" -eq 1 ]
	kill -TERM "$holder"
	end_lease
	[ "$lease_status" -eq 0 ]
	exec 8>&-
}

# ---- a daemon of one's own ----

@test "where no daemon is running a command gets one of its own, and nothing of it is left" {
	unset LASTCALL_CONTROL
	export XDG_RUNTIME_DIR=$work/xdg
	[ ! -e /run/lastcall/control.sock ] || [ "$(id -u)" -ne 0 ] || skip "a lastcall is running here"
	run -0 --separate-stderr "$lastcall" lease :0 http ./site -- sh -c 'curl -fs "http://$LASTCALL_ADDR/"'
	[ "$output" = "hello, and welcome" ]
	[ -z "$stderr" ]
	nothing_is_left
	[ ! -e xdg ]
	# Without a command there is no end to wait for.
	run -1 --separate-stderr "$lastcall" lease :0 http ./site
	[[ "$stderr" == "lastcall: error: lease: no lastcall is running at "* ]]
}

@test "--private starts one although another is running, and it is shared with nobody" {
	start_daemon
	run -0 "$lastcall" lease --private 127.0.0.1:0 http ./site -- sh -c '
		"$1" status; ls -A t; curl -fs "http://$LASTCALL_ADDR/"' - "$lastcall"
	[[ "${lines[0]}" == *"pid $server: "*", 0 listeners"* ]]
	[ "${lines[-1]}" = "hello, and welcome" ]
	# Its endpoint is gone as soon as the client is there.
	[ "$(grep -c '^lastcall\.' <<<"$output")" -eq 0 ]
	nothing_is_left
}

@test "the command of a private daemon: status, signals, and nothing left" {
	for status in 0 7; do
		run "-$status" "$lastcall" lease --private :0 echo -- sh -c "exit $status"
		nothing_is_left
	done
	run -127 "$lastcall" lease --private :0 echo -- no-such-command
	nothing_is_left
	begin_command '' --private 127.0.0.1:0 http site
	answers
	kill -TERM "$holder"
	end_lease
	[ "$lease_status" -eq 5 ]
	released
	nothing_is_left
}

@test "Ctrl-C reaches the command and not its daemon, which serves until the command has ended" {
	cat >slow.sh <<-'EOF'
		trap 'curl -fs "http://$LASTCALL_ADDR/" >got; exit 4' INT
		echo "$LASTCALL_ADDR" >began
		while :; do sleep 0.05; done
	EOF
	setsid env --default-signal "$lastcall" lease --private 127.0.0.1:0 http site -- bash slow.sh 2>"$work/log.lease" 3>&- &
	holder=$!
	background+=($holder)
	wait_until test -s began
	kill -INT -- "-$holder"
	end_lease
	[ "$lease_status" -eq 4 ]
	[ "$(cat got)" = "hello, and welcome" ]
	nothing_is_left
}

@test "a private daemon that cannot open the port, or cannot start: status 125, and nothing is left" {
	start run --no-control -w 1 -l 127.0.0.1:0 echo
	run -125 --separate-stderr "$lastcall" lease --private "$address" http site -- touch ran
	[[ "$stderr" == "lastcall: error: lease: "*"in use"* ]]
	nothing_is_left
	run -125 "$lastcall" lease --private :0 http absent -- touch ran
	nothing_is_left
	[ "$(id -u)" -ne 0 ] || as=$unprivileged
	mkdir closed
	chmod 555 closed
	# shellcheck disable=SC2086
	TMPDIR=$work/closed run -125 --separate-stderr $as "$lastcall" lease --private :0 echo -- touch ran
	[[ "$stderr" == *"$work/closed/lastcall."*": Permission denied"* ]]
	[ ! -e ran ]
	nothing_is_left
}

@test "kill -9 of a lease leaves no private daemon, no port and no file" {
	for _ in 1 2 3; do
		rm -f got
		begin_command '' --private 127.0.0.1:0 http site
		answers
		command=$(pgrep -P "$holder" -x bash)
		kill -KILL "$holder"
		wait_until released
		wait_until process_is_gone "$holder"
		wait_until nothing_is_left
		# The command is nobody's to end but its own.
		kill -TERM "$command"
		wait_until process_is_gone "$command"
	done
}

@test "kill -9 of a whole process group leaves no private daemon, either" {
	begin_command setsid --private 127.0.0.1:0 http site
	answers
	kill -KILL -- "-$holder"
	wait_until released
	wait_until nothing_is_left
}

@test "kill -9 of a lease that is about to start its daemon leaves nothing, whenever it comes" {
	for delay in 0 0.002 0.005 0.01 0.015 0.02 0.03 0.05; do
		"$lastcall" lease --private 127.0.0.1:0 echo -- sleep 1 3>&- &
		holder=$!
		sleep "$delay"
		kill -KILL "$holder"
		wait "$holder" || true
		wait_until nothing_is_left
	done
}

@test "kill -9 of a private daemon: the command is told and gives the status; nothing is left" {
	begin_command '' --private 127.0.0.1:0 http site
	for pid in $(daemons); do
		[ "$pid" = "$holder" ] || [ "$(ps -o ppid= -p "$pid" | tr -d ' ')" != "$holder" ] || daemon=$pid
	done
	kill -KILL "$daemon"
	wait_until grep -q 'the connection to the server ended; the command goes on' log.lease
	wait_until released
	kill -TERM "$holder"
	end_lease
	[ "$lease_status" -eq 5 ]
	wait_until nothing_is_left
}

@test "private leases at the same time know nothing of each other" {
	for i in 1 2 3 4 5 6 7 8; do
		mkdir "site.$i"
		echo "page $i" >"site.$i/index.html"
		"$lastcall" lease --private 127.0.0.1:0 http "./site.$i" -- sh -c 'curl -fs "http://$LASTCALL_ADDR/"' \
			>"page.$i" 2>"$work/log.$i" 3>&- &
		holders[i]=$!
	done
	for i in 1 2 3 4 5 6 7 8; do
		wait "${holders[i]}"
		[ "$(cat "page.$i")" = "page $i" ]
	done
	nothing_is_left
}

@test "TERM while the daemon still finishes cuts what is open" {
	cat >leave.sh <<-'EOF'
		exec 6<>"/dev/tcp/127.0.0.1/$LASTCALL_PORT"
		printf 'GET' >&6
		sleep 60 &
		echo $! >sleeper
		sleep 0.3
	EOF
	"$lastcall" lease --private 127.0.0.1:0 http site -- bash leave.sh 2>"$work/log.lease" 3>&- &
	holder=$!
	background+=($holder)
	wait_until test -s sleeper
	background+=("$(cat sleeper)")
	# The command has ended, and who it left behind still holds a connection.
	wait_until eval '[ -z "$(pgrep -P "$holder" -x bash)" ]'
	kill -0 "$holder"
	kill -TERM "$holder"
	wait_until process_is_gone "$holder"
	wait_until nothing_is_left
}
