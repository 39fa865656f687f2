#!/usr/bin/env bats
# What a service is told about paths, hosts, fields, types and links, and how its access log says who got what.

# Each test is a subshell with its own variables, and the helper has some of them.
# shellcheck disable=SC2030,SC2031,SC2154
load helper

setup() {
	common_setup
	talk=$tools/talk
	touch -d '1 hour ago' site/*
}

teardown() {
	common_teardown
}

# start_with OPTIONS [CONFIGURATION]: a site with these options.
start_with() {
	start_conf "service site http { root site; $1 }
		workers 1; ${2:-}
		listen 127.0.0.1:0 -> site;"
}

# get TARGET OPTION…: asks with curl. Sets status, the head in $work/head.text, the body in $work/body.
get() {
	local target=$1
	shift
	rm -f "$work/body" && : >"$work/body"
	status=$(curl -sS -m 20 --path-as-is -o "$work/body" -D "$work/head" -w '%{http_code}' "$@" "http://$address$target")
	tr -d '\r' <"$work/head" >"$work/head.text"
}

field() {
	sed -n "s/^$1: //p" "$work/head.text"
}

# goes TARGET STATUS LOCATION: it is redirected there.
goes() {
	get "$1"
	if [ "$status" != "$2" ] || [ "$(field Location)" != "$3" ]; then
		echo "$1: wanted $2 $3:" "$status $(field Location)"
		return 1
	fi
}

# rejected OPTIONS MESSAGE: a configuration with these options is an error that says so.
rejected() {
	printf '%s\n' "service site http {" "root site;" "$1" "}" 'listen 127.0.0.1:0 -> site;' >bad.conf
	run -2 "$lastcall" check -c bad.conf
	if [[ "$output" != *"$2"* || "$output" != *bad.conf:3:* ]]; then
		echo "$1: wanted $2:" "$output"
		return 1
	fi
}

# ---- header ----

@test "header adds fields to every answer: files, errors, redirects, OPTIONS" {
	mkdir site/sub
	start_with 'header Cache-Control "public, max-age=60"; header Access-Control-Allow-Origin *;'
	for target in / /nothing /sub /index.html; do
		for _ in 1 2; do
			get $target
			[ "$(field Cache-Control)" = "public, max-age=60" ]
			[ "$(field Access-Control-Allow-Origin)" = "*" ]
		done
	done
	get / -X OPTIONS
	[ "$status" = 204 ]
	[ "$(field Access-Control-Allow-Origin)" = "*" ]
	[ ! -s body ]
}

@test "header with as much as there may be: answers are whole, also pipelined" {
	head -c 8192 /dev/zero | tr '\0' c >site/8k
	settle site/8k
	start_with "header X-Long \"$(head -c 2000 /dev/zero | tr '\0' h)\";"
	one='GET /8k HTTP/1.1\r\nHost: x\r\n\r\n'
	"$talk" "$address" "fill:20:$one" 'send:GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' read >got 2>how
	grep -qx eof=1 how
	[ "$(grep -o 'HTTP/1.1 200 OK' got | wc -l)" -eq 20 ]
	[ "$(grep -c '^X-Long: h*.$' got)" -eq 21 ]
	[ "$(tr -dc c <got | wc -c)" -ge $((20 * 8192)) ]
}

@test "kept files to a client that pipelines and does not read are all there when it does" {
	for size in 1000 8192; do
		head -c $size /dev/zero | tr '\0' c >site/$size
		touch -d '1 hour ago' site/$size
	done
	settle site/8192
	start_with ''
	one='GET /8192 HTTP/1.1\r\nHost: x\r\n\r\nGET /1000 HTTP/1.1\r\nHost: x\r\n\r\nGET /no HTTP/1.1\r\nHost: x\r\n\r\n'
	"$talk" -t 30000 "$address" deaf "fill:1500:$one" wait:300 'send:GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' read >got 2>how
	grep -qx eof=1 how
	[ "$(grep -o 'HTTP/1.1 200 OK' got | wc -l)" -eq 3001 ]
	[ "$(grep -o 'HTTP/1.1 404 Not Found' got | wc -l)" -eq 1500 ]
	[ "$(grep -o 'c\{100,\}' got | tr -d '\n' | wc -c)" -eq $((1500 * 9192)) ]
}

@test "a header that could break an answer is an error, at its place" {
	rejected 'header Content-Length 5;' 'the server sets this field itself'
	rejected 'header transfer-encoding chunked;' 'the server sets this field itself'
	rejected 'header X-A "a\nX-B: b";' 'control character'
	rejected 'header "X A" b;' 'the name of a field'
	rejected 'header X-A;' 'header is written "header NAME VALUE;"'
	rejected 'header X-A a b;' 'header is written "header NAME VALUE;"'
	rejected "header X-A $(head -c 2100 /dev/zero | tr '\0' a);" '2048 bytes'
}

# ---- redirect ----

@test "redirect sends paths elsewhere, with status, rest and query, escaped" {
	start_with 'redirect /old /new; redirect /gone/ https://example.org/ 301; redirect /tree/* /t/* 308; redirect /q /p?a=b 307;
		redirect /tree/first /never;'
	goes /old 302 /new
	goes '/old?x=y' 302 '/new?x=y'
	goes /%6fld 302 /new
	goes /./x/../old 302 /new
	goes /gone/ 301 https://example.org/
	goes /tree/ 308 /t/
	goes /tree/a/b%20c 308 /t/a/b%20c
	goes '/tree/%22%3c/?q' 308 '/t/%22%3C/?q'
	goes '/q?mine' 307 '/p?a=b'
	goes /tree/first 308 /t/first
	for target in /old/ /older /gone /tre /OLD; do
		get $target
		[ "$status" = 404 ]
	done
	# Never to another host, however it is spelled, and nothing of it in a head.
	goes '/tree//evil.example/' 308 /t/evil.example/
	goes '/tree/%5cevil.example' 308 /t/%5Cevil.example
	get '/tree/%0d%0aSet-Cookie:x'
	[ "$status" = 400 ]
	get "/tree/$(head -c 3000 /dev/zero | tr '\0' q | fold -w 200 | paste -sd/)"
	[ "$status" = 414 ]
}

@test "a redirect that leads nowhere is an error, at its place" {
	rejected 'redirect /a b;' 'the target is a path, or a URL'
	rejected 'redirect /a /b 200;' 'the status of a redirect'
	rejected 'redirect a /b;' 'begins with a slash'
	rejected 'redirect /a /b/*;' 'needs one at the end of the path'
	rejected 'redirect /a;' 'redirect is written "redirect FROM TO [STATUS];"'
}

# ---- alias, fallback, error-page ----

@test "alias serves another folder below a prefix, and nothing beside it" {
	mkdir -p media/in other
	echo movie >media/in/m.txt
	echo inner >other/o.txt
	echo secret >secret.txt
	chmod -R a+rX media other
	start_with 'alias /media/ media; alias /media/other/ other;'
	get /media/in/m.txt
	[ "$(cat body)" = movie ]
	get /media/other/o.txt
	[ "$(cat body)" = inner ]
	goes /media 301 /media/
	goes /media/in 301 /media/in/
	goes '/media?q' 301 '/media/?q'
	for target in /media/../secret.txt /media/in/../../secret.txt; do
		get $target
		[ "$status" = 404 ]
	done
	get /media/../../secret.txt
	[ "$status" = 400 ]
	get /mediax/in/m.txt
	[ "$status" = 404 ]
	printf 'service site http { root site; alias /a/ nowhere; }\nlisten 127.0.0.1:0 -> site;\n' >bad.conf
	run -2 "$lastcall" check -c bad.conf
	[[ "$output" == *'bad.conf:1:42: error: alias "'*'": there is no such folder'* ]]
}

@test "fallback is sent with 200 for what is not there, with its conditions, and only then" {
	echo app >site/app.html
	mkdir site/empty
	start_with 'fallback /app.html;'
	for target in /any/where /deep/er/x.js /nothing; do
		get $target
		[ "$status" = 200 ]
		[ "$(cat body)" = app ]
	done
	get /1k.txt
	[ "$(stat -c %s body)" -eq 1000 ]
	get /empty/
	[ "$status" = 403 ]
	get /../x
	[ "$status" = 400 ]
	get /any -r 0-1
	[ "$status" = 206 ]
	rm site/app.html
	get /any
	[ "$status" = 404 ]
	rejected 'fallback app.html;' 'the fallback is a file below the root'
}

@test "error-page sends a page of one's own with the status, from the cache or not, small or large" {
	echo 'nothing here' >site/404.html
	head -c 100000 /dev/zero | tr '\0' e >site/large.html
	mkdir site/empty
	start_with 'error-page 404 416 /404.html; error-page 403 /large.html; error-page 405 /missing.html;'
	for _ in 1 2 3; do
		get /nothing
		[ "$status" = 404 ]
		[ "$(cat body)" = "nothing here" ]
		[ "$(field Content-Type)" = "text/html; charset=utf-8" ]
		[ -z "$(field ETag)$(field Last-Modified)" ]
	done
	get /nothing -I
	[ "$status" = 404 ]
	run ! grep -q 'nothing here' body
	get /empty/
	[ "$status" = 403 ]
	[ "$(stat -c %s body)" -eq 100000 ]
	get /1k.txt -r 5000-
	[ "$status" = 416 ]
	[ "$(field Content-Range)" = 'bytes */1000' ]
	[ "$(cat body)" = "nothing here" ]
	# A page that is missing is no second error.
	get / -d x
	[ "$status" = 405 ]
	[ "$(field Allow)" = "GET, HEAD, OPTIONS" ]
	get /nothing -H 'If-None-Match: *' -r 0-1
	[ "$status" = 404 ]
	# A path that nobody means is refused for good.
	start_with 'error-page 400 /404.html;'
	said=$("$talk" "$address" 'send:GET /%00 HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n' read 2>how | tr -d '\r')
	[[ "$said" == "HTTP/1.1 400 "*$'\n'"Connection: close"$'\n'*"nothing here" ]]
	grep -qx eof=1 how
	rejected 'error-page 404 404.html;' 'a file below the root'
	rejected 'error-page 299 /x.html;' 'a status is one of'
}

