#!/usr/bin/env bats
# Parts of files: one, several, none of them. What each field means to the parser is in tests/unit/range_test.c.

# Each test is a subshell with its own variables, and the helper has some of them.
# shellcheck disable=SC2030,SC2031,SC2154
load helper

setup() {
	common_setup
	talk=$tools/talk
	head -c 300000 /dev/urandom >site/big
	printf '0123456789' >site/ten.txt
	touch -d '1 hour ago' site/big site/ten.txt
	size=300000
}

teardown() {
	common_teardown
}

# get TARGET OPTION…: asks with curl. Sets status, the head in $work/head, the body in $work/body.
get() {
	local target=$1
	shift
	rm -f "$work/body" && : >"$work/body"
	status=$(curl -sS -m 20 -o "$work/body" -D "$work/head" -w '%{http_code}' "$@" "http://$address$target")
	tr -d '\r' <"$work/head" >"$work/head.text"
}

# field NAME: its value.
field() {
	sed -n "s/^$1: //p" "$work/head.text"
}

# part FIRST LAST: these bytes of the large file.
part() {
	tail -c +$(($1 + 1)) site/big | head -c $(($2 - $1 + 1))
}

# parts_are TARGET-FILE: takes a multipart body apart and compares each part with the bytes that its head names. Sets ranges.
parts_are() {
	local boundary
	boundary=$(field Content-Type | sed -n 's/^multipart\/byteranges; boundary=//p')
	[ -n "$boundary" ]
	ranges=$(python3 - "$work/body" "$boundary" "$1" <<-'END'
		import re, sys
		body, boundary, whole = open(sys.argv[1], 'rb').read(), sys.argv[2].encode(), open(sys.argv[3], 'rb').read()
		parts = body.split(b'--' + boundary)
		assert parts[0] == b'' and parts[-1] == b'--\r\n', (parts[0], parts[-1])
		for part in parts[1:-1]:
		    head, bytes = part.split(b'\r\n\r\n', 1)
		    first, last, size = map(int, re.search(rb'\r\nContent-Range: bytes (\d+)-(\d+)/(\d+)', head).groups())
		    assert size == len(whole)
		    assert bytes == whole[first:last + 1] + b'\r\n', (first, last, len(bytes))
		    assert b'\r\nContent-Type: ' in head
		    print('%d-%d' % (first, last), end=' ')
	END
	)
}

@test "one range is 206 with just these bytes, of a small file and of a large one" {
	start_site
	# The second time from the cache.
	for _ in 1 2; do
		get /ten.txt -r 2-5
		[ "$status" = 206 ]
		[ "$(cat body)" = 2345 ]
		[ "$(field Content-Range)" = "bytes 2-5/10" ]
		[ "$(field Content-Length)" = 4 ]
		[ "$(field Content-Type)" = "text/plain; charset=utf-8" ]
		[ "$(field Accept-Ranges)" = bytes ]
		[ -n "$(field ETag)" ]
	done
	for range in 0-0 0-99999 150000-299999 299999-299999 1-298000; do
		get /big -r $range
		[ "$status" = 206 ]
		[ "$(field Content-Range)" = "bytes $range/$size" ]
		cmp body <(part "${range%-*}" "${range#*-}")
	done
	get /big -r -1000
	[ "$(field Content-Range)" = "bytes 299000-299999/$size" ]
	cmp body <(part 299000 299999)
	get /big -r 299990-
	cmp body <(part 299990 299999)
	get /big -r 0-999999999999999999999999
	[ "$status" = 206 ]
	cmp body site/big
}

@test "a range beyond the end is 416 with the size, and the connection goes on" {
	start_site
	said=$("$talk" "$address" 'send:GET /big HTTP/1.1\r\nHost: x\r\nRange: bytes=300000-\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' \
		read 2>/dev/null | tr -d '\r')
	[[ "$said" == "HTTP/1.1 416 Range Not Satisfiable"*$'\n'"Content-Range: bytes */300000"$'\n'*"HTTP/1.1 200 OK"*welcome ]]
}

@test "what is no range, another unit, or a field that comes twice is answered with the whole file" {
	start_site
	for range in 'bytes=5-4' 'bytes=a-b' 'lines=0-1' 'bytes 0-1' 'bytes=0-0,5-4' 'bytes=' 'none'; do
		get /big -H "Range: $range"
		[ "$status" = 200 ]
		cmp body site/big
	done
	get /big -H 'Range: bytes=0-0' -H 'Range: bytes=1-1'
	[ "$status" = 200 ]
	: >site/empty
	get /empty -H 'Range: bytes=0-'
	[ "$status" = 200 ]
}

