#!/usr/bin/env bats
# A stop that load balancers hear of first: health, and drain-delay.

load helper

setup() { common_setup; }
teardown() { common_teardown; }

# start_delayed DELAY [OPTION…]: a site with a health page, and that delay.
start_delayed() {
	local delay=$1
	shift
	touch access
	chmod 666 access
	start_conf "drain-delay $delay; grace 20s;
		service site http { root $work/site; health /healthz; access-log access; keepalive 2s; }
		listen 127.0.0.1:0 -> site;" -w 2 "$@"
}

health() {
	curl -s -o /dev/null -w '%{http_code}' "http://${1:-$address}/healthz"
}

health_is() {
	[ "$(health)" = "$1" ]
}

get() {
	curl -sf -m 10 "http://$address/"
}

server_state_is() {
	"$lastcall" status --json | sed -n 1p | grep -q "\"state\":\"$1\""
}

# delay_begun [SIGNAL]: sends it, and returns when the server is in its delay.
delay_begun() {
	kill "-${1:-TERM}" "$server"
	wait_until server_state_is delaying
}

# ---- health ----

@test "health: 200 and a short text while it serves, at that path and no other, without a line in the log" {
	start_delayed 0
	run -0 curl -si "http://$address/healthz"
	[[ $output == 'HTTP/1.1 200 OK'* ]]
	[[ $output == *'Cache-Control: no-store'* ]]
	[ "${lines[-1]}" = ok ]
	[ "$(curl -s -o /dev/null -w '%{http_code}' "http://$address/healthz?verbose=1")" = 200 ]
	[ "$(curl -sI -o /dev/null -w '%{http_code}' "http://$address/healthz")" = 200 ]
	[ ! -s access ]
	[ "$(curl -s -o /dev/null -w '%{http_code}' "http://$address/healthz/")" = 404 ]
	[ "$(curl -s -o /dev/null -w '%{http_code}' "http://$address/health")" = 404 ]
	[ "$(curl -s -o /dev/null -w '%{http_code}' -X POST "http://$address/healthz")" = 405 ]
	[ "$(wc -l <access)" -eq 3 ]
}

@test "health: it is asked for on a connection that is kept, between other requests" {
	start_delayed 0
	run -0 "$tools/talk" "$address" 'send:GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nHEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n' read
	[ "$(grep -o 'HTTP/1.1 200 OK' <<<"$output" | wc -l)" -eq 4 ]
	[ "$(grep -c '^ok' <<<"$output")" -eq 2 ]
}

@test "health: without the directive there is none, and a wrong one is an error" {
	start_site
	health_is 404
	for path in healthz '/h?x' '/h%41' '"/h z"'; do
		printf 'service a http { root site; health %s; }\nlisten :0 -> a;\n' "$path" >wrong.conf
		run -2 "$lastcall" check -c wrong.conf
		[[ $output == *'health is a path as in a request'* ]]
	done
}

@test "health: a worker that a reload replaces goes on saying 200" {
	start_delayed 0
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
	printf 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n' >&7
	read_answer
	"$lastcall" reload
	printf 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n' >&7
	read_answer
	[[ $answer == *'200 OK'*'Connection: close'* ]]
	exec 7>&-
	health_is 200
}

# Reads an answer of health from descriptor 7 to $answer.
read_answer() {
	local line
	answer=''
	while read -r -t 10 line <&7; do
		answer+="$line "
		case $line in
		ok | stopping) return 0 ;;
		esac
	done
	return 1
}

@test "health: 503 on a port that is being closed, for who is still connected" {
	start_delayed 0
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
	printf 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n' >&7
	read_answer
	opened=$("$lastcall" open 127.0.0.1:0 site)
	"$lastcall" close "$address"
	printf 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n' >&7
	read_answer
	[[ $answer == *'503 '*'Connection: close'* ]]
	exec 7>&-
	[ "$(health "$opened")" = 200 ]
}

@test "health: 503 during a stop without a delay, too" {
	start_delayed 0
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
	printf 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n' >&7
	read_answer
	kill -TERM "$server"
	wait_until port_is_free "${address##*:}"
	printf 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n' >&7
	read_answer
	[[ $answer == *'503 '* ]]
	exec 7>&-
	end_server
	[ "$ended" -eq 0 ]
}

# ---- drain-delay ----

@test "TERM: it goes on accepting and serving, and health says 503" {
	start_delayed 1h
	health_is 200
	delay_begun
	for _ in 1 2 3 4 5; do
		[ "$(get)" = 'hello, and welcome' ]
		health_is 503
	done
	run -0 curl -si "http://$address/healthz"
	[[ $output == 'HTTP/1.1 503 Service Unavailable'* ]]
	[ "${lines[-1]}" = stopping ]
	grep -q 'last call: TERM; serving on for 3600000 ms (drain-delay)' "$log"
}

@test "HUP and USR2 in the delay leave a line that says why nothing came of them" {
	start_delayed 1h
	delay_begun
	kill -HUP "$server"
	wait_until grep -qx 'lastcall: error: reload: the server is stopping; going on as before' "$log"
	kill -USR2 "$server"
	wait_until grep -qx 'lastcall: error: upgrade: the server is stopping; going on as before' "$log"
	[ "$(get)" = 'hello, and welcome' ]
	stop_server QUIT
	[ "$ended" -eq 0 ]
}

# Clients that come and go through delay and stop.
loaded() {
	start_delayed 1s
	load_begin -c 20 -d 60000 -t /1k.txt -e 1000 "$@"
	delay_begun
	health_is 503
	before=$("$lastcall" status --json | sed -n '1s/.*"accepted":\([0-9]*\).*/\1/p')
	end_server
	load_end
	[ "$ended" -eq 0 ]
	[ "$load_status" -eq 0 ]
	nothing_lost
	[ "$(receipt_number cut)" -eq 0 ]
	# It was let in during the delay that this counts, and not before it.
	[ "$(counted connected)" -gt "$before" ]
	grep -q 'last call: drain-delay is over' "$log"
}

@test "under load delay and stop lose nothing: one request per connection" { loaded -m close; }
@test "under load delay and stop lose nothing: keep-alive" { loaded -m keep; }
@test "under load delay and stop lose nothing: keep-alive with idle time" { loaded -m idle -i 100; }

@test "answers of the delay are the last of their connections, so that balancers let go of them" {
	start_delayed 1h
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
	printf 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n' >&7
	read_answer
	[[ $answer == *'200 OK'*'Connection: keep-alive'* ]]
	delay_begun
	printf 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n' >&7
	read_answer
	[[ $answer == *'503 '*'Connection: close'* ]]
	exec 7>&-
	run -0 curl -si "http://$address/"
	[[ $output == *'Connection: close'* ]]
}

@test "a second TERM, and an INT after it, do not shorten the delay; a second INT cuts" {
	start_delayed 1h
	delay_begun
	for _ in 1 2 3; do
		kill -TERM "$server"
		[ "$(get)" = 'hello, and welcome' ]
	done
	kill -INT "$server"
	wait_until server_state_is delaying
	[ "$(get)" = 'hello, and welcome' ]
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
	printf 'GET /' >&7
	wait_until holds_connection
	kill -INT "$server"
	end_server
	exec 7>&-
	[ "$ended" -eq 3 ]
	[ "$(receipt_number cut)" -eq 1 ]
}

holds_connection() {
	"$lastcall" status --json | sed -n 1p | grep -q '"connections":1,'
}

@test "INT begins the delay too, and QUIT ends it at once" {
	start_delayed 1h
	delay_begun INT
	health_is 503
	kill -QUIT "$server"
	end_server
	[ "$ended" -eq 0 ]
}

@test "stop waits for delay and drain, and stop --now for neither" {
	start_delayed 300ms
	run -0 "$lastcall" stop
	[[ $output == *'0 cut'* ]]
	end_server
	[ "$ended" -eq 0 ]
	grep -q 'serving on for 300 ms' "$log"
	start_delayed 1h
	"$lastcall" stop >stopped 2>&1 3>&- &
	stopping=$!
	background+=($stopping)
	wait_until server_state_is delaying
	run -0 "$lastcall" stop --now
	wait $stopping
	grep -q '0 cut' stopped
	end_server
	[ "$ended" -eq 0 ]
}

@test "during the delay nothing is opened and nothing is reloaded; status, close and leases go on" {
	start_delayed 1h
	opened=$("$lastcall" open 127.0.0.1:0 site)
	mkfifo held
	exec 6<>held
	"$lastcall" lease 127.0.0.1:0 site <&6 >leased 2>&1 3>&- 6<&- &
	background+=($!)
	wait_until test -s leased
	leased=$(head -n 1 leased)
	delay_begun
	run -1 "$lastcall" open 127.0.0.1:0 site
	[[ $output == *'the server is stopping'* ]]
	run -1 "$lastcall" reload
	[[ $output == *'the server is stopping'* ]]
	kill -HUP "$server"
	[ "$(health "$leased")" = 503 ]
	run -0 "$lastcall" close "$opened"
	[ "$(get)" = 'hello, and welcome' ]
	run ! grep -q reloaded "$log"
	server_state_is delaying
	exec 6>&-
}

# hold OPTION…: strace of that, with every epoll_create1 of these processes two seconds longer: who was just born is not ready.
hold() {
	[[ $("$lastcall" --version) == *epoll* ]] || skip 'the poll loop makes no call that could be held'
	strace -f -qq -o /dev/null -e trace=epoll_create1 -e inject=epoll_create1:delay_enter=2000000 "$@" 3>&- &
	tracer=$!
	background+=($tracer)
}

@test "TERM during a reload: it is taken back, and the delay is that of the configuration in force" {
	start_delayed 1h
	before=$(workers)
	printf '%s\n' "drain-delay 0; service site http { root $work/site; } listen 127.0.0.1:0 -> site;" >lastcall.conf
	hold -p "$server"
	wait_until grep -q "TracerPid:.*$tracer" "/proc/$server/status"
	"$lastcall" reload >reloaded 2>&1 3>&- &
	reloading=$!
	background+=($reloading)
	wait_until more_workers_than 2
	kill -TERM "$server"
	reload_status=0
	wait $reloading || reload_status=$?
	[ "$reload_status" -eq 1 ]
	[[ "$(cat reloaded)" == *'the server is stopping' ]]
	server_state_is delaying
	kill "$tracer"
	wait "$tracer" || :
	[ "$(get)" = 'hello, and welcome' ]
	health_is 503
	wait_until workers_are "$before"
}

more_workers_than() {
	[ "$(workers | wc -l)" -gt "$1" ]
}

workers_are() {
	[ "$(workers)" = "$1" ]
}

@test "HUP and TERM at once: whichever is heard first, the delay begins" {
	start_delayed 1h
	kill -STOP "$server"
	kill -HUP "$server"
	kill -TERM "$server"
	kill -CONT "$server"
	wait_until server_state_is delaying
	[ "$(get)" = 'hello, and welcome' ]
	health_is 503
}

@test "a worker that dies in the delay is replaced, and its successor knows" {
	start_delayed 1h
	delay_begun
	killed=$(workers)
	# shellcheck disable=SC2086
	kill -KILL $killed
	wait_until all_new
	[ "$(get)" = 'hello, and welcome' ]
	for _ in 1 2 3 4 5 6; do
		health_is 503
	done
	server_state_is delaying
}

all_new() {
	local pid
	[ "$(workers | wc -l)" -eq 2 ] || return 1
	for pid in $killed; do
		[ ! -e "/proc/$pid" ] || return 1
	done
}

@test "what is scribbled over the word that says so does not outlive the next look of the master" {
	local fd
	start_delayed 1h
	delay_begun
	fd=$(find "/proc/$server/fd" \( -lname '*memfd:lastcall*' -o -lname '/dev/shm/lastcall-*' \) -print -quit)
	dd if=/dev/zero of="$fd" bs="$(stat -L -c %s "$fd")" count=1 conv=notrunc status=none
	wait_until health_is 503
	[ "$(get)" = 'hello, and welcome' ]
	server_state_is delaying
}

@test "the master killed in the delay: the workers close the port at once, and lose nobody" {
	start_delayed 1h
	load_begin -c 20 -d 60000 -t /1k.txt -e 1000 -m close
	delay_begun
	kill -KILL "$server"
	load_end
	[ "$load_status" -eq 0 ]
	nothing_lost
	wait_until port_is_free "${address##*:}"
}

@test "a server that is not ready yet has no delay" {
	printf '%s\n' "drain-delay 1h; service site http { root $work/site; } listen 127.0.0.1:0 -> site;" >lastcall.conf
	# A tracer is in the way of the sanitizer that looks for leaks.
	ASAN_OPTIONS=detect_leaks=0 hold "$lastcall" run -c lastcall.conf >started 2>log.early
	wait_until grep -q '^listening ' started
	server=$(pgrep -P "$tracer")
	kill -TERM "$server"
	server=''
	ended=0
	wait "$tracer" || ended=$?
	[ "$ended" -eq 0 ]
	run ! grep -q 'serving on' log.early
	grep -q 'last call: TERM' log.early
	run ! grep -q '^ready' started
}