# ---- hosts ----

@test "host gives requests to another service, by name, by star, by address, in any case and with any port" {
	mkdir blog wild six
	echo blog >blog/index.html
	echo wild >wild/index.html
	echo six >six/index.html
	chmod -R a+rX blog wild six
	start_with 'host blog.example.org Journal.example.org blog; host *.example.org wild; host [::1] six;' \
		'service blog http { root blog; header X-Service blog; error-page 404 /index.html; }
		service wild http { root wild; }
		service six http { root six; }'
	while read -r name wanted; do
		# The second time from the cache.
		for _ in 1 2; do
			get / -H "Host: $name"
			[ "$(head -c 4 body)" = "$wanted" ] || {
				echo "$name: $(cat body)"
				false
			}
		done
	done <<-'END'
		blog.example.org blog
		BLOG.Example.ORG:8080 blog
		blog.example.org. blog
		journal.example.org blog
		www.example.org wild
		a.b.example.org wild
		[::1]:80 six
		example.org hell
		unknown hell
	END
	get /nothing -H 'Host: blog.example.org'
	[ "$status" = 404 ]
	[ "$(field X-Service)" = blog ]
	[ "$(cat body)" = blog ]
	# On one connection, one after the other.
	said=$("$talk" "$address" 'send:GET / HTTP/1.1\r\nHost: blog.example.org\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n' \
		'send:GET http://www.example.org/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' read 2>/dev/null)
	[ "$(grep -ao '^blog$\|^hello, and welcome$\|^wild$' <<<"$said" | tr '\n' ' ')" = "blog hello, and welcome wild " ]
}

