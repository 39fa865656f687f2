#!/usr/bin/env bats
# Logs: a line for each answer, exact, whole and harmless, and never in the way of serving.

# Each test is a subshell with its own variables, and the helper has some of them.
# shellcheck disable=SC2030,SC2031,SC2154
load helper

setup() {
	common_setup
	talk=$tools/talk
	crlf='\r\n'
	host="Host: x$crlf"
	end="Connection: close$crlf$crlf"
	access=$work/access.log
	mounts=()
	# The formats, byte by byte. A quoted part has printable ASCII but quote and backslash, or \xHH.
	local quoted='"([]!#-[^-~ ]|\\x[0-9a-f]{2})*"'
	common="^127\.0\.0\.1 - - \[[0-3][0-9]/[A-Z][a-z]{2}/[0-9]{4}:[0-2][0-9]:[0-5][0-9]:[0-6][0-9] \+0000\] $quoted [1-5][0-9]{2} [0-9]+"
	combined="$common $quoted $quoted\$"
	common="$common\$"
}

teardown() {
	local mount
	for mount in "${mounts[@]}"; do
		umount -l "$mount"
	done
	common_teardown
}

# start_logged OPTIONS: a site with an access log and these options.
start_logged() {
	start_conf "service site http { root site; access-log $access; ${1:-} }
		workers 2;
		listen 127.0.0.1:0 -> site;"
}

# get TARGET [FIELDS]: asks on a connection of its own.
get() {
	"$talk" "$address" "send:GET $1 HTTP/1.1$crlf$host${2:-}$end" read 2>/dev/null
}

lines_are() {
	[ "$(wc -l <"$access")" -eq "$1" ]
}

# all_match REGEX: each line of the access log, and there are some.
all_match() {
	[ -s "$access" ]
	if LC_ALL=C grep -avE "$1" "$access" | head -n 5 | grep .; then
		return 1
	fi
}

# tiny_disk: 64 KiB, at $work/disk.
tiny_disk() {
	[ "$(id -u)" -eq 0 ] || skip "wants root, to mount a small file system"
	mkdir "$work/disk"
	mount -t tmpfs -o size=64k lastcall-test "$work/disk" || skip "cannot mount"
	mounts+=("$work/disk")
	chmod 755 "$work/disk"
}

