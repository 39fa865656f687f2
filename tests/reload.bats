# Another configuration for a server that runs: what stays, what comes, what goes, and that nobody connected notices.

load helper

# How many reloads a test that counts goes through: few in `make check`, as many as promised in `make soak`.
: "${LASTCALL_RELOADS:=6}"

setup() {
	common_setup
	mkdir other
	chmod 755 other
	printf 'the other one\n' >other/index.html
	head -c 1000 /dev/zero | tr '\0' x >other/1k.txt
	touch -d '1 hour ago' other/index.html other/1k.txt
}

teardown() { common_teardown; }

site="service site http { root site; keepalive 1s; }"

# start_site_conf [TEXT]: two workers and a site at a port of the kernel's choice.
start_site_conf() {
	start_conf "workers 2; log-level info; $site listen 127.0.0.1:0 -> site; ${1:-}"
}

get() {
	curl -sf -m 10 "http://${1:-$address}/"
}

generation() {
	"$lastcall" status --json | grep -o '"generation": *[0-9]*' | head -n 1 | grep -o '[0-9]*$'
}

generation_is() {
	[ "$(generation)" = "$1" ]
}

# retired: only the workers of the newest generation are left.
retired() {
	[ "$("$lastcall" status | grep -c retiring)" -eq 0 ]
}

# as_before: the same workers, the same listeners, and everybody is served.
note_before() {
	# First: the master closes its end of a client some time after the client has ended.
	descriptors_before=$(descriptors)
	workers_before=$(workers) listeners_before=$("$lastcall" status | awk '/^ADDRESS/, /^$/ { print $1, $2, $3, $NF }')
}

as_before() {
	wait_until worker_count_is "$(wc -l <<<"$workers_before")"
	[ "$(workers)" = "$workers_before" ]
	[ "$("$lastcall" status | awk '/^ADDRESS/, /^$/ { print $1, $2, $3, $NF }')" = "$listeners_before" ]
	wait_until descriptors_are "$descriptors_before"
	get
}

# ---- what stays

@test "a reload starts new workers, who serve what the file says now, on the socket that was there" {
	start_site_conf
	inode=$(inode_of "$address") before=$(workers)
	configure "workers 3; service site http { root other; } listen 127.0.0.1:0 -> site;"
	run -0 "$lastcall" reload
	[ -z "$output" ]
	[ "$(get)" = 'the other one' ]
	[ "$(inode_of "$address")" = "$inode" ]
	generation_is 1
	wait_until worker_count_is 3
	for pid in $before; do
		[ ! -e "/proc/$pid" ]
	done
	grep -q 'reloaded: generation 1, 3 workers.*; listeners: 1 kept, 0 opened, 0 closed' "$log"
}

@test "who connects after reload has returned is served by what the file says, however busy the machine is" {
	local i name
	start_site_conf
	for i in 1 2 3 4; do
		sh -c 'while kill -0 "$1" 2>/dev/null; do :; done' busy $$ 3>&- &
		background+=($!)
	done
	for ((i = 1; i <= 10; i++)); do
		name=$([ $((i % 2)) -eq 0 ] && echo site || echo other)
		configure "workers 4; service site http { root $name; } listen 127.0.0.1:0 -> site;"
		"$lastcall" reload
		for _ in 1 2 3 4; do
			[ "$(get)" = "$(cat "$name/index.html")" ]
		done
		wait_until retired
	done
}

@test "HUP does the same" {
	start_site_conf
	configure "workers 1; service site http { root other; } listen 127.0.0.1:0 -> site;"
	kill -HUP "$server"
	wait_until generation_is 1
	[ "$(get)" = 'the other one' ]
}

@test "an address that stays may have another service" {
	start_site_conf
	configure "workers 2; listen ${address} -> echo;"
	"$lastcall" reload
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
	echo hello >&7
	read -r -t 10 line <&7
	exec 7>&-
	[ "$line" = hello ]
}

# reload_under_load MODE OPTION…: again and again, while everybody is served.
reload_under_load() {
	local i
	load_begin -c 32 -m "$1" -t /1k.txt -e 1000 -d $((LASTCALL_RELOADS * 400)) "${@:2}"
	for ((i = 1; i <= LASTCALL_RELOADS; i++)); do
		"$lastcall" reload
		wait_until retired
	done
	generation_is "$LASTCALL_RELOADS"
	load_end
	nothing_lost
	[ "$(counted refused)" -eq 0 ]
	[ "$(counted status_5xx)" -eq 0 ]
	stop_server
	[ "$ended" -eq 0 ]
}

@test "reloads under load lose nothing: one request per connection" {
	start_site_conf
	reload_under_load close
}

@test "reloads under load lose nothing: keep-alive" {
	start_site_conf
	reload_under_load keep
}

@test "reloads under load lose nothing: keep-alive with idle time" {
	start_site_conf
	reload_under_load idle -i 300
}

