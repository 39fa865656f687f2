#!/usr/bin/env bats
# The command line: what each command says, to whom, and with which exit status; that every form of address is bound,
# printed and answers; and that a start that fails leaves nothing behind.

load helper

setup() {
	common_setup
	chmod 777 "$work" # what runs as nobody makes files there, too
	daemon=''
}

teardown() {
	if [ -n "$daemon" ]; then
		kill -KILL "$daemon" 2>/dev/null || true
	fi
	common_teardown
}

# says STATUS TEXT WORD…: `lastcall WORD…` exits with it, says so on standard error, and nothing on standard output.
says() {
	local expected=$1 text=$2
	shift 2
	run "-$expected" --separate-stderr timeout 15 "$lastcall" "$@"
	[ -z "$output" ]
	# shellcheck disable=SC2154
	if [[ "$stderr" != *"$text"* ]]; then
		echo "said: $stderr"
		return 1
	fi
}

# As `start`, with the lines of standard output in ./out: as=into_out start …
into_out() {
	exec "$@" >"$work/out"
}

# answers URL-OR-OPTIONS…: curl gets the page.
answers() {
	[ "$(curl -s --max-time 10 "$@")" = "hello, and welcome" ]
}

# Processes with this test's folder in their command line.
running() {
	pgrep -f "$work/" | sort
}

nobody_runs() {
	[ -z "$(running)" ]
}

# fails_cleanly TEXT ADDR: a server that has a Unix socket and a pid file already cannot have this address: it says so,
# with status 1, and both are gone again.
fails_cleanly() {
	local before
	before=$(running)
	# shellcheck disable=SC2086
	run -1 --separate-stderr timeout 15 ${who:-} "$lastcall" run -l "unix:$work/first" echo -l "$2" echo -p "$work/pid"
	if [ "$stderr" != "lastcall: error: cannot listen on $1" ]; then
		echo "said: $stderr"
		return 1
	fi
	[ -z "$output" ]
	[ ! -e first ]
	[ ! -e pid ]
	[ "$(running)" = "$before" ]
}

# ---- help and usage ----

@test "--help lists every command and service on standard output, status 0" {
	for word in --help -h help; do
		run -0 --separate-stderr "$lastcall" $word
		[ -z "$stderr" ]
		for text in serve run check stop echo http; do
			[[ "$output" == *" $text "* ]]
		done
	done
}

@test "--help of each command shows its usage and its options on standard output, status 0" {
	commands=$("$lastcall" --help | sed -n 's/^  lastcall \([a-z]\+\) .*/\1/p')
	[ "$(wc -l <<<"$commands")" -ge 4 ]
	for command in $commands; do
		for word in --help -h; do
			run -0 --separate-stderr "$lastcall" "$command" $word
			[ -z "$stderr" ]
			[[ "$output" == "usage: lastcall $command"* ]]
			[[ "$output" == *"-h, --help"* ]]
		done
	done
}

@test "the help of serve names the default address" {
	run -0 "$lastcall" serve --help
	[[ "$output" == *"default: *:8080"* ]]
}

@test "--version is one line with the version and what it is built on" {
	run -0 --separate-stderr "$lastcall" --version
	[[ "$output" =~ ^lastcall\ [0-9]+\.[0-9]+\.[0-9]+\ \((linux,\ epoll|posix,\ poll)\)$ ]]
	[ -z "$stderr" ]
}

@test "without a command the help goes to standard error, status 2" {
	says 2 'lastcall serve'
}

@test "an unknown command is named, with the nearest one, status 2" {
	says 2 'unknown command "sevre"; did you mean "serve"?' sevre
	says 2 'unknown command "chekc"; did you mean "check"?' chekc
	says 2 'unknown command "frobnicate"' frobnicate
	[[ "$stderr" != *"did you mean"* ]]
	says 2 'unknown command ""' ''
	says 2 'unknown command "--wrong"' --wrong
}

@test "an unknown option is named with the usage of its command, status 2" {
	says 2 'run: unknown option --wrokers' run --wrokers 3
	[[ "$stderr" == *"usage: lastcall run"* ]]
	says 2 'serve: unknown option -x' serve -x
	# Those of another command are unknown, too.
	says 2 'serve: unknown option -d' serve -d
	says 2 'check: unknown option -w' check -w 2
	says 2 'stop: unknown option -l' stop -l :0
	says 2 'run: unknown option --now' run --now
	says 2 'run: unknown option --workersx=2' run --workersx=2
}

@test "a missing value is said, status 2" {
	for option in -l -c -p -u -e -w --ready-fd --listen --config --workers; do
		says 2 "run: $option wants a value" run $option
	done
	says 2 'run: -l :0: what is to be served there?' run -l :0
	says 2 'run: -l :0: what is to be served there?' run -l :0 -w 2
	says 2 'run: --detach takes no value' run --detach=1
}

