#!/usr/bin/env bats
# The endpoints of control: every request and every error of master/PROTOCOL, who may what, and what a client that
# means no good can do to the master: nothing.

load helper

setup() {
	common_setup
	endpoint=$work/run/c.sock
	inside=lastcall-near.$$ outside=lastcall-far.$$
}

teardown() {
	ip netns del "$inside" 2>/dev/null || true
	ip netns del "$outside" 2>/dev/null || true
	common_teardown
}

# serve [TEXT [OPTION…]]: starts with two services, a listener, and an endpoint at $endpoint unless the text has another.
serve() {
	local text=${1:-}
	[[ $text == *'control '* ]] || text+=' control run/c.sock;'
	start_conf "log-level info; service site http { root site; } service mirror echo;
		listen 127.0.0.1:0 -> site; $text" "${@:2}"
	# As a client sees it, once it was named.
	tcp=$(sed -n 's/^lastcall: control at \([0-9].*\)$/\1/p' "$log")
}

# serve_tcp RULES: the same with an endpoint over TCP at $tcp.
serve_tcp() {
	printf 'open sesame\n' >token
	chmod 600 token
	serve "control 127.0.0.1:0 { token-file token; $1 }"
	[ -n "$tcp" ]
}

# ask REQUEST: its answer, in $output. Another endpoint in at=.
ask() {
	run -0 "$tools/ctl" "${at:-$endpoint}" "send:$1\n" answer
}

# says REQUEST ANSWER: the last line of the answer is that pattern.
says() {
	ask "$1"
	# shellcheck disable=SC2053
	[[ ${lines[-1]} == $2 ]] || {
		echo "$1 was answered with: $output"
		return 1
	}
}

needs_root() {
	[ "$(id -u)" -eq 0 ] || skip "only root becomes somebody else"
}

# foreign COMMAND…: as a user who is neither the server's nor root.
foreign() {
	setpriv --reuid=65533 --regid=65533 --clear-groups "$@"
}

# In KiB.
memory() {
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$server/status"
}

# at_once COMMAND…: it took less than half of what a slow client is given, on a busy machine too.
at_once() {
	local begun=${EPOCHREALTIME/./}
	"$@" || return
	[ $((${EPOCHREALTIME/./} - begun)) -lt 2500000 ]
}

port_answers() {
	[ "$(raw 'GET / HTTP/1.0\r\n\r\n' | tail -n 1)" = 'hello, and welcome' ]
}

# A stopped worker that was connected to keeps a port closing: the queue is not empty.
hold_queue() {
	local pid
	for pid in $(workers); do
		kill -STOP "$pid"
	done
	exec 6<>"/dev/tcp/${address%:*}/${address##*:}"
}

release_queue() {
	local pid
	for pid in $(workers); do
		kill -CONT "$pid"
	done
	exec 6>&- 6<&-
}

has_state() {
	"$tools/ctl" "$endpoint" 'send:status\n' answer | grep -q "^listener address=$1 .* state=$2 "
}

# ---- requests

