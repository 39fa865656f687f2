# What a service manager passes, stores and is told, and journald. No systemd runs where the tests run: tests/tools/activator.c
# plays it, and says what it hears.

load helper

# How many restarts and deaths a test that counts goes through: few in `make check`, as many as promised in `make soak`.
: "${LASTCALL_RESTARTS:=3}"

setup() {
	common_setup
	server_log=$work/log.server
	out=$work/out
}

teardown() {
	[ -n "${BATS_TEST_COMPLETED:-}" ] || sed 's/^/activator: /' "$out" 2>/dev/null || :
	# The activator kills its server at the end of its commands, which others may have a copy of.
	for pid in "${background[@]}"; do
		[ "$pid" = "${activator:-}" ] || kill -KILL "$pid" 2>/dev/null || :
	done
	exec 6>&-
	[ -z "${activator:-}" ] || wait "$activator" || :
	common_teardown
}

site="service site http { root site; keepalive 1s; }"

# activate OPTION… -- WORD…: the activator with `lastcall WORD…`. through=PREFIX puts a command in front.
activate() {
	local options=()
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	mkfifo "$work/commands"
	# shellcheck disable=SC2086
	"$tools/activator" "${options[@]}" -- ${through:-} "$lastcall" "$@" <"$work/commands" >"$out" 2>"$server_log" 3>&- &
	activator=$!
	background+=("$activator")
	exec 6>"$work/commands"
	wait_until began 1
}

activate_ready() {
	activate -n "$work/notify" "$@"
	ready 1
}

# activate_site [OPTION…]: a site on a socket that was passed as web.
activate_site() {
	configure "workers 2; $site listen fd:web -> site;"
	activate_ready -l web=127.0.0.1:0 "$@" -- run -c lastcall.conf
	address=$(passed web)
}

# The address of the socket passed under a name.
passed() {
	sed -n "s/^socket $1 //p" "$out" | head -n 1
}

# command WORD: to the activator.
command_() {
	echo "$1" >&6
}

# How often a line was said: times PATTERN (a whole line); and whether it was so often, or more.
times() {
	grep -cx "$1" "$out"
}

said() {
	[ "$(times "$2")" -ge "$1" ]
}

heard() {
	said 1 "heard $1"
}

began() {
	said "$1" 'started [0-9]*'
}

# ready N: the Nth server is; sets server.
ready() {
	wait_until began "$1"
	wait_until said "$1" 'heard MAINPID=[0-9]*'
	server=$(sed -n 's/^heard MAINPID=//p' "$out" | tail -n 1)
	workers >>"$work/workers"
}

# ended_with PATTERN: the server has, as the activator says: "status 0", "signal 9".
ended_with() {
	wait_until said 1 "ended $server $1"
}

get() {
	curl -sf -m 10 "http://${1:-$address}/"
}

# The number of a listening socket in the kernel.
inode_of() {
	ss -Hltne "src = $1" | grep -o 'ino:[0-9]*'
}

# ---- sockets that are passed

@test "fd:NAME serves the socket that was passed, also one that blocks, and says so in status" {
	activate_site
	[ "$(get)" = 'hello, and welcome' ]
	"$lastcall" status | grep -q "^$address .* passed$"
	"$lastcall" status --json | grep -q '"origin": *"passed"'
	# No worker waits in accept(2) for the next: all of them answer.
	client -c 8 -m close -t /1k.txt -e 1000 -n 200
	nothing_lost
	command_ stop
	ended_with 'status 0'
}

client() {
	"$tools/losscount" "$@" "$address" >"$work/counted"
}

@test "-l fd:NAME and a descriptor's number do the same" {
	activate_ready -l web=127.0.0.1:0 -l other=127.0.0.1:0 -- run -w 1 -l fd:web http site -l fd:4 echo
	[ "$(get "$(passed web)")" = 'hello, and welcome' ]
	address=$(passed other)
	client -P echo -m close -n 5
	nothing_lost
}