@test "a host without its service, or with one of another kind, is an error, at its place" {
	rejected 'host a.example b;' 'there is no service "b"'
	rejected 'host a.example site;' 'a service is its own host already'
	rejected 'host a:80 site;' 'a host is a name or an address without a port'
	rejected 'host *.*.example site;' 'a host is a name or an address without a port'
	printf '%s\n' 'service b http { root site; }' 'service site http { root site;' 'host x.example Y.example b; host y.example b; }' \
		'listen 127.0.0.1:0 -> site;' >bad.conf
	run -2 "$lastcall" check -c bad.conf
	[[ "$output" == *bad.conf:3:*'the host "Y.example" is named twice'* ]]
	printf '%s\n' 'service e echo;' 'service site http { root site;' 'host a e; }' 'listen 127.0.0.1:0 -> site;' >bad.conf
	run -2 "$lastcall" check -c bad.conf
	[[ "$output" == *bad.conf:3:*'must be of kind http'* ]]
}

@test "a reload changes hosts, rules and types" {
	mkdir blog
	echo blog >blog/index.html
	chmod -R a+rX blog
	start_with 'redirect /r /old;'
	get / -H 'Host: blog'
	[ "$(cat body)" = "hello, and welcome" ]
	sed -i 's|redirect /r /old;|redirect /r /new; host blog blog; types mine.types;|' lastcall.conf
	echo 'service blog http { root blog; }' >>lastcall.conf
	echo 'text/x-mine txt' >mine.types
	chmod a+r mine.types
	"$lastcall" reload
	get / -H 'Host: blog'
	[ "$(cat body)" = blog ]
	goes /r 302 /new
	get /1k.txt
	[ "$(field Content-Type)" = "text/x-mine; charset=utf-8" ]
	stop_server TERM
	[ "$ended" -eq 0 ]
}