# served: somebody who asks is answered.
served() {
	[ "$(curl -sS -m 10 "http://$address/")" = "hello, and welcome" ]
}

# ---- the access log ----

@test "there is no access log unless one is asked for" {
	start_site
	served
	stop_server TERM
	[ "$(find "$work" -name '*access*')" = "" ]
	run ! grep -q GET "$log"
}

@test "the common format is exact, in every field" {
	start_logged
	get /index.html
	wait_until lines_are 1
	all_match "$common"
	[[ "$(cat "$access")" == '127.0.0.1 - - ['*'] "GET /index.html HTTP/1.1" 200 19' ]]
	at=$(sed 's/.*\[\(.*\)\].*/\1/;s,/, ,g;s/:/ /' "$access")
	age=$(($(date +%s) - $(date -d "$at" +%s)))
	[ $age -ge 0 ]
	[ $age -lt 15 ]
}

@test "the combined format is exact, and adds referer and user agent" {
	start_logged 'access-log-format combined;'
	get / "Referer: http://example.org/?a=b${crlf}User-Agent: talk/1.0 (x; y)$crlf"
	get /1k.txt
	wait_until lines_are 2
	all_match "$combined"
	[[ "$(sed -n 1p "$access")" == *'] "GET / HTTP/1.1" 200 19 "http://example.org/?a=b" "talk/1.0 (x; y)"' ]]
	[[ "$(sed -n 2p "$access")" == *'] "GET /1k.txt HTTP/1.1" 200 1000 "-" "-"' ]]
}

@test "goaccess reads both formats" {
	type -P goaccess >/dev/null || skip "there is no goaccess"
	for format in common combined; do
		rm -f "$access"
		start_logged "access-log-format $format;"
		for target in / /1k.txt /no '/a"b\c'; do
			get "$target" "Referer: http://x/$crlf"
		done
		wait_until lines_are 4
		goaccess "$access" --log-format="${format^^}" -o "$work/report.json" --no-progress
		[ "$(grep -o '"failed_requests": [0-9]*' "$work/report.json" | head -n 1)" = '"failed_requests": 0' ]
		stop_server TERM
	done
}

@test "there is one line for each answer, also for those that refuse, with its status and the bytes of its body" {
	mkdir site/sub site/empty
	head -c 300000 /dev/zero >site/big
	start_logged 'header-timeout 500ms;'
	talk_of=("GET / HTTP/1.1$crlf$host$end" "HEAD / HTTP/1.1$crlf$host$end" "GET /no HTTP/1.1$crlf$host$end"
		"GET /sub?q HTTP/1.1$crlf$host$end" "GET /empty/ HTTP/1.1$crlf$host$end" "POST / HTTP/1.1$crlf$host$end"
		"BREW / HTTP/1.1$crlf$host$end" "GET / HTTP/1.1$crlf${host}If-Modified-Since: Sun, 06 Nov 2094 08:49:37 GMT$crlf$end"
		"GET /%00 HTTP/1.1$crlf$host$end" "GET /big HTTP/1.1$crlf$host$end" "GET / HTTP/3.0$crlf$crlf" "GET /%20$crlf$crlf"
		"GET / HTTP/1.1$crlf$host$host$crlf" "POST / HTTP/1.1$crlf${host}Content-Length: 99999$crlf$crlf" "" "GET / HT")
	wanted=()
	for text in "${talk_of[@]}"; do
		answer=$("$talk" "$address" "send:$text" read 2>/dev/null | tr -d '\0' | wc -c)
		[ "$answer" -gt 0 ]
	done
	wait_until lines_are ${#talk_of[@]}
	all_match "$common"
	page='[1-9][0-9]*'
	i=0
	for wanted in '"GET / HTTP/1.1" 200 19' '"HEAD / HTTP/1.1" 200 0' "\"GET /no HTTP/1.1\" 404 $page" \
		"\"GET /sub\\?q HTTP/1.1\" 301 $page" "\"GET /empty/ HTTP/1.1\" 403 $page" "\"POST / HTTP/1.1\" 405 $page" \
		"\"BREW / HTTP/1.1\" 501 $page" '"GET / HTTP/1.1" 304 0' "\"GET /%00 HTTP/1.1\" 400 $page" \
		'"GET /big HTTP/1.1" 200 300000' "\"GET / HTTP/3.0\" 505 $page" "\"-\" 400 $page" \
		"\"GET / HTTP/1.1\" 400 $page" "\"POST / HTTP/1.1\" 413 $page" "\"-\" 408 $page" "\"-\" 408 $page"; do
		i=$((i + 1))
		sed -n ${i}p "$access" | grep -qE "\] $wanted\$" || {
			echo "line $i: wanted $wanted:" "$(sed -n ${i}p "$access")"
			false
		}
	done
}

@test "pipelined and kept requests have a line each, in order" {
	start_logged
	requests=''
	for i in {1..300}; do
		requests+="GET /$i HTTP/1.1$crlf$host$crlf"
	done
	"$talk" -q "$address" "send:$requests" "send:GET / HTTP/1.1$crlf$host$end" read >/dev/null
	wait_until lines_are 301
	all_match "$common"
	diff <(sed 's/.*GET .\([0-9]*\) HTTP.*/\1/' "$access" | head -n 300) <(seq 300)
}

@test "a download that is broken off has a line with the bytes that were sent" {
	head -c 30000000 /dev/zero >site/big
	start_logged
	"$talk" -q "$address" "send:GET /big HTTP/1.1$crlf$host$crlf" 'until:\r\n\r\n\x00\x00' reset >/dev/null
	wait_until lines_are 1
	all_match "$common"
	sent=$(awk '{ print $NF }' "$access")
	[ "$sent" -gt 0 ]
	[ "$sent" -lt 30000000 ]
}

@test "a client's bytes are escaped: quotes, backslashes, ESC, control characters, everything beyond ASCII" {
	start_logged 'access-log-format combined;'
	get '/a"b\\c' "Referer: a\"b\\\\c\\td$crlf"'User-Agent: \xc3\xa4\xff\x80" 200 1 "evil'"$crlf"
	"$talk" -q "$address" 'send:GET /\x1b[31m HTTP/1.1\r\n\r\n' read >/dev/null
	"$talk" -q "$address" 'send:GET /x\x0aGET /y HTTP/1.1\r\n\r\n' read >/dev/null
	wait_until lines_are 3
	all_match "$combined"
	[[ "$(sed -n 1p "$access")" == *'"GET /a\x22b\x5cc HTTP/1.1" 404 '*' "a\x22b\x5cc\x09d" "\xc3\xa4\xff\x80\x22 200 1 \x22evil"' ]]
	[ "$(LC_ALL=C tr -d '\n -~' <"$access" | wc -c)" -eq 0 ]
}

@test "overlong lines are cut in the client's parts, and stay whole lines" {
	start_logged 'access-log-format combined; max-header 12k;'
	long=$(head -c 3500 /dev/zero | tr '\0' a)
	bytes=$(printf '\\xff%.0s' {1..3000})
	get "/$long$long" "Referer: $bytes$crlf"
	get "/$long" "Referer: $long${crlf}User-Agent: $long$crlf"
	get / "User-Agent: $bytes$bytes$crlf"
	wait_until lines_are 3
	all_match "$combined"
	[ "$(wc -L <"$access")" -lt 4096 ]
}

@test "no line is ever torn: two workers, many clients, a file" {
	start_logged 'access-log-format combined;'
	clients=()
	for kind in a b c d; do
		"$tools/losscount" -c 20 -m close -t "/$kind$(head -c 700 /dev/zero | tr '\0' $kind)" -d 700 "$address" \
			>"$work/counted.$kind" 2>&1 3>&- &
		background+=($!)
		clients+=($!)
	done
	for pid in "${clients[@]}"; do
		wait "$pid"
	done
	answered=$(awk -F= '/^responses=/ { n += $2 } END { print n }' "$work"/counted.?)
	wait_until lines_are "$answered"
	all_match "$combined"
	run grep -vE '"GET /(a{701}|b{701}|c{701}|d{701}) HTTP/1.1" 414' "$access"
	head -n 5 <<<"$output"
	[ "$status" -eq 1 ]
}

@test "an access log can be a FIFO; what nobody reads in time is dropped and counted, and nobody waits for it" {
	mkfifo "$work/access.fifo"
	access=$work/access.fifo
	exec 5<>"$work/access.fifo"
	start_logged
	"$tools/losscount" -c 20 -m close -t /1k.txt -e 1000 -d 1000 "$address" >"$work/counted"
	nothing_lost
	wait_until grep -q 'the access log cannot be written' "$log"
	# Read what it held, then the next lines come, whole.
	timeout 1 cat <&5 >"$work/read" || true
	served
	wait_until grep -qE '[0-9]+ access log lines were dropped' "$log"
	timeout 1 cat <&5 >>"$work/read" || true
	exec 5>&-
	access=$work/read
	all_match "$common"
	grep -q '"GET / HTTP/1.1" 200 19' "$work/read"
	served
}

@test "an access log that nobody reads at the start is an error that says so" {
	mkfifo "$work/access.fifo"
	printf 'service site http { root site; access-log access.fifo; }\nlisten 127.0.0.1:0 -> site;\n' >lastcall.conf
	run -1 timeout 10 "$lastcall" run -c lastcall.conf
	[[ "$output" == *"nobody reads this pipe"* ]]
}

@test "an access log on a full disk: serving goes on, lines are counted, and it resumes when there is room" {
	tiny_disk
	access=$work/disk/access.log
	start_logged
	head -c 40000 /dev/zero >disk/filler
	"$tools/losscount" -c 20 -m close -t /1k.txt -e 1000 -d 1000 "$address" >"$work/counted"
	nothing_lost
	wait_until grep -q 'the access log cannot be written' "$log"
	rm disk/filler
	for _ in {1..20}; do
		served
	done
	wait_until grep -qE '[0-9]+ access log lines were dropped' "$log"
	grep -q '"GET / HTTP/1.1" 200 19$' "$access"
	# One torn line for each worker at most, and it is ended before the next.
	[ "$(LC_ALL=C grep -acvE "$common" "$access")" -le 4 ]
}

# ---- the error log ----

@test "standard error says lastcall, and the level of what is not ordinary" {
	start_site
	stop_server TERM
	grep -q '^lastcall: ready: pid' "$log"
	run ! grep -v '^lastcall: ' "$log"
}

@test "log-level decides what is written" {
	local level
	for level in error notice info; do
		start_conf "service site http { root site; }
			workers 2; log-level $level;
			listen 127.0.0.1:0 -> site;"
		kill -KILL "$(workers | head -n 1)"
		wait_until worker_count_is 2
		stop_server TERM
		case $level in
		error) run ! grep -E 'ready|gate|last call' "$log" ;;
		notice)
			grep -q 'ready: pid' "$log"
			run ! grep -q 'gate: ' "$log"
			;;
		info)
			grep -q 'ready: pid' "$log"
			grep -q 'gate: ' "$log"
			;;
		esac
	done
}

