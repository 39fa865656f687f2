# crowd-…: what many connections cost that do little: memory, and the time of others.
# Part of scripts/bench.

# crowd_begin idle|slow COUNT SERVER TARGET [ARG…]: they are there when it returns, until crowd_end.
crowd_begin() {
	local line=''
	"$build/bench/crowd" "$1" "$2" "${address[$3]}" "$4" "${@:5}" <"$tmp/hold" >"$tmp/out" &
	pid[crowd]=$!
	exec {crowd_end}>"$tmp/hold" {crowd_from}<"$tmp/out"
	read -r -t 120 -u "$crowd_from" line || true
	[[ $line == "held $2" ]] || fail "crowd: $3 did not take $2 connections"
}

# Sets crowd_line to what became of them.
crowd_end() {
	crowd_line=''
	exec {crowd_end}>&-
	read -r -t 120 -u "$crowd_from" crowd_line || fail 'crowd did not end'
	exec {crowd_from}<&-
	wait "${pid[crowd]}" || fail 'crowd failed'
	unset 'pid[crowd]'
}

# User-space memory of a server's processes, in bytes: what is theirs alone and their part of what they share.
server_memory() {
	local p files=()
	for p in $(tree "$1"); do
		files+=("/proc/$p/smaps_rollup")
	done
	awk '/^Pss:/ { sum += $2 } END { printf "%d\n", sum * 1024 }' "${files[@]}"
}

# ---- idle connections

crowd_idle_section() {
	local name run before
	servers_find nginx lastcall h2o lighttpd
	for ((run = 0; run < runs; run++)); do
		for name in "${names[@]}"; do
			server_start "$name" || exit 1 # a new one: it keeps memory that it had once
			before=$(server_memory "${pid[$name]}")
			crowd_begin idle "$idle_crowd" "$name" /1k.txt
			echo "$((($(server_memory "${pid[$name]}") - before) / idle_crowd))" >>"$tmp/$name.idle"
			crowd_end
			echo "$((idle_crowd - ${crowd_line#open }))" >>"$tmp/$name.gone"
			server_end "$name"
		done
	done
	cat <<-END
		### Idle connections

		$idle_crowd keep-alive connections, each of which was answered once with 1 KiB: by how much the memory (PSS) of
		all processes of the server has grown, for each. $runs alternating runs, 2 workers each: median [least..most].
		What a server has reserved before the first connection is not in it.

		| server | bytes/connection | × nginx | closed by it |
		| --- | ---: | ---: | ---: |
	END
	for name in "${names[@]}"; do
		printf '| %s | %s | %s | %d |\n' "${title[$name]}" "$(spread 0 <"$tmp/$name.idle")" \
			"$(ratio "$tmp/$name.idle" "$tmp/nginx.idle" | spread 2)" \
			"$(awk '{ sum += $1 } END { print sum }' "$tmp/$name.gone")"
	done
	goal_head
	ratio "$tmp/lastcall.idle" "$tmp/nginx.idle" |
		goal 'memory per idle connection: at most 0.5 × nginx' 0.5 below 2
}

# ---- the time of others

# latency SERVER CONNECTIONS: appends the 99th percentile of 100, in ms, to $tmp/SERVER.$3.
latency() {
	wrk -t2 -c"$2" -d"${seconds}s" --latency "http://${address[$1]}/1k.txt" >"$tmp/wrk"
	awk '
		$1 == "99%" {
			ms = $2
			if ($2 ~ /us$/)
				ms = $2 / 1000
			else if ($2 ~ /[0-9]s$/ && $2 !~ /ms$/)
				ms = $2 * 1000
			printf "%.3f\n", ms
		}' "$tmp/wrk" >>"$tmp/$1.$3"
	awk '/Socket errors/ { gsub(/,/, ""); sum += $4 + $6 + $8 + $10 } /Non-2xx/ { sum += $NF }
		END { print sum + 0 }' "$tmp/wrk" >>"$tmp/$1.errors"
}

# others_section TITLE CONNECTIONS KIND COUNT TARGET [ARG…]: with and without that crowd.
others_section() {
	local name run memory
	servers_up nginx lastcall h2o
	for ((run = 0; run < runs; run++)); do
		for name in "${names[@]}"; do
			latency "$name" "$2" alone
			crowd_begin "$3" "$4" "$name" "$5" "${@:6}"
			sleep 1
			memory=$(server_memory "${pid[$name]}")
			latency "$name" "$2" beside
			echo "$((($(server_memory "${pid[$name]}") - memory) / 1024))" >>"$tmp/$name.grown"
			crowd_end
			echo "$(($4 - ${crowd_line#open }))" >>"$tmp/$name.gone"
		done
	done
	cat <<-END
		### $1

		\`wrk -t2 -c$2 -d${seconds}s --latency\`, 1 KiB over keep-alive connections, $runs alternating runs without and with
		them, 2 workers each: median [least..most] of the 99th percentiles. Memory: by how much that of the server
		grew while wrk ran beside them.

		| server | p99 alone, ms | p99 beside, ms | × alone | memory, KiB | errors | closed by it |
		| --- | ---: | ---: | ---: | ---: | ---: | ---: |
	END
	for name in "${names[@]}"; do
		printf '| %s | %s | %s | %s | %s | %d | %d |\n' "${title[$name]}" \
			"$(spread 2 <"$tmp/$name.alone")" "$(spread 2 <"$tmp/$name.beside")" \
			"$(ratio "$tmp/$name.beside" "$tmp/$name.alone" | spread 2)" "$(spread 0 <"$tmp/$name.grown")" \
			"$(awk '{ sum += $1 } END { print sum }' "$tmp/$name.errors")" \
			"$(awk '{ sum += $1 } END { print sum }' "$tmp/$name.gone")"
	done
	goal_head
	ratio "$tmp/lastcall.beside" "$tmp/lastcall.alone" | goal 'p99 of the others: at most 1.5 × alone' 1.5 below 2
	servers_down
}

# A file of 4 GiB takes no room: it is one hole.
crowd_slow_section() {
	truncate -s 4G "$tmp/site/4g.bin"
	others_section "$slow_crowd slow readers of one file of 4 GiB" "$connections" \
		slow "$slow_crowd" /4g.bin 65536 100
}

crowd_many_section() {
	others_section "100 active connections among $((100 + many_crowd))" 100 idle "$many_crowd" /1k.txt
}
