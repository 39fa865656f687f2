# What every test of a running server needs: start one and know that it is that one, load it, stop it,
# and leave nothing behind. `load helper` in the file, `setup() { common_setup; }`,
# `teardown() { common_teardown; }`.
#
# Nothing here sleeps and hopes: it reads a line, waits for a process, or polls with a deadline.

bats_require_minimum_version 1.5.0

# How often a test that counts repeats what it does: a few times in `make check`, as often as promised in `make soak`.
: "${LASTCALL_ROUNDS:=2}"

common_setup() {
	: "${LASTCALL_BUILD:?is the folder of the binaries}"
	lastcall=$LASTCALL_BUILD/lastcall
	tools=$LASTCALL_BUILD/tools
	# Not below bats's own folder, which only its owner may enter: workers run as nobody.
	work=${TMPDIR:-/tmp}/lastcall-test.$$.$RANDOM
	umask 022
	mkdir "$work" "$work/site"
	# For sockets, also those of a server run as nobody.
	mkdir -m 1777 "$work/run"
	mkfifo "$work/fifo.never" "$work/fifo.start" "$work/fifo.load"
	cd "$work" || return
	printf 'hello, and welcome\n' >site/index.html
	printf -v letters '%1000s' ''
	printf '%s' "${letters// /x}" >site/1k.txt
	# Old enough to be kept in the cache.
	touch -d '1 hour ago' site/index.html site/1k.txt
	server='' address='' addresses=() background=()
	# Where a server that is not told otherwise is asked, and where clients look.
	export LASTCALL_CONTROL=$work/control
	unset LASTCALL_TOKEN_FILE
	# Put in front of a command, runs it as nobody: `as=$unprivileged start …`.
	unprivileged=''
	[ "$EUID" -ne 0 ] || unprivileged='setpriv --reuid=65534 --regid=65534 --clear-groups'
}

common_teardown() {
	local pid
	if [ -z "${BATS_TEST_COMPLETED:-}" ]; then
		for log in "$work"/log*; do
			[ -s "$log" ] && sed 's/^/log: /' "$log"
		done
		[ -s "$work/counted" ] && sed 's/^/load: /' "$work/counted"
	fi
	for pid in "${background[@]}" ${server:+"$server"}; do
		[ -n "$pid" ] || continue
		kill -CONT "$pid" 2>/dev/null
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	# Workers of a server that was killed end by themselves; those that a test stopped do not.
	[ ! -e "$work/workers" ] || while read -r pid; do
		[ -d "/proc/$pid" ] || continue
		if [[ "$(readlink "/proc/$pid/exe" 2>/dev/null)" == "$LASTCALL_BUILD/lastcall"* ]]; then
			kill -CONT "$pid" 2>/dev/null
			kill -KILL "$pid" 2>/dev/null
		fi
	done <"$work/workers"
	cd / && rm -rf "$work"
}

# wait_until COMMAND…: polls until it succeeds, ever less often; fails after a minute.
wait_until() {
	local end=$((SECONDS + 60)) wait=10
	until "$@"; do
		if [ $SECONDS -ge $end ]; then
			echo "waited in vain for: $*"
			return 1
		fi
		pause "0.0$wait"
		[ $wait -ge 80 ] || wait=$((wait * 2))
	done
}

# pause SECONDS: what sleep(1) does, without a process: on some machines each costs 10 ms and more, of both processors.
pause() {
	read -r -t "$1" <>"$work/fifo.never" || true
}

# start WORD…: starts `lastcall WORD…` (serve or run and their options) and waits for its ready line. Sets server (the
# pid of the master, as that line says), address (the first one) and addresses. Its log is in $log.
# as=PREFIX puts a command in front. Several servers in one test: save server and address between.
start() {
	local word rest
	starts=$((${starts:-0} + 1))
	log=$work/log.$starts
	addresses=()
	# shellcheck disable=SC2086
	${as:-} "$lastcall" "$@" --ready-fd 9 9>"$work/fifo.start" >/dev/null 2>"$log" 3>&- &
	background+=($!)
	server=''
	while read -r -t 30 word rest; do
		case $word in
		listening) addresses+=("${rest%% *}") ;;
		ready) server=$rest && break ;; # the last; a tracer keeps the fifo open
		esac
	done <"$work/fifo.start"
	address=${addresses[0]:-}
	if [ -z "$server" ]; then
		echo "the server did not become ready"
		return 1
	fi
	workers >>"$work/workers"
}

