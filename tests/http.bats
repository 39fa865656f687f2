#!/usr/bin/env bats
# HTTP as clients speak it: the good ones, the odd ones and the hostile ones. What each single head means to the parser is
# in tests/unit/request_test.c; here it is whether a connection gets what it is owed.

# Each test is a subshell with its own variables, and the helper has some of them.
# shellcheck disable=SC2030,SC2031,SC2154
load helper

setup() {
	common_setup
	talk=$tools/talk
	crlf='\r\n'
	host="Host: x$crlf"
	end="Connection: close$crlf$crlf"
}

teardown() {
	common_teardown
}

# talk STEP…: a raw conversation with $address; what came is in $said, without carriage returns, and how it ended in $how.
talk() {
	said=$("$talk" "$address" "$@" 2>"$work/how" | tr -d '\r')
	how=$(cat "$work/how")
}

# refused STATUS TEXT: this request is answered so, and the connection ends in order, although more was sent with it.
refused() {
	talk "send:$2GET / HTTP/1.1$crlf$host$crlf" read
	if [[ "$said" != "HTTP/1.1 $1 "* ]] || [ "$(grep -c '^HTTP/1.1' <<<"$said")" -ne 1 ]; then
		echo "wanted $1 for $2:" "${said:-nothing}"
		return 1
	fi
	[[ "$said" == *$'\nConnection: close\n'* ]]
	ends eof=1 reset=0
}

# field NAME: its value in the first head of what was said.
field() {
	sed "/^\$/q" <<<"$said" | sed -n "s/^$1: //p"
}

get() {
	talk "send:GET $1 HTTP/1.1$crlf$host$2$end" read
}

# same_workers: the workers are those that there were at the start.
same_workers() {
	[ "$(workers | sort | tr '\n' ' ')" = "$(sort "$work/workers" | tr '\n' ' ')" ]
}

# ---- answers ----

@test "GET and HEAD of a file and of a folder with an index" {
	start_site
	for target in / /index.html; do
		get $target
		[[ "$said" == "HTTP/1.1 200 OK"$'\n'*$'\n\nhello, and welcome' ]]
		[ "$(field Content-Type)" = "text/html; charset=utf-8" ]
		[ "$(field Content-Length)" -eq 19 ]
		head=$(grep -v '^Date' <<<"$said" | sed '/^$/,$d')
		talk "send:HEAD $target HTTP/1.1$crlf$host$end" read
		[ "$(grep -v '^Date' <<<"$said")" = "$head" ]
	done
	talk "send:HEAD /nothing HTTP/1.1$crlf$host$end" read
	[[ "$said" == "HTTP/1.1 404 "* && "$said" != *html\>* ]]
	[ "$(field Content-Length)" -gt 0 ]
}

@test "a head says what the file is, how long, of when, and what time it is" {
	start_site
	touch -d '2024-02-29 12:34:56 UTC' site/1k.txt
	get /1k.txt
	[ "$(field Last-Modified)" = "Thu, 29 Feb 2024 12:34:56 GMT" ]
	[ "$(field Content-Length)" -eq 1000 ]
	[[ "$(field Date)" =~ ^(Mon|Tue|Wed|Thu|Fri|Sat|Sun),\ [0-3][0-9]\ [A-Z][a-z]{2}\ [0-9]{4}\ [0-9:]{8}\ GMT$ ]]
	age=$(($(date +%s) - $(date -d "$(field Date)" +%s)))
	[ $age -ge 0 ]
	[ $age -lt 15 ]
}

@test "Last-Modified is never later than Date" {
	start_site
	touch -d '+1 day' site/1k.txt
	get /1k.txt
	[ "$(date -d "$(field Last-Modified)" +%s)" -le "$(date -d "$(field Date)" +%s)" ]
}

@test "common types have their Content-Type" {
	start_site
	while read -r name type; do
		: >"site/$name"
		get "/$name"
		[ "$(field Content-Type)" = "$type" ]
	done <<-'END'
		a.html text/html; charset=utf-8
		a.CSS text/css; charset=utf-8
		a.js text/javascript; charset=utf-8
		a.json application/json
		a.svg image/svg+xml
		a.png image/png
		a.jpg image/jpeg
		a.webp image/webp
		a.ico image/x-icon
		a.woff2 font/woff2
		a.wasm application/wasm
		a.pdf application/pdf
		a.mp4 video/mp4
		a.tar.gz application/gzip
		a.unheard-of application/octet-stream
		plain application/octet-stream
	END
}