@test "open: the port takes connections when the answer comes, and has its url" {
	serve
	says 'open 127.0.0.1:0 site' 'ok 127.0.0.1:* http://127.0.0.1:*/'
	address=${output#ok }
	address=${address% *}
	port_answers
	says "open 127.0.0.1:0 http $work/site" 'ok 127.0.0.1:* http://127.0.0.1:*/'
	says "open folder=$work 127.0.0.1:0 http site" 'ok 127.0.0.1:* http://127.0.0.1:*/'
	says 'open 127.0.0.1:0 echo' 'ok 127.0.0.1:+([0-9])'
	says 'open :0 mirror' 'ok \*:+([0-9])'
	says "open unix:$work/run/s.sock mirror" "ok unix:$work/run/s.sock"
	says "open folder=$work/run unix:t.sock mirror" "ok unix:$work/run/t.sock"
	[ -S run/s.sock ]
	[ -S run/t.sock ]
}

@test "open: a path with a space is one word, there and back" {
	mkdir 'run/my site'
	chmod 777 'run/my site'
	serve
	says "open \"folder=$work/run/my site\" unix:s.sock mirror" "ok \"unix:$work/run/my site/s.sock\""
	ask 'status'
	[[ $output == *"listener \"address=unix:$work/run/my site/s.sock\" service=mirror"* ]]
	says "close \"unix:$work/run/my site/s.sock\"" "ok \"unix:$work/run/my site/s.sock\" milliseconds=*"
}

@test "open: what is wrong has its code" {
	serve 'max-listeners 3; control run/c.sock;'
	says 'open 127.0.0.1 echo' 'error address 127.0.0.1: a port is missing*'
	says 'open localhost:0 echo' 'error address localhost:0: the client looks names up*'
	says 'open fd:x echo' 'error address fd:x: *'
	says 'open unix:s.sock mirror' 'error address unix:s.sock: a relative path starts from folder=*'
	says 'open 127.0.0.1:70000 echo' 'error address 127.0.0.1:70000: the port is above 65535'
	says "open $address echo" "error in-use $address: * by the listener $address of this server"
	says 'open 192.0.2.1:0 echo' 'error not-available *'
	says 'open 127.0.0.1:0 nothing' 'error unknown-service there is no service nothing'
	says 'open 127.0.0.1:0 http' 'error service http: *root*'
	says 'open 127.0.0.1:0 http /no/such/folder' 'error service *'
	says 'open 127.0.0.1:0 http site' 'error service *relative*'
	says 'open 127.0.0.1:0 echo x' 'error service echo takes no argument'
	says 'open 127.0.0.1:0 site x' 'error service service site takes no arguments*'
	says 'open unix:/no/such/folder/s echo' 'error failed *'
	says 'open 127.0.0.1:0 echo' 'ok *'
	says 'open 127.0.0.1:0 echo' 'ok *'
	says 'open 127.0.0.1:0 echo' 'error too-many *max-listeners*'
}

@test "open: what may not be bound is permission" {
	mkdir locked
	chmod 500 locked
	if [ "$(id -u)" -eq 0 ]; then
		as=$unprivileged serve
	else
		serve
	fi
	says "open unix:$work/locked/s mirror" 'error permission *'
}

@test "close: the address can be bound again, and the receipt counts" {
	serve
	says 'open 127.0.0.1:0 site' 'ok *'
	address=${output#ok }
	address=${address% *}
	port_answers
	port_answers
	says "close $address" "ok $address milliseconds=+([0-9]) accepted=2 answered=2 queued=0 left=0 open=0 cut=0"
	port_is_free "${address##*:}"
	says "open $address site" "ok $address *"
	port_answers
}

@test "close: an unknown address names the nearest" {
	serve
	says 'close 127.0.0.1:9' "error unknown-address no open port is 127.0.0.1:9; the nearest: $address"
	says "close $address" "ok $address *"
	says "close $address" "error unknown-address $address is closed already, until the next reload"
	says 'close 127.0.0.1:9' 'error unknown-address no port is open'
}

@test "close: connections that are open are served on, and waited for with grace" {
	serve
	says 'open 127.0.0.1:0 mirror' 'ok *'
	address=${output#ok }
	exec 6<>"/dev/tcp/${address%:*}/${address##*:}"
	echo first >&6
	read -r -t 15 -u 6
	says "close $address" "ok $address *accepted=1 answered=0 queued=0 left=0 open=1 cut=0"
	echo second >&6
	read -r -t 15 -u 6 reply
	[ "$reply" = second ]
	# It can be closed once more, to the end.
	says "close grace=300ms $address" "ok $address *open=0 cut=1"
	exec 6>&- 6<&-
}

@test "close: grace=0 cuts at once" {
	serve
	says 'open 127.0.0.1:0 mirror' 'ok *'
	address=${output#ok }
	exec 6<>"/dev/tcp/${address%:*}/${address##*:}"
	echo first >&6
	read -r -t 15 -u 6
	at_once says "close grace=0 $address" "ok $address *open=0 cut=1"
	exec 6>&- 6<&-
}

@test "close: twice at a time both get the one receipt" {
	serve
	hold_queue
	for i in 1 2; do
		"$tools/ctl" "$endpoint" "send:close $address\n" answer >"answer.$i" 3>&- &
		background+=($!)
	done
	wait_until has_state "$address" closing
	says "open $address echo" 'error closing *'
	release_queue
	wait "${background[@]: -2}"
	grep -q "^ok $address milliseconds=" answer.1
	cmp answer.1 answer.2
}

# hold_lease [OPTION…]: a holder that says what is written to descriptor 8; what it is told is in leased. Its queue is held.
hold_lease() {
	rm -f leased words
	mkfifo words
	"$tools/ctl" "$endpoint" pump <words >leased 3>&- &
	background+=($!)
	exec 8>words
	echo "lease $* 127.0.0.1:0 mirror" >&8
	wait_until grep -q '^ok' leased
	read -r _ address <leased
	hold_queue
}

# close_by_hand: somebody else asks for the close, which waits for the queue.
close_by_hand() {
	"$tools/ctl" "$endpoint" "send:close $address\n" answer >by-hand 3>&- 8>&- &
	background+=($!)
	wait_until has_state "$address" closing
}

status_says() {
	"$tools/ctl" "$endpoint" 'send:status\n' answer | grep -q "$1"
}

@test "close: by its lease and by hand at once is one close, and both are told" {
	serve
	hold_lease
	close_by_hand
	echo "close $address" >&8
	wait_until status_says ' leases=0 '
	release_queue
	wait "${background[-1]}"
	exec 8>&-
	wait "${background[-2]}"
	[ "$(wc -l <leased)" -eq 2 ] # its lease and the receipt
	[[ $(cat by-hand) == "ok $address milliseconds="* ]]
	[ "$(sed -n 2p leased)" = "$(cat by-hand)" ]
	[ "$(grep -c "$address: closed after" "$log")" -eq 1 ]
}

@test "close: by hand while its ttl ends is one close, and both are told" {
	serve
	hold_lease ttl=1s
	close_by_hand
	wait_until status_says "^listener address=$address .* ttl-ms=0 "
	says "cancel $address" 'error not-closing *'
	release_queue
	wait "${background[-1]}"
	wait_until grep -q '^closed' leased
	[[ $(cat by-hand) == "ok $address milliseconds="* ]]
	[ "$(sed -n '2s/ reason=ttl//p' leased)" = "$(sed 's/^ok/closed/' by-hand)" ]
	[ "$(grep -c "$address: closed after" "$log")" -eq 1 ]
	exec 8>&-
}

@test "close: by hand while its holder is killed is one close, and who asked is told" {
	serve
	hold_lease
	holder=${background[-1]}
	close_by_hand
	kill -KILL "$holder"
	wait_until status_says ' leases=0 '
	release_queue
	wait "${background[-1]}"
	[[ $(cat by-hand) == "ok $address milliseconds="* ]]
	[ "$(grep -c "$address: closed after" "$log")" -eq 1 ]
	exec 8>&-
}

@test "close: who asked may go away, the port closes all the same" {
	serve
	hold_queue
	"$tools/ctl" "$endpoint" "send:close $address\n" wait:300
	wait_until has_state "$address" closing
	"$tools/ctl" "$endpoint" "send:close $address\n" half wait:300
	release_queue
	wait_until port_is_free "${address##*:}"
	wait_until has_state "$address" closed
}

@test "cancel: takes a close back, and tells whoever waited" {
	serve
	hold_queue
	"$tools/ctl" "$endpoint" "send:close $address\nping\n" answer answer >waited 3>&- &
	background+=($!)
	wait_until has_state "$address" closing
	says "cancel $address" "ok $address"
	wait "${background[-1]}"
	[ "$(cat waited)" = "error cancelled the close of $address was taken back
ok" ]
	says "cancel $address" "error not-closing $address is open"
	says 'cancel 127.0.0.1:9' 'error unknown-address *'
	release_queue
	port_answers
}

@test "lease: lasts as long as the connection" {
	serve
	"$tools/ctl" "$endpoint" 'send:lease 127.0.0.1:0 site\n' answer hold >leased 3>&- &
	background+=($!)
	wait_until grep -q '^ok' leased
	read -r _ address _ <leased
	port_answers
	ask status
	[[ $output == *"listener address=$address service=site origin=leased uid=$(id -u) pid=${background[-1]} peer=- state=open"* ]]
	[[ $output == *' leases=1 '* ]]
	kill -KILL "${background[-1]}"
	wait_until port_is_free "${address##*:}"
	ask status
	[[ $output != *"$address"* && $output == *' leases=0 '* ]]
}

@test "lease: ends with the end of file, after what was asked before it" {
	serve
	run -0 "$tools/ctl" "$endpoint" 'send:lease 127.0.0.1:0 mirror\nlease 127.0.0.1:0 mirror\nping\n' half end
	[ "${#lines[@]}" -eq 4 ]
	[ "${lines[2]}" = ok ]
	[ "${lines[3]}" = '(eof)' ]
	[[ ${lines[1]} == 'ok 127.0.0.1:'* ]]
	wait_until port_is_free "${lines[0]##*:}"
	wait_until port_is_free "${lines[1]##*:}"
}

@test "lease: the holder is told of a close by somebody else, and not of its own" {
	serve
	"$tools/ctl" "$endpoint" 'send:lease 127.0.0.1:0 mirror\n' answer line >leased 3>&- &
	background+=($!)
	wait_until grep -q '^ok' leased
	read -r _ address <leased
	says "close $address" "ok $address *"
	wait "${background[-1]}"
	[[ $(tail -n 1 leased) == "closed $address reason=close milliseconds="*' accepted=0 '*' cut=0' ]]

	coproc "$tools/ctl" -t 700 "$endpoint" 'send:lease unix:/tmp/lastcall-'$$'.sock echo\n' answer \
		"send:close unix:/tmp/lastcall-$$.sock\n" answer line 3>&-
	run -0 cat <&"${COPROC[0]}"
	[[ ${lines[1]} == "ok unix:/tmp/lastcall-$$.sock milliseconds="* ]]
	[[ ${lines[2]} == '(timeout)' ]]
}

@test "lease: ends with its ttl, and the holder is told" {
	serve
	run -0 "$tools/ctl" "$endpoint" 'send:lease ttl=200ms 127.0.0.1:0 mirror\n' answer line
	[[ ${lines[1]} == "closed ${lines[0]#ok } reason=ttl milliseconds="* ]]
	port_is_free "${lines[0]##*:}"
}

@test "lease: ends without its heartbeat, and not with it" {
	serve
	run -0 "$tools/ctl" "$endpoint" 'send:lease heartbeat=500ms 127.0.0.1:0 mirror\n' answer \
		wait:350 'send:ping\n' line wait:350 'send:\n' wait:350 'send:ping\n' line line
	[ "${lines[1]}" = ok ]
	[ "${lines[2]}" = ok ]
	[[ ${lines[3]} == "closed ${lines[0]#ok } reason=heartbeat "* ]]
}

@test "lease: a holder may be silent for longer than 5 s, with a line half sent it may not" {
	serve
	"$tools/ctl" -t 9000 "$endpoint" 'send:lease 127.0.0.1:0 mirror\n' answer 'send:pi' end >half 3>&- &
	background+=($!)
	run -0 "$tools/ctl" "$endpoint" 'send:lease 127.0.0.1:0 mirror\n' answer wait:6000 'send:ping\n' line
	[ "${lines[1]}" = ok ]
	wait "${background[-1]}"
	[ "$(sed -n 2,3p half)" = "error timeout no whole line within 5 s
(eof)" ]
	wait_until port_is_free "$(sed -n '1s/.*://p' half)"
}

@test "status: the server, each listener, each worker, and nothing else" {
	serve
	says 'open 127.0.0.1:0 mirror' 'ok *'
	ask status
	[ "${#lines[@]}" -eq $((1 + 2 + $(workers | wc -l) + 1)) ]
	[[ ${lines[0]} == "server pid=$server version="*' state=serving uptime-ms='*' workers='*' generation=0 listeners=2 max-listeners='*' leases=0 connections=0 accepted=0 requests=0 restarts=0 watchdog-kills=0 lost=0 refused=0 turned-away=0 loop='*' system='* ]]
	[[ ${lines[1]} == "listener address=$address service=site origin=configuration uid=- pid=- peer=- state=open connections=0 accepted=0 answered=0 left=0 cut=0 age-ms="*" ttl-ms=- gate=- url=http://$address/" ]]
	[[ ${lines[2]} == 'listener address=127.0.0.1:'*' service=mirror origin=opened uid='*' peer=- state=open '*' url=-' ]]
	[[ ${lines[3]} == 'worker slot=0 pid='*' generation=0 state=serving connections=0 requests=0 accepted=0 restarts=0 age-ms='* ]]
	[ "${lines[-1]}" = ok ]
}

@test "stop: is answered when all is done, and the connection ends" {
	serve
	port_answers
	run -0 "$tools/ctl" "$endpoint" 'send:stop\n' end
	[[ ${lines[0]} == 'ok milliseconds='*' accepted='*' answered='*' queued=0 left=0 open=0 cut=0' ]]
	[ "${lines[1]}" = '(eof)' ]
	end_server
	[ "$ended" -eq 0 ]
	[ ! -e run/c.sock ]
}

@test "stop: while it lasts nothing is opened; now cuts; holders are told" {
	serve
	exec 6<>"/dev/tcp/${address%:*}/${address##*:}"
	printf 'GET / HTTP/1.1\r\n' >&6
	"$tools/ctl" "$endpoint" 'send:lease 127.0.0.1:0 mirror\n' answer end >leased 3>&- &
	background+=($!)
	wait_until grep -q '^ok' leased
	"$tools/ctl" "$endpoint" 'send:stop\n' end >stopped 3>&- &
	background+=($!)
	wait_until grep -q 'last call' "$log"
	says 'open 127.0.0.1:0 echo' 'error stopping *'
	run -0 "$tools/ctl" "$endpoint" 'send:stop now=on\n' end
	[[ ${lines[0]} == 'ok milliseconds='*' cut=1' && ${lines[1]} == '(eof)' ]]
	end_server
	[ "$ended" -eq 3 ]
	wait "${background[-1]}"
	[[ $(head -n 1 stopped) == 'ok '*' cut=1' ]]
	[[ $(sed -n 2p leased) == 'closed 127.0.0.1:'*' reason=stop '* ]]
	exec 6>&- 6<&-
}

@test "ping, help, empty lines, CR LF, and many requests in one write" {
	serve
	run -0 "$tools/ctl" "$endpoint" 'send:\n \t\r\nping\r\nhelp\nnothing\nping\n' half end
	[ "${lines[0]}" = ok ]
	[ "${lines[1]}" = 'open [folder=PATH] ADDR SERVICE [ARG...]' ]
	[[ $(tail -n 4 <<<"$output") == $'ok\nerror unknown no request nothing; help lists them\nok\n(eof)' ]]
	run -0 "$tools/ctl" "$endpoint" 'fill:1000:ping\n' half end
	[ "$(grep -c '^ok$' <<<"$output")" -eq 1000 ]
	[ "${#lines[@]}" -eq 1001 ]
}

@test "syntax and unknown leave the connection open" {
	serve
	run -0 "$tools/ctl" "$endpoint" 'send:open\nopen :0\nopen colour=red :0 echo\nopen "x\nclose a b\nlease ttl=5 :0 echo\npong\nping\n' \
		line line line line line line line line
	[[ ${lines[0]} == 'error syntax a word is missing: open [folder=PATH] ADDR SERVICE [ARG...]' ]]
	[[ ${lines[1]} == 'error syntax a word is missing'* ]]
	[[ ${lines[2]} == 'error syntax there is no option colour here' ]]
	[[ ${lines[3]} == 'error syntax a quote is not closed' ]]
	[[ ${lines[4]} == 'error syntax a word too many: close'* ]]
	[[ ${lines[5]} == "error syntax '5' needs a unit: ms, s, m, h or d; ttl takes 1ms to 365d" ]]
	[[ ${lines[6]} == 'error unknown no request pong; did you mean ping?' ]]
	[ "${lines[7]}" = ok ]
}

@test "bytes of a client are escaped in what it is told and in the log" {
	serve
	LC_ALL=C
	says 'open 127.0.0.1:0 \x1b[31m\xff\x22' 'error syntax a quote in the middle of a word*'
	says 'open 127.0.0.1:0 \x1b[31m\xff' 'error unknown-service there is no service \\x1b[[]31m\\xff'
	run ! grep -q '[^[:print:]]' "$log"
}

# ---- endpoints

@test "the default endpoint is there without a word, for the owner alone, and goes with the server" {
	start run -l 127.0.0.1:0 echo
	[ "$(stat -c %a "$LASTCALL_CONTROL")" = 600 ]
	at=$LASTCALL_CONTROL says ping ok
	stop_server
	[ ! -e "$LASTCALL_CONTROL" ]
}

@test "a default endpoint that another server has is left alone, and the log says how to get one" {
	start run -l 127.0.0.1:0 echo
	first=$server
	start run -l 127.0.0.1:0 echo
	grep -q "control unix:$LASTCALL_CONTROL: it is in use by another server; going on without; .*LASTCALL_CONTROL=PATH" "$log"
	at=$LASTCALL_CONTROL says status ok
	[[ $output == "server pid=$first "* ]]
	stop_server
	at=$LASTCALL_CONTROL says ping ok
}

@test "an endpoint that was asked for and cannot be had is an error" {
	serve
	cp lastcall.conf other.conf
	run -1 timeout 20 "$lastcall" run -c other.conf
	[[ $output == *"control unix:$work/run/c.sock: it is in use by another server"* ]]
	says ping ok
	printf 'listen 127.0.0.1:0 -> echo; control none/c.sock;' >other.conf
	run -2 timeout 20 "$lastcall" run -c other.conf
	[[ $output == *"folder of control"*"$work/none"*'there is no such folder'* ]]
}

@test "an endpoint that a dead server left is replaced, a file in its place is not" {
	serve
	kill -KILL "$server"
	wait "$server" || true
	[ -S run/c.sock ]
	serve
	says ping ok
	stop_server
	echo mine >run/c.sock
	run -1 timeout 20 "$lastcall" run -c lastcall.conf
	[ "$(cat run/c.sock)" = mine ]
}

@test "mode and group are those of the block, and off is none" {
	if [ "$(id -u)" -eq 0 ]; then
		serve 'umask 0077; control run/c.sock { mode 0660; group nogroup; }'
		[ "$(stat -c '%a %G' run/c.sock)" = '660 nogroup' ]
	else
		serve 'control run/c.sock { mode 0660; }'
		[ "$(stat -c %a run/c.sock)" = 660 ]
	fi
	stop_server
	serve 'control off;'
	[ ! -e "$LASTCALL_CONTROL" ]
	[ ! -e run/c.sock ]
}

@test "several endpoints at once" {
	serve 'control run/c.sock; control run/d.sock { max-leases 1; }'
	says 'open 127.0.0.1:0 echo' 'ok *'
	at=run/d.sock says 'open 127.0.0.1:0 echo' 'ok *'
	at=run/d.sock says 'open 127.0.0.1:0 echo' 'error too-many max-leases of this endpoint is 1, *'
	says 'open 127.0.0.1:0 echo' 'ok *'
}

# ---- who may what

@test "a token is the first line over TCP; without it there is nothing, and a wrong one closes" {
	serve_tcp 'allow-services echo;'
	run -0 "$tools/ctl" "$tcp" 'send:token "open sesame"\nping\nopen 127.0.0.1:0 echo\n' line line line
	[ "${lines[0]}" = ok ]
	[ "${lines[1]}" = ok ]
	[[ ${lines[2]} == 'ok 127.0.0.1:'* ]]
	for words in ping status '"' 'open 127.0.0.1:0 echo' token 'token open sesame'; do
		run -0 "$tools/ctl" "$tcp" "send:$words\nping\n" end
		[ "$output" = 'error token the first line has to be the token
(eof)' ]
	done
	for words in x '"open sesame "' '"open sesam"' '""' "$(printf 'x%.0s' {1..4000})"; do
		run -0 "$tools/ctl" "$tcp" "send:token $words\nping\n" end
		[ "$output" = 'error token the token is wrong
(eof)' ]
	done
	# One such line a second at most.
	wait_until refusal_is_logged
	run ! grep -q sesam "$log"
	says_nothing_of_token
}

refusal_is_logged() {
	"$tools/ctl" "$tcp" 'send:token "open sesam"\n' end >/dev/null
	grep -q "control $tcp: refused 127.0.0.1:[0-9]*: token: the token is wrong" "$log"
}

# Neither status nor the command line knows it.
says_nothing_of_token() {
	run -0 "$tools/ctl" "$tcp" 'send:token "open sesame"\nstatus\n' answer answer
	[[ $output != *sesam* ]]
}

@test "a Unix endpoint asks for no token" {
	serve
	says 'token x' 'error syntax this endpoint asks for no token'
}

@test "a token file that is missing, empty, public or no file stops the start" {
	printf 'listen 127.0.0.1:0 -> echo; control 127.0.0.1:0 { token-file token; }' >lastcall.conf
	run ! timeout 20 "$lastcall" run -c lastcall.conf
	printf '\n' >token
	chmod 600 token
	run -1 timeout 20 "$lastcall" run -c lastcall.conf
	[[ $output == *"token-file $work/token: it is empty"* ]]
	echo secret >token
	chmod 644 token
	run ! timeout 20 "$lastcall" run -c lastcall.conf
	[[ $output == *'everybody may read it'* ]]
}

@test "a client of TCP may open what is allowed, and the reply names the rule" {
	local begun=$SECONDS
	serve_tcp 'allow-services site echo; allow-ports 21000-21999; max-leases 2; allow-address 127.0.0.0/8;'
	check() {
		run -0 "$tools/ctl" "$tcp" "send:token \"open sesame\"\n$1\n" line line
		# shellcheck disable=SC2053
		[[ ${lines[1]} == $2 ]] || {
			echo "$1 was answered with: $output"
			return 1
		}
	}
	check 'open 127.0.0.1:0 mirror' 'error policy allow-services does not name mirror'
	check 'open 127.0.0.1:0 nothing' 'error policy allow-services does not name nothing'
	check "open 127.0.0.1:0 http $work/site" "error denied a service in place is for the daemon's own user and root"
	check "open unix:$work/run/x echo" "error denied a Unix socket is for the daemon's own user and root"
	check 'open 127.0.0.1:20000 echo' 'error policy allow-ports does not have port 20000'
	check 'stop' 'error denied *'
	check "close $address" 'error denied *'
	check 'open 127.0.0.1:0 echo' 'ok 127.0.0.1:21???'
	first=${lines[1]#ok }
	check 'open 127.0.0.1:0 site' 'ok 127.0.0.1:21??? http://*'
	second=${lines[1]#ok }
	second=${second% *}
	[ "$first" != "$second" ]
	check 'open 127.0.0.1:0 echo' 'error too-many max-leases of this endpoint is 2*'
	check 'status' 'server *'
	check "close $first" "ok $first *"
	check 'open 127.0.0.1:0 echo' 'ok 127.0.0.1:21???'
	check "close $second" "ok $second *"
	wait_until grep -q "refused 127.0.0.1:[0-9]*: policy: allow-services does not name mirror" "$log"
	# Refusals in quick succession are counted, not logged: a line a second at most.
	for _ in {1..20}; do
		check 'stop' 'error denied *'
	done
	[ "$(grep -c ': refused ' "$log")" -le $((SECONDS - begun + 1)) ]
}

@test "port 0 with allow-ports takes the free ones, and says when there are none" {
	serve 'control run/c.sock { allow-ports 22001-22003 22003; }'
	# Somebody else has one of them.
	says 'open 127.0.0.1:22002 echo' 'ok 127.0.0.1:22002'
	says 'open 127.0.0.1:0 echo' 'ok 127.0.0.1:2200[13]'
	says 'open 127.0.0.1:0 echo' 'ok 127.0.0.1:2200[13]'
	says 'open 127.0.0.1:0 echo' 'error in-use no port of allow-ports is free at that address'
	says 'close 127.0.0.1:22002' 'ok *'
	says 'open 127.0.0.1:0 echo' 'ok 127.0.0.1:22002'
	says 'open 127.0.0.2:0 http /nowhere' 'error service *'
}

@test "allow-address lets nobody else in" {
	serve_tcp 'allow-services echo; allow-address 10.0.0.0/8;'
	run -0 "$tools/ctl" "$tcp" 'send:token "open sesame"\n' end
	[[ ${lines[0]} == 'error policy allow-address does not have the address you come from' ]]
}

@test "a foreign user opens what is named, and closes what is its own" {
	needs_root
	serve 'control run/c.sock { mode 0666; allow-services mirror; } control run/d.sock { mode 0666; } control run/e.sock;'
	theirs() {
		run -0 foreign "$tools/ctl" "${at:-$endpoint}" "send:$1\n" answer
		# shellcheck disable=SC2053
		[[ ${lines[-1]} == $2 ]] || {
			echo "$1 was answered with: $output"
			return 1
		}
	}
	theirs 'open 127.0.0.1:0 mirror' 'ok 127.0.0.1:*'
	own=${output#ok }
	theirs 'open 127.0.0.1:0 site' 'error policy allow-services does not name site'
	theirs 'open 127.0.0.1:0 echo' 'error policy allow-services does not name echo'
	theirs "open 127.0.0.1:0 http $work/site" 'error denied *'
	theirs 'open 127.0.0.1:80 mirror' 'error policy port 80 is below 1024, and allow-ports does not name it'
	theirs "open unix:$work/run/x mirror" 'error denied *'
	at=run/d.sock theirs 'open 127.0.0.1:0 mirror' 'error policy allow-services names no service here'
	theirs 'stop' "error denied stop is for the daemon's own user and root"
	theirs "close $address" 'error denied *'
	theirs "cancel $address" 'error denied *'
	says 'open 127.0.0.1:0 mirror' 'ok 127.0.0.1:*'
	ours=${output#ok }
	theirs "close $ours" 'error not-yours somebody else opened it'
	theirs 'status' ok
	[[ $output == *"address=$own service=mirror origin=opened uid=65533 "* ]]
	theirs "close $own" "ok $own *"
	# The mode keeps it out.
	run -2 foreign "$tools/ctl" run/e.sock 'send:ping\n' answer
}

# ---- abuse

@test "a line that is too long, or has a NUL, is the last" {
	serve
	# A line of 4096 bytes, its end included, is one.
	run -0 "$tools/ctl" "$endpoint" 'fill:4095:x' 'send:\nping\n' half end
	[[ ${lines[0]} == 'error unknown no request '* && ${lines[1]} == ok ]]
	run -0 "$tools/ctl" "$endpoint" 'fill:4096:x' 'send:\nping\n' end
	[ "$output" = 'error too-long a line has at most 4096 bytes
(eof)' ]
	run -0 "$tools/ctl" "$endpoint" 'send:ping\npi\x00ng\nping\n' end
	[ "$output" = 'ok
error too-long a line has no NUL in it
(eof)' ]
	run -0 "$tools/ctl" -t 3000 "$endpoint" 'fill:30000000:x' end
	[[ $output == 'error too-long '* ]]
	says ping ok
}

@test "binary, and TLS by mistake" {
	serve
	run -0 "$tools/ctl" -t 3000 "$endpoint" 'random:1000000' end
	[[ ${lines[-1]} == '('* ]]
	run -0 "$tools/ctl" "$endpoint" 'send:\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n' end
	[[ ${lines[0]} == 'error too-long '* ]]
	says ping ok
	run ! grep -q 'warning: ' "$log"
}

@test "no whole line within 5 s is the end, however it is fed" {
	serve
	"$tools/ctl" "$endpoint" end >silent 3>&- &
	background+=($!)
	"$tools/ctl" "$endpoint" drip:500:pingpingpingpingping end >slow 3>&- &
	background+=($!)
	"$tools/ctl" "$endpoint" 'drip:500:\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n' end >empty 3>&- &
	background+=($!)
	"$tools/ctl" "$endpoint" 'send:ping\n' wait:3000 'send:ping\n' wait:3000 'send:ping\n' wait:6000 end >answered 3>&- &
	background+=($!)
	wait "${background[@]: -4}"
	for file in silent slow empty; do
		[ "$(head -n 1 $file)" = 'error timeout no whole line within 5 s' ]
	done
	[ "$(head -n 4 answered)" = 'ok
ok
ok
error timeout no whole line within 5 s' ]
}

@test "a half-closed client gets its answers, also that of a close" {
	serve
	says 'open 127.0.0.1:0 mirror' 'ok *'
	run -0 "$tools/ctl" "$endpoint" "send:ping\nclose ${output#ok }\nping\n" half end
	[ "${lines[0]}" = ok ]
	[[ ${lines[1]} == 'ok 127.0.0.1:'*' cut=0' ]]
	[ "${lines[2]}" = ok ]
	[ "${lines[3]}" = '(eof)' ]
	run -0 "$tools/ctl" "$endpoint" 'send:ping' half end
	[ "$output" = 'error syntax the last line has no end
(eof)' ]
	run -0 "$tools/ctl" "$endpoint" half end
	[ "$output" = '(eof)' ]
}

@test "a client that never reads is closed after 5 s, and holds nobody meanwhile" {
	serve
	before=$(descriptors)
	"$tools/ctl" -c 20 "$endpoint" 'fill:20000:status\n' wait:15000 3>&- &
	background+=($!)
	"$tools/ctl" -c 20 "$endpoint" 'fill:200000:ping\n' wait:15000 3>&- &
	background+=($!)
	wait_until descriptors_are $((before + 40))
	for _ in {1..20}; do
		at_once says ping ok
	done
	at_once port_answers
	wait_until descriptors_are "$before"
}

@test "1,000 at once are all answered, and more are told that it is busy" {
	[ "$(ulimit -Hn)" -ge 4096 ] || skip "too few descriptors"
	serve
	before=$(descriptors)
	run -0 "$tools/ctl" -c 1000 "$endpoint" 'send:ping\n' answer
	[ "$(grep -c '^ok$' <<<"$output")" -eq 1000 ]
	wait_until descriptors_are "$before"
	# As root, which the reserve is for, too.
	"$tools/ctl" -c 1040 "$endpoint" wait:3000 end >crowd 3>&- &
	background+=($!)
	wait_until descriptors_are $((before + 1040))
	at_once port_answers
	run -0 "$tools/ctl" -c 20 "$endpoint" end
	[ "$(grep -c '^error busy too many clients at this endpoint' <<<"$output")" -eq 20 ]
	wait "${background[-1]}"
	[ "$(grep -c '^error timeout' crowd)" -eq 1040 ]
	says ping ok
}

@test "1,000 leases that end at once leave nothing behind" {
	[ "$(ulimit -Hn)" -ge 4096 ] || skip "too few descriptors"
	serve
	before=$(descriptors)
	run -0 "$tools/ctl" -c 1000 "$endpoint" 'send:lease 127.0.0.1:0 mirror\n' answer
	[ "$(grep -c '^ok 127.0.0.1:' <<<"$output")" -eq 1000 ]
	wait_until descriptors_are "$before"
	ask status
	[ "$(grep -c '^listener ' <<<"$output")" -eq 1 ]
}

@test "descriptors that are sent along are closed" {
	serve
	before=$(descriptors)
	run -0 "$tools/ctl" "$endpoint" 'fds:1:ping\n' line 'fds:200:ping\n' line 'fds:3:pi' 'send:ng\n' line
	[ "$output" = 'ok
ok
ok' ]
	"$tools/ctl" -c 50 "$endpoint" 'fds:200:lease :0 mirror\n' answer hold >leased 3>&- &
	background+=($!)
	all_leased() {
		[ "$(grep -c '^ok' leased)" -eq 50 ]
	}
	wait_until all_leased
	# Of each its connection and its port.
	descriptors_are $((before + 100))
	kill "${background[-1]}"
	wait_until descriptors_are "$before"
}

@test "when descriptors run out, the endpoint pauses and comes back" {
	serve
	before=$(descriptors)
	prlimit --pid "$server" --nofile=$((before + 8)):4096
	"$tools/ctl" -c 40 "$endpoint" wait:1500 >/dev/null 3>&- &
	background+=($!)
	wait_until grep -q 'accept: Too many open files; trying again every 100 ms' "$log"
	wait "${background[-1]}"
	says ping ok
	[ "$(grep -c 'accept: Too many open files' "$log")" -le 3 ]
}

@test "what clients did leaves no descriptor and no memory behind" {
	serve
	abuse() {
		"$tools/ctl" -c 200 "$endpoint" 'send:status\nhelp\nping\n' close
		"$tools/ctl" -c 50 "$endpoint" 'fill:3:lease 127.0.0.1:0 mirror\n' answer close
		"$tools/ctl" -c 50 "$endpoint" 'fill:20:ping\n' wait:50 close
		"$tools/ctl" -c 20 "$endpoint" 'random:100000' close
		"$tools/ctl" -c 50 "$endpoint" 'fds:20:nothing\n' 'send:open\n' half end
		"$tools/ctl" -c 50 "$endpoint" 'send:open 127.0.0.1:0 http /none\nopen x y\n' answer answer close
		for _ in {1..40}; do
			"$tools/ctl" "$endpoint" 'send:open unix:'"$work"'/run/x mirror\nclose unix:'"$work"'/run/x\n' answer answer
		done
	}
	before=$(descriptors)
	for _ in 1 2; do
		abuse >/dev/null
	done
	wait_until descriptors_are "$before"
	first=$(memory)
	for _ in {1..4}; do
		abuse >/dev/null
	done
	wait_until descriptors_are "$before"
	echo "memory: $first KiB, then $(memory) KiB"
	# A sanitizer keeps what was freed.
	is_sanitized || [ $(($(memory) - first)) -le 256 ]
	says ping ok
}

@test "what was asked for behind a status in the same packet is answered, though nothing more is sent" {
	serve
	run -0 "$tools/ctl" "$endpoint" 'send:status\nping\nstatus\nping\n' answer answer answer answer
	[ "$(grep -c '^listener ' <<<"$output")" -eq 2 ]
	[ "$(grep -cx ok <<<"$output")" -eq 4 ]
}

@test "a status of 2,000 listeners comes whole, also to a slow reader, and holds nobody" {
	[ "$(ulimit -Hn)" -ge 8192 ] || skip "too few descriptors"
	serve 'max-listeners 2100; workers 1; control run/c.sock;'
	for i in {1..2000}; do
		echo "open 127.0.$((i / 250 + 1)).$((i % 250 + 1)):0 mirror"
	done >requests
	run -0 "$tools/ctl" -t 60000 "$endpoint" "send:$(sed ':a;N;$!ba;s/\n/\\n/g' requests)\n" half end
	[ "$(grep -c '^ok 127' <<<"$output")" -eq 2000 ]
	run -0 "$tools/ctl" "$endpoint" 'send:status\nping\n' wait:1000 answer answer
	[ "$(grep -c '^listener address=' <<<"$output")" -eq 2001 ]
	[ "${lines[-1]}" = ok ]
	[ "${lines[-2]}" = ok ]
	"$tools/ctl" "$endpoint" 'fill:50:status\n' wait:8000 3>&- &
	background+=($!)
	at_once says ping ok
	at_once port_answers
}

@test "a lease over TCP ends when the network of its holder is gone" {
	ip netns add "$inside" 2>/dev/null || skip "there are no network namespaces here"
	ip netns add "$outside"
	ip -n "$inside" link add v0 type veth peer name v0 netns "$outside"
	ip -n "$inside" address add 10.78.0.1/30 dev v0
	ip -n "$outside" address add 10.78.0.2/30 dev v0
	ip -n "$inside" link set v0 up
	ip -n "$outside" link set v0 up
	ip -n "$inside" link set lo up
	echo secret >token
	chmod 600 token
	as="ip netns exec $inside" serve 'control run/c.sock; control 10.78.0.1:0 { token-file token; allow-services mirror; }'
	ip netns exec "$outside" "$tools/ctl" "$tcp" 'send:token secret\nlease 10.78.0.1:0 mirror\n' answer answer hold >leased 3>&- &
	background+=($!)
	wait_until grep -q '^ok 10' leased
	read -r _ leased < <(tail -n 1 leased)
	ask status
	[[ $output == *"listener address=$leased service=mirror origin=leased uid=- pid=- peer=10.78.0.2:"* ]]
	ip -n "$inside" link set v0 down
	gone() {
		ask status && [[ $output != *"$leased"* ]]
	}
	SECONDS=0
	until gone; do
		[ "$SECONDS" -lt 25 ]
		sleep 0.5
	done
	echo "after $SECONDS s"
	[ "$SECONDS" -ge 5 ]
}
