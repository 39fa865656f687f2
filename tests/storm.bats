# A storm of signals: they are coalesced, the last one wins, and everybody is served throughout.

load helper

: "${LASTCALL_STORM:=100000}"

setup() {
	common_setup
	mkdir var
}

teardown() {
	common_teardown
}

# configure_index TEXT: the next configuration, with what the index says.
configure_index() {
	mkdir -p "$work/$1"
	chmod 755 "$work/$1"
	echo "$1" >"$work/$1/index.html"
	printf '%s\n' "workers 2; error-log var/error.log; service site http { root $1; keepalive 1s; access-log var/access.log; } listen 127.0.0.1:0 -> site;" >"$work/next"
	mv "$work/next" "$work/lastcall.conf"
}

serves_as() {
	[ "$(curl -s --max-time 10 "http://$address/")" = "$1" ]
}

count() {
	cat var/error.log* | grep -c -- "$1" || true
}

log_has() {
	grep -q -- "$2" "$1"
}

# Ticks of a processor that the master has used.
ticks() {
	awk '{ print $14 + $15 }' "/proc/$server/stat"
}

# storm_of SIGNAL…: half of it, what is to be in force in the end, and the other half.
storm_of() {
	configure_index first
	start run -c "$work/lastcall.conf"
	cp site/1k.txt first/
	load_begin -c 16 -m close -t /1k.txt -e 1000 -d 600000 -T 30000
	"$tools/storm" "$server" $((LASTCALL_STORM / 2)) "$@"
	configure_index second
	cp site/1k.txt second/
	mv var/access.log var/access.log.1
	mv var/error.log var/error.log.1
	"$tools/storm" "$server" $((LASTCALL_STORM - LASTCALL_STORM / 2)) "$@"
}

storm_is_over() {
	kill "$load_pid"
	load_end
	nothing_lost
	[ "$(counted refused)" -eq 0 ]
	[ "$(counted status_5xx)" -eq 0 ]
	wait_until worker_count_is 2
	[ "$(pgrep -P "$server" | wc -l)" -eq 2 ] # and no zombie
	stop_server
	[ "$ended" -eq 0 ]
}

@test "a storm of HUP is few reloads, and the last file is in force" {
	SECONDS=0
	storm_of HUP
	wait_until serves_as second
	# One at once, one for each second after it, and the last.
	[ "$(count 'reloaded: generation')" -le $((SECONDS + 2)) ]
	storm_is_over
}

@test "a storm of USR1 is few reopenings, and what was renamed before the last one is opened anew" {
	SECONDS=0
	storm_of USR1
	wait_until test -s var/access.log
	wait_until log_has var/error.log 'opened anew'
	[ "$(count 'log files opened anew')" -le $((SECONDS + 2)) ]
	"$lastcall" reopen
	size=$(stat -c %s var/access.log.1)
	storm_is_over
	# Since the last of them nobody has written to the old file.
	[ "$(stat -c %s var/access.log.1)" -eq "$size" ]
	[ "$(cat var/access.log* | grep -c 'GET /1k.txt')" -eq "$(counted responses)" ]
}

@test "a storm of CHLD without a death is nothing" {
	storm_of CHLD
	before=$(workers)
	"$tools/storm" "$server" "$LASTCALL_STORM" CHLD
	[ "$(workers)" = "$before" ]
	[ "$(wc -l <var/error.log.1)" -eq 1 ]
	storm_is_over
}

@test "a storm of HUP, USR1 and CHLD in turn, while workers die, leaves it as it should be" {
	SECONDS=0
	storm_of HUP USR1 CHLD
	wait_until serves_as second
	wait_until test -s var/access.log
	wait_until test -s var/error.log
	kill "$load_pid"
	load_end
	nothing_lost
	# shellcheck disable=SC2046
	kill -KILL $(workers | head -n 1)
	"$tools/storm" "$server" "$LASTCALL_STORM" HUP USR1 CHLD
	wait_until worker_count_is 2
	serves_as second
	[ "$(count 'reloaded: generation')" -le $((SECONDS + 3)) ]
	[ "$(count 'log files opened anew')" -le $((SECONDS + 3)) ]
	wait_until calm
	stop_server
	[ "$ended" -eq 0 ]
}

# calm: the master uses next to no processor again: at most 3 ticks of 10 ms in a second.
calm() {
	local before
	before=$(ticks)
	sleep 1
	[ $(($(ticks) - before)) -le 3 ]
}
