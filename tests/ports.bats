# Ports that open and close while the server runs: what the close of one does to it and to the others.

load helper

# How many cycles, ports and descriptors a test that counts goes through: few in `make check`, as many as promised in `make soak`.
: "${LASTCALL_CYCLES:=40}" "${LASTCALL_PORTS:=20}" "${LASTCALL_OPENINGS:=500}"

setup() {
	common_setup
	export LASTCALL_CONTROL=$work/control
}

teardown() { common_teardown; }

# start_server [OPTION…]: two workers, a port of the configuration ($address) and a service that can be named.
start_server() {
	start_conf "grace 20s; settle 2s; log-level info;
		service site http { root $work/site; keepalive 1s; }
		listen 127.0.0.1:0 -> site;" -w 2 "$@"
}

get() {
	curl -sf -m 10 "http://$1/"
}

state_is() {
	[ "$(state_of "$1")" = "$2" ]
}

# A number of a printed receipt: number accepted "$text"
number() {
	sed -n "s/.*[ :]\([0-9]*\) $1.*/\1/p" <<<"$2"
}

@test "open prints the address that is bound, and it takes connections at once" {
	start_server
	run -0 "$lastcall" open 127.0.0.1:0 site
	[[ $output =~ ^127\.0\.0\.1:[0-9]+$ ]]
	[ "$(get "$output")" = 'hello, and welcome' ]
}

@test "every form of address can be opened and closed" {
	start_server
	port=$(free_port)
	for form in "$port" "*:$port" "0.0.0.0:$port" "127.0.0.1:$port" "[::]:$port" "[::1]:$port" "localhost:$port" ":0" \
		"unix:$work/a socket" "unix:relative.sock"; do
		echo "form: $form"
		bound=$("$lastcall" open "$form" site)
		case $bound in
		unix:*) [ "$(curl -sf --unix-socket "${bound#unix:}" http://x/)" = 'hello, and welcome' ] ;;
		'*:'* | 0.0.0.0:*) get "127.0.0.1:${bound##*:}" ;;
		'[::]:'*) get "[::1]:${bound##*:}" ;;
		*) get "$bound" ;;
		esac
		"$lastcall" close "$bound"
		state_is "$bound" ''
		[[ $bound != unix:* ]] || [ ! -e "${bound#unix:}" ]
	done
}

@test "a folder given in place is the client's own, and relative to where it is" {
	start_server
	mkdir elsewhere
	echo there >elsewhere/index.html
	bound=$(cd elsewhere && "$lastcall" open 127.0.0.1:0 http .)
	[ "$(get "$bound")" = there ]
}

@test "a folder that the workers may not enter is an error at once" {
	[ "$(id -u)" -eq 0 ] || skip 'the workers are who the master is'
	start_server
	mkdir -m 700 secret
	run -1 "$lastcall" open 127.0.0.1:0 http secret
	[[ $output == *'may not enter'* ]]
	run -1 "$lastcall" open 127.0.0.1:0 http missing
	[[ $output == *'No such file'* ]]
}

@test "errors of open are the system's own, named" {
	start_server
	run -1 "$lastcall" open "$address" site
	[[ $output == *"in use, by the listener $address of this server"* ]]
	run -1 "$lastcall" open 192.0.2.1:4711 site
	[[ $output == *'not an address of this machine'* ]]
	run -1 "$lastcall" open "unix:$work/nowhere/socket" site
	[[ $output == *'No such file or directory'* ]]
	run -1 "$lastcall" open :0 sight
	[[ $output == *'no service sight'* ]]
}

