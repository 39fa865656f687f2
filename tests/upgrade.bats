# Another program for a server that runs: it takes over, under the same pid, and nobody connected notices; or it is found
# out before, and nothing has changed.

load helper

# How many upgrades a test that counts goes through: few in `make check`, as many as promised in `make soak`.
: "${LASTCALL_UPGRADES:=3}"

setup() {
	common_setup
	mkdir other bin
	chmod 755 other bin
	printf 'the other one\n' >other/index.html
	touch -d '1 hour ago' other/index.html
	# A program of its own, which can be replaced.
	built=$lastcall
	lastcall=$work/bin/lastcall
	cp "$built" "$lastcall"
}

teardown() { common_teardown; }

# replace [FILE]: what is on disk from now on, as an installation does it.
replace() {
	cp "${1:-$built}" "$work/bin/new"
	chmod 755 "$work/bin/new"
	mv "$work/bin/new" "$lastcall"
}

# replace_by_script: the same, with what standard input says.
replace_by_script() {
	{
		echo '#!/bin/sh'
		cat
	} >"$work/script"
	replace "$work/script"
}

site="service site http { root site; keepalive 1s; }"

start_site_conf() {
	start_conf "workers 2; log-level info; $site listen 127.0.0.1:0 -> site; ${1:-}"
}

get() {
	curl -sf -m 10 "http://${1:-$address}/"
}

ctl() {
	"$built" "$@"
}

program_of() {
	stat -L -c %i "/proc/$1/exe"
}

retired() {
	[ "$(ctl status | grep -c retiring)" -eq 0 ]
}

upgraded() {
	[ "$(grep -c 'upgraded: pid' "$log")" -eq "$1" ]
}

note_before() {
	# First: the master closes its end of a client some time after the client has ended.
	descriptors_before=$(descriptors)
	workers_before=$(workers) program_before=$(program_of "$server")
	listeners_before=$(ctl status | awk '/^ADDRESS/, /^$/ { print $1, $2, $3, $NF }')
}

# as_before: the same program, workers and listeners, no child more, and everybody is served.
as_before() {
	[ "$(program_of "$server")" = "$program_before" ]
	wait_until children_are "$workers_before"
	[ "$(ctl status | awk '/^ADDRESS/, /^$/ { print $1, $2, $3, $NF }')" = "$listeners_before" ]
	wait_until descriptors_are "$descriptors_before"
	get
}

children_are() {
	[ "$(pgrep -P "$server")" = "$1" ]
}

# ---- taking over

@test "an upgrade: the program on disk goes on under the same pid, on the same sockets, with new workers" {
	start_site_conf
	before=$(workers) inode=$(inode_of "$address")
	replace
	run -0 ctl upgrade
	[ -z "$output" ]
	[ "$(program_of "$server")" = "$(stat -c %i "$lastcall")" ]
	[ "$(inode_of "$address")" = "$inode" ]
	[ "$(get)" = 'hello, and welcome' ]
	for pid in $before; do
		wait_until test ! -e "/proc/$pid"
	done
	for pid in $(workers); do
		[ "$(program_of "$pid")" = "$(stat -c %i "$lastcall")" ]
	done
	grep -q "upgrade: .*lastcall takes over, version $("$built" --version | cut -d' ' -f2)" "$log"
	grep -q "upgraded: pid $server goes on" "$log"
	ctl status | grep -q "pid $server: serving"
	stop_server
	[ "$ended" -eq 0 ]
}

@test "USR2 does the same; a hundred of them are few" {
	start_site_conf
	replace
	kill -USR2 "$server"
	wait_until upgraded 1
	for ((i = 0; i < 100; i++)); do
		kill -USR2 "$server"
	done
	wait_until retired
	ctl upgrade
	wait_until retired
	[ "$(grep -c 'upgraded: pid' "$log")" -lt 20 ]
	get
}

@test "what the file says by then is in force after it" {
	start_site_conf
	configure "workers 1; log-level info; service site http { root other; } listen 127.0.0.1:0 -> site;"
	ctl upgrade
	[ "$(get)" = 'the other one' ]
	wait_until worker_count_is 1
}