# ---- types, charset, names, links ----

@test "types from a file go before ours, and /etc/mime.types only adds to them" {
	printf 'text/x-mine html new # a comment\napplication/x-odd odd\n' >mine.types
	echo x | tee site/a.new site/a.odd site/a.png site/a.unknown >site/a.html
	start_with 'types mine.types; charset iso-8859-15;'
	while read -r name type; do
		get "/$name"
		[ "$(field Content-Type)" = "$type" ]
	done <<-'END'
		a.html text/x-mine; charset=iso-8859-15
		a.new text/x-mine; charset=iso-8859-15
		a.odd application/x-odd
		a.png image/png
		a.unknown application/octet-stream
	END
	start_with 'charset off;'
	get /a.html
	[ "$(field Content-Type)" = text/html ]
	rejected 'charset "a b";' 'no name of a charset'
	start_with 'types missing.types;' && false
	grep -q 'types .*missing.types: No such file' "$log"
}

@test "dot-files shows them when it is on, and never what is above the root" {
	mkdir -p site/.git
	echo x | tee site/.hidden >site/.git/config
	start_with 'dot-files on;'
	for target in /.hidden /.git/config; do
		get $target
		[ "$status" = 200 ]
	done
	for target in /../lastcall.conf /.git/../../lastcall.conf /%2e%2e/lastcall.conf; do
		get $target
		[ "$status" = 400 ]
	done
	for target in /... /..git; do
		get $target
		[ "$status" = 404 ]
	done
}

@test "links: never follows none, inside those that stay, anywhere all" {
	echo outside >outside.txt
	mkdir site/sub
	echo near >site/sub/near.txt
	ln -s sub/near.txt site/in
	ln -s sub site/folder
	ln -s ../outside.txt site/out
	ln -s "$work/outside.txt" site/absolute
	start_with 'links never;'
	# On the way to a file a link is no folder.
	for target in /in /folder/near.txt /out /absolute; do
		get $target
		[[ "$status" == 40[34] ]]
		[ "$(cat body)" != near ]
		[ "$(cat body)" != outside ]
	done
	get /sub/near.txt
	[ "$status" = 200 ]
	start_with 'links anywhere;'
	for target in /in /folder/near.txt /out /absolute; do
		get $target
		[ "$status" = 200 ]
	done
	[ "$(cat body)" = outside ]
	get /../outside.txt
	[ "$status" = 400 ]
	start_with 'links inside;'
	get /in
	# The twin follows none.
	[ "$status" = "$(is_posix && echo 403 || echo 200)" ]
	get /out
	[ "$status" = 403 ]
}