@test "reloads under load lose nothing: connect, wait, ask" {
	start_site_conf
	reload_under_load silent -i 100
}

@test "reloads under load lose nothing: connect, and never speak" {
	start_conf "workers 2; log-level info; service site http { root site; header-timeout 200ms; } listen 127.0.0.1:0 -> site;"
	reload_under_load connect -i 200
}

@test "reloads under load lose nothing: echo, over IPv6" {
	start_conf "workers 2; log-level info; listen [::1]:0 -> echo;"
	reload_under_load close -P echo -b 512
}

@test "reloads under load lose nothing: a Unix socket" {
	start_conf "workers 2; log-level info; listen unix:$work/run/site -> echo;"
	reload_under_load close -P echo -b 512
}

@test "reloads under load lose nothing: without privilege" {
	export LASTCALL_CONTROL=$work/run/control
	as=$unprivileged start_site_conf
	reload_under_load close
}

@test "who is in stays as long as it likes: a download goes on, an idle connection is answered in its time" {
	head -c 50000000 /dev/zero >site/large
	start_site_conf
	curl -s --limit-rate 10M "http://$address/large" -o "$work/got" 3>&- &
	download=$!
	background+=($download)
	wait_until test -s got
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
	printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' >&7
	read -r -t 10 line <&7
	old=$(workers)
	"$lastcall" reload
	printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' >&7
	timeout 10 cat <&7 >"$work/second"
	grep -q 'Connection: close' "$work/second"
	[ "$(grep -c welcome "$work/second")" -eq 2 ]
	exec 7>&-
	"$lastcall" status | grep -q retiring
	wait $download
	cmp site/large got
	for pid in $old; do
		wait_until test ! -e "/proc/$pid"
	done
	[ "$(get)" = 'hello, and welcome' ]
}

# ---- what comes and goes

@test "what the file has now is opened, what it has no more is closed; both without a loss" {
	port=$(free_port) socket=$work/run/new.sock
	start_site_conf
	old=$address
	load_begin -c 32 -m close -t /1k.txt -e 1000 -d 20000
	configure "workers 2; log-level info; $site listen 127.0.0.1:$port unix:$socket -> site;"
	"$lastcall" reload
	[ "$(get "127.0.0.1:$port")" = 'hello, and welcome' ]
	[ "$(curl -sf --unix-socket "$socket" http://x/)" = 'hello, and welcome' ]
	load_end
	nothing_lost
	port_is_free "${old##*:}" || [ -z "$(state_of "$old")" ]
	grep -q 'listeners: 0 kept, 2 opened, 1 closed' "$log"
	[ "$(grep -c "$old: closed after .* (reload)" "$log")" -eq 1 ]
	configure "workers 2; $site listen 127.0.0.1:$port -> site;"
	"$lastcall" reload
	wait_until test ! -e "$socket"
}

@test "a listener that goes serves who is in" {
	start_conf "workers 2; $site listen 127.0.0.1:0 -> echo; listen 127.0.0.1:$(free_port) -> site;"
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
	echo one >&7
	read -r -t 10 line <&7
	configure "workers 2; $site listen ${addresses[1]} -> site;"
	"$lastcall" reload
	wait_until port_is_free "${address##*:}"
	[ "$(state_of "$address")" = finishing ]
	echo two >&7
	read -r -t 10 line <&7
	[ "$line" = two ]
	exec 7>&-
	wait_until test -z "$(state_of "$address")"
}

@test "ports that clients opened and leased survive, with their sockets and services" {
	start_site_conf
	named=$("$lastcall" open 127.0.0.1:0 site)
	own=$("$lastcall" open 127.0.0.1:0 http other)
	mkfifo hold
	"$lastcall" lease 127.0.0.1:0 site <hold >leased 2>"$work/log.lease" 3>&- &
	holder=$!
	background+=($holder)
	exec 5>hold
	wait_until test -s leased
	leased=$(cat leased)
	sockets="$(inode_of "$named") $(inode_of "$own") $(inode_of "$leased")"
	configure "workers 2; log-level info; service site http { root other; } listen $address -> site;"
	"$lastcall" reload
	# The service of that name is another now.
	[ "$(get "$named")" = 'the other one' ]
	[ "$(get "$leased")" = 'the other one' ]
	[ "$(get "$own")" = 'the other one' ]
	# One that is gone goes on as it was, also for workers that are born later.
	configure "workers 2; log-level info; listen $address -> echo;"
	"$lastcall" reload
	wait_until retired
	for pid in $(workers); do
		kill -KILL "$pid"
	done
	for port in "$named" "$own" "$leased"; do
		[ "$(get "$port")" = 'the other one' ]
	done
	[ "$(inode_of "$named") $(inode_of "$own") $(inode_of "$leased")" = "$sockets" ]
	[ ! -s "$work/log.lease" ]
	exec 5>&-
	wait $holder
	run -0 "$lastcall" close "$named"
	run -0 "$lastcall" close "$own"
}

