# Figures: files of one number per run, their spread, ratios and verdicts; what the kernel has counted.
# Part of scripts/bench.

# "median [least..most]" of standard input, with so many decimals.
spread() {
	sort -n | awk -v decimals="$1" '
		{ x[NR] = $1 }
		END {
			median = NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2
			format = "%." decimals "f [%." decimals "f..%." decimals "f]"
			printf format, median, x[1], x[NR]
		}'
}

# Pair by pair, the numbers of one file divided by those of another.
ratio() {
	paste "$1" "$2" | awk '{ print ($2 > 0 ? $1 / $2 : 0) }'
}

# verdict GOAL above|below, numbers on standard input: missed only when the whole spread lies on the
# wrong side, met when all of it lies on the right side.
verdict() {
	sort -n | awk -v goal="$1" -v side="$2" '
		{ x[NR] = $1 }
		END {
			least = x[1] - goal
			most = x[NR] - goal
			if (side == "below") {
				swap = least
				least = -most
				most = -swap
			}
			if (NR == 1)
				print "one run: not judged"
			else if (least >= 0)
				print "met"
			else
				print (most < 0 ? "missed" : "open")
		}'
}

# CPU ticks that a server's processes have used so far, with those of children that are gone (one
# may go while we look).
ticks() {
	local p files=()
	for p in $(tree "$1"); do
		files+=("/proc/$p/stat")
	done
	{ cat "${files[@]}" 2>/dev/null || true; } | sed 's/.*) //' | awk '{ sum += $12 + $13 + $14 + $15 } END { print sum }'
}

# goal TEXT LIMIT above|below DECIMALS: a row of a table of goals; the numbers on standard input.
goal() {
	cat >"$tmp/goal"
	printf '| %s | %s | %s |\n' "$1" "$(spread "$4" <"$tmp/goal")" "$(verdict "$2" "$3" <"$tmp/goal")"
}

goal_head() {
	printf '\n| goal | measured | verdict |\n| --- | ---: | --- |\n'
}

# The figure of that name in the last line of what ports printed, divided.
figure() {
	tail -n 1 "$tmp/figures" | tr ' ' '\n' | sed -n "s/^$1=//p" | awk -v by="${2:-1}" '{ print $1 / by }'
}

# ports MODE ARG…: its figures, or the end of the run.
