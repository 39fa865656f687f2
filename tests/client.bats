#!/usr/bin/env bats
# The commands that ask a running daemon: what each prints, to whom, and with which exit status; how they find the
# daemon; and what they say when it is not there or makes no sense.

load helper

setup() {
	common_setup
}

teardown() {
	common_teardown
}

# A daemon without listeners, with an endpoint of its own.
start_daemon() {
	start run -s "$work/control" -w 2 "$@"
}

# fails STATUS TEXT WORD…: `lastcall WORD…` exits with it, says so in one line on standard error, and nothing on standard
# output.
fails() {
	local expected=$1 text=$2
	shift 2
	run "-$expected" --separate-stderr timeout 20 "$lastcall" "$@"
	[ -z "$output" ]
	if [[ "$stderr" != "lastcall: error: $text"* ]]; then
		echo "said: $stderr"
		return 1
	fi
}

# prints PATTERN WORD…: `lastcall WORD…` exits with 0 and prints one line that matches, and nothing else.
prints() {
	local pattern=$1
	shift
	run -0 --separate-stderr timeout 20 "$lastcall" "$@"
	if [ -n "$stderr" ] || ! [[ "$output" =~ ^($pattern)$ ]]; then
		echo "printed: $output"
		echo "said: $stderr"
		return 1
	fi
}

answers() {
	[ "$(curl -s --max-time 10 "$@")" = "hello, and welcome" ]
}

# ---- open ----

@test "open prints the address bound and nothing else, and the port takes connections by then" {
	start_daemon
	for _ in 1 2 3 4 5; do
		prints '127\.0\.0\.1:[1-9][0-9]*' open 127.0.0.1:0 http site
		answers "http://$output/"
	done
	stop_server
	[ "$ended" -eq 0 ]
}

