/*
 * Rules: what rows may be, and what they make of a path. And what listings make of names.
 */
#include "listing.h"
#include "rules.h"
#include "unit.h"

#include <stdlib.h>

/* ---- rows ---- */

static const struct {
	const char *(*check)(const char *const *words, size_t count);
	const char *words[4];
	bool good;
} rows[] = {
    {rule_check_header, {"Cache-Control", "max-age=60"}, true},
    {rule_check_header, {"X-A", ""}, true},
    {rule_check_header, {"", "a"}, false},
    {rule_check_header, {"a b", "a"}, false},
    {rule_check_header, {"a:", "a"}, false},
    {rule_check_header, {"X-A", "a\r\nX-B: c"}, false},
    {rule_check_header, {"X-A", "a\nb"}, false},
    {rule_check_header, {"content-length", "5"}, false},
    {rule_check_header, {"Transfer-Encoding", "chunked"}, false},
    {rule_check_header, {"Connection", "close"}, false},
    {rule_check_redirect, {"/a", "/b"}, true},
    {rule_check_redirect, {"/a", "/b", "301"}, true},
    {rule_check_redirect, {"/a", "/b", "303"}, false},
    {rule_check_redirect, {"/a/*", "https://b/*"}, true},
    {rule_check_redirect, {"/a", "/b/*"}, false},
    {rule_check_redirect, {"/a/*", "https://b*"}, false},
    {rule_check_redirect, {"/a*b", "/c"}, false},
    {rule_check_redirect, {"a", "/b"}, false},
    {rule_check_redirect, {"/a", "b"}, false},
    {rule_check_redirect, {"/a", "javascript:alert(1)"}, false},
    {rule_check_redirect, {"/a", "/b c"}, false},
    {rule_check_redirect, {"/a", "/b\r\nX: y"}, false},
    {rule_check_alias, {"/a/", "/srv"}, true},
    {rule_check_alias, {"/a", "/srv"}, false},
    {rule_check_alias, {"/", "/srv"}, false},
    {rule_check_alias, {"//", "/srv"}, false},
    {rule_check_alias, {"a/", "/srv"}, false},
    {rule_check_alias, {"/a/../", "/srv"}, false},
    {rule_check_error_page, {"404", "/404.html"}, true},
    {rule_check_error_page, {"403", "404", "/a/b.html"}, true},
    {rule_check_error_page, {"200", "/a"}, false},
    {rule_check_error_page, {"4o4", "/a"}, false},
    {rule_check_error_page, {"404", "a"}, false},
    {rule_check_error_page, {"404", "/a/"}, false},
    {rule_check_error_page, {"404", "/../a"}, false},
};

static void test_rows(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t count = 0;

		while (rows[i].words[count] != NULL)
			count++;
		CHECK((rows[i].check(rows[i].words, count) == NULL) == rows[i].good, "%s %s",
		    rows[i].words[0], rows[i].words[1]);
	}
}

/* ---- redirects ---- */

#define ROW(...) ((char **)(const char *[]){__VA_ARGS__, NULL})

static const struct {
	const char *path;
	bool folder;
	const char *query;
	int status;
	const char *target;
} redirects[] = {
    {"old", false, "", 302, "/new"},
    {"old", false, "a=b", 302, "/new?a=b"},
    {"old", true, "", 0, NULL},
    {"old/x", false, "", 0, NULL},
    {"folder", true, "", 301, "/elsewhere/"},
    {"folder", false, "", 0, NULL},
    {"", true, "", 307, "/start"},
    {"tree/a b/c", false, "", 308, "https://example.org/x/a%20b/c"},
    {"tree/a", true, "q", 308, "https://example.org/x/a/?q"},
    {"tree", true, "", 308, "https://example.org/x/"},
    {"tree", false, "", 0, NULL},
    {"query", false, "mine", 302, "/q?theirs"},
    {"pre-anything/at/all", false, "", 302, "/plain"},
    {"r\"<\303\244", false, "", 0, NULL},
    {"tree/\"<\303\244", false, "", 308, "https://example.org/x/%22%3C%C3%A4"},
};

