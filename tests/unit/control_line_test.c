/*
 * Lines of the control protocol: words read and written, options, and what is no line.
 */
#include <stdlib.h>

#include "control_line.h"
#include "unit.h"

struct split {
	const char *text;
	const char *words; /* joined by "|"; NULL: it is no line, and why is this */
	const char *why;
};

static const struct split splits[] = {
    {"", "", NULL},
    {" \t ", "", NULL},
    {"ping", "ping", NULL},
    {"  open\t127.0.0.1:0  echo ", "open|127.0.0.1:0|echo", NULL},
    {"a;b {c} #d", "a;b|{c}|#d", NULL},
    {"open \"folder=/srv/my site\" :0 http .", "open|folder=/srv/my site|:0|http|.", NULL},
    {"\"\"", "", NULL},
    {"a \"\" b", "a||b", NULL},
    {"\"\\\"\\\\\\n\\t\\x41\\xfF\"", "\"\\\n\tA\xff", NULL},
    {"a\\b", "a\\b", NULL},
    {"\x01\xff", "\x01\xff", NULL},
    {"ping\r", "ping\r", NULL},
    {"\"a", NULL, "a quote is not closed"},
    {"a \"", NULL, "a quote is not closed"},
    {"\"a\"b", NULL, "text right after a quoted word; a space is missing"},
    {"a\"b\"", NULL, "a quote in the middle of a word; quote the word as a whole"},
    {"\"\\q\"", NULL, "unknown escape; in quotes there are \\\" \\\\ \\n \\t \\xHH"},
    {"\"\\x00\"", NULL, "unknown escape; in quotes there are \\\" \\\\ \\n \\t \\xHH"},
    {"\"\\x4\"", NULL, "unknown escape; in quotes there are \\\" \\\\ \\n \\t \\xHH"},
    {"\"\\", NULL, "unknown escape; in quotes there are \\\" \\\\ \\n \\t \\xHH"},
};

static void test_split(void)
{
	for (size_t i = 0; i < sizeof(splits) / sizeof(*splits); i++) {
		const struct split *s = &splits[i];
		size_t length = strlen(s->text);
		char *text = malloc(length + 1), joined[256] = "";
		const char *why = "";
		struct line line;

		if (text == NULL)
			exit(1);
		memcpy(text, s->text, length);
		text[length] = '\n'; /* it need not end with a NUL */
		int result = line_split(&line, text, length, &why);

		for (size_t w = 0; result == 0 && w < line.count; w++) {
			if (w > 0)
				strcat(joined, "|");
			strcat(joined, line.words[w]);
		}
		CHECK(result == (s->words != NULL ? 0 : -1), "%s", s->text);
		CHECK(strcmp(s->words != NULL ? joined : why,
			  s->words != NULL ? s->words : s->why) == 0,
		    "%s: %s %s", s->text, joined, why);
		free(text);
	}
}

static void test_many_words(void)
{
	char text[2 * LINE_WORDS_MAX + 2];
	const char *why = "";
	struct line line;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 2 == 0 ? 'a' : ' ';
	CHECK(line_split(&line, text, 2 * LINE_WORDS_MAX - 1, &why) == 0 &&
		line.count == LINE_WORDS_MAX,
	    "%s", why);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 2 == 0 ? 'a' : ' ';
	CHECK(line_split(&line, text, sizeof(text) - 1, &why) == -1, "one more");
	CHECK(strcmp(why, "too many words") == 0, "%s", why);
}

struct option {
	const struct directive *table;
	const char *text;
	const char *why; /* NULL: it is read */
	const char *folder;
	int64_t ttl, heartbeat, grace;
	bool now;
	size_t first;
};

