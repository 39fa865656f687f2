#!/usr/bin/env bats
# Files: what is served is what is there, whole and new, and nothing above the root ever.

# Each test is a subshell with its own variables, and the helper has some of them.
# shellcheck disable=SC2030,SC2031,SC2154
load helper

# How often a race is tried.
: "${LASTCALL_TRIES:=20000}"

setup() {
	common_setup
	talk=$tools/talk
	crlf='\r\n'
	secret='secret, and outside of the root'
	echo "$secret" >"$work/secret.txt"
	mkdir "$work/outside"
	echo "$secret" >"$work/outside/file.txt"
	posix=''
	if [[ "$("$lastcall" --version)" == *posix* ]]; then
		posix=yes
	fi
}

teardown() {
	common_teardown
}

# status TARGET: the status that it gets, asked as it stands here. What came is in said.
status() {
	said=$("$talk" "$address" "send:GET $1 HTTP/1.1${crlf}Host: x${crlf}Connection: close$crlf$crlf" read 2>/dev/null)
	status=${said:9:3}
}

# gets STATUS TARGET…: each of these gets it, and none of the secret.
gets() {
	local wanted=$1 target
	shift
	for target; do
		status "$target"
		if [ "$status" != "$wanted" ] || [[ "$said" == *"$secret"* ]]; then
			echo "$target: wanted $wanted: $said"
			return 1
		fi
	done
}

# swapping WORD…: tests/tools/swap in the background; returns when it has begun.
swapping() {
	local fifo=$work/swap.ready
	rm -f "$fifo"
	mkfifo "$fifo"
	"$tools/swap" "$@" >"$fifo" 2>"$work/log.swap" 3>&- &
	swapper=$!
	background+=("$swapper")
	read -r -t 10 _ <"$fifo"
}

swapping_ends() {
	kill -KILL "$swapper"
	wait "$swapper" || true
}

number() {
	sed -n "s/^$1=//p" <<<"$output"
}

same_workers() {
	[ "$(workers | sort | tr '\n' ' ')" = "$(sort "$work/workers" | tr '\n' ' ')" ]
}

# ---- paths ----

@test "no path leads above the root" {
	start_site
	gets 400 /../secret.txt /%2e%2e/secret.txt /%2E./secret.txt /.%2e/secret.txt \
		/a/../../secret.txt /./../secret.txt //../secret.txt /..//secret.txt /index.html/../../secret.txt /..
	gets 404 /..%2e/../../secret.txt /..%2fsecret.txt /%2e%2e%2fsecret.txt /a%2f..%2f..%2fsecret.txt /%2fetc/passwd "/$work/secret.txt" //etc/passwd \
		/%252e%252e/secret.txt '/..\secret.txt' '/..%5csecret.txt' /...../secret.txt /%c0%ae%c0%ae/secret.txt /..%c0%af/secret.txt
	gets 400 /index.html%00 /%00 /index.html%00.txt /%0a /%7f /% /%2 /%zz /index.html%
	gets 200 / // /./ /index.html /./index.html //index.html /a/../index.html /%69ndex.html /index%2ehtml http://x/index.html \
		http://x '/?/../../secret.txt' '/index.html?../../secret.txt'
}

@test "names that are too long are 414, and paths that are too deep 404" {
	start_site
	long=$(head -c 256 /dev/zero | tr '\0' n)
	gets 414 "/$long" "/$long/index.html"
	gets 404 "/${long:1}"
	gets 414 "$(printf "/${long:1}%.0s" {1..17})"
	gets 404 "$(printf '/n%.0s' {1..1900})"
	gets 200 "$(printf '/n%.0s' {1..900})$(printf '/..%.0s' {1..900})/index.html"
}

@test "names that begin with a dot are not there, but for .well-known" {
	mkdir -p site/.git site/.well-known/acme site/sub/.svn
	echo x | tee site/.git/config site/.htpasswd site/.well-known/acme/token site/.well-known/.hidden site/sub/.svn/entries
	start_site
	gets 404 /.git/config /.git /.git/ /.htpasswd /.well-known/.hidden /sub/.svn/entries /%2egit/config /sub/../.git/config
	gets 200 /.well-known/acme/token
}

@test "names with odd bytes are served when they are escaped" {
	for name in 'a b' 'a%b' 'a?b' 'a#b' 'a"b' 'a\b' $'\xc3\xa4' $'\xff' "a'b" 'a;b' 'a&b=c' '-n'; do
		printf 'this is %s' "$name" >"site/$name"
		escaped=$(printf '%s' "$name" | od -An -v -tx1 | tr -d '\n' | sed 's/ /%/g')
		gets_it "$escaped" "$name"
	done
}

gets_it() {
	[ -n "$address" ] || start_site
	gets 200 "/$1"
	[[ "$said" == *"this is $2" ]]
}

# ---- links ----

