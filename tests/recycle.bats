# Workers that are replaced while everybody is served, by max-requests and by their number: nobody is lost, in any mode of
# the counting client.

load helper

# How many workers are replaced: 100 in `make soak`.
: "${LASTCALL_RECYCLINGS:=10}"

setup() {
	common_setup
}

teardown() {
	common_teardown
}

# start_recycled REQUESTS [OPTION-OF-HTTP…]: two workers, replaced after so many requests each.
start_recycled() {
	start_conf "workers 2; max-requests $1; log-level info;
		service site http { root site; ${*:2} }
		listen 127.0.0.1:0 -> site;"
}

# retired N: so many workers have been replaced.
retired() {
	[ "$(grep -c ' retires$' "$log")" -ge "$1" ]
}

# Until all are replaced, however busy the machine is. SECONDS bounds it.
wait_for_recyclings() {
	local end=$((SECONDS + 60 + LASTCALL_RECYCLINGS))
	until retired "$LASTCALL_RECYCLINGS"; do
		kill -0 "$load_pid"
		[ $SECONDS -lt $end ]
		sleep 0.05
	done
}

# recycle_under OPTION…: of losscount.
recycle_under() {
	load_begin -d 600000 "$@"
	wait_for_recyclings
	kill "$load_pid"
	load_end
	nothing_lost
	[ "$(counted refused)" -eq 0 ]
	[ "$(counted connect_failed)" -eq 0 ]
	[ "$(counted status_5xx)" -eq 0 ]
	[ "$load_status" -eq 0 ]
	wait_until worker_count_is 2
	stop_server
	[ "$ended" -eq 0 ]
	run ! grep -E 'killed|exited|cannot' "$log"
	[ "$(receipt_number cut)" -eq 0 ]
}

@test "workers are replaced and nobody is lost: one request per connection" {
	start_recycled 200
	recycle_under -c 48 -m close -t /1k.txt -e 1000
}

@test "workers are replaced and nobody is lost: keep-alive" {
	start_recycled 400
	recycle_under -c 48 -m keep -t /1k.txt -e 1000
}

@test "workers are replaced and nobody is lost: keep-alive with idle time" {
	start_recycled 100 'keepalive 1s;'
	recycle_under -c 48 -m idle -i 50 -t /1k.txt -e 1000
}

@test "workers are replaced and nobody is lost: connect, wait, ask" {
	start_recycled 50
	recycle_under -c 48 -m silent -i 50 -t /1k.txt -e 1000
}

@test "workers are replaced and nobody is lost: connect, and never speak" {
	start_recycled 20 'header-timeout 200ms;'
	recycle_under -c 48 -m connect -i 200
}

@test "workers are replaced and nobody is lost: without privilege" {
	export LASTCALL_CONTROL=$work/run/control
	as=$unprivileged start_recycled 200
	recycle_under -c 48 -m close -t /1k.txt -e 1000
}

@test "workers are replaced and nobody is lost: echo" {
	start_conf "workers 2; max-requests 200; log-level info; listen 127.0.0.1:0 -> echo;"
	recycle_under -c 48 -P echo -m close -b 512
}

@test "workers are replaced and nobody is lost: a Unix socket" {
	start_conf "workers 2; max-requests 200; log-level info; listen unix:$work/run/site -> echo;"
	recycle_under -c 32 -P echo -m close -b 512
}

@test "more workers and fewer, again and again, and nobody is lost" {
	start_conf "workers 2; log-level info; service site http { root site; } listen 127.0.0.1:0 -> site;"
	load_begin -d 600000 -c 48 -m keep -t /1k.txt -e 1000
	until retired "$LASTCALL_RECYCLINGS"; do
		"$lastcall" workers 5
		wait_until worker_count_is 5
		"$lastcall" workers 1
		wait_until worker_count_is 1
		kill -TTIN "$server"
		wait_until worker_count_is 2
	done
	kill "$load_pid"
	load_end
	nothing_lost
	[ "$(counted refused)" -eq 0 ]
	[ "$(counted status_5xx)" -eq 0 ]
	stop_server
	[ "$ended" -eq 0 ]
}
