# Servers under test: how each is configured, started, checked and ended.
# Part of scripts/bench.

# By name: pid, address, and the length of the head of an answer.

declare -A pid address head
declare -A channels # what we read from servers of our own; open as long as they may write
names=()

declare -A title=(
	[nginx]='nginx' [nginx-cache]='nginx, open_file_cache' [floor]='floor'
	[lastcall]='**lastcall**' [h2o]='h2o' [lighttpd]='lighttpd' [apache-event]='Apache, event'
	[apache-prefork]='Apache, prefork' [haproxy]='haproxy (answers from memory)'
	[lease]='**lastcall**: lease, http' [lease-echo]='**lastcall**: lease, echo'
	[nginx-reload]='nginx: file, -s reload' [xinetd-reload]='xinetd: file, HUP (echo)'
	[lastcall-process]='process: lastcall serve' [busybox-process]='process: busybox httpd'
	[python-process]='process: python3 -m http.server'
	[lastcall-exec]='**lastcall**: exec' [lastcall-ballast]='**lastcall**: exec, 2 GiB in each process'
	[tcpserver]='tcpserver (ucspi-tcp)' [xinetd-cat]='xinetd' [socat]='socat'
	[systemd]='systemd-socket-activate --accept'
)

# A server's processes: it and its descendants.
tree() {
	ps -e -o pid=,ppid= | awk -v root="$1" '
		{ parent[$1] = $2 }
		END {
			for (p in parent) {
				for (q = p; q != root && q in parent; q = parent[q])
					continue
				if (q == root)
					print p
			}
		}'
}

# After it was waited for.
server_forget() {
	local channel=${channels[$1]:-}
	[[ ! $channel ]] || exec {channel}<&-
	unset "pid[$1]" "channels[$1]"
}

# Ends a server: TERM, and for what is still there after 5 s, KILL.
server_end() {
	local name=$1 all p
	[[ ${pid[$name]:-} ]] || return 0
	read -r -a all <<<"$(tree "${pid[$name]}" | tr '\n' ' ')"
	kill -TERM "${pid[$name]}" || true
	for _ in {1..50}; do
		kill -0 "${all[@]}" || break
		sleep 0.1
	done
	for p in "${all[@]}"; do
		kill -KILL "$p" || true
	done
	wait "${pid[$name]}" || true
	server_forget "$name"
} 2>/dev/null # the shell's own word on a job that was killed

cleanup() {
	local name
	for name in "${!pid[@]}"; do
		server_end "$name"
	done
	rm -rf "$tmp"
}

# A loopback port that nobody listens on, below those that the kernel hands out.
port_free() {
	local port
	while :; do
		port=$((10240 + (RANDOM << 1 ^ RANDOM) % 22528))
		grep -qi "^ *[0-9]*: [0-9A-F]*:$(printf %04X "$port") " /proc/net/tcp* || break
	done
	echo "$port"
}

# peer_config NAME PORT: the configuration file and sets command.
peer_config() {
	local dir=$tmp/$1 drop='' modules=''
	mkdir -p "$dir"
	case $1 in
	nginx | nginx-cache)
		[[ $EUID != 0 ]] || drop="user $user $group;"
		cat >"$dir/conf" <<-END
			$drop
			daemon off;
			worker_processes 2;
			pid $dir/pid;
			error_log $dir/log;
			worker_rlimit_nofile 20000;
			events { worker_connections 12000; }
			http {
				access_log off;
				sendfile on;
				default_type text/plain;
				keepalive_requests 100000000;
				keepalive_timeout 600s;
				$([[ $1 == nginx ]] || echo 'open_file_cache max=100;')
				client_body_temp_path $dir/body;
				proxy_temp_path $dir/proxy;
				fastcgi_temp_path $dir/fastcgi;
				uwsgi_temp_path $dir/uwsgi;
				scgi_temp_path $dir/scgi;
				server { listen 127.0.0.1:$2; root $tmp/site; }
				include $dir/port.co*;
			}
		END
		command=(nginx -p "$dir" -e "$dir/log" -c "$dir/conf")
		;;
	h2o)
		[[ $EUID != 0 ]] || drop="user: $user"
		cat >"$dir/conf" <<-END
			$drop
			listen: { host: 127.0.0.1, port: $2 }
			num-threads: 2
			max-connections: 12000
			http1-request-timeout: 600
			error-log: $dir/log
			hosts:
			  default:
			    paths:
			      "/":
			        file.dir: $tmp/site
		END
		command=(h2o -c "$dir/conf")
		;;
	lighttpd)
		[[ $EUID != 0 ]] || drop="server.username = \"$user\" server.groupname = \"$group\""
		cat >"$dir/conf" <<-END
			$drop
			server.document-root = "$tmp/site"
			server.bind = "127.0.0.1"
			server.port = $2
			server.max-worker = 2
			server.max-keep-alive-idle = 600
			server.max-fds = 20000
			server.max-connections = 9000
			server.max-keep-alive-requests = 65535
			mimetype.assign = ( ".txt" => "text/plain" )
		END
		command=(lighttpd -D -f "$dir/conf")
		;;
	apache-*)
		for modules in /usr/lib/apache2/modules /usr/lib*/httpd/modules; do
			[[ -d $modules ]] && break
		done
		[[ $EUID != 0 ]] || drop=$(printf 'User %s\nGroup %s' "$user" "$group")
		cat >"$dir/conf" <<-END
			ServerRoot $dir
			DefaultRuntimeDir $dir
			PidFile $dir/pid
			ErrorLog $dir/log
			ServerName localhost
			Listen 127.0.0.1:$2
			$drop
			LoadModule mpm_module $modules/mod_mpm_${1#apache-}.so
			LoadModule authz_core_module $modules/mod_authz_core.so
			DocumentRoot $tmp/site
			KeepAlive On
			MaxKeepAliveRequests 0
			KeepAliveTimeout 60
			StartServers $([[ $1 == *event ]] && echo 2 || echo 80)
			MinSpareServers 1
			MaxSpareServers 200
			ThreadsPerChild 64
			MaxRequestWorkers 128
		END
		if [[ $1 == apache-event ]]; then
			sed -i '/SpareServers/d' "$dir/conf"
		else
			sed -i '/ThreadsPerChild/d' "$dir/conf"
		fi
		sed -i "s/mpm_module/mpm_${1#apache-}_module/" "$dir/conf"
		command=("$(type -P apache2 || type -P httpd)" -D FOREGROUND -f "$dir/conf")
		;;
	haproxy)
		cat >"$dir/conf" <<-END
			global
			  nbthread 2
			  maxconn 1024
			defaults
			  mode http
			  timeout client 60s
			  timeout server 60s
			  timeout connect 60s
			frontend site
			  bind 127.0.0.1:$2
			  http-request return status 200 content-type text/plain file $tmp/site/1k.txt
		END
		command=(haproxy -db -f "$dir/conf")
		;;
	esac
}

