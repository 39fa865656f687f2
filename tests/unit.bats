#!/usr/bin/env bats
# Runs the unit tests: each is a program that counts its checks.

setup() {
	: "${LASTCALL_BUILD:?is the folder of the binaries}"
	export LASTCALL_SOURCE=${LASTCALL_SOURCE:-$BATS_TEST_DIRNAME/..}
}

unit() {
	run timeout 280 "$LASTCALL_BUILD/unit/$1"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ "$output" == *", 0 failed" ]]
}

@test "sockets that came with the start" { unit activation_test; }
@test "addresses" { unit address_test; }
@test "what an upgrade carries over" { unit carry_test; }
@test "blocks of the file cache" { unit blocks_test; }
@test "bodies of requests" { unit body_test; }
@test "clients of control" { unit client_test; }
@test "closing, and taking it back" { unit closing_test; }
@test "configuration" { unit config_test; }
@test "lines of the control protocol" { unit control_line_test; }
@test "corpora of the fuzzers" { unit corpus_test; }
@test "connections of a client" { unit crowd_test; }
@test "dates" { unit date_test; }
@test "diagnostics" { unit diagnostics_test; }
@test "fields of requests" { unit fields_test; }
@test "opening log files" { unit log_open_test; }
@test "copies of files" { unit copies_test; }
@test "media types" { unit type_test; }
@test "networks and ranges of ports" { unit network_test; }
@test "messages to a service manager" { unit notify_test; }
@test "paths" { unit path_test; }
@test "policies of control endpoints" { unit policy_test; }
@test "headers of the PROXY protocol" { unit proxy_header_test; }
@test "ranges" { unit range_test; }
@test "request heads" { unit request_test; }
@test "rules of http services" { unit rules_test; }
@test "the timer wheel" { unit wheel_test; }

@test "no unit test is left out of this file" {
	for program in "$BATS_TEST_DIRNAME"/unit/*_test.c; do
		grep -q "unit $(basename "$program" .c)" "$BATS_TEST_FILENAME"
	done
}
