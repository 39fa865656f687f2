#!/usr/bin/env bats
# Conditional requests and compressed siblings. What each field means is in tests/unit/fields_test.c; here it is what is sent.

# Each test is a subshell with its own variables, and the helper has some of them.
# shellcheck disable=SC2030,SC2031,SC2154
load helper

setup() {
	common_setup
	settle site/1k.txt
}

teardown() {
	common_teardown
}

# get TARGET OPTION…: asks with curl. Sets status, the head in $work/head.text, the body in $work/body.
get() {
	local target=$1
	shift
	rm -f "$work/body" && : >"$work/body"
	status=$(curl -sS -m 20 -o "$work/body" -D "$work/head" -w '%{http_code}' "$@" "http://$address$target")
	tr -d '\r' <"$work/head" >"$work/head.text"
}

field() {
	sed -n "s/^$1: //p" "$work/head.text"
}

@test "a tag is the same for the same state, and another one for another" {
	start_site
	get /1k.txt
	tag=$(field ETag)
	[[ "$tag" =~ ^\"[!-~]+\"$ ]]
	for _ in 1 2 3 4; do
		get /1k.txt
		[ "$(field ETag)" = "$tag" ]
	done
	printf y | dd of=site/1k.txt conv=notrunc status=none
	get /1k.txt
	# Just changed: another change might not show, so it is weak.
	[[ "$(field ETag)" == W/\"* ]]
	[ "$(field ETag)" != "W/$tag" ]
}

@test "If-None-Match: 304 with the fields that a cache needs, and no body" {
	start_conf 'service site http { root site; header Cache-Control max-age=60; precompressed on; }
		listen 127.0.0.1:0 -> site;'
	get /1k.txt
	tag=$(field ETag) date=$(field Last-Modified)
	for value in "$tag" "W/$tag" "\"a\", $tag" '*'; do
		get /1k.txt -H "If-None-Match: $value"
		[ "$status" = 304 ]
		[ ! -s body ]
		[ "$(field ETag)" = "$tag" ]
		[ "$(field Last-Modified)" = "$date" ]
		[ "$(field Cache-Control)" = max-age=60 ]
		[ "$(field Vary)" = Accept-Encoding ]
		[ -z "$(field Content-Type)$(field Content-Length)" ]
	done
	get /1k.txt -H 'If-None-Match: "other"' -H "If-Modified-Since: $date"
	[ "$status" = 200 ]
	get /1k.txt -I -H "If-None-Match: $tag"
	[ "$status" = 304 ]
}

@test "If-Match and If-Unmodified-Since: 412 when they fail, and before If-None-Match" {
	start_site
	get /1k.txt
	tag=$(field ETag) date=$(field Last-Modified)
	get /1k.txt -H "If-Match: $tag"
	[ "$status" = 200 ]
	get /1k.txt -H 'If-Match: "other"'
	[ "$status" = 412 ]
	get /1k.txt -H 'If-Match: "other"' -H "If-None-Match: $tag"
	[ "$status" = 412 ]
	get /1k.txt -H "If-Match: $tag" -H 'If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT'
	[ "$status" = 200 ]
	get /1k.txt -H 'If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT'
	[ "$status" = 412 ]
	get /1k.txt -H "If-Unmodified-Since: $date"
	[ "$status" = 200 ]
	get /1k.txt -H "If-Match: $tag" -r 0-1
	[ "$status" = 206 ]
	# Of what is not there no condition is judged.
	get /nothing -H 'If-Match: *'
	[ "$status" = 404 ]
}

# ---- compressed siblings ----

# siblings: site/a.css with one of each.
siblings() {
	echo 'a { color: red }' >site/a.css
	echo gz >site/a.css.gz
	echo br >site/a.css.br
	echo zst >site/a.css.zst
	touch -d '1 hour ago' site/a.css*
	start_conf 'service site http { root site; precompressed on; }
		workers 1;
		listen 127.0.0.1:0 -> site;'
}

@test "a compressed sibling is sent to who wants it, with its coding, the file's type, and Vary" {
	siblings
	while read -r accept coding body; do
		get /a.css -H "Accept-Encoding: $accept"
		[ "$status" = 200 ]
		[ "$(field Content-Encoding)" = "${coding#-}" ]
		[[ "$(cat body)" == "$body"* ]]
		[ "$(field Content-Length)" -eq "$(stat -c %s body)" ]
		[ "$(field Content-Type)" = "text/css; charset=utf-8" ]
		[ "$(field Vary)" = Accept-Encoding ]
	done <<-'END'
		gzip gzip gz
		gzip,deflate,br,zstd br br
		br;q=0.1,zstd;q=0.9 zstd zst
		br;q=0,gzip;q=0.5 gzip gz
		* br br
		identity - a
		gzip;q=0 - a
	END
	get /a.css
	[ -z "$(field Content-Encoding)" ]
	[ "$(field Vary)" = Accept-Encoding ]
	# Asked for by its own name it is a file like others.
	get /a.css.gz -H 'Accept-Encoding: gzip'
	[ "$(field Content-Type)" = application/gzip ]
	[ -z "$(field Content-Encoding)" ]
	[ "$(cat body)" = gz ]
}

@test "one part is of the sibling that is sent, several parts are of the file itself" {
	siblings
	get /a.css -H 'Accept-Encoding: gzip' -r 1-1
	[ "$status" = 206 ]
	[ "$(field Content-Encoding)" = gzip ]
	[ "$(cat body)" = z ]
	get /a.css -H 'Accept-Encoding: gzip' -r 0-0,4-8
	[ "$status" = 206 ]
	[ -z "$(field Content-Encoding)" ]
	grep -q '^color' body
}

@test "each coding has a tag of its own, and conditions are about the one that is sent" {
	siblings
	settle site/a.css.zst
	tags=''
	for accept in identity gzip br zstd; do
		get /a.css -H "Accept-Encoding: $accept"
		tag=$(field ETag)
		[[ "$tag" == '"'* && "$tags" != *"$tag"* ]]
		tags+=" $tag"
		get /a.css -H "Accept-Encoding: $accept" -H "If-None-Match: $tag"
		[ "$status" = 304 ]
		get /a.css -H 'Accept-Encoding: deflate' -H "If-None-Match: $tag"
		[ "$accept" = identity ] || [ "$status" = 200 ]
		get /a.css -H "Accept-Encoding: $accept" -r 0-0
		[ "$status" = 206 ]
	done
}

@test "a sibling that is older than its file is not sent; without its file it is not there; off it is no sibling" {
	siblings
	touch site/a.css
	get /a.css -H 'Accept-Encoding: br, gzip'
	[ -z "$(field Content-Encoding)" ]
	[[ "$(cat body)" == a* ]]
	touch site/a.css.gz
	get /a.css -H 'Accept-Encoding: br, gzip'
	[ "$(field Content-Encoding)" = gzip ]
	rm site/a.css
	get /a.css -H 'Accept-Encoding: gzip'
	[ "$status" = 404 ]
	start_site
	get /a.css.gz
	[ "$status" = 200 ]
	echo x >site/a.css
	get /a.css -H 'Accept-Encoding: gzip'
	[ -z "$(field Content-Encoding)$(field Vary)" ]
}

@test "curl --compressed gets the page of a folder from its sibling" {
	gzip -k site/index.html
	start_conf 'service site http { root site; precompressed on; }
		listen 127.0.0.1:0 -> site;'
	[ "$(curl -sS --compressed "http://$address/")" = "hello, and welcome" ]
	get / -H 'Accept-Encoding: gzip'
	[ "$(field Content-Encoding)" = gzip ]
	[ "$(gzip -dc <body)" = "hello, and welcome" ]
}