@test "a port that an outgoing connection has: the error says that it may be one" {
	start_server
	read -r low high </proc/sys/net/ipv4/ip_local_port_range
	exec 7<>"/dev/tcp/${address%:*}/${address##*:}"
	port=$(ss -Htn "dport = :${address##*:}" | awk '{ sub(/.*:/, "", $4); print $4; exit }')
	[ "$port" -ge "$low" ]
	[ "$port" -le "$high" ]
	run -1 "$lastcall" open "127.0.0.1:$port" site
	# The twin does not know which ports these are.
	if is_posix; then
		[[ $output == *'given to outgoing connections'* || $output == *'in use'* ]]
	else
		[[ $output == *'given to outgoing connections'* ]]
	fi
	exec 7>&-
}

@test "max-listeners: one more is an error, and after a close there is room again" {
	start_conf "max-listeners 3; service site http { root $work/site; } listen 127.0.0.1:0 -> site;" -w 2
	a=$("$lastcall" open 127.0.0.1:0 site)
	b=$("$lastcall" open 127.0.0.1:0 site)
	run -1 "$lastcall" open 127.0.0.1:0 site
	[[ $output == *max-listeners* ]]
	"$lastcall" close "$a"
	"$lastcall" open 127.0.0.1:0 site
	get "$b"
}

@test "the same port: open, request, close, again and again; every bind succeeds and every request is answered" {
	start_server
	port=$(free_port)
	for ((i = 0; i < LASTCALL_CYCLES; i++)); do
		"$lastcall" open "127.0.0.1:$port" site >/dev/null
		get "127.0.0.1:$port" >/dev/null
		receipt=$("$lastcall" close "127.0.0.1:$port")
		[ "$(number accepted "$receipt")" = 1 ]
		[ "$(number cut "$receipt")" = 0 ]
	done
}

cycles_with_workers() {
	start_conf "service site http { root $work/site; } listen 127.0.0.1:0 -> site;" -w "$1"
	port=$(free_port)
	for ((i = 0; i < 20; i++)); do
		"$lastcall" open "127.0.0.1:$port" site >/dev/null
		get "127.0.0.1:$port" >/dev/null
		"$lastcall" close "127.0.0.1:$port" >/dev/null
	done
	stop_server
	[ "$ended" -eq 0 ]
}

@test "the same with 1 worker" { cycles_with_workers 1; }
@test "the same with 16 workers" { cycles_with_workers 16; }

@test "ports are opened and closed while load runs on another: nobody loses a connection on any of them" {
	start_server
	load_begin -c 20 -d 60000 -m close -t /1k.txt -e 1000
	for ((i = 0; i < LASTCALL_PORTS; i++)); do
		bound=$("$lastcall" open 127.0.0.1:0 site)
		"$tools/losscount" -c 5 -d 10000 --stop-on-refused -m close -t /1k.txt -e 1000 "$bound" >"$work/one" 3>&- &
		client=$!
		background+=($client)
		wait_until answered_some "$bound"
		"$lastcall" close "$bound" >/dev/null
		wait $client
		grep -qx lost=0 "$work/one"
		grep -qx unaccounted=0 "$work/one"
	done
	stop_server
	load_end
	[ "$load_status" -eq 0 ]
	nothing_lost
}

# Whether status counts an answer on that address.
answered_some() {
	[ "$("$lastcall" status | awk -v address="$1" '$1 == address { print $5 }')" -gt 10 ]
}

# close_under_load OPTION…: closes a port that is being loaded, and the load loses nothing.
close_under_load() {
	local bound kept=$address
	for ((round = 0; round < LASTCALL_ROUNDS; round++)); do
		bound=$("$lastcall" open 127.0.0.1:0 site)
		address=$bound
		load_begin -c 50 -d 60000 -t /1k.txt -e 1000 "$@"
		receipt=$("$lastcall" close --grace 20s "$bound")
		echo "$receipt"
		load_end
		address=$kept
		[ "$load_status" -eq 0 ]
		nothing_lost
		[ "$(number cut "$receipt")" = 0 ]
		[ "$(number accepted "$receipt")" = "$(counted connected)" ]
	done
	get "$address"
}

@test "a port closed under load loses nothing: one request per connection" {
	start_server
	close_under_load -m close
}

