#!/usr/bin/env bats
# Files that are kept in memory: what is sent of them, how much memory they take, and what happens when there is none left.

# Each test is a subshell with its own variables, and the helper has some of them.
# shellcheck disable=SC2030,SC2031,SC2154
load helper

setup() {
	common_setup
	talk=$tools/talk
	crlf='\r\n'
}

teardown() {
	common_teardown
}

# start_cache SIZE [OPTIONS]: a site with one worker that keeps so much.
start_cache() {
	start_with "file-cache $1; ${2:-}" 1
}

# make_files COUNT SIZE: files 1 to COUNT, each of its own bytes, at rest.
make_files() {
	local file
	for ((file = 1; file <= $1; file++)); do
		head -c "$2" /dev/urandom >site/$file
	done
	settle "site/$1"
}

# all_right COUNT: each of them is served as it is.
all_right() {
	local file
	for ((file = 1; file <= $1; file++)); do
		curl -sS "http://$address/$file" | cmp - site/$file
	done
}

# repeat COUNT TEXT
repeat() {
	for ((i = 0; i < $1; i++)); do
		printf %s "$2"
	done
}

# The bytes of files that the worker keeps, more or less: how far its memory has grown since $before, in KiB.
grown() {
	echo $(($(workers_memory) - before))
}

