#!/usr/bin/env bats
# Passwords: who may, who may not, and that checking them holds nobody up.

# Each test is a subshell with its own variables, and the helper has some of them.
# shellcheck disable=SC2030,SC2031,SC2154
load helper

setup() {
	common_setup
	talk=$tools/talk
	# "secret", as sha512crypt and, at its default cost of 5000 rounds, sha256crypt make it.
	bob="bob:$(openssl passwd -6 -salt saltsalt secret)"
	eve="eve:$(openssl passwd -5 -salt otherone 'p:w "d')"
	printf '# users\n\n%s\n%s\n' "$bob" "$eve" >users
	chmod 600 users
	has_crypt || skip "this build has no crypt(3)"
}

teardown() {
	common_teardown
}

has_crypt() {
	printf 'service s http { root site; auth-file users; }\nlisten 127.0.0.1:0 -> s;\n' >probe.conf
	! "$lastcall" check -c probe.conf 2>&1 | grep -q 'no crypt(3)'
}

# requests NAME:PASSWORD…: asks with each of these at once, and writes the statuses, one in each line.
requests() {
	local pair
	for pair; do
		printf 'url = "http://%s/"\nuser = "%s"\noutput = "/dev/null"\nwrite-out = "%%{http_code}\\n"\nsilent\nnext\n' "$address" "$pair"
	done | sed '$d' >many
	curl -Z --parallel-max 250 -K many
}

start_closed() {
	start_with "auth-file users; auth-realm \"the house\"; ${1:-}" "${workers:-1}"
}

get() {
	local target=$1
	shift
	rm -f "$work/body" && : >"$work/body"
	status=$(curl -sS -m 20 -o "$work/body" -D "$work/head" -w '%{http_code}' "$@" "http://$address$target")
}

@test "without credentials, or with wrong ones, it is 401 and nothing of the site; with right ones the file" {
	start_closed
	for options in '' '-u bob:wrong' '-u bob:' '-u :secret' '-u nobody:secret' '-u BOB:secret' '-u bob:secret2' '-u bob:secre' \
		'-H Authorization:Bearer' '-H Authorization:Basic'; do
		for target in / /nothing /sub; do
			# shellcheck disable=SC2086
			get $target $options
			[ "$status" = 401 ]
			grep -q '^WWW-Authenticate: Basic realm="the house", charset="UTF-8"' head
			run ! grep -q welcome body
		done
	done
	for _ in 1 2 3; do
		get / -u bob:secret
		[ "$status" = 200 ]
		[ "$(cat body)" = "hello, and welcome" ]
		get / -u 'eve:p:w "d'
		[ "$status" = 200 ]
	done
	get /nothing -u bob:secret
	[ "$status" = 404 ]
	# Twice is not once.
	get / -H "Authorization: Basic $(printf bob:secret | base64)" -H "Authorization: Basic $(printf bob:wrong | base64)"
	[ "$status" = 401 ]
}

@test "each request on a connection is asked anew, pipelined ones too; OPTIONS is not" {
	start_closed
	yes="Authorization: Basic $(printf bob:secret | base64)\\r\\n" no="Authorization: Basic $(printf bob:other | base64)\\r\\n"
	one() {
		printf '%s' "GET / HTTP/1.1\\r\\nHost: x\\r\\n$1\\r\\n"
	}
	"$talk" "$address" "send:$(one "$yes")$(one "$no")$(one '')$(one "$yes")OPTIONS / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n" \
		read >got 2>how
	grep -qx eof=1 how
	[ "$(grep -o '^HTTP/1.1 ...' got | cut -d' ' -f2 | tr '\n' ' ')" = "200 401 401 200 204 " ]
}

@test "a request that waits for its turn behind hundreds of pipelined ones is answered" {
	start_closed
	for count in 200 254 255 256 257 400; do
		python3 - "${address##*:}" $count <<-'END'
			import base64, socket, sys, time

			def ask(password):
			    pair = base64.b64encode(b"bob:" + password + str(time.time_ns()).encode())
			    return b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + pair + b"\r\n\r\n"

			def connect():
			    return socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)

			count = int(sys.argv[2])
			turn = connect() # uses it up
			turn.sendall(ask(b"first"))
			turn.recv(10000)
			s = connect()
			s.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" * count + ask(b"second"))
			said = b""
			while said.count(b"HTTP/1.1 401") <= count:
			    more = s.recv(65536)
			    assert more, said.count(b"HTTP/1.1 401")
			    said += more
		END
	done
}

@test "the access log names who was known, and nobody else" {
	start_closed 'access-log access;'
	get / -u bob:secret
	get / -u bob:wrong
	get /
	wait_until lines_are 3
	[ "$(cut -d' ' -f3 access | tr '\n' ' ')" = "bob - - " ]
	run ! grep -q secret access
}

lines_are() {
	[ "$(wc -l <access)" -eq "$1" ]
}