@test "a port of the configuration that was closed by hand is open after a reload" {
	port=$(free_port)
	start_conf "workers 2; $site listen 127.0.0.1:$port -> site;"
	"$lastcall" close "$address"
	[ "$(state_of "$address")" = closed ]
	"$lastcall" reload
	[ "$(state_of "$address")" = open ]
	[ "$(get)" = 'hello, and welcome' ]
}

@test "a name with several addresses, and the same one twice in a row" {
	port=$(free_port)
	start_conf "workers 1; $site listen localhost:$port -> site;"
	"$lastcall" reload
	get "127.0.0.1:$port"
	grep -q 'listeners: [12] kept, 0 opened, 0 closed' "$log"
}

@test "a server without a configuration reads its command line again, and its folder" {
	start serve -l 127.0.0.1:0 -w 2 site
	mv site was
	mv other site
	kill -HUP "$server"
	wait_until generation_is 1
	[ "$(get)" = 'the other one' ]
}

# ---- what is wrong

@test "a wrong configuration changes nothing: what is wrong is printed, status 2, and a good one works after it" {
	start_site_conf
	note_before
	configure "workers 2; $site lissten 127.0.0.1:0 -> site;"
	run -2 --separate-stderr "$lastcall" reload
	[[ "$stderr" == *'lastcall.conf:1:'*'unknown directive "lissten"; did you mean "listen"?'* ]]
	[[ "$stderr" == *'lastcall: error: reload: the configuration is wrong' ]]
	[ -z "$output" ]
	as_before
	kill -HUP "$server"
	wait_until grep -q 'reload: the configuration is wrong; going on as before' "$log"
	grep -q 'lastcall: error: .*lastcall.conf:1:.*did you mean "listen"' "$log"
	rm lastcall.conf
	run -2 "$lastcall" reload
	[[ "$output" == *'No such file'* ]]
	configure "service site http { root nowhere; } listen 127.0.0.1:0 -> site;"
	run -2 "$lastcall" reload
	[[ "$output" == *'nowhere'* ]]
	as_before
	configure "workers 2; service site http { root other; } listen 127.0.0.1:0 -> site;"
	"$lastcall" reload
	[ "$(get)" = 'the other one' ]
}

@test "an address that cannot be had changes nothing, status 1, and the next reload works" {
	start_site_conf
	note_before
	other=$("$lastcall" open 127.0.0.1:0 echo)
	busy=$(free_port) free=$(free_port)
	"$lastcall" run --no-control -w 1 -l "127.0.0.1:$busy" echo >held 2>"$work/log.held" 3>&- &
	holder=$!
	background+=($holder)
	wait_until grep -q ready held
	configure "workers 2; $site
		listen 127.0.0.1:$free unix:$work/run/half.sock -> site;
		listen 127.0.0.1:0 127.0.0.1:$busy $other 192.0.2.1:80 -> site;"
	run -1 --separate-stderr "$lastcall" reload
	[[ "$stderr" == *"cannot listen on 127.0.0.1:$busy: Address already in use"* ]]
	[[ "$stderr" == *"cannot listen on $other: Address already in use, by a port that a client opened"* ]]
	[[ "$stderr" == *'cannot listen on 192.0.2.1:80: Cannot assign'* ]]
	port_is_free "$free"
	[ ! -e "$work/run/half.sock" ]
	"$lastcall" close "$other"
	as_before
	kill "$holder"
	wait "$holder" || :
	configure "workers 2; $site listen 127.0.0.1:$free 127.0.0.1:0 127.0.0.1:$busy -> site;"
	"$lastcall" reload
	get "127.0.0.1:$free"
	get "127.0.0.1:$busy"
}

@test "a new worker that dies before it is ready changes nothing, status 1" {
	start_site_conf
	note_before
	# Room for what birth takes on its way, and not for a worker's buffers.
	prlimit --pid "$server" --as=$((($(awk '/VmSize/ { print $2 }' "/proc/$server/status") + 65536) * 1024)):
	configure "workers 2; $site listen 127.0.0.1:0 127.0.0.1:$(free_port) -> site;"
	run -1 "$lastcall" reload
	[[ "$output" == *'reload: a new worker (pid '*') exited with status 1 before all were ready; its log, standard error, says why'* ]]
	grep -q 'cannot start: Cannot allocate memory' "$log"
	prlimit --pid "$server" --as=unlimited:
	as_before
	configure "workers 2; service site http { root other; } listen 127.0.0.1:0 -> site;"
	"$lastcall" reload
	[ "$(get)" = 'the other one' ]
}

