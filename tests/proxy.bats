#!/usr/bin/env bats
# The PROXY protocol on a listener: who a client is by its header, and who is turned away.

load helper

setup() { common_setup; }
teardown() { common_teardown; }

v1='PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n'
signature='\x0d\x0a\x0d\x0a\x00\x0d\x0aQUIT\x0a'
v2=$signature'\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb'
request='GET / HTTP/1.0\r\n\r\n'

# start_proxied [BLOCK [OPTION…]]: a site behind proxies on this machine, with an access log.
start_proxied() {
	local block=${1:-proxy-protocol on; from 127.0.0.0/8;}
	shift $(($# > 0))
	touch access
	chmod 666 access
	start_conf "service site http { root $work/site; access-log access; } service mirror echo;
		listen 127.0.0.1:0 -> site { $block }" -w 2 "$@"
}

# The first column of the access log: who the clients were.
clients() {
	awk '{ print $1 }' access | tr '\n' ' '
}

# says STEP…: one connection; $output is what came, and the counters after it.
says() {
	run -0 "$tools/talk" -t 15000 "$address" "$@"
}

server_number() {
	"$lastcall" status --json | sed -n "1s/.*\"$1\":\([0-9]*\).*/\1/p"
}

turned_away_is() {
	[ "$(server_number turned_away)" = "$1" ]
}

@test "a header in one packet with the request: the client in the log is the one that it names" {
	start_proxied
	says "send:$v1$request" read
	[[ $output == *'hello, and welcome'* ]]
	says "send:$v2$request" read
	[[ $output == *'hello, and welcome'* ]]
	says "send:PROXY TCP6 2001:db8::7 ::1 1 2\r\n$request" read
	[[ $output == *'hello, and welcome'* ]]
	[ "$(clients)" = '192.0.2.7 192.0.2.7 2001:db8::7 ' ]
	[ "$(server_number requests)" -eq 3 ]
	turned_away_is 0
}

@test "the same byte by byte" {
	start_proxied
	for header in "$v1" "$v2"; do
		says "drip:1:$header$request" read
		[[ $output == *'hello, and welcome'* ]]
	done
	[ "$(clients)" = '192.0.2.7 192.0.2.7 ' ]
}

@test "a header is no part of what a keep-alive connection asks for, and there is one for all its requests" {
	start_proxied
	says "send:$v2" "send:GET / HTTP/1.1\r\nHost: a\r\n\r\n" until:welcome "send:GET /1k.txt HTTP/1.1\r\nHost: a\r\n\r\n" \
		until:xxxx "send:GET / HTTP/1.0\r\n\r\n" read
	[ "$(grep -o 'HTTP/1.1 200 OK' <<<"$output" | wc -l)" -eq 3 ]
	[ "$(clients)" = '192.0.2.7 192.0.2.7 192.0.2.7 ' ]
	# A second one is a request that cannot be understood.
	says "send:$v1$v1$request" read
	[[ $output == *'HTTP/1.1 400 '* ]]
}

@test "another service: every byte behind the header comes to it, in whatever pieces, and no byte of the header" {
	start_conf 'listen 127.0.0.1:0 -> echo { proxy-protocol on; from 127.0.0.1; }' -w 2
	for header in "$v1" "$v2"; do
		says "send:${header}PROXY or what \x00 it likes" half read
		[[ $output == *'PROXY or what '*' it likes'* ]]
		[[ $output != *TCP4* ]]
		[[ $output != *QUIT* ]]
		says "drip:1:${header}abc" half read
		[[ $output == *abc* ]]
		says "send:$header" send:abc until:abc send:def until:def half read
		[[ $output == *abcdef* ]]
	done
}

@test "LOCAL, UNKNOWN and families that say nothing keep the address of the connection" {
	start_proxied
	for header in 'PROXY UNKNOWN\r\n' 'PROXY UNKNOWN 192.0.2.7 what ever\r\n' "$signature\x20\x00\x00\x00" \
		"$signature\x20\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb" "$signature\x21\x00\x00\x00"; do
		says "send:$header$request" read
		[[ $output == *'hello, and welcome'* ]]
	done
	[ "$(clients)" = '127.0.0.1 127.0.0.1 127.0.0.1 127.0.0.1 127.0.0.1 ' ]
}

@test "extensions are skipped, all 65,535 bytes of them" {
	start_proxied
	# 12 of addresses, 3 before the value, and 65,520 of it.
	says "send:$signature\x21\x11\xff\xff\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb\x04\xff\xf0" 'fill:65520:\x00' \
		"send:$request" read
	[[ $output == *'hello, and welcome'* ]]
	[ "$(clients)" = '192.0.2.7 ' ]
}

@test "what does not begin with a header, or with a malformed one, never reaches the service" {
	start_proxied
	count=0
	for header in '' 'PROXY TCP4 192.0.2.7 198.51.100.1 56324 65536\r\n' 'PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n' \
		"PROXY UNKNOWN $(printf 'x%.0s' {1..100})" "$signature\x11\x11\x00\x0c" "$signature\x31\x11\x00\x0c" \
		"$signature\x22\x11\x00\x0c" "$signature\x21\x11\x00\x0b" "$signature\x21\x51\x00\x0c" '\x16\x03\x01\x02\x00'; do
		says "send:$header$request" read
		[[ $output != *HTTP/* ]]
		[[ $output == *'eof=1'* ]] || [[ $output == *'reset=1'* ]]
		count=$((count + 1))
	done
	turned_away_is $count
	# One that goes away within it is another; one that only looked whether somebody listens is none.
	says 'send:PROXY TCP4 192' half read
	says half read
	turned_away_is $((count + 1))
	[ "$(server_number requests)" -eq 0 ]
	[ ! -s access ]
	says "send:$v1$request" read
	[[ $output == *'hello, and welcome'* ]]
	grep -q 'service site: a connection of 127.0.0.1 was turned away: it did not begin with a PROXY header' "$log"
}

@test "whoever from does not name is closed at once and counted, and the log has a line and not a thousand" {
	start_proxied 'proxy-protocol on; from 10.0.0.0/8 ::1 unix;'
	says read
	[[ $output == *'eof=1'* ]] || [[ $output == *'reset=1'* ]]
	says "send:$v1$request" read
	[[ $output != *HTTP/* ]]
	run -0 "$tools/talk" -q -c 10 -n 20 "$address" read
	turned_away_is 202
	# One for each worker at the most.
	said=$(grep -c 'turned away: "from" does not name it' "$log")
	[ "$said" -ge 1 ]
	[ "$said" -le 2 ]
	[ ! -s access ]
	stop_server
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
}

@test "a header has its time, and a connection without one is closed when it is over" {
	start_proxied 'proxy-protocol on; from *; proxy-timeout 3s;'
	run -0 "$tools/talk" -q -t 15000 -c 5 "$address" send:PROXY read
	[[ $output == *'eof=5'* ]] || [[ $output == *'reset=5'* ]]
	[ "$(sed -n 's/^ms_min=//p' <<<"$output")" -ge 2900 ]
	turned_away_is 5
	# Whoever sends slowly has no more of it.
	run -0 "$tools/talk" -q -t 15000 "$address" "drip:200:$v1" read
	[[ $output == *'eof=1'* ]] || [[ $output == *'reset=1'* ]]
	turned_away_is 6
}

@test "a connection whose header has not come yet is drained like any other" {
	start_proxied
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}" 6<>"/dev/tcp/${address%:*}/${address##*:}"
	# shellcheck disable=SC2059
	printf "${v1:0:20}" >&7
	wait_until accepted_is 2
	kill -TERM "$server"
	wait_until port_is_free "${address##*:}"
	# shellcheck disable=SC2059
	printf "${v1:20}$request" >&7
	# shellcheck disable=SC2059
	printf "$v2$request" >&6
	timeout 10 grep -q welcome <&7
	timeout 10 grep -q welcome <&6
	exec 7>&- 6>&-
	end_server
	[ "$ended" -eq 0 ]
	[ "$(receipt)" = '2 answered, 0 of them from the queue, 0 cut' ]
	[ "$(clients)" = '192.0.2.7 192.0.2.7 ' ]
}

# Whether an HTTP client without a header is closed without an answer.
is_turned_away() {
	run curl -s "http://$address/"
	[ "$status" -eq 52 ] || [ "$status" -eq 56 ]
}

accepted_is() {
	[ "$(server_number accepted)" = "$1" ]
}

@test "load through headers, stopped in the middle: the receipts and the tallies are those of any other" {
	start_proxied
	run -0 "$tools/talk" -q -c 20 -n 20 "$address" "send:$v2$request" read
	[[ $output == *'eof=400'* ]]
	run -0 "$tools/talk" -q -c 5 -n 10 "$address" "send:$request" read
	run -0 "$lastcall" close --grace 5s "$address"
	[[ $output == *'450 accepted'* ]] || [[ $output == *'accepted 450'* ]] || { echo "$output" && false; }
	[[ $output == *'450 answered'* ]] || [[ $output == *'answered 450'* ]] || { echo "$output" && false; }
	[ "$(wc -l <access)" -eq 400 ]
	turned_away_is 50
}

@test "a Unix socket: its clients are \"unix\", and the log has who the header names" {
	touch access
	chmod 666 access
	start_conf "service site http { root $work/site; access-log access; }
		listen unix:$work/run/a.sock -> site { proxy-protocol on; from unix; }" -w 2
	socket=$work/run/a.sock
	run -0 "$tools/ctl" "$socket" "send:$v1$request" end
	[[ $output == *'hello, and welcome'* ]]
	run -0 "$tools/ctl" "$socket" "send:$signature\x21\x31\x00\xd8" 'fill:216:a' "send:$request" end
	[[ $output == *'hello, and welcome'* ]]
	[ "$(clients)" = '192.0.2.7 unix: ' ]
}

@test "IPv6, and IPv4 on a dual-stack socket: from knows both" {
	touch access
	chmod 666 access
	start_conf "service site http { root $work/site; access-log access; }
		listen *:0 -> site { proxy-protocol on; from ::1 127.0.0.0/8; }" -w 2
	port=${address##*:}
	for address in "127.0.0.1:$port" "[::1]:$port"; do
		says "send:$v2$request" read
		[[ $output == *'hello, and welcome'* ]]
	done
	[ "$(clients)" = '192.0.2.7 192.0.2.7 ' ]
}

@test "a reload that changes the block: the socket stays, and new workers go by what the file says now" {
	start_proxied
	inode=$(ss -Hltne "sport = :${address##*:}" | sed -n 's/.*ino:\([0-9]*\).*/\1/p')
	write_conf "listen 127.0.0.1:0 -> site;"
	run -0 "$lastcall" reload
	[ "$(curl -sf "http://$address/")" = 'hello, and welcome' ]
	write_conf "listen 127.0.0.1:0 -> site { proxy-protocol on; from 127.0.0.1; }"
	run -0 "$lastcall" reload
	is_turned_away
	[ "$(curl -sf --haproxy-protocol "http://$address/")" = 'hello, and welcome' ]
	[ "$(ss -Hltne "sport = :${address##*:}" | sed -n 's/.*ino:\([0-9]*\).*/\1/p')" = "$inode" ]
	"$lastcall" status --json | grep -q '"proxy_protocol":"on"'
	# One that is wrong, or cannot be had, changes nothing.
	write_conf "listen 127.0.0.1:0 -> site { proxy-protocol on; }"
	run -2 "$lastcall" reload
	write_conf "listen 127.0.0.1:0 -> site; listen 192.0.2.1:1 -> site;"
	run -1 "$lastcall" reload
	[ "$(curl -sf --haproxy-protocol "http://$address/")" = 'hello, and welcome' ]
	# A listener that is new with it, which workers get when they have their seats.
	write_conf "listen 127.0.0.1:0 -> site; listen 127.0.0.2:0 -> site { proxy-protocol on; from 127.0.0.0/8; }"
	run -0 "$lastcall" reload
	[ "$(curl -sf "http://$address/")" = 'hello, and welcome' ]
	address=$("$lastcall" status | grep -o '^127\.0\.0\.2:[0-9]*')
	is_turned_away
	says "send:$v2$request" read
	[[ $output == *'hello, and welcome'* ]]
}

write_conf() {
	printf '%s\n' "service site http { root $work/site; access-log access; } service mirror echo; $1" >lastcall.conf
}

@test "a worker that is born later goes by it too" {
	start_proxied
	killed=$(workers)
	# shellcheck disable=SC2086
	kill -KILL $killed
	wait_until all_new
	says "send:$v2$request" read
	[[ $output == *'hello, and welcome'* ]]
	says "send:$request" read
	[[ $output != *HTTP/* ]]
}

all_new() {
	local pid
	[ "$(workers | wc -l)" -eq 2 ] || return 1
	for pid in $killed; do
		[ ! -e "/proc/$pid" ] || return 1
	done
}

@test "a port that a client opens has no header, also for a service that has them elsewhere" {
	start_proxied
	opened=$("$lastcall" open 127.0.0.1:0 site)
	[ "$(curl -sf "http://$opened/")" = 'hello, and welcome' ]
	is_turned_away
}

@test "a flood of connections without a header costs no descriptor and no service" {
	start_proxied
	before=$(for pid in $(workers); do find "/proc/$pid/fd" -mindepth 1 | wc -l; done)
	run -0 "$tools/talk" -q -c 50 -n 20 "$address" 'random:300' read
	turned_away_is 1000
	wait_until workers_have_descriptors "$before"
	says "send:$v1$request" read
	[[ $output == *'hello, and welcome'* ]]
}

workers_have_descriptors() {
	[ "$(for pid in $(workers); do find "/proc/$pid/fd" -mindepth 1 | wc -l; done)" = "$1" ]
}

@test "configuration: the block is checked, whole" {
	printf 'listen 8080 -> echo { proxy-protocol on; }\nlisten 8081 -> echo {\n  from 10.1.0.0/8;\n}\n' >lastcall.conf
	run -2 "$lastcall" check -c lastcall.conf
	[[ $output == *'lastcall.conf:1:1: error: proxy-protocol needs "from"'* ]]
	[[ $output == *'lastcall.conf:3:8: error: '* ]]
}