@test "If-Modified-Since in each of the three forms is answered 304, without a body" {
	start_site
	touch -d '1994-11-06 08:49:37 UTC' site/1k.txt
	for date in 'Sun, 06 Nov 1994 08:49:37 GMT' 'Sunday, 06-Nov-94 08:49:37 GMT' 'Sun Nov  6 08:49:37 1994' \
		"$(LC_ALL=C date -u -d '+1 year' '+%a, %d %b %Y %H:%M:%S GMT')"; do
		get /1k.txt "If-Modified-Since: $date$crlf"
		[[ "$said" == "HTTP/1.1 304 Not Modified"$'\n'* && "$said" != *xxx* ]]
		[ "$(field Last-Modified)" = "Sun, 06 Nov 1994 08:49:37 GMT" ]
	done
}

@test "If-Modified-Since with an older or no date, or beside If-None-Match, does not count" {
	start_site
	touch -d '1994-11-06 08:49:37 UTC' site/1k.txt
	for date in 'Sun, 06 Nov 1994 08:49:36 GMT' 'Sun, 06 Nov 1994 08:49:37 UTC' yesterday 'Sun, 31 Feb 2024 00:00:00 GMT' \
		"Sun, 06 Nov 1994 08:49:37 GMT${crlf}If-None-Match: \"of-another-server\""; do
		get /1k.txt "If-Modified-Since: $date$crlf"
		[[ "$said" == "HTTP/1.1 200 OK"*xxx ]]
	done
}

@test "a 304 is followed by the next answer on the same connection" {
	start_site
	talk "send:GET /1k.txt HTTP/1.1$crlf${host}If-Modified-Since: Sun, 06 Nov 2094 08:49:37 GMT$crlf$crlf" \
		"send:GET / HTTP/1.1$crlf$host$end" read
	[[ "$said" == "HTTP/1.1 304 "*"HTTP/1.1 200 OK"*welcome ]]
}

@test "a folder without its slash is redirected to it, with the query, escaped" {
	start_site
	mkdir -p site/sub/dir 'site/sp ace' $'site/q"<\xc3\xa4'
	while read -r target location; do
		get "$target"
		[[ "$said" == "HTTP/1.1 301 "* ]]
		[ "$(field Location)" = "$location" ]
	done <<-'END'
		/sub /sub/
		/sub/dir?a=b&c=%0d%0ad /sub/dir/?a=b&c=%0d%0ad
		/sp%20ace /sp%20ace/
		/q%22%3c%C3%A4?x=/../ /q%22%3C%C3%A4/?x=/../
		//sub /sub/
		//sub/..//sub/dir /sub/dir/
	END
}

@test "nothing of a target gets into a head: response splitting is refused" {
	start_site
	mkdir site/sub
	for target in '/%0d%0aSet-Cookie:x' '/sub%0d%0aSet-Cookie:x' '/sub/..%0d%0aX:/sub' '/%0aSet-Cookie:x'; do
		get "$target"
		[[ "$said" == "HTTP/1.1 400 "* && "$said" != *Cookie* ]]
	done
	get '/sub?%0d%0aSet-Cookie:x'
	[[ "$said" == "HTTP/1.1 301 "* && "$said" != *$'\n'Set-Cookie* ]]
}

@test "a redirect that does not fit into a head is 414, and the log says so" {
	mkdir site/sub
	start_conf 'service site http { root site; access-log access; }
		workers 2;
		listen 127.0.0.1:0 -> site;'
	get "/sub?$(head -c 5000 /dev/zero | tr '\0' q)"
	[[ "$said" == "HTTP/1.1 414 "* ]]
	wait_until grep -q '" 414 ' access
}

# ---- connections ----

@test "HTTP/1.1 keeps the connection and says for how long; Connection: close does not" {
	start_site
	talk "send:GET / HTTP/1.1$crlf$host$crlf" 'until:welcome\n' "send:GET / HTTP/1.1$crlf$host$end" read
	[ "$(grep -c '^HTTP/1.1 200' <<<"$said")" -eq 2 ]
	[ "$(field Connection)" = keep-alive ]
	[ "$(field Keep-Alive)" = timeout=5 ]
	[ "$(grep -c '^Connection: close' <<<"$said")" -eq 1 ]
	ends eof=1
}

@test "HTTP/1.0 closes, but for Connection: keep-alive" {
	start_site
	talk "send:GET / HTTP/1.0$crlf$crlf" read
	[[ "$said" == "HTTP/1.1 200 OK"*"Connection: close"*welcome ]]
	ends eof=1
	talk "send:GET / HTTP/1.0${crlf}Connection: keep-alive$crlf$crlf" 'until:welcome\n' "send:GET / HTTP/1.0$crlf$crlf" read
	[ "$(field Connection)" = keep-alive ]
	[ "$(grep -c '^HTTP/1.1 200' <<<"$said")" -eq 2 ]
}