@test "it is found by the name that it was started under, and a link is followed to where it leads then" {
	mv bin/lastcall bin/lastcall-1
	cp "$built" bin/lastcall-2
	ln -s lastcall-1 bin/lastcall
	start_site_conf
	ln -sf lastcall-2 bin/next
	mv bin/next bin/lastcall
	ctl upgrade
	[ "$(program_of "$server")" = "$(stat -c %i bin/lastcall-2)" ]
	stop_server
	[ "$ended" -eq 0 ]
	# By PATH, and under a name that leads nowhere.
	PATH=$work/bin:$PATH lastcall=lastcall start_site_conf
	lastcall=$work/bin/lastcall
	replace
	ctl upgrade
	[ "$(program_of "$server")" = "$(stat -c %i "$lastcall")" ]
}

@test "a server of the command line is upgraded too, one in the background, and one without privilege" {
	start serve -l 127.0.0.1:0 -w 2 site
	ctl upgrade
	[ "$(get)" = 'hello, and welcome' ]
	stop_server
	[ "$ended" -eq 0 ]
	export LASTCALL_CONTROL=$work/run/control
	as=$unprivileged start_site
	ctl upgrade
	[ "$(get)" = 'hello, and welcome' ]
	stop_server
	[ "$ended" -eq 0 ]
	"$lastcall" run -d -l 127.0.0.1:0 http site -w 1 -p "$work/pid" -e "$work/log.d" >told 3>&-
	server=$(cat pid)
	ctl upgrade
	[ "$(cat pid)" = "$server" ]
	get "$(sed -n 's/^listening \([^ ]*\).*/\1/p' told)"
	# The lock is still its own.
	run -1 "$lastcall" run -l 127.0.0.1:0 echo -p "$work/pid" --no-control
	[[ "$output" == *"locked by a running lastcall, pid $server"* ]]
	run -0 ctl stop -p "$work/pid"
	[[ "$output" == *'drained in'* ]]
	[ ! -e pid ]
	server=''
}

# ---- what is kept

@test "ports that clients opened and leased are kept, with their services and who holds them" {
	start_site_conf
	named=$(ctl open 127.0.0.1:0 site)
	own=$(ctl open 127.0.0.1:0 http other)
	path=$(ctl open "unix:$work/run/own.sock" http other)
	mkfifo hold
	ctl lease --ttl 1h 127.0.0.1:0 echo <hold >leased 2>"$work/log.lease" 3>&- &
	holder=$!
	background+=($holder)
	exec 5>hold
	wait_until test -s leased
	leased=$(cat leased)
	# In place means the folder as it was opened.
	mv other moved
	for ((i = 0; i < 2; i++)); do
		sockets="$(inode_of "$named") $(inode_of "$own") $(inode_of "$leased")"
		ctl upgrade
		[ "$(inode_of "$named") $(inode_of "$own") $(inode_of "$leased")" = "$sockets" ]
		[ "$(get "$named")" = 'hello, and welcome' ]
		[ "$(get "$own")" = 'the other one' ]
		[ "$(curl -sf --unix-socket "$work/run/own.sock" http://x/)" = 'the other one' ]
		ctl status | grep -q "^$leased .*lease"
		[ ! -s "$work/log.lease" ]
	done
	# A worker that is born later has them all.
	wait_until retired
	for pid in $(workers); do
		kill -KILL "$pid"
	done
	[ "$(get "$own")" = 'the other one' ]
	exec 5>&-
	wait $holder
	wait_until port_is_free "${leased##*:}"
	run -0 ctl close "$named"
	run -0 ctl close "$own"
	run -0 ctl close "$path"
	[ ! -e "$work/run/own.sock" ]
}

