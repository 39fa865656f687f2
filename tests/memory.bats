# max-memory: a worker that has too much memory is replaced, one at a time, and nobody is lost by it.

load helper

setup() {
	common_setup
	padding=$(head -c 11000 /dev/zero | tr '\0' x)
}

teardown() {
	common_teardown
}

start_memory() {
	start_conf "log-level info; $1 service site http { root site; max-header 12k; } listen 127.0.0.1:0 -> site;"
}

# What max-memory looks at, of one worker, in KiB.
memory_of() {
	if is_posix; then
		awk '/VmHWM/ { print $2 }' "/proc/$1/status"
	else
		awk '{ print ($2 - $3) * 4 }' "/proc/$1/statm"
	fi
}

# limit MORE: in KiB, so much more than a worker has at its birth.
limit() {
	start_memory 'workers 1;'
	base=$(memory_of "$(workers)")
	stop_server
	echo $((base + $1 > 1100 ? base + $1 : 1100))
}

# grow: has the workers grow by 4 MiB and more together: many requests at once, each large, whose buffers stay theirs.
grow() {
	local fd fds=() line
	for i in {1..450}; do
		exec {fd}<>"/dev/tcp/127.0.0.1/${address##*:}"
		fds+=("$fd")
		printf 'GET / HTTP/1.1\r\nHost: x\r\nX: %s' "$padding" >&"$fd"
	done
	for fd in "${fds[@]}"; do
		printf '\r\nConnection: close\r\n\r\n' >&"$fd"
		read -r -t 10 line <&"$fd"
		[[ "$line" == *' 200 '* ]]
		exec {fd}>&-
	done
}

serves() {
	[ "$(curl -s --max-time 10 "http://$address/")" = 'hello, and welcome' ]
}

said() {
	[ "$(grep -c "$1" "$log")" -ge "$2" ]
}

# changed PID: it has ended, and there is another.
changed() {
	[ ! -e "/proc/$1" ] && worker_count_is 1
}

@test "a worker above max-memory is replaced, its successor ready first, and nobody is lost" {
	most=$(limit 2000)
	start_memory "workers 1; max-memory ${most}k;"
	old=$(workers)
	serves
	# A connection that it holds is served to its end.
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET / HTTP/1.1\r\nHost: x\r\n' >&6
	load_begin -c 16 -m keep -d 60000
	grow
	wait_until said 'of memory or more, and max-memory' 1
	wait_until said "pid $old) retires" 1
	serves
	printf 'Connection: close\r\n\r\n' >&6
	timeout 10 cat <&6 | grep -q welcome
	exec 6>&-
	kill "$load_pid"
	load_end
	nothing_lost
	[ "$(counted refused)" -eq 0 ]
	wait_until changed "$old"
	stop_server
	[ "$ended" -eq 0 ]
}

@test "one worker at a time is replaced" {
	most=$(limit 2000)
	start_memory "workers 3; max-memory ${most}k;"
	load_begin -c 24 -m close -d 60000
	# Connections are shared out, so all of them grow.
	for i in 1 2 3; do
		grow 3>&- &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid"; done
	wait_until said 'of memory or more, and max-memory' 1
	wait_until said 'retires' 1
	kill "$load_pid"
	load_end
	nothing_lost
	# Never two between one retirement and the next.
	awk '/of memory or more/ { if (++open > 1) exit 1 } / retires$/ { open-- }' "$log"
	stop_server
	[ "$ended" -eq 0 ]
}

@test "workers that are too large from the start are not replaced again and again; it is said once" {
	most=$(limit 2000)
	start_memory "workers 1; max-memory ${most}k;"
	first=$(workers)
	grow
	wait_until said 'max-memory: worker .* within 10 s of its birth' 1
	wait_until changed "$first"
	second=$(workers)
	grow
	# It is above the limit too, and is kept: some looks later it is still there.
	for i in 1 2 3 4 5 6; do
		serves
		sleep 0.5
	done
	[ "$(workers)" = "$second" ]
	[ "$(grep -c 'of memory or more, and max-memory' "$log")" -eq 1 ]
	[ "$(grep -c 'within 10 s of its birth' "$log")" -eq 1 ]
}

@test "what workers share counts for none of them" {
	! is_posix || skip "the twin cannot tell: it allows for all that may be shared"
	most=$(limit 1500)
	start_memory "workers 1; max-memory ${most}k;"
	old=$(workers)
	# Each listener has a word and a tally in the shared memory.
	for i in {1..100}; do
		"$lastcall" open 127.0.0.1:0 site >/dev/null
	done
	sleep 1.5 # one look at least
	[ "$(workers)" = "$old" ]
	run ! grep -q 'of memory or more' "$log"
}

@test "max-memory is taken up by a reload" {
	most=$(limit 2000)
	start_memory 'workers 1;'
	grow
	sed -i "s/workers 1;/workers 1; max-memory ${most}k;/" lastcall.conf
	"$lastcall" reload
	grow
	wait_until said 'of memory or more, and max-memory' 1
}

@test "max-memory has bounds, and unlimited is what it is without one" {
	printf 'max-memory 1000k; listen 127.0.0.1:0 -> echo;' >c
	run -2 "$lastcall" check -c c
	[[ "$output" == *'1000k is out of range; max-memory takes'* ]]
	printf 'max-memory 1m; listen 127.0.0.1:0 -> echo;' >c
	"$lastcall" check -c c
	printf 'max-memory unlimited; listen 127.0.0.1:0 -> echo;' >c
	"$lastcall" check -c c
}