@test "files of all kinds of lengths are right, from memory and not, and in parts" {
	for size in 0 1 8191 8192 8193 16368 16384 100000 131072 131073 262143 262144 262145; do
		head -c $size /dev/urandom >site/$size
	done
	settle site/0
	for cache in 0 64k 8m; do
		start_cache $cache
		for round in 1 2 3; do
			for file in site/[0-9]*; do
				curl -sS "http://$address/${file#site/}" | cmp - "$file"
			done
		done
		for part in 0-0 8191-8192 8192-16383 100-99999 50000-; do
			curl -sS -r "$part" "http://$address/100000" >"$work/part"
			begin=${part%-*} end=${part#*-}
			tail -c +$((begin + 1)) site/100000 | head -c $((${end:-99999} - begin + 1)) | cmp - "$work/part"
		done
		curl -sS -r 1-2,8190-8200,99990-99999 "http://$address/100000" | grep -ac '^Content-Range: bytes' | grep -qx 3
		stop_server
	done
}

@test "what many pipelined requests ask for is right, of small and of large files" {
	for file in {1..21}; do
		head -c "$((file == 21 ? 150000 : 6500))" /dev/urandom | base64 >"site/$file" # whole lines
	done
	settle site/21
	start_cache 8m 'header Server-Timing none;'
	requests='' all=()
	for round in 1 2 3; do
		for file in {1..21}; do
			requests+="GET /$file HTTP/1.1${crlf}Host: x$crlf$crlf"
			all+=("site/$file")
		done
	done
	"$talk" "$address" "send:${requests}GET /1 HTTP/1.0$crlf$crlf" read >"$work/said" 2>"$work/how"
	[ "$(grep -c '^HTTP/1.1 200 OK' "$work/said")" -eq 64 ]
	[ "$(grep -c '^Server-Timing: none' "$work/said")" -eq 64 ]
	sed '/^HTTP/,/^\r$/d' "$work/said" >"$work/bodies"
	cat "${all[@]}" site/1 | cmp - "$work/bodies"
}

@test "memory for files is what file-cache says, whatever is asked for" {
	make_files 40 100000
	start_cache 1m
	curl -sS "http://$address/1" | cmp - site/1
	before=$(workers_memory)
	for round in 1 2 3; do
		all_right 40
	done
	echo "1m: grown by $(grown) KiB"
	[ "$(grown)" -lt 1600 ]
	stop_server
	# And with more it is more, or the bound would not be what holds it.
	start_cache 16m
	curl -sS "http://$address/1" | cmp - site/1
	before=$(workers_memory)
	all_right 40
	echo "16m: grown by $(grown) KiB"
	[ "$(grown)" -gt 3500 ]
}

@test "what is kept is read from disk once, and again when it has changed" {
	make_files 3 100000
	start_cache 8m
	all_right 3
	strace -f -qq -e trace=pread64,readv -o "$work/calls" -p "$(workers)" 3>&- &
	background+=($!)
	wait_until grep -q TracerPid:.*[1-9] "/proc/$(workers)/status"
	all_right 3
	all_right 3
	[ "$(grep -c 'pread64\|readv' "$work/calls")" -eq 0 ]
	head -c 100000 /dev/urandom >site/2
	all_right 3
	[ "$(grep -c 'pread64\|readv' "$work/calls")" -gt 0 ]
	kill "${background[-1]}"
	wait "${background[-1]}" || true
}

@test "whoever is slow gets each file whole, as it was when it was asked for, although it is rewritten meanwhile" {
	head -c 249999 /dev/zero | tr '\0' Q >site/letters
	echo >>site/letters
	settle site/letters
	start_cache 8m 'send-timeout 20s;'
	curl -sS "http://$address/letters" | cmp - site/letters
	requests=$(repeat 60 "GET /letters HTTP/1.1${crlf}Host: x$crlf$crlf")
	# It asks for more than the buffers of the kernel hold, so some of it waits in the worker.
	"$talk" -t 30000 "$address" deaf "send:${requests}GET / HTTP/1.0$crlf$crlf" wait:1500 read >"$work/said" 2>"$work/how" 3>&- &
	background+=($!)
	sleep 0.7
	head -c 249999 /dev/zero | tr '\0' Z | dd of=site/letters conv=notrunc bs=65536 status=none
	curl -sS "http://$address/letters" | cmp - site/letters
	wait "${background[-1]}"
	# Each answer is one line of one letter, as long as it was promised.
	[ "$(grep -c '^HTTP/1.1 200 OK' "$work/said")" -eq 61 ]
	tr -d '\r' <"$work/said" | grep -ao '[QZ]\{100,\}' | awk '{ print length($0), substr($0, 1, 1) }' | sort | uniq -c >"$work/lines"
	cat "$work/lines"
	[ "$(awk '{ sum += $1 } END { print sum, NR }' "$work/lines")" = '60 2' ]
	[ "$(awk '$2 == 249999' "$work/lines" | wc -l)" -eq 2 ]
	[ "$(grep -c "QZ\|ZQ" "$work/said")" -eq 0 ]
}

@test "clients that read nothing can hold all of it, and nobody else is the worse for that" {
	make_files 20 250000
	start_cache 1m 'send-timeout 4s;'
	all_right 4
	before=$(workers_memory)
	for file in {1..10}; do
		requests=$(repeat 60 "GET /$file HTTP/1.1${crlf}Host: x$crlf$crlf")
		"$talk" -q -t 30000 "$address" deaf "send:$requests" wait:15000 reset >/dev/null 2>&1 3>&- &
		background+=($!)
	done
	wait_until connections_are 10
	for round in 1 2; do
		all_right 20
	done
	# Two buffers for each of them, and what file-cache allows.
	echo "grown by $(grown) KiB"
	[ "$(grown)" -lt $((10 * 40 + 1600)) ]
	# Their time is over: what they had held is there again.
	wait_until connections_are 0
	all_right 20
	all_right 4
}

@test "a size that cannot be is an error, and 0 keeps nothing" {
	for size in -1 17g 1x ''; do
		configure "service site http { root site; file-cache $size; }"
		run "$lastcall" check -c "$work/lastcall.conf"
		echo "$output"
		[ "$status" -eq 2 ]
		[[ "$output" == *"lastcall.conf:1:"*"file-cache"* ]]
	done
	make_files 3 100000
	start_cache 0
	before=$(workers_memory)
	all_right 3
	all_right 3
	[ "$(grown)" -lt 500 ]
}
