#!/usr/bin/env bats
# Strict reading of requests: a table of raw requests with the exact answer to each, and the clients that are slow or too large
# for it. What each single head or body means to the parsers is in tests/unit.

load helper

setup() {
	common_setup
	talk=$tools/talk
	crlf='\r\n'
	host="Host: x$crlf"
	chunked="POST / HTTP/1.1$crlf${host}Transfer-Encoding: chunked$crlf$crlf"
}

teardown() {
	common_teardown
}

# exchange OPTION…: every row of the table, against a site that is what the table says.
exchange() {
	printf 'probe\n' >site/probe.txt
	mkdir site/dir
	touch -d '2024-02-29 12:34:56 UTC' site/index.html site/probe.txt
	start_conf 'service site http { root site; max-body 1000; header-timeout 60s; access-log access; }
		workers 2;
		listen 127.0.0.1:0 -> site;'
	"$tools/exchange" "$@" "$address" "$BATS_TEST_DIRNAME/requests.table" >rows || {
		head -n 100 rows
		tail -n 1 rows
		return 1
	}
	tail -n 1 rows
	[ "$(sed -n 's/ rows, 0 failed$//p' rows)" -ge 200 ]
	same_workers
	# Nothing of a body or of what was refused was taken for a request, and the log has only bytes that can be shown.
	run ! grep 'GET /evil' access
	run ! env LC_ALL=C grep -n '[^ -~]' access
}

# None of them died.
same_workers() {
	[ "$(workers | sort | tr '\n' ' ')" = "$(sort "$work/workers" | tr '\n' ' ')" ]
}

# start_strict OPTIONS: a site with these options and two workers.
start_strict() {
	start_conf "service site http { root site; $1 }
		workers 2;
		listen 127.0.0.1:0 -> site;"
}

# post LENGTH: the head of a POST with so much behind it.
post() {
	printf '%s' "POST / HTTP/1.1$crlf${host}Content-Length: $1$crlf$crlf"
}

# times COUNT TEXT: the text so many times.
times() {
	printf "%.0s$2" $(seq "$1")
}

# ---- the table ----

@test "each request of the table gets its exact answer, and is refused with the end of the connection or not at all" {
	exchange
}

@test "each request of the table gets the same answer when it comes one byte at a time" {
	exchange -b
}

@test "each request of the table gets the same answer behind a good request in the same write" {
	exchange -p
}

@test "each request of the table gets the same answer behind a good request, one byte at a time" {
	exchange -b -p
}

@test "a driver that is told wrong answers says so" {
	start_site
	cat >table <<-'END'
		text before OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n
		text probe OPTIONS * HTTP/1.0\r\n\r\n
		text kept Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n
		text closed Connection: close\r\n
		answer probe HTTP/1.1 204 No Content\r\nServer: lastcall\r\nDate: {date}\r\nAllow: {line}\r\n{connection}\r\n
		answer other HTTP/1.1 204 No Content\r\nServer: lastcall\r\nDate: {date}\r\nAllow: {line}\r\n{connection}\r\n.
		keep probe {before}
		close probe {before}
		keep probe {probe}
		keep other {before}
		keep probe,probe {before}
		keep - {before}
		half - {before}
		close - {before}
	END
	run -1 "$tools/exchange" "$address" table
	[ "${lines[-1]}" = "8 rows, 7 failed" ]
	[[ "$output" != *"table:7:"* ]]
}

@test "requests with faults at random places get the same answers whole and in pieces" {
	start_site
	"$tools/pieces" -n $((500 * LASTCALL_ROUNDS)) "$address" >counts || {
		cat counts
		return 1
	}
	# It has seen good ones and refusals of each kind.
	for status in 200 204 400 404 405 414 431; do
		grep -q "^status_$status=" counts
	done
	same_workers
}

# ---- bodies that come slowly ----

@test "a body that comes at min-body-rate is read for longer than header-timeout" {
	start_strict 'header-timeout 1s; min-body-rate 50;'
	how=$("$talk" -q "$address" "send:$(post 500)" "drip:5:$(times 500 x)" "send:GET / HTTP/1.1$crlf${host}Connection: close$crlf$crlf" read)
	ends eof=1 status_405=1 status_200=1
	took 2400 30000
	how=$("$talk" -q "$address" "send:$chunked" "drip:5:$(times 80 '1\\r\\nx\\r\\n')0$crlf$crlf" \
		"send:GET / HTTP/1.1$crlf${host}Connection: close$crlf$crlf" read)
	ends eof=1 status_405=1 status_200=1
	took 2400 30000
}

@test "a body that comes at less than min-body-rate is 408, chunked or not" {
	start_strict 'header-timeout 1s; min-body-rate 1k;'
	how=$("$talk" -q -c 20 -t 30000 "$address" "send:$(post 4000)" "drip:5:$(times 4000 x)" read)
	ends eof=20 status_408=20
	took 950 10000
	how=$("$talk" -q -c 20 -t 30000 "$address" "send:$chunked" "drip:5:$(times 600 '1\\r\\nx\\r\\n')" read)
	ends eof=20 status_408=20
	took 950 10000
}