@test "a client that shuts its side after the request gets its whole answer" {
	head -c 3000000 /dev/urandom >site/big
	start_site
	talk "send:GET / HTTP/1.1$crlf$host$crlf" half read
	[[ "$said" == "HTTP/1.1 200 OK"*welcome ]]
	ends eof=1
	"$talk" "$address" "send:GET /big HTTP/1.1$crlf$host$crlf" half read 2>"$work/how" | tail -c 3000000 | cmp - site/big
	grep -qx eof=1 "$work/how"
}

# ---- pipelining ----

# Requests for files 0 to 99 of different lengths, by turns small ones and one that is not cached.
prepare_pipeline() {
	local i
	head -c 30000 /dev/zero | tr '\0' o | fold >site/other
	echo >>site/other
	requests='' wanted=''
	for ((i = 0; i < 100; i++)); do
		printf 'file %d %*s.\n' $i $((i * i)) '' >"site/$i"
		if ((i % 7 == 3)); then
			requests+="GET /other HTTP/1.1$crlf$host$crlf"
			cat site/other >>wanted
		fi
		requests+="GET /$i HTTP/1.1$crlf$host$([ $i -lt 99 ] || printf 'Connection: close%s' "$crlf")$crlf"
		cat "site/$i" >>wanted
	done
	touch -d '1 hour ago' site/*
	settle site/99
}

# The bodies of all answers in a row; each ends with a line.
bodies() {
	tr -d '\r' <"$1" | awk '/^HTTP\/1.1 / { head = 1 } !head { print } /^$/ { head = 0 }'
}

@test "100 pipelined requests in one write are answered in order, from cache and from disk" {
	prepare_pipeline
	start_site
	# The second time the small ones are in the cache.
	for _ in 1 2 3; do
		"$talk" "$address" "send:$requests" read >got 2>"$work/how"
		grep -qx eof=1 "$work/how"
		cmp <(bodies got) wanted
	done
}

@test "pipelined requests that come cut at odd places are answered in order" {
	prepare_pipeline
	start_site
	text=$(printf '%b' "$requests" | sed 's/$/\\n/;s/\r/\\r/' | tr -d '\n')
	for size in 37 1009 4093; do
		steps=()
		rest=$text
		while [ -n "$rest" ]; do
			piece=${rest:0:size}
			# Not in the middle of an escape.
			[[ "$piece" != *\\ ]] || piece=${rest:0:size+1}
			rest=${rest:${#piece}}
			steps+=("$piece")
		done
		while [ ${#steps[@]} -gt 60 ]; do
			join=()
			for ((i = 0; i < ${#steps[@]}; i += 2)); do
				join+=("${steps[i]}${steps[i + 1]:-}")
			done
			steps=("${join[@]}")
		done
		"$talk" "$address" "${steps[@]/#/send:}" read >got 2>"$work/how"
		cmp <(bodies got) wanted
	done
	"$talk" "$address" "drip:0:$text" read >got 2>"$work/how"
	cmp <(bodies got) wanted
}

@test "pipelined answers from the cache that do not fit into one buffer are all there" {
	for size in 3500 5000 8192; do
		head -c $size /dev/zero | tr '\0' c >site/$size
	done
	touch -d '1 hour ago' site/*
	settle site/8192
	start_site
	for size in 3500 5000 8192; do
		get /$size
		talk "fill:50:GET /$size HTTP/1.1$crlf$host$crlf" "send:GET / HTTP/1.1$crlf$host$end" read
		ends eof=1 status_200=51
		[ "$(tr -dc c <<<"$said" | wc -c)" -ge $((size * 50)) ]
	done
}

@test "whoever keeps pipelining is answered for longer than header-timeout" {
	start_conf 'service site http { root site; header-timeout 500ms; }
		workers 2;
		listen 127.0.0.1:0 -> site;'
	# Each write ends in the middle of a head, so the server is never through with what is there.
	steps=("send:GET / HTTP/1.1$crlf")
	for _ in {1..12}; do
		steps+=("send:$host${crlf}GET / HTTP/1.1$crlf" wait:100)
	done
	talk "${steps[@]}" "send:$host$end" read
	[ "$(grep -c '^HTTP/1.1 200' <<<"$said")" -eq 13 ]
	[ "$(grep -c '^HTTP/1.1' <<<"$said")" -eq 13 ]
}

# ---- what is there when the worker looks ----

# all_at_once: for each line of standard input, `HOW… -> ANSWERS END`, on a connection that has been answered already: sends
# all of it while the worker is stopped, so that it finds it there together. Fails unless so many answers came and the
# connection is then open, or the server ended it. HOW is one of: requests N; urgent: one byte of urgent data; passed: a
# descriptor, over a Unix socket; body N: POST with that; half: shut our side.
all_at_once() {
	cat >whats
	python3 - "$address" "$(workers)" whats <<-'END'
		import os, signal, socket, sys

		address, worker = sys.argv[1], int(sys.argv[2])
		get = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n"

		def connect():
		    if address.startswith("unix:"):
		        s = socket.socket(socket.AF_UNIX)
		        s.connect(address[5:])
		    else:
		        s = socket.create_connection(address.rsplit(":", 1))
		    s.settimeout(10)
		    return s

		def answers(s, wanted):
		    got = b""
		    while got.count(b"HTTP/1.1 ") < wanted or wanted == 0 or not got.endswith(b"whole\n"):
		        try:
		            more = s.recv(65536)
		        except socket.timeout:
		            return got, "waits"
		        if not more:
		            return got, "end"
		        got += more
		    return got, "open"

		def send(s, how):
		    wanted = 0
		    while how:
		        verb = how.pop(0)
		        if verb == "requests":
		            n = int(how.pop(0))
		            s.sendall(get * n)
		            wanted += n
		        elif verb == "urgent":
		            s.send(b"!", socket.MSG_OOB)
		        elif verb == "passed":
		            socket.send_fds(s, [get], [0])
		            wanted += 1
		        elif verb == "body":
		            n = int(how.pop(0))
		            s.sendall(b"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % n + b"x" * n)
		            wanted += 1
		        elif verb == "half":
		            s.shutdown(socket.SHUT_WR)
		            wanted = 0 # to the end
		    return wanted

		failed = 0
		for line in open(sys.argv[3]):
		    how, expected = line.strip().split(" -> ")
		    s = connect()
		    s.sendall(get)
		    assert answers(s, 1)[1] == "open"
		    os.kill(worker, signal.SIGSTOP)
		    while open(f"/proc/{worker}/stat").read().rsplit(")", 1)[1].split()[0] != "T":
		        pass
		    wanted = send(s, how.split())
		    os.kill(worker, signal.SIGCONT)
		    got, end = answers(s, wanted)
		    s.close()
		    if f"{got.count(b'HTTP/1.1 ')} {end}" != expected:
		        print(f"{how}: {got.count(b'HTTP/1.1 ')} {end}, not {expected}")
		        failed = 1
		sys.exit(failed)
	END
}

@test "all that is there when the worker looks is answered, and an end behind it is seen" {
	echo whole >site/small
	start_conf "service site http { root site; keepalive 60s; error-page 405 /small; }
		workers 1;
		listen 127.0.0.1:0 -> site;"
	{
		# 256 answers are given in one turn, and 16 KiB hold 400 of these requests.
		for count in 1 255 256 257 400 1000; do
			echo "requests $count -> $count open"
			echo "requests $count half -> $count end"
		done
		# Around what one read takes.
		for length in 100 16309 16310 16368 60000; do
			echo "body $length -> 1 open"
			echo "body $length requests 3 half -> 4 end"
		done
		echo 'half -> 0 end'
		# A read stops before urgent data, without being the last.
		echo 'urgent requests 1 -> 1 open'
		echo 'requests 1 urgent requests 2 -> 3 open'
		echo 'requests 300 urgent requests 2 half -> 302 end'
	} | all_at_once
	same_workers
}

@test "all that is there on a Unix socket is answered, also with a descriptor in between" {
	echo whole >site/small
	start_conf "service site http { root site; keepalive 60s; error-page 405 /small; }
		workers 1;
		listen unix:$work/socket -> site;"
	address=unix:$work/socket
	{
		for count in 1 257 1000; do
			echo "requests $count -> $count open"
			echo "requests $count half -> $count end"
		done
		echo 'passed requests 2 -> 3 open'
		echo 'requests 2 passed requests 2 passed half -> 6 end'
	} | all_at_once
	same_workers
}

# ---- bodies ----

@test "a small body is read away: POST is 405, and the next request is answered" {
	start_site
	talk "send:POST / HTTP/1.1$crlf${host}Content-Length: 11$crlf${crlf}GET / HTTP/GET / HTTP/1.1$crlf$host$end" read
	[[ "$said" == "HTTP/1.1 405 Method Not Allowed"*"HTTP/1.1 200 OK"*welcome ]]
	[ "$(field Allow)" = "GET, HEAD, OPTIONS" ]
	[ "$(field Connection)" = keep-alive ]
}

@test "a body that comes byte by byte, and one of 64 KiB, are read away" {
	start_site
	talk "send:POST / HTTP/1.1$crlf${host}Content-Length: 9$crlf$crlf" drip:5:123456789 "send:GET / HTTP/1.1$crlf$host$end" read
	[[ "$said" == "HTTP/1.1 405 "*"HTTP/1.1 200 OK"*welcome ]]
	talk "send:POST / HTTP/1.1$crlf${host}Content-Length: 65536$crlf$crlf" fill:65536:x "send:GET / HTTP/1.1$crlf$host$end" read
	[[ "$said" == "HTTP/1.1 405 "*"HTTP/1.1 200 OK"*welcome ]]
}

@test "GET with a body gets the file, and the body is no request" {
	start_site
	talk "send:GET /1k.txt HTTP/1.1$crlf${host}Content-Length: 38$crlf${crlf}GET /evil HTTP/1.1${crlf}Host: evil.org$crlf$crlf" \
		"send:GET / HTTP/1.1$crlf$host$end" read
	[[ "$said" == "HTTP/1.1 200 OK"*xxx"HTTP/1.1 200 OK"*welcome ]]
	[ "$(grep -c 'HTTP/1.1' <<<"$said")" -eq 2 ]
}

@test "Expect: 100-continue is told the answer at once, also if the body comes all the same" {
	start_site
	post="POST / HTTP/1.1$crlf${host}Expect: 100-continue${crlf}Content-Length: 6000$crlf$crlf"
	talk "send:$post" read
	[[ "$said" == "HTTP/1.1 405 "*"Connection: close"* ]]
	ends eof=1
	for _ in 1 2 3; do
		how=$("$talk" -q -c 10 "$address" deaf "send:$post" wait:20 fill:3000:x wait:20 fill:3000:y wait:20 read)
		ends eof=10 reset=0 status_405=10
	done
}

@test "a chunked body is read away, and the next request is answered" {
	start_site
	talk "send:POST / HTTP/1.1$crlf${host}Transfer-Encoding: chunked$crlf${crlf}5${crlf}hello${crlf}0$crlf$crlf" \
		"send:GET / HTTP/1.1$crlf$host$end" read
	[[ "$said" == "HTTP/1.1 405 "*"HTTP/1.1 200 OK"*welcome ]]
	ends eof=1 reset=0
}

@test "a body over max-body is 413, and max-body can be 0" {
	start_site
	refused 413 "POST / HTTP/1.1$crlf${host}Content-Length: 65537$crlf$crlf"
	refused 413 "GET / HTTP/1.1$crlf${host}Content-Length: 9223372036854775807$crlf$crlf"
	start_conf 'service site http { root site; max-body 0; }
		workers 1;
		listen 127.0.0.1:0 -> site;'
	refused 413 "POST / HTTP/1.1$crlf${host}Content-Length: 1$crlf$crlf"
}

# ---- refusals ----

@test "what is malformed is 400, and the connection ends" {
	start_site
	refused 400 "GET$crlf$crlf"
	refused 400 "GET /$crlf$crlf"
	refused 400 "GET  / HTTP/1.1$crlf$host$crlf"
	refused 400 "GET / HTTP/1.1 $crlf$host$crlf"
	refused 400 "G\\x00T / HTTP/1.1$crlf$host$crlf"
	refused 400 "GET /a\\x00b HTTP/1.1$crlf$host$crlf"
	refused 400 "GET /a#b HTTP/1.1$crlf$host$crlf"
	refused 400 "GET nothing HTTP/1.1$crlf$host$crlf"
	refused 400 "GET * HTTP/1.1$crlf$host$crlf"
	refused 400 "GET ftp://x/ HTTP/1.1$crlf$host$crlf"
	refused 400 "GET / HTTP/1.1$crlf$crlf"
	refused 400 "GET / HTTP/1.1${crlf}Host: a b$crlf$crlf"
	refused 400 "GET / HTTP/1.1${crlf}Host: x/y$crlf$crlf"
	refused 400 "GET / HTTP/1.1\\n$host$crlf"
	refused 400 "GET / HTTP/1.1\\r$host$crlf"
	refused 400 "GET / HTTP/1.1$crlf${host}X: a\\x00b$crlf$crlf"
	refused 400 "GET / HTTP/1.1$crlf${host}X: a\\x7fb$crlf$crlf"
	refused 400 "GET / HTTP/1.1$crlf${host}(x): a$crlf$crlf"
	refused 400 "GET / HTTP/1.1$crlf$host: a$crlf$crlf"
	refused 400 "$crlf$crlf${crlf}GET / HTTP/1.1$crlf$host$crlf"
	refused 400 "\\x16\\x03\\x01\\x02\\x00\\x01\\x00\\x01\\xfc\\x03\\x03"
}

@test "what two readers could read differently is 400, and nothing of it is taken for a request" {
	start_site
	refused 400 "POST / HTTP/1.1$crlf${host}Content-Length: 5${crlf}Transfer-Encoding: chunked$crlf${crlf}0$crlf$crlf"
	refused 400 "POST / HTTP/1.1$crlf${host}Transfer-Encoding: chunked${crlf}Content-Length: 5$crlf${crlf}0$crlf$crlf"
	refused 400 "POST / HTTP/1.1$crlf${host}Content-Length: 5${crlf}Content-Length: 6$crlf${crlf}"
	refused 400 "POST / HTTP/1.1$crlf${host}Content-Length: 5${crlf}Content-Length: 5$crlf${crlf}"
	for length in +5 -1 0x5 '5, 5' '5 5' '' 5.0 99999999999999999999 '\x0b5'; do
		refused 400 "POST / HTTP/1.1$crlf${host}Content-Length: $length$crlf${crlf}"
	done
	refused 400 "POST / HTTP/1.1$crlf${host}Content-Length : 5$crlf${crlf}"
	refused 400 "POST / HTTP/1.1$crlf${host} Content-Length: 5$crlf${crlf}"
	refused 400 "POST / HTTP/1.1$crlf${host}X: y$crlf Content-Length: 5$crlf${crlf}"
	refused 400 "POST / HTTP/1.1$crlf${host}X: y$crlf\\tfolded$crlf${crlf}"
	refused 400 "POST / HTTP/1.1$crlf${host}X: y\\nContent-Length: 5$crlf${crlf}"
	refused 400 "POST / HTTP/1.1$crlf${host}X: y\\rContent-Length: 5$crlf${crlf}"
	refused 400 "POST / HTTP/1.0$crlf${host}Transfer-Encoding: chunked$crlf${crlf}"
	for coding in 'chunked, chunked' 'chunked;q=1' ', chunked' '' '\x0bchunked'; do
		refused 400 "POST / HTTP/1.1$crlf${host}Transfer-Encoding: $coding$crlf${crlf}"
	done
	refused 400 "POST / HTTP/1.1$crlf${host}Transfer-Encoding: chunked${crlf}Transfer-Encoding: chunked$crlf${crlf}"
	refused 400 "GET / HTTP/1.1$crlf$host${host}$crlf"
	refused 400 "GET / HTTP/1.1$crlf${host}Host: y$crlf$crlf"
	for coding in gzip 'gzip, chunked' 'chunked, identity' xchunked identity; do
		refused 501 "POST / HTTP/1.1$crlf${host}Transfer-Encoding: $coding$crlf${crlf}"
	done
}

@test "what is not there is 404, what may not be read 403, and the connection goes on" {
	mkdir site/empty
	start_site
	talk "send:GET /nothing HTTP/1.1$crlf$host$crlf" "send:GET /empty/ HTTP/1.1$crlf$host$crlf" \
		"send:GET /1k.txt/ HTTP/1.1$crlf$host$crlf" "send:GET / HTTP/1.1$crlf$host$end" read
	[ "$(grep -o '^HTTP/1.1 ...' <<<"$said" | tr '\n' ' ')" = "HTTP/1.1 404 HTTP/1.1 403 HTTP/1.1 404 HTTP/1.1 200 " ]
}

@test "OPTIONS says what may be asked; other methods: 405 with Allow for those that there are, 501 for others" {
	start_site
	for method in POST PUT DELETE TRACE PATCH; do
		talk "send:$method / HTTP/1.1$crlf$host$end" read
		[[ "$said" == "HTTP/1.1 405 "* ]]
		[ "$(field Allow)" = "GET, HEAD, OPTIONS" ]
	done
	for target in '*' / /nothing http://x/; do
		talk "send:OPTIONS $target HTTP/1.1$crlf$host$end" read
		[[ "$said" == "HTTP/1.1 204 No Content"* && "$said" != *Content-Length* ]]
		[ "$(field Allow)" = "GET, HEAD, OPTIONS" ]
	done
	talk "send:CONNECT x:80 HTTP/1.1$crlf$host$end" read
	[[ "$said" == "HTTP/1.1 405 "* ]]
	for method in get BREW PROPFIND; do
		talk "send:$method / HTTP/1.1$crlf$host$end" read
		[[ "$said" == "HTTP/1.1 501 "* ]]
	done
}

@test "other versions are 505" {
	start_site
	refused 505 "PRI * HTTP/2.0$crlf${crlf}SM$crlf$crlf"
	refused 505 "GET / HTTP/0.9$crlf$crlf"
	refused 505 "GET / HTTP/3.0$crlf$crlf"
	refused 505 "GET / RTSP/1.0$crlf$crlf"
	refused 505 "GET / http/1.1$crlf$host$crlf"
	talk "send:GET / HTTP/1.7$crlf$host$end" read
	[[ "$said" == "HTTP/1.1 200 "* ]]
}

@test "a line too long is 414; fields too long or too many are 431" {
	start_site
	long=$(head -c 8300 /dev/zero | tr '\0' a)
	refused 414 "GET /$long HTTP/1.1$crlf$host$crlf"
	refused 414 "$long"
	refused 431 "GET / HTTP/1.1$crlf${host}X: $long$crlf$crlf"
	refused 431 "GET / HTTP/1.1$crlf$host$long: x$crlf$crlf"
	fields=$(for ((i = 0; i < 99; i++)); do printf '%s' "X: y$crlf"; done)
	get / "$(for ((i = 0; i < 98; i++)); do printf '%s' "X: y$crlf"; done)"
	[[ "$said" == "HTTP/1.1 200 "* ]]
	refused 431 "GET / HTTP/1.1$crlf$host${fields}X: y$crlf$crlf"
	# A head that is whole and has the length of the limit, and one byte more.
	head="GET / HTTP/1.1$crlf${host}Connection: close${crlf}X: $crlf$crlf"
	length=$(printf '%b' "$head" | wc -c)
	fill=${long:0:8192-length}
	get / "X: $fill$crlf"
	[[ "$said" == "HTTP/1.1 200 "* ]]
	refused 431 "GET / HTTP/1.1$crlf${host}Connection: close${crlf}X: a$fill$crlf$crlf"
}

@test "a client that still sends 1 MiB reads the whole refusal, and is not reset" {
	start_site
	for request in "BAD$crlf$crlf" "POST / HTTP/1.1$crlf${host}Content-Length: 1048576$crlf$crlf" \
		"GET / HTTP/1.1$crlf${host}X: " "POST / HTTP/1.1$crlf${host}Transfer-Encoding: gzip$crlf$crlf"; do
		how=$("$talk" -q -c 5 -n 10 "$address" deaf "send:$request" fill:1048576:x read)
		ends eof=50 reset=0 timeout=0
		[ "$(sed -n 's/^status_4..=//p;s/^status_501=//p' <<<"$how")" -eq 50 ]
	done
}

# ---- real clients ----

@test "curl is content, with its several ways to ask" {
	start_site
	head -c 200000 /dev/urandom >site/big.bin
	url=http://$address
	[ "$(curl -sS "$url/")" = "hello, and welcome" ]
	[ "$(curl -sS -0 "$url/")" = "hello, and welcome" ]
	[ "$(curl -sS --path-as-is "$url/a/../index.html")" = "hello, and welcome" ]
	[ "$(curl -sSI "$url/" | head -n 1 | tr -d '\r')" = "HTTP/1.1 200 OK" ]
	[ "$(curl -sS -o /dev/null -w '%{http_code} %{num_connects}\n' "$url/" -o /dev/null "$url/1k.txt" -o /dev/null "$url/no" |
		tr '\n' ' ')" = "200 1 200 0 404 0 " ]
	curl -sS "$url/big.bin" | cmp - site/big.bin
	curl -sS -r 0-99 "$url/big.bin" | cmp - <(head -c 100 site/big.bin)
	[ "$(curl -sS -o /dev/null -w '%{http_code}' -z site/1k.txt "$url/1k.txt")" = 304 ]
	[ "$(curl -sS -o /dev/null -w '%{http_code}' -d a=b "$url/")" = 405 ]
	[ "$(curl -sS -o /dev/null -w '%{http_code}' -H 'Expect: 100-continue' -d "$(cat site/1k.txt)" "$url/")" = 405 ]
	[ "$(curl -sS -o /dev/null -w '%{http_code}' -H 'Transfer-Encoding: chunked' -d a=b "$url/")" = 405 ]
	[ "$(curl -sS -o /dev/null -w '%{http_code}' -T site/big.bin "$url/x")" = 413 ]
	[ "$(curl -sS --http2 "$url/")" = "hello, and welcome" ]
	mkdir site/sub && cp site/index.html site/sub
	[ "$(curl -sSL "$url/sub?x=y")" = "hello, and welcome" ]
}

@test "wrk runs without an error" {
	start_site
	run -0 wrk -t 2 -c 50 -d 2 "http://$address/1k.txt"
	[[ "$output" == *"Requests/sec"* ]]
	[[ "$output" != *"Socket errors"* && "$output" != *"Non-2xx"* ]]
}

@test "six keep-alive connections fetch the files of a page again and again" {
	for i in {1..12}; do
		head -c $((i * 9000)) /dev/urandom >"site/$i.js"
	done
	start_site
	# shellcheck disable=SC2016
	seq 1 6 | xargs -P 6 -I{} sh -c '
		mkdir got.$1 && cd got.$1
		# [1-12] and the index, five times, on one connection
		exec curl -sS -f --compressed -H "Accept: */*" -o "#2" "http://'"$address"'/{,./,././}[1-12].js" -w "%{num_connects}\n" >connects
	' sh {} 3>&-
	for i in {1..6}; do
		[ "$(awk '{ n += $1 } END { print n, NR }' "got.$i/connects")" = "1 36" ]
		for n in {1..12}; do
			cmp "got.$i/$n" "site/$n.js"
		done
	done
}

