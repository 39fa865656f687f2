#!/usr/bin/env bats
# Slow clients, and giants: each deadline comes when it was promised, not before, and whoever is slow is slow alone.

# Each test is a subshell with its own variables, and the helper has some of them.
# shellcheck disable=SC2030,SC2031,SC2154
load helper

setup() {
	common_setup
	talk=$tools/talk
	crlf='\r\n'
	host="Host: x$crlf"
	get="GET / HTTP/1.1$crlf$host"
}

teardown() {
	common_teardown
}

# ---- heads and bodies that do not come ----

@test "a head that comes byte by byte has header-timeout in all, then it is 408" {
	start_with 'header-timeout 1s;'
	how=$("$talk" -q "$address" "drip:200:$get" read)
	ends eof=1 status_408=1
	took 950 5000
}

@test "a head that comes slowly but in time is answered" {
	start_with 'header-timeout 10s;'
	how=$("$talk" -q "$address" "drip:10:${get}Connection: close$crlf$crlf" read)
	ends eof=1 status_200=1
}

@test "a connection that never speaks is 408 after header-timeout" {
	start_with 'header-timeout 700ms;'
	how=$("$talk" -q -c 20 "$address" read)
	ends eof=20 status_408=20
	took 650 5000
}

# A worker with nothing to do turns its loop about once a second; the deadline must not begin with the turn before.
@test "a deadline begins when the connection does, however long the worker was idle" {
	start_with 'header-timeout 600ms;' 1
	for _ in {1..8}; do
		sleep 0.83
		how=$("$talk" -q "$address" wait:250 "send:${get}Connection: close$crlf$crlf" read)
		ends eof=1 status_200=1
	done
}

@test "each head has header-timeout of its own, on a kept connection too" {
	start_with 'header-timeout 1s;'
	how=$("$talk" -q "$address" "send:$get$crlf" 'until:welcome\n' "drip:200:$get" read)
	ends eof=1 status_200=1 status_408=1
	took 950 5000
	# Each of these heads takes most of the time, all of them more than it.
	how=$("$talk" -q "$address" 'send:G' wait:400 "send:${get#G}${crlf}G" wait:400 "send:${get#G}${crlf}G" wait:400 \
		"send:${get#G}${crlf}G" wait:400 "send:${get#G}Connection: close$crlf$crlf" read)
	ends eof=1 status_200=4
	[ -z "$(number status_408)" ]
}

@test "a body that does not come is 408 after header-timeout" {
	start_with 'header-timeout 1s;'
	how=$("$talk" -q "$address" "send:POST / HTTP/1.1$crlf${host}Content-Length: 100$crlf$crlf" \
		drip:200:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa read)
	ends eof=1 status_408=1
	took 950 5000
}

@test "slow clients that trickle for ever are gone after header-timeout, all 200 of them, and hold nobody up" {
	start_with 'header-timeout 1s;'
	load_begin -c 5 -m keep -t /1k.txt -e 1000 -d 60000
	how=$("$talk" -q -c 200 "$address" "drip:150:${get}X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy" read)
	kill -TERM "$load_pid"
	load_end
	nothing_lost
	[ "$(counted latency_max_ms)" -lt 3000 ]
	ends eof=200 status_408=200
	took 950 8000
}

# ---- readers ----

@test "a reader that reads nothing is cut after send-timeout" {
	head -c 30000000 /dev/zero >site/big
	start_with 'send-timeout 1s;'
	how=$("$talk" -q "$address" deaf "send:GET /big HTTP/1.1$crlf$host$crlf" wait:3500 read)
	ends done=0 timeout=0
	[ "$(number bytes)" -lt 30000000 ]
	[ "$(number status_200)" -eq 1 ]
}

@test "a reader that is slow but reads is not cut, and gets everything" {
	head -c 40000000 /dev/urandom >site/big
	start_with 'send-timeout 1s;'
	curl -sS -N "http://$address/big" | for _ in {1..20}; do
		sleep 0.1
		dd bs=100000 count=20 iflag=fullblock status=none
	done | cmp - site/big
}

@test "a reader that takes little at a time is not cut while it takes something" {
	! is_posix || skip 'the twin sees only when there is much room again'
	head -c 12000000 /dev/urandom >site/big
	for size in 0 16m; do
		start_with "send-timeout 1s; file-copies $size;"
		settle site/big
		# Both workers may have a copy after three.
		[ $size = 0 ] || curl -sS -o /dev/null "http://$address/big?[1-6]"
		for _ in 1 2; do
			# 3 s at 200 kB/s, which is less than a third of what the kernel holds in each second.
			python3 - "${address##*:}" >got <<-'END'
				import socket, sys, time
				s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
				s.sendall(b"GET /big HTTP/1.0\r\n\r\n")
				said = s.makefile("rb")
				for _ in range(30):
				    time.sleep(0.1)
				    sys.stdout.buffer.write(said.read(20000))
				sys.stdout.buffer.write(said.read())
			END
			tail -c 12000000 got | cmp - site/big
		done
		stop_server
	done
}

@test "pipelined answers that nobody reads end after send-timeout" {
	start_with 'send-timeout 1s;'
	# It asks for more than the buffers of the kernel hold, and reads only when the deadline is over.
	how=$("$talk" -q -t 20000 "$address" deaf "flood:4000:GET /1k.txt HTTP/1.1$crlf$host$crlf" read)
	ends done=0 timeout=0
}