@test "connections to control are kept: answered before, answered after, on the same one" {
	start_site_conf
	mkfifo requests
	"$tools/ctl" -t 20000 "$LASTCALL_CONTROL" pump <requests >answers 3>&- &
	background+=($!)
	exec 5>requests
	echo "lease 127.0.0.1:0 echo" >&5
	wait_until grep -q '^ok 127.0.0.1:' answers
	leased=$(sed -n 's/^ok \(127[^ ]*\).*/\1/p' answers)
	# Half a line before, the rest behind.
	printf 'pi' >&5
	ctl upgrade
	printf 'ng\nclose %s\nping\n' "$leased" >&5
	wait_until grep -q '^ok .*accepted' answers
	exec 5>&-
	wait $!
	[ "$(grep -c '^ok' answers)" -eq 4 ]
	port_is_free "${leased##*:}"
}

@test "a close that waits goes on, and its receipt comes" {
	start_conf "workers 1; watchdog 1m; settle 1m; log-level info; $site listen 127.0.0.1:0 -> site;"
	victim=$(ctl open 127.0.0.1:0 echo)
	frozen=$(workers)
	printf '%s\n' "$frozen" >>workers
	kill -STOP "$frozen"
	# It waits in the queue of a worker that does not come.
	exec 7<>"/dev/tcp/${victim%:*}/${victim##*:}"
	echo hello >&7
	ctl close "$victim" >receipt 3>&- &
	closing=$!
	background+=($closing)
	wait_until state_is_closing "$victim"
	ctl upgrade
	read -r -t 10 line <&7
	[ "$line" = hello ]
	kill -CONT "$frozen"
	wait $closing
	grep -q '1 accepted' receipt
	exec 7>&-
	wait_until port_is_free "${victim##*:}"
}

state_is_closing() {
	[ "$(state_of "$1")" = closing ]
}

@test "generations that still drain are kept through it: a download goes on through three upgrades" {
	head -c 30000000 /dev/zero >site/large
	start_site_conf
	curl -s --limit-rate 6M "http://$address/large" -o got 3>&- &
	download=$!
	background+=($download)
	wait_until test -s got
	old=$(workers)
	for ((i = 0; i < 3; i++)); do
		ctl upgrade
	done
	ctl status | grep -q retiring
	wait $download
	cmp site/large got
	for pid in $old; do
		wait_until test ! -e "/proc/$pid"
	done
	run ! grep -q 'connections lost' "$log"
}

@test "what a later configuration does not have any more is kept for the ports that need it" {
	start_site_conf
	named=$(ctl open 127.0.0.1:0 site)
	configure "workers 2; log-level info; listen $address -> echo;"
	ctl reload
	for ((i = 0; i < 2; i++)); do
		ctl upgrade
		[ "$(get "$named")" = 'hello, and welcome' ]
	done
	run -0 ctl close "$named"
}

@test "included files are carried over as they were read" {
	mkdir parts
	echo "service site http { root ../site; }" >parts/one.conf
	echo "listen 127.0.0.1:0 -> site;" >parts/two.conf
	start_conf 'workers 2; log-level info; include parts/*.conf;'
	note_before
	rm parts/one.conf
	run -2 ctl upgrade
	[[ "$output" == *'unknown service "site"'* ]]
	as_before
	echo "service site http { root ../other; }" >parts/three.conf
	ctl upgrade
	[ "$(get)" = 'the other one' ]
}

@test "TTIN and what was counted outlive it, and a port that was closed by hand stays so until the reload" {
	start_site_conf
	kill -TTIN "$server"
	wait_until worker_count_is 3
	get
	victim=$(workers | head -n 1)
	kill -KILL "$victim"
	wait_until grep -q 'starting another' "$log"
	ctl upgrade
	stop_server
	[ "$ended" -eq 0 ]
	grep -q 'workers replaced after they died: 1' "$log"
}

# ---- under load

# upgrade_under_load MODE OPTION…: again and again, while everybody is served.
upgrade_under_load() {
	local i
	descriptors_before=$(descriptors)
	load_begin -c 32 -m "$1" -t /1k.txt -e 1000 -d $((LASTCALL_UPGRADES * 600)) "${@:2}"
	for ((i = 1; i <= LASTCALL_UPGRADES; i++)); do
		replace
		ctl upgrade
		wait_until retired
	done
	load_end
	nothing_lost
	[ "$(counted refused)" -eq 0 ]
	[ "$(counted status_5xx)" -eq 0 ]
	upgraded "$LASTCALL_UPGRADES"
	wait_until descriptors_are "$descriptors_before"
	wait_until worker_count_is 2
	[ "$(pgrep -c -P "$server")" -eq 2 ]
	stop_server
	[ "$ended" -eq 0 ]
}