@test "a number that is none, or out of range, is said with the range, status 2" {
	for number in 0 257 x '' -1 2x 99999999999999999999 1.5; do
		says 2 "serve: -w: \"$number\" is not a number from 1 to 256" serve -w "$number"
	done
	says 2 '--workers=0: "0" is not a number from 1 to 256' serve --workers=0
	says 2 'run: --ready-fd: "-1" is not a number from 3' run -l :0 echo --ready-fd -1
	# 0, 1 and 2 have their uses; the log would go to what is opened in the place of a closed 2.
	says 2 'run: --ready-fd: "2" is not a number from 3' run -l :0 echo --ready-fd 2
}

@test "a word too many is said, status 2" {
	says 2 'serve: unexpected "b"' serve a b
	says 2 'run: unexpected "echo"' run echo
	says 2 'check: unexpected "lastcall.conf"' check lastcall.conf
}

@test "what cannot be served is said, status 2, and starts nothing" {
	says 2 'root "' serve "$work/absent"
	[[ "$stderr" == *'there is no such folder'* ]]
	says 2 'unknown service "bogus"' run -l :0 bogus
	says 2 'root "' run -l :0 http "$work/site/index.html"
	[[ "$stderr" == *'it is not a folder'* ]]
	says 2 'user "no-such-user"' run -l :0 echo -u no-such-user
	nobody_runs
}

@test "a user that one may not become is a clear error, status 2" {
	[ "$(id -u)" -ne 0 ] || as=$unprivileged
	# shellcheck disable=SC2086
	run -2 --separate-stderr timeout 15 $as "$lastcall" run -l 127.0.0.1:0 echo -u root
	[ "$stderr" = 'lastcall: error: user "root": only root can run its workers as somebody else' ]
}

@test "a log that cannot be opened is a clear error, status 2, and nothing is left" {
	mkdir closed
	chmod 555 closed
	# shellcheck disable=SC2086
	run -2 --separate-stderr timeout 15 $unprivileged "$lastcall" run -l "unix:$work/sock" echo -p "$work/pid" \
		-e "$work/closed/log"
	[ "$stderr" = "lastcall: error: error-log $work/closed/log: Permission denied" ]
	says 2 "error-log \"$work/site\": it is a folder" run -l "unix:$work/sock" echo -p "$work/pid" -e "$work/site"
	[ ! -e sock ]
	[ ! -e pid ]
	nobody_runs
}

@test "run without anything to serve says so, status 2" {
	printf 'workers 2;\n' >empty.conf
	says 2 'nothing to serve: there is no listen' run -c empty.conf
	if [ ! -e /etc/lastcall/lastcall.conf ]; then
		says 2 '/etc/lastcall/lastcall.conf: error: No such file or directory' run
		says 2 '/etc/lastcall/lastcall.conf: error: No such file or directory' check
	fi
	says 2 "$work/absent.conf: error: No such file or directory" run -c "$work/absent.conf"
}

@test "a bad configuration starts nothing: status 2, file, line and column, for run and for check" {
	printf 'workers 2;\npid-file %s;\nlisten unix:%s -> echo;\n    lissten 80;\n' "$work/pid" "$work/sock" >bad.conf
	for command in run check; do
		says 2 'bad.conf:4:5: error: unknown directive "lissten"; did you mean "listen"?' $command -c bad.conf
	done
	[ ! -e pid ]
	[ ! -e sock ]
	nobody_runs
}

@test "check says ok on standard output and what there is; it binds and makes nothing" {
	printf '%s\n' 'service site http { root site; }' "pid-file $work/pid;" "listen unix:$work/sock -> site;" \
		"listen 192.0.2.1:80 -> echo;" >good.conf
	run -0 --separate-stderr "$lastcall" check -c good.conf
	[ "$output" = "good.conf: ok, 2 services, 2 listeners" ]
	[ -z "$stderr" ]
	[ ! -e pid ]
	[ ! -e sock ]
}

# ---- what is printed, and answers ----

@test "serve without a folder serves the current one" {
	cd site
	start serve -l 127.0.0.1:0 -w 1
	answers "http://$address/"
	stop_server TERM
	[ "$ended" -eq 0 ]
}

@test "serve takes several addresses, and a folder anywhere among the options" {
	as=into_out start serve -l 127.0.0.1:0 site -l 127.0.0.1:0 -w 1 -l "unix:$work/sock"
	[ "${#addresses[@]}" -eq 3 ]
	[ "$(sed -n 2p out)" = "listening ${addresses[1]} http http://${addresses[1]}/" ]
	answers "http://${addresses[0]}/"
	answers "http://${addresses[1]}/"
	answers --unix-socket sock http://x/
	stop_server TERM
	[ "$ended" -eq 0 ]
}

