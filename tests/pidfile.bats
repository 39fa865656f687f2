#!/usr/bin/env bats
# The pid file: the lock is the truth, not the file; nobody but its holder is refused to, signalled, or removed.

load helper

setup() {
	common_setup
	chmod 777 "$work" # as nobody, too, a pid file can be made there
}

teardown() {
	umount "$work/full" 2>/dev/null || true
	common_teardown
}

start_with_pid_file() {
	start run -l 127.0.0.1:0 http site -w 1 -p "$work/pid" "$@"
}

# refused_start REASON [STATUS]: a start that must fail says this and leaves the pid file's place as it was.
refused_start() {
	run "-${2:-1}" timeout 15 "$lastcall" run -l 127.0.0.1:0 http site -w 1 -p "$work/pid"
	[[ "$output" == "lastcall: error: "*"$1"* ]]
	[ "$(grep -c . <<<"$output")" -eq 1 ]
}

@test "the pid file has the pid of the master while it runs, and is gone after an orderly stop" {
	start_with_pid_file
	[ "$(cat pid)" = "$server" ]
	[ "$(stat -c %a pid)" = 600 ]
	stop_server TERM
	[ "$ended" -eq 0 ]
	[ ! -e pid ]
}

@test "the pid file is gone after QUIT and after a start that failed" {
	start_with_pid_file
	stop_server QUIT
	[ ! -e pid ]
	run -1 "$lastcall" run -l 192.0.2.1:0 http site -p "$work/pid"
	[ ! -e pid ]
}

@test "a stale pid file is taken over, whatever pid is in it" {
	for stale in '' 1 "$$" 99999999; do
		echo "$stale" >pid
		start_with_pid_file
		[ "$(cat pid)" = "$server" ]
		stop_server TERM
		[ "$ended" -eq 0 ]
		[ ! -e pid ]
	done
}