static void test_redirects(void)
{
	char **const table[] = {ROW("/old", "/new"), ROW("/folder/", "/elsewhere/", "301"),
	    ROW("/", "/start", "307"), ROW("/tree/*", "https://example.org/x/*", "308"),
	    ROW("/query", "/q?theirs"), ROW("/pre-*", "/plain"), NULL};
	char target[200], small[20];
	size_t length;

	for (size_t i = 0; i < sizeof(redirects) / sizeof(*redirects); i++) {
		int status =
		    rule_redirect(table, redirects[i].path, redirects[i].folder, redirects[i].query,
			strlen(redirects[i].query), target, sizeof(target), &length);

		CHECK(status == redirects[i].status, "%s: %d", redirects[i].path, status);
		if (status > 0 && redirects[i].target != NULL)
			CHECK(length == strlen(redirects[i].target) &&
				memcmp(target, redirects[i].target, length) == 0,
			    "%s: %.*s", redirects[i].path, (int)length, target);
	}
	CHECK(rule_redirect(table, "tree/abc", false, "", 0, small, sizeof(small), &length) == 414,
	    "no room");
	CHECK(rule_redirect(table, "old", false, "0123456789abcdef", 16, small, sizeof(small),
		  &length) == 414,
	    "no room for the query");
	CHECK(rule_redirect(NULL, "old", false, "", 0, small, sizeof(small), &length) == 0, "none");
}

/* ---- the rest ---- */

static void test_aliases(void)
{
	char **const table[] = {ROW("/a/", "/1"), ROW("/a/b/", "/2"), ROW("/c/", "/3"), NULL};
	const char *rest = "unchanged";

	CHECK(rule_alias(table, "a/x", false, &rest) == 0 && strcmp(rest, "x") == 0, "a/x");
	CHECK(rule_alias(table, "a/b/x/y", false, &rest) == 1 && strcmp(rest, "x/y") == 0, "a/b");
	CHECK(rule_alias(table, "a/bx", false, &rest) == 0 && strcmp(rest, "bx") == 0, "a/bx");
	CHECK(rule_alias(table, "a", true, &rest) == 0 && strcmp(rest, "") == 0, "a/");
	CHECK(rule_alias(table, "a", false, &rest) == 0 && rest == NULL, "a");
	CHECK(rule_alias(table, "a/b", true, &rest) == 1 && strcmp(rest, "") == 0, "a/b/");
	rest = "unchanged";
	CHECK(rule_alias(table, "ab", false, &rest) == -1 && strcmp(rest, "unchanged") == 0, "ab");
	CHECK(rule_alias(table, "", true, &rest) == -1, "the root");
}

static void test_pages(void)
{
	char **const table[] = {ROW("404", "403", "/no.html"), ROW("503", "/busy.html"), NULL};

	CHECK(strcmp(rule_error_page(table, 403), "no.html") == 0, "403");
	CHECK(strcmp(rule_error_page(table, 503), "busy.html") == 0, "503");
	CHECK(rule_error_page(table, 416) == NULL && rule_error_page(NULL, 404) == NULL, "none");
}

static void test_fields(void)
{
	char **const table[] = {ROW("A", "b"), ROW("C", "d e"), NULL};
	char out[64];

	CHECK(rule_fields(table, out, sizeof(out)) == 14 &&
		memcmp(out, "A: b\r\nC: d e\r\n", 14) == 0,
	    "%s", out);
	CHECK(rule_fields(table, out, 10) == 0, "no room");
	CHECK(rule_fields(NULL, out, sizeof(out)) == 0, "none");
}

static const struct {
	const char *name, *text;
} names[] = {
    {"plain.txt", "plain.txt"},
    {"<script>", "&lt;script&gt;"},
    {"a&b\"c'd", "a&amp;b&quot;c&#39;d"},
    {"\303\244\342\202\254\360\237\230\200", "\303\244\342\202\254\360\237\230\200"},
    {"\377", "\357\277\275"},
    {"\303", "\357\277\275"}, /* cut short */
    {"\303(", "\357\277\275("},
    {"\300\257", "\357\277\275\357\277\275"}, /* overlong */
    {"\340\200\257", "\357\277\275\357\277\275\357\277\275"},
    {"\355\240\200", "\357\277\275\357\277\275\357\277\275"}, /* a surrogate */
    {"\364\220\200\200", "\357\277\275\357\277\275\357\277\275\357\277\275"},
    {"a\nb\177", "a\357\277\275b\357\277\275"},
};

static void test_names(void)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char out[64] = "x";
		size_t length = listing_escape(out, sizeof(out), 1, names[i].name);

		CHECK(length == 1 + strlen(names[i].text) && strcmp(out + 1, names[i].text) == 0,
		    "%s: %s", names[i].name, out);
		CHECK(listing_escape(out, strlen(names[i].text), 0, names[i].name) == 0, "no room");
	}
}

int main(void)
{
	test_rows();
	test_redirects();
	test_aliases();
	test_pages();
	test_fields();
	test_names();
	return unit_end();
}