@test "every socket of a name serves, a Unix socket too" {
	configure "workers 1; $site listen fd:web -> site;"
	activate_ready -l web=127.0.0.1:0 -l web=127.0.0.1:0 -l "web=unix:$work/run/web" -- run -c lastcall.conf
	chmod 777 run/web
	for at in $(passed web) $(sed -n 's/^socket web 127/127/p' "$out" | tail -n 1); do
		[ "$(get "$at")" = 'hello, and welcome' ]
	done
	[ "$(curl -sf --unix-socket run/web http://x/)" = 'hello, and welcome' ]
	command_ stop
	ended_with 'status 0'
	# The path is the service manager's.
	[ -S run/web ]
}

@test "a socket that was passed is neither gated nor shut down by a stop: whoever connects then waits, and the next server answers" {
	activate_site
	command_ stop
	ended_with 'status 0'
	get >"$work/got" 3>&- &
	background+=($!)
	waiting=$!
	wait_until queued 1
	command_ start
	ready 2
	wait "$waiting"
	[ "$(cat got)" = 'hello, and welcome' ]
	run ! grep -q 'gate:' "$server_log"
}

# queued N: so many wait in the accept queue.
queued() {
	[ "$(ss -Hltn "src = $address" | awk '{ print $2 }')" -ge "$1" ]
}

@test "QUIT, which cuts, leaves the queue of a passed socket to the next server" {
	activate_site
	for pid in $(workers); do
		kill -STOP "$pid"
	done
	get >"$work/got" 3>&- &
	background+=($!)
	waiting=$!
	wait_until queued 1
	kill -QUIT "$server"
	ended_with 'status [03]'
	command_ start
	ready 2
	wait "$waiting"
	[ "$(cat got)" = 'hello, and welcome' ]
}

@test "what was passed and is no socket that listens is a clear error, all of them at once" {
	configure "listen fd:a -> echo; listen fd:b -> echo; listen fd:c -> echo; listen fd:d -> echo;"
	activate -x a=dgram -x b=unbound -x c=file -n "$work/notify" -- run -c lastcall.conf
	wait_until said 1 'ended .* status 1'
	grep -q '1:8: error: cannot listen on fd:a: descriptor 3 is a datagram socket' "$server_log"
	grep -q 'cannot listen on fd:b: descriptor 4 is a socket that does not listen' "$server_log"
	grep -q 'cannot listen on fd:c: descriptor 5 is no socket' "$server_log"
	grep -q 'cannot listen on fd:d: no socket of that name was passed' "$server_log"
}

@test "two lines cannot have one socket" {
	configure "listen fd:web -> echo; listen fd:3 -> echo;"
	activate -l web=127.0.0.1:0 -n "$work/notify" -- run -c lastcall.conf
	wait_until said 1 'ended .* status 1'
	grep -q 'cannot listen on fd:3: descriptor 3 is listened on already, as fd:web' "$server_log"
}

@test "a socket that nothing is configured for is closed with a warning, and the others serve" {
	activate_site -l spare=127.0.0.1:0
	grep -q 'warning: descriptor 4 was passed as "spare", and nothing listens on fd:spare: closed' "$server_log"
	configure "workers 2; $site listen fd:web fd:spare -> site;"
	run -1 "$lastcall" reload
	[[ "$output" == *'cannot listen on fd:spare: descriptor 4 was closed at the start, for nothing listened on it'* ]]
	[ "$(get)" = 'hello, and welcome' ]
}

@test "sockets for another process, and nonsense, are not taken" {
	local pid
	for pid in 1 x 99999999999999999999; do
		run env LISTEN_PID=$pid LISTEN_FDS=1 "$lastcall" run --no-control -l fd:web echo
		[ "$status" -eq 1 ]
		[[ "$output" == *'no socket of that name was passed'* ]]
	done
	[[ "$output" == *'no socket is taken (LISTEN_FDS)'* ]]
}

@test "check accepts fd:NAME, which only a start can know" {
	configure "listen fd:web -> echo;"
	run -0 "$lastcall" check -c lastcall.conf
}

