# app: programs that accept by themselves on sockets of the server. Real programs that nobody here wrote, what an instance
# gets, how it is replaced, and that nobody is lost who was let in, as far as that is the server's to say.

load helper

setup() { common_setup; }

teardown() {
	# Instances of a server that was killed by the test.
	for pid in $(cat "$work"/instances 2>/dev/null); do
		kill -KILL "$pid" 2>/dev/null
	done
	common_teardown
}

# service TEXT [LISTENERS]: a service of that block behind one port or more. Words are put as they stand.
service() {
	local i listeners=''
	for ((i = 0; i < ${2:-1}; i++)); do
		listeners+='listen 127.0.0.1:0 -> program; '
	done
	start_conf "workers 2; log-level info; ${top:-}
		service program app { $1 }
		$listeners"
}

# program [WORD…]: instances of ours that say when they are ready; further words are of the block.
program() {
	service "command ${1:-2} $tools/instance ${2:-drain}; ready notify; ${3:-}" "${4:-1}"
	wait_until ready_are "${1:-2}"
}

# The pids of the instances that live.
instances() {
	local worker launcher
	for worker in $(workers); do
		for launcher in $(pgrep -P "$worker"); do
			pgrep -P "$launcher"
		done
	done
	return 0
}

instances_are() {
	[ "$(instances | wc -l)" -eq "$1" ]
}

# The number that status has of the first port.
shown() {
	"$lastcall" status --json | grep -o "\"$1\": *[0-9]*" | head -n 1 | grep -o '[0-9]*$'
}

ready_are() {
	[ "$(shown ready)" = "$1" ]
}

# So many instances have become ready, since the start.
became_ready() {
	[ "$(grep -c 'instance .* is ready after' "$log")" -eq "$1" ]
}

# None of these instances lives.
are_gone() {
	local pid
	for pid; do
		! kill -0 "$pid" 2>/dev/null || return 1
	done
}

logged() {
	grep -q -- "$1" "$log"
}

logged_times() {
	[ "$(grep -c -- "$1" "$log")" -ge "$2" ]
}

reload() {
	"$lastcall" reload >reloaded
}

# One connection that is echoed.
echoes() {
	local host=${1:-$address} line=''
	exec 7<>"/dev/tcp/${host%:*}/${host##*:}" || return 1
	echo "hello $host" >&7
	read -r -t 15 line <&7
	exec 7>&-
	[ "$line" = "hello $host" ]
}

# Whether the server can gate what programs accept on.
has_filter() {
	! is_posix && [ "$(id -u)" -eq 0 ] && ! logged 'no gate may be set here'
}

# The load ends while the server serves: nobody was lost, whatever gate there would be.
load_quits() {
	kill -TERM "$load_pid"
	load_end
	nothing_lost
}

# The server stops under load: nobody is lost, or what is lost for want of a gate is in the receipt.
stops_under_load() {
	stop_server
	load_end
	if has_filter; then
		nothing_lost && [ "$ended" -eq 0 ]
	elif [ "$(counted lost)" -gt 0 ]; then
		[ "$ended" -eq 3 ] && logged 'connections of its queue were lost'
	fi
}

@test "an instance gets its sockets by the protocol of service managers, and nothing else" {
	program 1 drain '' 2
	logged 'instance\[[0-9]*\]: listens on 2 as program:program'
	echoes "${addresses[0]}"
	echoes "${addresses[1]}"
	stop_server
	[ "$ended" -eq 0 ]
	[[ $(receipt) == *'programs: 1 with status 0, 0 with another, 0 killed' ]]
}

