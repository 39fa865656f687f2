/* Errors as they are shown: the form, the caret, what is cut and escaped, the limit, near words. */
#include <stdlib.h>

#include "diagnostics.h"
#include "unit.h"

#define HOLDS(condition) CHECK(condition, "it does not hold")

#define CUT_LINE                                                                                   \
	"0123456789012345678901234567890123456789012345678901234567890123456789"                   \
	"012345678901234567890123456789012345678901234567890123456789"

struct shown {
	struct position at;
	const char *source, *message, *expected;
};

static const struct shown table[] = {
    {{NULL, 0, 0, 1}, NULL, "-l: x", "lastcall: error: -l: x\n"},
    {{"a.conf", 0, 0, 0}, "text", "is a directory", "a.conf: error: is a directory\n"},
    {{"a.conf", 2, 3, 1}, NULL, "x", "a.conf:2:3: error: x\n"},
    {{"a.conf", 2, 5, 7}, "one;\n    lissten 80;\nlast", "unknown",
	"a.conf:2:5: error: unknown\n    2 |     lissten 80;\n      |     ^~~~~~~\n"},
    {{"a", 1, 2, 3}, "\tabc\r\nx", "tab", "a:1:2: error: tab\n    1 |  abc\n      |  ^~~\n"},
    {{"a", 1, 3, 2}, "\303\244bc", "m", /* escapes are four columns wide, also for the caret */
	"a:1:3: error: m\n    1 | \\xc3\\xa4bc\n      |         ^~\n"},
    {{"a", 1, 1, 2}, "\303\244bc", "m",
	"a:1:1: error: m\n    1 | \\xc3\\xa4bc\n      | ^~~~~~~~\n"},
    {{"a", 1, 4, 1}, "abc", "end", "a:1:4: error: end\n    1 | abc\n      |    ^\n"},
    {{"a", 1, 1, 99}, "abc", "wide", "a:1:1: error: wide\n    1 | abc\n      | ^~~\n"},
    {{"a", 1, 9, 9}, "abc", "far", "a:1:9: error: far\n    1 | abc\n      |    ^\n"},
    {{"a", 9, 1, 1}, "abc", "no such line", "a:9:1: error: no such line\n"},
    {{"a\nb", 1, 1, 1}, NULL, "m\033[1m", "a\\x0ab:1:1: error: m\\x1b[1m\n"},
    {{"a", 1, 121, 20}, CUT_LINE, "cut",
	"a:1:121: error: cut\n"
	"    1 | ...01234567890123456789012345678901234567890123456789\n"
	"      |                                            ^~~~~~~~~~\n"},
    {{"a", 1, 1, 1}, CUT_LINE, "cut",
	"a:1:1: error: cut\n    1 | 01234567890123456789012345678901234567890123456789"
	"0123456789012345678901234567890123456789012345...\n      | ^\n"},
};

static void test_form(void)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		const struct shown *t = &table[i];
		char *text = NULL;
		size_t size = 0;
		struct diagnostics d = {.out = open_memstream(&text, &size)};

		diagnostics_error(&d, &t->at, t->source, t->source != NULL ? strlen(t->source) : 0,
		    "%s", t->message);
		fclose(d.out);
		HOLDS(d.errors == 1);
		CHECK(strcmp(text, t->expected) == 0, "row %zu:\n%s", i, text);
		free(text);
	}
}

static void test_limit(void)
{
	for (int errors = 19; errors < 23; errors++) {
		static const char *const ends[] = {
		    "e\n", "e\n", "... and 1 more error\n", "... and 2 more errors\n"};
		char *text = NULL;
		size_t size = 0;
		int lines = 0;
		struct diagnostics d = {.out = open_memstream(&text, &size)};
		const char *end = ends[errors - 19];

		for (int i = 0; i < errors; i++)
			diagnostics_error(&d, NULL, NULL, 0, "e");
		HOLDS(diagnostics_end(&d) == errors);
		fclose(d.out);
		for (const char *c = text; *c != '\0'; c++)
			lines += *c == '\n';
		CHECK(lines == (errors > 20 ? 21 : errors), "%d errors: %d lines", errors, lines);
		CHECK(strcmp(text + size - strlen(end), end) == 0, "%s", text);
		free(text);
	}
	struct diagnostics silent = {.out = NULL};

	diagnostics_error(&silent, NULL, NULL, 0, "only counted");
	HOLDS(diagnostics_end(&silent) == 1);
}

static void test_nearest(void)
{
	static const char *const names[] = {
	    "listen", "root", "user", "umask", "grace", "max-requests", NULL};
	static const struct {
		const char *word, *nearest;
	} words[] = {
	    {"lissten", "listen"},
	    {"LISTEN", "listen"},
	    {"litsen", "listen"},
	    {"rot", "root"},
	    {"suer", "user"},
	    {"max_request", "max-requests"},
	    {"ro", NULL},
	    {"", NULL},
	    {"lxxxxn", NULL},
	    {"grcae", "grace"},
	    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		const char *near = diagnostics_nearest(words[i].word, names);
		const char *expected = words[i].nearest;

		CHECK(near == NULL ? expected == NULL
				   : expected != NULL && strcmp(near, expected) == 0,
		    "%s: %s", words[i].word, near != NULL ? near : "none");
	}
}

static void test_list(void)
{
	static const char *const names[] = {"a", "b", "c", NULL};
	char text[32];

	CHECK(strcmp(diagnostics_list(names, " or ", text, sizeof(text)), "a, b or c") == 0, "%s",
	    text);
	HOLDS(strcmp(diagnostics_list(names + 1, " or ", text, sizeof(text)), "b or c") == 0);
	HOLDS(strcmp(diagnostics_list(names + 2, " or ", text, sizeof(text)), "c") == 0);
	HOLDS(strcmp(diagnostics_list(names + 3, " or ", text, sizeof(text)), "") == 0);
	CHECK(strcmp(diagnostics_list(names, " or ", text, 6), "a, b ") == 0, "%s", text);
}

int main(void)
{
	test_form();
	test_limit();
	test_nearest();
	test_list();
	return unit_end();
}