@test "a fork that fails changes nothing, status 1" {
	start_site_conf
	note_before
	strace -qq -o /dev/null -p "$server" -e trace=clone,clone3,fork -e inject=clone,clone3,fork:error=EAGAIN:when=2 3>&- &
	tracer=$!
	background+=($tracer)
	wait_until grep -q "TracerPid:.*$tracer" "/proc/$server/status"
	run -1 "$lastcall" reload
	[[ "$output" == *'cannot start a worker: '*'temporarily unavailable'* ]]
	kill "$tracer"
	wait "$tracer" || :
	as_before
	"$lastcall" reload
	generation_is 2 # no number is used twice
}

@test "what only a start can change is an error, status 2" {
	start_conf "workers 2; pid-file a.pid; $site listen 127.0.0.1:0 -> site;"
	note_before
	configure "workers 2; pid-file b.pid; max-listeners 16000; $site listen 127.0.0.1:0 -> site;"
	run -2 "$lastcall" reload
	[[ "$output" == *":1:21: error: pid-file: it can be changed by a restart only: it is $work/a.pid, and would be $work/b.pid"* ]]
	[[ "$output" == *'max-listeners: there is no room for so many'* ]]
	configure "workers 200; pid-file a.pid; $site listen 127.0.0.1:0 -> site;"
	run -1 "$lastcall" reload
	[[ "$output" == *'200 workers are more than were made room for at the start, which is 18'* ]]
	as_before
	[ ! -e b.pid ]
	[ -e a.pid ]
}

@test "a folder that was moved makes another pid file of the same line, and the error says both" {
	mkdir before
	cd before
	printf '%s\n' "pid-file pid; service site http { root $work/site; } listen 127.0.0.1:0 -> site;" >lastcall.conf
	start run -c lastcall.conf -w 1
	mv "$work/before" "$work/after"
	run -2 "$lastcall" reload
	[[ "$output" == *" pid-file: it can be changed by a restart only: it is $work/before/pid, and would be $work/after/pid"* ]]
}

@test "somebody else may not reload, nor say how many workers" {
	[ "$(id -u)" -eq 0 ] || skip "only root becomes somebody else"
	start_conf "control $work/run/c.sock { mode 0666; } workers 2; $site listen 127.0.0.1:0 -> site;"
	for request in reload 'workers 1'; do
		run setpriv --reuid=65533 --regid=65533 --clear-groups "$tools/ctl" "$work/run/c.sock" "send:$request\n" answer
		[[ "$output" == 'error denied '* ]]
	done
	LASTCALL_CONTROL=$work/run/c.sock generation_is 0
	worker_count_is 2
}

# ---- at the wrong time

@test "ten HUPs in a second are few reloads, and the last file is in force" {
	start_site_conf
	for i in 1 2 3 4 5 6 7 8 9 10; do
		echo "page $i" >"other/$i.html"
		configure "workers 2; service site http { root other; index $i.html; } listen 127.0.0.1:0 -> site;"
		kill -HUP "$server"
	done
	wait_until page_is 'page 10'
	[ "$(generation)" -le 3 ]
}

page_is() {
	[ "$(get)" = "$1" ]
}

@test "TERM during a reload ends it, and everything" {
	for delay in 0 0.001 0.002 0.004 0.008 0.016; do
		start_site_conf
		configure "workers 4; log-level info; $site listen 127.0.0.1:0 127.0.0.1:0 -> site;"
		kill -HUP "$server"
		sleep "$delay" # anywhere
		all="$server $(workers)"
		stop_server
		[ "$ended" -eq 0 ]
		for pid in $all; do
			[ ! -e "/proc/$pid" ]
		done
	done
}

@test "a client that waits for a reload is told when the server stops instead" {
	start_site_conf
	# One of the new workers is stopped as soon as it is there, so that the reload waits for it.
	"$tools/ctl" "$LASTCALL_CONTROL" 'send:reload\n' answer >told 3>&- &
	background+=($!)
	wait_until new_worker_is_stopped
	kill -TERM "$server"
	wait_until test -s told
	kill -CONT "$caught" 2>/dev/null || :
	end_server
	[[ "$(cat told)" == 'error failed the server is stopping' || "$(cat told)" == 'ok generation=1' ]]
}

new_worker_is_stopped() {
	caught=$(workers | tail -n 1)
	[ "$(workers | wc -l)" -gt 2 ] || [ -s told ] || return 1
	kill -STOP "$caught" 2>/dev/null || :
}

@test "a worker of before that is stopped does not hold up a reload" {
	start_site_conf "watchdog 2s;"
	stopped=$(workers | head -n 1)
	kill -STOP "$stopped"
	"$lastcall" reload
	generation_is 1
	get
	wait_until test ! -e "/proc/$stopped"
	load_begin -c 8 -m close -t /1k.txt -e 1000 -n 200
	load_end
	nothing_lost
}

# ---- while the new workers start