@test "upgrades under load lose nothing: one request per connection" {
	start_site_conf
	upgrade_under_load close
}

@test "upgrades under load lose nothing: keep-alive" {
	start_site_conf
	upgrade_under_load keep
}

@test "upgrades under load lose nothing: keep-alive with idle time" {
	start_site_conf
	upgrade_under_load idle -i 300
}

@test "upgrades under load lose nothing: connect, wait, ask" {
	start_site_conf
	upgrade_under_load silent -i 100
}

@test "upgrades under load lose nothing: connect, and never speak" {
	start_conf "workers 2; log-level info; service site http { root site; header-timeout 200ms; } listen 127.0.0.1:0 -> site;"
	upgrade_under_load connect -i 200
}

@test "upgrades under load lose nothing: echo, over IPv6" {
	start_conf "workers 2; log-level info; listen [::1]:0 -> echo;"
	upgrade_under_load close -P echo -b 512
}

@test "upgrades under load lose nothing: a Unix socket" {
	start_conf "workers 2; log-level info; listen unix:$work/run/site -> echo;"
	upgrade_under_load close -P echo -b 512
}

@test "upgrades under load lose nothing: without privilege" {
	export LASTCALL_CONTROL=$work/run/control
	as=$unprivileged start_site_conf
	upgrade_under_load close
}

# ---- what is found out before

@test "a program that is missing, or cannot be run, is found out: status 1, and all is as before" {
	start_site_conf
	note_before
	mv bin/lastcall bin/away
	run -1 ctl upgrade
	[[ "$output" == *'cannot run '*'/bin/lastcall: No such file'* ]]
	as_before
	cp "$built" bin/lastcall
	chmod 644 bin/lastcall
	run -1 ctl upgrade
	[[ "$output" == *'Permission denied'* ]]
	as_before
	rm bin/lastcall
	mkdir bin/lastcall
	run -1 ctl upgrade
	[[ "$output" == *'Permission denied'* ]]
	as_before
	rmdir bin/lastcall
	mv bin/away bin/lastcall
	ctl upgrade
	get
}

@test "a program for another machine, or none at all, is found out" {
	start_site_conf
	note_before
	# The machine of an ELF file is at byte 18; 0xf3 is RISC-V, 0x2 SPARC.
	cp "$built" broken
	printf '\x02\x00' | dd of=broken bs=1 seek=18 conv=notrunc status=none
	replace broken
	run -1 ctl upgrade
	[[ "$output" == *'Exec format error'* ]]
	as_before
	: >empty
	replace empty
	run -1 ctl upgrade
	[[ "$output" == *'Exec format error'* ]]
	as_before
	replace /bin/true
	run -1 ctl upgrade
	[[ "$output" == *'exited with status 0 in the rehearsal, and did not say that it can take over'* ]]
	as_before
}

@test "a program that crashes, fails or hangs at its start is found out" {
	start_site_conf
	note_before
	# shellcheck disable=SC2016
	replace_by_script <<<'kill -SEGV $$'
	run -1 ctl upgrade
	[[ "$output" == *'was killed by signal 11'* ]]
	as_before
	replace_by_script <<<'exit 7'
	run -1 ctl upgrade
	[[ "$output" == *'exited with status 7'* ]]
	as_before
	# What it says is not believed when it does not end well.
	# shellcheck disable=SC2016
	replace_by_script <<<'echo "ok 9.9" >/proc/self/fd/${LASTCALL_UPGRADE##*:}; exit 3'
	run -1 ctl upgrade
	[[ "$output" == *'exited with status 3'* ]]
	as_before
	# One that hangs may take its time; the server is stopped meanwhile.
	replace_by_script <<<'exec sleep 600'
	ctl upgrade >hanging 2>&1 3>&- &
	asking=$!
	background+=($asking)
	wait_until grep -q 'rehearsing' "$log"
	wait_until pgrep -P "$server" -f 'sleep 600'
	hung=$(pgrep -P "$server" -f 'sleep 600')
	get
	stop_server
	[ "$ended" -eq 0 ]
	wait_until test ! -e "/proc/$hung"
	status=0
	wait $asking || status=$?
	[ "$status" -eq 1 ]
	grep -q 'the server is stopping' hanging
}