@test "a link within the root is followed on Linux, and 403 elsewhere" {
	mkdir -p site/sub
	cp site/index.html site/sub/real.html
	ln -s real.html site/sub/near.html
	ln -s ../index.html site/sub/up.html
	ln -s sub site/folder
	start_site
	if [ -n "$posix" ]; then
		gets 403 /sub/near.html /sub/up.html
	else
		gets 200 /sub/near.html /sub/up.html /folder/real.html
	fi
}

@test "a link that leads out is 403, whichever way it does" {
	ln -s ../secret.txt site/out.txt
	ln -s "$work/secret.txt" site/absolute.txt
	ln -s "$work/site/index.html" site/absolute-inside.txt
	ln -s out.txt site/twice.txt
	ln -s /proc/self/root/etc/passwd site/magic.txt
	ln -s loop.txt site/loop.txt
	ln -s nowhere site/dangling.txt
	mkdir site/deep
	ln -s ../../secret.txt site/deep/out.txt
	ln -s ../outside site/folder
	start_site
	gets 403 /out.txt /absolute.txt /absolute-inside.txt /twice.txt /magic.txt /loop.txt /deep/out.txt
	for target in /folder/file.txt /folder/ /folder /dangling.txt; do
		status $target
		[[ "$status" == 40[34] && "$said" != *"$secret"* ]]
	done
	gets 200 /
}

@test "a link that is swapped between inside and outside never leaks what is outside" {
	printf 'inside, and public\n' >site/inside.txt
	ln -s inside.txt site/one.txt
	ln -s ../secret.txt site/two.txt
	start_site
	swapping exchange site/one.txt site/two.txt
	run "$tools/fetch" -n "$LASTCALL_TRIES" -f "$secret" "$address" /one.txt
	echo "$output"
	swapping_ends
	[ "$status" -eq 0 ]
	[ "$(number leaked)" -eq 0 ]
	# It was tried in earnest: there were both.
	[ "$(number status_403)" -gt 0 ]
	[ -n "$posix" ] || [ "$(number status_200)" -gt 0 ]
}

@test "a folder that is swapped with a link to the outside never leaks what is outside" {
	mkdir site/folder
	printf 'inside, and public\n' >site/folder/file.txt
	ln -s ../outside site/other
	start_site
	swapping exchange site/folder site/other
	run "$tools/fetch" -n "$LASTCALL_TRIES" -f "$secret" "$address" /folder/file.txt
	echo "$output"
	swapping_ends
	[ "$status" -eq 0 ]
	[ "$(number leaked)" -eq 0 ]
	[ "$(number status_200)" -gt 0 ]
	[ "$(($(number status_403) + $(number status_404) + 0))" -gt 0 ]
}

# ---- what is no file ----

@test "FIFOs, devices, sockets and folders are 403 at once, and hold nobody up" {
	mkfifo site/fifo
	mkdir -p site/folder/index.html site/empty
	targets='/fifo /folder/ /empty/'
	if [ "$(id -u)" -eq 0 ]; then
		mknod -m 666 site/null c 1 3
		mknod -m 666 site/zero c 1 5
		mknod -m 666 site/tty c 5 0
		targets+=' /null /zero /tty'
	fi
	ln -s /dev/zero site/to-zero
	targets+=' /to-zero'
	start_site
	"$lastcall" run -l "unix:$work/site/socket" echo -w 1 --ready-fd 9 9>ready >/dev/null 2>&1 3>&- &
	background+=($!)
	wait_until test -S site/socket
	load_begin -c 5 -m keep -t /1k.txt -e 1000 -d 60000
	for _ in 1 2 3; do
		# shellcheck disable=SC2086
		gets 403 $targets /socket
	done
	kill -TERM "$load_pid"
	load_end
	nothing_lost
	[ "$(counted latency_max_ms)" -lt 3000 ]
	same_workers
}

@test "what the workers may not read is 403" {
	[ "$(id -u)" -eq 0 ] || skip "wants root, so that the workers are somebody else"
	mkdir site/closed
	cp site/index.html site/closed/file.html
	cp site/index.html site/mode0.html
	chmod 0 site/mode0.html
	chmod 700 site/closed
	start_site
	gets 403 /mode0.html /closed/file.html /closed/
	gets 200 /
}

@test "what becomes unreadable is not served any more, although it was in the cache" {
	[ "$(id -u)" -eq 0 ] || skip "wants root, so that the workers are somebody else"
	mkdir site/sub
	cp -p site/index.html site/sub/a.html
	touch -d '1 hour ago' site/sub/a.html
	settle site/sub/a.html
	start_site
	gets 200 /index.html /index.html /index.html /sub/a.html /sub/a.html /sub/a.html
	chmod 0 site/index.html
	chmod 700 site/sub
	gets 403 /index.html /index.html /index.html /sub/a.html /sub/a.html /sub/a.html
	chmod 644 site/index.html
	gets 200 /index.html /index.html /index.html
	rm site/index.html
	gets 404 /index.html /index.html /index.html
}

# ---- files that change ----