# ---- hostile clients, while everybody else is served ----

# hostile OPTION… STEP…: so many ill-behaved clients with a load beside them that must not notice. Sets how.
hostile() {
	load_begin -c 5 -m keep -t /1k.txt -e 1000 -d 60000
	how=$("$talk" -q "$@")
	kill -TERM "$load_pid"
	load_end
	nothing_lost
	same_workers
}

@test "1000 connections of random bytes are refused or closed, and the workers live" {
	start_site
	hostile -c 20 -n 50 "$address" random:3000 half read
	ends reset=0 timeout=0 eof=1000
	[ "$(grep -c 'status_[235]' <<<"$how")" -eq 0 ]
}

@test "random bytes after a good beginning are refused" {
	start_site
	hostile -c 20 -n 10 "$address" "send:GET / HTTP/1.1$crlf${host}X: " random:500 half read
	ends eof=200 status_400=200
}

@test "a megabyte of fields, a line without end, NULs: refused" {
	start_site
	hostile -c 10 "$address" "send:GET / HTTP/1.1$crlf$host" "fill:50000:X-Filler: zzzzzz$crlf" read
	ends eof=10 status_431=10
	hostile -c 10 "$address" 'fill:1048576:a' read
	ends eof=10 status_414=10
	hostile -c 10 "$address" 'fill:100000:\x00' read
	ends eof=10 status_400=10
}

