# Log files that are opened anew, by USR1 and `lastcall reopen`, after somebody has renamed them: no line is lost or
# written twice, and when the command returns nobody writes to the old file.

load helper

# How often logs are rotated under load.
: "${LASTCALL_ROTATIONS:=10}"

setup() {
	common_setup
	mkdir var
	chmod 755 var
}

teardown() {
	[ -z "${reader:-}" ] || kill "$reader" 2>/dev/null || true
	common_teardown
}

site="service site http { root site; access-log var/access.log; }"

# start_logged [TEXT]: two workers, a site with an access log, and an error log.
start_logged() {
	start_conf "workers 2; error-log var/error.log; log-level info; $site listen 127.0.0.1:0 -> site; ${1:-}"
}

get() {
	curl -sf -m 10 "http://${1:-$address}/${2:-}"
}

# rotate N: what logrotate does.
rotate() {
	mv var/access.log "var/access.log.$1"
	mv var/error.log "var/error.log.$1"
}

# lines FILE TEXT: how many lines have it.
lines() {
	grep -c -- "$2" "$1" || true
}

log_has() {
	grep -q -- "$2" "$1"
}

# Nobody of the server, in no generation, has a file open that was renamed.
nobody_has_old() {
	local pid
	for pid in "$server" $(workers); do
		[ -z "$(find "/proc/$pid/fd" -lname '*.log.[0-9]*' 2>/dev/null)" ] || return 1
	done
}

state_is() {
	[ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status")" = "$2" ]
}

@test "reopen: what comes next is in the new files, what came before in the old ones" {
	start_logged
	get
	rotate 1
	run -0 "$lastcall" reopen
	[ -z "$output" ]
	get
	wait_until has_lines var/access.log.1 1
	wait_until has_lines var/access.log 1
	log_has var/error.log.1 'ready: pid'
	run ! log_has var/error.log 'ready: pid'
	log_has var/error.log 'log files opened anew: 2'
	nobody_has_old
	stop_server
	[ "$ended" -eq 0 ]
	log_has var/error.log 'drained in'
	run ! log_has var/error.log.1 'drained in'
}

@test "USR1 does the same" {
	start_logged
	get
	rotate 1
	kill -USR1 "$server"
	wait_until test -e var/error.log
	wait_until log_has var/error.log 'opened anew: 2'
	get
	wait_until has_lines var/access.log 1
	wait_until has_lines var/access.log.1 1
	nobody_has_old
}

@test "without a rename nothing changes: the same files go on" {
	start_logged
	get
	"$lastcall" reopen
	get
	wait_until has_lines var/access.log 2
	log_has var/error.log 'ready: pid'
	log_has var/error.log 'opened anew'
}

# rotate_under_load OPTION…: as often as asked, and no old file grows once the command has returned.
rotate_under_load() {
	local i
	start_logged
	load_begin -c 32 -t /1k.txt -e 1000 -d 60000 "$@"
	for ((i = 1; i <= LASTCALL_ROTATIONS; i++)); do
		rotate "$i"
		"$lastcall" reopen
		cp "var/access.log.$i" "copy.$i"
		wait_until test -s var/access.log
	done
	kill "$load_pid"
	load_end
	stop_server
	[ "$ended" -eq 0 ]
	nothing_lost
	for ((i = 1; i <= LASTCALL_ROTATIONS; i++)); do
		cmp "var/access.log.$i" "copy.$i"
	done
	cat var/access.log* >all
	# Each answer has one line, and each line is whole. Those 400 to 499 are connections that never spoke.
	[ "$(grep -c '"GET /1k.txt HTTP/1.1" 200 1000$' all)" -eq "$(counted responses)" ]
	run ! grep -v -E '^127\.0\.0\.1 - - \[[^]]*\] ("GET /1k.txt HTTP/1.1" 200 1000|"-" 408 [0-9]+)$' all
}

@test "under load no line is lost, doubled or torn: one request per connection" {
	rotate_under_load -m close
}

@test "under load no line is lost, doubled or torn: keep-alive" {
	rotate_under_load -m keep
}

@test "workers that are killed and born meanwhile write to no old file" {
	start_logged
	load_begin -c 16 -m close -t /1k.txt -e 1000 -d 60000
	for i in 1 2 3 4 5 6; do
		rotate "$i"
		# shellcheck disable=SC2046
		kill -KILL $(workers | head -n 1) || true
		"$lastcall" reopen
		cp "var/access.log.$i" "copy.$i"
		nobody_has_old
		wait_until worker_count_is 2
	done
	kill "$load_pid"
	load_end
	stop_server
	for i in 1 2 3 4 5 6; do
		cmp "var/access.log.$i" "copy.$i"
	done
}