@test "a program whose workers cannot start is found out" {
	start_site_conf
	note_before
	replace_by_script <<<"ulimit -n 64; exec '$built' \"\$@\""
	run -1 ctl upgrade
	[[ "$output" == *'lastcall: error: upgrade: '* ]]
	as_before
}

@test "a configuration that is wrong is found out: status 2, what is wrong is printed, and a good one works after it" {
	start_site_conf
	note_before
	configure "workers 2; $site lissten 127.0.0.1:0 -> site;"
	run -2 --separate-stderr ctl upgrade
	[[ "$stderr" == *'lastcall.conf:1:'*'unknown directive "lissten"; did you mean "listen"?'* ]]
	[[ "$stderr" == *'lastcall: error: upgrade: the configuration is wrong' ]]
	as_before
	rm lastcall.conf
	run -2 ctl upgrade
	[[ "$output" == *'No such file'* ]]
	as_before
	configure "workers 2; service site http { root other; } listen 127.0.0.1:0 -> site;"
	ctl upgrade
	[ "$(get)" = 'the other one' ]
}

@test "an address that cannot be had is found out, status 1, and nothing is left of those that could" {
	start_site_conf
	note_before
	busy=$(free_port) free=$(free_port)
	"$built" run --no-control -w 1 -l "127.0.0.1:$busy" echo >held 2>"$work/log.held" 3>&- &
	holder=$!
	background+=($holder)
	wait_until grep -q ready held
	configure "workers 2; $site
		control $LASTCALL_CONTROL { }
		control $work/run/second { }
		listen 127.0.0.1:$free unix:$work/run/half.sock -> site;
		listen 127.0.0.1:0 127.0.0.1:$busy -> site;"
	run -1 --separate-stderr ctl upgrade
	[[ "$stderr" == *"cannot listen on 127.0.0.1:$busy: Address already in use"* ]]
	port_is_free "$free"
	[ ! -e "$work/run/half.sock" ]
	[ ! -e "$work/run/second" ]
	as_before
	kill "$holder"
	wait "$holder" || :
	ctl upgrade
	get "127.0.0.1:$free"
	get "127.0.0.1:$busy"
	curl -sf --unix-socket "$work/run/half.sock" http://x/
	ctl ping -s "$work/run/second"
}

@test "a program that shares its memory in another shape, or knows less, is found out" {
	start_site_conf
	note_before
	# It is what the running one leaves that is changed, on its way to a program that is as it should be.
	# shellcheck disable=SC2016
	replace_by_script <<END
IFS=: read -r task pid state result <<EOT
\$LASTCALL_UPGRADE
EOT
sed 's/ slot=/ slots=9 slot=/' /proc/self/fd/\$state >'$work/changed'
exec 7<'$work/changed'
export LASTCALL_UPGRADE=\$task:\$pid:7:\$result
exec '$built' "\$@"
END
	run -1 ctl upgrade
	[[ "$output" == *'which this version does not know'* || "$output" == *'different shapes'* ]]
	as_before
	sed -i 's/slot=/tally=/g' script
	replace script
	run -1 ctl upgrade
	as_before
	sed -i 's/^sed .* >/head -c 3000 \/proc\/self\/fd\/$state >/' script
	replace script
	run -1 ctl upgrade
	as_before
	[ "$(program_of "$server")" = "$program_before" ]
}

@test "the variable of an upgrade, set by hand, starts nothing" {
	for value in resume:99 rehearse:99:98 rehearse:0 resume: nonsense resume:0 resume:1:0 rehearse:1:0:0 resume:1:99; do
		run -1 env LASTCALL_UPGRADE=$value timeout 10 "$built" run -l 127.0.0.1:0 echo --no-control </dev/null
	done
}

