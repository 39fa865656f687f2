#!/usr/bin/env bats
# Last call: the promise. Every connection whose handshake completed gets its answer, whatever is done to the server
# under load, and the counting client says so. LASTCALL_ROUNDS is how often each is done.

load helper

setup() {
	common_setup
}

teardown() {
	common_teardown
}

# rounds COMMAND…: does it as often as asked.
rounds() {
	local round
	for ((round = 0; round < LASTCALL_ROUNDS; round++)); do
		"$@"
	done
}

# One server, one load, one TERM: nothing is lost, and the receipt and the status say so.
stop_once() {
	local mode=$1
	shift
	start run -l "${listen:-127.0.0.1:0}" http site -w 2
	load_begin -c 100 -m "$mode" -t /1k.txt -e 1000 -d 30000 "$@"
	stop_server TERM
	load_end
	nothing_lost
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
}

# The same with both workers stopped first, so that the accept queue is full of connections when TERM comes.
stop_with_full_queue() {
	local mode=$1
	shift
	start run -l "${listen:-127.0.0.1:0}" http site -w 2
	load_begin -c 100 -m "$mode" -t /1k.txt -e 1000 -d 30000 "$@"
	# shellcheck disable=SC2046
	kill -STOP $(workers)
	sleep 0.2 # the time in which the queue fills; what is asserted does not depend on it
	kill -TERM "$server"
	# shellcheck disable=SC2046
	kill -CONT $(workers)
	end_server
	load_end
	nothing_lost
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
}

# ---- TERM under load, in each mode ----

@test "TERM under load loses nothing: one request per connection" {
	rounds stop_once close
}

@test "TERM under load loses nothing: keep-alive" {
	rounds stop_once keep
}

@test "TERM under load loses nothing: keep-alive with idle time" {
	rounds stop_once idle -i 300
}

@test "TERM under load loses nothing: connect, wait, ask" {
	rounds stop_once silent -i 100
}

@test "TERM under load loses nothing: connect and never speak" {
	start_conf 'service site http { root site; header-timeout 1s; }
		workers 2;
		listen 127.0.0.1:0 -> site;'
	load_begin -c 50 -m connect -i 900 -d 10000
	stop_server TERM
	load_end
	nothing_lost
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
}

@test "TERM with the accept queue full of silent connections loses nothing" {
	rounds stop_with_full_queue silent -i 100
}

@test "TERM with the accept queue full loses nothing: one request per connection" {
	rounds stop_with_full_queue close
}

# How many connections wait in the accept queue.
queued() {
	ss -Hltn "sport = :${address##*:}" | awk '{ print $2 }'
}

queue_is_full() {
	[ "$(queued)" -gt 8 ]
}

# Before TERM nobody is served, so whoever is not in by then has met a full queue, as the kernel has it, and comes again
# after a second: to a server that is gone, or is let in by one that still drains.
@test "TERM with more connections than the backlog holds loses nothing" {
	for mode in close silent; do
		start_conf 'service site http { root site; }
			workers 2; backlog 8;
			listen 127.0.0.1:0 -> site;'
		# shellcheck disable=SC2046
		kill -STOP $(workers)
		"$tools/losscount" -c 14 -n 14 -m $mode -i 100 -t /1k.txt -e 1000 "$address" >"$work/counted" 2>&1 3>&- &
		load_pid=$!
		background+=($load_pid)
		wait_until queue_is_full
		kill -TERM "$server"
		# shellcheck disable=SC2046
		kill -CONT $(workers)
		end_server
		load_end
		nothing_lost
		[ "$(counted answered)" -ge 9 ]
		[ "$ended" -eq 0 ]
		[ "$(receipt_number cut)" -eq 0 ]
	done
}

@test "TERM under load loses nothing: echo" {
	start run -l 127.0.0.1:0 echo -w 2
	load_begin -c 50 -P echo -m close -b 4096 -d 30000
	stop_server TERM
	load_end
	nothing_lost
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
}