@test "a retired generation takes its log anew too, also where the new one has another" {
	head -c 50000000 /dev/zero >site/large
	start_logged
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
	printf 'GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&7
	read -r -t 10 line <&7
	[[ "$line" == *200* ]]
	sed -i 's/access\.log/second.log/; s/error\.log/other.log/' lastcall.conf
	"$lastcall" reload
	"$lastcall" status | grep -q retiring
	# So long that the configuration of before would have been forgotten by then.
	sleep 1.2
	"$lastcall" status >/dev/null
	rotate 1
	"$lastcall" reopen
	[ -e var/access.log ]
	[ ! -s var/access.log ]
	cat <&7 >/dev/null
	exec 7>&-
	wait_until has_lines var/access.log 1
	wait_until log_has var/access.log 'GET /large'
	[ ! -s var/access.log.1 ]
	get
	wait_until log_has var/second.log 'GET /'
}

@test "the log of a service that only an open port has any more, and of ports opened later" {
	start_conf "workers 2; $site service other http { root site; access-log var/other.log; } listen 127.0.0.1:0 -> other;"
	port=$("$lastcall" open 127.0.0.1:0 site | head -n 1)
	port=${port%% *}
	sed -i 's/service site http {[^}]*}//' lastcall.conf
	"$lastcall" reload
	mv var/access.log var/access.log.1
	mv var/other.log var/other.log.1
	"$lastcall" reopen
	get "$port"
	get
	wait_until has_lines var/access.log 1
	wait_until has_lines var/other.log 1
	second=$("$lastcall" open 127.0.0.1:0 other | head -n 1)
	get "${second%% *}"
	wait_until has_lines var/other.log 2
}

@test "two services with one log: both go on in the new file" {
	start_conf "workers 2; service a http { root site; access-log var/access.log; } service b http { root site; access-log var/access.log; } listen 127.0.0.1:0 -> a; listen 127.0.0.1:0 -> b;"
	mv var/access.log var/access.log.1
	"$lastcall" reopen
	get "${addresses[0]}"
	get "${addresses[1]}"
	wait_until has_lines var/access.log 2
	[ ! -s var/access.log.1 ]
}

@test "a file that cannot be opened: status 1 and why, the old one goes on, the others are opened anew" {
	start_logged
	rotate 1
	mkdir var/access.log
	run -1 "$lastcall" reopen
	[[ "$output" == *"$work/var/access.log: Is a directory"* ]]
	[[ "$output" == *'the old files go on there'* ]]
	get
	wait_until has_lines var/access.log.1 1
	log_has var/error.log 'access.log: Is a directory'
	rmdir var/access.log
	"$lastcall" reopen
	get
	wait_until has_lines var/access.log 1
}

@test "logs to standard error and to a device are left alone" {
	start_conf "service site http { root site; access-log /dev/null; } listen 127.0.0.1:0 -> site;"
	before=$(readlink "/proc/$server/fd/2")
	"$lastcall" reopen
	[ "$(readlink "/proc/$server/fd/2")" = "$before" ]
	log_has "$log" 'log files opened anew: 0'
	get
}

@test "access-log /dev/stdout stays what it was, also with -d" {
	mkfifo out
	cat out >got 3>&- &
	reader=$!
	printf '%s\n' "pid-file $work/pid; service site http { root site; access-log /dev/stdout; } listen 127.0.0.1:0 -> site;" >lastcall.conf
	"$lastcall" run -d -c lastcall.conf >out 2>"$work/log.d" 3>&-
	server=$(cat pid)
	"$lastcall" reopen
	address=$("$lastcall" status | awk '$2 == "site" { print $1 }')
	get
	wait_until log_has got 'GET /'
	kill "$server"
	wait_until test ! -e "/proc/$server"
	server=''
}

@test "a FIFO whose reader has gone is told, and does no harm" {
	mkfifo var/access.log
	cat var/access.log >got 3>&- &
	reader=$!
	start_logged
	get
	wait_until log_has got 'GET /'
	"$lastcall" reopen
	get
	wait_until has_lines got 2
	kill "$reader"
	wait "$reader" || true
	reader=''
	run -1 "$lastcall" reopen
	[[ "$output" == *'nobody reads this pipe'* ]]
	get
}

@test "a worker that hangs does not hold the command for ever: it is told, and takes the file when it goes on" {
	start_logged 'watchdog 60s;'
	stopped=$(workers | head -n 1)
	kill -STOP "$stopped"
	wait_until state_is "$stopped" T
	rotate 1
	run -1 "$lastcall" reopen
	[[ "$output" == *"one of them pid $stopped"* ]]
	# The others have it, and so has whoever asks after that.
	get
	wait_until log_has var/access.log 'GET /'
	mv var/access.log var/access.log.2
	kill -USR1 "$server"
	wait_until test -e var/access.log
	kill -CONT "$stopped"
	wait_until nobody_has_old
	run -0 "$lastcall" reopen
	for i in 1 2 3 4 5 6 7 8; do get; done
	wait_until has_lines var/access.log 8
}

