# http: requests/s and CPU per request.
# Part of scripts/bench.

http_run() {
	local before after
	before=$(ticks "${pid[$1]}")
	wrk -t2 -c"$connections" -d"${seconds}s" "http://${address[$1]}/1k.txt" >"$tmp/wrk"
	after=$(ticks "${pid[$1]}")
	awk -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" -v to="$tmp/$1" '
		/requests in/ { requests = $1 }
		/^Requests\/sec/ { print $2 >>(to ".rates") }
		/Socket errors/ { gsub(/,/, ""); errors += $4 + $6 + $8 + $10 }
		/Non-2xx/ { errors += $NF }
		END {
			print (requests > 0 ? ticks / hz * 1e6 / requests : 0) >>(to ".cpus")
			print errors + 0 >>(to ".errors")
		}' "$tmp/wrk"
}

http_table() {
	local name
	echo '| server | requests/s | × nginx | CPU µs/request | × floor | errors | head bytes |'
	echo '| --- | ---: | ---: | ---: | ---: | ---: | ---: |'
	for name in "${names[@]}"; do
		printf '| %s | %s | %s | %s | %s | %d | %d |\n' "${title[$name]}" \
			"$(spread 0 <"$tmp/$name.rates")" \
			"$(ratio "$tmp/$name.rates" "$tmp/nginx.rates" | spread 2)" \
			"$(spread 1 <"$tmp/$name.cpus")" \
			"$(ratio "$tmp/$name.cpus" "$tmp/floor.cpus" | spread 2)" \
			"$(awk '{ sum += $1 } END { print sum }' "$tmp/$name.errors")" \
			"${head[$name]}"
	done
}

http_goals() {
	local name
	goal_head
	for name in nginx nginx-cache; do
		ratio "$tmp/lastcall.rates" "$tmp/$name.rates" |
			goal "1 KiB keep-alive, requests/s: at least $goal_nginx × ${title[$name]}" \
				"$goal_nginx" above 2
	done
	ratio "$tmp/lastcall.cpus" "$tmp/floor.cpus" |
		goal "CPU per request: at most $goal_floor × floor" "$goal_floor" below 2
}

http() {
	local name run serving=()
	servers_find nginx nginx-cache floor lastcall h2o lighttpd apache-event apache-prefork haproxy
	for name in "${names[@]}"; do
		if server_start "$name"; then
			serving+=("$name")
		elif [[ $name == nginx ]]; then
			exit 1
		fi
	done
	names=("${serving[@]}")
	for ((run = 0; run < runs; run++)); do
		for name in "${names[@]}"; do
			http_run "$name"
		done
	done
	cat <<-END
		### HTTP: 1 KiB, keep-alive

		\`wrk -t2 -c$connections -d${seconds}s\`, $runs alternating runs, 2 workers each: median
		[least..most]. CPU: user and system time of all processes of the server.

	END
	http_table
	[[ " ${names[*]} " != *' lastcall '* ]] || http_goals
	for name in "${names[@]}"; do
		server_end "$name"
	done
}