@test "asyncio serves on the socket that it inherits, and nobody is lost in a stop" {
	command -v python3 >/dev/null || skip 'there is no python3'
	cat >"$work/run/serve.py" <<-'EOF'
		import asyncio, os, signal, socket
		assert os.environ['LISTEN_PID'] == str(os.getpid())
		async def echo(reader, writer):
		    while data := await reader.read(65536):
		        writer.write(data)
		        await writer.drain()
		    writer.close()
		async def main():
		    stop = asyncio.Event()
		    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
		    server = await asyncio.start_server(echo, sock=socket.socket(fileno=3), backlog=4096)
		    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		    path = os.environ['NOTIFY_SOCKET']
		    notify.sendto(b'READY=1', '\0' + path[1:] if path[0] == '@' else path)
		    await stop.wait()
		    server.close()
		    while len(asyncio.all_tasks()) > 1:
		        await asyncio.sleep(0.01)
		asyncio.run(main())
	EOF
	service "command 2 $(python3 -c 'import sys; print(sys.executable)') $work/run/serve.py; ready notify; user root;"
	wait_until ready_are 2
	load_begin -P echo -m close -c 8
	stops_under_load
	[[ $(receipt) == *'programs: 2 with status 0, 0 with another, 0 killed' ]]
}

@test "gunicorn serves on the socket that it inherits, and nobody is lost in reloads and a stop" {
	command -v gunicorn >/dev/null || skip 'there is no gunicorn'
	cat >"$work/run/wsgi.py" <<-'EOF'
		def application(environ, start_response):
		    body = b'from gunicorn\n'
		    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
		    return [body]
	EOF
	service "command $(command -v gunicorn) --workers 2 --worker-tmp-dir $work/run wsgi; directory $work/run; ready notify; user root;"
	wait_until ready_are 1
	[ "$(curl -sf -m 30 "http://$address/")" = 'from gunicorn' ]
	load_begin -m close -c 8
	for reload in 1 2; do
		sleep 0.5 # some load; what is asserted does not depend on it
		run -0 "$lastcall" reload
		# One that still starts does not know TERM yet, and dies of it.
		wait_until became_ready $((1 + reload))
	done
	stops_under_load
	[[ $(receipt) == *'programs: '*' with status 0, 0 with another, 0 killed' ]]
}

@test "Node serves on descriptor 3" {
	command -v node >/dev/null || skip 'there is no node'
	cat >"$work/run/serve.js" <<-'EOF'
		const server = require('http').createServer((request, answer) => answer.end('from node\n'));
		server.listen({fd: 3});
		process.on('SIGTERM', () => server.close());
	EOF
	service "command $(command -v node) $work/run/serve.js; user root;"
	[ "$(curl -sf --retry 3 -m 30 "http://$address/")" = 'from node' ]
	stop_server
	[ "$ended" -eq 0 ]
	[[ $(receipt) == *'programs: 1 with status 0, 0 with another, 0 killed' ]]
}

@test "a service in place has its number of instances before the program" {
	start_conf 'workers 2; log-level info; control run/control { mode 0600; }'
	export LASTCALL_CONTROL=$work/run/control
	address=$("$lastcall" open 127.0.0.1:0 app 3 "$tools/instance" drain)
	address=${address%% *}
	wait_until instances_are 3
	echoes
	run -0 "$lastcall" close "$address"
	wait_until instances_are 0
}

@test "nobody is lost when a server with a program that drains stops under load" {
	for ((round = 0; round < LASTCALL_ROUNDS; round++)); do
		program 3
		load_begin -P echo -m close -c 16
		stops_under_load
		! has_filter || logged 'gate: SYN filter'
		logged 'programs: 3 with status 0, 0 with another, 0 killed'
	done
}

@test "nobody is lost when a port with a program that drains is closed under load" {
	program 3
	load_begin -P echo -m close -c 16
	run "$lastcall" close "$address"
	load_end
	if has_filter; then
		[ "$status" -eq 0 ]
		nothing_lost
	elif [ "$(counted lost)" -gt 0 ]; then
		logged 'connections of its queue were lost'
	fi
	wait_until instances_are 0
	port_is_free "${address##*:}"
}

@test "nobody is lost when an idle port is closed, and it is free at once" {
	program 2
	run -0 "$lastcall" close "$address"
	port_is_free "${address##*:}"
	logged 'closed after [0-9]* ms (close): accepted by its programs, 0 cut; programs: 2 with status 0'
}

@test "nobody is lost in reloads under load, and new instances are ready before the old get their signal" {
	program 2
	before=$(instances)
	load_begin -P echo -m close -c 16
	for ((round = 0; round < LASTCALL_ROUNDS; round++)); do
		before=$(instances)
		reload
		# shellcheck disable=SC2086
		wait_until are_gone $before
		wait_until ready_are 2
	done
	load_quits
	stop_server
	[ "$ended" -eq 0 ]
}

@test "instances go on until those of a reload are ready" {
	program 2
	before=$(instances)
	sed -i "s|instance drain|instance drain $work/run/go|" lastcall.conf
	reload
	wait_until instances_are 4
	wait_until logged 'its instances go on until others are ready'
	echoes
	# shellcheck disable=SC2086
	kill -0 $before
	: >"$work/run/go"
	# shellcheck disable=SC2086
	wait_until are_gone $before
	wait_until ready_are 2
	echoes
}

@test "a reload to a program that crashes leaves the instances that serve" {
	program 2
	before=$(instances)
	sed -i 's|instance drain|instance crash|' lastcall.conf
	reload
	wait_until logged_times 'exited with status 3' 4
	# shellcheck disable=SC2086
	kill -0 $before
	echoes
	sed -i 's|instance crash|instance drain|' lastcall.conf
	reload
	# shellcheck disable=SC2086
	wait_until are_gone $before
	wait_until ready_are 2
	echoes
}

@test "nobody is lost in upgrades under load" {
	program 2
	load_begin -P echo -m close -c 16
	before=$(instances)
	run -0 "$lastcall" upgrade
	# shellcheck disable=SC2086
	wait_until are_gone $before
	wait_until ready_are 2
	load_quits
	stop_server
	[ "$ended" -eq 0 ]
}

@test "instances are replaced when they are too old, one after the other, and nobody is lost" {
	program 2 drain 'max-age 300ms;'
	before=$(instances)
	load_begin -P echo -m close -c 8
	# shellcheck disable=SC2086
	wait_until are_gone $before
	load_quits
}

@test "when one of several ports is closed the other is served on" {
	program 2 drain '' 2
	before=$(instances)
	address=${addresses[1]}
	load_begin -P echo -m close -c 8
	run -0 "$lastcall" close "${addresses[0]}"
	# shellcheck disable=SC2086
	wait_until are_gone $before
	echoes "${addresses[1]}"
	run ! echoes "${addresses[0]}"
	load_quits
}

@test "a port that a reload does not have any more is closed without loss, and starts nothing" {
	program 2
	load_begin -P echo -m close -c 8
	before=$(instances)
	printf '%s\n' "workers 2; log-level info; listen unix:$work/run/other -> echo;" >lastcall.conf
	reload
	load_end
	! has_filter || nothing_lost
	# shellcheck disable=SC2086
	wait_until are_gone $before
	[ "$(grep -c 'is ready after' "$log")" -eq 2 ]
}

@test "a port that is opened for a service goes to new instances, and nobody is lost at the other" {
	program 2
	before=$(instances)
	load_begin -P echo -m close -c 8
	other=$("$lastcall" open 127.0.0.1:0 program)
	other=${other%% *}
	# shellcheck disable=SC2086
	wait_until are_gone $before
	echoes "$other"
	load_quits
}

@test "a port goes from a service of ours to programs and back by reloads, and nobody is lost" {
	start_conf "workers 2; log-level info; listen 127.0.0.1:0 -> echo;"
	load_begin -P echo -m close -c 8
	printf '%s\n' "workers 2; log-level info; listen 127.0.0.1:0 -> app 2 $tools/instance drain;" >lastcall.conf
	reload
	wait_until ready_are 2
	before=$(instances)
	echoes
	printf '%s\n' 'workers 2; log-level info; listen 127.0.0.1:0 -> echo;' >lastcall.conf
	reload
	# shellcheck disable=SC2086
	wait_until are_gone $before
	echoes
	load_quits
}

@test "nobody is lost when a Unix socket with programs closes under load" {
	start_conf "workers 2; log-level info; service program app { command 2 $tools/instance drain; ready notify; }
		listen unix:$work/run/app -> program;"
	wait_until ready_are 2
	load_begin -P echo -m close -c 8
	stop_server
	load_end
	nothing_lost
	[ "$ended" -eq 0 ]
	[ ! -e "$work/run/app" ]
}

@test "instances are replaced with their worker, and nobody is lost" {
	start_conf "workers 1; log-level info; max-requests 50;
		service program app { command 2 $tools/instance drain; ready notify; }
		listen 127.0.0.1:0 -> program; listen 127.0.0.1:0 -> echo;"
	wait_until ready_are 2
	before=$(instances)
	load_begin -P echo -m close -c 8
	"$tools/losscount" -P echo -m close -c 2 -n 60 "${addresses[1]}" >other
	# shellcheck disable=SC2086
	wait_until are_gone $before
	wait_until ready_are 2
	load_quits
}

@test "a daemon that an instance has made leaves neither server nor port held, and is told of" {
	! is_posix || skip 'the twin does not hear of it'
	cat >"$work/run/daemon" <<-EOF
		#!/bin/sh
		setsid sh -c 'echo \$\$ >>"$work/instances"; exec sleep 1000' </dev/null >/dev/null 2>&1 3>&- &
		exec "$tools/instance" drain
	EOF
	chmod 755 "$work/run/daemon"
	touch "$work/instances" && chmod 666 "$work/instances"
	service "command $work/run/daemon;"
	wait_until ready_are 1
	wait_until test -s "$work/instances"
	read -r stray <"$work/instances"
	kill -KILL "$(instances | head -n 1)"
	wait_until logged "left process $stray behind"
	stop_server
	port_is_free "${address##*:}"
}

@test "a program that exits at once takes its own connections with it, and its end is in the receipt" {
	program 2 abrupt
	load_begin -P echo -m close -c 8
	stop_server
	load_end
	logged 'programs: 2 with status 0, 0 with another, 0 killed'
	# Every loss is one that an instance had accepted: the server has left none in the queue.
	! has_filter || [ "$(receipt_number cut | sed 's/;.*//')" = 0 ]
}

@test "the TTL gate is not used without the privilege for another: that is said at the start" {
	[ -n "$unprivileged" ] || skip 'needs root to run as nobody'
	chmod 1777 "$work"
	mkdir "$work/control.d" && chmod 1777 "$work/control.d"
	as=$unprivileged start run -l 127.0.0.1:0 app 2 "$tools/instance" drain --
	wait_until echoes
	if logged 'no gate may be set here for app'; then
		load_begin -P echo -m close -c 8
		stops_under_load
		run ! grep -q 'gate: TTL' "$log"
	else
		# A kernel that lets everybody set a filter.
		stop_server
	fi
}

@test "an instance that crashes is replaced at once, and the others serve on" {
	program 2
	victim=$(instances | head -n 1)
	kill -KILL "$victim"
	wait_until are_gone "$victim"
	echoes
	wait_until ready_are 2
	logged "instance $victim was killed by signal 9"
}

@test "a program that crashes at its start is tried again less and less often" {
	service "command $tools/instance crash;"
	wait_until logged 'exited with status 3 .*starting another in 0.1 s'
	wait_until logged 'exited with status 3 .*starting another in 0.4 s'
	# The port is there meanwhile, and the server stops in order.
	stop_server
	[ "$ended" -eq 0 ]
}

@test "a program that ignores its signal is killed at grace, and counts as cut" {
	top='grace 300ms;' program 1 ignore
	stop_server
	[ "$ended" -eq 3 ]
	logged 'programs: 0 with status 0, 0 with another, 1 killed'
}

@test "a program that ignores its signal is killed at end-delay" {
	program 1 ignore 'end-delay 200ms;'
	before=$(instances)
	reload
	# shellcheck disable=SC2086
	wait_until are_gone $before
	wait_until ready_are 1
	logged "instance $before was killed, 0.2 s after it was told to end; what it had is cut"
	echoes
	kill -KILL "$(instances)"
}

@test "a program that never says that it is ready is killed at start-timeout, and tried again" {
	service "command $tools/instance mute; ready notify; start-timeout 200ms;"
	wait_until logged_times 'was not ready within start-timeout' 2
	logged 'starting another in 0.1 s'
}

@test "what an instance leaves behind in its group is ended" {
	program 1 leave
	first=$(instances)
	stray=$(pgrep -g "$first" | grep -vx "$first")
	printf '%s\n' "$stray" >"$work/instances"
	kill -0 "$stray"
	kill -KILL "$first"
	wait_until are_gone "$stray"
}

@test "another signal than TERM ends instances where it is configured" {
	program 1 drain 'stop-signal USR1;'
	stop_server
	[ "$ended" -eq 0 ]
	[[ $(receipt) == *'programs: 1 with status 0, 0 with another, 0 killed' ]]
}

@test "instances run as their user, with their environment and folder" {
	[ "$(id -u)" -eq 0 ] || skip 'needs root'
	cat >"$work/run/say" <<-'EOF'
		#!/bin/sh
		echo "$(id -un) $COLOUR $PWD ${HOME:-none}"
		exec sleep 1000
	EOF
	chmod 755 "$work/run/say"
	service "command $work/run/say; user daemon; environment COLOUR=blue; directory $work/run;"
	wait_until logged "say\[[0-9]*\]: daemon blue $work/run none"
}

@test "when the worker that keeps them dies, instances finish what they have and others come" {
	program 2
	exec 8<>"/dev/tcp/127.0.0.1/${address##*:}"
	echo first >&8
	read -r -t 15 line <&8
	before=$(instances)
	for worker in $(workers); do
		[ -z "$(pgrep -P "$worker")" ] || kill -KILL "$worker"
	done
	wait_until ready_are 2
	echoes
	echo second >&8
	read -r -t 15 line <&8
	[ "$line" = second ]
	exec 8>&-
	# shellcheck disable=SC2086
	wait_until are_gone $before
}

@test "when the worker that keeps them dies in a stop, other instances take what is in the queue" {
	has_filter || skip 'without a gate nobody waits for the queue'
	program 1
	before=$(instances)
	kill -STOP "$before"
	exec 8<>"/dev/tcp/127.0.0.1/${address##*:}"
	echo first >&8
	kill -TERM "$server"
	wait_until logged 'gate: SYN filter'
	for worker in $(workers); do
		[ -z "$(pgrep -P "$worker")" ] || kill -KILL "$worker"
	done
	read -r -t 15 line <&8
	[ "$line" = first ]
	exec 8>&-
	kill -CONT "$before"
	end_server
	logged 'no worker is left to serve the queue: starting one'
	wait_until are_gone "$before"
}

@test "a relative program after the number of instances is found from where it was written" {
	ln -s "$tools/instance" run/here
	start_conf 'listen 127.0.0.1:0 -> app 2 run/here drain;'
	wait_until echoes
}

@test "when the master dies, instances get their signal and finish what they have" {
	program 2
	instances >"$work/instances"
	before=$(cat "$work/instances")
	exec 8<>"/dev/tcp/127.0.0.1/${address##*:}"
	echo first >&8
	read -r -t 15 line <&8
	workers >"$work/workers"
	kill -KILL "$server"
	wait_until port_is_free "${address##*:}"
	echo second >&8
	read -r -t 15 line <&8
	[ "$line" = second ]
	exec 8>&-
	# shellcheck disable=SC2086
	wait_until are_gone $before
}

@test "status shows the instances" {
	program 2
	run -0 "$lastcall" status
	[[ $output == *INSTANCES* ]]
	[ "$(shown instances)" = 2 ]
}

@test "check knows what is wrong with the block of an app" {
	printf 'service a app { command 0 /bin/true; }\n' >bad.conf
	run -2 "$lastcall" check -c bad.conf
	[[ $output == *'from 1 to 256'* ]]
	printf 'service a app { command 2 /no/such; }\nlisten :0 -> a;\n' >bad.conf
	run -2 "$lastcall" check -c bad.conf
	[[ $output == *'/no/such'* ]]
	printf 'service a app { instances 2; }\n' >bad.conf
	run -2 "$lastcall" check -c bad.conf
	[[ $output == *'a command is required'* ]]
	printf 'service a app { command /bin/true; environment LISTEN_FDS=1; }\n' >bad.conf
	run -2 "$lastcall" check -c bad.conf
	[[ $output == *LISTEN_FDS* ]]
	printf 'listen :0 -> app /bin/true { proxy-protocol on; from 10.0.0.1; }\n' >bad.conf
	run -2 "$lastcall" check -c bad.conf
	[[ $output == *'accept by themselves'* ]]
}