@test "error-log writes to a file, with date and pid on each line" {
	start_conf "service site http { root site; }
		workers 2; error-log $work/error.log;
		listen 127.0.0.1:0 -> site;"
	pid=$server
	stop_server TERM
	grep -qE "^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-9:]{8}Z \[$pid\] lastcall: ready: pid" error.log
	run ! grep -vE '^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-9:]{8}Z \[[0-9]+\] lastcall: ' error.log
}

@test "with standard error on a full disk it serves, and stops in order" {
	# The helper's log is where standard error goes; this one goes elsewhere.
	as='stderr_to /dev/full' start run -l 127.0.0.1:0 http site -w 2
	serves_through_trouble
	stop_server TERM
	[ "$ended" -eq 0 ]
}

# stderr_to FILE COMMAND…: used as a prefix of start.
stderr_to() {
	local file=$1
	shift
	exec "$@" 2>"$file"
}

# A worker dies, which is said, and everybody is served.
serves_through_trouble() {
	local i
	for i in 1 2 3; do
		kill -KILL "$(workers | head -n 1)"
		wait_until worker_count_is 2
		served
	done
	workers >>"$work/workers"
	served
}

@test "an error log on a full disk: serving goes on, the lines are counted, and it resumes when there is room" {
	tiny_disk
	start_conf "service site http { root site; }
		workers 2; error-log $work/disk/error.log;
		listen 127.0.0.1:0 -> site;"
	head -c 100000 /dev/zero >disk/filler 2>/dev/null || true
	# The file's own page has room; fill that too.
	head -c 4096 /dev/zero >>disk/error.log || true
	for _ in 1 2 3; do
		serves_through_trouble
	done
	rm disk/filler
	serves_through_trouble
	stop_server TERM
	[ "$ended" -eq 0 ]
	grep -aq 'log lines dropped' disk/error.log
	grep -aq 'drained in' disk/error.log
}