@test "a worker that hangs and dies holds nothing up" {
	start_logged 'watchdog 60s;'
	stopped=$(workers | head -n 1)
	kill -STOP "$stopped"
	wait_until state_is "$stopped" T
	rotate 1
	"$lastcall" reopen 3>&- &
	asked=$!
	wait_until test -e var/error.log
	kill -KILL "$stopped"
	wait $asked
	nobody_has_old
}

@test "reopen while the server stops works, and waits for nothing that has ended" {
	start_logged
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
	printf 'GET / HTTP/1.1\r\nHost: x\r\n' >&7
	kill "$server"
	wait_until log_has var/error.log 'last call'
	rotate 1
	"$lastcall" reopen
	printf 'Connection: close\r\n\r\n' >&7
	timeout 10 cat <&7 | grep -q welcome
	exec 7>&-
	end_server
	[ "$ended" -eq 0 ]
	wait_until has_lines var/access.log 1
	[ ! -s var/access.log.1 ]
	log_has var/error.log 'drained in'
}

@test "reopen during a reload: whoever serves in the end has the new files" {
	start_logged
	for i in 1 2 3 4 5; do
		"$lastcall" reload 3>&- &
		asked=$!
		rotate "$i"
		"$lastcall" reopen
		wait $asked
		wait_until nobody_has_old
		get
		wait_until log_has var/access.log 'GET /'
	done
}

@test "workers run as nobody, and the files stay root's" {
	[ "$(id -u)" -eq 0 ] || skip "only root has workers of another user"
	start_logged
	rotate 1
	"$lastcall" reopen
	get
	[ "$(stat -c '%U %a' var/access.log)" = 'root 640' ]
	wait_until has_lines var/access.log 1
	# What logrotate's create has made is taken as it is.
	rotate 2
	install -m 600 /dev/null var/access.log
	"$lastcall" reopen
	get
	[ "$(stat -c %a var/access.log)" = 600 ]
	wait_until has_lines var/access.log 1
}

@test "a link in a folder that others can write to is not followed, a second name not written to (CVE-2016-1247)" {
	[ "$(id -u)" -eq 0 ] || skip "wants root, who could be fooled"
	printf 'mine\n' >secret
	chmod 600 secret
	start_logged
	chown nobody var
	rotate 1
	ln -s "$work/secret" var/access.log
	chown -h nobody var/access.log
	ln secret var/error.log
	run -1 "$lastcall" reopen
	[[ "$output" == *'access.log: a symbolic link that somebody else may have made is not followed'* ]]
	[[ "$output" == *'error.log: it has a second name or was just renamed, and others may write to its folder'* ]]
	rm var/access.log var/error.log
	get
	[ "$(cat secret)" = mine ]
	chown root var
	"$lastcall" reopen
	get
	wait_until log_has var/access.log 'GET /'
}

@test "nor is a folder that may be somebody else's link" {
	[ "$(id -u)" -eq 0 ] || skip "wants root, who could be fooled"
	mkdir var/inner target
	start_conf "workers 1; service site http { root site; access-log var/inner/access.log; } listen 127.0.0.1:0 -> site;"
	chown nobody var
	mv var/inner var/moved
	ln -s "$work/target" var/inner
	chown -h nobody var/inner
	run -1 "$lastcall" reopen
	[[ "$output" == *'is not followed'* ]]
	[ -z "$(ls target)" ]
	get
	wait_until log_has var/moved/access.log 'GET /'
	# Root's own is, in the same folder.
	chown -h root var/inner
	"$lastcall" reopen
	get
	wait_until log_has target/access.log 'GET /'
}

@test "root's own links are followed, to folders and to files, in turn" {
	mkdir -p elsewhere/deep
	chmod 755 elsewhere elsewhere/deep
	ln -s ../elsewhere var/folder
	ln -s "$work/elsewhere/deep/real.log" elsewhere/access.log
	start_conf "workers 1; service site http { root site; access-log var/folder/access.log; } listen 127.0.0.1:0 -> site;"
	get
	mv elsewhere/deep/real.log elsewhere/deep/real.log.1
	"$lastcall" reopen
	get
	wait_until has_lines elsewhere/deep/real.log 1
	wait_until has_lines elsewhere/deep/real.log.1 1
	ln -s loop var/loop
	sed -i 's|var/folder/access.log|var/loop|' lastcall.conf
	run ! "$lastcall" reload
	get
}