# ---- every kind of listener, both gates ----

@test "TERM loses nothing as root, where SYNs are filtered" {
	[ "$(id -u)" -eq 0 ] || skip "wants root"
	printf 'workers 2; log-level info; service site http { root site; }\nlisten 127.0.0.1:0 -> site;\n' >lastcall.conf
	rounds gate_once "SYN filter"
}

@test "TERM loses nothing without privilege, where the TTL is the gate" {
	printf 'workers 2; log-level info; service site http { root site; }\nlisten 127.0.0.1:0 -> site;\n' >lastcall.conf
	as=$unprivileged rounds gate_once TTL
}

gate_once() {
	start run -c lastcall.conf
	load_begin -c 100 -m close -t /1k.txt -e 1000 -d 30000
	stop_server TERM
	load_end
	nothing_lost
	# The POSIX twin knows only one.
	if [[ "$("$lastcall" --version)" != *posix* ]]; then
		grep -q "gate: $1" "$log"
	fi
}

@test "TERM loses nothing on IPv6" {
	listen='[::1]:0' rounds stop_once close
}

@test "TERM loses nothing on a dual-stack socket, over IPv4 and over IPv6" {
	for host in 127.0.0.1 '[::1]'; do
		start run -l :0 http site -w 2
		address=$host:${address##*:}
		load_begin -c 100 -m close -t /1k.txt -e 1000 -d 30000
		stop_server TERM
		load_end
		nothing_lost
		[ "$ended" -eq 0 ]
	done
}

@test "TERM loses nothing on a dual-stack socket with the TTL gate" {
	for host in 127.0.0.1 '[::1]'; do
		as=$unprivileged start run -l :0 http site -w 2
		address=$host:${address##*:}
		load_begin -c 100 -m close -t /1k.txt -e 1000 -d 30000
		stop_server TERM
		load_end
		nothing_lost
		[ "$ended" -eq 0 ]
	done
}

@test "TERM loses nothing on a Unix socket, and removes it" {
	for ((round = 0; round < LASTCALL_ROUNDS; round++)); do
		start run -l "unix:$work/sock" http site -w 2
		load_begin -c 50 -m close -t /1k.txt -e 1000 -d 30000
		stop_server TERM
		load_end
		nothing_lost
		[ "$ended" -eq 0 ]
		[ ! -e "$work/sock" ]
	done
}

@test "TERM closes several listeners at once, and loses nothing on any" {
	start run -l 127.0.0.1:0 http site -l '[::1]:0' http site -l 127.0.0.1:0 echo -w 2
	[ "${#addresses[@]}" -eq 3 ]
	load_begin -c 50 -m close -t /1k.txt -e 1000 -d 30000
	"$tools/losscount" --stop-on-refused -c 20 -P echo -d 30000 "${addresses[2]}" >"$work/counted.echo" 3>&- &
	echo_pid=$!
	background+=($echo_pid)
	wait_until grep -q . <(curl -s "http://${addresses[1]}/1k.txt")
	stop_server TERM
	load_end
	nothing_lost
	wait $echo_pid || [ $? -eq 4 ] # 4: it had not begun
	grep -qx lost=0 "$work/counted.echo"
}

# ---- what a connection is owed in a drain ----

@test "an answer under drain says Connection: close, and an idle connection keeps its promise" {
	start_site
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n' >&6
	read_answer
	[[ "$answer" == *"Keep-Alive: timeout=5"* ]]
	kill -TERM "$server"
	wait_until port_is_free "${address##*:}"
	printf 'GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n' >&6
	read_answer
	[[ "$answer" == *"200 OK"*"Connection: close"* ]]
	[ -z "$(timeout 10 cat <&6)" ]
	exec 6>&-
	end_server
	[ "$ended" -eq 0 ]
	[ "$(receipt)" = "1 answered, 0 of them from the queue, 0 cut" ]
}

# Reads a head from descriptor 6 into answer, and the 19 bytes of index.html after it.
read_answer() {
	local line
	answer=''
	while IFS= read -r -t 10 line <&6; do
		answer+=$line$'\n'
		[ "$line" = $'\r' ] && break
	done
	IFS= read -r -t 10 line <&6
	[ "$line" = "hello, and welcome" ]
}

@test "a connection that has not spoken when TERM comes is answered: what it asks for, or 408" {
	start_conf 'service site http { root site; header-timeout 2s; }
		workers 2;
		listen 127.0.0.1:0 -> site;'
	exec 5<>"/dev/tcp/127.0.0.1/${address##*:}" 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	kill -TERM "$server"
	wait_until port_is_free "${address##*:}"
	printf 'GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n' >&6
	[[ "$(timeout 10 cat <&6)" == *"200 OK"*"hello"* ]]
	[[ "$(timeout 10 cat <&5)" == "HTTP/1.1 408 "* ]]
	exec 5>&- 6>&-
	end_server
	[ "$ended" -eq 0 ]
	[ "$(receipt_number answered)" -eq 2 ]
}

@test "what was pipelined is answered under drain, and only the last answer closes" {
	start_site
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n' >&6
	read_answer
	kill -TERM "$server"
	wait_until port_is_free "${address##*:}"
	# In one write: the shell's own printf makes one of each line.
	printf 'GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n%.0s' 1 2 3 >pipelined
	cat pipelined >&6
	answers=$(timeout 10 cat <&6)
	[ "$(grep -c '^HTTP/1.1 200' <<<"$answers")" -eq 3 ]
	[ "$(grep -c '^Connection: close' <<<"$answers")" -eq 1 ]
	exec 6>&-
	end_server
	[ "$ended" -eq 0 ]
}

@test "grace cuts what is still open, counts it, and the status is 3" {
	start_conf 'service site http { root site; header-timeout 60s; }
		grace 500ms; workers 2;
		listen 127.0.0.1:0 -> site;'
	exec 5<>"/dev/tcp/127.0.0.1/${address##*:}" 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	stop_server TERM
	exec 5>&- 6>&-
	[ "$ended" -eq 3 ]
	[ "$(receipt)" = "0 answered, 0 of them from the queue, 2 cut" ] ||
		[ "$(receipt)" = "0 answered, 2 of them from the queue, 2 cut" ] ||
		[ "$(receipt)" = "0 answered, 1 of them from the queue, 2 cut" ]
}

@test "QUIT cuts at once and says so; a second INT does the same" {
	for signals in QUIT "INT INT"; do
		start_conf 'service site http { root site; header-timeout 60s; }
			workers 2;
			listen 127.0.0.1:0 -> site;'
		exec 5<>"/dev/tcp/127.0.0.1/${address##*:}"
		printf 'GET' >&5
		for signal in $signals; do
			kill "-$signal" "$server"
			wait_until grep -qE 'last call|cutting' "$log"
		done
		end_server
		exec 5>&-
		[ "$ended" -eq 3 ]
		[ "$(receipt_number cut)" -eq 1 ]
	done
}

@test "QUIT with nobody there is status 0" {
	start_site
	stop_server QUIT
	[ "$ended" -eq 0 ]
}

@test "the port can be bound again as soon as it is reported closed, with a client still being served" {
	start_site
	port=${address##*:}
	exec 6<>"/dev/tcp/127.0.0.1/$port"
	printf 'GET' >&6
	wait_until connections_are 1
	old=$server
	kill -TERM "$server"
	wait_until port_is_free "$port"
	start run -l "127.0.0.1:$port" http site -w 1
	[ "$(curl -s "http://127.0.0.1:$port/")" = "hello, and welcome" ]
	printf ' / HTTP/1.1\r\nHost: x\r\n\r\n' >&6
	[[ "$(timeout 10 cat <&6)" == *"200 OK"* ]]
	exec 6>&-
	new=$server server=$old
	end_server
	[ "$ended" -eq 0 ]
	server=$new
	stop_server TERM
}

# ---- the master's death ----

@test "kill -9 of the master loses nothing: the workers close up, the port is free, nobody stays" {
	for mode in close keep "silent -i 100"; do
		for ((round = 0; round < LASTCALL_ROUNDS; round++)); do
			start_site
			orphans=$(workers)
			# shellcheck disable=SC2086
			load_begin -c 100 -t /1k.txt -e 1000 -d 30000 -m $mode
			stop_server KILL
			load_end
			nothing_lost
			wait_until port_is_free "${address##*:}"
			for pid in $orphans; do
				wait_until process_is_gone "$pid"
			done
		done
	done
}

# Gone, or a zombie that only waits for whoever adopted it.
process_is_gone() {
	[ ! -e "/proc/$1" ] || [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)" = Z ]
}

@test "kill -9 of the master with a stopped worker: nothing lost, nobody stays" {
	[[ "$("$lastcall" --version)" != *posix* ]] || skip "a stopped orphan is woken by Linux only"
	start_site
	orphans=$(workers)
	load_begin -c 50 -m close -t /1k.txt -e 1000 -d 30000
	kill -STOP "$(head -n 1 <<<"$orphans")"
	stop_server KILL
	load_end
	nothing_lost
	wait_until port_is_free "${address##*:}"
	for pid in $orphans; do
		wait_until process_is_gone "$pid"
	done
}

@test "kill -9 of the master in the middle of a stop loses nothing either" {
	for ((round = 0; round < LASTCALL_ROUNDS; round++)); do
		start_site
		orphans=$(workers)
		load_begin -c 100 -t /1k.txt -e 1000 -d 30000 -m close
		# Stopped workers hold the stop up, so that the master is surely in the middle of it.
		# shellcheck disable=SC2086
		kill -STOP $orphans
		kill -TERM "$server"
		wait_until grep -q 'last call' "$log"
		stop_server KILL
		# shellcheck disable=SC2086
		kill -CONT $orphans
		load_end
		nothing_lost
		wait_until port_is_free "${address##*:}"
		for pid in $orphans; do
			wait_until process_is_gone "$pid"
		done
	done
}

@test "a restart on the same port right after kill -9 of the master works" {
	start_site
	port=${address##*:}
	stop_server KILL
	wait_until port_is_free "$port"
	start run -l "127.0.0.1:$port" http site -w 2
	[ "$(curl -s "http://127.0.0.1:$port/")" = "hello, and welcome" ]
	stop_server TERM
	[ "$ended" -eq 0 ]
}

# ---- workers in a drain ----

@test "TERM with a stopped worker: the port is released, the watchdog ends it, what it held is counted" {
	start_conf 'service site http { root site; header-timeout 60s; }
		watchdog 2s; workers 1;
		listen 127.0.0.1:0 -> site;'
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET' >&6
	wait_until connections_are 1
	# It holds the connection once it has read from it.
	wait_until eval '[ "$(ss -Htn state established "sport = :${address##*:}" | awk "{print \$1}")" = 0 ]'
	kill -STOP "$(workers)"
	kill -TERM "$server"
	wait_until port_is_free "${address##*:}"
	kill -0 "$server"
	end_server
	exec 6>&-
	[ "$ended" -eq 3 ]
	[ "$(receipt_number cut)" -eq 1 ]
	grep -q 'the watchdog kills it' "$log"
}

@test "all workers killed in mid-drain: the queue is still served" {
	start_site
	load_begin -c 50 -m close -t /1k.txt -e 1000 -d 1500
	# Stopped workers cannot empty the queue; killed ones leave it to the master.
	pids=$(workers)
	# shellcheck disable=SC2086
	kill -STOP $pids
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET /1k.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&6
	kill -TERM "$server"
	wait_until grep -q 'last call' "$log"
	# shellcheck disable=SC2086
	kill -KILL $pids
	[[ "$(timeout 10 cat <&6)" == *"200 OK"*xxx ]]
	exec 6>&-
	end_server
	grep -q 'no worker is left to serve the queue' "$log"
}