# Starts a peer on a port of our choice; a few tries, should somebody else take the port.
peer_start() {
	local port command
	for _ in 1 2 3; do
		port=$(port_free)
		peer_config "$1" "$port"
		# A process group of its own: Apache ends its whole group, which would be us.
		setsid "${command[@]}" >>"$tmp/$1/log" 2>&1 </dev/null &
		pid[$1]=$!
		address[$1]=127.0.0.1:$port
		server_check "$1" && return
		server_end "$1"
	done
	note "$1 does not serve: $(tail -n 3 "$tmp/$1/log")"
	return 1
}

# Starts one of ours, which reports the port that the kernel chose, and lastcall that it is ready.
own_start() {
	local line='' command channel
	mkdir -p "$tmp/$1"
	case $1 in
	floor) command=("$build/bench/floor" -w 2) ;;
	lastcall)
		cat >"$tmp/$1/conf" <<-END
			workers 2;
			max-connections 8000;
			service site http { root $tmp/site; keepalive 600s; }
			listen 127.0.0.1:0 -> site;
		END
		command=("$build/lastcall" run --no-control -c "$tmp/$1/conf")
		;;
	control-*)
		cat >"$tmp/$1/conf" <<-END
			workers 2;
			max-connections 512;
			max-listeners $((held + 100));
			control $tmp/$1/control;
			service site http { root $tmp/site; }
			listen 127.0.0.1:0 -> site;
		END
		command=("$build/lastcall" run -c "$tmp/$1/conf")
		;;
	esac
	"${command[@]}" >"$tmp/out" 2>>"$tmp/$1/log" </dev/null &
	pid[$1]=$!
	exec {channel}<"$tmp/out"
	address[$1]=
	while read -r -t 10 -u "$channel" line; do
		[[ $line != listening\ * ]] || { read -r _ "address[$1]" _ <<<"$line"; }
		[[ $1 == floor && ${address[$1]} || $line == "ready ${pid[$1]}" ]] && break
	done
	[[ ${address[$1]} && ($1 == floor || $line == ready\ *) ]] ||
		fail "$1 did not start: $(tail -n 3 "$tmp/$1/log")"
	channels[$1]=$channel
}

# Whether the server that was started, and no other, serves the file; waits for it up to 5 s. The
# file's content is this run's own. (floor has no file, and its port is its own report.)
server_check() {
	for _ in {1..100}; do
		kill -0 "${pid[$1]}" 2>/dev/null || return 1
		if curl -sf -o "$tmp/got" -D "$tmp/head" "http://${address[$1]}/1k.txt"; then
			head[$1]=$(wc -c <"$tmp/head")
			[[ $1 == floor ]] && [[ $(wc -c <"$tmp/got") == 1024 ]] && return
			cmp -s "$tmp/got" "$tmp/site/1k.txt" && return
		fi
		sleep 0.05
	done
	return 1
}

# Starts a server and checks it; fails only for those that there must be.
server_start() {
	case $1 in
	floor | lastcall | control-*)
		own_start "$1"
		server_check "$1" || fail "$1 does not serve the file"
		;;
	*)
		peer_start "$1"
		;;
	esac
}

# servers_up NAME…: starts those that are installed, and sets names to those that serve.
servers_up() {
	local name serving=()
	servers_find "$@"
	for name in "${names[@]}"; do
		if server_start "$name"; then
			serving+=("$name")
		elif [[ $name == nginx ]]; then
			exit 1
		fi
	done
	names=("${serving[@]}")
}

servers_down() {
	local name
	for name in "${names[@]}"; do
		server_end "$name"
	done
}

# Sets names to those of the given servers that are installed.
servers_find() {
	local name program
	names=()
	for name; do
		case $name in
		lastcall) program=$build/lastcall ;;
		floor) program=$build/bench/floor ;;
		apache-*) program=$(type -P apache2 || type -P httpd || echo apache2) ;;
		*) program=${name%-cache} ;;
		esac
		if type -P "$program" >/dev/null; then
			names+=("$name")
		elif [[ $name == floor || $name == nginx ]]; then
			fail "there is no $program"
		elif [[ $name == lastcall ]]; then
			missing=1
			note "there is no $program; measuring without it"
		else
			note "$name is not installed; measuring without it"
		fi
	done
}