@test "several ranges are multipart, each part what its head says, of a small file and of a large one" {
	start_site
	for _ in 1 2; do
		get /ten.txt -r 0-1,4-4,-2
		[ "$status" = 206 ]
		[ "$(field Content-Length)" -eq "$(stat -c %s body)" ]
		[ -z "$(field Content-Range)" ]
		parts_are site/ten.txt
		[ "$ranges" = "0-1 4-4 8-9 " ]
	done
	get /big -r 200000-299999,0-0,100-150000
	[ "$(field Content-Length)" -eq "$(stat -c %s body)" ]
	parts_are site/big
	[ "$ranges" = "200000-299999 0-0 100-150000 " ]
	# One that is beyond the end is left out.
	get /big -r 0-0,999999-,5-5
	parts_are site/big
	[ "$ranges" = "0-0 5-5 " ]
}

@test "ranges that overlap are sent once, and many of them are not sent as parts" {
	start_site
	get /big -r 0-99999,50000-199999,0-5
	[ "$status" = 206 ]
	[ "$(field Content-Range)" = "bytes 0-199999/$size" ]
	cmp body <(part 0 199999)
	# The attack of many times the whole file.
	get /big -H "Range: bytes=0-$(printf ',0-%.0s' {1..1000})"
	[ "$status" = 200 ]
	[ "$(stat -c %s body)" -eq "$size" ]
	get /big -H "Range: bytes=$(seq -s, -f '%g-%g' 0 2 40 | sed 's/\([0-9]*\)-[0-9]*/\1-\1/g')"
	[ "$status" = 200 ]
}

@test "multipart answers are followed by the next one on the same connection, also pipelined" {
	start_site
	one='GET /big HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9,100000-250000\r\n\r\n'
	"$talk" "$address" "send:$one$one${one}GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n" read >got 2>how
	grep -qx eof=1 how
	[ "$(grep -ac '^HTTP/1.1 206' got)" -eq 3 ]
	[ "$(tail -c 19 got)" = "hello, and welcome" ]
	# Three boundaries, none like another.
	[ "$(grep -a '^Content-Type: multipart' got | sort -u | wc -l)" -eq 3 ]
}

@test "HEAD ignores Range, and a range of a HEAD has no body" {
	start_site
	get /big -I -r 0-9
	[ "$status" = 200 ]
	[ "$(field Content-Length)" = "$size" ]
}

@test "If-Range lets the range count only for the very state that it names" {
	settle site/ten.txt
	start_site
	get /ten.txt
	tag=$(field ETag) date=$(field Last-Modified)
	[[ "$tag" == '"'* ]]
	for validator in "$tag" "$date"; do
		get /ten.txt -r 1-2 -H "If-Range: $validator"
		[ "$status" = 206 ]
		[ "$(cat body)" = 12 ]
	done
	for validator in '"other"' "W/$tag" 'Thu, 01 Jan 1970 00:00:00 GMT' nonsense ''; do
		get /ten.txt -r 1-2 -H "If-Range;" -H "If-Range: $validator"
		[ "$status" = 200 ]
		[ "$(cat body)" = 0123456789 ]
	done
	echo changed >site/ten.txt
	get /ten.txt -r 1-2 -H "If-Range: $tag"
	[ "$status" = 200 ]
	[ "$(cat body)" = changed ]
}

@test "a download that was broken off is resumed, and is the file" {
	start_site
	head -c 123456 site/big >got
	curl -sS -C - -o got "http://$address/big"
	cmp got site/big
}

@test "a file that is replaced during a multipart answer is cut, and never mixed" {
	head -c 60000000 /dev/zero | tr '\0' a >site/large
	start_site
	"$talk" "$address" 'send:GET /large HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9,100-59999999\r\n\r\n' \
		'until:\r\n\r\naaaa' wait:300 read >got 2>how 3>&- &
	pid=$!
	background+=($pid)
	wait_until grep -q HTTP got
	head -c 60000000 /dev/zero | tr '\0' b | dd of=site/large conv=notrunc bs=1M status=none
	wait $pid || true
	[ "$(tr -cd b <got | wc -c)" -lt 100 ]
}

@test "clients of parts that go away leave nothing open" {
	start_site
	for _ in {1..30}; do
		"$talk" -q "$address" 'send:GET /big HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9,10000-299999\r\n\r\n' wait:5 reset >/dev/null 2>&1
	done
	get /
	for pid in $(workers); do
		[ "$(find "/proc/$pid/fd" -lname "$work/site/big" | wc -l)" -eq 0 ] || {
			wait_until nothing_open "$pid"
		}
	done
}

nothing_open() {
	[ "$(find "/proc/$1/fd" -lname "$work/site/big" | wc -l)" -eq 0 ]
}
