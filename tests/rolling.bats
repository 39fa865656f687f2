#!/usr/bin/env bats
# Several machines behind HAProxy: what is done to each in turn fails no request. The work is in rolling.bash, which a
# person can run too; and the examples for those who have more than one machine.

: "${LASTCALL_BUILD:?is the folder of the binaries}"

# rolling WAY [ROUNDS]
rolling() {
	run timeout 240 "$BATS_TEST_DIRNAME/rolling.bash" "$@" 3>&-
	echo "$output"
	[ "$status" -ne 77 ] || skip "$output"
	[ "$status" -eq 0 ]
	[ "${lines[-1]}" = 'rolling: nothing was lost' ]
}

@test "three instances behind HAProxy are restarted one by one under load: no request fails" { rolling restart; }
@test "three instances behind HAProxy are reloaded one by one under load: no request fails" { rolling reload 3; }

@test "three instances behind HAProxy are upgraded one by one under load: no request fails" { rolling upgrade 3; }

@test "the configuration for HAProxy is one" {
	PATH=$PATH:/usr/sbin
	type -P haproxy >/dev/null || skip 'there is no haproxy'
	haproxy -c -f "$BATS_TEST_DIRNAME/../conf/haproxy.cfg"
}

@test "the configurations in the examples are ones that lastcall understands" {
	work=$(mktemp -d "${BATS_TEST_TMPDIR}/examples.XXXXXX")
	mkdir -p "$work/srv/www"
	# That of the ConfigMap, and that of the comment for HAProxy; both with a folder that is there.
	sed -n '/lastcall.conf: |/,/^---/ s/^    //p' "$BATS_TEST_DIRNAME/../conf/kubernetes.yaml" >"$work/kubernetes.conf"
	sed -n 's/^#	//p' "$BATS_TEST_DIRNAME/../conf/haproxy.cfg" >"$work/haproxy.conf"
	for file in kubernetes haproxy; do
		grep -q 'health /healthz' "$work/$file.conf"
		sed -i "s|/srv/www|$work/srv/www|" "$work/$file.conf"
		"$LASTCALL_BUILD/lastcall" check -c "$work/$file.conf"
	done
}
