#!/usr/bin/env bats
# Listings: readable, whole, and harmless, whatever names are in a folder and however many.

# Each test is a subshell with its own variables, and the helper has some of them.
# shellcheck disable=SC2030,SC2031,SC2154
load helper

setup() {
	common_setup
	talk=$tools/talk
	mkdir -p site/list
}

teardown() {
	common_teardown
}

start_listing() {
	start_conf "service site http { root site; listing on; ${1:-} }
		workers 1;
		listen 127.0.0.1:0 -> site;"
}

get() {
	local target=$1
	shift
	rm -f "$work/body" && : >"$work/body"
	status=$(curl -sS -m 60 -o "$work/body" -D "$work/head" -w '%{http_code}' "$@" "http://$address$target")
}

# links: the targets of the page's links, and what they are shown as, one in each line, as a browser reads them.
links() {
	python3 - "$work/body" <<-'END'
		import html.parser, sys
		class Reader(html.parser.HTMLParser):
		    href = None
		    def handle_starttag(self, tag, attributes):
		        assert tag in 'html meta title style h1 table tr td a p'.split(), tag
		        assert all(name in ('href', 'lang', 'charset', 'name', 'content') for name, value in attributes), attributes
		        if tag == 'a': self.href, self.text = dict(attributes)['href'], ''
		    def handle_data(self, data):
		        if self.href is not None: self.text += data
		    def handle_endtag(self, tag):
		        if tag == 'a':
		            print(self.href, self.text, sep='\t')
		            self.href = None
		Reader().feed(open(sys.argv[1], encoding='utf-8').read())
	END
}

@test "a listing has folders first, then files, by name, with their sizes; an index goes before it" {
	mkdir site/list/zeta site/list/Alpha
	echo x >site/list/b.txt
	head -c 1500000 /dev/zero >site/list/A.bin
	start_listing
	get /list/
	[ "$status" = 200 ]
	[ "$(links | cut -f 2 | tr '\n' ' ')" = "../ Alpha/ zeta/ A.bin b.txt " ]
	[ "$(links | cut -f 1 | tr '\n' ' ')" = "../ ./Alpha/ ./zeta/ ./A.bin ./b.txt " ]
	grep -q '1.4 MiB' body
	grep -q '<td>2 B<td>' body
	grep -q '<meta name="viewport"' body
	grep -qi '^content-type: text/html; charset=utf-8' head
	get /
	[ "$(cat body)" = "hello, and welcome" ]
	get /list
	[ "$status" = 301 ]
	get /list/ -I
	[ "$status" = 200 ]
	run ! grep -q '<h1>' body
	[ "$(sed -n 's/^Content-Length: //p' head | tr -d '\r')" -gt 500 ]
}

@test "without listing a folder without an index is 403" {
	start_site
	get /list/
	[ "$status" = 403 ]
}

@test "hostile names are text and never markup, and each link leads to its file" {
	names=('<script>alert(1)' 'a"onclick="x' "q'uote" 'amp&amp;' 'a b' 'c:d' 'javascript:alert(1)' '%41' '#hash' '?query' '~' '-n'
		$'\xc3\xa4' $'\xff\xfe' $'cut\xc3' ' ' '\back' '..dots' '"><img src=x onerror=alert(1)>')
	for name in "${names[@]}"; do
		printf 'this is %s' "$name" >"site/list/$name"
	done
	printf x >$'site/list/line\nfeed'
	printf x >$'site/list/esc\x1b[31m'
	start_listing 'dot-files on;'
	get /list/
	[ "$status" = 200 ]
	[ "$(links | wc -l)" -eq $((${#names[@]} + 1)) ]
	LC_ALL=C run ! grep -q '<script\|<img\|onclick="' body
	iconv -f utf-8 -t utf-8 body >/dev/null
	links | tail -n +2 | cut -f 1 >targets
	found=0
	while read -r target; do
		curl -sS "http://$address/list/$target" >one
		for name in "${names[@]}"; do
			[ "$(cat one)" != "this is $name" ] || found=$((found + 1))
		done
	done <targets
	[ $found -eq ${#names[@]} ]
}

@test "hidden names are not listed, unless dot-files is on; the target of a link is not looked at" {
	echo x >site/list/.hidden
	mkdir site/list/.well-known
	ln -s /etc/passwd site/list/link
	start_listing
	get /list/
	[ "$(links | cut -f 2 | tr '\n' ' ')" = "../ .well-known/ link " ]
	run ! grep -q passwd body
	start_listing 'dot-files on;'
	get /list/
	[ "$(links | cut -f 2 | tr '\n' ' ')" = "../ .well-known/ .hidden link " ]
}

@test "a listing of an alias, and of the root, which has no parent" {
	mkdir other
	echo x >other/one
	chmod -R a+rX other
	rm site/index.html
	start_listing 'alias /o/ other;'
	get /o/
	[ "$(links | cut -f 2 | tr '\n' ' ')" = "../ one " ]
	grep -q '<h1>/o/</h1>' body
	get /
	[ "$(links | cut -f 2 | tr '\n' ' ')" = "list/ 1k.txt " ]
	grep -q '<h1>/</h1>' body
}

@test "a folder with very many entries is listed in part, says so, and nobody else waits" {
	seq -f "site/list/file-%g" 1 12000 | xargs touch
	start_listing
	load_begin -c 5 -m keep -t /1k.txt -e 1000 -d 60000
	for _ in 1 2 3; do
		get /list/
		[ "$status" = 200 ]
	done
	kill -TERM "$load_pid"
	load_end
	nothing_lost
	grep -q 'There is more in this folder' body
	[ "$(links | wc -l)" -le 10001 ]
	[ "$(stat -c %s body)" -le $((2 << 20)) ]
	[ "$(tail -c 8 body)" = '</html>' ]
}

@test "a folder of the longest and most expensive names stays within its bounds" {
	long=$(head -c 250 /dev/zero | tr '\0' '"')
	for i in {1..3000}; do
		: >"site/list/$long$i"
	done
	start_listing
	get /list/
	[ "$status" = 200 ]
	[ "$(stat -c %s body)" -le $((2 << 20)) ]
	[ "$(tail -c 8 body)" = '</html>' ]
}

@test "slow readers of large listings are bounded: beyond that it is 503, and the memory comes back" {
	seq -f "site/list/a-file-with-a-name-that-is-not-short-%g" 1 5000 | xargs touch
	start_listing 'send-timeout 30s;'
	how=$("$talk" -q -c 60 -t 20000 "$address" deaf 'send:GET /list/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' wait:1500 read)
	echo "$how"
	grep -qx eof=60 <<<"$how"
	ok=$(sed -n 's/^status_200=//p' <<<"$how") busy=$(sed -n 's/^status_503=//p' <<<"$how")
	[ "$((ok + ${busy:-0}))" -eq 60 ]
	[ "$ok" -ge 32 ]
	[ "$(find "/proc/$(workers)/fd" -lname '*scratch*' -o -lname '/dev/shm/*' | grep -c .)" -eq 0 ]
	get /list/
	[ "$status" = 200 ]
}

@test "a folder that may not be read is 403" {
	[ "$(id -u)" -eq 0 ] || skip "wants root, so that the workers are somebody else"
	chmod 711 site/list
	start_listing
	get /list/
	[ "$status" = 403 ]
}