@test "somebody else may not reopen" {
	[ "$(id -u)" -eq 0 ] || skip "only root becomes somebody else"
	start_logged "control $work/run/c.sock { mode 0666; }"
	rotate 1
	run setpriv --reuid=65533 --regid=65533 --clear-groups "$tools/ctl" "$work/run/c.sock" 'send:reopen\n' answer
	[[ "$output" == 'error denied '* ]]
	[ ! -e var/access.log ]
	run "$tools/ctl" "$work/run/c.sock" 'send:reopen\n' answer
	[ "$output" = 'ok files=2' ]
	run "$tools/ctl" "$work/run/c.sock" 'send:reopen now\n' answer
	[[ "$output" == 'error syntax '* ]]
}

@test "who asks at once and often is answered, each for files renamed before it asked" {
	start_logged
	for i in 1 2 3 4 5 6 7 8; do
		(
			mv var/access.log "var/access.log.$i" 2>/dev/null || true
			"$lastcall" reopen
		) 3>&- &
		asked+=($!)
	done
	for pid in "${asked[@]}"; do
		wait "$pid"
	done
	nobody_has_old
	get
	wait_until has_lines var/access.log 1
}

@test "a hundred reopenings leave no descriptor in master or workers" {
	start_logged
	"$lastcall" reopen
	before=$(all_descriptors)
	for ((i = 1; i <= 100; i++)); do
		rotate 1
		"$lastcall" reopen
	done
	# The connection of the last command is closed when the server has seen its end.
	wait_until all_are_as_before
}

all_descriptors() {
	for pid in "$server" $(workers); do
		descriptors "$pid"
	done | awk '{ sum += $1 } END { print sum }'
}

# Before, the connection of a command may have been open still.
all_are_as_before() {
	[ "$(all_descriptors)" -le "$before" ]
}

@test "logrotate with the example of conf/ rotates and compresses under load, and every line is there" {
	type -P logrotate || PATH=$PATH:/usr/sbin type -P logrotate || skip "there is no logrotate"
	[ "$(id -u)" -eq 0 ] || skip "the example makes root's files"
	start_logged
	sed "s|/var/log/lastcall/|$work/var/|; s|/usr/local/bin/lastcall|$lastcall|g; s|/run/lastcall/control.sock|$LASTCALL_CONTROL|" "${LASTCALL_SOURCE:?}/conf/logrotate" >rotate.conf
	chmod 644 rotate.conf
	load_begin -c 16 -m keep -t /1k.txt -e 1000 -d 60000
	for i in 1 2 3; do
		PATH=$PATH:/usr/sbin logrotate -f -s "$work/state" rotate.conf
		wait_until test -s var/access.log
	done
	kill "$load_pid"
	load_end
	stop_server
	nothing_lost
	[ "$(stat -c '%U:%G %a' var/access.log)" = 'root:adm 640' ]
	[ "$({ cat var/access.log && zcat var/access.log.*.gz; } | grep -c 'GET /1k.txt')" -eq "$(counted responses)" ]
	zcat var/error.log.*.gz | grep -q 'ready: pid'
	# Without a server it is no error.
	server=''
	PATH=$PATH:/usr/sbin logrotate -f -s "$work/state" rotate.conf
}

@test "a link that changes places with a log again and again is never written to" {
	[ "$(id -u)" -eq 0 ] || skip "wants root, who could be fooled"
	printf 'mine\n' >secret
	start_logged
	chown nobody var
	ln -s "$work/secret" var/other
	chown -h nobody var/other
	"$tools/swap" exchange var/access.log var/other >/dev/null 3>&- &
	background+=($!)
	for ((i = 0; i < 100; i++)); do
		"$lastcall" reopen 2>/dev/null || [ $? -eq 1 ]
		get >/dev/null
	done
	[ "$(cat secret)" = mine ]
}

@test "more files than a channel holds: a worker that hangs has them all when it goes on" {
	many=$(for i in {1..400}; do echo "service s$i http { root site; access-log var/$i.log; }"; done)
	start_conf "workers 2; watchdog 60s; $many listen 127.0.0.1:0 -> s400;"
	stopped=$(workers | head -n 1)
	kill -STOP "$stopped"
	wait_until state_is "$stopped" T
	python3 -c 'import os; [os.rename(f"var/{i}.log", f"var/{i}.log.1") for i in range(1, 401)]'
	run -1 "$lastcall" reopen
	[[ "$output" == *"one of them pid $stopped"* ]]
	before=$(descriptors "$stopped")
	kill -CONT "$stopped"
	wait_until nobody_has_old
	[ "$(descriptors "$stopped")" -eq "$before" ]
	run -0 "$lastcall" reopen
	for i in 1 2 3 4; do get; done
	wait_until has_lines var/400.log 4
}