@test "a server that was made for one lease is not upgraded" {
	unset LASTCALL_CONTROL
	mkfifo hold
	"$built" lease --private 127.0.0.1:0 echo <hold >leased 2>"$work/log.lease" 3>&- &
	holder=$!
	background+=($holder)
	exec 5>hold
	wait_until test -s leased
	kill -USR2 "$(pgrep -P $holder | head -n 1)"
	wait_until grep -q 'USR2: a server that was made for one lease is not upgraded' "$work/log.lease"
	exec 5>&-
	wait $holder
}

# ---- what comes in between

@test "TERM during an upgrade wins, at any moment: orderly, and nobody is left" {
	local i mine
	for ((i = 0; i < 15; i++)); do
		start_site_conf
		mine=$server
		load_begin -c 4 -m close -t /1k.txt -e 1000 -d 10000
		kill -USR2 "$server"
		sleep "0.$(printf %03d $((i * 12)))"
		kill -TERM "$server"
		end_server
		[ "$ended" -eq 0 ]
		load_end
		nothing_lost
		port_is_free "${address##*:}"
		[ ! -e "$LASTCALL_CONTROL" ]
		[ -z "$(pgrep -P "$mine")" ]
	done
}

@test "a reload waits for an upgrade, an upgrade for a reload, and each is answered" {
	start_site_conf
	for ((i = 0; i < 3; i++)); do
		ctl upgrade 3>&- &
		one=$!
		ctl reload 3>&- &
		two=$!
		ctl upgrade 3>&- &
		three=$!
		wait $one
		wait $two
		wait $three
		wait_until retired
	done
	get
	wait_until worker_count_is 2
}

@test "the death of the master in a rehearsal: the workers close up, and nothing is left of it" {
	# The twin has nothing that ends it at once.
	by_hand=false
	if is_posix; then by_hand=true; fi
	start_site_conf
	replace_by_script <<<"exec sleep 600"
	load_begin -c 16 -m close -t /1k.txt -e 1000 -d 10000
	kill -USR2 "$server"
	wait_until pgrep -P "$server" -f 'sleep 600'
	hung=$(pgrep -P "$server" -f 'sleep 600')
	background+=("$hung")
	all=$(workers)
	kill -KILL "$server"
	if $by_hand; then kill -KILL "$hung"; fi
	end_server
	load_end
	nothing_lost
	wait_until test ! -e "/proc/$hung"
	for pid in $all; do
		wait_until test ! -e "/proc/$pid"
	done
	port_is_free "${address##*:}"
}