@test "a body that stops is 408 after header-timeout, however much of it has come" {
	start_strict 'header-timeout 1s; min-body-rate 1k;'
	how=$("$talk" -q -t 30000 "$address" "send:$(post 60001)" fill:60000:x read)
	ends eof=1 status_408=1
	took 950 10000
	how=$("$talk" -q -t 30000 "$address" "send:${chunked}ea61$crlf" fill:60000:x read)
	ends eof=1 status_408=1
	took 950 10000
	# In the middle of what is around the data.
	for part in 5 "5$crlf" "5${crlf}hello" "5;a=\"" "0$crlf" "0${crlf}X: y$crlf"; do
		how=$("$talk" -q -t 30000 "$address" "send:$chunked$part" read)
		ends eof=1 status_408=1
	done
}

@test "200 clients that trickle bodies for ever hold nobody up" {
	start_strict 'header-timeout 1s;'
	load_begin -c 5 -m keep -t /1k.txt -e 1000 -d 60000
	how=$("$talk" -q -c 200 -t 30000 "$address" "send:$chunked" "drip:100:0${crlf}X: $(times 200 y)" read)
	kill -TERM "$load_pid"
	load_end
	nothing_lost
	ends eof=200 status_408=200
	took 950 10000
}

@test "clients that send chunks without end hold nobody up" {
	start_conf 'service site http { root site; max-body 1g; }
		workers 1;
		listen 127.0.0.1:0 -> site;'
	"$talk" -q -c 4 -t 20000 "$address" "send:$chunked" "flood:3000:1${crlf}x$crlf" >/dev/null 2>&1 3>&- &
	background+=($!)
	curl -sS -o /dev/null -w '%{time_total}\n' "http://$address/1k.txt?[1-50]" >"$work/seconds"
	[ "$(awk '$1 < 1' "$work/seconds" | wc -l)" -eq 50 ]
	kill -0 "${background[-1]}"
	kill "${background[-1]}"
	same_workers
}

@test "a stop waits for a body that is on its way, and answers" {
	start_strict ''
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf '%b' "${chunked}5${crlf}hel" >&6
	wait_until connection_is_known
	kill -TERM "$server"
	wait_until grep -q 'last call' "$log"
	printf '%b' "lo${crlf}0$crlf$crlf" >&6
	said=$(timeout 20 cat <&6 | tr -d '\r')
	exec 6>&-
	[[ "$said" == "HTTP/1.1 405 "*$'\n'"Connection: close"$'\n'* ]]
	end_server
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
}

# A worker has accepted it.
connection_is_known() {
	[ "$("$lastcall" status --json | tr -d ' \n' | grep -o '"connections":[0-9]*' | head -n 1)" != '"connections":0' ]
}

# ---- giants ----

@test "a client that goes on sending reads the whole refusal, whatever it is refused for" {
	start_site
	for request in 'GET /' "GET / HTTP/1.1$crlf$host" "${chunked}10001$crlf" "${chunked}5 $crlf" "${chunked}1;" "${chunked}0$crlf" \
		"POST / HTTP/1.1$crlf${host}Expect: 100-continue${crlf}Content-Length: 1000$crlf$crlf" "$(post 99999999)"; do
		how=$("$talk" -q -c 5 -n 4 -t 30000 "$address" deaf "send:$request" fill:1048576:x read)
		ends eof=20 reset=0 timeout=0
		[ "$(sed -n 's/^status_4..=//p' <<<"$how")" -eq 20 ]
	done
	same_workers
}

@test "a client that goes on sending for seconds reads the refusal too, but not for ever" {
	start_site
	"$talk" -q -t 30000 "$address" deaf "send:$(post 99999999)" "drip:100:$(times 250 x)" >"$work/endless" 2>&1 3>&- &
	background+=($!)
	how=$("$talk" -q -c 5 -t 30000 "$address" deaf "send:$(post 99999999)" "drip:100:$(times 45 x)" read)
	ends eof=5 reset=0 status_413=5
	took 4400 30000
	# One that never stops is closed all the same.
	wait "${background[-1]}"
	how=$(cat "$work/endless")
	ends reset=1
	took 9000 20000
}

@test "a stop does not wait for one who was refused and goes on sending" {
	start_site
	"$talk" -q -t 30000 "$address" deaf "send:$(post 99999999)" "drip:100:$(times 250 x)" >/dev/null 2>&1 3>&- &
	background+=($!)
	wait_until connection_is_known
	begun=$SECONDS
	stop_server
	[ $((SECONDS - begun)) -le 7 ]
	[ "$ended" -eq 0 ]
	[ "$(receipt_number cut)" -eq 0 ]
}

@test "bodies of 16 MiB, of one piece and of millions, are read in bounded memory" {
	start_strict 'max-body 16m;'
	before=$(workers_memory)
	how=$("$talk" -q -c 10 -t 60000 "$address" "send:$(post 16777216)" fill:16777216:x \
		"send:GET / HTTP/1.1$crlf${host}Connection: close$crlf$crlf" read)
	ends eof=10 status_405=10 status_200=10
	how=$("$talk" -q -c 10 -t 60000 "$address" "send:$chunked" "fill:2000000:1${crlf}x$crlf" \
		"send:0$crlf${crlf}GET / HTTP/1.1$crlf${host}Connection: close$crlf$crlf" read)
	ends eof=10 status_405=10 status_200=10
	grown=$(($(workers_memory) - before))
	echo "grown by $grown KiB"
	# Two buffers each, a slot, and what a worker touches once.
	[ $grown -lt $((10 * 40 + 2000)) ]
	same_workers
}
