#!/usr/bin/env bats
# `lastcall check` as a person sees it: what it says, where it points, how it ends, and that it
# leaves no trace. What each single error says is in tests/unit/config_test.c.

bats_require_minimum_version 1.5.0

setup() {
	: "${LASTCALL_BUILD:?is the folder of the binaries}"
	lastcall=$LASTCALL_BUILD/lastcall
	conf=$BATS_TEST_DIRNAME/../conf
	mkdir "$BATS_TEST_TMPDIR/work" # bats keeps files of its own beside it
	cd "$BATS_TEST_TMPDIR/work" || return
}

# check STATUS [FILE]: runs check, with no line of its errors mixed into its output.
check() {
	run -"$1" --separate-stderr timeout 20 "$lastcall" check -c "${2-lastcall.conf}"
	if [ "$1" -ne 0 ]; then
		[ -z "$output" ]
	fi
}

# says TEXT: standard error is exactly this.
says() {
	diff <(printf '%s\n' "$1") <(printf '%s\n' "$stderr")
}

# counts N: so many errors were shown.
counts() {
	[ "$(grep -c ': error: ' <<<"$stderr")" -eq "$1" ]
}

@test "a good configuration is ok, and says what is in it" {
	mkdir site
	cat >lastcall.conf <<-'END'
		service site http { root site; }
		service mirror echo { idle 1s; }
		listen 127.0.0.1:0 :0 -> site;
		listen unix:echo.sock -> mirror;
	END
	check 0
	[ "$output" = "lastcall.conf: ok, 2 services, 3 listeners" ]
	[ -z "$stderr" ]
}

@test "the delivered configurations are ok" {
	for file in lastcall.conf minimal.conf; do
		check 0 "$conf/$file"
		[ -z "$stderr" ]
	done
}

@test "CR LF and a byte order mark are accepted" {
	printf '\357\273\277workers 1;\r\nlisten :0 -> echo;\r\n' >lastcall.conf
	check 0
}

@test "an error has file, line, column, the line and a caret" {
	printf 'workers 2;\n\n    lissten 80;\n' >lastcall.conf
	check 2
	says 'lastcall.conf:3:5: error: unknown directive "lissten"; did you mean "listen"?
    3 |     lissten 80;
      |     ^~~~~~~'
}