# ---- the access log ----

@test "the JSON log has an object for each answer, valid whatever clients send, with bytes and duration" {
	head -c 300000 /dev/zero >site/big
	start_with 'access-log access; access-log-format json;'
	get '/1k.txt?a="b"\c' -H 'User-Agent: "x\y' -H 'Referer: http://r/'
	get /big -r 0-9
	get /big
	get /nothing -H "$(printf 'User-Agent: \xff\xc3\xa4\x01' | tr -d '\1')"
	"$talk" -q "$address" 'send:GET /\x1b[31m HTTP/1.1\r\n\r\n' read >/dev/null
	"$talk" -q "$address" 'send:POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 99999\r\n\r\n' read >/dev/null
	wait_until lines_are 6
	python3 - access <<-'END'
		import json, re, sys
		lines = [json.loads(line) for line in open(sys.argv[1], 'rb').read().decode('ascii').splitlines()]
		keys = 'time remote status bytes duration protocol method user host target referer agent'.split()
		for line in lines:
		    assert list(line) == keys, line
		    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z', line['time'])
		    assert line['remote'] == '127.0.0.1' and 0 <= line['duration'] < 60
		assert [line['status'] for line in lines] == [200, 206, 200, 404, 400, 413], lines
		assert [line['bytes'] for line in lines][:3] == [1000, 10, 300000]
		assert lines[0]['target'] == '/1k.txt?a="b"\\c' and lines[0]['agent'] == '"x\\y' and lines[0]['referer'] == 'http://r/'
		assert lines[0]['method'] == 'GET' and lines[0]['protocol'] == 'HTTP/1.1' and lines[2]['duration'] > 0
		assert lines[3]['agent'] == '\xff\xc3\xa4'
		assert lines[4]['protocol'] == ''
		assert lines[5]['method'] == 'POST' and lines[5]['protocol'] == 'HTTP/1.0' and lines[5]['host'] == 'h'
	END
}

lines_are() {
	[ "$(wc -l <access)" -eq "$1" ]
}

@test "overlong requests are whole objects in the JSON log" {
	start_with 'access-log access; access-log-format json; max-header 12k;'
	long=$(head -c 3500 /dev/zero | tr '\0' a)
	bytes=$(head -c 3000 /dev/zero | tr '\0' '\377')
	get "/$long$long" -H "Referer: $bytes" -H "User-Agent: $long"
	get / -H "User-Agent: $bytes$bytes"
	wait_until lines_are 2
	python3 -c 'import json; [json.loads(line) for line in open("access")]'
	[ "$(wc -L <access)" -lt 4096 ]
}

@test "a redirect leads to no other host by the slashes of a path" {
	start_conf "service site http { root site; redirect \"/old*\" \"/*\"; redirect /more/* /new/*; } listen 127.0.0.1:0 -> site;"
	for path in /old/evil.example/x /old//evil.example /old%2f%2fevil.example/; do
		location=$(curl -s --path-as-is -o /dev/null -m 10 -w '%header{location}' "http://$address$path")
		[[ "$location" != //* ]]
	done
	[ "$(curl -s -o /dev/null -m 10 -w '%header{location}' "http://$address/old/a/b")" = /a/b ]
	[ "$(curl -s -o /dev/null -m 10 -w '%header{location}' "http://$address/more/a")" = /new/a ]
}

@test "a sibling of the same second that is older than its file is not sent" {
	start_conf "service site http { root site; precompressed on; } listen 127.0.0.1:0 -> site;"
	echo old | gzip >site/p.txt.gz
	echo new >site/p.txt
	touch -d '2026-11-20 10:00:00.1' site/p.txt.gz
	touch -d '2026-11-20 10:00:00.9' site/p.txt
	[ "$(curl -s -m 10 --compressed "http://$address/p.txt")" = new ]
	touch -d '2026-11-20 10:00:00' site/p.txt.gz
	[ "$(curl -s -m 10 --compressed "http://$address/p.txt")" = old ]
}