@test "a relative folder is the client's, wherever the daemon runs" {
	start_daemon
	mkdir -p elsewhere/site
	echo elsewhere >elsewhere/site/index.html
	cd elsewhere
	page=$("$lastcall" open 127.0.0.1:0 http ./site)
	[ "$(curl -s "http://$page/")" = elsewhere ]
}

@test "every form of address can be opened, and is printed as it is bound" {
	start_daemon
	for form in ':0 \*:[0-9]+ 127.0.0.1' '*:0 \*:[0-9]+ [::1]' '0 \*:[0-9]+ 127.0.0.1' \
		'0.0.0.0:0 0\.0\.0\.0:[0-9]+ 127.0.0.1' '[::1]:0 \[::1\]:[0-9]+ [::1]' '[::]:0 \[::\]:[0-9]+ [::1]' \
		'localhost:0 (127\.0\.0\.1|\[::1\]):[0-9]+ localhost'; do
		read -r written printed seen <<<"$form"
		prints "$printed" open "$written" http site
		answers "http://$seen:${output##*:}/"
		prints "$printed: closed in .*" close "$output"
	done
	prints "unix:$work/a\.sock" open unix:a.sock http site
	answers --unix-socket a.sock http://x/
	prints "unix:$work/b c\.sock" open 'unix:b c.sock' http site
	answers --unix-socket 'b c.sock' http://x/
	prints "unix:$work/a\.sock: closed in .*" close unix:./a.sock
	[ ! -e a.sock ]
}

@test "what stands behind ADDR is the service's, also what begins with a dash" {
	mkdir ./-h
	echo dash >./-h/index.html
	start_daemon
	prints '127\.0\.0\.1:[0-9]*' open 127.0.0.1:0 http -h
	[ "$(curl -s "http://$output/")" = dash ]
	prints '127\.0\.0\.1:[0-9]*' open -- 127.0.0.1:0 http -h
	fails 2 'open: unknown option -x' open -x 127.0.0.1:0 http -h
}

@test "a service of the configuration can be opened by its name" {
	start_conf "control $work/control; workers 1; service page http { root site; }"
	prints '127\.0\.0\.1:[0-9]*' open 127.0.0.1:0 page
	answers "http://$output/"
}

@test "what cannot be opened is said, status 1" {
	start_daemon -l 127.0.0.1:0 echo
	fails 1 'open: ' open "$address" http site
	[[ "$stderr" == *in\ use* ]]
	fails 1 'open: ' open 192.0.2.1:0 echo
	fails 1 'open: ' open 127.0.0.1:0 nonsense
	[[ "$stderr" == *nonsense* ]]
	fails 1 'open: ' open 127.0.0.1:0 http absent
	fails 1 'open: no-such-host.invalid:80: ' open no-such-host.invalid:80 echo
	fails 1 'open: it is too long to be asked' open 127.0.0.1:0 http "$(head -c 5000 /dev/zero | tr '\0' x)"
}

# ---- close, cancel ----

@test "close returns when the port is free and prints its receipt" {
	start_daemon
	opened=$("$lastcall" open 127.0.0.1:0 http site)
	"$tools/losscount" -m close -c 4 -n 12 "$opened" >/dev/null
	prints "$opened: closed in [0-9]+ ms: 12 accepted, 12 answered, 0 cut" close "$opened"
	port_is_free "${opened##*:}"
	prints "$opened" open "$opened" http site
	answers "http://$opened/"
}

@test "a close by the name that it was opened by, or by a relative path" {
	start_daemon
	opened=$("$lastcall" open localhost:0 echo)
	prints ".*: closed in .*" close "localhost:${opened##*:}"
	"$lastcall" open unix:a.sock echo
	prints "unix:$work/a\.sock: closed in .*" close unix:a.sock
}

# Opens a connection on descriptor 6 that has begun a request, when it was let in.
begin_request() {
	exec 6<>"/dev/tcp/127.0.0.1/${1##*:}"
	printf 'GET' >&6
	wait_until request_was_read "$1"
}

request_was_read() {
	[ "$(ss -Htn state established "sport = :${1##*:}" | awk '{print $1}')" = 0 ]
}

@test "connections that are open at a close are served on, and the receipt says how many" {
	start_daemon
	opened=$("$lastcall" open 127.0.0.1:0 http site)
	begin_request "$opened"
	prints "$opened: closed in [0-9]+ ms: 1 accepted, 0 answered, 0 cut, 1 still served" close "$opened"
	printf ' / HTTP/1.1\r\nHost: x\r\n\r\n' >&6
	[[ "$(timeout 10 cat <&6)" == *"200 OK"* ]]
	exec 6>&-
}

@test "close --now cuts what is open, close --grace cuts it later: status 3" {
	start_daemon
	for word in --now --grace=50ms; do
		opened=$("$lastcall" open 127.0.0.1:0 http site)
		begin_request "$opened"
		run -3 --separate-stderr timeout 20 "$lastcall" close $word "$opened"
		[[ "$output" == "$opened: closed in "*" ms: 1 accepted, 0 answered, 1 cut" ]]
		exec 6>&-
	done
	fails 2 'close: either --grace or --now' close --now --grace 1s :1
}

@test "close --grace waits for who is in" {
	start_daemon
	opened=$("$lastcall" open 127.0.0.1:0 http site)
	begin_request "$opened"
	"$lastcall" close --grace 20s "$opened" >closed 3>&- 6>&- &
	closer=$!
	wait_until port_is_free "${opened##*:}"
	kill -0 $closer
	printf ' / HTTP/1.1\r\nHost: x\r\n\r\n' >&6
	[[ "$(timeout 10 cat <&6)" == *"200 OK"* ]]
	exec 6>&-
	wait $closer
	[[ "$(cat closed)" == "$opened: closed in "*" ms: 1 accepted, 1 answered, 0 cut" ]]
}

@test "options of close may stand behind ADDR, for it takes no service" {
	start_daemon
	opened=$("$lastcall" open 127.0.0.1:0 echo)
	prints "$opened: closed in .*" close "$opened" --grace 1s
}

@test "closing what is not open names what is, status 1" {
	start_daemon
	opened=$("$lastcall" open 127.0.0.1:0 echo)
	fails 1 'close: ' close 127.0.0.1:1
	[[ "$stderr" == *"$opened"* ]]
	fails 1 'cancel: ' cancel 127.0.0.1:1
}

@test "cancel of what does not close is said, status 1" {
	start_daemon
	opened=$("$lastcall" open 127.0.0.1:0 echo)
	fails 1 'cancel: ' cancel "$opened"
	"$tools/losscount" -P echo -n 2 -c 1 "$opened" >/dev/null
}

# ---- status, ping, stop ----

@test "status shows the server in a line, then the listeners and the workers, each below its title" {
	start_daemon -l 127.0.0.1:0 http site
	opened=$("$lastcall" open 127.0.0.1:0 echo)
	answers "http://$address/"
	run -0 --separate-stderr "$lastcall" status
	[ -z "$stderr" ]
	[[ "${lines[0]}" =~ ^lastcall\ [0-9.]+,\ pid\ $server:\ serving,\ up\ [0-9a-z\ ]+,\ 2\ workers,\ 2\ listeners,\ [01]\ connections? ]]
	[[ "${lines[1]}" =~ ^ADDRESS\ +SERVICE\ +STATE\ +NOW\ +IN\ ALL\ +CUT\ +AGE\ +TTL\ +ORIGIN$ ]]
	[[ "$output" =~ $'\n'"$address "\ *http\ +open\ +[01]\ +1\ +0\ +[0-9a-z\ ]+\ +-\ +configuration$'\n' ]]
	[[ "$output" =~ $'\n'"$opened "\ *echo\ +open\ +0\ +0\ +0\ +[0-9a-z\ ]+\ +-\ +opened\ by\ pid\ [0-9]+,\ uid\ $(id -u)$'\n' ]]
	for pid in $(workers); do
		[[ "$output" =~ \ $pid\ +[0-9]+\ +serving\  ]]
	done
	# Aligned: the titles begin where the cells do.
	[ "$(grep -n . <<<"$output" | sed -n '2s/ORIGIN.*//p' | wc -c)" -eq "$(grep -n . <<<"$output" | sed -n '3s/configuration.*//p' | wc -c)" ]
}

@test "status --json is one object, with numbers as numbers and null for what is not known" {
	start_daemon -l 127.0.0.1:0 http site
	"$lastcall" open 'unix:a "b' echo
	run -0 --separate-stderr "$lastcall" status --json
	[ -z "$stderr" ]
	[[ "$output" == '{"server":{"pid":'"$server",* ]]
	[[ "$output" == *'"listeners":['*'{"address":"'"$address"'","service":"http",'*'"uid":null,'*'"url":"http://'* ]]
	[[ "$output" == *'"address":"unix:'"$work"'/a \"b",'* ]]
	[[ "$output" == *'"workers":['*'"slot":0,'*'}]}' ]]
	if command -v python3 >/dev/null; then
		python3 -m json.tool <<<"$output" >/dev/null
	fi
}

@test "status of a hundred ports tells all of them" {
	start_daemon
	for _ in {1..100}; do
		"$lastcall" open 127.0.0.1:0 echo
	done >opened
	"$lastcall" status >told
	[ "$(grep -c '^127\.0\.0\.1:' told)" -eq 100 ]
	[ "$(sort opened)" = "$(sed -n 's/^\(127[^ ]*\) .*/\1/p' told | sort)" ]
	[ "$("$lastcall" status --json | grep -c '^{"address":"127')" -eq 100 ]
}

@test "ping says nothing: status 0 when a daemon answers, 1 when there is none" {
	start_daemon
	run -0 "$lastcall" ping
	[ -z "$output" ]
	stop_server
	fails 1 "ping: no lastcall is running at $work/control" ping
}

@test "stop without a pid file asks at the endpoint, waits and prints the receipt" {
	start_daemon
	opened=$("$lastcall" open 127.0.0.1:0 http site)
	begin_request "$opened"
	"$lastcall" stop >stopped 3>&- 6>&- &
	stopper=$!
	wait_until port_is_free "${opened##*:}"
	kill -0 $stopper
	printf ' / HTTP/1.1\r\nHost: x\r\n\r\n' >&6
	[[ "$(timeout 10 cat <&6)" == *"200 OK"* ]]
	exec 6>&-
	wait $stopper
	[[ "$(cat stopped)" =~ ^lastcall:\ drained\ in\ [0-9]+\ ms:\ 1\ answered,\ 0\ of\ them\ from\ the\ queue,\ 0\ cut$ ]]
	end_server
	[ "$ended" -eq 0 ]
	[ ! -e control ]
}

@test "stop --now at the endpoint cuts: status 3" {
	start_daemon
	opened=$("$lastcall" open 127.0.0.1:0 http site)
	begin_request "$opened"
	run -3 timeout 20 "$lastcall" stop --now
	exec 6>&-
	[[ "$output" == "lastcall: drained in "*", 1 cut" ]]
	end_server
	[ "$ended" -eq 3 ]
}

# ---- finding the daemon ----

@test "every command says that no daemon is there, and where it looked, status 1" {
	for words in 'open :0 echo' 'close :1' 'cancel :1' 'lease :0 echo' 'status' 'status --json' ping stop 'stop --now'; do
		read -r command rest <<<"$words"
		# shellcheck disable=SC2086
		fails 1 "$command: no lastcall is running at $work/control" $command $rest
		# shellcheck disable=SC2086
		fails 1 "$command: no lastcall is running at other" $command -s other $rest
	done
	: >file
	fails 1 "ping: no lastcall is running at $work/file" ping -s "$work/file"
}

@test "without LASTCALL_CONTROL and XDG_RUNTIME_DIR it is asked where, status 1" {
	[ "$(id -u)" -ne 0 ] || as=$unprivileged
	# shellcheck disable=SC2086
	run -1 env -u LASTCALL_CONTROL -u XDG_RUNTIME_DIR $as "$lastcall" ping
	[[ "$output" == "lastcall: error: ping: where is the daemon? (-s ENDPOINT, LASTCALL_CONTROL"* ]]
	# shellcheck disable=SC2086
	run -1 env -u LASTCALL_CONTROL XDG_RUNTIME_DIR="$work/run" $as "$lastcall" ping
	[ "$output" = "lastcall: error: ping: no lastcall is running at $work/run/lastcall/control.sock" ]
}

@test "-s names a path, unix:PATH or an address, and counts more than LASTCALL_CONTROL" {
	start_daemon
	export LASTCALL_CONTROL=$work/nowhere
	for endpoint in "$work/control" control ./control "unix:$work/control" unix:control; do
		"$lastcall" ping -s "$endpoint"
		"$lastcall" ping --control="$endpoint"
	done
	fails 1 "ping: no lastcall is running at $work/nowhere" ping
	fails 1 'ping: no lastcall is running at 127.0.0.1:1' ping -s 127.0.0.1:1
	fails 2 'ping: endpoint "fd:x": it cannot be connected to' ping -s fd:x
	fails 2 'ping: endpoint ":0": port 0 is none' ping -s :0
	fails 2 'ping: endpoint "http://x:1": this is a URL' ping -s http://x:1
	fails 1 'ping: no-such-host.invalid:1: ' ping -s no-such-host.invalid:1
}

# A port that was free a moment ago.
free_port() {
	local probe
	probe=$("$lastcall" open 127.0.0.1:0 echo)
	"$lastcall" close "$probe" >/dev/null
	echo "${probe##*:}"
}

@test "over TCP the token is shown, and without the right one there is nothing" {
	start_daemon
	port=$(free_port)
	stop_server
	echo 'a secret, "quoted"' >token
	echo wrong >wrong
	chmod 600 token wrong
	printf 'control 127.0.0.1:%s { token-file %s; allow-services echo; }\nworkers 1;\n' "$port" "$work/token" >tcp.conf
	start run -c tcp.conf
	unset LASTCALL_CONTROL
	fails 2 "ping: 127.0.0.1:$port wants a token (--token-file FILE, or LASTCALL_TOKEN_FILE)" ping -s "127.0.0.1:$port"
	"$lastcall" ping -s "127.0.0.1:$port" --token-file token
	export LASTCALL_CONTROL=localhost:$port LASTCALL_TOKEN_FILE=$work/token
	"$lastcall" ping -s "127.0.0.1:$port"
	prints '127\.0\.0\.1:[0-9]*' open -s "127.0.0.1:$port" 127.0.0.1:0 echo
	"$tools/losscount" -P echo -n 2 -c 1 "$output" >/dev/null
	fails 1 'open: ' open -s "127.0.0.1:$port" 127.0.0.1:0 http site
	fails 1 "ping: 127.0.0.1:$port: " ping -s "127.0.0.1:$port" --token-file wrong
	fails 1 'ping: token file absent: No such file' ping -s "127.0.0.1:$port" --token-file absent
	: >empty
	fails 1 'ping: token file empty: it is empty' ping -s "127.0.0.1:$port" --token-file empty
}

@test "run and serve take an endpoint with -s, and none with --no-control" {
	start serve -l 127.0.0.1:0 -s "$work/one" site
	"$lastcall" ping -s one
	stop_server
	[ ! -e one ]
	printf 'control %s;\nworkers 1; listen 127.0.0.1:0 -> echo;\n' "$work/two" >two.conf
	start run -c two.conf
	"$lastcall" ping -s two
	fails 1 'ping: ' ping
	stop_server
	start run -c two.conf -s "$work/three"
	"$lastcall" ping -s three
	[ ! -e two ]
	stop_server
	start run -c two.conf --no-control
	[ ! -e two ]
	[ ! -e control ]
	stop_server
	# Nothing said: where the clients look, too.
	start run -l 127.0.0.1:0 echo
	"$lastcall" ping
	stop_server
	[ ! -e control ]
}

@test "an endpoint that cannot be is said, status 2" {
	for words in '-s fd:x' '-s host:1' '-s 127.0.0.1:1' '-s control --no-control' '-s control --token-file x' \
		'--token-file x'; do
		# shellcheck disable=SC2086
		run -2 --separate-stderr timeout 20 "$lastcall" run -l 127.0.0.1:0 echo $words
		[ -z "$output" ]
		[[ "$stderr" == "lastcall: error: "* ]]
	done
}

# ---- usage ----

@test "what is missing, too much or out of range is said with the usage of the command, status 2" {
	fails 2 'open: an address is missing' open
	[[ "$stderr" == *"usage: lastcall open "* ]]
	fails 2 'open: what is to be served there?' open :0
	fails 2 'open: address "nonsense": ' open nonsense echo
	fails 2 'close: which one? an address is missing' close
	fails 2 'close: unexpected "b"' close :1 b
	fails 2 'close: "5" needs a unit' close --grace 5 :1
	fails 2 'cancel: which one?' cancel
	fails 2 'status: unexpected "x"' status x
	fails 2 'ping: unknown option --json' ping --json
	fails 2 'stop: either -s, or a pid file' stop -s control -p pid
	fails 2 'lease: either -s or --private' lease -s control --private :0 echo
	fails 2 'lease: an address is missing' lease
	fails 2 'lease: an address is missing' lease -- true
	fails 2 'lease: what is to be served there?' lease :0 -- true
	fails 2 'lease: a command is missing after --' lease :0 echo --
	fails 2 'lease: 0 is out of range' lease --ttl 0 :0 echo
	fails 2 'lease: 10ms is out of range' lease --heartbeat 10ms :0 echo
	fails 2 'open: -s wants a value' open -s
}

# ---- a server that makes no sense ----

@test "a server that does not speak the protocol is an error and not believed, status 1" {
	start run --no-control -l "unix:$work/echo" echo -l "unix:$work/http" http site
	# What was asked comes back as the answer.
	fails 1 'ping: an unexpected answer: ping' ping -s echo
	fails 1 'open: an unexpected answer: open' open -s echo :0 echo
	fails 1 'status: ' status -s echo
	fails 1 'ping: an unexpected answer: HTTP/1.1' ping -s http
	fails 1 'lease: an unexpected answer: lease' lease -s echo :0 echo
	fails 125 'lease: an unexpected answer: lease' lease -s echo :0 echo -- true
}

@test "a server that is stopped is waited for up to ten seconds, status 1" {
	start_daemon
	kill -STOP "$server"
	SECONDS=0
	fails 1 "ping: $work/control: no answer in time" ping
	[ $SECONDS -ge 9 ]
	kill -CONT "$server"
	"$lastcall" ping
}

@test "an address that cannot be printed is an error, and its port is closed, for nobody would know of it" {
	start_daemon
	run -1 --separate-stderr bash -c '"$1" open 127.0.0.1:0 echo >/dev/full' - "$lastcall"
	[[ "$stderr" == "lastcall: error: open: standard output: "* ]]
	[[ "$("$lastcall" status)" == *", 0 listeners"* ]]
}