@test "a reload keeps the sockets that were passed, lets one go, and takes it again" {
	configure "workers 2; $site listen fd:web -> site; listen fd:other -> echo;"
	activate_ready -l web=127.0.0.1:0 -l other=127.0.0.1:0 -- run -c lastcall.conf
	address=$(passed web) other=$(passed other)
	inode=$(inode_of "$other")
	configure "workers 2; $site listen fd:web -> site;"
	"$lastcall" reload
	[ "$(get)" = 'hello, and welcome' ]
	wait_until test -z "$(state_of "$other")"
	grep -q 'listeners: 1 kept, 0 opened, 1 closed' "$server_log"
	# Who connects meanwhile is not refused, for the service manager listens on; and is served when it comes back.
	get "$other" >"$work/got" 3>&- &
	background+=($!)
	waiting=$!
	address=$other
	wait_until queued 1
	configure "workers 2; $site listen fd:web -> site; listen fd:other -> site;"
	"$lastcall" reload
	wait "$waiting"
	[ "$(cat got)" = 'hello, and welcome' ]
	[ "$(inode_of "$other")" = "$inode" ]
}

@test "close lets go of a passed socket, and removes a stored one; a reload has both again" {
	configure "workers 2; fd-store on; log-level info; $site listen fd:web 127.0.0.1:$(free_port) -> site;"
	activate_ready -l web=127.0.0.1:0 -- run -c lastcall.conf
	wait_until said 1 'stored .*'
	address=$(passed web) stored=$("$lastcall" status | awk '/ stored$/ { print $1 }')
	run -0 "$lastcall" close "$address"
	run -0 "$lastcall" close "$stored"
	[ "$(times "removed listen=${stored/:/=} 1")" -eq 1 ]
	nobody_listens "${stored##*:}"
	run ! nobody_listens "${address##*:}"
	[ "$(grep -c ': gate: ' "$server_log")" -eq 1 ]
	"$lastcall" reload
	[ "$(get)" = 'hello, and welcome' ]
	[ "$(get "$stored")" = 'hello, and welcome' ]
	wait_until said 2 'stored .*'
}

@test "a reload that fails leaves the sockets that were passed as they were" {
	configure "workers 2; $site listen fd:web -> site;"
	activate_ready -l web=127.0.0.1:0 -l other=127.0.0.1:0 -- run -c lastcall.conf
	address=$(passed web)
	configure "workers 2; $site listen fd:web fd:missing -> site;"
	run -1 "$lastcall" reload
	[[ "$output" == *'cannot listen on fd:missing: no socket of that name was passed'* ]]
	[ "$(get)" = 'hello, and welcome' ]
	"$lastcall" status | grep -q "^$address .* passed$"
}

# ---- the store

# store_site [OPTION…]: two workers, sites at a port of the kernel's choice and at a path, both stored.
store_site() {
	configure "workers 2; fd-store on; $site listen 127.0.0.1:0 unix:$work/run/site -> site;"
	activate_ready "$@" -- run -c lastcall.conf
	wait_until said 2 'stored .*'
	find_address
}

find_address() {
	address=$("$lastcall" status | awk '/^127/ { print $1; exit }')
}