@test "standard error as a pipe that nobody reads fills up, and nobody waits for it" {
	mkfifo "$work/pipe"
	exec 5<>"$work/pipe"
	# Full but for less than a line.
	dd if=/dev/zero of="$work/pipe" bs=4096 oflag=nonblock status=none 2>/dev/null || true
	as="stderr_to $work/pipe" start run -l 127.0.0.1:0 http site -w 2
	serves_through_trouble
	stop_server TERM
	[ "$ended" -eq 0 ]
	exec 5>&-
}

# What is in the pipe.
emptied() {
	dd if="$work/pipe" bs=65536 iflag=nonblock status=none 2>/dev/null || true
}

# The last line of this is written when the reload is in force.
three_lines() {
	kill -TTIN "$server"
	wait_until worker_count_is 2
	kill -TTOU "$server"
	wait_until worker_count_is 1
	"$lastcall" reload
}

@test "lines that are dropped before a reload are told of after it: all, and by nobody else" {
	mkfifo "$work/pipe"
	exec 5<>"$work/pipe"
	as="stderr_to $work/pipe" start_conf 'service site http { root site; } workers 1; listen 127.0.0.1:0 -> site;'
	emptied >/dev/null
	three_lines
	said=$(emptied | grep -c '^lastcall: ')
	[ "$said" -ge 3 ]
	dd if=/dev/zero of="$work/pipe" bs=4096 oflag=nonblock status=none 2>/dev/null || true
	three_lines
	# Workers of another one are born with a log that has dropped lines; those are not theirs to tell of.
	"$lastcall" reload
	emptied >/dev/null
	# shellcheck disable=SC2046
	kill -KILL $(workers)
	stop_server
	[ "$ended" -eq 0 ]
	emptied >got
	[ "$(grep -c 'log lines dropped' got)" -eq 1 ]
	[ "$(sed -n 's/^lastcall: warning: \([0-9]*\) log lines dropped/\1/p' got)" -eq $((said + 1)) ]
	exec 5>&-
}

@test "standard error as a pipe whose reader is gone kills nobody" {
	mkfifo "$work/pipe"
	cat "$work/pipe" >/dev/null 3>&- &
	reader=$!
	as="stderr_to $work/pipe" start run -l 127.0.0.1:0 http site -w 2
	kill -KILL $reader
	wait $reader || true
	serves_through_trouble
	stop_server TERM
	[ "$ended" -eq 0 ]
}