@test "a port closed under load loses nothing: keep-alive" {
	start_server
	close_under_load -m keep
}

@test "a port closed under load loses nothing: keep-alive with idle time" {
	start_server
	close_under_load -m idle -i 300
}

@test "a port closed under load loses nothing: connect and wait" {
	start_server
	close_under_load -m silent -i 100
}

@test "a port closed under load loses nothing, with the gate of the unprivileged" {
	chmod 777 "$work"
	as=$unprivileged start_server
	close_under_load -m close
	close_under_load -m silent -i 100
}

@test "the address can be bound again as soon as close returns, also with connections still served" {
	start_server
	port=$(free_port)
	"$lastcall" open "127.0.0.1:$port" echo
	exec 7<>"/dev/tcp/127.0.0.1/$port"
	echo one >&7
	read -r -t 10 line <&7
	[ "$line" = one ]
	run -0 "$lastcall" close "127.0.0.1:$port"
	[[ $output == *'1 still served'* ]]
	[ "$("$lastcall" open "127.0.0.1:$port" site)" = "127.0.0.1:$port" ]
	get "127.0.0.1:$port"
	echo two >&7
	read -r -t 10 line <&7
	[ "$line" = two ]
	exec 7>&-
}

@test "close --grace cuts what is open when it is over, counts it, and exits with 3" {
	start_server
	bound=$("$lastcall" open 127.0.0.1:0 echo)
	exec 7<>"/dev/tcp/${bound%:*}/${bound##*:}"
	echo one >&7
	read -r -t 10 line <&7
	run -3 "$lastcall" close --grace 100ms "$bound"
	[ "$(number cut "$output")" = 1 ]
	# It is over for the client too.
	run timeout 10 cat <&7
	[ "$status" -ne 124 ]
	exec 7>&-
}

@test "close --now cuts at once, and what waits in the queue with it" {
	start_server
	bound=$("$lastcall" open 127.0.0.1:0 echo)
	exec 7<>"/dev/tcp/${bound%:*}/${bound##*:}"
	echo one >&7
	read -r -t 10 line <&7
	# shellcheck disable=SC2046
	kill -STOP $(workers)
	exec 8<>"/dev/tcp/${bound%:*}/${bound##*:}"
	"$lastcall" close --now "$bound" >"$work/receipt" 3>&- &
	closing=$!
	background+=($closing)
	wait_until port_is_free "${bound##*:}"
	# shellcheck disable=SC2046
	kill -CONT $(workers)
	ended=0
	wait $closing || ended=$?
	cat "$work/receipt"
	[ "$ended" -eq 3 ]
	[ "$(number cut "$(cat "$work/receipt")")" = 2 ]
	exec 7>&- 8>&-
}

@test "closing twice at the same time: both get the one receipt" {
	start_server
	bound=$("$lastcall" open 127.0.0.1:0 echo)
	exec 7<>"/dev/tcp/${bound%:*}/${bound##*:}"
	echo one >&7
	read -r -t 10 line <&7
	"$lastcall" close --grace 20s "$bound" >"$work/first" 3>&- 7>&- &
	first=$!
	"$lastcall" close --grace 20s "$bound" >"$work/second" 3>&- 7>&- &
	second=$!
	background+=($first $second)
	wait_until state_is "$bound" finishing
	exec 7>&-
	wait $first
	wait $second
	cat "$work/first" "$work/second"
	cmp "$work/first" "$work/second"
	grep -q '1 accepted, 1 answered, 0 cut' "$work/first"
}

@test "closing an unknown address names the open ones nearest to it, and exits with 1" {
	start_server
	port=$(free_port)
	"$lastcall" open "127.0.0.1:$port" site
	run -1 "$lastcall" close "127.0.0.1:$((port + 1))"
	[[ $output == *"127.0.0.1:$port"* ]]
}

