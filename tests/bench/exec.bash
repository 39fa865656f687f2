# exec: a program for each connection.
# Part of scripts/bench.

# inetd_start NAME: /bin/cat for each connection, at a port of our choice.
inetd_start() {
	local port dir=$tmp/$1 command
	port=$(port_free)
	mkdir -p "$dir"
	case $1 in
	tcpserver) command=(tcpserver -H -R -l 0 -c 1000 -b 4096 127.0.0.1 "$port" /bin/cat) ;;
	socat) command=(socat "TCP-LISTEN:$port"',bind=127.0.0.1,reuseaddr,fork,backlog=4096' 'EXEC:/bin/cat,nofork') ;;
	systemd) command=(systemd-socket-activate -l "127.0.0.1:$port" --accept --inetd /bin/cat) ;;
	xinetd-cat)
		cat >"$dir/conf" <<-END
			service cat
			{
				type = UNLISTED
				socket_type = stream
				protocol = tcp
				wait = no
				user = $(id -un)
				bind = 127.0.0.1
				port = $port
				server = /bin/cat
				instances = UNLIMITED
				per_source = UNLIMITED
				cps = 1000000 1
			}
		END
		command=(xinetd -dontfork -f "$dir/conf" -pidfile "$dir/pid")
		;;
	lastcall-*)
		cat >"$dir/conf" <<-END
			workers 2;
			service cat exec { command /bin/cat; }
			listen 127.0.0.1:$port -> cat;
		END
		command=("$build/lastcall" run --no-control -c "$dir/conf")
		[[ $1 != *-ballast ]] || command=(env BALLAST=1 LD_PRELOAD="$tmp/ballast.so" "${command[@]}")
		;;
	esac
	setsid "${command[@]}" >>"$dir/log" 2>&1 </dev/null &
	pid[$1]=$!
	address[$1]=127.0.0.1:$port
	for _ in {1..200}; do
		kill -0 "${pid[$1]}" 2>/dev/null || break
		! "$build/tools/losscount" -P echo -m close -c 1 -n 1 -T 1000 "${address[$1]}" >/dev/null 2>&1 || {
			# Whatever is made once, by the first connections, is made before it is measured.
			"$build/tools/losscount" -P echo -m close -c "$exec_clients" -n 200 "${address[$1]}" >/dev/null 2>&1 || true
			return 0
		}
		sleep 0.05
	done
	note "$1 does not serve: $(tail -n 3 "$dir/log")"
	server_end "$1"
	return 1
}

# Sets names to those that are installed, and starts them.
inetds_find() {
	local name program
	names=()
	for name in lastcall-exec lastcall-ballast tcpserver xinetd-cat socat systemd; do
		program=${name%-cat}
		[[ $name != systemd ]] || program=systemd-socket-activate
		[[ $name != lastcall-* ]] || program=$build/lastcall
		if ! type -P "$program" >/dev/null; then
			note "$program is not installed; measuring without it"
		elif [[ $name == *-ballast ]] && ! ballast_make; then
			note 'no memory for 2 GiB of ballast; measuring without it'
		elif inetd_start "$name"; then
			names+=("$name")
		elif [[ $name == lastcall-exec ]]; then
			exit 1
		fi
	done
}

# Its three processes share it until they write to it.
ballast_make() {
	local free
	free=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
	[[ $free -gt 3500000 ]] && cc -shared -fPIC -O2 -o "$tmp/ballast.so" "$root/tests/bench/ballast.c"
}

exec_run() {
	local before after
	before=$(ticks "${pid[$1]}")
	"$build/tools/losscount" -P echo -m close -b 6 -c "$exec_clients" -d $((seconds * 1000)) "${address[$1]}" \
		>"$tmp/counted" || true
	sleep 0.2 # the last ones are waited for by their servers
	after=$(ticks "${pid[$1]}")
	awk -F= -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" -v seconds="$seconds" -v to="$tmp/$1" '
		{ count[$1] = $2 }
		END {
			print count["answered"] / seconds >>(to ".rates")
			print (count["answered"] > 0 ? ticks / hz * 1e6 / count["answered"] : 0) >>(to ".cpus")
			print count["lost"] + count["connect_failed"] >>(to ".errors")
		}' "$tmp/counted"
}

exec_section() {
	local name run fastest='' rate most=0
	inetds_find
	for ((run = 0; run < runs; run++)); do
		for name in "${names[@]}"; do
			exec_run "$name"
		done
	done
	cat <<-END
		### exec

		\`/bin/cat\` for each connection, which sends 6 bytes, shuts its side and reads them back to the end:
		$exec_clients clients for $seconds s, $runs alternating runs, 2 workers: median [least..most]. CPU: user and
		system time of the server and its programs.

		| server | connections/s | CPU µs/connection | failed |
		| --- | ---: | ---: | ---: |
	END
	for name in "${names[@]}"; do
		printf '| %s | %s | %s | %s |\n' "${title[$name]}" "$(spread 0 <"$tmp/$name.rates")" \
			"$(spread 0 <"$tmp/$name.cpus")" "$(awk '{ sum += $1 } END { print sum }' "$tmp/$name.errors")"
		[[ $name != lastcall-* ]] || continue
		rate=$(spread 0 <"$tmp/$name.rates")
		if [[ ${rate%% *} -gt $most ]]; then
			most=${rate%% *} fastest=$name
		fi
	done
	goal_head
	[[ ! $fastest ]] || ratio "$tmp/lastcall-exec.rates" "$tmp/$fastest.rates" |
		goal "connections/s: at least $goal_exec × ${title[$fastest]}, the fastest of them" "$goal_exec" above 2
	[[ ! -s $tmp/lastcall-ballast.rates ]] || ratio "$tmp/lastcall-ballast.rates" "$tmp/lastcall-exec.rates" |
		goal "connections/s with 2 GiB: at least $goal_ballast × without" "$goal_ballast" above 2
	for name in "${names[@]}"; do
		server_end "$name"
	done
}
