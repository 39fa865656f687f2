#!/usr/bin/env bats
# The supervision of workers: what becomes of the server when one of them dies, hangs, cannot be born, runs out of
# something or goes wild. Each test is one promise. strace injects what cannot be provoked from outside.
#
# LASTCALL_CONNECTIONS is how many connections the tests of leaks make: 20000 in `make check`, a million in `make soak`, of
# which that of descriptors makes 100000.

# Each test is a subshell with its own variables; lists of pids are meant to be split.
# shellcheck disable=SC2030,SC2031,SC2046,SC2086,SC2154
load helper

: "${LASTCALL_CONNECTIONS:=20000}"

setup() {
	# The sanitizer would turn a SIGSEGV that we send into an exit status.
	export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}handle_segv=0
	common_setup
	tracer=''
}

teardown() {
	common_teardown
}

# ---- what several tests need ----

is_posix() {
	[[ "$("$lastcall" --version)" == *posix* ]]
}

# start_with DIRECTIVES: the site, at a port of the kernel's choice, with 2 workers unless DIRECTIVES say otherwise.
start_with() {
	local workers='workers 2;'
	[[ $1 != *"workers "* ]] || workers=''
	start_conf "service site http { root site; header-timeout 60s; keepalive 30s; }
		$workers $1
		listen 127.0.0.1:0 -> site;"
}

# client OPTION…: losscount against $address, to its end. Its counts are in $work/counted.
client() {
	"$tools/losscount" "$@" "$address" >"$work/counted" 2>&1 3>&-
}

fetch() {
	curl -s --max-time 15 "http://$address/"
}

serves() {
	[ "$(fetch)" = "hello, and welcome" ]
}

# hold FD: opens descriptor FD to the server, asks, reads the answer, and leaves the connection open.
hold() {
	local line=x
	eval "exec $1<>/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n' >&"$1"
	until [ "$line" = "hello, and welcome" ]; do
		IFS= read -r -t 10 line <&"$1" || return 1
	done
}

release() {
	eval "exec $1>&-"
}

# freeze PID…: stops processes so that teardown knows of them.
freeze() {
	printf '%s\n' "$@" >>"$work/workers"
	kill -STOP "$@"
	for pid; do
		wait_until state_is "$pid" T
	done
}

state_is() {
	[ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)" = "$2" ]
}

# User and system time of a process, in hundredths of a second.
cpu() {
	sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

sockets() {
	find "/proc/$1/fd" -lname 'socket:*' 2>/dev/null | wc -l
}

# The kinds of descriptors that a process has, without the numbers of sockets and pipes.
kinds_of_descriptors() {
	find "/proc/$1/fd" -printf '%l\n' 2>/dev/null | sed 's/[0-9]\{1,\}/N/g' | sort
}

# The worker that holds a connection more than BASELINE sockets, in busy; another one in idle. who_holds BASELINE
who_holds() {
	local pid
	for pid in $(workers); do
		if [ "$(sockets "$pid")" -gt "$1" ]; then busy=$pid; else idle=$pid; fi
	done
}

# can_spin: whether spin works here. The instruction that jumps to itself, of this machine.
can_spin() {
	case $(uname -m) in
	x86_64) jump='\xeb\xfe' ;;
	aarch64) jump='\x00\x00\x00\x14' ;;
	riscv64) jump='\x6f\x00\x00\x00' ;;
	*) return 1 ;;
	esac
	[ -e /proc/self/syscall ] && can_trace
}

# spin PID: puts it into an endless loop: its next instruction becomes a jump to itself, in its own copy of the page. Returns
# when it has come round to it; on a very busy machine it may have met its end as well.
spin() {
	local at before
	wait_until grep -q ' 0x[0-9a-f]*$' "/proc/$1/syscall" # it waits in a system call, and this is known
	at=$(sed 's/.* //' "/proc/$1/syscall")
	printf '%s\n' "$1" >>"$work/workers"
	# shellcheck disable=SC2059
	printf "$jump" | dd of="/proc/$1/mem" bs=1 seek=$((at)) conv=notrunc status=none
	before=$(cpu "$1")
	wait_until used_since "$1" $((before + 5))
}

# used_since PID N: it has used more than N hundredths of a second in all, or is gone.
used_since() {
	local used
	used=$(cpu "$1" 2>/dev/null)
	[ "${used:-$(($2 + 1))}" -gt "$2" ]
}

log_says() {
	grep -qE -- "$1" "$log"
}

# log_count PATTERN N
log_counts() {
	local n
	n=$(grep -cE -- "$1" "$log")
	if [ "$n" -ne "$2" ]; then
		echo "$n lines of the log, not $2, say: $1"
		return 1
	fi
}

log_has() {
	[ "$(grep -cE -- "$1" "$log")" -ge "$2" ]
}

# The pid is none of the workers' any more, and there are as many as there should be.
replaced() {
	worker_count_is "$1" && [ -z "$(comm -12 <(workers | sort) <(tr ' ' '\n' <<<"$2" | sort))" ]
}

can_trace() {
	local status=0 sleeper
	sleep 60 3>&- &
	sleeper=$!
	strace -o /dev/null -e trace=none -p $sleeper 2>"$work/can_trace" 3>&- &
	tracer=$!
	background+=("$sleeper" "$tracer")
	until grep -q . "$work/can_trace" || ! kill -0 $tracer 2>/dev/null; do sleep 0.02; done
	grep -q attached "$work/can_trace" || status=1
	kill $tracer 2>/dev/null
	wait $tracer || :
	kill $sleeper
	wait $sleeper || :
	tracer=''
	return $status
}

