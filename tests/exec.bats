# exec: a program for each connection. Real programs that nobody here wrote, what a program gets and what it does not,
# limits, faults of programs and of what starts them, and that no connection is lost.

load helper

# Connections of the test that looks for what is left behind: some in `make check`, 100,000 in `make soak`.
: "${LASTCALL_PROGRAMS:=600}"

setup() { common_setup; }

teardown() {
	# Programs of a server that was killed by the test.
	for pid in $(cat "$work"/*.pid 2>/dev/null); do
		kill -KILL "$pid" 2>/dev/null
	done
	common_teardown
}

# start_exec WORD…: that program behind a port of the kernel's choice, two workers.
start_exec() {
	local word words=''
	for word; do
		word=${word//\\/\\\\}
		words+=" \"${word//\"/\\\"}\""
	done
	service "command$words;"
}

# service TEXT [OPTION…]: a service of that block behind a port. Words are put as they stand.
service() {
	local text=$1
	shift
	start_conf "workers 2; log-level info; ${top:-}
		service program exec { $text }
		listen 127.0.0.1:0 -> program;" "$@"
}

# A script of this test, for whoever runs as nobody.
script() {
	printf '#!/bin/sh\n%s\n' "$2" >"$work/run/$1"
	chmod 755 "$work/run/$1"
}

# talk_to [STEP…]: one connection that reads to the end; prints what came.
talk_to() {
	"$tools/talk" "$address" "$@" read 2>"$work/talked"
}

logged() {
	grep -q -- "$1" "$log"
}

# The launchers: children of the workers.
launchers() {
	local worker
	for worker in $(workers); do
		pgrep -P "$worker"
	done
	return 0
}

programs() {
	local launcher
	for launcher in $(launchers); do
		pgrep -P "$launcher"
	done
	return 0
}

programs_are() {
	[ "$(programs | wc -l)" -eq "$1" ]
}

is_gone() {
	! kill -0 "$1" 2>/dev/null
}

# hold FD: a connection of this shell on that descriptor.
hold() {
	eval "exec $1<>/dev/tcp/${address%:*}/${address##*:}"
}

# ---- real programs

@test "git clones from git daemon --inetd" {
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
	git init -q source
	git -C source -c user.name=x -c user.email=x@x commit -q --allow-empty -m 'the first one'
	git clone -q --bare source "$work/run/source.git"
	[ -z "$unprivileged" ] || chown -R 65534:65534 "$work/run/source.git"
	start_exec git daemon --inetd --export-all --base-path="$work/run" --log-destination=stderr
	for _ in 1 2 3; do
		rm -rf copy
		timeout 30 git clone -q "git://$address/source.git" copy
		[ "$(git -C copy log --format=%s)" = 'the first one' ]
	done
}

@test "rsync copies from rsync --daemon in inetd mode" {
	mkdir "$work/run/files"
	seq 20000 >"$work/run/files/numbers"
	printf 'use chroot = no\n[files]\npath = %s\n' "$work/run/files" >"$work/run/rsyncd.conf"
	start_exec rsync --daemon --config="$work/run/rsyncd.conf"
	timeout 30 rsync -q "rsync://$address/files/numbers" copied
	cmp copied "$work/run/files/numbers"
}

@test "curl gets its answer from an HTTP program of a few lines of shell" {
	script httpd 'read -r method path rest
		while read -r line && [ "$line" != "$(printf "\r")" ]; do :; done
		body="you asked for $path"
		printf "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" ${#body} "$body"'
	start_exec "$work/run/httpd"
	[ "$(curl -sf -m 10 "http://$address/a")" = 'you asked for /a' ]
	[ "$(curl -sf -m 10 "http://$address/b")" = 'you asked for /b' ]
}

@test "cat sends back what it is sent, a byte at a time and a mebibyte at once" {
	start_exec cat
	"$tools/losscount" -P echo -m close -c 4 -n 20 "$address" >counted
	nothing_lost
	"$tools/losscount" -P echo -m close -c 2 -n 4 -b 1048576 "$address" >counted
	nothing_lost
	[ "$(talk_to drip:5:abc half)" = abc ]
}

# ---- what a program gets

@test "a program is told of both ends of its connection, and has no other environment" {
	SECRET=leaks start_exec env
	talk_to >told
	[ "$(cut -d= -f1 told | sort | tr '\n' ' ')" = 'PATH PROTO TCPCONNNUM TCPLOCALIP TCPLOCALPORT TCPREMOTEIP TCPREMOTEPORT ' ]
	grep -qx PROTO=TCP told
	grep -qx TCPLOCALIP=127.0.0.1 told
	grep -qx "TCPLOCALPORT=${address##*:}" told
	grep -qx TCPREMOTEIP=127.0.0.1 told
	grep -q '^TCPREMOTEPORT=[1-9][0-9]*$' told
	grep -qx TCPCONNNUM=1 told
}

@test "over a Unix socket it is told who the client is" {
	start run -w 1 -l "unix:$work/run/s" exec env --
	socat -u "UNIX-CONNECT:$work/run/s" - >told
	grep -qx PROTO=IPC told
	for name in IPCREMOTEEUID UNIXREMOTEUID; do
		grep -qx "$name=$(id -u)" told
	done
	for name in IPCREMOTEEGID UNIXREMOTEGID; do
		grep -qx "$name=$(id -g)" told
	done
	grep -q '^UNIXREMOTEPID=[1-9]' told
	run ! grep -q TCP told
}

@test "over IPv6 and on a dual-stack socket addresses are written as they are" {
	start run -w 1 -l '[::1]:0' exec env --
	talk_to >told
	grep -qx TCPREMOTEIP=::1 told
	end=$server
	start run -w 1 -l ':0' exec env --
	"$tools/talk" "127.0.0.1:${address##*:}" read 2>/dev/null >told
	grep -qx TCPREMOTEIP=127.0.0.1 told
	kill -TERM "$end"
}

@test "environment sets variables, pass lets them through, and nothing of a client's does" {
	export PASSED='from outside' KEPT=no
	service 'command env; environment A=1 "B=two words"; environment A=last; pass PASSED MISSING;'
	talk_to 'send:GET / HTTP/1.0\r\nEVIL: x\r\n\r\n' >told
	grep -qx A=last told
	grep -qx 'B=two words' told
	grep -qx 'PASSED=from outside' told
	run ! grep -qE 'KEPT|MISSING|EVIL|A=1' told
}

@test "a program has descriptors 0, 1 and 2 and no other" {
	script list 'ls /proc/self/fd; readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2'
	start_exec "$work/run/list"
	for _ in {1..10}; do
		hold 5
		talk_to >told
		exec 5>&-
	done
	# The fourth is ls's own.
	[ "$(head -n 4 told | tr '\n' ' ')" = '0 1 2 3 ' ]
	[ "$(sed -n '5p' told)" = "$(sed -n '6p' told)" ]
	[[ $(sed -n '5p' told) == socket:* ]]
	[[ $(sed -n '7p' told) == pipe:* ]]
	[ "$(wc -l <told)" -eq 7 ]
}

@test "its signals are at their defaults and not blocked, and it leads a process group of its own" {
	script state 'exec cat /proc/self/status /proc/self/stat'
	as='env --ignore-signal=HUP,USR1,PIPE,CHLD --block-signal=USR2' start_exec "$work/run/state"
	talk_to >told
	# Two are the C library's own; what make(1) does to them the twin cannot undo.
	! is_posix || sed -i 's/^SigIgn:.0000000180000000/SigIgn:\t0000000000000000/' told
	[ "$(grep -cE '^Sig(Blk|Ign|Cgt):.0000000000000000$' told)" -eq 3 ]
	read -r pid _ _ _ group _ <<<"$(tail -n 1 told)"
	[ "$pid" = "$group" ]
}

@test "its connection waits: reading and writing are not told to try again" {
	start_exec sh -c 'dd bs=1 count=1 2>/dev/null; dd if=/dev/zero bs=1M count=8 2>/dev/null; echo end'
	"$tools/talk" -t 20000 "$address" wait:300 send:x deaf wait:300 read 2>/dev/null >told
	[ "$(wc -c <told)" -eq $((1 + 8 * 1048576 + 4)) ]
}

@test "words reach the program as they were written, from the command line, a file and open" {
	start run -w 2 -l 127.0.0.1:0 exec printf '[%s]' 'a b' '' "it's" '"q"' '%s;{}#' --
	wanted="[a b][][it's][\"q\"][%s;{}#]"
	[ "$(talk_to)" = "$wanted" ]
	address=$("$lastcall" open 127.0.0.1:0 exec printf '[%s]' 'a b' '' "it's" '"q"' '%s;{}#')
	[ "$(talk_to)" = "$wanted" ]
	stop_server
	service "command printf \"[%s]\" \"a b\" \"\" it's \"\\\"q\\\"\" \"%s;{}#\";"
	[ "$(talk_to)" = "$wanted" ]
}

@test "on the command line a program has its own options, and -- ends its words" {
	start run -w 1 -l 127.0.0.1:0 exec sh -c 'echo "$0"' -w -- -l 127.0.0.1:0 exec cat --
	[ "$(talk_to)" = -w ]
	[ "$("$tools/talk" "${addresses[1]}" send:x half read 2>/dev/null)" = x ]
	address=$("$lastcall" open 127.0.0.1:0 exec sh -c 'echo "$0"' -w)
	[ "$(talk_to)" = -w ]
}

@test "directory and umask are the program's" {
	mkdir -m 755 "$work/run/there"
	service "command sh -c \"pwd; umask\"; directory $work/run/there; umask 0027;"
	[ "$(talk_to)" = "$work/run/there
0027" ]
}

@test "limits are the program's" {
	service 'command sh -c "ulimit -t; ulimit -v; ulimit -n; ulimit -f; ulimit -c; grep processes /proc/self/limits";
		limit cpu 10s memory 512m; limit files 64; limit processes 200 file-size 1m core 0;'
	talk_to >told
	[ "$(head -n 5 told | tr '\n' ' ')" = '10 524288 64 2048 0 ' ]
	grep -q 'Max processes *200 *200' told
}

@test "a program that uses more time than limit cpu is ended" {
	service 'command sh -c "while :; do :; done"; limit cpu 1s;'
	talk_to
	wait_until logged 'warning: sh\[[0-9]*\]: killed by signal .*CPU time limit exceeded'
}

# ---- whose programs they are

# Every kind of child: workers, launchers and programs.
identity() {
	awk '/^(Uid|Gid|Groups|NoNewPrivs):/ { $1 = ""; printf "%s;", $0 }' "/proc/$1/status"
}

@test "as root, programs run as the workers' user with its groups and cannot gain privilege" {
	[ "$(id -u)" -eq 0 ] || skip 'not root'
	no_new=1
	# The twin has no such thing.
	! is_posix || no_new=0
	start_exec sh -c 'awk "/^(Uid|Gid|Groups|NoNewPrivs):/ { \$1 = \"\"; printf \"%s;\", \$0 }" /proc/self/status; sleep 1000'
	"$tools/talk" -t 10000 "$address" until:"; $no_new;" >told 2>/dev/null
	[ "$(cat told)" = " 65534 65534 65534 65534; 65534 65534 65534 65534; 65534; $no_new;" ]
	for pid in $(workers) $(launchers); do
		[ "$(identity "$pid")" = "$(cat told)" ]
	done
}

@test "as root, user gives a service's programs that user's uid, gid and groups, beside other services" {
	[ "$(id -u)" -eq 0 ] || skip 'not root'
	no_new=1
	! is_posix || no_new=0
	other=$(getent passwd daemon || getent passwd bin)
	IFS=: read -r name _ uid gid _ <<<"$other"
	start_conf "workers 2;
		service theirs exec { user $name; command sh -c \"id -u; id -g; id -G; grep NoNew /proc/self/status\"; }
		service ours exec { command id -u; }
		listen 127.0.0.1:0 -> theirs; listen 127.0.0.1:0 -> ours;"
	[ "$(talk_to)" = "$uid
$gid
$(id -G "$name")
NoNewPrivs:	$no_new" ]
	[ "$("$tools/talk" "${addresses[1]}" read 2>/dev/null)" = 65534 ]
	for pid in $(workers); do
		[[ $(identity "$pid") == ' 65534 65534 65534 65534; 65534 '* ]]
	done
	# After a reload too, and for a worker that replaces another.
	kill -HUP "$server"
	wait_until logged 'reloaded: generation 1'
	[ "$(talk_to | head -n 1)" = "$uid" ]
	# shellcheck disable=SC2046
	kill -KILL $(workers)
	wait_until worker_count_is 2
	[ "$(talk_to | head -n 1)" = "$uid" ]
}

@test "a user that cannot be had is an error at the start, and nothing runs as root" {
	[ "$(id -u)" -eq 0 ] || skip 'not root'
	printf 'service x exec { user nobody; command id -u; } listen 127.0.0.1:0 -> x;\n' >lastcall.conf
	# Every setuid of the children fails.
	run -1 --separate-stderr timeout 30 strace -qq -f -e trace=setuid -e inject=setuid:error=EAGAIN -o trace \
		"$lastcall" run -c lastcall.conf -w 1
	[[ $stderr == *'cannot start a process as user "nobody"'* ]]
}

@test "as root, a program that its user cannot execute or whose folder it cannot enter is found out before it is started" {
	[ "$(id -u)" -eq 0 ] || skip 'not root'
	local program outcome
	mkdir -m 700 closed
	mkdir -m 755 opened
	cp "$(command -v cat)" closed/cat
	cp closed/cat opened/private
	chmod 700 opened/private
	printf '#!/nobody/has/this\n' >opened/other
	chmod 754 opened/other
	other=$(getent passwd daemon || getent passwd bin)
	other=${other%%:*}
	chown "$other" opened/other
	for program in "$PWD/closed/cat" "$PWD/opened/private"; do
		for kind in exec app; do
			for user in '' "user $other;"; do
				printf 'service x %s { command "%s"; %s }\nlisten 127.0.0.1:0 -> x;\n' $kind "$program" "$user" >lastcall.conf
				user=${user:-user nobody;}
				user=${user#user } user=${user%;}
				run -2 --separate-stderr "$lastcall" check -c lastcall.conf
				[[ $stderr == *"lastcall.conf:1:"*"error: program \"$program\": it is not executable for user \"$user\""* ]]
				run -2 --separate-stderr "$lastcall" run -c lastcall.conf
				[[ $stderr == *"it is not executable for user \"$user\""* ]]
			done
		done
	done
	# Its owner may execute it, and a search in PATH goes on to what may be executed.
	printf 'service x exec { command "%s"; user %s; }\nlisten 127.0.0.1:0 -> x;\n' "$PWD/opened/other" "$other" >lastcall.conf
	run -0 "$lastcall" check -c lastcall.conf
	printf 'service x exec { command cat; environment "PATH=%s:%s"; }\nlisten 127.0.0.1:0 -> x;\n' "$PWD/closed" "${PATH//:/:}" >lastcall.conf
	run -0 "$lastcall" check -c lastcall.conf
	printf 'service x exec { command cat; directory "%s"; }\nlisten 127.0.0.1:0 -> x;\n' "$PWD/closed" >lastcall.conf
	run -2 --separate-stderr "$lastcall" check -c lastcall.conf
	[[ $stderr == *"lastcall.conf:1:"*"directory \"$PWD/closed\": Permission denied for user \"nobody\""* ]]
	# On reload, and for a port that is opened, nothing changes but that it is said.
	start_exec cat
	run -1 "$lastcall" open 127.0.0.1:0 exec "$PWD/opened/private"
	[[ $output == *'it is not executable for user '?nobody?* ]]
	run -0 "$lastcall" open 127.0.0.1:0 exec cat
	sed -i "s|command .*|command \"$PWD/opened/private\"; }|" lastcall.conf
	run "$lastcall" reload
	[ "$status" -ne 0 ]
	[[ $output == *'it is not executable for user '?nobody?* ]]
	[ "$(echo hello | "$tools/talk" "$address" 'send:hello\n' half read 2>/dev/null)" = hello ]
}

@test "as root, a look at a program as its user that does not come to an end holds nobody up" {
	[ "$(id -u)" -eq 0 ] || skip 'not root'
	printf 'service x exec { command cat; user daemon; }\nlisten 127.0.0.1:0 -> x;\n' >lastcall.conf
	run -0 timeout 30 strace -qq -f -e trace=setresgid -e inject=setresgid:signal=STOP -o trace "$lastcall" check -c lastcall.conf
	grep -q setresgid trace
	# Also where whoever started it ignores that its children end.
	cp "$(command -v cat)" private
	chmod 700 private
	sed -i "s|command cat|command $PWD/private|" lastcall.conf
	run -2 env --ignore-signal=CHLD "$lastcall" check -c lastcall.conf
	[[ $output == *'it is not executable for user "daemon"'* ]]
}

@test "started as nobody, another user for programs is refused" {
	[ "$(id -u)" -eq 0 ] || skip 'not root'
	printf 'service x exec { user root; command id; } listen 127.0.0.1:0 -> x;\n' >lastcall.conf
	# shellcheck disable=SC2086
	run -1 --separate-stderr $unprivileged "$lastcall" run -c lastcall.conf
	[[ $stderr == *'only root can run programs as somebody else'* ]]
}

# ---- what is wrong is said before

@test "check names a program that is missing or cannot be executed, at its place" {
	script no-exec 'exit 0'
	chmod 644 "$work/run/no-exec"
	cat >lastcall.conf <<-END
		service a exec { command no-such-program-anywhere; }
		service b exec { command /no/such/file; }
		service c exec { command $work/run/no-exec; }
		service d exec { command $work/run; }
		service e exec { command cat; user no-such-user; directory /no/such/folder; }
		listen 127.0.0.1:0 -> a;
	END
	run -2 --separate-stderr "$lastcall" check -c lastcall.conf
	grep -q '^lastcall.conf:1:26: error: program "no-such-program-anywhere": there is none in /usr' <<<"$stderr"
	grep -q '^lastcall.conf:2:26: error: program "/no/such/file": there is no such file' <<<"$stderr"
	grep -q '^lastcall.conf:3:26: error: .*it is not executable' <<<"$stderr"
	grep -q '^lastcall.conf:4:26: error: .*it is a folder' <<<"$stderr"
	grep -q '^lastcall.conf:5:36: error: user "no-such-user"' <<<"$stderr"
	grep -q '^lastcall.conf:5:60: error: directory "/no/such/folder"' <<<"$stderr"
}

@test "check names options that make no sense" {
	cat >lastcall.conf <<-END
		service a exec { timeout 1s; }
		service b exec { command cat; environment NOVALUE; }
		service c exec { command cat; environment TCPREMOTEIP=1.2.3.4; }
		service d exec { command cat; limit cpus 1s; }
		service e exec { command cat; limit cpu; }
		service f exec { command cat; limit cpu 10; }
		service g exec { command cat; limit cpu 10s; limit cpu 11s; }
		service h exec { command cat; command dog; }
		service i exec { command cat; over-limit drop; }
		service j exec { command cat; pass A=B; }
	END
	run -2 --separate-stderr "$lastcall" check -c lastcall.conf
	for said in '1:9: .*command is required' '2:43: .*not NAME=VALUE' '3:43: .*told of its connection' \
		'4:37: .*unknown limit "cpus"' '5:37: .*needs a value' '6:37: .*needs a unit' '7:.*given twice' \
		'8:31: .*duplicate' '9:42: .*hold or refuse' '10:36: .*not the name'; do
		echo "$said"
		grep -q "^lastcall.conf:$said" <<<"$stderr"
	done
	[ "$(grep -c ': error: ' <<<"$stderr")" -eq 10 ]
}

@test "open refuses a program that is not there, and starts nothing" {
	start_exec cat
	run -1 --separate-stderr "$lastcall" open 127.0.0.1:0 exec no-such-program
	[[ $stderr == *"program 'no-such-program': there is none in"* ]]
	run -1 --separate-stderr "$lastcall" open 127.0.0.1:0 exec
	[[ $stderr == *'command is required'* ]]
	[ "$("$lastcall" status | grep -c "^127")" -eq 1 ]
}

@test "a program of a relative path is found from where it was written" {
	script here 'echo here'
	mkdir conf
	cp "$work/run/here" conf/
	chmod 755 conf
	printf 'service x exec { command ./here; } listen 127.0.0.1:0 -> x;\n' >conf/lastcall.conf
	start run -c conf/lastcall.conf -w 1
	[ "$(talk_to)" = here ]
	address=$(cd run && "$lastcall" open 127.0.0.1:0 exec ./here)
	[ "$(talk_to)" = here ]
}

@test "a program in place is for the server's own user and root" {
	[ "$(id -u)" -eq 0 ] || skip 'not root'
	start_conf "workers 1; control $work/run/control { mode 0666; }
		service git exec { command cat; } listen 127.0.0.1:0 -> git;"
	# shellcheck disable=SC2086
	run -1 --separate-stderr $unprivileged "$lastcall" open -s "$work/run/control" 127.0.0.1:0 exec cat
	[[ $stderr == *"a service in place is for the daemon's own user and root"* ]]
	address=$("$lastcall" open -s "$work/run/control" 127.0.0.1:0 exec cat)
	[ "$(talk_to send:x half)" = x ]
}

@test "a named exec service can be opened by whom the policy lets" {
	[ "$(id -u)" -eq 0 ] || skip 'not root'
	start_conf "workers 1; control $work/run/control { mode 0666; allow-services mirror; }
		service mirror exec { command cat; } listen 127.0.0.1:0 -> mirror;"
	address=$($unprivileged "$lastcall" open -s "$work/run/control" 127.0.0.1:0 mirror)
	[ "$(talk_to send:x half)" = x ]
}

@test "a lease has exec behind its port, also from a server of its own" {
	for private in '' --private; do
		[ -n "$private" ] || start_exec cat
		run -0 --separate-stderr "$lastcall" lease $private 127.0.0.1:0 exec cat -- \
			sh -c '"$0" "$LASTCALL_ADDR" send:hello half read 2>/dev/null' "$tools/talk"
		[ "$output" = hello ]
	done
}

@test "a program that cannot be executed when it is to run is logged, and its client is not left waiting" {
	script gone 'exit 0'
	start_exec "$work/run/gone"
	rm "$work/run/gone"
	talk_to
	logged 'cannot start .*gone: .*No such file or directory'
	printf 'not a program\n' >"$work/run/gone"
	chmod 755 "$work/run/gone"
	talk_to
	logged 'Exec format error'
	script gone 'echo again'
	[ "$(talk_to)" = again ]
}

# ---- standard error

@test "standard error goes to the log, line by line, with the pid, and nothing of it is believed" {
	script noisy 'printf "one\ntwo\033[31m\rred\n\n" >&2; printf "lastcall: forged" >&2; echo $$'
	start_exec "$work/run/noisy"
	pid=$(talk_to)
	wait_until logged forged
	grep -qxF "lastcall: noisy[$pid]: one" "$log"
	grep -qxF "lastcall: noisy[$pid]: two\\x1b[31m\\x0dred" "$log"
	grep -qxF "lastcall: noisy[$pid]: lastcall: forged" "$log"
}

@test "a line of any length arrives, in pieces that the log can hold" {
	start_exec sh -c 'head -c 5000 /dev/zero | tr "\0" y >&2; echo >&2; head -c 400 /dev/zero >&2'
	talk_to
	wait_until logged 'x00$'
	[ "$(grep -o y "$log" | wc -l)" -ge 5000 ]
	[ "$(sed -n 's/.*\]: \(y*\)$/\1/p' "$log" | tr -d '\n' | wc -c)" -eq 5000 ]
	[ "$(sed -n 's/.*\]: //p' "$log" | grep -o '\\x00' | wc -l)" -eq 400 ]
}

@test "a program that floods its standard error is rate-limited, what is dropped is counted, and nobody is slowed" {
	start_exec sh -c 'read -r what; [ "$what" = flood ] && head -c 134217728 /dev/zero | tr "\0" "\n" | sed s/^/zzzzzzzzzzzzzzz/ | head -c 134217728 >&2; echo over'
	"$tools/talk" -t 120000 "$address" 'send:flood\n' read >flooded 2>/dev/null 3>&- &
	background+=($!)
	flood=$!
	wait_until logged 'zzzz'
	# Meanwhile others are answered.
	for _ in {1..20}; do
		timeout 10 "$tools/talk" "$address" 'send:x\n' read 2>/dev/null >told
		[ "$(cat told)" = over ]
	done
	wait "$flood"
	[ "$(cat flooded)" = over ]
	wait_until logged 'lines of its standard error dropped: [1-9]'
	written=$(grep -c ']: zzz' "$log")
	dropped=$(sed -n 's/.*dropped: //p' "$log" | awk '{ sum += $1 } END { print sum }')
	# Every line of 16 bytes was written or counted.
	[ $((written + dropped)) -eq $((134217728 / 16)) ]
	[ "$(stat -c %s "$log")" -lt 4000000 ]
}

# ---- limits on connections

# How many programs run at once is counted by themselves, in a folder.
crowd_script() {
	mkdir -m 777 "$work/run/now"
	script crowd "touch $work/run/now/\$\$; ls $work/run/now | wc -l >>$work/run/counts; cat; rm $work/run/now/\$\$"
	: >"$work/run/counts"
	chmod 666 "$work/run/counts"
}

most_at_once() {
	sort -n "$work/run/counts" | tail -n 1
}

@test "max-connections bounds the programs of a listener over all workers, and the others wait their turn" {
	crowd_script
	service "command $work/run/crowd; max-connections 3;"
	"$tools/losscount" -P echo -m close -c 12 -n 60 -T 30000 "$address" >counted
	nothing_lost
	[ "$(counted answered)" -eq 60 ]
	[ "$(most_at_once)" -le 3 ]
	[ "$(most_at_once)" -ge 2 ]
}

@test "what is over max-connections waits in the accept queue" {
	service 'command sh -c "echo hello; cat"; max-connections 2;'
	hold 5
	hold 6
	read -r -t 10 word <&5
	read -r -t 10 word <&6
	hold 7
	hold 8
	wait_until queue_is 2
	programs_are 2
	exec 5>&-
	read -r -t 10 word <&7
	[ "$word" = hello ]
	wait_until queue_is 1
	exec 6>&- 7>&- 8>&-
}

# So many connections wait to be accepted.
queue_is() {
	[ "$(ss -Hltn "sport = :${address##*:}" | awk '{ print $2 }')" -eq "$1" ]
}

@test "with one connection at a time, each of many has its turn" {
	crowd_script
	service "command $work/run/crowd; max-connections 1;"
	"$tools/losscount" -P echo -m close -c 8 -n 40 -T 30000 "$address" >counted
	nothing_lost
	[ "$(most_at_once)" -eq 1 ]
}

@test "max-per-client holds what is over it until another of the client ends" {
	service 'command sh -c "echo hello; cat"; max-per-client 2;'
	hold 5
	hold 6
	read -r -t 10 word <&5
	read -r -t 10 word <&6
	hold 7
	# It is accepted, and has no program.
	wait_until queue_is 0
	run ! read -r -t 0.3 word <&7
	programs_are 2
	# Another client is not held.
	"$tools/talk" -t 5000 "$address" until:hello 2>/dev/null &
	background+=($!)
	[ "$(socat -u -t 5 "TCP:$address,bind=127.0.0.2,readbytes=5" -)" = hello ]
	exec 5>&-
	read -r -t 10 word <&7
	[ "$word" = hello ]
	exec 6>&- 7>&-
}

@test "max-per-client bounds a client's programs over all workers" {
	crowd_script
	service "command $work/run/crowd; max-per-client 2;"
	"$tools/losscount" -P echo -m close -c 10 -n 60 -T 30000 "$address" >counted
	nothing_lost
	[ "$(most_at_once)" -le 2 ]
}

@test "over-limit refuse closes what is over max-per-client at once" {
	service 'command sh -c "echo hello; cat"; max-per-client 1; over-limit refuse;'
	hold 5
	read -r -t 10 word <&5
	[ -z "$(talk_to)" ]
	logged 'refused 127.0.0.1, which has max-per-client'
	exec 5>&-
	wait_until programs_are 0
	[ "$("$tools/talk" -t 5000 "$address" until:hello 2>/dev/null)" = hello ]
}

@test "who is held past start-timeout is closed and counted" {
	service 'command sh -c "echo hello; cat"; max-per-client 1; start-timeout 200ms;'
	hold 5
	read -r -t 10 word <&5
	[ -z "$(talk_to)" ]
	logged 'start-timeout is over, and its client has max-per-client'
	exec 5>&-
	stop_server
	grep -q 'connections lost or cut in mid-answer: 1;' "$log"
}

@test "a client's connections are counted for TCPCONNNUM" {
	start_exec sh -c 'echo $TCPCONNNUM; cat'
	hold 5
	read -r -t 10 first <&5
	hold 6
	read -r -t 10 second <&6
	[ "$first $second" = '1 2' ]
	exec 5>&- 6>&-
	wait_until programs_are 0
	hold 5
	read -r -t 10 first <&5
	[ "$first" = 1 ]
	exec 5>&-
}

# ---- faults of programs

@test "a program that runs longer than timeout is ended, and its client hears of it" {
	service 'command sleep 1000; timeout 200ms; end-delay 200ms;'
	talk_to
	grep -q eof=1 talked
	wait_until programs_are 0
	logged 'timeout is over'
}

@test "a program that ignores TERM is killed when end-delay is over, with its group" {
	script deaf "trap '' TERM; sleep 1000 & echo \$! >$work/run/child.pid; echo \$\$; wait; sleep 1000"
	service "command $work/run/deaf; timeout 300ms; end-delay 200ms;"
	pid=$(talk_to)
	wait_until is_gone "$pid"
	wait_until is_gone "$(cat "$work/run/child.pid")"
}

@test "a program that ignores TERM is killed at grace, counted, and the stop says so" {
	top='grace 300ms;'
	service "command sh -c \"trap '' TERM; echo hello; while :; do sleep 1000; done\";"
	hold 5
	read -r -t 10 word <&5
	pids=$(programs)
	stop_server
	[ "$ended" -eq 3 ]
	[ "$(receipt)" = '0 answered, 0 of them from the queue, 1 cut; programs: 0 with status 0, 0 with another, 1 killed' ]
	for pid in $pids; do
		is_gone "$pid"
	done
	exec 5>&-
}

@test "QUIT ends programs at once" {
	service 'command sh -c "echo hello; sleep 1000"; end-delay 1d;'
	hold 5
	read -r -t 10 word <&5
	pids=$(programs)
	stop_server QUIT
	[ "$ended" -eq 3 ]
	for pid in $pids; do
		is_gone "$pid"
	done
	exec 5>&-
}

@test "a program that closes its input and keeps its output still answers" {
	start_exec sh -c 'exec <&-; sleep 0.2; echo answer'
	[ "$(talk_to send:x)" = answer ]
}

@test "an answer is not reset by what the program did not read" {
	start_exec sh -c 'echo answer'
	for _ in {1..20}; do
		[ "$(talk_to fill:1000:0123456789)" = answer ]
		run ! grep -q 'reset=1' talked
	done
}

@test "the connection ends with the program, and what it left in its group is ended" {
	script leaver "sleep 1000 & echo \$! >$work/run/child.pid; echo bye"
	service "command $work/run/leaver; end-delay 200ms;"
	[ "$(talk_to)" = bye ]
	grep -q eof=1 talked
	wait_until is_gone "$(cat "$work/run/child.pid")"
}

@test "what is left in the group and ignores TERM is killed" {
	script leaver "(trap '' TERM; while :; do sleep 1000; done) & echo \$! >$work/run/child.pid; echo bye"
	service "command $work/run/leaver; end-delay 200ms;"
	[ "$(talk_to)" = bye ]
	wait_until is_gone "$(cat "$work/run/child.pid")"
}

@test "a daemon that leaves the group keeps neither connection nor server, and is told of" {
	is_posix && skip 'the twin does not hear of them'
	script daemon "setsid -f sh -c 'echo \$\$ >$work/run/child.pid; exec sleep 1000' & wait; while ! [ -s $work/run/child.pid ]; do :; done; echo bye"
	start_exec "$work/run/daemon"
	[ "$(talk_to)" = bye ]
	grep -q eof=1 talked
	child=$(cat "$work/run/child.pid")
	wait_until logged "left process $child behind"
	stop_server
	[ "$ended" -eq 0 ]
	kill -0 "$child"
}

@test "a client that goes away does not keep its program: it is told by its connection" {
	start_exec cat
	hold 5
	echo x >&5
	read -r -t 10 word <&5
	exec 5>&-
	wait_until programs_are 0
	stop_server
	[ "$ended" -eq 0 ]
}

@test "a client that has reset its connection before its program could be started costs none" {
	script ran "echo ran >>$work/run/counts; echo hello; cat"
	: >"$work/run/counts"
	chmod 666 "$work/run/counts"
	start_conf "workers 1; service program exec { command $work/run/ran; } listen 127.0.0.1:0 -> program;"
	[ "$("$tools/talk" "$address" until:hello 2>/dev/null)" = hello ]
	launcher=$(launchers)
	kill -STOP "$launcher"
	"$tools/talk" -c 20 -q "$address" send:x reset >/dev/null
	# One that has only shut its side has its answer.
	"$tools/talk" "$address" half read >told 2>/dev/null 3>&- &
	background+=($!)
	half=$!
	wait_until queue_is 0
	kill -CONT "$launcher"
	wait "$half"
	[ "$(cat told)" = hello ]
	[ "$(wc -l <run/counts)" -eq 2 ]
	stop_server
	[ "$ended" -eq 0 ]
}

# ---- faults of what starts them

# start_alone USER TEXT: a server of a user that has no other process, one worker and a service of that block.
start_alone() {
	alone="setpriv --reuid=$1 --regid=$1 --clear-groups"
	printf 'workers 1; log-level info; service x exec { %s } listen 127.0.0.1:0 -> x;\n' "$2" >alone.conf
	as=$alone start run --no-control -c alone.conf
}

# processes_may_be N: of that user; empty: as many as before.
processes_may_be() {
	local pid
	for pid in $(launchers) $(workers); do
		$alone prlimit --pid "$pid" --nproc="${1:-$($alone prlimit --pid "$pid" --nproc -o HARD --noheadings | tr -d ' ')}:"
	done
}

@test "where no process can be had, connections wait, and are served when it works again" {
	[ "$(id -u)" -eq 0 ] || skip 'not root'
	start_alone 54321 'command sh -c "echo hello";'
	[ "$(talk_to)" = hello ]
	processes_may_be 1
	"$tools/talk" -t 20000 -c 3 -n 1 -q "$address" read >talked 3>&- &
	background+=($!)
	load=$!
	wait_until logged 'cannot start sh: Resource temporarily unavailable; trying again every 100 ms'
	kill -0 "$load"
	processes_may_be
	wait "$load"
	grep -q 'eof=3' talked
	grep -q 'bytes=18' talked
	wait_until logged 'starting sh works again'
	# One line for each change of state.
	[ "$(grep -c 'cannot start sh' "$log")" -eq 1 ]
}

@test "where no process can be had for start-timeout, connections are closed and counted" {
	[ "$(id -u)" -eq 0 ] || skip 'not root'
	start_alone 54322 'command sh -c "echo hello"; start-timeout 300ms;'
	[ "$(talk_to)" = hello ]
	processes_may_be 1
	[ -z "$(talk_to)" ]
	logged 'start-timeout is over, and no program could be started'
	processes_may_be
	stop_server
	grep -q 'connections lost or cut in mid-answer: 1;' "$log"
}

@test "a worker that is killed takes its programs with it, also those that ignore TERM" {
	service "command sh -c \"trap '' TERM; echo hello; while :; do sleep 1000; done\"; end-delay 200ms;" -w 1
	hold 5
	read -r -t 10 word <&5
	pids=$(programs)
	launcher=$(launchers)
	kill -KILL "$(workers)"
	for pid in $pids $launcher; do
		wait_until is_gone "$pid"
	done
	exec 5>&-
}

@test "when the master is killed, programs finish, and nothing outlives grace" {
	top='grace 1s;'
	service 'command sh -c "echo hello; cat; echo $$ >&2"; end-delay 200ms;'
	hold 5
	read -r -t 10 word <&5
	hold 6
	read -r -t 10 word <&6
	all="$(workers) $(launchers) $(programs)"
	kill -KILL "$server"
	# The one ends in time, the other does not.
	echo last >&5
	read -r -t 10 word <&5
	[ "$word" = last ]
	exec 5>&-
	for pid in $all; do
		wait_until is_gone "$pid"
	done
	exec 6>&-
	wait_until nobody_listens "${address##*:}"
}

@test "a launcher that is killed costs its programs' connections, counted, and another takes its place" {
	service 'command sh -c "echo hello; cat";' -w 1
	hold 5
	read -r -t 10 word <&5
	pids=$(programs)
	kill -KILL "$(launchers)"
	run -1 read -r -t 10 word <&5
	exec 5>&-
	logged 'programs lost: 1'
	is_posix || for pid in $pids; do wait_until is_gone "$pid"; done
	[ "$("$tools/talk" -t 5000 "$address" until:hello 2>/dev/null)" = hello ]
	for pid in $pids; do
		kill -KILL "$pid" 2>/dev/null || true
	done
	stop_server
	grep -q 'connections lost or cut in mid-answer: 1;' "$log"
}

@test "a launcher that is stopped holds up its own service for start-timeout, no other, and no stop" {
	start_conf "workers 1; grace 500ms; service slow exec { command cat; start-timeout 300ms; }
		listen 127.0.0.1:0 -> slow; listen 127.0.0.1:0 -> echo;"
	hold 5
	echo x >&5
	read -r -t 10 word <&5
	launcher=$(launchers)
	echo "$launcher" >stopped.pid
	kill -STOP "$launcher"
	[ -z "$(talk_to)" ]
	logged 'the program was not started in time'
	[ "$("$tools/talk" "${addresses[1]}" send:x half read 2>/dev/null)" = x ]
	pids=$(programs)
	stop_server
	[ "$ended" -eq 3 ]
	exec 5>&-
	is_posix && kill -CONT "$launcher"
	for pid in $launcher $pids; do
		wait_until is_gone "$pid"
	done
}

@test "a launcher of another user that is killed is had again with another worker" {
	[ "$(id -u)" -eq 0 ] || skip 'not root'
	service 'user daemon; command sh -c "echo hello; cat";' -w 1
	[ "$("$tools/talk" -t 5000 "$address" until:hello 2>/dev/null)" = hello ]
	old=$(workers)
	kill -KILL "$(launchers)"
	wait_until is_gone "$old"
	[ "$("$tools/talk" -t 5000 "$address" until:hello 2>/dev/null)" = hello ]
}

# ---- nothing is lost, nothing is left

@test "stop under load loses nobody, and the receipt sums up the programs" {
	start_exec cat
	load_begin -P echo -m close -c 16 -d 20000
	sleep 0.5
	stop_server
	load_end
	[ "$ended" -eq 0 ]
	nothing_lost
	[ "$(receipt_number answered)" -gt 0 ]
	[[ $(receipt) =~ programs:\ ([0-9]+)\ with\ status\ 0,\ 0\ with\ another,\ 0\ killed$ ]]
}

@test "a stop serves also those who wait in the queue for max-connections" {
	service 'command cat; max-connections 2;'
	load_begin -P echo -m close -c 16 -d 20000
	wait_until somebody_waits
	stop_server
	load_end
	[ "$ended" -eq 0 ]
	nothing_lost
	[ "$(receipt_number queue)" -gt 0 ]
}

somebody_waits() {
	! queue_is 0
}

@test "a stop serves those who wait in the queue of a Unix socket, however long their programs take" {
	start_conf "workers 2; service slow exec { command sh -c \"echo began; sleep 0.5; echo answer\"; max-connections 1; }
		listen unix:$work/run/s -> slow;"
	for i in 1 2 3; do
		socat -u "UNIX-CONNECT:$work/run/s" - >"told.$i" 2>&1 3>&- &
		background+=($!)
	done
	wait_until grep -q began told.1 told.2 told.3
	wait_until two_wait
	stop_server
	[ "$ended" -eq 0 ]
	wait_until all_answered
}

two_wait() {
	[ "$(ss -Hxl src "$work/run/s" | awk '{ print $3 }')" -eq 2 ]
}

all_answered() {
	[ "$(cat told.1 told.2 told.3 | grep -c answer)" -eq 3 ]
}

@test "when the master is killed, those who wait in the queue for max-connections are served" {
	service 'command cat; max-connections 2;'
	load_begin -P echo -m close -c 16 -d 20000
	wait_until somebody_waits
	all=$(workers)
	kill -KILL "$server"
	load_end
	nothing_lost
	for pid in $all; do
		wait_until is_gone "$pid"
	done
}

@test "a stop waits for programs, and their statuses are in the receipt" {
	start_exec sh -c 'echo hello; read -r status; exit $status'
	for fd in 5 6 7; do
		hold $fd
		read -r -t 10 word <&$fd
	done
	kill -TERM "$server"
	wait_until logged 'last call'
	echo 0 >&5
	echo 3 >&6
	echo 0 >&7
	exec 5>&- 6>&- 7>&-
	end_server
	[ "$ended" -eq 0 ]
	[ "$(receipt)" = '3 answered, 0 of them from the queue, 0 cut; programs: 2 with status 0, 1 with another, 0 killed' ]
}

@test "reload under load loses nobody, and programs that run finish" {
	service 'command sh -c "echo hello; cat";'
	hold 5
	read -r -t 10 word <&5
	before=$(workers)
	sed -i 's/echo hello; cat/cat/' lastcall.conf
	"$lastcall" reload
	load_begin -P echo -m close -c 8 -d 20000
	for _ in 1 2 3; do
		"$lastcall" reload
	done
	kill -INT "$load_pid"
	load_end
	nothing_lost
	echo still >&5
	read -r -t 10 word <&5
	[ "$word" = still ]
	exec 5>&-
	for pid in $before; do
		wait_until is_gone "$pid"
	done
}

@test "the receipt of a close sums up the statuses of that port's programs" {
	start_exec cat
	address=$("$lastcall" open 127.0.0.1:0 exec sh -c 'read -r status; [ "$status" != die ] || kill -9 $$; exit $status')
	for status in 0 0 3 die; do
		talk_to "send:$status\n" >/dev/null
	done
	run -0 "$lastcall" close "$address"
	[[ $output == *': 4 accepted, 4 answered, 0 cut; programs: 2 with status 0, 1 with another, 1 killed' ]]
}

@test "close under load loses nobody" {
	start_exec cat
	address=$("$lastcall" open 127.0.0.1:0 exec cat)
	load_begin -P echo -m close -c 16 -d 20000
	sleep 0.3
	run -0 "$lastcall" close "$address"
	[[ $output == *' 0 cut'* || $output != *cut* ]]
	load_end
	nothing_lost
}

@test "close --now ends programs and says what was cut" {
	start_exec cat
	address=$("$lastcall" open 127.0.0.1:0 exec sh -c 'echo hello; sleep 1000')
	hold 5
	read -r -t 10 word <&5
	pids=$(programs)
	run -3 "$lastcall" close --now "$address"
	echo "$output"
	[[ $output == *'1 cut'*'; programs: 0 with status 0, 0 with another, 1 killed' ]]
	for pid in $pids; do
		wait_until is_gone "$pid"
	done
	exec 5>&-
	# Its launchers are gone too.
	wait_until no_launchers
}

@test "what is cut because retire-grace is over is lost, and none of a later stop's" {
	top='retire-grace 300ms;' start_exec sh -c 'echo hello; sleep 1000'
	hold 5
	read -r -t 10 word <&5
	run -0 "$lastcall" reload
	[ -z "$(timeout 10 cat <&5)" ]
	exec 5>&-
	wait_until programs_are 0
	wait_until worker_count_is 2
	lost_is() {
		"$lastcall" status --json | grep -q "\"lost\": *$1\b"
	}
	wait_until lost_is 1
	stop_server
	[ "$ended" -eq 0 ]
	[[ $(receipt) == *' 0 cut'* && $(receipt) != *programs* ]]
}

@test "close --now says how each program ended, also those that ignore TERM or end in their own way" {
	start_exec cat
	local -A ends=([well]='1 with status 0, 0 with another, 0 killed' [failed]='0 with status 0, 1 with another, 0 killed'
		[killed]='0 with status 0, 0 with another, 1 killed')
	local -A ways=([well]='exit 0' [failed]='exit 7' [killed]='')
	for way in well failed killed; do
		address=$("$lastcall" open 127.0.0.1:0 exec sh -c "trap '${ways[$way]}' TERM; echo hello; while :; do sleep 0.05; done")
		hold 5
		read -r -t 10 word <&5
		run -3 "$lastcall" close --now "$address"
		echo "$way: $output"
		[[ $output == *"1 cut; programs: ${ends[$way]}" ]]
		# The client was cut at once.
		[ -z "$(timeout 10 cat <&5)" ]
		exec 5>&-
		wait_until programs_are 0
	done
}

no_launchers() {
	[ -z "$(launchers)" ]
}

# The descriptors of a process, without what they are.
descriptors_of() {
	find "/proc/$1/fd" -type l | wc -l
}

@test "after many connections no zombie, no program and no descriptor is left" {
	start_exec true
	both_launch() {
		"$tools/losscount" -P echo -m close -c 16 -n 32 "$address" >counted || true
		[ "$(launchers | wc -l)" -eq 2 ]
	}
	wait_until both_launch
	wait_until programs_are 0
	before=$(for pid in $(workers) $(launchers); do descriptors_of "$pid"; done | sort | tr '\n' ' ')
	start_time=$(workers)
	"$tools/losscount" -P echo -m close -b 1 -c 8 -n "$LASTCALL_PROGRAMS" -d 600000 "$address" >counted || true
	[ "$(counted connected)" -eq "$LASTCALL_PROGRAMS" ]
	wait_until programs_are 0
	for pid in $(workers) $(launchers); do
		[ -z "$(pgrep -P "$pid" -r Z)" ]
	done
	[ "$(workers)" = "$start_time" ]
	same_descriptors() {
		[ "$(for pid in $(workers) $(launchers); do descriptors_of "$pid"; done | sort | tr '\n' ' ')" = "$before" ]
	}
	wait_until same_descriptors
}

@test "workers that are replaced after max-requests lose no program's connection" {
	top='max-requests 20;'
	service 'command cat;'
	"$tools/losscount" -P echo -m close -c 8 -n 200 -T 30000 "$address" >counted
	nothing_lost
	[ "$(counted answered)" -eq 200 ]
}

# ---- beside other services

@test "the start of a launcher costs no client of another service anything" {
	configuration="workers 1; service s http { root site; } service x exec { command echo bye; }
		listen 127.0.0.1:0 -> s; listen 127.0.0.1:0 -> x;"
	is_posix || is_sanitized || as="strace -f -qq -o /dev/null -e trace=close_range -e inject=close_range:delay_enter=300000"
	for ((i = 1; i <= 3; i++)); do
		start_conf "$configuration"
		programs=${addresses[1]}
		load_begin -m close -c 60 -t /1k.txt -e 1000 -d 1500
		[ "$(socat -u "TCP:$programs" -)" = bye ]
		load_end
		nothing_lost
		wait_until none_is_open
		# It may be a tracer's child, and not ours.
		kill -TERM "$server"
		wait_until test ! -e "/proc/$server"
	done
}

none_is_open() {
	[ "$("$lastcall" status --json | grep -o '"connections": *[0-9]*' | grep -cv '[^0-9]0$')" -eq 0 ]
}

@test "a connection that a stray process keeps does not stay in the loop of its worker" {
	configuration="workers 1; log-level info; service s http { root site; } service x exec { command sh -c \"setsid -f sh -c 'echo \$\$ >$work/run/stray; exec sleep 1000'; while ! [ -s $work/run/stray ]; do :; done; echo bye\"; }
		listen 127.0.0.1:0 -> s; listen 127.0.0.1:0 -> x;"
	start_conf "$configuration"
	[ "$(socat -u "TCP:${addresses[1]}" -)" = bye ]
	wait_until test -s "$work/run/stray"
	stray=$(cat "$work/run/stray")
	wait_until none_is_open
	worker=$(workers)
	before=$(sed 's/.*) //' "/proc/$worker/stat" | awk '{ print $12 + $13 }')
	sleep 1
	[ "$(($(sed 's/.*) //' "/proc/$worker/stat" | awk '{ print $12 + $13 }') - before))" -lt 20 ]
	curl -sf -m 10 "http://$address/" >/dev/null
	kill -KILL "$stray"
	wait_until none_is_open
}

@test "a client of a Unix socket that sends and closes is a client like any other" {
	start_conf "workers 1; service x exec { command sh -c \"cat >>$work/run/got\"; } listen unix:$work/run/x.sock -> x;"
	for ((i = 1; i <= 20; i++)); do
		printf 'line %s\n' "$i" | socat -u - "UNIX-CONNECT:$work/run/x.sock"
	done
	wait_until has_lines "$work/run/got" 20
}

@test "a program whose timeout is over is ended by QUIT all the same" {
	start_conf "workers 1; service x exec { command sh -c \"trap '' TERM; echo \$\$; while :; do sleep 1; done\"; timeout 200ms; end-delay 40s; } listen 127.0.0.1:0 -> x;"
	socat -u "TCP:$address" - >told 3>&- &
	background+=($!)
	wait_until test -s told
	program=$(cat told)
	sleep 0.5 # its timeout, and TERM, which it ignores
	[ -e "/proc/$program" ]
	stop_server QUIT
	[ "$ended" -eq 3 ]
	wait_until test ! -e "/proc/$program"
	run ! grep -q 'worker .* was killed by signal 9' "$log"
}