@test "200 readers that read nothing cost bounded memory and hold nobody up" {
	head -c 30000000 /dev/zero >site/big
	start_with 'send-timeout 6s;'
	before=$(workers_memory)
	"$talk" -q -c 200 -t 20000 "$address" deaf "send:GET /big HTTP/1.1$crlf$host$crlf" wait:12000 reset \
		>"$work/slow" 2>&1 3>&- &
	background+=($!)
	wait_until connections_are 200
	how=$("$talk" -q -c 10 -n 50 "$address" "send:GET /1k.txt HTTP/1.1$crlf${host}Connection: close$crlf$crlf" read)
	ends eof=500 status_200=500
	# Long before the deadline that ends the others.
	[ "$(number ms_max)" -lt 5000 ]
	# At most two buffers each, and a slot.
	grown=$(($(workers_memory) - before))
	echo "grown by $grown KiB"
	[ $grown -lt $((200 * 40 + 2000)) ]
	# The deadline is over for all of them before they go away themselves.
	wait_until connections_are 0
	wait "${background[-1]}"
}

@test "a reader of one KiB now and then holds nobody up" {
	head -c 3000000 /dev/zero >site/big
	start_with '' 1
	"$talk" -q -c 50 -t 4000 "$address" "send:GET /big HTTP/1.1$crlf$host$crlf" sip:50 >/dev/null 2>&1 3>&- &
	background+=($!)
	how=$("$talk" -q -c 10 -n 50 "$address" "send:GET /1k.txt HTTP/1.1$crlf${host}Connection: close$crlf$crlf" read)
	ends eof=500 status_200=500
	[ "$(number ms_max)" -lt 3000 ]
	wait "${background[-1]}"
}

# ---- keep-alive ----

@test "an idle connection is closed in order after the time that was promised, and not before" {
	start_with 'keepalive 1s;'
	how=$("$talk" -q -c 20 "$address" "send:$get$crlf" read)
	ends eof=20 reset=0 status_200=20
	took 1000 6000
}

@test "an idle connection that is used again in time is answered, each time" {
	start_with 'keepalive 1s;'
	steps=()
	for _ in 1 2 3; do
		steps+=("send:$get$crlf" 'until:welcome\n' wait:900)
	done
	how=$("$talk" -q -c 20 "$address" "${steps[@]}" "send:${get}Connection: close$crlf$crlf" read)
	ends eof=20 status_200=80
}

@test "keepalive 0 closes after each answer" {
	start_with 'keepalive 0;'
	how=$("$talk" -q -t 5000 "$address" "send:$get$crlf" read)
	ends eof=1 status_200=1
	[ "$(curl -sS -o /dev/null -w '%{num_connects}' "http://$address/")" = 1 ]
	[[ "$(curl -sSi "http://$address/")" == *"Connection: close"* ]]
}

# ---- giants ----

@test "a file of 100 MB comes whole, and so it does for 50 clients at once" {
	head -c 100000000 /dev/urandom >site/giant
	start_site
	curl -sS "http://$address/giant" | cmp - site/giant
	sum=$(cksum <site/giant)
	# shellcheck disable=SC2016
	seq 50 | xargs -P 50 -I{} sh -c 'curl -sS -m 60 "http://$1/giant" | cksum' sh "$address" 3>&- >"$work/sums"
	[ "$(sort "$work/sums" | uniq -c | awk '{ print $1, $2, $3 }')" = "50 $sum" ]
}

@test "files at the edge of the cache, of a buffer and of a page, and the empty one, are right, once and again" {
	for size in 0 1 4095 4096 4097 8191 8192 8193 16367 16368 16369 65536 524287 524288 524289 1048577; do
		head -c $size /dev/urandom >site/$size
	done
	start_site
	# Fresh, at rest, and from the cache.
	for round in 1 2 3; do
		for file in site/[0-9]*[0-9]; do
			curl -sS "http://$address/${file#site/}" | cmp - "$file"
			[ "$(curl -sSI "http://$address/${file#site/}" | tr -d '\r' | sed -n 's/^Content-Length: //p')" = "${file#site/}" ]
		done
		[ $round != 1 ] || settle site/8192
	done
}

@test "idle connections hold no buffer: a slot each is all" {
	start_conf "service site http { root site; keepalive 60s; }
		workers 1;
		control $work/control;
		listen 127.0.0.1:0 -> site;"
	curl -sS "http://$address/1k.txt" >/dev/null
	before=$(workers_memory)
	"$talk" -q -c 1000 -t 30000 "$address" "send:GET /1k.txt HTTP/1.1$crlf$host$crlf" 'until:\r\n\r\n' wait:4000 reset \
		>"$work/idle" 2>&1 3>&- &
	background+=($!)
	wait_until connections_are 1000
	wait_until is_answered 1001
	grown=$(($(workers_memory) - before))
	echo "grown by $grown KiB"
	[ $grown -lt 700 ]
	[ "$(ss -Htn state established "sport = :${address##*:}" | wc -l)" -eq 1000 ]
	wait "${background[-1]}"
}

# How many requests the only worker has answered.
is_answered() {
	[ "$("$lastcall" status -s "$work/control" | awk '$1 == 0 && $4 == "serving" { print $7 }')" -ge "$1" ]
}