# changing HOW: a file of one letter is changed all the time, and asked for by quick and by slow readers.
changing() {
	local options
	head -c "$size" /dev/zero | tr '\0' a >site/changing
	start_site
	began_with=$(workers)
	swapping "$1" site/changing "$size" "$pause"
	for options in '-n 300' '-n 100 -c' '-n 20 -c -p 20 -b 4096'; do
		# shellcheck disable=SC2086
		run "$tools/fetch" -m $options "$address" /changing
		echo "$options: $output"
		[ "$(number mixed)" -eq 0 ]
		[ "$(number broken)" -eq 0 ]
		[ "$1" != replace ] || [ "$(number short)" -eq 0 ]
	done
	swapping_ends
	[ "$(workers)" = "$began_with" ]
	gets 200 /index.html
}

@test "a file that is replaced while it is sent: each answer is the old one or the new one, whole" {
	size=2000000 pause=3 changing replace
}

@test "a small file that is replaced while it is sent is the old one or the new one, whole" {
	size=6000 pause=0 changing replace
}

@test "a file that is truncated while it is sent is short or whole, and nobody dies of it" {
	size=2000000 pause=3 changing truncate
	size=6000 pause=0 changing truncate
}

# rewritten SIZE: the file is rewritten in place, once and whole, when the client has the head and not yet the rest.
rewritten() {
	local round before=a after=b
	head -c "$1" /dev/zero | tr '\0' a >site/rewritten
	start_site
	for round in {1..5}; do
		"$tools/fetch" -m -c -p 500 -b 8192 "$address" /rewritten >"$work/fetched" 3>&- &
		background+=($!)
		wait_until connections_are 1
		sleep 0.1 # what is asserted does not depend on it
		head -c "$1" /dev/zero | tr '\0' "$after" | dd of=site/rewritten conv=notrunc bs=65536 status=none
		wait "${background[-1]}" || true
		output=$(cat "$work/fetched")
		echo "round $round, $before to $after: $output"
		[ "$(number mixed)" -eq 0 ]
		[ "$(number broken)" -eq 0 ]
		wait_until connections_are 0
		read -r before after <<<"$after $before"
	done
	gets 200 /index.html
}

@test "a file that is rewritten in place while it is sent is short, or the old one whole" {
	rewritten 30000000
}

# With sendfile(2) what waits in the socket is the file's own pages, and changes with them.
@test "a file that is rewritten in place when all of it is in the socket is the old one, no mix" {
	rewritten 100000
}

@test "a small file that has changed is never served as it was: renamed over, written in place, of the same size" {
	settle site/1k.txt
	start_site
	gets 200 /1k.txt /1k.txt /1k.txt
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	for i in {1000..1100}; do
		if ((i % 2)); then
			printf 'content %d' "$i" >site/1k.txt
		else
			printf 'content %d' "$i" >site/new
			mv site/new site/1k.txt
		fi
		# At once on a connection that is there, and on another, which any worker may have.
		printf 'GET /1k.txt HTTP/1.1\r\nHost: x\r\n\r\n' >&6
		while IFS= read -r -t 10 line <&6 && [ "$line" != $'\r' ]; do :; done
		IFS= read -r -N 12 -t 10 line <&6
		[ "$line" = "content $i" ]
		gets 200 /1k.txt
		[[ "$said" == *"content $i" ]]
	done
	exec 6>&-
}

@test "a file with an old date that changes is never served as it was" {
	printf 'content 0' >site/old.txt
	touch -d '2020-01-01' site/old.txt
	settle site/old.txt
	start_site
	for i in 1 2 3 4 5 6; do
		gets 200 /old.txt /old.txt /old.txt
		printf 'content %d' $i >site/old.txt
		touch -d '2020-01-01' site/old.txt
		gets 200 /old.txt
		[[ "$said" == *"content $i" ]]
	done
}

# ---- the root ----

@test "a root that vanishes is 404 for everything, and is served again when it is back" {
	start_site
	gets 200 / /1k.txt
	rm -r site
	gets 404 / /1k.txt /index.html /sub/x
	same_workers
	mkdir site
	echo 'it is back' >site/index.html
	wait_until back_again
	gets 200 / /index.html
	[[ "$said" == *"it is back"* ]]
	same_workers
}

# Both workers may be asked: several times.
back_again() {
	for _ in 1 2 3 4 5 6; do
		status /
		[ "$status" = 200 ] || return 1
	done
}

@test "a root that is a link is followed when it is swapped, within about a second" {
	mkdir first second
	echo 'the first' >first/index.html
	echo 'the second' >second/index.html
	touch -d '1 hour ago' first/index.html second/index.html
	chmod 755 first second
	ln -s first current
	start_conf 'service site http { root current; }
		workers 1;
		listen 127.0.0.1:0 -> site;'
	gets 200 / /index.html
	[[ "$said" == *"the first"* ]]
	ln -s second next
	mv -T next current
	began=$(date +%s%N)
	until [[ "$said" == *"the second"* ]]; do
		gets 200 /
		[ $(($(date +%s%N) - began)) -lt 5000000000 ]
	done
	# And never back.
	gets 200 / / /
	[[ "$said" == *"the second"* ]]
}