# start_site [OPTION…]: serves $work/site at a port of the kernel's choice with two workers.
start_site() {
	start run -l 127.0.0.1:0 http site -w 2 "$@"
}

# start_with OPTIONS [WORKERS]: a site with these options, of so many workers, by default two.
start_with() {
	start_conf "service site http { root site; $1 }
		workers ${2:-2};
		listen 127.0.0.1:0 -> site;"
}

# How many connections the server has established.
connections_are() {
	[ "$(ss -Htn state established "sport = :${address##*:}" | wc -l)" -eq "$1" ]
}

# start_conf TEXT [OPTION…]: starts with this configuration.
start_conf() {
	local text=$1
	shift
	configure "$text"
	start run -c "$work/lastcall.conf" "$@"
}

# configure TEXT: what the file of start_conf says from now on.
configure() {
	printf '%s\n' "$1" >"$work/lastcall.conf"
}

# make_install VARIABLE=VALUE…: of the program that is tested, which is not built anew under the tests that run beside this.
make_install() {
	make -s -C "$LASTCALL_SOURCE" -o "$LASTCALL_BUILD/lastcall" BUILD="$LASTCALL_BUILD" "$@" install >/dev/null
}

# Whether it is the twin for POSIX systems.
is_posix() {
	[[ $("$lastcall" --version) == *posix* ]]
}

# Whether it was built with a sanitizer, which keeps what was freed.
is_sanitized() {
	grep -q __asan_init "$lastcall"
}

# children_of PID: sets children to the pids of the processes that it has, also of those that it has not waited for.
children_of() {
	children=()
	if [ -e "/proc/$1/task/$1/children" ]; then
		{ read -r -a children <"/proc/$1/task/$1/children"; } 2>/dev/null || true
	else
		mapfile -t children < <(pgrep -P "$1")
	fi
}

# The pids of the workers that live.
workers() {
	local pid state
	children_of "$server"
	for pid in "${children[@]}"; do
		{ read -r state <"/proc/$pid/stat"; } 2>/dev/null || continue
		[[ $state == *') Z '* ]] || echo "$pid"
	done
}

# How many descriptors a process has, by default the server; and whether the server has so many.
descriptors() {
	find "/proc/${1:-$server}/fd" -mindepth 1 | wc -l
}

descriptors_are() {
	[ "$(descriptors)" -eq "$1" ]
}

# The listening socket at an address, as the kernel numbers it.
inode_of() {
	ss -Hltne "sport = :${1##*:}" | grep -o 'ino:[0-9]*'
}

# has_lines FILE N: for wait_until.
has_lines() {
	[ -e "$1" ] && [ "$(wc -l <"$1")" -eq "$2" ]
}

worker_count_is() {
	[ "$(workers | wc -l)" -eq "$1" ]
}

# The server's process has ended; end_server waits for it and sets ended to its exit status.
end_server() {
	ended=0
	wait "$server" || ended=$?
	server=''
}

# stop_server [SIGNAL]: sends it and waits. Sets ended.
stop_server() {
	kill "-${1:-TERM}" "$server"
	end_server
}

# The receipt that the server wrote, without the milliseconds.
receipt() {
	local line
	while read -r line; do
		[[ $line != 'lastcall: drained in '*' ms: '* ]] || echo "${line#* ms: }"
	done <"$log"
}

# A number of the receipt: receipt_number answered|queue|cut
receipt_number() {
	case $1 in
	answered) receipt | sed 's/ answered.*//' ;;
	queue) receipt | sed 's/.*answered, \([0-9]*\) of them.*/\1/' ;;
	cut) receipt | sed 's/.* \([0-9]*\) cut/\1/' ;;
	esac
}

# load_begin OPTION…: losscount against $address in the background; returns when every client has been answered once.
load_begin() {
	local word
	"$tools/losscount" --stop-on-refused --ready-fd 8 "$@" "$address" 8>"$work/fifo.load" >"$work/counted" 2>&1 3>&- &
	load_pid=$!
	background+=($load_pid)
	read -r -t 30 word <"$work/fifo.load"
	[ "$word" = ready ]
}

