# listeners: many of them.
# Part of scripts/bench.

# memory NAME: bytes of RSS and of PSS of a server's master, the same of its workers, and the
# kernel's slabs.
memory() {
	local p rollup=()
	for p in $(tree "${pid[$1]}"); do
		[[ $p == "${pid[$1]}" ]] || rollup+=("/proc/$p/smaps_rollup")
	done
	awk '/^Rss/ { rss += $2 } /^Pss:/ { pss += $2 } END { printf "%d %d ", rss * 1024, pss * 1024 }' \
		"/proc/${pid[$1]}/smaps_rollup"
	awk '/^Rss/ { rss += $2 } /^Pss:/ { pss += $2 } END { printf "%d %d ", rss * 1024, pss * 1024 }' \
		"${rollup[@]}"
	awk '/^Slab:/ { print $2 * 1024 }' /proc/meminfo
}

# load_run KIND ADDRESS SERVER
load_run() {
	local pids
	mapfile -t pids < <(tree "${pid[$3]}")
	ports load "$loads" 4 "$tmp/site/1k.txt" "$2" "${pids[@]}"
	figure rate >>"$tmp/$1.rates"
	figure cpu >>"$tmp/$1.cpus"
}

# One run: opens them, measures, and closes them.
listeners_run() {
	local before after end from line='' kind i name=control-many
	local -a was is kinds=(master-rss master-pss workers-rss workers-pss slab)
	server_start "$name" # a new one: it keeps memory that it had once
	before=$(memory "$name")
	"$build/bench/ports" hold "$tmp/$name/control" "$held" site <"$tmp/hold" >"$tmp/out" &
	pid[hold]=$!
	exec {end}>"$tmp/hold" {from}<"$tmp/out"
	read -r -t 300 -u "$from" line || fail 'ports hold did not open its ports'
	echo "$line" >"$tmp/figures"
	figure open 1000 >>"$tmp/held.open"
	sleep 0.5 # the workers have taken the last ones too
	after=$(memory "$name")
	read -r -a was <<<"$before"
	read -r -a is <<<"$after"
	for i in "${!kinds[@]}"; do
		echo "$(((is[i] - was[i]) / held))" >>"$tmp/held.${kinds[i]}"
	done
	line=${line#*address=}
	for kind in one many one many; do # two pairs
		if [[ $kind == one ]]; then
			load_run one "${address[control-one]}" control-one
		else
			load_run many "${line%% *}" "$name"
		fi
	done
	exec {end}>&-
	read -r -t 300 -u "$from" line || fail 'ports hold did not close its ports'
	exec {from}<&-
	wait "${pid[hold]}" || fail 'ports hold failed'
	unset 'pid[hold]'
	echo "$line" >"$tmp/figures"
	figure close 1000 >>"$tmp/held.close"
	figure rest 1000 >>"$tmp/held.rest"
	server_end "$name"
}

listeners_section() {
	local run
	server_start control-one
	for ((run = 0; run < runs; run++)); do
		listeners_run
	done
	cat <<-END
		### Many listeners

		$held ports leased over one control connection, on addresses 127.x.y.z, 2 workers: $runs runs,
		median [least..most]. Accepting: $loads connections by 4 clients, each for one request of
		1 KiB, to one of them, and alternating to another server that has no more than one
		listener.

		| | connections/s | CPU µs/connection |
		| --- | ---: | ---: |
		| one listener | $(spread 0 <"$tmp/one.rates") | $(spread 1 <"$tmp/one.cpus") |
		| one of $((held + 1)) | $(spread 0 <"$tmp/many.rates") | $(spread 1 <"$tmp/many.cpus") |

		| bytes per listener | RSS | PSS |
		| --- | ---: | ---: |
		| master | $(spread 0 <"$tmp/held.master-rss") | $(spread 0 <"$tmp/held.master-pss") |
		| 2 workers together | $(spread 0 <"$tmp/held.workers-rss") | $(spread 0 <"$tmp/held.workers-pss") |
		| kernel (slabs, of everybody) | $(spread 0 <"$tmp/held.slab") | |

		| with so many open | ms |
		| --- | ---: |
		| \`lease\` of one more, on the way there | $(spread 3 <"$tmp/held.open") |
		| \`close\` of one | $(spread 3 <"$tmp/held.close") |
		| the rest of them, when the client goes away | $(spread 0 <"$tmp/held.rest") |
	END
	goal_head
	ratio "$tmp/many.cpus" "$tmp/one.cpus" |
		goal "CPU per connection: at most $goal_accept × that with one listener" "$goal_accept" below 2
	ratio "$tmp/one.rates" "$tmp/many.rates" |
		goal "time per connection: at most $goal_accept × that with one listener" "$goal_accept" below 2
	server_end control-one
}
