#!/usr/bin/env bats
# Copies of larger files: that what is sent of them is right and of one state, what memory they take, and that they are used.

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

# start_copies SIZE [OPTIONS]: a site with one worker that copies so much.
start_copies() {
	start_with "file-copies $1; ${2:-}" 1
}

# make_files SIZE NAME…: each of its own bytes, at rest.
make_files() {
	local name size=$1
	shift
	for name; do
		head -c "$size" /dev/urandom >"site/$name"
		touch -d '1 hour ago' "site/$name"
	done
	settle "${@/#/site/}"
}

# copies ACTION…: what find(1) is to do with the descriptors of copies that the worker has, by default print their sizes. They
# are of memfd_create(2), or of shm_open(3) in the twin.
copies() {
	[ $# -gt 0 ] || set -- -exec stat -L -c %s '{}' +
	find "/proc/$(workers)/fd" '(' -lname '/memfd:lastcall-*' -o -lname '/dev/shm/lastcall-*' ')' "$@"
}

copies_take() {
	[ "$(copies | awk '{ sum += $1 } END { print sum + 0 }')" -le "$1" ]
}

copies_are() {
	[ "$(copies | tr '\n' ' ')" = "$1" ]
}

# ask FILE: on a new connection, from which nothing is read; its number is in $asked.
ask() {
	exec {asked}<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET /%s HTTP/1.0\r\n\r\n' "$1" >&"$asked"
}

# are_begun COUNT: so many are being sent something of which they have not taken all.
are_begun() {
	[ "$(ss -Htn state established "sport = :${address##*:}" | awk '$2 > 100000' | wc -l)" -eq "$1" ]
}

same() {
	curl -sS "http://$address/$1" | cmp - "site/$1"
}

@test "what is asked for a second time is copied, and sent from the copy after that" {
	make_files 3000000 big
	start_copies 4m
	# Parts are not all of it.
	for _ in 1 2 3; do
		curl -sS -r 1-1000000 "http://$address/big" | cmp - <(tail -c +2 site/big | head -c 1000000)
	done
	same big
	copies_are ''
	same big
	copies_are '3000000 '
	# Read no more.
	strace -f -qq -e trace=pread64,sendfile -o "$work/calls" -p "$(workers)" 3>&- &
	background+=($!)
	wait_until grep -q TracerPid:.*[1-9] "/proc/$(workers)/status"
	same big
	kill "${background[-1]}"
	wait "${background[-1]}" || true
	descriptor=$(copies -printf %f)
	if is_posix; then
		[ "$(grep pread64 "$work/calls" | grep -vc "pread64($descriptor,")" -eq 0 ]
	else
		grep -q "sendfile([0-9]*, $descriptor," "$work/calls"
		[ "$(grep -c pread64 "$work/calls")" -eq 0 ]
	fi
	# Nothing else of it is open.
	[ "$(find "/proc/$(workers)/fd" -lname '*/site/big' | wc -l)" -eq 0 ]
}

@test "all of it, parts of it and its head are right, before there is a copy and after" {
	make_files 1500000 big
	start_copies 4m
	for round in 1 2 3; do
		[ "$(curl -sSI "http://$address/big" | tr -d '\r' | sed -n 's/^Content-Length: //p')" -eq 1500000 ]
		for range in 0-0 0-299999 700000-1499999 1499999-; do
			curl -sS -r $range "http://$address/big" | cmp - <(
				first=${range%-*} last=${range#*-}
				tail -c +$((first + 1)) site/big | head -c $((${last:-1499999} - first + 1)))
		done
		curl -sS -r 5-700004,1000000-1400000 "http://$address/big" >"$work/parts"
		python3 - "$work/parts" site/big <<-'END'
			import sys
			said, whole = open(sys.argv[1], "rb").read(), open(sys.argv[2], "rb").read()
			assert said.count(b"\r\nContent-Range: ") == 2
			assert whole[5:700005] in said and whole[1000000:1400001] in said
			assert len(said) < 1100001 + 1000
		END
		same big
		# Pipelined, with small ones between, and the last one is the end.
		get="GET /big HTTP/1.1${crlf}Host: x$crlf"
		"$talk" "$address" "send:$get$crlf${get/big/}$crlf${get}${crlf}${get}Connection: close$crlf$crlf" read >"$work/said" 2>"$work/how"
		grep -qx eof=1 "$work/how"
		grep -qx status_200=4 "$work/how"
		[ "$(wc -c <"$work/said")" -gt $((3 * 1500000)) ]
		tail -c 1500000 "$work/said" | cmp - site/big
	done
	copies_are '1500000 '
}

@test "whoever is slow gets the copy whole, although the file is rewritten, removed or cut meanwhile" {
	start_copies 64m 'send-timeout 90s;'
	for change in rewrite remove cut; do
		head -c 39999999 /dev/zero | tr '\0' Q >site/letters
		echo >>site/letters
		touch -d '1 hour ago' site/letters
		settle site/letters
		same letters
		same letters
		ask letters
		wait_until are_begun 1
		case $change in
		rewrite) head -c 39999999 /dev/zero | tr '\0' Z | dd of=site/letters conv=notrunc bs=65536 status=none ;;
		remove) rm site/letters ;;
		cut) truncate -s 300000 site/letters ;;
		esac
		[ $change = remove ] || same letters
		cat <&"$asked" >"$work/said"
		exec {asked}<&-
		tail -n 1 "$work/said" | tr -d '\n' >"$work/line"
		[ "$(wc -c <"$work/line")" -eq 39999999 ]
		[ "$(tr -d Q <"$work/line" | wc -c)" -eq 0 ]
	done
}

@test "a file that changes while its copy is filled: who had begun is cut, and nobody gets a mix" {
	start_copies 64m 'send-timeout 90s;'
	head -c 39999999 /dev/zero | tr '\0' Q >site/letters
	echo >>site/letters
	touch -d '1 hour ago' site/letters
	settle site/letters
	curl -sS --max-filesize 1 "http://$address/letters" >/dev/null || true
	clients=()
	for who in 1 2 3; do
		ask letters
		clients+=("$asked")
	done
	wait_until are_begun 3
	copies | grep -qv '^40000000$' # it is not whole yet
	head -c 39999999 /dev/zero | tr '\0' Z | dd of=site/letters conv=notrunc bs=65536 status=none
	for asked in "${clients[@]}"; do
		cat <&"$asked" >"$work/said"
		exec {asked}<&-
		[ "$(wc -c <"$work/said")" -lt 40000000 ]
		[ "$(tail -c +1000 "$work/said" | tr -d Q | wc -c)" -eq 0 ]
	done
	settle site/letters
	for _ in 1 2 3; do
		same letters
	done
	copies_are '40000000 '
}

@test "copies take what file-copies says, whoever holds them, and 0 is none" {
	make_files 900000 {1..12}
	make_files 4000000 larger
	make_files 9000000 old.{1..5}
	start_copies 3m
	for round in 1 2; do
		for file in {1..12}; do
			same "$file"
			same "$file"
			copies_take $((3 << 20))
		done
	done
	[ "$(copies | wc -l)" -eq 3 ]
	# Larger than all of it.
	for _ in 1 2 3; do
		same larger
	done
	# All of it is held by slow ones, each of a file that is there no more.
	stop_server
	start_copies 30m 'send-timeout 90s;'
	clients=()
	for file in 1 2 3 4 5; do
		same old.$file
		same old.$file
		ask old.$file
		clients+=("$asked")
		wait_until are_begun $file
		rm site/old.$file
		copies_take $((30 << 20))
	done
	copies_are '9000000 9000000 9000000 '
	for file in 1 2 3; do
		same $file
		same $file
	done
	for asked in "${clients[@]}"; do
		exec {asked}<&-
	done
	wait_until connections_are 0
	stop_server
	start_copies 0
	for _ in 1 2 3; do
		same 1
	done
	copies_are ''
	for size in -1 17g 1x ''; do
		configure "service site http { root site; file-copies $size; }"
		run "$lastcall" check -c "$work/lastcall.conf"
		[ "$status" -eq 2 ]
		[[ "$output" == *"lastcall.conf:1:"*"file-copies"* ]]
	done
}

@test "a copy that there is no memory for is given up, and the file is read and sent" {
	make_files 3000000 big
	# What it bounds here is a copy; that cannot be written then, as when memory is out.
	start_copies 4m
	$unprivileged prlimit --pid "$(workers)" --fsize=1000000
	for _ in 1 2 3 4 5; do
		same big
	done
	copies_are ''
	[ "$(workers)" = "$(cat "$work/workers")" ]
}

@test "many at once, some of whom go away in the middle, get what is theirs" {
	make_files 5000000 big
	start_copies 16m
	for round in 1 2 3; do
		for _ in {1..20}; do
			"$talk" -q "$address" "send:GET /big HTTP/1.0$crlf$crlf" wait:$((RANDOM % 30)) reset >/dev/null 2>&1 3>&- &
			gone+=($!)
			same big 3>&- &
			stayed+=($!)
		done
		for pid in "${stayed[@]}"; do
			wait "$pid"
		done
		wait "${gone[@]}" || true
		stayed=() gone=()
	done
	[ "$(workers)" = "$(cat "$work/workers")" ]
	copies_are '5000000 '
}