@test "a worker that is being respawned: the port is released without it" {
	start_server
	bound=$("$lastcall" open 127.0.0.1:0 site)
	read -r one _ <<<"$(workers | tr '\n' ' ')"
	kill -KILL "$one"
	run -0 "$lastcall" close "$bound"
	wait_until worker_count_is 2
	get "$address"
}

@test "a worker born after the port was opened serves it, and what its predecessor held is counted" {
	start_server
	bound=$("$lastcall" open 127.0.0.1:0 echo)
	exec 7<>"/dev/tcp/${bound%:*}/${bound##*:}"
	echo one >&7
	read -r -t 10 line <&7
	old=$(workers)
	# shellcheck disable=SC2086
	kill -KILL $old
	wait_until worker_count_is 2
	exec 8<>"/dev/tcp/${bound%:*}/${bound##*:}"
	echo two >&8
	read -r -t 10 line <&8
	[ "$line" = two ]
	exec 8>&-
	run -3 "$lastcall" close "$bound"
	[ "$(number accepted "$output")" = 2 ]
	[ "$(number cut "$output")" = 1 ]
	exec 7>&-
}

@test "a folder given in place is served by workers that were born later" {
	start_server
	mkdir elsewhere
	echo there >elsewhere/index.html
	bound=$("$lastcall" open 127.0.0.1:0 http elsewhere)
	# shellcheck disable=SC2046
	kill -KILL $(workers)
	wait_until worker_count_is 2
	[ "$(get "$bound")" = there ]
	"$lastcall" close "$bound"
	stop_server
	[ "$ended" -eq 0 ]
}

@test "one worker stopped: the port is released once its queue is empty" {
	start_server
	bound=$("$lastcall" open 127.0.0.1:0 site)
	read -r one _ <<<"$(workers | tr '\n' ' ')"
	kill -STOP "$one"
	run -0 timeout 10 "$lastcall" close "$bound"
	port_is_free "${bound##*:}"
	kill -CONT "$one"
	wait_until state_is "$bound" ''
}

@test "every worker stopped: the port is released after settle, and what is in its queue is counted as cut" {
	start_server
	bound=$("$lastcall" open 127.0.0.1:0 site)
	# shellcheck disable=SC2046
	kill -STOP $(workers)
	exec 7<>"/dev/tcp/${bound%:*}/${bound##*:}"
	run -3 timeout 15 "$lastcall" close "$bound"
	[ "$(number accepted "$output")" = 1 ]
	[ "$(number cut "$output")" = 1 ]
	port_is_free "${bound##*:}"
	exec 7>&-
	# The workers are the watchdog's, who finds them alive.
	# shellcheck disable=SC2046
	kill -CONT $(workers)
	wait_until get "$address"
}

@test "a worker that retires holds no port, and does not hold up a close" {
	start_server
	bound=$("$lastcall" open 127.0.0.1:0 echo)
	# A connection on each worker keeps both busy when they retire.
	for fd in 6 7 8 9; do
		eval "exec $fd<>/dev/tcp/${bound%:*}/${bound##*:}"
		eval "echo one >&$fd"
	done
	kill -TTOU "$server"
	wait_until grep -q retires "$log"
	run -0 timeout 10 "$lastcall" close "$bound"
	[ "$(number accepted "$output")" = 4 ]
	exec 6>&- 7>&- 8>&- 9>&-
}

@test "the client that asked for a close goes away: the close completes, and the receipt goes to the log" {
	start_server
	bound=$("$lastcall" open 127.0.0.1:0 site)
	# A close that takes until settle, for nobody drains it.
	# shellcheck disable=SC2046
	kill -STOP $(workers)
	exec 7<>"/dev/tcp/${bound%:*}/${bound##*:}"
	"$lastcall" close "$bound" 3>&- &
	closing=$!
	wait_until state_is "$bound" closing
	kill -KILL $closing
	wait_until port_is_free "${bound##*:}"
	# shellcheck disable=SC2046
	kill -CONT $(workers)
	wait_until grep -q "$bound: closed after .*1 accepted.*1 cut" "$log"
	exec 7>&-
}