@test "a second instance is refused with the pid of the first, which serves on with its file whole" {
	start_with_pid_file
	refused_start "pid file $work/pid: locked by a running lastcall, pid $server"
	[ "$(cat pid)" = "$server" ]
	[ "$(curl -s "http://$address/")" = "hello, and welcome" ]
	stop_server TERM
	[ "$ended" -eq 0 ]
}

@test "a second instance is refused while the first still drains" {
	start_with_pid_file
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET' >&6
	kill -TERM "$server"
	wait_until grep -q 'last call' "$log"
	refused_start "locked by a running lastcall, pid $server"
	printf ' / HTTP/1.1\r\nHost: x\r\n\r\n' >&6
	[[ "$(timeout 10 cat <&6)" == *"200 OK"* ]]
	exec 6>&-
	end_server
	[ "$ended" -eq 0 ]
	[ ! -e pid ]
}

@test "of 50 parallel starts on one pid file exactly one wins, the others say why" {
	for ((round = 0; round < LASTCALL_ROUNDS; round++)); do
		pids=()
		for i in {1..50}; do
			"$lastcall" run -l 127.0.0.1:0 http site -w 1 -p "$work/pid" >"out.$i" 2>"err.$i" 3>&- &
			pids+=($!)
		done
		background+=("${pids[@]}")
		wait_until fifty_decided
		[ "$(cat out.* | grep -c '^ready ')" -eq 1 ]
		[ "$(grep -lE 'locked by a running lastcall|takes it again and again' err.* | wc -l)" -eq 49 ]
		winner=$(sed -n 's/^ready //p' out.*)
		[ "$(cat pid)" = "$winner" ]
		kill -TERM "$winner"
		failed=0
		for pid in "${pids[@]}"; do
			status=0
			wait "$pid" || status=$?
			if [ "$pid" = "$winner" ]; then
				[ $status -eq 0 ]
			else
				[ $status -eq 1 ]
				failed=$((failed + 1))
			fi
		done
		[ $failed -eq 49 ]
		[ ! -e pid ]
		rm -f out.* err.*
	done
}

# Each of the fifty is ready or has said why not.
fifty_decided() {
	[ "$(cat out.* err.* | grep -cE '^ready |^lastcall: error: ')" -eq 50 ]
}

@test "a symbolic link is refused, and what it leads to is not touched" {
	echo precious >target
	ln -s target pid
	refused_start "pid file $work/pid: is a symbolic link"
	[ "$(cat target)" = precious ]
	[ -L pid ]
	ln -sfn nowhere pid
	refused_start "pid file $work/pid: is a symbolic link"
	[ ! -e nowhere ]
}

@test "a FIFO, a folder, a socket and a device are refused, and stay" {
	mkfifo pid
	refused_start "pid file $work/pid: is not a regular file"
	[ -p pid ]
	rm pid
	mkdir pid
	refused_start "pid-file \"$work/pid\": it is a folder" 2
	[ -d pid ]
	rmdir pid
	start run -l "unix:$work/pid" echo -w 1
	refused_start "pid file $work/pid: "
	[ -S pid ]
	stop_server TERM
	run -1 "$lastcall" run -l 127.0.0.1:0 http site -p /dev/null
	[[ "$output" == *"pid file /dev/null: is not a regular file"* ]]
	[ -c /dev/null ]
}

@test "only its own pid file is removed: one that replaced it stays" {
	start_with_pid_file
	echo mine >other
	mv other pid
	stop_server TERM
	[ "$ended" -eq 0 ]
	[ "$(cat pid)" = mine ]
}

@test "a pid file that was removed does not disturb the stop" {
	start_with_pid_file
	rm pid
	stop_server TERM
	[ "$ended" -eq 0 ]
	[ ! -e pid ]
}

@test "a restart works at once after kill -9, and takes the stale file over" {
	for ((round = 0; round < LASTCALL_ROUNDS * 3; round++)); do
		start_with_pid_file
		stop_server KILL
		[ -e pid ]
		start_with_pid_file
		[ "$(cat pid)" = "$server" ]
		[ "$(curl -s "http://$address/")" = "hello, and welcome" ]
		stop_server TERM
		[ "$ended" -eq 0 ]
	done
}

@test "workers do not hold the lock: it is free as soon as the master is dead, while they still drain" {
	start_with_pid_file
	orphan=$(workers)
	exec 6<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'GET' >&6
	stop_server KILL
	run -1 "$lastcall" stop -p pid
	[[ "$output" == *"no lastcall is running"* ]]
	kill -0 "$orphan"
	printf ' / HTTP/1.1\r\nHost: x\r\n\r\n' >&6
	[[ "$(timeout 10 cat <&6)" == *"200 OK"* ]]
	exec 6>&-
}

@test "a pid file in a folder that cannot be written is a clear error" {
	mkdir closed
	chmod 555 closed
	if [ "$(id -u)" -eq 0 ]; then
		# shellcheck disable=SC2086
		run -1 $unprivileged "$lastcall" run -l 127.0.0.1:0 http site -p "$work/closed/pid"
	else
		run -1 "$lastcall" run -l 127.0.0.1:0 http site -p "$work/closed/pid"
	fi
	[ "$output" = "lastcall: error: pid file $work/closed/pid: Permission denied" ]
	run -2 "$lastcall" run -l 127.0.0.1:0 http site -p "$work/absent/pid"
	[ "$output" = "lastcall: error: folder of pid-file \"$work/absent\": there is no such folder" ]
	[ ! -e absent ]
}

@test "a pid file that cannot be written to is a clear error, and nothing runs" {
	[ "$(id -u)" -eq 0 ] || skip "wants root, for a full file system"
	mkdir full
	mount -t tmpfs -o size=4k,mode=777 tmpfs full 2>/dev/null || skip "cannot mount here"
	head -c 8192 /dev/zero >full/filler 2>/dev/null || true
	run -1 timeout 15 "$lastcall" run -l 127.0.0.1:0 http site -p "$work/full/pid"
	left=$(ls full)
	umount full
	[[ "$output" == *"pid file $work/full/pid: cannot write it: No space left on device"* ]]
	[ "$left" = filler ]
}

@test "a relative pid file is made in the current folder, and the configuration's is as good as -p" {
	start run -l 127.0.0.1:0 http site -w 1 -p pid
	[ "$(cat pid)" = "$server" ]
	stop_server TERM
	start_conf "pid-file pid; workers 1; listen 127.0.0.1:0 -> echo;"
	[ "$(cat pid)" = "$server" ]
	run -0 "$lastcall" stop -c lastcall.conf
	[[ "$output" == "lastcall: drained in "*", 0 cut" ]]
	end_server
	[ "$ended" -eq 0 ]
	[ ! -e pid ]
}

@test "a pid file that is held in another pid namespace is not taken for a stale one" {
	[ "$(id -u)" -eq 0 ] || skip "wants root, for a pid namespace"
	unshare -pf --mount-proc true 2>/dev/null || skip "there are no pid namespaces here"
	start_with_pid_file
	run -1 timeout 15 unshare -pf --mount-proc "$lastcall" stop -p pid
	[ "$output" = "lastcall: error: stop: pid: its holder is in another pid namespace" ]
	run -1 timeout 15 unshare -pf --mount-proc "$lastcall" run -l 127.0.0.1:0 echo -p pid
	[ "$output" = "lastcall: error: pid file $work/pid: cannot lock it: its holder is in another pid namespace" ]
	[ "$(cat pid)" = "$server" ]
	stop_server TERM
	[ "$ended" -eq 0 ]
}

@test "stop signals nobody when the pid in a stale file was given to another process" {
	[ "$(id -u)" -eq 0 ] || skip "wants root, for a pid namespace"
	unshare -pf --mount-proc true 2>/dev/null || skip "there are no pid namespaces here"
	run -0 timeout 30 unshare -pf --mount-proc "$BASH" -c '
		set -e
		mkfifo ready
		"$1" run -l 127.0.0.1:0 echo -w 1 -p pid --ready-fd 9 9>ready >/dev/null 2>log 3>&- &
		old=$!
		grep -q "^ready" <ready
		kill -KILL $old
		wait $old 2>/dev/null || true
		[ "$(cat pid)" = $old ]
		# Its worker ends by itself; then the next process gets the same pid.
		echo $((old - 1)) >/proc/sys/kernel/ns_last_pid
		sleep 60 3>&- &
		[ $! = $old ] || { echo "pid $! instead of $old"; exit 9; }
		until [ "$(cat /proc/$old/comm)" = sleep ]; do sleep 0.01; done
		"$1" stop -p pid && exit 8
		[ $? = 1 ]
		"$1" stop -p pid --now && exit 8
		kill -0 $old
		[ "$(cat /proc/$old/comm)" = sleep ]
		# And a new server takes the file over.
		rm ready
		mkfifo ready
		"$1" run -l 127.0.0.1:0 echo -w 1 -p pid --ready-fd 9 9>ready >/dev/null 2>log 3>&- &
		new=$!
		grep -q "^ready" <ready
		"$1" stop -p pid
		wait $new
		[ "$(cat /proc/$old/comm)" = sleep ]
		kill -KILL $old
	' bash "$lastcall"
	[ "$(grep -c 'no lastcall is running' <<<"$output")" -eq 2 ]
	[[ "$output" == *"drained in"* ]]
}

@test "a file that is no pid file is refused and left as it is" {
	for stale in -1 nonsense "$(head -c 100000 /dev/zero | tr '\0' 7)"; do
		echo "$stale" >pid
		run -1 timeout 20 "$lastcall" serve -l 127.0.0.1:0 -p pid site
		[ "$(cat pid)" = "$stale" ]
	done
	echo precious >precious
	run -1 timeout 20 "$lastcall" serve -l 127.0.0.1:0 -p precious site
	[[ "$output" == *"pid file $work/precious: there is something else in it; it is left alone"* ]]
	[ "$(cat precious)" = precious ]
}

@test "the pid file is removed at the end also after reloads, when the configuration that named it is gone" {
	printf 'workers 1; pid-file %s/pid; listen 127.0.0.1:0 -> echo;\n' "$work" >lastcall.conf
	start run -c lastcall.conf
	for ((i = 1; i <= 3; i++)); do
		"$lastcall" reload
	done
	[ "$(cat pid)" = "$server" ]
	stop_server
	[ "$ended" -eq 0 ]
	[ ! -e pid ]
}
