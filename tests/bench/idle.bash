# idle: system calls and context switches without connections. stop: from TERM to exit.
# Part of scripts/bench.

# Counts the system calls that begin in a window of time. Not with -c: attaching itself interrupts
# a wait once, which must not be counted; the window begins half a second after it.
calls() {
	local pids=() p begin
	for p in $(tree "$1"); do
		pids+=(-p "$p")
	done
	begin=$EPOCHREALTIME
	timeout -s INT "$((idle + 1))" strace -f -ttt -o "$tmp/strace" "${pids[@]}" 2>/dev/null || true
	[[ -s $tmp/strace ]] || return 1
	awk -v begin="$begin" -v idle="$idle" '
		{ at = $1 ~ /\./ ? 1 : 2 }
		$at >= begin + 0.5 && $at < begin + 0.5 + idle && $(at + 1) ~ /^[a-z_0-9]+\(/ { count++ }
		END { print count + 0 }' "$tmp/strace"
}

# How often the processes have gone to sleep so far.
sleeps() {
	local p files=()
	for p in $(tree "$1"); do
		files+=(/proc/"$p"/task/*/status)
	done
	awk '/^voluntary_ctxt_switches/ { sum += $2 } END { print sum }' "${files[@]}"
}

idle_section() {
	local name processes before after count
	servers_find nginx floor lastcall
	cat <<-END
		### Idle

		Over $idle s, per second and process, without connections. System calls: by strace.

		| server | processes | system calls | voluntary context switches |
		| --- | ---: | ---: | ---: |
	END
	for name in "${names[@]}"; do
		server_start "$name" || exit 1
		sleep 1
		processes=$(tree "${pid[$name]}" | wc -l)
		before=$(sleeps "${pid[$name]}")
		sleep "$idle"
		after=$(sleeps "${pid[$name]}")
		count='not measured'
		if type -P strace >/dev/null && count=$(calls "${pid[$name]}"); then
			count=$(awk -v n="$count" -v d=$((idle * processes)) 'BEGIN { printf "%.2f", n / d }')
		fi
		printf '| %s | %d | %s | %s |\n' "${title[$name]}" "$processes" "$count" \
			"$(awk -v n=$((after - before)) -v d=$((idle * processes)) \
				'BEGIN { printf "%.2f", n / d }')"
		server_end "$name"
	done
}

stop_once() {
	local name=$1 signal=$2 begin end status=0
	server_start "$name" || exit 1
	sleep "0.$((100 + RANDOM % 100))" # a timer of the server is anywhere in its period
	begin=$EPOCHREALTIME
	kill "-$signal" "${pid[$name]}"
	wait "${pid[$name]}" || status=$?
	end=$EPOCHREALTIME
	server_forget "$name"
	[[ $status == 0 ]] || note "$name: exit status $status: $(tail -n 1 "$tmp/$name/log")"
	awk -v us=$((${end/./} - ${begin/./})) 'BEGIN { print us / 1000 }' >>"$tmp/$name.stops"
}

stop_section() {
	local name run
	servers_find nginx floor lastcall
	for ((run = 0; run < stops; run++)); do
		for name in "${names[@]}"; do
			stop_once "$name" "$([[ $name == nginx ]] && echo QUIT || echo TERM)"
		done
	done
	cat <<-END
		### Stop

		From the signal (TERM; nginx: QUIT, its graceful one) to the exit of an idle server:
		median [least..most] of $stops.

		| server | ms |
		| --- | ---: |
	END
	for name in "${names[@]}"; do
		printf '| %s | %s |\n' "${title[$name]}" "$(spread 2 <"$tmp/$name.stops")"
	done
	if [[ -s $tmp/lastcall.stops ]]; then
		goal_head
		goal "TERM to exit, idle: less than $goal_stop ms" "$goal_stop" below 2 <"$tmp/lastcall.stops"
	fi
}