# Waits for the load to end and sets load_status.
load_end() {
	load_status=0
	wait "$load_pid" || load_status=$?
}

# A number that losscount counted.
counted() {
	local key value
	while IFS='=' read -r key value; do
		[ "$key" != "$1" ] || echo "$value"
	done <"$work/counted"
}

# Nothing was lost, in no class, and the client's own books are right.
nothing_lost() {
	local key value answered=0 zeros=0 wrong=''
	while IFS='=' read -r key value; do
		case $key in
		lost | reset | eof | truncated | reused_reset | timeout | unaccounted)
			if [ "$value" = 0 ]; then zeros=$((zeros + 1)); else wrong+=" $key=$value"; fi
			;;
		answered) answered=$value ;;
		esac
	done <"$work/counted"
	if [ "$zeros" -ne 7 ]; then
		echo "not 0:${wrong:- what there is no line of}"
		return 1
	fi
	[ "$answered" -gt 0 ]
}

# A port that nobody listens on and that no outgoing connection is given.
free_port() {
	local port
	while :; do
		port=$((10240 + (RANDOM << 1 ^ RANDOM) % 22000))
		nobody_listens $port && break
	done
	echo $port
}

# The state that status shows for an address.
state_of() {
	"$lastcall" status | awk -v address="$1" '$1 == address { print $3 }'
}

# raw TEXT [SECONDS]: sends it (printf escapes) to $address over TCP and prints what comes until the end of the connection.
raw() {
	local host=${address%:*} port=${address##*:}
	host=${host#[}
	exec 7<>"/dev/tcp/${host%]}/$port" || return 1
	# shellcheck disable=SC2059
	printf "$1" >&7 2>/dev/null
	timeout "${2:-15}" cat <&7
	exec 7>&- 7<&-
}

# port_is_free PORT: no server of this test listens there. Another may: the kernel gives what is free to whoever asks.
port_is_free() {
	local pid
	for pid in $(ss -Hltnp "sport = :$1" | grep -o 'pid=[0-9]*' | cut -d= -f2); do
		[[ "$(readlink "/proc/$pid/cwd")" != "$work"* ]] || return 1
	done
}

# nobody_listens PORT: no server at all.
nobody_listens() {
	[ -z "$(ss -Hltn "sport = :$1")" ]
}

# ends KEY=N…: so ended the conversation, or the last run of talk -q, whose counters are in $how.
ends() {
	local wanted
	for wanted; do
		if [[ $'\n'$how$'\n' != *$'\n'"$wanted"$'\n'* ]]; then
			echo "wanted $wanted:" "$how"
			return 1
		fi
	done
}

# One of these counters.
number() {
	local key value
	while IFS='=' read -r key value; do
		[ "$key" != "$1" ] || echo "$value"
	done <<<"$how"
}

# took FROM TO: every connection took from so many to so many milliseconds. The lower bound is the promise; the upper one
# leaves room for a busy machine.
took() {
	if [ "$(number ms_min)" -lt "$1" ] || [ "$(number ms_max)" -gt "$2" ]; then
		echo "wanted $1 to $2 ms:" "$how"
		return 1
	fi
}

# Memory of the workers, in KiB, without what they share with the master.
workers_memory() {
	local pid sum=0
	for pid in $(workers); do
		sum=$((sum + $(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status")))
	done
	echo $sum
}

# settle FILE…: waits until they were changed so long ago that they are kept in the cache, with a strong tag (touch is a
# change too).
settle() {
	local changed newest=0
	for changed in $(stat -c %Z "$@"); do
		[ "$changed" -lt "$newest" ] || newest=$changed
	done
	while [ $((EPOCHSECONDS - newest)) -le 3 ]; do
		pause 0.1
	done
}

# inject SYSCALL ERROR [WHEN]: has a system call of the master fail.
inject() {
	strace -qq -o /dev/null -p "$server" -e "trace=$1" -e "inject=$1:error=$2:when=${3:-1}" 3>&- &
	tracer=$!
	background+=($tracer)
	wait_until grep -q "TracerPid:.*$tracer" "/proc/$server/status"
}

inject_ends() {
	kill -INT "$tracer"
	wait "$tracer" || :
	wait_until grep -q 'TracerPid:.*0' "/proc/$server/status"
}