@test "serve without an address listens on *:8080, and says so" {
	unshare -n true 2>/dev/null || skip "wants a network namespace, where that port is free"
	as='unshare -n' start serve -w 1 site
	[ "$address" = '*:8080' ]
	stop_server TERM
	[ "$ended" -eq 0 ]
}

@test "run takes several -l, each with its service and argument" {
	mkdir other
	echo other >other/index.html
	as=into_out start run -w 1 -l 127.0.0.1:0 http site -l 127.0.0.1:0 echo -l 127.0.0.1:0 http other
	[ "$(sed 's/[0-9]\+/N/g' out)" = "$(printf '%s\n' 'listening N.N.N.N:N http http://N.N.N.N:N/' \
		'listening N.N.N.N:N echo' 'listening N.N.N.N:N http http://N.N.N.N:N/' 'ready N')" ]
	answers "http://${addresses[0]}/"
	"$tools/losscount" -P echo -n 5 -c 1 "${addresses[1]}" >/dev/null
	[ "$(curl -s "http://${addresses[2]}/")" = other ]
	stop_server TERM
	[ "$ended" -eq 0 ]
}

@test "run takes -l beside a configuration, with a service of it" {
	start_conf 'service site http { root site; } workers 1; listen 127.0.0.1:0 -> echo;' -l 127.0.0.1:0 site
	[ "${#addresses[@]}" -eq 2 ]
	"$tools/losscount" -P echo -n 5 -c 1 "${addresses[0]}" >/dev/null
	answers "http://${addresses[1]}/"
	stop_server TERM
}

# form ADDR PRINTED URL SEEN…: this address is printed as a line that matches, and each SEEN of it (PORT stands for its
# port) answers, by both services.
form() {
	local written=$1 printed=$2 url=$3 line seen
	shift 3
	as=into_out start run -w 1 -l "$written" http site -l "${written/first/second}" echo
	line=$(head -n 1 out)
	if ! [[ "$line" =~ ^listening\ ($printed)\ http${url:+ }($url)$ ]]; then
		echo "printed: $line"
		return 1
	fi
	for seen; do
		if [[ $seen = unix:* ]]; then
			answers --unix-socket "${seen#unix:}" http://x/
			"$tools/losscount" -P echo -n 5 -c 1 "${seen/first/second}" >/dev/null
		else
			answers "http://${seen/PORT/${addresses[0]##*:}}/"
			"$tools/losscount" -P echo -n 5 -c 1 "${seen/PORT/${addresses[1]##*:}}" >/dev/null
		fi
	done
	if [[ -n "$url" ]]; then
		answers "$(sed -n '1s/.* //p' out)"
	fi
	stop_server TERM
	[ "$ended" -eq 0 ]
}

@test "an IPv4 address is printed and answers" {
	form 127.0.0.1:0 '127\.0\.0\.1:[1-9][0-9]*' 'http://127\.0\.0\.1:[1-9][0-9]*/' 127.0.0.1:PORT
}

@test "every IPv4 address: 0.0.0.0 is printed and answers" {
	form 0.0.0.0:0 '0\.0\.0\.0:[1-9][0-9]*' 'http://localhost:[1-9][0-9]*/' 127.0.0.1:PORT 127.0.0.2:PORT
}

@test "an IPv6 address is printed and answers" {
	form '[::1]:0' '\[::1\]:[1-9][0-9]*' 'http://\[::1\]:[1-9][0-9]*/' '[::1]:PORT'
}

@test "every IPv6 address: [::] is printed, answers over IPv6, and not over IPv4" {
	form '[::]:0' '\[::\]:[1-9][0-9]*' 'http://localhost:[1-9][0-9]*/' '[::1]:PORT'
	start run -w 1 -l '[::]:0' http site
	run -7 curl -s --max-time 10 "http://127.0.0.1:${address##*:}/"
	stop_server TERM
}

@test "a port alone, :PORT and *:PORT are dual-stack: printed as *, and answer over IPv4 and IPv6" {
	for written in :0 '*:0' 0; do
		form "$written" '\*:[1-9][0-9]*' 'http://localhost:[1-9][0-9]*/' 127.0.0.1:PORT '[::1]:PORT'
	done
}

@test "a name is resolved: localhost is printed as the address that it has, and answers" {
	form localhost:0 '(127\.0\.0\.1|\[::1\]):[1-9][0-9]*' 'http://(127\.0\.0\.1|\[::1\]):[1-9][0-9]*/'
	start run -w 1 -l localhost:0 http site -l localhost:0 echo
	answers "http://localhost:${addresses[0]##*:}/"
	"$tools/losscount" -P echo -n 5 -c 1 "${addresses[1]}" >/dev/null
	stop_server TERM
}

@test "a Unix socket is printed with its whole path and answers, also when it was written relative" {
	form "unix:$work/first.sock" "unix:$work/first\.sock" '' "unix:$work/first.sock"
	form unix:first.sock "unix:$work/first\.sock" '' "unix:$work/first.sock"
	form unix:./first.sock "unix:$work/first\.sock" '' "unix:$work/first.sock"
	[ ! -e first.sock ]
	[ ! -e second.sock ]
}

@test "a relative Unix path in a configuration starts from the folder of the file" {
	mkdir sub
	echo 'workers 1; listen unix:sock -> echo;' >sub/lastcall.conf
	start run -c sub/lastcall.conf
	[ "$address" = "unix:$work/sub/sock" ]
	"$tools/losscount" -P echo -n 5 -c 1 "$address" >/dev/null
	stop_server TERM
	[ ! -e sub/sock ]
}

@test "a Unix path that a dead server left is taken over; a living one, or a file, is not" {
	start run -w 1 -l "unix:$work/sock" http site
	old=$server
	fails_cleanly "unix:$work/sock: Address already in use" "unix:$work/sock"
	answers --unix-socket sock http://x/
	orphan=$(workers)
	stop_server KILL
	wait_until process_is_gone "$orphan"
	[ -S sock ]
	start run -w 1 -l "unix:$work/sock" http site
	[ "$server" != "$old" ]
	answers --unix-socket sock http://x/
	stop_server TERM
	[ ! -e sock ]
	echo precious >sock
	fails_cleanly "unix:$work/sock: Address already in use" "unix:$work/sock"
	[ "$(cat sock)" = precious ]
}

# Gone, or a zombie that only waits for whoever adopted it.
process_is_gone() {
	[ ! -e "/proc/$1" ] || [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)" = Z ]
}

# ---- addresses that cannot be had ----

@test "fd:NAME that nobody passed is a clear error, status 1, and nothing is left" {
	says 1 'cannot listen on fd:web: no socket of that name was passed' run -l "unix:$work/first" echo -l fd:web echo -p "$work/pid"
	[ ! -e first ]
	[ ! -e pid ]
	nobody_runs
}

@test "an address in use is a clear error that names it, and nothing is left" {
	start run -w 1 -l 127.0.0.1:0 echo
	fails_cleanly "$address: Address already in use" "$address"
	"$tools/losscount" -P echo -n 5 -c 1 "$address" >/dev/null
	stop_server TERM
	[ "$ended" -eq 0 ]
}

# overlap STATUS FIRST SECOND: beside a server at FIRST, another one at SECOND with the same port starts (0) or says that it
# is in use (1). Of both in one configuration check thinks the same.
overlap() {
	local first second
	start run -w 1 -l "$2:0" echo
	second=$3:${address##*:}
	echo "listen $2:${address##*:} $second -> echo;" >overlap.conf
	run -"$((2 * $1))" timeout 15 "$lastcall" check -c overlap.conf
	[ "$1" -eq 0 ] || [[ "$output" == *" overlaps with "* ]]
	if [ "$1" -eq 0 ]; then
		first=$server
		start run -w 1 -l "$second" echo
		stop_server
		server=$first
	else
		run -1 timeout 15 "$lastcall" run -w 1 -l "$second" echo
		[[ "$output" == *"cannot listen on $second: Address already in use"* ]]
	fi
	stop_server
}

@test "what check calls an overlap of two addresses is one to the kernel, and nothing else is" {
	overlap 1 '*' 127.0.0.1
	overlap 1 127.0.0.1 '*'
	overlap 1 '*' 0.0.0.0
	overlap 1 0.0.0.0 127.0.0.1
	overlap 0 127.0.0.1 127.0.0.2
	[ -e /proc/net/if_inet6 ] || skip "the rest wants IPv6"
	overlap 1 '*' '[::1]'
	overlap 1 '*' '[::]'
	overlap 1 '[::]' '[::1]'
	overlap 0 '[::]' 0.0.0.0
	overlap 0 '[::]' 127.0.0.1
	overlap 0 0.0.0.0 '[::1]'
}

@test "an address that is not ours is a clear error that names it, and nothing is left" {
	fails_cleanly '192.0.2.1:0: Cannot assign requested address' 192.0.2.1:0
	fails_cleanly '[2001:db8::1]:0: Cannot assign requested address' '[2001:db8::1]:0'
}

# under TEXT: the caret below it.
under() {
	printf '^'
	printf '%*s' $((${#1} - 1)) '' | tr ' ' '~'
}

@test "all addresses that cannot be bound are named in one run, at their places in the file, and nothing is left" {
	local before name why nobody=no-such-host.invalid:0
	start run -w 1 -l 127.0.0.1:0 echo
	before=$(running)
	name=localhost:${address##*:}
	printf '%s\n' 'listen 127.0.0.1:0 unix:first -> echo;' "listen 192.0.2.1:0 $address -> echo;" 'include more.conf;' >bad.conf
	printf '%s\n' 'pid-file pid;' "  listen $name $nobody -> echo;" >more.conf
	run -1 --separate-stderr timeout 60 "$lastcall" run -c bad.conf -l 198.51.100.1:0 echo
	# What the resolver says differs from system to system.
	why=$(sed -n "s/.*$nobody: //p" <<<"$stderr")
	[ -n "$why" ]
	diff - <(echo "$stderr") <<-END
		bad.conf:2:8: error: cannot listen on 192.0.2.1:0: Cannot assign requested address
		    2 | listen 192.0.2.1:0 $address -> echo;
		      |        $(under 192.0.2.1:0)
		bad.conf:2:20: error: cannot listen on $address: Address already in use
		    2 | listen 192.0.2.1:0 $address -> echo;
		      |                    $(under "$address")
		more.conf:2:10: error: cannot listen on $name (127.0.0.1:${address##*:}): Address already in use
		    2 |   listen $name $nobody -> echo;
		      |          $(under "$name")
		more.conf:2:$((11 + ${#name})): error: cannot listen on $nobody: $why
		    2 |   listen $name $nobody -> echo;
		      |           ${name//?/ }$(under $nobody)
		lastcall: error: cannot listen on 198.51.100.1:0: Cannot assign requested address
	END
	[ -z "$output" ]
	[ ! -e first ]
	[ ! -e pid ]
	[ "$(running)" = "$before" ]
	stop_server
	[ "$ended" -eq 0 ]
}

@test "a name that nobody knows is a clear error that names it, and nothing is left" {
	run -1 --separate-stderr timeout 60 "$lastcall" run -l "unix:$work/first" echo -l no-such-host.invalid:0 echo
	[[ "$stderr" == "lastcall: error: cannot listen on no-such-host.invalid:0: "* ]]
	[ ! -e first ]
	nobody_runs
}

@test "a privileged port as nobody is a clear error that says what it wants, and nothing is left" {
	first=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 1024)
	[ "$first" -gt 79 ] || skip "every port is free to everybody here"
	who=$unprivileged
	fails_cleanly '127.0.0.1:79: Permission denied (a port below 1024 wants root or CAP_NET_BIND_SERVICE)' 127.0.0.1:79
}

@test "a Unix path in a folder that cannot be written is a clear error, and nothing is left" {
	mkdir closed
	chmod 555 closed
	who=$unprivileged
	fails_cleanly "unix:$work/closed/sock: Permission denied" "unix:$work/closed/sock"
}

@test "a malformed address is named with what is wrong about it, status 2" {
	for pair in nonsense 127.0.0.1 1.2.3:80 ::1:80 '[::1]' '[::1' :70000 :x http://localhost:80 unix: fd: \
		/tmp/sock '' 'a b:80' "unix:$(head -c 200 /dev/zero | tr '\0' x)"; do
		says 2 "-l: address \"$pair" run -l "$pair" echo
	done
	nobody_runs
}

# ---- --ready-fd ----

@test "--ready-fd gets the same lines as standard output, then end of file" {
	mkfifo ready
	"$lastcall" run -l 127.0.0.1:0 http site -l "unix:$work/sock" echo -w 2 --ready-fd 9 9>ready >out 2>log 3>&- &
	background+=($!)
	# To the end of file: neither the master nor a worker keeps it open.
	told=$(timeout 30 cat ready)
	[ "$told" = "$(cat out)" ]
	[ "$(wc -l <out)" -eq 3 ]
	[ "$(sed -n 3p out)" = "ready ${background[0]}" ]
	server=${background[0]}
	stop_server TERM
	[ "$ended" -eq 0 ]
}

@test "--ready-fd ends without a ready line when the start fails" {
	mkfifo ready
	"$lastcall" run -l 192.0.2.1:0 echo --ready-fd 9 9>ready >/dev/null 2>&1 3>&- &
	pid=$!
	[ -z "$(timeout 30 cat ready)" ]
	status=0
	wait $pid || status=$?
	[ "$status" -eq 1 ]
}

@test "--ready-fd that is not open is a clear error, status 2" {
	says 2 '--ready-fd 77: Bad file descriptor' run -l "unix:$work/sock" echo --ready-fd 77
	[ ! -e sock ]
}

@test "--ready-fd whose reader is gone does not prevent serving" {
	mkfifo gone
	exec 8<>gone
	exec 9>gone
	exec 8>&-
	"$lastcall" run -l 127.0.0.1:0 http site -w 1 --ready-fd 9 >out 2>log 3>&- &
	exec 9>&-
	server=$!
	wait_until grep -q ^ready out
	answers "$(sed -n 's/^listening .* //p' out)"
	stop_server TERM
	[ "$ended" -eq 0 ]
}

# ---- -d and stop ----

# start_daemon ADDR OPTION…: sets daemon and address. Its standard error is a file, for that is its log.
start_daemon() {
	timeout 30 "$lastcall" run -d -p "$work/pid" -l "$1" http site "${@:2}" >out 2>log.d 3>&-
	daemon=$(cat pid)
	address=$(sed -n 's/^listening \([^ ]*\) .*/\1/p' out)
}

@test "-d returns with 0 when it is ready: it serves, in a session of its own, with no zombie" {
	start_daemon 127.0.0.1:0 -w 2
	answers "http://$address/"
	[ "$(sed -n 's/^ready //p' out)" = "$daemon" ]
	[ "$(ps -o sid= -p "$daemon" | tr -d ' ')" = "$daemon" ]
	[ "$(ps -o ppid= -p "$daemon" | tr -d ' ')" != "$BASHPID" ]
	server=$daemon
	[ "$(pgrep -P "$daemon" | wc -l)" -eq "$(workers | wc -l)" ] # which leaves out zombies
	server=''
	[ "$(ps -o tty= -p "$daemon" | tr -d ' ')" = '?' ]
	run -0 "$lastcall" stop -p pid
	wait_until process_is_gone "$daemon"
}

@test "-d keeps nothing of its caller open: what it prints has an end" {
	mkfifo lines
	timeout 10 cat lines >told 3>&- &
	reader=$!
	timeout 30 "$lastcall" run -d -l 127.0.0.1:0 echo -w 2 -p "$work/pid" >lines 2>log.d 3>&-
	daemon=$(cat pid)
	wait $reader
	[ "$(sed -n 's/^ready //p' told)" = "$daemon" ]
	for pid in "$daemon" $(pgrep -P "$daemon"); do
		[ "$(readlink "/proc/$pid/fd/0")" = /dev/null ]
		[ "$(readlink "/proc/$pid/fd/1")" = /dev/null ]
	done
	run -0 "$lastcall" stop -p pid
}

@test "stop prints the receipt and exits with 0 when everybody was answered" {
	start_daemon 127.0.0.1:0 -w 2
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET' >&6
	"$lastcall" stop -p pid >stopped 2>&1 3>&- 6>&- &
	stopper=$!
	wait_until port_is_free "${address##*:}"
	# It waits, as the server does.
	kill -0 $stopper
	printf ' / HTTP/1.1\r\nHost: x\r\n\r\n' >&6
	[[ "$(timeout 10 cat <&6)" == *"200 OK"* ]]
	exec 6>&-
	wait $stopper
	[[ "$(cat stopped)" =~ ^lastcall:\ drained\ in\ [0-9]+\ ms:\ 1\ answered,\ [01]\ of\ them\ from\ the\ queue,\ 0\ cut$ ]]
	[ ! -e pid ]
	wait_until process_is_gone "$daemon"
}

@test "stop --now cuts who is in and exits with 3" {
	start_daemon 127.0.0.1:0 -w 2
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET' >&6
	wait_until request_was_read
	run -3 "$lastcall" stop -p pid --now
	exec 6>&-
	[[ "$output" == "lastcall: drained in "*", 1 cut" ]]
	[ ! -e pid ]
}

request_was_read() {
	[ "$(ss -Htn state established "sport = :${address##*:}" | awk '{print $1}')" = 0 ]
}

@test "two stops at once both get the receipt" {
	start_daemon 127.0.0.1:0 -w 1
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET' >&6
	for i in 1 2; do
		"$lastcall" stop -p pid >stopped.$i 2>&1 3>&- 6>&- &
		stoppers[i]=$!
	done
	wait_until port_is_free "${address##*:}"
	wait_until both_wait
	printf ' / HTTP/1.1\r\nHost: x\r\n\r\n' >&6
	[[ "$(timeout 10 cat <&6)" == *"200 OK"* ]]
	exec 6>&-
	wait "${stoppers[1]}"
	wait "${stoppers[2]}"
	[ -s stopped.1 ]
	[ "$(cat stopped.1)" = "$(cat stopped.2)" ]
}

# Both stop commands wait for the lock.
both_wait() {
	[ "$(grep -c "FCNTL\|POSIX" <(grep -e '->' /proc/locks | grep ":$(stat -c %i pid) "))" -ge 2 ]
}

@test "-d exits with the status of a start that fails, and says why" {
	run -1 timeout 15 "$lastcall" run -d -l 192.0.2.1:0 echo -p "$work/pid"
	[[ "$output" == *"cannot listen on 192.0.2.1:0: Cannot assign requested address"* ]]
	[ ! -e pid ]
	run -2 timeout 15 "$lastcall" run -d -l :0 bogus
	run -2 timeout 15 "$lastcall" run -d -l 127.0.0.1:0 echo -e "$work/site"
	start_daemon 127.0.0.1:0 -w 1
	run -1 timeout 15 "$lastcall" run -d -l 127.0.0.1:0 echo -p "$work/pid"
	[[ "$output" == *"locked by a running lastcall, pid $daemon"* ]]
	run -0 "$lastcall" stop -p pid
}

@test "stop of one that is not there is status 1, of a configuration without a pid file status 2" {
	says 1 "stop: no lastcall is running at $work/control" stop
	says 1 "stop: $work/absent: No such file or directory" stop -p "$work/absent"
	echo 'workers 2;' >none.conf
	says 2 'names no pid-file' stop -c none.conf
	says 2 'none.conf.absent' stop -c none.conf.absent
}

@test "stop of a stale pid file, an empty one, or what is none, signals nobody and is status 1" {
	sleep 60 3>&- &
	background+=($!)
	for text in "$!" '' nonsense 1 -1 0; do
		echo "$text" >pid
		says 1 'no lastcall is running' stop -p pid
		says 1 'no lastcall is running' stop -p pid --now
	done
	kill -0 $!
	[ "$(ps -o stat= -p $! | cut -c 1)" = S ]
	rm pid
	mkfifo pid
	says 1 'stop: pid: ' stop -p pid
	rm pid
	mkdir pid
	says 1 'stop: pid: ' stop -p pid
}

@test "stop of one that is killed meanwhile says that there is no receipt, status 1" {
	start run -l 127.0.0.1:0 http site -w 1 -p "$work/pid"
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET' >&6
	"$lastcall" stop -p pid >stopped 2>&1 3>&- 6>&- &
	stopper=$!
	wait_until port_is_free "${address##*:}"
	stop_server KILL
	status=0
	wait $stopper || status=$?
	exec 6>&-
	[ "$status" -eq 1 ]
	[[ "$(cat stopped)" == "lastcall: error: stop: pid "*" ended without a receipt" ]]
}

@test "stop of somebody else's daemon is a clear error, status 1, and it serves on" {
	[ "$(id -u)" -eq 0 ] || skip "wants root, to be two users"
	start run -l 127.0.0.1:0 http site -w 1 -p "$work/pid"
	# shellcheck disable=SC2086
	run -1 $unprivileged "$lastcall" stop -p pid
	[ "$output" = "lastcall: error: stop: pid: Permission denied" ]
	answers "http://$address/"
	stop_server TERM
	[ "$ended" -eq 0 ]
}

# ---- descriptors and streams ----

@test "max-connections above the descriptor limit is explained, with the number that fits, status 1" {
	echo 'workers 2; max-connections 5000; listen 127.0.0.1:0 -> echo;' >lastcall.conf
	# shellcheck disable=SC2086
	run -1 --separate-stderr prlimit --nofile=1024:1024 $unprivileged "$lastcall" run -c lastcall.conf
	[[ "$stderr" =~ max-connections\ 5000\ needs\ ([0-9]+)\ descriptors\ and\ the\ limit\ is\ 1024:.*\ lower\ max-connections\ to\ ([0-9]+)$ ]]
	[ "${BASH_REMATCH[1]}" -gt 10000 ]
	fits=${BASH_REMATCH[2]}
	[ "$fits" -gt 16 ]
	# And that does fit.
	sed -i "s/5000/$fits/" lastcall.conf
	as="prlimit --nofile=1024:1024 $unprivileged" start run -c lastcall.conf
	"$tools/losscount" -P echo -n 5 -c 1 "$address" >/dev/null
	stop_server TERM
	[ "$ended" -eq 0 ]
}

@test "without max-connections it adapts to the descriptor limit" {
	as="prlimit --nofile=512:512 $unprivileged" start_site
	answers "http://$address/"
	# More clients than it may have at once: they wait, and get their answer.
	"$tools/losscount" -m close -c 300 -d 500 "$address" >counted
	grep -qx lost=0 counted
	stop_server TERM
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
}

@test "a descriptor limit that admits hardly anybody is explained with true numbers, status 1" {
	# shellcheck disable=SC2086
	run -1 --separate-stderr prlimit --nofile=200:200 $unprivileged "$lastcall" run -w 2 -l 127.0.0.1:0 echo
	[[ "$stderr" =~ max-connections\ 16\ needs\ ([0-9]+)\ descriptors\ and\ the\ limit\ is\ 200: ]]
	[ "${BASH_REMATCH[1]}" -gt 200 ]
	[ "${BASH_REMATCH[1]}" -lt 300 ]
}

@test "the soft descriptor limit does not matter where the hard one is higher" {
	as="prlimit --nofile=128:8192 $unprivileged" start run -w 100 -l 127.0.0.1:0 echo
	"$tools/losscount" -P echo -n 5 -c 1 "$address" >/dev/null
	stop_server TERM
	[ "$ended" -eq 0 ]
}

closed_streams() {
	exec "$@" <&- >&- 2>&-
}

@test "closed standard streams at the start corrupt nothing" {
	as=closed_streams start run -w 2 -l 127.0.0.1:0 http site -l 127.0.0.1:0 echo -l "unix:$work/sock" http site
	for fd in 0 1 2; do
		[ "$(readlink "/proc/$server/fd/$fd")" = /dev/null ]
		for pid in $(workers); do
			[ "$(readlink "/proc/$pid/fd/$fd")" = /dev/null ]
		done
	done
	# What would log, in the master and in a worker.
	kill -USR1 "$server"
	# shellcheck disable=SC2046
	kill -KILL $(workers | head -n 1)
	"$tools/losscount" -c 8 -m keep -e 1000 -t /1k.txt -d 500 "${addresses[0]}" >counted.http || true
	"$tools/losscount" -c 8 -m keep -P echo -d 500 "${addresses[1]}" >counted.echo || true
	grep -qx truncated=0 counted.http
	grep -qx truncated=0 counted.echo
	wait_until worker_count_is 2
	answers --unix-socket sock http://x/
	stop_server TERM
	[ "$ended" -eq 0 ]
}

@test "each single closed standard stream is filled with /dev/null" {
	without_0() { exec "$@" <&-; }
	without_1() { exec "$@" >&-; }
	without_2() { exec "$@" 2>&-; }
	for fd in 0 1 2; do
		as=without_$fd start run -w 1 -l 127.0.0.1:0 http site
		[ "$(readlink "/proc/$server/fd/$fd")" = /dev/null ]
		answers "http://$address/"
		stop_server TERM
		[ "$ended" -eq 0 ]
	done
}

# Standard output, and standard error too, is a pipe that nobody will read from.
into_broken_pipe() {
	mkfifo "$work/broken.$BASHPID"
	exec 8<>"$work/broken.$BASHPID"
	exec 7>"$work/broken.$BASHPID"
	exec 8>&-
	exec "$@" >&7 2>&1 7>&-
}

into_full_pipe() {
	mkfifo "$work/full.$BASHPID"
	exec 8<>"$work/full.$BASHPID"
	dd if=/dev/zero of="$work/full.$BASHPID" bs=4096 oflag=nonblock 2>/dev/null || true
	exec "$@" >&8 2>&1
}

into_full_disk() {
	exec "$@" >/dev/full 2>&1
}

@test "a standard output and error that are a broken pipe, a full pipe or a full disk do not prevent serving" {
	for sink in into_broken_pipe into_full_pipe into_full_disk; do
		as=$sink start run -w 2 -l 127.0.0.1:0 http site
		kill -USR1 "$server"
		# shellcheck disable=SC2046
		kill -KILL $(workers | head -n 1)
		answers "http://$address/"
		stop_server TERM
		[ "$ended" -eq 0 ]
	done
}

@test "umask is that of the Unix sockets that are made" {
	start_conf "umask 0007; workers 1; listen unix:$work/u.sock -> echo;"
	[ "$(stat -c %a "$work/u.sock")" = 770 ]
	if [ "$(id -u)" -eq 0 ]; then
		[ "$(stat -c %g "$work/u.sock")" = "$(id -g nobody)" ]
	fi
	stop_server
}

@test "of many servers that start on one Unix path at once, one gets it" {
	local pids=() winners=0
	for i in 1 2 3 4 5 6; do
		"$lastcall" run -l "unix:$work/one.sock" echo -w 1 >"$work/out.$i" 2>"$work/log.$i" 3>&- &
		pids+=($!)
		background+=($!)
	done
	wait_until eval '[ "$(cat "$work"/out.* "$work"/log.* | grep -cE "^ready|error:")" -ge 6 ]'
	winners=$(cat "$work"/out.* | grep -c '^ready')
	[ "$winners" -eq 1 ]
	[ -S "$work/one.sock" ]
}

@test "a log is not written through a link that somebody else made" {
	[ "$(id -u)" -eq 0 ] || skip "wants root"
	mkdir links
	ln -s "$work/victim" links/err.log
	chown -h 65534 links links/err.log
	run -2 timeout 10 "$lastcall" serve -l 127.0.0.1:0 -e links/err.log site
	[[ "$output" == *"error-log $work/links/err.log: "* ]]
	[ ! -e victim ]
}

@test "what make install installs is whole: the samples are good, the manual names the prefix" {
	make_install DESTDIR= PREFIX="$work/prefix"
	for file in lastcall.conf minimal.conf; do
		run -0 "$work/prefix/bin/lastcall" check -c "$work/prefix/share/doc/lastcall/$file"
	done
	grep -q "$work/prefix/share/lastcall/public" "$work/prefix/share/man/man8/lastcall.8"
}