# trace PIDS OPTION…: strace on these processes, into $work/trace. Returns when it has them.
trace() {
	local pids=$1 pid arguments=()
	shift
	for pid in $pids; do arguments+=(-p "$pid"); done
	: >"$work/attached"
	strace -o "$work/trace" "$@" "${arguments[@]}" 2>"$work/attached" 3>&- &
	tracer=$!
	background+=("$tracer")
	for pid in $pids; do
		wait_until grep -q "Process $pid attached" "$work/attached"
	done
}

untrace() {
	kill -TERM "$tracer"
	wait "$tracer" || :
	tracer=''
}

# ---- death ----

# What a worker that is killed held is what is lost; one more may have been accepted and not counted yet.
death_by() {
	local signal=$1 number=$2 mode=$3 victim held
	start_site
	victim=$(workers | head -n 1)
	load_begin -c 60 -m "$mode" -i 50 -t /1k.txt -e 1000 -d 1000
	kill "-$signal" "$victim"
	load_end
	wait_until replaced 2 "$victim"
	log_counts "worker [0-9]+ \(pid $victim\) was killed by signal $number \(.*\) after [0-9.]+ s, [0-9]+ connections lost; starting another$" 1
	held=$(sed -n "s/.*pid $victim.* \([0-9]*\) connections lost.*/\1/p" "$log")
	echo "held=$held lost=$(counted lost)"
	[ "$held" -le 60 ]
	[ "$(counted lost)" -le $((held + 1)) ]
	[ "$(counted unaccounted)" -eq 0 ]
	[ "$(counted answered)" -gt 0 ]
	client -c 60 -m "$mode" -i 20 -t /1k.txt -e 1000 -n 300 -r 5 -d 15000
	nothing_lost
	stop_server
	[ "$ended" -eq 0 ]
}

@test "a worker killed under load takes only its own connections along, is logged and replaced" {
	death_by KILL 9 close
}

@test "the same when it crashes with SIGSEGV, with keep-alive connections" {
	death_by SEGV 11 keep
}

@test "the same when it aborts, with idle connections" {
	death_by ABRT 6 idle
}

@test "a crash loop at start backs off, keeps the listener, says ready only once it is, and ends well" {
	can_trace || skip "wants strace"
	local before after
	log=$work/log.1
	# Only a worker calls faccessat2 (of its root), so each new one aborts there. The tracer is a grandchild, so the server is our child.
	strace -D -I 1 -f -qq -o /dev/null -e trace=faccessat2 -e inject=faccessat2:signal=SIGABRT \
		"$lastcall" run -l 127.0.0.1:0 http site -w 1 --ready-fd 9 9>ready >/dev/null 2>"$log" 3>&- &
	server=$!
	background+=("$server")
	wait_until grep -q listening ready
	address=$(sed -n 's/^listening \([^ ]*\).*/\1/p' ready)
	wait_until log_says 'starting another$'
	before=$(cpu "$server")
	fetch >waiting 3>&- &
	fetching=$!
	background+=("$fetching")
	wait_until log_says 'starting another in 0.8 s'
	after=$(cpu "$server")
	[ "$(sed -n 's/.*; starting another *//p' "$log" | head -n 5 | tr '\n' ,)" = ",in 0.1 s,in 0.2 s,in 0.4 s,in 0.8 s," ]
	echo "the master used $((after - before)) hundredths of a second in 1.5 s"
	[ $((after - before)) -lt 50 ]
	run ! grep -q ready ready
	[ ! -s waiting ]
	kill -TERM "$(sed -n 's/^TracerPid:\t//p' "/proc/$server/status")"
	wait_until grep -qx "ready $server" ready
	wait $fetching
	[ "$(cat waiting)" = "hello, and welcome" ]
	stop_server
	[ "$ended" -eq 0 ]
}

@test "workers that can never start end the server: it says so, status 1, nothing is left behind" {
	[ "$(id -u)" -eq 0 ] || skip "wants root, whose workers may not enter what is root's alone"
	mkdir -m 700 "$work/secret"
	printf '%s\n' "service site http { root $work/secret; } workers 2; pid-file $work/pid;
		listen 127.0.0.1:0 -> site; listen unix:$work/sock -> site;" >lastcall.conf
	run timeout 20 "$lastcall" run -c lastcall.conf 3>&-
	echo "$output"
	[ "$status" -eq 1 ]
	[ "$(grep -c 'it can never start, so it is not started again' <<<"$output")" -eq 2 ]
	[ "$(grep -c 'Permission denied for the user that workers run as' <<<"$output")" -eq 2 ]
	[[ "$output" == *"no worker can start"* ]]
	[[ "$output" != *$'\n'"ready "* ]]
	[ ! -e "$work/pid" ]
	[ ! -e "$work/sock" ]
}

@test "a worker that lacks memory for a moment when it is born is started again" {
	start_site
	# Room for what birth takes on its way, and not for its buffers.
	limit "$server" as $((($(status_of "$server" VmSize | cut -d ' ' -f 1) + 65536) * 1024))
	kill -KILL $(workers)
	wait_until log_has 'cannot start: Cannot allocate memory' 2
	limit "$server" as
	wait_until worker_count_is 2
	serves
	run ! log_says 'never|last call'
	stop_server
	[ "$ended" -eq 0 ]
}

@test "a worker whose death nobody told of is replaced all the same" {
	local gone
	start_site
	gone=$(workers | head -n 1)
	"$tools/swallow" "$server" "$(kill -l CHLD)" >swallowing 3>&- &
	background+=($!)
	wait_until grep -q ready swallowing
	kill -KILL "$gone"
	wait $!
	wait_until gone_from_the_table "$gone"
	wait_until worker_count_is 2
	serves
}