@test "a storm of guesses holds nobody up who is known, and is told to come again" {
	start_closed
	get / -u bob:secret
	[ "$status" = 200 ]
	# Some thousand guesses a second are asked for; each is another one.
	"$talk" -q -c 100 -n 3 -t 30000 "$address" \
		"send:GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nAuthorization: Basic $(printf bob:guess | base64)\\r\\n\\r\\n" read >first 3>&-
	[ "$(sed -n 's/^status_401=//p;s/^status_503=//p' first | awk '{ n += $1 } END { print n }')" -eq 300 ]
	requests bob:guess{1..400} >statuses 2>/dev/null 3>&- &
	pid=$!
	background+=($pid)
	wait_until some_done
	for _ in {1..20}; do
		get / -u bob:secret --max-time 5
		[ "$status" = 200 ]
	done
	wait $pid || true
	# Each was answered, and none let in.
	[ "$(grep -c '^401$\|^503$' statuses)" -eq 400 ]
}

some_done() {
	[ -s statuses ]
}

@test "passwords that are new wait for their turn, and get it" {
	for i in {1..8}; do
		echo "user$i:$(openssl passwd -6 -salt "rounds=1000\$salt$i" "pw$i")"
	done >users
	start_closed
	pairs=()
	for i in {1..8}; do
		pairs+=("user$i:pw$i")
	done
	requests "${pairs[@]}" >statuses
	[ "$(grep -c '^200$' statuses)" -eq 8 ]
}

@test "a stop waits for who waits for its turn" {
	start_closed
	requests bob:other{1..20} >statuses 2>/dev/null 3>&- &
	pid=$!
	background+=($pid)
	wait_until some_done
	stop_server TERM
	[ "$ended" -eq 0 ]
	wait $pid || true
	[ "$(receipt_number cut)" -eq 0 ]
}

@test "a reload reads the file again: who was taken out is out, who is new is in" {
	start_closed
	get / -u bob:secret
	[ "$status" = 200 ]
	echo "new:$(openssl passwd -6 -salt saltsalt secret)" >users
	"$lastcall" reload
	get / -u bob:secret
	[ "$status" = 401 ]
	get / -u new:secret
	[ "$status" = 200 ]
}

# refused TEXT MESSAGE: a server with this file of users does not start, and says why.
refused() {
	printf '%b' "$1" >users
	printf 'service site http { root site; auth-file users; }\nlisten 127.0.0.1:0 -> site;\n' >lastcall.conf
	run -1 timeout 10 "$lastcall" run -c lastcall.conf --no-control
	[[ "$output" == *"$2"* ]] || {
		echo "wanted $2: $output"
		return 1
	}
}

@test "a file of users that lets nobody in as it should is an error with its line" {
	refused '' 'it names nobody'
	refused '# nobody\n' 'it names nobody'
	refused "$bob\\nbroken\\n" 'line 2: it is not name:hash'
	refused "$bob\\n$bob\\n" 'line 2: the name of line 1 again'
	refused 'bob:$apr1$abcdefgh$abcdefghijklmnopqrstuv\n' 'line 1: crypt(3) does not know this kind of hash'
	rm users
	run -2 "$lastcall" check -c lastcall.conf
	[[ "$output" == *'auth-file "'*'users": there is no such file'* ]]
}

@test "who is accepted by a worker that has stood back from accepting is answered at once, not with its next heartbeat" {
	# shellcheck disable=SC2016
	echo 'u:$6$rounds=700000$saltsalt$rbUOCdpjfrsdFHFkceVamlHx/Gu/HsHuwLA.pyUFVTJxeKGKzhHaw21QYK9CtwwItKdIz9k4NROaf3/d8XLDM1' >users
	start_conf "workers 2; service web http { root site; auth-file $work/users; keepalive 20s; } listen 127.0.0.1:0 -> web;"
	# One worker checks a password, which takes long; the other one has more connections, stands back, and loses some of
	# them before it comes again.
	# shellcheck disable=SC2046
	python3 - "${address##*:}" $(workers) >latencies <<-'END'
		import base64, os, signal, socket, sys, time
		port, first, second = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
		request = b"GET /1k.txt HTTP/1.1\r\nHost: x\r\n\r\n"
		def connect():
		    return socket.create_connection(("127.0.0.1", port), 20)
		for i in range(3):
		    os.kill(second, signal.SIGSTOP)
		    time.sleep(0.05)
		    held = []
		    for _ in range(6):
		        s = connect()
		        s.sendall(request)
		        s.recv(4096)
		        held.append(s)
		    os.kill(second, signal.SIGCONT)
		    time.sleep(1.3)
		    a = connect()
		    a.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + base64.b64encode(b"u:wrong%d" % i) + b"\r\n\r\n")
		    time.sleep(0.03)
		    s = connect()
		    begun = time.time()
		    s.sendall(request)
		    time.sleep(0.0015)
		    for h in held[:3]:
		        h.close()
		    s.recv(4096)
		    print(int((time.time() - begun) * 1000), flush=True)
		    s.close()
		    a.recv(4096)
		    a.close()
		    for h in held:
		        h.close()
		    time.sleep(1)
	END
	cat latencies
	# Nobody waits for a heartbeat, which comes once a second; a busy machine may be slow once.
	[ "$(sort -n latencies | head -n 1)" -lt 700 ]
}