# hold_reload: asks for a reload whose new workers take two seconds longer to be ready. finish_reload waits for its end.
hold_reload() {
	[[ $("$lastcall" --version) == *epoll* ]] || skip 'the poll loop makes no call that could be held'
	before=$(workers | wc -l)
	strace -f -qq -o /dev/null -p "$server" -e trace=epoll_create1 -e inject=epoll_create1:delay_enter=2000000 3>&- &
	tracer=$!
	background+=($tracer)
	wait_until grep -q "TracerPid:.*$tracer" "/proc/$server/status"
	"$lastcall" reload >"$work/reloaded" 2>&1 3>&- &
	reloading=$!
	background+=($reloading)
	wait_until more_workers_than "$before"
}

more_workers_than() {
	[ "$(workers | wc -l)" -gt "$1" ]
}

finish_reload() {
	reload_status=0
	wait "$reloading" || reload_status=$?
	kill "$tracer"
	wait "$tracer" || :
	cat "$work/reloaded"
}

kill_an_heir() {
	kill -KILL "$(workers | tail -n 1)"
}

@test "until all new workers are ready everybody has the old configuration, whoever dies" {
	start_site_conf
	configure "workers 2; service site http { root other; } listen 127.0.0.1:0 -> site;"
	hold_reload
	# By one process, or the two seconds may be over.
	[ "$(curl -sf -m 10 -H 'Connection: close' "http://$address/?[1-50]" | grep -o 'hello, and welcome' | wc -l)" -eq 50 ]
	kill_an_heir
	finish_reload
	[ "$reload_status" -eq 1 ]
	[[ "$(cat reloaded)" == *'was killed by signal 9 (Killed) before all were ready' ]]
	[ "$(get)" = 'hello, and welcome' ]
	wait_until worker_count_is 2
	grep -q ' 0 connections lost' "$log"
}

@test "an address that is about to be opened is not open yet: it cannot be closed, and nobody else can have it" {
	port=$(free_port) socket=$work/run/new.sock
	start_site_conf
	configure "workers 2; log-level info; $site listen 127.0.0.1:0 127.0.0.1:$port unix:$socket -> site;"
	hold_reload
	run -1 "$lastcall" close "127.0.0.1:$port"
	[[ "$output" == *'no open port 127.0.0.1:'* || "$output" == *"127.0.0.1:$port"* ]]
	for taken in "127.0.0.1:$port" "unix:$socket" "*:$port"; do
		run -1 "$lastcall" open "$taken" site
		[[ "$output" == *', which a reload is about to open'* ]]
	done
	kill_an_heir
	finish_reload
	[ "$reload_status" -eq 1 ]
	[ ! -e "$socket" ]
	"$lastcall" ping
	"$lastcall" open "127.0.0.1:$port" site
	"$lastcall" close "127.0.0.1:$port"
	"$lastcall" reload
	get "127.0.0.1:$port"
}

@test "the path of a Unix socket that is gone is bound again; another server's is not taken" {
	socket=$work/run/s.sock
	start_conf "workers 2; $site listen 127.0.0.1:0 unix:$socket -> site;"
	rm "$socket"
	"$lastcall" reload
	[ "$(curl -sf --unix-socket "$socket" http://x/)" = 'hello, and welcome' ]
	rm "$socket"
	"$lastcall" run --no-control -w 1 -l "unix:$socket" echo >held 2>"$work/log.held" 3>&- &
	background+=($!)
	wait_until grep -q ready held
	run -1 "$lastcall" reload
	[[ "$output" == *"cannot listen on unix:$socket: Address already in use"* ]]
	rm "$work/control"
	kill "${background[-1]}"
	wait "${background[-1]}" || :
	kill -HUP "$server"
	wait_until "$lastcall" ping
}

@test "a client whose endpoint is gone, or has another token, keeps what it has and gets nothing more" {
	port=$(free_port)
	printf 'one\n' >one
	chmod 600 one
	other="control $work/control; control 127.0.0.1:$port { token-file one; allow-services site; }"
	start_conf "workers 1; $site $other listen 127.0.0.1:0 -> site;"
	mkfifo words
	"$tools/ctl" "127.0.0.1:$port" pump <words >leased 3>&- &
	background+=($!)
	exec 8>words
	printf 'token one\nlease 127.0.0.1:0 site\n' >&8
	wait_until grep -q '^ok 127' leased
	leased=$(sed -n 's/^ok \(127[^ ]*\).*/\1/p' leased)
	printf 'two\n' >one
	"$lastcall" reload
	echo 'open 127.0.0.1:0 site' >&8
	wait_until grep -q '^error policy this endpoint has other rules now' leased
	configure "workers 1; $site control $work/control; listen $address -> site;"
	"$lastcall" reload
	echo 'lease 127.0.0.1:0 site' >&8
	wait_until grep -q '^error policy .*' leased
	get "$leased"
	[ "$(grep -c '^ok 127' leased)" -eq 1 ]
	exec 8>&-
	wait_until port_is_free "${leased##*:}"
}

@test "an endpoint that is about to be opened takes nobody; it is gone when the reload fails" {
	start_site_conf
	configure "workers 2; $site control $work/control; control $work/run/new.sock; listen 127.0.0.1:0 -> site;"
	hold_reload
	"$tools/ctl" "$work/run/new.sock" 'send:open 127.0.0.1:0 site\n' answer >told 2>&1 3>&- &
	background+=($!)
	wait_until test -S run/new.sock
	kill_an_heir
	finish_reload
	[ "$reload_status" -eq 1 ]
	[ ! -e run/new.sock ]
	wait "${background[-1]}" || :
	[[ "$(cat told)" != ok* ]]
	"$lastcall" ping
	"$lastcall" reload
	"$lastcall" ping -s run/new.sock
}

@test "a port that is opened meanwhile is served afterwards; not for a service that goes away" {
	start_conf "workers 2; log-level info; $site service old http { root site; } service kind http { root site; }
		listen 127.0.0.1:0 -> site;"
	configure "workers 2; log-level info; service site http { root other; } service kind echo;
		listen 127.0.0.1:0 -> site;"
	hold_reload
	port=$("$lastcall" open 127.0.0.1:0 site)
	own=$("$lastcall" open 127.0.0.1:0 http site)
	[ "$(get "$port")" = 'hello, and welcome' ]
	for name in old kind; do
		run -1 "$lastcall" open 127.0.0.1:0 $name
		[[ "$output" == *"service $name goes away with the reload that is under way"* ]]
	done
	finish_reload
	[ "$reload_status" -eq 0 ]
	wait_until retired
	[ "$(get "$port")" = 'the other one' ]
	[ "$(get "$own")" = 'hello, and welcome' ]
}

@test "a port of the configuration that is closed by hand meanwhile is open in the end" {
	port=$(free_port)
	start_conf "workers 2; log-level info; $site listen 127.0.0.1:0 127.0.0.1:$port -> site;"
	hold_reload
	"$lastcall" close "127.0.0.1:$port"
	finish_reload
	[ "$reload_status" -eq 0 ]
	wait_until get "127.0.0.1:$port"
}

@test "TERM meanwhile is a stop like any other" {
	start_site_conf 'retire-grace 100ms;'
	hold_reload
	load_begin -c 16 -m idle -i 300 -t /1k.txt -e 1000 -d 20000
	kill -TERM "$server"
	finish_reload
	[ "$reload_status" -eq 1 ]
	[[ "$(cat reloaded)" == *'the server is stopping' ]]
	wait_until test ! -e "/proc/$server"
	wait "$server" || ended=$?
	[ "${ended:-0}" -eq 0 ]
	server=''
	load_end
	nothing_lost
	[ "$(receipt_number cut)" -eq 0 ]
	run ! grep -q 'killed by signal' "$log"
}

@test "the number of workers is the file's after a reload, whatever was asked for meanwhile" {
	start_site_conf
	configure "workers 4; $site listen 127.0.0.1:0 -> site;"
	hold_reload
	"$lastcall" workers 1
	finish_reload
	[ "$reload_status" -eq 0 ]
	wait_until worker_count_is 4
	wait_until retired
}

# ---- how long it may take

@test "retire-grace does not cut into the grace of a stop" {
	start_conf "workers 2; grace 20s; retire-grace 300ms; listen 127.0.0.1:0 -> echo;"
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
	echo one >&7
	read -r -t 10 line <&7
	"$lastcall" reload
	kill -TERM "$server"
	sleep 1.6 # retire-grace, and what is left then until SIGKILL
	echo two >&7
	read -r -t 10 line <&7
	[ "$line" = two ]
	exec 7>&-
	end_server
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
}

@test "retire-grace cuts what is still open, and counts it; without it nothing is cut" {
	start_conf "workers 2; retire-grace 300ms; log-level info; listen 127.0.0.1:0 -> echo;"
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
	echo one >&7
	read -r -t 10 line <&7
	"$lastcall" reload
	run -0 timeout 10 cat <&7
	exec 7>&-
	wait_until retired
	grep -q 'retire-grace is over: cutting what is still open, connections: 1' "$log"
	"$lastcall" status | head -n 1 | grep -q '1 lost'
	stop_server
	[ "$ended" -eq 0 ] # the stop cut nothing
	grep -q 'connections lost or cut in mid-answer: 1;' "$log"
}

@test "the generations alive are capped" {
	local fd held=() i line
	start_conf "workers 1; listen 127.0.0.1:0 -> echo;"
	for ((i = 0; i < 40; i++)); do
		# By the newest worker, or by the one before, which has not heard yet that it retires.
		exec {fd}<>"/dev/tcp/${address%:*}/${address##*:}"
		held+=("$fd")
		echo "$i" >&"$fd"
		read -r -t 10 line <&"$fd"
		run "$lastcall" reload
		[ "$status" -eq 0 ] || break
	done
	[ "$status" -eq 1 ]
	[[ "$output" == *'7 workers of earlier generations are still finishing'*'retire-grace bounds'* ]]
	before=$(generation)
	[ "$("$lastcall" status | grep -c retiring)" -eq 7 ]
	# A file that bounds how long they may take is let through, and is for all of them.
	configure "workers 1; retire-grace 200ms; listen 127.0.0.1:0 -> echo;"
	"$lastcall" reload
	wait_until retired
	configure "workers 1; listen 127.0.0.1:0 -> echo;"
	before=$(generation)
	for fd in "${held[@]}"; do
		exec {fd}>&-
	done
	wait_until retired
	"$lastcall" reload
	generation_is $((before + 1))
}

# ---- the rest of the file

@test "workers N, until the next reload" {
	start_site_conf
	"$lastcall" workers 5
	wait_until worker_count_is 5
	"$lastcall" workers 1
	wait_until worker_count_is 1
	run -1 "$lastcall" workers 100
	[[ "$output" == *'100 workers are more than were made room for at the start, which is 18' ]]
	for wrong in 0 -1 x 1x ''; do
		run -2 "$lastcall" workers "$wrong"
	done
	run -2 "$lastcall" workers
	worker_count_is 1
	"$lastcall" reload
	wait_until worker_count_is 2
}

@test "the log may go elsewhere, and say more" {
	start_site_conf "error-log $work/first.log;"
	configure "workers 2; error-log $work/second.log; log-level debug; $site listen 127.0.0.1:0 -> site;"
	"$lastcall" reload
	grep -q 'reloaded: generation 1' second.log
	run ! grep -q 'reloaded: generation' first.log
	grep -q 'reloaded: the log goes on in .*second.log' first.log
	configure "error-log $work/nowhere/log; $site listen 127.0.0.1:0 -> site;"
	run -2 "$lastcall" reload
	[[ "$output" == *'nowhere'* ]]
	grep -q 'error: .*nowhere' second.log
}

@test "endpoints of control: other rules, one more, one less; a lease outlives its endpoint" {
	start_conf "workers 1; $site control $work/run/a.sock { max-leases 1; } control $work/run/b.sock;
		listen 127.0.0.1:0 -> site;"
	export LASTCALL_CONTROL=$work/run/a.sock
	"$lastcall" open 127.0.0.1:0 site
	run -1 "$lastcall" open 127.0.0.1:0 site
	[[ "$output" == *'max-leases'* ]]
	mkfifo hold
	"$lastcall" lease -s run/b.sock 127.0.0.1:0 site <hold >leased 2>"$work/log.lease" 3>&- &
	holder=$!
	background+=($holder)
	exec 5>hold
	wait_until test -s leased
	configure "workers 1; $site control $work/run/a.sock { max-leases 2; mode 0666; } control $work/run/c.sock;
		listen $address -> site;"
	"$lastcall" reload
	[ ! -e run/b.sock ]
	[ -S run/c.sock ]
	[ "$(stat -c %a run/a.sock)" = 666 ]
	"$lastcall" open 127.0.0.1:0 site
	"$lastcall" ping -s run/c.sock
	run -1 "$lastcall" ping -s run/b.sock
	get "$(cat leased)"
	exec 5>&-
	wait $holder
	wait_until port_is_free "$(sed 's/.*://' leased)"
	configure "workers 1; $site control $work/run/a.sock; control $work/nowhere/d.sock; listen $address -> site;"
	run -2 "$lastcall" reload
	[[ "$output" == *'there is no such folder'* ]]
	echo file >run/d.sock
	configure "workers 1; $site control $work/run/a.sock; control $work/run/d.sock; listen $address -> site;"
	run -1 "$lastcall" reload
	[[ "$output" == *"control unix:$work/run/d.sock: "*'in use'* ]]
	"$lastcall" ping -s run/c.sock
}

@test "what was opened at an endpoint that is gone belongs to no other one" {
	printf 'one\n' >one
	printf 'two\n' >two
	chmod 600 one two
	first=$(free_port)
	start_conf "workers 1; $site control $work/control; control 127.0.0.1:$first { token-file one; allow-services site; }
		listen 127.0.0.1:0 -> site;"
	opened=$("$lastcall" open -s "127.0.0.1:$first" --token-file one 127.0.0.1:0 site)
	configure "workers 1; $site control $work/control; listen $address -> site;"
	"$lastcall" reload
	second=$(free_port)
	configure "workers 1; $site control $work/control; control 127.0.0.1:$second { token-file two; allow-services site; max-leases 1; }
		listen $address -> site;"
	"$lastcall" reload
	run -1 "$lastcall" close -s "127.0.0.1:$second" --token-file two "$opened"
	[[ "$output" == *'somebody else'* ]]
	"$lastcall" open -s "127.0.0.1:$second" --token-file two 127.0.0.1:0 site
	get "$opened"
	"$lastcall" close "$opened"
}

@test "no descriptor and no memory is left after reloads" {
	start_site_conf
	"$lastcall" open 127.0.0.1:0 site
	"$lastcall" reload
	wait_until retired
	sleep 1.1 # until what the first one left is freed
	before=$(descriptors)
	memory=$(awk '/VmRSS/ { print $2 }' "/proc/$server/status")
	for ((i = 0; i < LASTCALL_RELOADS * 10; i++)); do
		"$lastcall" reload
		((i % 5)) || wait_until retired
	done
	wait_until retired
	wait_until descriptors_are "$before"
	is_sanitized || [ "$(($(awk '/VmRSS/ { print $2 }' "/proc/$server/status") - memory))" -lt 512 ]
	worker_count_is 2
}

@test "no descriptor, process or memory is left by a great many reloads" {
	local count=$((LASTCALL_RELOADS * 30)) resident
	[ "$LASTCALL_RELOADS" -lt 100 ] || count=100000
	configure "workers 1; log-level warn; $site listen 127.0.0.1:0 -> site;"
	start run -c "$work/lastcall.conf"
	for ((i = 0; i < 200; i++)); do
		echo reload
	done | "$tools/ctl" -t 60000 "$LASTCALL_CONTROL" pump >answers
	wait_until worker_count_is 1
	descriptors_before=$(descriptors) resident=$(resident_of "$server")
	{ yes reload || :; } | head -n "$count" | timeout 3600 "$tools/ctl" -t 60000 "$LASTCALL_CONTROL" pump >answers
	[ "$(grep -c '^ok generation=' answers)" -eq "$count" ]
	wait_until worker_count_is 1
	wait_until descriptors_are "$descriptors_before"
	[ "$(pgrep -c -P "$server")" -eq 1 ]
	is_sanitized || [ "$(($(resident_of "$server") - resident))" -le 64 ]
	get
}

# Kilobytes of memory.
resident_of() {
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"
}

@test "there is room for as many generations as are allowed, also of many workers" {
	start_conf "workers 12; retire-grace 10m; max-connections 100; service e echo; listen 127.0.0.1:0 -> e;"
	mkfifo feed
	python3 - "${address##*:}" >"$work/held" 3>&- <<-'END' &
		import socket, sys
		held = []
		for line in open("feed"):
		    for _ in range(int(line)):
		        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
		        s.sendall(b"hello\n")
		        s.recv(6)
		        held.append(s)
		    print(len(held), flush=True)
	END
	background+=($!)
	exec 5>feed
	for ((i = 1; i <= 7; i++)); do
		echo 48 >&5
		wait_until grep -qx $((48 * i)) held
		"$lastcall" reload
	done
	generation_is 7
	[ "$("$lastcall" status | grep -c retiring)" -gt 48 ]
	exec 5>&-
	wait_until retired
}

@test "what fails on the way, of descriptors, memory, sockets or files, leaves all as before, and the next reload works" {
	is_sanitized && skip 'LeakSanitizer and strace trace the same process'
	port=$(free_port)
	start_site_conf
	note_before
	configure "workers 2; log-level info; error-log $work/log.next; service site http { root site; access-log $work/access; }
		control $LASTCALL_CONTROL { } control $work/run/second { }
		listen 127.0.0.1:0 127.0.0.1:$port unix:$work/run/new.sock -> site;"
	# Each of the first few calls of a kind, from the file that is read to the last worker that is born.
	for fault in openat/EMFILE openat/ENOMEM socketpair/EMFILE socket/EMFILE bind/EACCES listen/EADDRINUSE clone,clone3,fork,vfork/EAGAIN; do
		for when in 1 2 3; do
			inject "${fault%/*}" "${fault#*/}" "$when"
			failed=0
			"$lastcall" reload 2>told || failed=$?
			inject_ends
			if [ "$failed" -ne 0 ]; then
				grep -q 'lastcall: error: reload: ' told
				# The endpoint that is asked is the same, by whatever name.
				as_before
				[ ! -e "$work/run/new.sock" ]
				[ ! -e "$work/run/second" ]
				nobody_listens "$port"
				continue
			fi
			# There is no such call: back to what was.
			configure_next=$(cat lastcall.conf)
			configure "workers 2; log-level info; $site listen 127.0.0.1:0 -> site;"
			"$lastcall" reload
			wait_until retired
			# The same configuration has as many as it had.
			wait_until descriptors_are "$descriptors_before"
			note_before
			configure "$configure_next"
		done
	done
	"$lastcall" reload
	get "127.0.0.1:$port"
	curl -sf --unix-socket "$work/run/new.sock" http://x/
	"$lastcall" ping -s "$work/run/second"
}
