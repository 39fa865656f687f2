# ports: a port for one request.
# Part of scripts/bench.

# ports MODE ARG…: its figures, or the end of the run.
ports() {
	"$build/bench/ports" "$@" >"$tmp/figures" || fail "ports $1 failed"
}

# Connections that the kernel has in its table, also those of others.
connections_there() {
	awk '$1 == "TCP:" { print $3 + $7 }' /proc/net/sockstat
}

# xinetd has to have a service when it starts; each port is one more.
xinetd_start() {
	local dir=$tmp/xinetd block
	mkdir -p "$dir/services"
	block='type = INTERNAL UNLISTED
		socket_type = stream
		protocol = tcp
		wait = no
		bind = 127.0.0.1
		instances = UNLIMITED
		cps = 100000 1'
	printf 'service echo\n{\n\tid = echo-%%p\n\tport = %%p\n\t%s\n}\n' "$block" >"$dir/template"
	rm -f "$dir/services/port"
	sed "s/%p/$(port_free)/" "$dir/template" >"$dir/services/first"
	printf 'defaults\n{\n}\nincludedir %s\n' "$dir/services" >"$dir/conf"
	setsid xinetd -dontfork -f "$dir/conf" -pidfile "$dir/pid" >>"$dir/log" 2>&1 </dev/null &
	pid[xinetd]=$!
	sleep 0.5
	kill -0 "${pid[xinetd]}" 2>/dev/null && return
	note "xinetd does not start: $(tail -n 3 "$dir/log")"
	server_forget xinetd
	return 1
}

# Sets names to the ways that can be measured here, and starts what they need.
ways_find() {
	names=(lease lease-echo)
	server_start control-ports
	server_start nginx || exit 1
	printf 'server { listen 127.0.0.1:%%p; root %s; }\n' "$tmp/site" >"$tmp/nginx/template"
	names+=(nginx-reload)
	if ! type -P xinetd >/dev/null; then
		note 'xinetd is not installed; measuring without it'
	elif xinetd_start; then
		names+=(xinetd-reload)
	fi
	names+=(lastcall-process)
	for name in busybox python3; do
		if type -P "$name" >/dev/null; then
			names+=("${name%3}-process")
		else
			note "$name is not installed; measuring without it"
		fi
	done
}

# One run of a way.
way_run() {
	local name=$1 what file=$tmp/site/1k.txt python=/usr/bin/python3
	[[ -x $python ]] || python=python3 # what stands in the path may be a script that looks for it
	case $name in
	lease) ports cycle "$tmp/control-ports/control" "$cycles" site "$file" ;;
	lease-echo) ports cycle "$tmp/control-ports/control" "$cycles" echo - ;;
	nginx-reload)
		ports reload "$slow_cycles" "$file" "$tmp/nginx/port.conf" "$tmp/nginx/template" \
			nginx -p "$tmp/nginx" -e "$tmp/nginx/log" -c "$tmp/nginx/conf" -s reload
		;;
	xinetd-reload)
		# It may end by itself ("descriptors still set") when a service goes whose server runs.
		until "$build/bench/ports" reload "$slow_cycles" - "$tmp/xinetd/services/port" \
			"$tmp/xinetd/template" kill -HUP "${pid[xinetd]}" >"$tmp/figures" 2>/dev/null; do
			((++xinetd_deaths < 50)) || fail "xinetd: $(tail -n 3 "$tmp/xinetd/log")"
			server_end xinetd
			xinetd_start || exit 1
		done
		;;
	lastcall-process)
		ports process "$slow_cycles" "$file" \
			"$build/lastcall" serve -l 127.0.0.1:%p -w 1 "$tmp/site"
		;;
	busybox-process)
		ports process "$slow_cycles" "$file" busybox httpd -f -p 127.0.0.1:%p -h "$tmp/site"
		;;
	python-process)
		ports process "$slow_cycles" "$file" \
			"$python" -m http.server --bind 127.0.0.1 --directory "$tmp/site" %p
		;;
	esac
	figure rate >>"$tmp/$name.rates"
	for what in open ask close; do
		figure "$what" 1000 >>"$tmp/$name.$what"
	done
}

ports_section() {
	local run name what before xinetd_deaths=0
	ways_find
	before=$(connections_there)
	for ((run = 0; run < runs; run++)); do
		ports idle "$tmp/control-ports/control" "$alone" echo
		for what in open close; do
			figure "$what" 1000 >>"$tmp/alone.$what"
			figure "$what-90" 1000 >>"$tmp/alone.$what-90"
		done
		for name in "${names[@]}"; do
			way_run "$name"
		done
	done
	cat <<-END
		### Ports

		A port for one request: open it, have the request answered, close it, over and over.
		Leases: one control connection, 2 workers, port 0, $cycles cycles a run; the usual
		ways: $slow_cycles a run, a try every 0.1 ms whether the port answers yet, or not any
		more. $runs alternating runs: median [least..most] of the runs' medians. The kernel's
		table of connections had $before before (TIME_WAIT and others, of everybody) and
		$(connections_there) after; a close that must ask for handshakes walks all of it.

		| way | cycles/s | slower than \`lease\` | open, ms | request, ms | close, ms |
		| --- | ---: | ---: | ---: | ---: | ---: |
	END
	for name in "${names[@]}"; do
		printf '| %s | %s | %s | %s | %s | %s |\n' "${title[$name]}" \
			"$(spread 1 <"$tmp/$name.rates")" \
			"$(ratio "$tmp/lease.rates" "$tmp/$name.rates" | spread 1)" \
			"$(spread 2 <"$tmp/$name.open")" "$(spread 2 <"$tmp/$name.ask")" \
			"$(spread 2 <"$tmp/$name.close")"
	done
	[[ $xinetd_deaths == 0 ]] ||
		printf '\nxinetd ended by itself %d times (its own error), and was started for another run.\n' "$xinetd_deaths"
	for what in open close; do
		printf '\n%s alone, %d a run on an idle server: median %s ms, 90th of 100 %s ms.\n' \
			"\`$what\`" "$alone" "$(spread 3 <"$tmp/alone.$what")" \
			"$(spread 3 <"$tmp/alone.$what-90")"
	done
	goal_head
	for name in lease lease-echo; do
		goal "cycles/s, ${title[$name]}: at least $goal_cycles" "$goal_cycles" above 0 <"$tmp/$name.rates"
	done
	goal "\`open\` alone: less than $goal_open ms" "$goal_open" below 3 <"$tmp/alone.open"
	goal "\`close\` of an idle port: less than $goal_close ms" "$goal_close" below 3 <"$tmp/alone.close"
	for name in control-ports nginx xinetd; do
		server_end "$name"
	done
}