@test "clients that connect and say nothing, go away at once, or reset: nobody else notices" {
	start_site
	hostile -c 100 -n 5 "$address" wait:20
	ends done=500
	hostile -c 50 -n 20 "$address" reset
	ends done=1000
	hostile -c 50 -n 10 "$address" "send:GET /1k.txt HTTP/1.1$crlf$host$crlf" reset
	ends done=500
	hostile -c 50 -n 10 "$address" "send:GET /1k.txt HT" half read
	ends eof=500
}

@test "a client that sends without end holds nobody up: requests, garbage, a body" {
	start_conf 'service site http { root site; max-body 1g; }
		workers 1;
		listen 127.0.0.1:0 -> site;'
	for text in "GET /1k.txt HTTP/1.1$crlf$host$crlf" "BAD" "POST / HTTP/1.1$crlf${host}Content-Length: 999999999$crlf$crlf"; do
		"$talk" -q -t 20000 "$address" "flood:2000:$text" >/dev/null 2>&1 3>&- &
		background+=($!)
		curl -sS -o /dev/null -w '%{time_total}\n' "http://$address/1k.txt?[1-50]" >"$work/seconds"
		[ "$(awk '$1 < 1' "$work/seconds" | wc -l)" -eq 50 ]
		wait "${background[-1]}"
	done
	same_workers
}

