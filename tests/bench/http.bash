# http, http-…: requests/s and CPU per request of a kind of work.
# Part of scripts/bench.

# Of each work: what it is, how many connections, the file, and what wrk is told beyond that.
declare -A work_title=(
	[http]='1 KiB, keep-alive' [http-512]='1 KiB, keep-alive, 512 connections'
	[http-close]='1 KiB, one request per connection' [http-pipeline]='1 KiB, 16 pipelined requests'
	[http-100k]='100 KiB, keep-alive' [http-10m]='10 MiB, keep-alive'
)
declare -A work_connections=([http-512]=512 [http-10m]=16)
declare -A work_file=([http-100k]=100k.bin [http-10m]=10m.bin)
declare -A work_script=([http-close]='wrk.headers["Connection"] = "close"' [http-pipeline]='
	init = function(args)
		local requests = {}
		for i = 1, 16 do requests[i] = wrk.format() end
		pipelined = table.concat(requests)
	end
	request = function() return pipelined end')

# Who can do it. floor keeps every connection and answers what was read at once with one write; haproxy has the small file
# only; Apache has a process or thread for each connection.
declare -A work_servers=(
	[http]='nginx nginx-cache floor lastcall h2o lighttpd apache-event apache-prefork haproxy'
	[http-512]='nginx nginx-cache floor lastcall h2o lighttpd haproxy'
	[http-close]='nginx lastcall h2o lighttpd apache-event apache-prefork haproxy'
	[http-pipeline]='nginx lastcall h2o lighttpd apache-event apache-prefork haproxy'
	[http-100k]='nginx lastcall h2o lighttpd apache-event apache-prefork'
	[http-10m]='nginx lastcall h2o lighttpd apache-event apache-prefork'
)

# work_wrk WORK SERVER: the load, once.
work_wrk() {
	local script=()
	if [[ ${work_script[$1]:-} ]]; then
		printf '%s\n' "${work_script[$1]}" >"$tmp/script.lua"
		script=(-s "$tmp/script.lua")
	fi
	wrk -t2 -c"${work_connections[$1]:-$connections}" -d"${seconds}s" "${script[@]}" \
		"http://${address[$2]}/${work_file[$1]:-1k.txt}" >"$tmp/wrk"
}

work_run() {
	local before after
	before=$(ticks "${pid[$2]}")
	work_wrk "$1" "$2"
	after=$(ticks "${pid[$2]}")
	awk -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" -v to="$tmp/$2" '
		/requests in/ { requests = $1 }
		/^Requests\/sec/ { print $2 >>(to ".rates") }
		/Socket errors/ { gsub(/,/, ""); errors += $4 + $6 + $8 + $10 }
		/Non-2xx/ { errors += $NF }
		END {
			print (requests > 0 ? ticks / hz * 1e6 / requests : 0) >>(to ".cpus")
			print errors + 0 >>(to ".errors")
		}' "$tmp/wrk"
}

has() {
	[[ " ${names[*]} " == *" $1 "* ]]
}

# against FIGURE SERVER DECIMALS: of the server in $name, beside that one.
against() {
	if has "$2"; then
		ratio "$tmp/$name.$1" "$tmp/$2.$1" | spread "$3"
	else
		echo -
	fi
}

work_table() {
	local name
	echo '| server | requests/s | × nginx | × h2o | CPU µs/request | × floor | errors |'
	echo '| --- | ---: | ---: | ---: | ---: | ---: | ---: |'
	for name in "${names[@]}"; do
		printf '| %s | %s | %s | %s | %s | %s | %d |\n' "${title[$name]}" \
			"$(spread 0 <"$tmp/$name.rates")" "$(against rates nginx 2)" "$(against rates h2o 2)" \
			"$(spread 1 <"$tmp/$name.cpus")" "$(against cpus floor 2)" \
			"$(awk '{ sum += $1 } END { print sum }' "$tmp/$name.errors")"
	done
}

# rate_goal LEAST SERVER, cpu_goal MOST SERVER: of lastcall, if that server was there.
rate_goal() {
	! has "$2" || ratio "$tmp/lastcall.rates" "$tmp/$2.rates" |
		goal "requests/s: at least $1 × ${title[$2]}" "$1" above 2
}

cpu_goal() {
	! has "$2" || ratio "$tmp/lastcall.cpus" "$tmp/$2.cpus" |
		goal "CPU per request: at most $1 × ${title[$2]}" "$1" below 2
}

work_goals() {
	goal_head
	case $1 in
	http | http-512)
		rate_goal 1.7 nginx
		rate_goal 1.5 nginx-cache
		rate_goal 1 h2o
		cpu_goal 1.15 floor
		;;
	http-close)
		rate_goal 1 nginx
		cpu_goal 1 nginx
		;;
	http-pipeline) rate_goal 3 nginx ;;
	http-100k | http-10m)
		rate_goal 1 nginx
		rate_goal 1 h2o
		;;
	esac
}

http_section() {
	local name run
	# shellcheck disable=SC2086
	servers_up ${work_servers[$1]}
	for ((run = 0; run < runs; run++)); do
		for name in "${names[@]}"; do
			work_run "$1" "$name"
		done
	done
	cat <<-END
		### HTTP: ${work_title[$1]}

		\`wrk -t2 -c${work_connections[$1]:-$connections} -d${seconds}s\`, $runs alternating runs, 2 workers each: median
		[least..most]. CPU: user and system time of all processes of the server.

	END
	work_table
	! has lastcall || work_goals "$1"
	servers_down
}