# Not even a zombie is left of it.
gone_from_the_table() {
	[ ! -e "/proc/$1" ]
}

@test "a worker that was stopped as soon as it was born outlives no master, and keeps no port" {
	local gone
	is_posix && skip 'there nobody is told that its parent has died'
	start_site
	gone=$(workers | head -n 1)
	strace -f -qq -o /dev/null -p "$server" -e trace=rt_sigaction -e inject=rt_sigaction:signal=STOP:when=1 3>&- &
	tracer=$!
	background+=($tracer)
	wait_until grep -q "TracerPid:.*$tracer" "/proc/$server/status"
	kill -KILL "$gone"
	# The master hears of it when the stop is complete; a tracer shows other stops too.
	wait_until log_says 'was stopped by signal'
	newborn=$(sed -n 's/.*(pid \([0-9]*\)) was stopped by signal.*/\1/p' "$log" | tail -n 1)
	all=$(workers)
	kill -KILL "$tracer"
	wait "$tracer" || :
	# For a moment after it was let go it runs.
	wait_until state_is "$newborn" T
	kill -KILL "$server"
	end_server
	for pid in $all; do
		wait_until gone_from_the_table "$pid"
	done
	port_is_free "${address##*:}"
}

# ---- hanging ----

@test "a stopped worker is noticed, killed and replaced; nobody waits for it meanwhile" {
	local victim
	start_with 'watchdog 2s;'
	serves
	victim=$(workers | head -n 1)
	freeze "$victim"
	# A lost exclusive wake-up would stall some of these.
	client -c 1 -n 100 -m close -t /1k.txt -e 1000
	nothing_lost
	[ "$(counted answered)" -eq 100 ]
	[ "$(counted latency_max_ms)" -lt 1000 ]
	client -c 20 -m close -t /1k.txt -e 1000 -d 3500
	nothing_lost
	[ "$(counted latency_max_ms)" -lt 1000 ]
	wait_until replaced 2 "$victim"
	log_counts "pid $victim\) was stopped by signal" 1
	log_counts "pid $victim\) has not beaten for [0-9.]+ s: the watchdog kills it" 1
	log_counts "pid $victim\) was killed by signal 9 " 1
	client -c 20 -m close -t /1k.txt -e 1000 -n 500
	nothing_lost
	stop_server
	[ "$ended" -eq 0 ]
}

@test "a worker in an endless loop is ended by the watchdog, replaced and counted; the other one serves on" {
	local busy idle baseline
	can_spin || skip "wants to write into another process"
	start_with 'watchdog 5s;'
	baseline=$(sockets "$(workers | head -n 1)")
	hold 6
	who_holds "$baseline"
	spin "$busy"
	load_begin -c 20 -m close -t /1k.txt -e 1000 -d 60000
	wait_until replaced 2 "$busy"
	kill -TERM "$load_pid"
	load_end
	nothing_lost
	[ "$(counted latency_max_ms)" -lt 3000 ]
	workers | grep -qx "$idle"
	log_counts "pid $busy\) has not beaten for [0-9.]+ s: the watchdog kills it" 1
	log_counts "pid $busy\) was killed by signal 6 .*, 1 connections lost; starting another" 1
	client -c 20 -m close -t /1k.txt -e 1000 -n 500
	nothing_lost
	release 6
	stop_server
	[ "$ended" -eq 0 ]
	log_counts 'before that: workers replaced after they died: 1; killed by the watchdog: 1; failed starts: 0; connections lost or cut in mid-answer: 1; .*' 1
}

@test "TERM with a worker in an endless loop ends in order" {
	local busy idle baseline
	can_spin || skip "wants to write into another process"
	start_with 'watchdog 4s; grace 20s;'
	baseline=$(sockets "$(workers | head -n 1)")
	hold 6
	who_holds "$baseline"
	printf 'GET /1k.txt HT' >&6
	spin "$idle"
	kill -TERM "$server"
	wait_until port_is_free "${address##*:}"
	wait_until log_says "pid $idle\) was killed by signal 6"
	kill -0 "$busy"
	printf 'TP/1.1\r\nHost: x\r\n\r\n' >&6
	[[ "$(timeout 10 cat <&6)" == *"200 OK"*"Connection: close"*xxx ]]
	release 6
	end_server
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
	[ "$(receipt_number answered)" -eq 1 ]
}

@test "a worker that is stopped and goes on in time is kept, and serves" {
	local before
	start_with 'watchdog 10s;'
	before=$(workers)
	freeze $before
	fetch >waiting 3>&- &
	fetching=$!
	background+=("$fetching")
	kill -CONT $before
	wait $fetching
	[ "$(cat waiting)" = "hello, and welcome" ]
	[ "$(workers)" = "$before" ]
	stop_server
	[ "$ended" -eq 0 ]
}

@test "TERM with one worker stopped and the other one busy ends in order" {
	local busy idle baseline
	start_with 'watchdog 2s; grace 20s;'
	baseline=$(sockets "$(workers | head -n 1)")
	hold 6
	who_holds "$baseline"
	printf 'GET /1k.txt HT' >&6
	freeze "$idle"
	kill -TERM "$server"
	wait_until port_is_free "${address##*:}"
	wait_until log_says "pid $idle\) was killed by signal 9"
	kill -0 "$busy"
	printf 'TP/1.1\r\nHost: x\r\n\r\n' >&6
	[[ "$(timeout 10 cat <&6)" == *"200 OK"*"Connection: close"*xxx ]]
	release 6
	end_server
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
	[ "$(receipt_number answered)" -eq 1 ]
}