@test "an answer is whole also when something comes after the last request" {
	head -c 300000 /dev/zero | tr '\0' z >site/300k
	start_site
	for version in 'HTTP/1.0\r\n' 'HTTP/1.1\r\nHost: x\r\nConnection: close\r\n'; do
		for _ in 1 2 3 4 5; do
			exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
			# shellcheck disable=SC2059
			printf "GET /300k $version\r\n" >&6
			sleep 0.05 # the answer fills the buffers; what follows comes late
			printf '\r\n' >&6
			[ "$(timeout 10 cat <&6 | tr -cd z | wc -c)" -eq 300000 ]
			exec 6>&-
		done
	done
}

# held_after HEAD: how many connections the server still has when the client has read the whole answer and closes nothing.
held_after() {
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	# shellcheck disable=SC2059
	printf "$1" >"$work/head"
	cat "$work/head" >&6 # in one piece, which printf does not do
	timeout 10 cat <&6 >"$work/said"
	connections
	exec 6>&-
}

connections() {
	"$lastcall" status -s "$work/control" | sed -n 's/.* listener, \([0-9]*\) connection.*/\1/p'
}

no_connections() {
	[ "$(connections)" -eq 0 ]
}

@test "who has said that it sends nothing more is closed at once; who has not is listened to for a while" {
	head -c 300000 /dev/zero >site/300k
	start_site -s "$work/control"
	[ "$(held_after "GET / HTTP/1.1$crlf$host$end")" -eq 0 ]
	grep -q '^HTTP/1.1 200' "$work/said"
	[ "$(held_after "GET / HTTP/1.0$crlf$crlf")" -eq 0 ]
	# More came with it, a body came, a long answer is still on its way, it was refused.
	for head in "GET / HTTP/1.0$crlf$crlf$crlf" "GET / HTTP/1.1$crlf${host}Content-Length: 1$crlf${end}x" \
		"GET /300k HTTP/1.0$crlf$crlf" "GET /300k HTTP/1.1$crlf${host}Range: bytes=0-99999,150000-250000$crlf$end" \
		"GET / HTTP/9.9$crlf$crlf"; do
		[ "$(held_after "$head")" -eq 1 ]
		wait_until no_connections
	done
}