@test "all errors of a file appear in one run" {
	cat >lastcall.conf <<-'END'
		workers many;
		grace 30s
		settle 2d;
		service site htp { root x; }
		service echo2 echo { idle "1s; }
		root ./public;
		listen 80;
		listen 70000 ::1:80 -> echo;
		listen 8080 -> ehco;
	END
	check 2
	counts 10
	for place in 1:9 2:10 3:8 4:14 5:27 6:1 7:8 8:8 8:14 9:16; do
		grep -q "^lastcall.conf:$place: error: " <<<"$stderr"
	done
}

@test "at most 20 errors are shown, the rest is counted" {
	for i in {1..27}; do
		echo "wrong$i x;"
	done >lastcall.conf
	check 2
	counts 20
	[ "$(tail -n 1 <<<"$stderr")" = "... and 7 more errors" ]
}

@test "a near word is suggested: directive, service, kind, choice" {
	cat >lastcall.conf <<-'END'
		wrokers 1;
		log-level wran;
		service site http { rot .; }
		service other htttp { root .; }
		listen :0 -> sitee;
	END
	check 2
	for word in workers warn root http site; do
		grep -qF "did you mean \"$word\"?" <<<"$stderr"
	done
	counts 5
}

@test "an unclosed block is blamed on its brace" {
	printf 'service a echo {\n\tidle 1s;\n\nlisten :0 -> a;\n' >lastcall.conf
	check 2
	grep -q '^lastcall.conf:1:16: error: this "{" is never closed$' <<<"$stderr"
}

@test "a missing semicolon is blamed on where it is missing" {
	printf 'grace 10s\nsettle 1s;\nlisten :0 -> echo;\n' >lastcall.conf
	check 2
	says 'lastcall.conf:1:10: error: expected ";" after "10s"
    1 | grace 10s
      |          ^'
}

@test "two listeners on one address are an error that names both" {
	printf 'listen 8080 -> echo;\nlisten 127.0.0.1:8081 *:8080 -> echo;\n' >lastcall.conf
	check 2
	counts 1
	grep -q '^lastcall.conf:2:23: error: .*at lastcall.conf:1:8$' <<<"$stderr"
}

@test "a listener on an address that is part of another's is an error that names both" {
	printf 'listen *:80 -> echo;\nlisten 127.0.0.1:80 localhost:80 [::1]:80 [::1]:81 -> echo;\n' >lastcall.conf
	check 2
	[ "${stderr_lines[0]}" = 'lastcall.conf:2:8: error: address "127.0.0.1:80" overlaps with "*:80", which is already listened on, at lastcall.conf:1:8' ]
	[ "${stderr_lines[1]}" = '    2 | listen 127.0.0.1:80 localhost:80 [::1]:80 [::1]:81 -> echo;' ]
	[ "${stderr_lines[2]}" = '      |        ^~~~~~~~~~~~' ]
	counts 3
	# IPv6 addresses are bound without IPv4.
	printf 'listen [::]:80 0.0.0.0:80 -> echo;\n' >lastcall.conf
	check 0
}

@test "a configuration that is missing" {
	check 2 missing.conf
	says "missing.conf: error: No such file or directory"
}

@test "a configuration that is a directory" {
	mkdir lastcall.conf
	check 2
	says "lastcall.conf: error: is a directory"
}

@test "a configuration that is binary" {
	printf 'workers 1;\nlisten \0\1\2' >lastcall.conf
	check 2
	says "lastcall.conf: error: contains a NUL byte; this is no configuration"
}

@test "a configuration of 10 MiB" {
	yes 'workers 1;' 2>/dev/null | head -c 10485760 >lastcall.conf
	check 2
	says "lastcall.conf: error: is larger than 1 MiB; this is no configuration"
}

@test "a configuration that is a FIFO or a device does not block" {
	mkfifo lastcall.conf
	check 2
	says "lastcall.conf: error: is not a regular file"
	check 2 /dev/zero
	says "/dev/zero: error: is not a regular file"
}

@test "a configuration that is unreadable" {
	echo 'listen :0 -> echo;' >lastcall.conf
	chmod 000 lastcall.conf
	if [ "$(id -u)" -eq 0 ]; then
		# root reads everything, but for the capability to do so
		without="setpriv --bounding-set=-dac_override,-dac_read_search"
		$without true 2>/dev/null || skip "root, and setpriv cannot take its rights"
	fi
	# shellcheck disable=SC2086
	run -2 --separate-stderr ${without-} "$lastcall" check -c lastcall.conf
	says "lastcall.conf: error: Permission denied"
}

@test "a line of a megabyte, and bytes that are no text, do not reach the terminal" {
	{
		printf 'user \033[31m\351;\n'
		head -c 500000 /dev/zero | tr '\0' x
		echo ';'
	} >lastcall.conf
	check 2
	[ "${#stderr}" -lt 2000 ]
	LC_ALL=C run ! grep -q '[^[:print:]]' <<<"$stderr"
}

@test "what the system lacks is an error at the word that names it" {
	cat >lastcall.conf <<-'END'
		user no-such-user;
		group no-such-group;
		pid-file none/lastcall.pid;
		service site http { root none; access-log none/a.log; }
		listen unix:none/s.sock -> site;
	END
	check 2
	counts 6
	for place in 1:6 2:7 3:10 4:26 4:43 5:8; do
		grep -q "^lastcall.conf:$place: error: " <<<"$stderr"
	done
}

@test "a relative path starts from the folder of its file" {
	mkdir -p etc/sub etc/sub/site
	echo 'include sub/site.conf; listen :0 -> site;' >etc/lastcall.conf
	echo 'service site http { root site; }' >etc/sub/site.conf
	check 0 etc/lastcall.conf
	cd /
	check 0 "$BATS_TEST_TMPDIR/work/etc/lastcall.conf"
}

@test "include reads what a pattern matches, and errors name the file" {
	mkdir sites
	echo 'include sites/*.conf; listen unix:s -> echo;' >lastcall.conf
	check 0
	echo 'listen :0 -> echo;' >sites/a.conf
	echo 'lisen :0 -> echo;' >sites/b.conf
	echo 'wrong' >sites/c.other
	check 2
	counts 1
	[[ $stderr = 'sites/b.conf:1:1: error: unknown directive "lisen"; did you mean "listen"?'* ]]
}

@test "an include cycle is one error" {
	echo 'include b.conf;' >lastcall.conf
	echo 'include ./lastcall.conf;' >b.conf
	check 2
	counts 1
	[[ $stderr = 'b.conf:1:9: error: include "./lastcall.conf": it is being read already'* ]]
}

@test "includes ten deep are read, eleven are an error" {
	for i in {1..9}; do
		echo "include $((i + 1)).conf;" >"$i.conf"
	done
	echo 'listen :0 -> echo;' >10.conf
	check 0 1.conf
	echo 'include 1.conf;' >lastcall.conf
	check 2
	counts 1
	[[ $stderr = '9.conf:1:9: error: include "10.conf": too many files that include one another'* ]]
}

@test "an include that is missing or a directory is an error at its word" {
	mkdir folder
	printf 'include missing.conf;\ninclude folder;\n' >lastcall.conf
	check 2
	counts 2
	grep -qF 'lastcall.conf:1:9: error: include "missing.conf": No such file' <<<"$stderr"
	grep -qF 'lastcall.conf:2:9: error: include "folder": is a directory' <<<"$stderr"
}

@test "check leaves no file and no socket, and does not touch what is there" {
	mkdir site
	echo untouched >there.sock
	cat >lastcall.conf <<-'END'
		pid-file ./lastcall.pid;
		error-log ./error.log;
		service site http { root site; access-log ./access.log; }
		listen unix:new.sock unix:there.sock 127.0.0.1:0 -> site;
	END
	find . | sort >../before
	check 0
	find . | sort >../after
	diff ../before ../after
	[ "$(cat there.sock)" = untouched ]
}

@test "check binds nothing and starts nothing" {
	command -v strace >/dev/null || skip "without strace"
	mkdir site
	cat >lastcall.conf <<-'END'
		service site http { root site; }
		listen unix:new.sock 127.0.0.1:0 -> site;
	END
	# The leak check of a sanitizer does not work under strace.
	ASAN_OPTIONS=detect_leaks=0 strace -f -o trace "$lastcall" check -c lastcall.conf
	grep -q 'exited with 0' trace
	run ! grep -E '(bind|listen|fork|vfork|clone3?)\(' trace
	grep -vF '"/dev/null"' trace >opened
	run ! grep -E 'open(at)?\(.*O_(WRONLY|RDWR|CREAT)' opened
}