@test "what fails on the way, of memory, descriptors, a child or the execve itself, leaves all as before" {
	is_sanitized && skip 'LeakSanitizer and strace trace the same process'
	is_posix && memory=openat || memory=memfd_create
	start_site_conf
	note_before
	for fault in "clone,clone3,fork,vfork EAGAIN" "pipe2,pipe EMFILE" "$memory EMFILE" "execve ENOMEM"; do
		# shellcheck disable=SC2086
		inject ${fault% *} ${fault#* }
		run -1 ctl upgrade
		[[ "$output" == *'lastcall: error: upgrade: cannot '* ]]
		inject_ends
		as_before
	done
	ctl upgrade
	get
}

@test "a listener that expects a PROXY header does so after an upgrade, also in workers born of the configuration in force" {
	configuration="workers 2; log-level info; service site http { root site; access-log $work/access; }
		listen 127.0.0.1:0 -> site { proxy-protocol on; from 127.0.0.1; }
		listen 127.0.0.1:0 -> site;"
	start_conf "$configuration"
	plain=${addresses[1]}
	for ((i = 0; i < 2; i++)); do
		ctl upgrade
		curl -sf -m 10 --haproxy-protocol "http://$address/" >/dev/null
		run ! curl -sf -m 10 "http://$address/"
		get "$plain"
		wait_until retired
		for pid in $(workers); do
			kill -KILL "$pid"
		done
		wait_until curl -sf -m 10 --haproxy-protocol "http://$address/" -o got
	done
}

@test "TERM with a drain-delay during an upgrade: the delay, and no upgrade" {
	start_conf "workers 2; log-level info; drain-delay 1s; service site http { root site; health /healthz; } listen 127.0.0.1:0 -> site;"
	replace_by_script <<<"exec sleep 600"
	kill -USR2 "$server"
	wait_until pgrep -P "$server" -f 'sleep 600'
	hung=$(pgrep -P "$server" -f 'sleep 600')
	kill -TERM "$server"
	wait_until test ! -e "/proc/$hung"
	get
	[ "$(curl -s -m 10 -o /dev/null -w '%{http_code}' "http://$address/healthz")" = 503 ]
	end_server
	[ "$ended" -eq 0 ]
}

# ---- what was found by looking hard at it

@test "an upgrade that is asked for while a reload fails finds its way" {
	start_conf "workers 4; log-level info; $site listen 127.0.0.1:0 -> site;"
	for ((i = 1; i <= 5; i++)); do
		# As soon as a new worker is there the upgrade is asked for, and the worker is killed.
		python3 - "$server" <<-'END'
			import os, signal, sys
			master = int(sys.argv[1])
			def children():
			    return {int(pid) for pid in open(f"/proc/{master}/task/{master}/children").read().split()}
			before = children()
			os.kill(master, signal.SIGHUP)
			while not children() - before:
			    pass
			os.kill(master, signal.SIGUSR2)
			try:
			    os.kill(min(children() - before), signal.SIGKILL)
			except (ProcessLookupError, ValueError):
			    pass
		END
		timeout 20 "$built" ping
		wait_until retired
		get
		sleep 1 # so that the next HUP is not put off
	done
	stop_server
	[ "$ended" -eq 0 ]
}

@test "a program that is replaced during its rehearsal is rehearsed again, and not run unseen" {
	start_site_conf
	note_before
	replace_by_script <<<"case \$LASTCALL_UPGRADE in rehearse*) touch '$work/begun'; sleep 1;; esac; exec '$built' \"\$@\""
	ctl upgrade >told 2>&1 3>&- &
	asking=$!
	background+=($asking)
	wait_until test -e begun
	replace_by_script <<<'exit 1'
	status=0
	wait $asking || status=$?
	[ "$status" -eq 1 ]
	grep -q 'exited with status 1 in the rehearsal' told
	grep -q 'was replaced in the meantime: rehearsing once more' "$log"
	as_before
	rm begun
	replace_by_script <<<"case \$LASTCALL_UPGRADE in rehearse*) touch '$work/begun'; sleep 1;; esac; exec '$built' \"\$@\""
	ctl upgrade 3>&- &
	asking=$!
	background+=($asking)
	wait_until test -e begun
	replace
	wait $asking
	[ "$(program_of "$server")" = "$(stat -c %i "$lastcall")" ]
}

@test "what a program leaves behind in the rehearsal is ended, and holds up nobody" {
	start_site_conf
	note_before
	replace_by_script <<<"sleep 300 & echo \$! >'$work/left'; exit 1"
	run -1 timeout 20 "$built" upgrade
	wait_until test ! -e "/proc/$(cat left)"
	as_before
	run -0 timeout 20 "$built" reload
}

@test "a wrapper that does not execute the program in its own place is found out; one that does is found again by its own name" {
	start_site_conf
	note_before
	replace_by_script <<<"'$built' \"\$@\""
	run -1 ctl upgrade
	[[ "$output" == *'has to execute it in its own place'* ]]
	as_before
	replace_by_script <<<"exec '$built' \"\$@\""
	ctl upgrade
	[ "$(program_of "$server")" = "$(stat -c %i "$built")" ]
	replace
	ctl upgrade
	[ "$(program_of "$server")" = "$(stat -c %i "$lastcall")" ]
}

@test "a client of an endpoint that is gone, which had a token, is in nobody's way" {
	port=$(free_port)
	echo secret >token
	chmod 600 token
	start_site_conf "control $LASTCALL_CONTROL { } control 127.0.0.1:$port { token-file $work/token; allow-services echo; }"
	mkfifo requests
	"$tools/ctl" -t 20000 "127.0.0.1:$port" pump <requests >answers 3>&- &
	background+=($!)
	exec 5>requests
	echo 'token secret' >&5
	echo "lease 127.0.0.1:0 echo" >&5
	wait_until grep -q '^ok 127.0.0.1:' answers
	leased=$(sed -n 's/^ok \(127[^ ]*\).*/\1/p' answers)
	configure "workers 2; log-level info; control $LASTCALL_CONTROL { } $site listen $address -> site;"
	ctl reload
	ctl upgrade
	[ "$(state_of "$leased")" = open ]
	exec 5>&-
	wait_until port_is_free "${leased##*:}"
}

@test "an upgrade has room where a reload has" {
	start_conf "workers 2; log-level info; service e echo; $site listen 127.0.0.1:0 -> site; listen 127.0.0.1:$(free_port) -> e;"
	exec 7<>"/dev/tcp/127.0.0.1/${addresses[1]##*:}"
	echo hello >&7
	read -r -t 10 line <&7
	ctl workers 18
	wait_until worker_count_is 18
	ctl upgrade
	ctl reload
	ctl upgrade
	echo again >&7
	read -r -t 10 line <&7
	[ "$line" = again ]
	exec 7>&-
}

@test "a rehearsal that is ended leaves no path behind" {
	start_site_conf
	configure "workers 2; log-level info; $site
		control $LASTCALL_CONTROL { } control $work/run/second { }
		listen 127.0.0.1:0 unix:$work/run/new.sock -> site;"
	# Its worker is stopped before it can be ready; if that was too late the next upgrade is tried.
	for ((i = 1; i <= 20; i++)); do
		python3 - "$server" <<-'END'
			import os, signal, sys, time
			def children(pid):
			    try:
			        return {int(child) for child in open(f"/proc/{pid}/task/{pid}/children").read().split()}
			    except OSError:
			        return set()
			master = int(sys.argv[1])
			before = children(master)
			os.kill(master, signal.SIGUSR2)
			end = time.time() + 5
			while time.time() < end:
			    for rehearsal in children(master) - before:
			        for worker in children(rehearsal):
			            try:
			                os.kill(worker, signal.SIGSTOP)
			            except ProcessLookupError:
			                pass
			            sys.exit()
		END
		sleep 0.3
		[ ! -S "$work/run/second" ] || upgraded "$i" || break
		wait_until upgraded "$i"
		# What was new is in force now: something else is.
		rm -f "$work/run/new.sock" "$work/run/second"
		wait_until retired
	done
	run ! upgraded "$i"
	stop_server
	[ "$ended" -eq 0 ]
	wait_until test ! -e "$work/run/new.sock"
	[ ! -e "$work/run/second" ]
}

@test "a folder that the configuration in force names and that is gone: what to do is said, and a reload helps" {
	start_site_conf
	mv site gone
	configure "workers 2; log-level info; service site http { root other; } listen 127.0.0.1:0 -> site;"
	run -1 ctl upgrade
	[[ "$output" == *'site'*'change that by a reload first'* ]]
	ctl reload
	ctl upgrade
	[ "$(get)" = 'the other one' ]
}

@test "lines that the log has dropped are told after an upgrade too" {
	mkfifo pipe
	exec 8<>pipe
	python3 -c 'import fcntl; fcntl.fcntl(8, 1031, 4096)' # F_SETPIPE_SZ
	configure "workers 1; log-level info; $site listen 127.0.0.1:0 -> site;"
	sh -c "exec '$lastcall' run -c lastcall.conf 2>pipe >out" 3>&- 8>&- &
	server=$!
	background+=($server)
	wait_until grep -q '^ready' out
	for ((i = 0; i < 150; i++)); do
		kill -TTIN "$server"
		"$built" ping
		kill -TTOU "$server"
		"$built" ping
	done
	"$built" upgrade
	timeout 2 cat <&8 >drained || :
	kill -TTIN "$server"
	timeout 2 cat <&8 >after || :
	cat drained after
	# Those of before the upgrade are told after it.
	[ "$(grep -oh '[0-9]* log lines dropped' drained after | awk '{ sum += $1 } END { print sum + 0 }')" -gt 50 ]
	exec 8>&-
}