@test "a port of the configuration stays closed, and status says so" {
	start_server
	"$lastcall" close "$address"
	port_is_free "${address##*:}"
	state_is "$address" closed
	run -1 "$lastcall" close "$address"
	# Its address is free for whoever asks for it.
	[ "$("$lastcall" open "$address" site)" = "$address" ]
	get "$address"
}

@test "TERM during a close: both complete" {
	start_server
	bound=$("$lastcall" open 127.0.0.1:0 echo)
	exec 7<>"/dev/tcp/${bound%:*}/${bound##*:}"
	echo one >&7
	read -r -t 10 line <&7
	"$lastcall" close --grace 20s "$bound" >"$work/receipt" 3>&- 7>&- &
	closing=$!
	background+=($closing)
	wait_until state_is "$bound" finishing
	kill -TERM "$server"
	wait_until grep -q 'last call' "$log"
	exec 7>&-
	wait $closing
	grep -q '1 accepted, 1 answered, 0 cut' "$work/receipt"
	end_server
	[ "$ended" -eq 0 ]
}

@test "a close that is taken back: the gate is undone, and nobody who came meanwhile is lost" {
	start_server
	bound=$("$lastcall" open 127.0.0.1:0 site)
	# shellcheck disable=SC2046
	kill -STOP $(workers)
	exec 7<>"/dev/tcp/${bound%:*}/${bound##*:}"
	"$lastcall" close "$bound" >"$work/receipt" 2>&1 3>&- &
	closing=$!
	background+=($closing)
	wait_until grep -q "$bound: gate: " "$log"
	"$lastcall" cancel "$bound"
	ended=0
	wait $closing || ended=$?
	[ "$ended" -eq 1 ]
	grep -q 'taken back' "$work/receipt"
	# shellcheck disable=SC2046
	kill -CONT $(workers)
	printf 'GET / HTTP/1.0\r\n\r\n' >&7
	timeout 10 grep -q welcome <&7
	exec 7>&-
	get "$bound"
	run -0 "$lastcall" close "$bound"
	[ "$(number accepted "$output")" = 2 ]
	[ "$(number answered "$output")" = 2 ]
}

@test "the same with the gate of the unprivileged: connections born under it receive" {
	chmod 777 "$work"
	as=$unprivileged start_server
	bound=$("$lastcall" open 127.0.0.1:0 site)
	# shellcheck disable=SC2046
	kill -STOP $(workers)
	exec 7<>"/dev/tcp/${bound%:*}/${bound##*:}"
	"$lastcall" close "$bound" >"$work/receipt" 2>&1 3>&- &
	closing=$!
	background+=($closing)
	wait_until grep -q "$bound: gate: " "$log"
	"$lastcall" cancel "$bound"
	ended=0
	wait $closing || ended=$?
	[ "$ended" -eq 1 ]
	# shellcheck disable=SC2046
	kill -CONT $(workers)
	printf 'GET / HTTP/1.0\r\n\r\n' >&7
	timeout 10 grep -q welcome <&7
	exec 7>&-
	get "$bound"
}

@test "cancel under load, again and again: nothing is lost" {
	start_server
	kept=$address
	address=$("$lastcall" open 127.0.0.1:0 site)
	load_begin -c 50 -d 60000 -m close -t /1k.txt -e 1000
	for ((i = 0; i < 20; i++)); do
		"$lastcall" close "$address" >"$work/receipt.$i" 2>&1 3>&- &
		closing=$!
		# Most come too late, or too early.
		"$lastcall" cancel "$address" >/dev/null 2>&1 || true
		wait $closing || continue
		break
	done
	if ((i == 20)); then
		"$lastcall" close "$address"
	fi
	load_end
	[ "$load_status" -eq 0 ]
	nothing_lost
	get "$kept"
}