@test "a master that was stopped for longer than the watchdog kills nobody" {
	local before pids
	start_with 'watchdog 2s;'
	before=$(workers)
	for ((round = 0; round < LASTCALL_ROUNDS; round += 2)); do
		freeze $before "$server"
		sleep 2.4 # longer than the watchdog: the time is what is tested
		kill -CONT "$server"
		sleep 0.3 # the workers are later than the master, and not hung
		kill -CONT $before
		serves
	done
	sleep 2.2 # one more watchdog's time, in which it could be killed by mistake
	serves
	[ "$(workers)" = "$before" ]
	run ! log_says 'watchdog'
	stop_server
	[ "$ended" -eq 0 ]
}

# ---- what accept lacks ----

@test "accept runs out of something: tried again soon, said once, without spinning" {
	can_trace || skip "wants strace"
	local error text
	start_site -w 1
	for error in EMFILE:'Too many open files' ENFILE:'Too many open files in system' \
		ENOMEM:'Cannot allocate memory' ENOBUFS:'No buffer space available'; do
		text=${error#*:} error=${error%%:*}
		: >"$log"
		trace "$(workers)" -e trace=accept,accept4 -e "inject=accept,accept4:error=$error:when=1..2"
		client -c 1 -n 1 -t /1k.txt -e 1000
		nothing_lost
		echo "$error: $(counted latency_max_ms) ms, $(grep -c 'accept' "$work/trace") calls"
		[ "$(counted latency_max_ms)" -lt 1500 ]
		[ "$(counted status_5xx)" -eq 0 ]
		untrace
		[ "$(grep -c 'accept.*INJECTED' "$work/trace")" -eq 2 ]
		[ "$(grep -c 'accept' "$work/trace")" -le 8 ]
		log_counts "worker 0: accept: $text; trying again every 100 ms" 1
		log_counts 'worker 0: accept works again' 1
		[ "$(wc -l <"$log")" -eq 2 ]
	done
	stop_server
	[ "$ended" -eq 0 ]
}

@test "accept tells of an error of one connection: the next one is accepted at once, and nothing is said" {
	can_trace || skip "wants strace"
	local error
	start_site -w 1
	for error in ECONNABORTED EINTR EPROTO ENETDOWN EPERM; do
		: >"$log"
		trace "$(workers)" -e trace=accept,accept4 -e "inject=accept,accept4:error=$error:when=1..2"
		client -c 1 -n 3 -t /1k.txt -e 1000
		nothing_lost
		[ "$(counted answered)" -eq 3 ]
		[ "$(counted latency_max_ms)" -lt 1000 ]
		untrace
		[ "$(grep -c 'accept.*INJECTED' "$work/trace")" -eq 2 ]
		[ ! -s "$log" ]
	done
	stop_server
	[ "$ended" -eq 0 ]
}

# The lowest descriptor that a process does not use: as its limit, it leaves it none.
free_descriptor() {
	local free=0
	while [ -e "/proc/$1/fd/$free" ]; do free=$((free + 1)); done
	echo $free
}

# limit PID WHAT [SOFT]: sets the soft limit of a process, to the hard one without SOFT. As its own user, for root may not
# do it in every container.
limit() {
	local as=() uid gid
	if [ "$(id -u)" -eq 0 ]; then
		uid=$(status_of "$1" Uid) gid=$(status_of "$1" Gid)
		as=(setpriv --reuid="${uid%% *}" --regid="${gid%% *}" --clear-groups)
	fi
	"${as[@]}" prlimit --pid "$1" "--$2=${3:-$("${as[@]}" prlimit --pid "$1" "--$2" -o HARD --noheadings | tr -d ' ')}:"
}

@test "a worker without descriptors answers 503 after a moment, and serves again when it has some" {
	local worker free before after refused
	start_conf "service site http { root site; access-log $work/access; }
		workers 1;
		listen 127.0.0.1:0 -> site;"
	worker=$(workers)
	free=$(free_descriptor "$worker")
	load_begin -c 8 -m close -t /index.html -d 2000
	limit "$worker" nofile "$free"
	before=$(cpu "$worker")
	load_end
	after=$(cpu "$worker")
	nothing_lost
	# One at a time, every 100 ms, and not in the first 500 ms; what is asked in the last moment is waited for.
	[ "$(counted status_5xx)" -gt 8 ]
	[ "$(counted status_5xx)" -le 40 ]
	refused=$(counted status_5xx)
	echo "the worker used $((after - before)) hundredths of a second in 2 s"
	[ $((after - before)) -lt 60 ]
	log_counts 'accept: Too many open files; trying again every 100 ms' 1
	run ! log_says 'works again'
	limit "$worker" nofile
	client -c 8 -m close -t /1k.txt -e 1000 -n 200
	nothing_lost
	[ "$(counted status_5xx)" -le 8 ]
	refused=$((refused + $(counted status_5xx)))
	log_counts 'accept works again' 1
	stop_server
	[ "$ended" -eq 0 ]
	# Each was counted; those that were let in and lacked a descriptor for the file are in the access log.
	refused=$((refused - $(grep -c '" 503 ' access || :)))
	log_counts "before that: workers replaced after they died: 0; .*; connections lost or cut in mid-answer: 0; refused for want of a descriptor: $refused\$" 1
}

@test "a sibling without descriptors makes nobody wait, and nobody is refused" {
	local pid free
	start_site
	free=$(free_descriptor "$(workers | head -n 1)")
	# One after the other, whichever would be woken first.
	for pid in $(workers); do
		limit "$pid" nofile "$free"
		for ((round = 0; round < 3; round++)); do
			client -c 1 -m close -t /1k.txt -e 1000 -n 100 -d 20000
			nothing_lost
			echo "slowest: $(counted latency_max_ms) ms, elapsed: $(counted elapsed_ms) ms"
			[ "$(counted answered)" -eq 100 ]
			[ "$(counted status_5xx)" -eq 0 ]
			# The first request may come while the other one still believes that it has none.
			[ "$(counted latency_max_ms)" -lt 500 ]
			sleep 0.3 # so that the last round falls into the time when the reserve descriptor is used
		done
		limit "$pid" nofile
	done
	stop_server
	[ "$ended" -eq 0 ]
}

# ---- what fork lacks ----

@test "fork fails: the workers that live go on, it is said once and tried again, and then works" {
	local victim as before after
	# A user of its own, whose processes nobody else counts.
	[ "$(id -u)" -ne 0 ] || as='setpriv --reuid=64999 --regid=64999 --clear-groups'
	start_site
	limit "$server" nproc 1
	victim=$(workers | head -n 1)
	before=$(cpu "$server")
	kill -KILL "$victim"
	wait_until log_says 'cannot start a worker: Resource temporarily unavailable; 1 go on, trying again'
	client -c 10 -m close -t /1k.txt -e 1000 -d 1000
	nothing_lost
	after=$(cpu "$server")
	[ $((after - before)) -lt 50 ]
	worker_count_is 1
	log_counts 'cannot start a worker' 1
	limit "$server" nproc
	wait_until replaced 2 "$victim"
	serves
	stop_server
	[ "$ended" -eq 0 ]
}

# ---- more, fewer, others ----

# How often the master has gone to sleep: once more, and it has done what a signal told it.
turns() {
	status_of "$server" voluntary_ctxt_switches
}

turned_after() {
	[ "$(turns)" -gt "$1" ]
}

@test "TTIN starts one worker more, TTOU one fewer that loses nothing, and one always stays" {
	start_site
	kill -TTIN "$server"
	wait_until worker_count_is 3
	wait_until log_says 'TTIN: 3 workers'
	for left in 2 1; do
		load_begin -c 50 -m keep -t /1k.txt -e 1000 -d 700
		kill -TTOU "$server"
		load_end
		nothing_lost
		wait_until worker_count_is $left
		wait_until log_says "TTOU: $left worker"
	done
	kill -TTOU "$server"
	wait_until turned_after "$(turns)"
	worker_count_is 1
	kill -TTIN "$server"
	wait_until worker_count_is 2
	run ! log_says 'TTOU: 0'
	run ! log_says 'killed|exited'
	serves
	stop_server
	[ "$ended" -eq 0 ]
}

recycle() {
	start_with 'max-requests 200; log-level info;'
	load_begin -c 60 -d 60000 -t /1k.txt -e 1000 "$@"
	# As many as it takes, however busy the machine is.
	wait_until log_has 'retires' 10
	stop_server
	load_end
	nothing_lost
	run ! log_says 'killed|exited|cannot'
	[ "$ended" -eq 0 ]
}

@test "recycling workers loses nothing: one request per connection" {
	recycle -m close
}

@test "recycling workers loses nothing: keep-alive" {
	recycle -m keep
}

@test "recycling workers loses nothing: keep-alive with idle time" {
	recycle -m idle -i 20
}

@test "a successor that cannot start does not end the worker that serves" {
	[ "$(id -u)" -eq 0 ] || skip "wants root, whose workers may not enter what is root's alone"
	local before
	start_with 'workers 1; max-requests 50; log-level info;'
	before=$(workers)
	chmod 700 site
	client -c 8 -t /index.html -n 200 -m close
	[ "$(counted lost)" -eq 0 ]
	[ "$(counted answered)" -eq 200 ]
	wait_until log_has 'Permission denied for the user' 2
	kill -0 "$before"
	run ! log_says 'retires|last call'
	chmod 755 site
	# It had asked for a successor, and gets it.
	wait_until log_says 'retires'
	wait_until replaced 1 "$before"
	serves
	stop_server
	[ "$ended" -eq 0 ]
}

# ---- balance and fullness ----

# Balance wants workers that get to run: a processor that stands still for a moment (a virtual one does) gives a round
# away. So three good rounds are wanted, and at most as many others.
@test "two workers share 64 connections: none has more than 60 percent" {
	local pid held most baseline good=0
	start_site
	baseline=$(sockets "$(workers | head -n 1)")
	for ((round = 0; round < 6 && good < 3; round++)); do
		load_begin -c 64 -m idle -i 60000 -t /1k.txt -e 1000 -d 60000
		most=0
		for pid in $(workers); do
			held=$(($(sockets "$pid") - baseline))
			echo "worker $pid holds $held"
			[ "$held" -le "$most" ] || most=$held
		done
		kill -TERM "$load_pid"
		load_end
		nothing_lost
		[ "$most" -ge 32 ]
		[ "$most" -gt 38 ] || good=$((good + 1))
		wait_until connections_are_gone "$baseline"
	done
	[ "$good" -eq 3 ]
	stop_server
	[ "$ended" -eq 0 ]
}

connections_are_gone() {
	local pid
	for pid in $(workers); do
		[ "$(sockets "$pid")" -eq "$1" ] || return 1
	done
}

@test "a full sibling makes nobody wait" {
	start_with 'max-connections 4;'
	for fd in 20 21 22 23 24 25 26; do hold $fd; done
	client -c 1 -m close -t /1k.txt -e 1000 -n 100
	nothing_lost
	[ "$(counted answered)" -eq 100 ]
	[ "$(counted latency_max_ms)" -lt 1000 ]
	for fd in 20 21 22 23 24 25 26; do release $fd; done
	client -c 20 -m close -t /1k.txt -e 1000 -n 1000
	nothing_lost
	stop_server
	[ "$ended" -eq 0 ]
}

@test "a worker at max-connections lets the others wait in the queue, without spinning" {
	local worker before after
	start_with 'workers 1; max-connections 4;'
	worker=$(workers)
	for fd in 20 21 22 23; do hold $fd; done
	fetch >waiting 3>&- 20>&- 21>&- 22>&- 23>&- &
	fetching=$!
	background+=("$fetching")
	wait_until queue_is 1
	before=$(cpu "$worker")
	sleep 1 # the time over which it is watched
	after=$(cpu "$worker")
	[ $((after - before)) -le 10 ]
	queue_is 1
	[ ! -s waiting ]
	release 21
	wait $fetching
	[ "$(cat waiting)" = "hello, and welcome" ]
	for fd in 20 22 23; do release $fd; done
	stop_server
	[ "$ended" -eq 0 ]
}

# How many connections wait to be accepted.
queue_is() {
	[ "$(ss -Hltn "sport = :${address##*:}" | awk '{ print $2 }')" -eq "$1" ]
}

# ---- time ----

@test "a deadline is as long as it says, however long the worker had nothing to do before" {
	local begun took
	start_conf 'service site http { root site; header-timeout 400ms; }
		workers 1;
		listen 127.0.0.1:0 -> site;'
	for pause in 0.1 0.3 0.5 0.7 0.9; do
		sleep $pause # the time in which the worker does nothing: it says nothing for a second at most
		begun=$(date +%s%N)
		exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
		[[ "$(timeout 10 cat <&6)" == "HTTP/1.1 408 "* ]]
		took=$((($(date +%s%N) - begun) / 1000000))
		exec 6>&-
		echo "after $pause s: $took ms"
		[ "$took" -ge 395 ]
	done
	stop_server
	[ "$ended" -eq 0 ]
}

# ---- thrift ----

@test "an idle server makes no system call but for its heart" {
	can_trace || skip "wants strace"
	local pid calls
	start_site
	serves
	# The connection's end is over when nothing is left but the heart.
	trace "$server $(workers | tr '\n' ' ')" -tt
	sleep 4 # the time over which it is watched
	untrace
	for pid in "$server" $(workers); do
		# A call that others interrupted has a line for its end.
		calls=$(grep "^$pid " "$work/trace" | grep -cE '\) += |resumed>')
		echo "process $pid: $calls"
		if [ "$calls" -gt 5 ]; then
			grep "^$pid " "$work/trace"
			return 1
		fi
	done
	stop_server
	[ "$ended" -eq 0 ]
}

@test "no descriptor leaks, in master or worker, over many connections and 50 deaths" {
	local pid before after connections=$((LASTCALL_CONNECTIONS < 100000 ? LASTCALL_CONNECTIONS : 100000))
	start_site -w 25
	serves
	client -c 50 -m close -t /1k.txt -e 1000 -n 500
	nothing_lost
	before=$(kinds_of_descriptors "$server")
	for ((round = 0; round < 2; round++)); do
		pids=$(workers | tr '\n' ' ')
		kill -KILL $pids
		wait_until replaced 25 "$pids"
		serves
	done
	wait_until log_has 'was killed by signal 9' 50
	after=$(kinds_of_descriptors "$server")
	diff <(echo "$before") <(echo "$after")
	stop_server
	[ "$ended" -eq 0 ]
	start_site
	serves
	client -c 50 -m close -t /1k.txt -e 1000 -n 1000
	before=$(for pid in "$server" $(workers); do wait_until settled "$pid"; kinds_of_descriptors "$pid"; done)
	client -c 50 -m close -t /1k.txt -e 1000 -n "$connections" -d 3600000
	nothing_lost
	[ "$(counted answered)" -eq "$connections" ]
	after=$(for pid in "$server" $(workers); do wait_until settled "$pid"; kinds_of_descriptors "$pid"; done)
	diff <(echo "$before") <(echo "$after")
	stop_server
	[ "$ended" -eq 0 ]
}

# A process has no connection at our address.
settled() {
	run ! grep -q "pid=$1," <(ss -Htnp state connected "sport = :${address##*:}")
}

resident() {
	awk '/^Rss:/ { print $2 }' "/proc/$1/smaps_rollup"
}

@test "memory does not grow between a tenth and all of many connections" {
	local pid before=() n=0 grown
	[ -r /proc/self/smaps_rollup ] || skip "the kernel does not say how much is resident"
	start_site
	client -c 50 -m close -t /1k.txt -e 1000 -n $((LASTCALL_CONNECTIONS / 10)) -d 3600000
	nothing_lost
	for pid in $(workers); do before+=("$(resident "$pid")"); done
	client -c 50 -m close -t /1k.txt -e 1000 -n $((LASTCALL_CONNECTIONS * 9 / 10)) -d 3600000
	nothing_lost
	[ "$(counted answered)" -eq $((LASTCALL_CONNECTIONS * 9 / 10)) ]
	for pid in $(workers); do
		grown=$(($(resident "$pid") - before[n]))
		n=$((n + 1))
		echo "worker $pid has grown by $grown KiB"
		[ "$grown" -le 64 ]
	done
	stop_server
	[ "$ended" -eq 0 ]
}

# ---- what a worker may do ----

# status_of PID FIELD
status_of() {
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status" | tr '\t' ' ' | sed 's/ *$//'
}

core_limit() {
	sed -n 's/^Max core file size *\([^ ]*\) .*/\1/p' "/proc/$1/limits"
}

@test "as root, every worker is the user that was asked for and nothing more; the low port is bound" {
	[ "$(id -u)" -eq 0 ] || skip "wants root"
	local uid gid groups
	uid=$(id -u daemon) gid=$(id -g daemon) groups=$(id -G daemon)
	unshare -n true || skip "wants a network namespace"
	printf '%s\n' '#!/bin/sh' 'ip link set lo up && exec "$@"' >namespace
	chmod 755 namespace
	printf '%s\n' 'service site http { root site; } workers 2; user daemon; umask 0027; core-limit 1m;
		listen 127.0.0.1:80 -> site;' >lastcall.conf
	as="unshare -n $work/namespace" start run -c lastcall.conf
	[ "$address" = 127.0.0.1:80 ]
	[ "$(nsenter -t "$server" -n curl -s --max-time 15 http://127.0.0.1/)" = "hello, and welcome" ]
	worker_count_is 2
	for pid in $(workers); do
		[ "$(status_of "$pid" Uid)" = "$uid $uid $uid $uid" ]
		[ "$(status_of "$pid" Gid)" = "$gid $gid $gid $gid" ]
		[ "$(status_of "$pid" Groups)" = "$groups" ]
		[ "$(status_of "$pid" CapEff)" = 0000000000000000 ]
		[ "$(status_of "$pid" CapPrm)" = 0000000000000000 ]
		[ "$(status_of "$pid" Umask)" = 0027 ]
		is_posix || [ "$(status_of "$pid" NoNewPrivs)" = 1 ]
		[ "$(core_limit "$pid")" = 1048576 ]
	done
	# The same holds for one that is started later.
	pid=$(workers | head -n 1)
	kill -KILL "$pid"
	wait_until replaced 2 "$pid"
	wait_until all_workers_are "$uid"
	stop_server
	[ "$ended" -eq 0 ]
}

all_workers_are() {
	local pid
	for pid in $(workers); do
		[ "$(status_of "$pid" Uid)" = "$1 $1 $1 $1" ] || return 1
	done
}

@test "as root without a user, workers are nobody; there is no core dump" {
	[ "$(id -u)" -eq 0 ] || skip "wants root"
	start_site
	all_workers_are "$(id -u nobody)"
	for pid in $(workers); do
		[ "$(status_of "$pid" Groups)" = "$(id -G nobody)" ]
		[ "$(core_limit "$pid")" = 0 ]
	done
	stop_server
	[ "$ended" -eq 0 ]
}

@test "an unknown user, and another one than one's own without being root, are errors with status 2" {
	run -2 timeout 20 "$lastcall" run -l 127.0.0.1:0 http site -u no-such-user-here 3>&-
	[[ "$output" == *"no-such-user-here"* ]]
	run -2 timeout 20 $unprivileged "$lastcall" run -l 127.0.0.1:0 http site -u daemon 3>&-
	[[ "$output" == *'only root can run its workers as somebody else'* ]]
}

@test "signals sent to a worker are ignored, and none is blocked" {
	local before signal
	start_site
	before=$(workers)
	for signal in TERM INT HUP USR1 USR2 QUIT TTIN TTOU PIPE; do
		kill "-$signal" $before
		serves
	done
	client -c 20 -m close -t /1k.txt -e 1000 -n 500
	nothing_lost
	[ "$(workers)" = "$before" ]
	for pid in $before; do
		[ "$(status_of "$pid" SigBlk)" = 0000000000000000 ]
	done
	stop_server
	[ "$ended" -eq 0 ]
}

@test "the master signals only children that it has not reaped" {
	can_trace || skip "wants strace"
	local known pid victim
	start_with 'watchdog 2s; grace 1s; log-level info;'
	known=$(workers)
	trace "$server" -e trace=kill,tkill,tgkill,pidfd_send_signal,wait4 -e signal=none
	victim=$(head -n 1 <<<"$known")
	freeze "$victim"
	kill -KILL "$(tail -n 1 <<<"$known")"
	wait_until replaced 2 "$(tr '\n' ' ' <<<"$known")"
	known+=$'\n'$(workers)
	# Both are stopped and one is dead when grace is over and everybody is killed.
	freeze $(workers)
	kill -KILL "$(workers | head -n 1)"
	kill -TERM "$server"
	end_server
	wait "$tracer" || :
	grep kill "$work/trace"
	# One line for each act in its order: a pid is signalled only before it is reaped.
	awk -v known="$(tr '\n' ' ' <<<"$known")" '
		BEGIN { n = split(known, list, " "); for (i = 1; i <= n; i++) ours[list[i]] = 1 }
		/wait4\(-1.*WIF(EXITED|SIGNALED)/ { match($0, /= [0-9]+$/); reaped[substr($0, RSTART + 2)] = 1 }
		/^kill\(/ {
			match($0, /kill\(-?[0-9]+/); pid = substr($0, RSTART + 5, RLENGTH - 5)
			kills++
			if (!(pid in ours) || pid in reaped || !/= 0$/) { print "wrong: " $0; bad = 1 }
		}
		/tkill|tgkill/ { print "wrong: " $0; bad = 1 }
		END { exit bad || kills < 3 }' "$work/trace"
}

# ---- a worker gone wild ----

@test "random bytes all over the shared memory cost service, never the master" {
	local fd size
	for ((round = 0; round < LASTCALL_ROUNDS * 2; round++)); do
		start_with 'grace 3s; watchdog 2s;'
		load_begin -c 20 -m keep -t /1k.txt -d 800 -T 1000
		# Workers have the memory and not the descriptor; whoever owns the server can borrow the master's.
		fd=$(find "/proc/$server/fd" \( -lname '*memfd:lastcall*' -o -lname '/dev/shm/lastcall-*' \) -print -quit)
		size=$(stat -L -c %s "$fd")
		[ -e "$work/noise" ] || head -c $((size + 1000)) /dev/urandom >"$work/noise"
		for ((i = 0; i < 20; i++)); do
			# Each time from another byte on: other words.
			dd if="$work/noise" of="$fd" bs=1M iflag=skip_bytes,count_bytes skip=$((i * 49)) count="$size" \
				conv=notrunc status=none 2>/dev/null || break
		done
		load_end
		kill -0 "$server"
		SECONDS=0
		stop_server
		echo "status $ended after $SECONDS s"
		[ "$SECONDS" -lt 8 ]
		[ "$ended" -eq 0 ] || [ "$ended" -eq 3 ] || [ "$ended" -eq 1 ]
		[[ "$(receipt)" =~ ^[0-9]+\ answered,\ [0-9]+\ of\ them\ from\ the\ queue,(\ [0-9]+\ left\ by\ themselves,)?\ [0-9]+\ cut(\;\ programs:\ [0-9]+\ with\ status\ 0,\ [0-9]+\ with\ another,\ [0-9]+\ killed)?$ ]]
		run ! grep -q '[^[:print:][:space:]]' "$log"
		port_is_free "${address##*:}"
		[ -z "$(pgrep -f "$work/lastcall.conf")" ]
	done
}

@test "the shared memory cannot be taken away under the master, and no worker has its descriptor" {
	local fd
	start_site
	for pid in $(workers); do
		[ -z "$(find "/proc/$pid/fd" \( -lname '*memfd:lastcall*' -o -lname '/dev/shm/lastcall-*' \))" ]
	done
	if [[ "$("$lastcall" --version)" != *posix* ]]; then
		fd=$(find "/proc/$server/fd" -lname '*memfd:lastcall*' -print -quit)
		run ! truncate -s 0 "$fd"
	fi
	serves_all
	stop_server
	[ "$ended" -eq 0 ]
}

serves_all() {
	for _ in 1 2 3 4 5 6; do
		[ "$(curl -s --max-time 10 "http://$address/")" = "hello, and welcome" ]
	done
}

@test "what was scribbled into the shared words does not outlive the next look of the master" {
	local fd
	start_with 'watchdog 2s;'
	fd=$(find "/proc/$server/fd" \( -lname '*memfd:lastcall*' -o -lname '/dev/shm/lastcall-*' \) -print -quit)
	# All ones: every listener released, every generation cut.
	tr '\0' '\377' </dev/zero | dd of="$fd" bs="$(stat -L -c %s "$fd")" count=1 iflag=fullblock conv=notrunc status=none
	# A stop and a continue make the master ring, so that the workers look.
	kill -STOP "$(workers | head -n 1)"
	kill -CONT "$(workers | head -n 1)"
	wait_until eval '[ "$(curl -s --max-time 2 "http://$address/")" = "hello, and welcome" ]'
	wait_until worker_count_is 2
	stop_server
	[ "$ended" -eq 0 ] || [ "$ended" -eq 3 ]
}

@test "group means that group alone; without it the user has all of his" {
	[ "$(id -u)" -eq 0 ] || skip "wants root"
	start_with 'group daemon;'
	for pid in $(workers); do
		[ "$(sed -n 's/^Groups:[[:space:]]*//p' "/proc/$pid/status" | tr -d ' ')" = "$(id -g daemon)" ]
	done
	stop_server
}

@test "echo is recycled after max-requests too, and loses nothing" {
	start_conf 'workers 2; max-requests 50; log-level info; listen 127.0.0.1:0 -> echo;'
	load_begin -c 10 -P echo -m close -d 1500
	wait_until grep -q ' retires' "$log"
	load_end
	nothing_lost
	stop_server
	[ "$ended" -eq 0 ]
}

@test "a root that cannot be entered for a moment does not end a server that has served" {
	[ "$(id -u)" -eq 0 ] || skip "wants root"
	start_with ''
	chmod 700 site
	# shellcheck disable=SC2046
	kill -KILL $(workers)
	wait_until grep -q 'cannot start' "$log"
	chmod 755 site
	wait_until eval '[ "$(curl -s --max-time 2 "http://$address/")" = "hello, and welcome" ]'
	stop_server
	[ "$ended" -eq 0 ]
}

# ---- TERM at a bad moment ----

@test "TERM while a worker dies and another is born is orderly, at any moment" {
	local pids offset
	for ((offset = 0; offset < 20; offset += 3)); do
		start_site
		pids=$(workers)
		serves
		kill -KILL $(head -n $((offset % 2 + 1)) <<<"$pids")
		sleep "0.0$(printf %02d $offset)" # from 0 to 19 ms: where it falls is different each time
		pids+=$'\n'$(pgrep -P "$server" || :)
		stop_server
		[ "$ended" -eq 0 ]
		[ "$(receipt_number cut)" -eq 0 ]
		for pid in $pids; do
			run ! kill -0 "$pid" 2>/dev/null
		done
		port_is_free "${address##*:}"
	done
}

@test "TERM while all workers are in back-off is orderly, and serves who waits" {
	local round
	start_site
	for round in 1 2 3; do
		wait_until worker_count_is 2
		serves
		kill -KILL $(workers)
		wait_until log_has 'was killed by signal 9' $((round * 2))
	done
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&6
	kill -TERM "$server"
	[[ "$(timeout 10 cat <&6)" == *"200 OK"*hello* ]]
	exec 6>&-
	end_server
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
	port_is_free "${address##*:}"
}