static const struct option options[] = {
    {line_open_options, "open :0 echo", NULL, NULL, 0, 0, -1, false, 1},
    {line_open_options, "open folder=/a :0 b=c", NULL, "/a", 0, 0, -1, false, 2},
    {line_lease_options, "lease ttl=1d heartbeat=250ms folder=/ :0 e", NULL, "/", 86400000, 250, -1,
	false, 4},
    {line_lease_options, "lease ttl=1s ttl=2s :0 e", NULL, NULL, 2000, 0, -1, false, 3},
    {line_close_options, "close grace=0 :0", NULL, NULL, 0, 0, 0, false, 2},
    {line_stop_options, "stop now=on", NULL, NULL, 0, 0, -1, true, 2},
    {line_open_options, "open unix:/a=b echo", NULL, NULL, 0, 0, -1, false, 1},
    {line_open_options, "open folder=a :0 e", "folder takes an absolute path", NULL, 0, 0, 0, false,
	0},
    {line_open_options, "open folder= :0 e", "folder takes an absolute path", NULL, 0, 0, 0, false,
	0},
    {line_open_options, "open ttl=1s :0 e", "there is no option ttl here", NULL, 0, 0, 0, false, 0},
    {line_close_options, "close grace=5 :0",
	"\"5\" needs a unit: ms, s, m, h or d; grace takes 0 to 1d", NULL, 0, 0, 0, false, 0},
    {line_lease_options, "lease ttl=0 :0 e", "0 is out of range; ttl takes 1ms to 365d", NULL, 0, 0,
	0, false, 0},
    {line_lease_options, "lease heartbeat=99ms :0 e",
	"99ms is out of range; heartbeat takes 100ms to 1d", NULL, 0, 0, 0, false, 0},
    {line_stop_options, "stop now=1", "\"1\" is neither on nor off; now is a switch", NULL, 0, 0, 0,
	false, 0},
};

static void test_options(void)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		const struct option *o = &options[i];
		char text[128], why[DIRECTIVE_WHY] = "";
		struct line_options read;
		struct line line;
		const char *wrong;
		size_t first = 0;

		snprintf(text, sizeof(text), "%s", o->text);
		CHECK(line_split(&line, text, strlen(text), &wrong) == 0, "%s", o->text);
		int result = line_options_read(&read, o->table, &line, &first, why, sizeof(why));

		CHECK(result == (o->why != NULL ? -1 : 0), "%s: %s", o->text, why);
		if (o->why != NULL) {
			CHECK(strcmp(why, o->why) == 0, "%s: %s", o->text, why);
		} else {
			CHECK((read.folder == NULL) == (o->folder == NULL), "%s", o->text);
			CHECK(o->folder == NULL || strcmp(read.folder, o->folder) == 0, "%s",
			    o->text);
			CHECK(read.ttl == o->ttl && read.heartbeat == o->heartbeat &&
				read.grace == o->grace && read.now == o->now && first == o->first,
			    "%s", o->text);
		}
		line_options_release(&read);
	}
}

static void check_line(struct line_out *out, const char *expected)
{
	line_put_end(out);
	CHECK(out->length == strlen(expected) && memcmp(out->text, expected, out->length) == 0,
	    "%.*s", (int)out->length, out->text);
	out->length = 0;
}

static void test_put(void)
{
	struct line_out out = {.length = 0};
	static char big[2 * CONTROL_LINE_MAX];

	line_put_word(&out, "", "ok");
	line_put_word(&out, "", "127.0.0.1:80");
	line_put_number(&out, "open=", -3);
	check_line(&out, "ok 127.0.0.1:80 open=9223372036854775807\n"); /* scribbled */
	line_put_word(&out, "address=", "unix:/srv/my \"site\\\n\xff");
	line_put_word(&out, "", "");
	line_put_word(&out, "url=", "");
	check_line(&out, "\"address=unix:/srv/my \\x22site\\x5c\\x0a\\xff\" \"\" url=\n");
	line_put_word(&out, "", "error");
	line_put_text(&out, "no \"such\\thing\"\t\x80 here");
	check_line(&out, "error no 'such\\x5cthing'\\x09\\x80 here\n");
	line_put_end(&out);
	CHECK(out.length == 1, "an empty line has its end");

	memset(big, 'x', sizeof(big) - 1);
	out.length = 0;
	line_put_word(&out, "", big);
	CHECK(out.length == 0, "a word that does not fit is left out");
	big[CONTROL_LINE_MAX - 2] = '\0';
	line_put_word(&out, "", big);
	line_put_word(&out, "", "x");
	line_put_end(&out);
	CHECK(out.length == CONTROL_LINE_MAX - 1, "%zu", out.length);
	out.length = 0;
	memset(big, '\x01', sizeof(big) - 1);
	line_put_text(&out, big);
	line_put_end(&out);
	CHECK(
	    out.length <= CONTROL_LINE_MAX && out.length > CONTROL_LINE_MAX - 6, "%zu", out.length);
}

int main(void)
{
	test_split();
	test_many_words();
	test_options();
	test_put();
	return unit_end();
}