@test "with fd-store each socket of the configuration is stored under a name of its own" {
	store_site
	[ "$(times "stored listen=127.0.0.1=0,127.0.0.1=${address##*:}")" -eq 1 ]
	[ "$(times "stored listen=unix=$work/run/site,.*")" -eq 1 ]
	"$lastcall" status | grep -q "^$address .* stored$"
	# Not those that clients open.
	"$lastcall" open 127.0.0.1:0 site
	"$lastcall" reload
	[ "$(grep -c '^stored' "$out")" -eq 2 ]
}

@test "fd-store without a service manager says so once, and the server serves" {
	start_conf "workers 1; fd-store on; $site listen 127.0.0.1:0 -> site;"
	"$lastcall" reload
	[ "$(get)" = 'hello, and welcome' ]
	[ "$(grep -c 'fd-store: no service manager wants to be told anything' "$log")" -eq 1 ]
}

@test "without fd-store nothing is" {
	configure "workers 1; $site listen 127.0.0.1:0 -> site;"
	activate_ready -- run -c lastcall.conf
	command_ stop
	ended_with 'status 0'
	run ! grep -q FDSTORE "$out"
}

@test "a stop leaves stored sockets with their queue, ungated, and their paths: the next server has them" {
	store_site
	inode=$(inode_of "$address")
	command_ stop
	ended_with 'status 0'
	[ -S run/site ]
	get >"$work/got" 3>&- &
	background+=($!)
	waiting=$!
	curl -sf -m 10 --unix-socket run/site http://x/ >"$work/got.unix" 3>&- &
	background+=($!)
	waiting_too=$!
	wait_until queued 1
	command_ start
	ready 2
	wait "$waiting" "$waiting_too"
	[ "$(cat got)" = 'hello, and welcome' ]
	[ "$(cat got.unix)" = 'hello, and welcome' ]
	[ "$(inode_of "$address")" = "$inode" ]
	"$lastcall" status | grep -q "^$address .* stored$"
	[ "$(times 'removed .*')" -eq 0 ]
}

@test "a listener that a reload does not have any more is removed from the store, and closes as any other" {
	local gone
	store_site
	old=$address
	configure "workers 2; fd-store on; log-level info; $site listen unix:$work/run/site -> site;"
	load_begin -c 16 -m close -t /1k.txt -e 1000 -d 20000
	"$lastcall" reload
	load_end
	nothing_lost
	wait_until said 1 "removed listen=127.0.0.1=0,127.0.0.1=${old##*:} 1"
	grep -q "$old: gate: " "$server_log"
	nobody_listens "${old##*:}"
	# A path goes with its socket.
	configure "workers 2; $site listen 127.0.0.1:0 -> site;"
	"$lastcall" reload
	wait_until test ! -e run/site
}

@test "fd-store can be turned off and on by a reload" {
	store_site
	configure "workers 2; $site listen 127.0.0.1:0 unix:$work/run/site -> site;"
	"$lastcall" reload
	wait_until said 2 'removed .* 1'
	configure "workers 2; fd-store on; $site listen 127.0.0.1:0 unix:$work/run/site -> site;"
	"$lastcall" reload
	wait_until said 4 'stored .*'
	command_ kill
	ready 2
	[ "$(get)" = 'hello, and welcome' ]
}

@test "a stored socket that no line wants any more is removed from the store and closed, and its address can be had" {
	port=$(free_port) address=127.0.0.1:$port
	configure "workers 2; fd-store on; $site listen $address -> site;"
	activate_ready -- run -c lastcall.conf
	command_ stop
	ended_with 'status 0'
	configure "workers 2; fd-store on; $site listen 0.0.0.0:$port -> site;"
	command_ start
	ready 2
	[ "$(get)" = 'hello, and welcome' ]
	[ "$(times "removed listen=127.0.0.1=$port 1")" -eq 1 ]
	grep -q "a socket from the store, $address (.*), is not of the configuration: removed and closed" "$server_log"
	wait_until said 1 "stored listen=0.0.0.0=$port"
}

@test "a stored Unix socket whose path leads elsewhere by now is not taken for it" {
	store_site
	command_ stop
	ended_with 'status 0'
	rm run/site
	command_ start
	ready 2
	[ "$(curl -sf --unix-socket run/site http://x/)" = 'hello, and welcome' ]
	[ "$(times "removed listen=unix=$work/run/site,.* 1")" -eq 1 ]
}

# ---- nobody is lost

# again_under_load COMMAND MODE OPTION…: restarts or deaths, one after the other, while everybody is served.
again_under_load() {
	local i
	load_begin -c 32 -m "$2" -t /1k.txt -e 1000 -d 600000 "${@:3}"
	for ((i = 2; i <= LASTCALL_RESTARTS + 1; i++)); do
		command_ "$1"
		ready $i
		get >/dev/null
	done
	kill "$load_pid"
	load_end
	nothing_lost
	[ "$(counted refused)" -eq 0 ]
	[ "$(counted connect_failed)" -eq 0 ]
	[ "$(counted status_5xx)" -eq 0 ]
	# Each of the servers that stopped drained, and cut nobody.
	[ "$1" = kill ] || [ "$(times 'ended [0-9]* status 0')" -eq "$LASTCALL_RESTARTS" ]
	run ! grep -q '[1-9][0-9]* cut' "$server_log"
}

@test "restarts with sockets that were passed lose nothing and refuse nobody: one request per connection" {
	activate_site
	again_under_load restart close
}

@test "restarts with sockets that were passed lose nothing and refuse nobody: keep-alive" {
	activate_site
	again_under_load restart keep
}

@test "restarts with sockets that were passed lose nothing and refuse nobody: keep-alive with idle time" {
	activate_site
	again_under_load restart idle -i 300
}

@test "restarts with sockets that were passed lose nothing and refuse nobody: connect, wait, ask" {
	activate_site
	again_under_load restart silent -i 100
}

@test "kill -9 of the master with the store loses nothing and refuses nobody: one request per connection" {
	store_site
	again_under_load kill close
}

@test "kill -9 of the master with the store loses nothing and refuses nobody: keep-alive" {
	store_site
	again_under_load kill keep
}

@test "kill -9 of the master with the store loses nothing and refuses nobody: keep-alive with idle time" {
	store_site
	again_under_load kill idle -i 300
}

@test "kill -9 of the master with the store loses nothing and refuses nobody: connect, wait, ask" {
	store_site
	again_under_load kill silent -i 100
}

@test "kill -9 of the master with the store loses nothing and refuses nobody: a Unix socket" {
	store_site
	chmod 777 run/site
	address=unix:$work/run/site
	get() { curl -sf -m 10 --unix-socket run/site http://x/; }
	again_under_load kill close
}

@test "kill -9 of the master with a socket that was passed loses nothing and refuses nobody" {
	activate_site
	again_under_load kill close
}

@test "restarts with KillMode=mixed, which kills what is left when the master has ended, lose nothing: nobody is left" {
	activate_site -m
	again_under_load restart keep
	[ "$(times 'left some')" -eq 0 ]
}

@test "kill -9 of the master with KillMode=mixed costs the workers, and refuses nobody" {
	store_site -m
	load_begin -c 32 -m close -t /1k.txt -e 1000 -d 600000
	command_ kill
	ready 2
	get
	kill "$load_pid"
	load_end
	[ "$(times 'left some')" -eq 1 ]
	[ "$(counted refused)" -eq 0 ]
	[ "$(counted connect_failed)" -eq 0 ]
	# What the workers had open; what waited in the queue was answered.
	[ "$(counted lost)" -le 32 ]
}

@test "a TERM to every process of the group at once, as with KillMode=control-group, loses nothing" {
	activate_site
	load_begin -c 32 -m keep -t /1k.txt -e 1000 -d 600000
	# A worker may be gone before its own comes.
	workers | xargs kill -TERM "$server" || :
	ended_with 'status 0'
	command_ start
	ready 2
	get
	kill "$load_pid"
	load_end
	nothing_lost
	[ "$(counted refused)" -eq 0 ]
}

# ---- what is told

@test "READY and the pid are told when the workers serve, and the status in words" {
	activate_site
	wait_until heard 'STATUS=serving: 2 workers, 1 listener'
	[ "$(times 'heard READY=1')" -eq 1 ]
	[ "$(sed -n 's/^started //p' "$out")" = "$server" ]
	"$lastcall" open 127.0.0.1:0 echo
	wait_until heard 'STATUS=serving: 2 workers, 2 listeners'
}

@test "nothing is told to be ready before it is" {
	configure "workers 1; $site listen 127.0.0.1:0 -> site;"
	activate -n "$work/notify" -- run -c lastcall.conf
	ready 1
	# The first that is said of it is that it starts.
	sed -n '/^heard READY=1/q; p' "$out" | grep -q '^heard STATUS=starting: '
	grep -q '^heard EXTEND_TIMEOUT_USEC=[1-9]' "$out"
}

@test "an abstract socket is spoken to as well" {
	configure "workers 1; $site listen 127.0.0.1:0 -> site;"
	activate -n "@lastcall-test.$$.$BATS_TEST_NUMBER" -- run -c lastcall.conf
	ready 1
	heard READY=1
}

@test "with -d the pid that is told is that of the server, which goes on when its parent has ended" {
	configure "workers 1; $site listen fd:web -> site;"
	activate_ready -l web=127.0.0.1:0 -- run -c lastcall.conf -d
	parent=$(sed -n 's/^started //p' "$out")
	[ "$parent" != "$server" ]
	wait_until said 1 "ended $parent status 0"
	address=$(passed web)
	[ "$(get)" = 'hello, and welcome' ]
	command_ restart
	wait_until began 2
	wait_until said 2 'heard MAINPID=[0-9]*'
	[ "$(get)" = 'hello, and welcome' ]
	server=$(sed -n 's/^heard MAINPID=//p' "$out" | tail -n 1)
	command_ stop
	ended_with 'status 0'
}

@test "a reload tells RELOADING with the time, and READY when it is over" {
	activate_site
	"$lastcall" reload
	wait_until said 2 'heard READY=1'
	[ "$(times 'heard RELOADING=1')" -eq 1 ]
	usec=$(sed -n 's/^heard MONOTONIC_USEC=//p' "$out") uptime=$(cut -d. -f1 /proc/uptime)
	[ "$((usec / 1000000))" -le "$uptime" ]
	[ "$((usec / 1000000))" -ge "$((uptime - 60))" ]
	# In this order.
	[ "$(grep -xE 'heard (READY|RELOADING)=1' "$out" | tr '\n' ' ')" = 'heard READY=1 heard RELOADING=1 heard READY=1 ' ]
}

@test "a reload that fails tells READY again, and why" {
	activate_site
	configure "lissten 80;"
	run -2 "$lastcall" reload
	wait_until said 2 'heard READY=1'
	[ "$(times 'heard RELOADING=1')" -eq 1 ]
	wait_until heard 'STATUS=reload failed: the configuration is wrong; going on as before'
	wait_until heard 'STATUS=serving: 2 workers, 1 listener; the last reload failed: the configuration is wrong'
	configure "workers 2; $site listen fd:web -> site;"
	"$lastcall" reload
	wait_until said 3 'heard READY=1'
	wait_until tail_is 'heard STATUS=serving: 2 workers, 1 listener'
}

tail_is() {
	[ "$(grep '^heard STATUS=' "$out" | tail -n 1)" = "$1" ]
}

@test "a stop tells STOPPING, and asks for time as long as it drains" {
	configure "workers 1; grace 60s; listen fd:web -> echo;"
	activate_ready -l web=127.0.0.1:0 -- run -c lastcall.conf
	address=$(passed web)
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
	echo one >&7
	read -r -t 10 line <&7
	before=$(times 'heard EXTEND_TIMEOUT_USEC=15000000')
	command_ stop
	wait_until heard STOPPING=1
	wait_until said $((before + 1)) 'heard EXTEND_TIMEOUT_USEC=15000000'
	wait_until said $((before + 2)) 'heard EXTEND_TIMEOUT_USEC=15000000'
	wait_until heard 'STATUS=draining: 1 worker, 0 listeners'
	exec 7>&-
	ended_with 'status 0'
	[ "$(times 'heard STOPPING=1')" -eq 1 ]
	[ "$(times 'heard READY=1')" -eq 1 ]
}

@test "a TERM in the middle of a reload does not say that it is ready again" {
	activate_site
	for i in 1 2 3 4 5; do
		kill -HUP "$server"
		kill -TERM "$server"
		ended_with 'status 0'
		command_ start
		ready $((i + 1))
	done
	# Between a STOPPING and the next server's status there is no READY.
	run ! awk '/^heard STOPPING=1/ { stopping = 1 } /^started/ { stopping = 0 } stopping && /^heard READY=1/ { found = 1 } END { exit !found }' "$out"
}

@test "a sign of life is given while workers live, and none when they are all stopped" {
	activate_site -w 1000000
	wait_until said 3 'heard WATCHDOG=1'
	for pid in $(workers); do
		kill -STOP "$pid"
	done
	wait_until silent_for_a_second
	for pid in $(workers); do
		kill -CONT "$pid"
	done
	count=$(times 'heard WATCHDOG=1')
	wait_until said $((count + 2)) 'heard WATCHDOG=1'
}

# Two signs of life would have come in that time.
silent_for_a_second() {
	local before
	before=$(times 'heard WATCHDOG=1')
	sleep 1.2
	[ "$(times 'heard WATCHDOG=1')" -eq "$before" ]
}

@test "a watchdog that is meant for another process is none of ours" {
	through='env WATCHDOG_USEC=200000 WATCHDOG_PID=1'
	configure "workers 1; $site listen 127.0.0.1:0 -> site;"
	activate_ready -- run -c lastcall.conf
	sleep 1 # five would have come
	run ! grep -q WATCHDOG "$out"
}

@test "no worker has the service manager's socket, nor the copies of what was passed that the master keeps" {
	local inode
	activate_site -l other=127.0.0.1:0
	# The listener's own, and the master's: the same socket twice.
	inode=$(inode_of "$address")
	inode=socket:[${inode#ino:}]
	[ "$(find "/proc/$server/fd" -lname "socket:*" -printf '%l\n' | grep -cF "$inode")" -eq 2 ]
	for pid in $(workers); do
		[ "$(find "/proc/$pid/fd" -lname "socket:*" -printf '%l\n' | grep -cF "$inode")" -eq 1 ]
		for socket in $(find "/proc/$server/fd" -lname 'socket:*' -printf '%l\n' | tr -dc '0-9\n'); do
			# A datagram socket of no address and no peer: that is the one to the service manager.
			ss -Hxa | awk -v inode="$socket" '$1 == "u_dgr" && $5 == "*" && $6 == inode && $8 == 0 { found = 1 } END { exit !found }' || continue
			notifies=$socket
			[ "$(find "/proc/$pid/fd" -lname "socket:.$socket." | wc -l)" -eq 0 ]
		done
	done
	[ -n "$notifies" ]
}

@test "a full socket neither blocks nor fails the server, and is told in order when there is room" {
	configure "workers 1; fd-store on; $site listen 127.0.0.1:0 -> site;"
	activate -d -n "$work/notify" -w 200000 -- run -c lastcall.conf
	wait_until "$lastcall" ping
	find_address
	for _ in 1 2 3 4; do
		"$lastcall" reload
		get
	done
	# As much as the kernel keeps for a socket that is not read, whatever that is here, and more.
	for _ in $(seq 150); do
		"$lastcall" open 127.0.0.1:0 echo >/dev/null
	done
	[ "$(get)" = 'hello, and welcome' ]
	command_ hear
	wait_until heard READY=1
	wait_until said 1 'stored .*'
	wait_until said 1 'heard STATUS=serving: 1 worker, 151 listeners'
	[ "$(grep -xE 'heard (READY|RELOADING)=1' "$out" | tail -n 1)" = 'heard READY=1' ]
	command_ stop
	wait_until heard STOPPING=1
}

@test "a socket that vanished fails nothing, and is one line in the log" {
	activate_site -w 200000
	command_ gone
	wait_until test ! -e notify
	for _ in 1 2 3; do
		"$lastcall" reload
		[ "$(get)" = 'hello, and welcome' ]
	done
	wait_until grep -q 'the service manager cannot be told' "$server_log"
	command_ stop
	ended_with 'status 0'
	[ "$(grep -c 'the service manager cannot be told' "$server_log")" -eq 1 ]
}

@test "a NOTIFY_SOCKET that is none is a warning, and the server serves" {
	NOTIFY_SOCKET=vsock:2:1234 start_site
	grep -q 'warning: NOTIFY_SOCKET "vsock:2:1234": it is neither a path nor an abstract socket' "$log"
	[ "$(get)" = 'hello, and welcome' ]
}

@test "a server that is told to says nothing while nothing changes" {
	activate_site
	wait_until tail_is 'heard STATUS=serving: 2 workers, 1 listener'
	count=$(grep -c '^heard' "$out")
	sleep 2.5 # the time over which it is watched
	[ "$(grep -c '^heard' "$out")" -eq "$count" ]
}

# ---- the journal

@test "lines to the journal begin with their level, those of workers too; lines to anything else do not" {
	exec 8>"$work/log.journal"
	JOURNAL_STREAM=$(stat -L -c '%d:%i' /proc/self/fd/8) "$lastcall" run -w 2 -l 127.0.0.1:0 echo --ready-fd 9 \
		9>"$work/told" >/dev/null 2>&8 3>&- &
	server=$!
	background+=($server)
	exec 8>&-
	wait_until grep -q '^ready' told
	kill -KILL "$(workers | head -n 1)"
	wait_until grep -q '^<4>lastcall: warning: worker' log.journal
	grep -q '^<5>lastcall: ready' log.journal
	wait_until worker_count_is 2
	workers >>"$work/workers"
	left=$(workers)
	kill -KILL "$server"
	wait "$server" || :
	for pid in $left; do
		wait_until grep -q "^<3>lastcall: error: worker . (pid $pid): the master died" log.journal
	done
	run ! grep -qv '^<[0-7]>lastcall: ' log.journal
	JOURNAL_STREAM=1:1 start_site
	run ! grep -q '^<' "$log"
}

@test "errors of the start reach the journal as such, each line of them" {
	local status
	printf 'lissten 80;\n' >wrong.conf
	echo 'no number' >pid
	for words in '-c wrong.conf' '-l fd:web echo' '-l 127.0.0.1:0 echo -p pid'; do
		status=0
		: >log.journal
		exec 8>>"$work/log.journal"
		# shellcheck disable=SC2086
		JOURNAL_STREAM=$(stat -L -c '%d:%i' /proc/self/fd/8) "$lastcall" run --no-control $words 2>&8 || status=$?
		exec 8>&-
		[ "$status" -ne 0 ]
		grep -q 'error: ' log.journal
		run ! grep -qv '^<3>' log.journal
	done
}

# ---- the unit files

@test "the unit files are good, as systemd-analyze says, and expose little" {
	local root=$work/root line
	type -P systemd-analyze >/dev/null || skip "systemd-analyze is not to be had here"
	mkdir -p "$root/etc/systemd/system" "$root/usr/local/bin" "$root/usr/lib/systemd"
	cp "$LASTCALL_SOURCE"/conf/lastcall.service "$LASTCALL_SOURCE"/conf/lastcall.socket "$root/etc/systemd/system"
	# It looks for the program.
	cp "$lastcall" "$root/usr/local/bin/lastcall"
	cp -r /usr/lib/systemd/system "$root/usr/lib/systemd/"
	run -0 systemd-analyze verify --man=no --root="$root" "$root"/etc/systemd/system/lastcall.{service,socket}
	[ -z "$output" ]
	# Of 100; what is left is the network, which it serves, and the files.
	run -0 systemd-analyze security --offline=true --threshold=20 --no-pager "$root/etc/systemd/system/lastcall.service"
	# It finds what is wrong.
	sed -i 's/^Type=notify$/Type=notified/' "$root/etc/systemd/system/lastcall.service"
	run systemd-analyze verify --man=no --root="$root" "$root/etc/systemd/system/lastcall.service"
	[[ "$output" == *notified* ]]
}

@test "the units are of the type that is spoken, reload by a command that there is, and are installed without being enabled" {
	grep -q '^Type=notify$' "$LASTCALL_SOURCE/conf/lastcall.service"
	# What a reload of the unit runs is a command that there is.
	run -0 "$lastcall" reload --help
	# They are installed where nothing enables them.
	make_install DESTDIR="$work/root" PREFIX=/opt/l
	grep -q '^ExecStart=/opt/l/bin/lastcall run' root/opt/l/share/doc/lastcall/lastcall.service
	[ -e root/opt/l/share/doc/lastcall/lastcall.socket ]
	[ "$(ls root)" = opt ]
}

# ---- an upgrade

upgraded() {
	[ "$(grep -c 'upgraded: pid' "$server_log")" -eq "$1" ]
}

@test "an upgrade keeps the sockets that were passed, the store, and the ear of the service manager" {
	configure "workers 2; fd-store on; $site listen fd:web 127.0.0.1:0 -> site;"
	activate_ready -l web=127.0.0.1:0 -- run -c lastcall.conf
	address=$(passed web)
	wait_until heard 'FDSTORE=1'
	stored=$("$lastcall" status | awk '$NF ~ /stored/ { print $1 }')
	load_begin -c 16 -m close -t /1k.txt -e 1000 -d 4000
	for ((i = 1; i <= 3; i++)); do
		"$lastcall" upgrade
		wait_until upgraded "$i"
	done
	load_end
	nothing_lost
	"$lastcall" status | grep "^$address " | grep -q passed
	"$lastcall" status | grep "^$stored " | grep -q stored
	curl -sf -m 10 "http://$stored/"
	# It was told of the reload that each begins with, and is still told.
	wait_until said 3 'heard RELOADING=1'
	wait_until said 4 'heard READY=1'
	[ "$(times 'heard FDSTORE=1')" -eq 1 ]
	# A later configuration lets the passed one go and takes it again.
	configure "workers 2; fd-store off; $site listen 127.0.0.1:0 -> site;"
	"$lastcall" reload
	wait_until heard 'FDSTOREREMOVE=1'
	configure "workers 2; fd-store off; $site listen fd:web -> site;"
	"$lastcall" upgrade
	curl -sf -m 10 "http://$address/"
	kill -TERM "$server"
	wait_until heard 'STOPPING=1'
}