@test "a worker that does not read while ports are opened gets them later, and nobody waits for it" {
	start_server
	read -r one two <<<"$(workers | tr '\n' ' ')"
	kill -STOP "$one"
	bounds=()
	for ((i = 0; i < 600; i++)); do
		echo 'open 127.0.0.1:0 site'
	done | "$tools/ctl" "$LASTCALL_CONTROL" pump >"$work/opened"
	[ "$(grep -c '^ok ' "$work/opened")" -eq 600 ]
	mapfile -t bounds < <(sed -n 's/^ok \([^ ]*\).*/\1/p' "$work/opened")
	get "${bounds[599]}"
	kill -CONT "$one"
	wait_until holds_everything "$one" 600
	# It alone serves them all.
	kill -STOP "$two"
	get "${bounds[0]}"
	get "${bounds[599]}"
	kill -CONT "$two"
	stop_server
	[ "$ended" -eq 0 ]
}

# Whether a process has at least so many listening sockets.
holds_everything() {
	[ "$(find "/proc/$1/fd" -lname 'socket:*' | wc -l)" -ge "$2" ]
}

all_descriptors() {
	local pid
	for pid in "$server" $(workers); do
		find "/proc/$pid/fd" -mindepth 1 | wc -l
	done | tr '\n' ' '
}

resident() {
	local pid
	for pid in "$server" $(workers); do
		awk '/^RssAnon/ { print $2 }' "/proc/$pid/status"
	done
}

openings() {
	for ((i = 0; i < $1; i++)); do
		printf 'open 127.0.0.1:%d %s\nclose 127.0.0.1:%d\n' "$port" "$2" "$port"
	done | "$tools/ctl" "$LASTCALL_CONTROL" pump >"$work/answers"
	[ "$(grep -c '^ok ' "$work/answers")" -eq $(($1 * 2)) ]
}

@test "no descriptor and no memory is left after opens and closes" {
	start_server
	port=$(free_port)
	# The twin waits 0.3 s for the quiet in each.
	! is_posix || LASTCALL_OPENINGS=$((LASTCALL_OPENINGS / 5))
	# Once to use what is used again from then on.
	openings "$LASTCALL_OPENINGS" site
	openings "$((LASTCALL_OPENINGS / 10))" "\"http\" \"$work/site\""
	wait_until state_is "127.0.0.1:$port" ''
	before=$(all_descriptors)
	mapfile -t memory < <(resident)
	openings "$LASTCALL_OPENINGS" site
	openings "$((LASTCALL_OPENINGS / 10))" "\"http\" \"$work/site\""
	wait_until state_is "127.0.0.1:$port" ''
	[ "$(all_descriptors)" = "$before" ]
	mapfile -t after < <(resident)
	echo "memory: ${memory[*]} then ${after[*]} kB"
	for i in "${!memory[@]}"; do
		is_sanitized || [ $((after[i] - memory[i])) -le 64 ]
	done
}

@test "TERM with many ports: all are closed, quickly, and their holders are told" {
	start_server
	for ((i = 0; i < 500; i++)); do
		echo 'open 127.0.0.1:0 site'
	done | "$tools/ctl" "$LASTCALL_CONTROL" pump >"$work/opened"
	[ "$(grep -c '^ok ' "$work/opened")" -eq 500 ]
	stop_server
	[ "$ended" -eq 0 ]
	[ ! -e "$LASTCALL_CONTROL" ]
	[ "$(grep -c 'closed after' "$log")" -eq 501 ]
}

@test "the master killed: the workers close the ports that were opened, too" {
	start_server
	kept=$address
	address=$("$lastcall" open 127.0.0.1:0 site)
	load_begin -c 50 -d 60000 -m close -t /1k.txt -e 1000
	kill -KILL "$server"
	load_end
	[ "$load_status" -eq 0 ]
	nothing_lost
	port_is_free "${address##*:}"
	wait_until port_is_free "${kept##*:}"
}
