/* Words of the control protocol, read and written; see control_line.h. */
#include "control_line.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DAY INT64_C(86400000)
#define FIELD(name) offsetof(struct line_options, name)

/* clang-format off */
#define FOLDER {"folder", DIRECTIVE_STRING, FIELD(folder), 0, 0, NULL, NULL, NULL}
#define END {NULL, DIRECTIVE_FLAG, 0, 0, 0, NULL, NULL, NULL}
/* clang-format on */

const struct directive line_open_options[] = {FOLDER, END};
const struct directive line_lease_options[] = {
    FOLDER,
    {"ttl", DIRECTIVE_DURATION, FIELD(ttl), 1, 365 * DAY, NULL, NULL, NULL},
    {"heartbeat", DIRECTIVE_DURATION, FIELD(heartbeat), 100, DAY, NULL, NULL, NULL},
    END,
};
const struct directive line_close_options[] = {
    {"grace", DIRECTIVE_DURATION, FIELD(grace), 0, DAY, NULL, NULL, NULL},
    END,
};
const struct directive line_stop_options[] = {
    {"now", DIRECTIVE_FLAG, FIELD(now), 0, 0, NULL, NULL, NULL},
    END,
};

/* ---- reading ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static int digit_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0'
	    : c >= 'a' && c <= 'f'  ? c - 'a' + 10
	    : c >= 'A' && c <= 'F'  ? c - 'A' + 10
				    : -1;
}

/* Reads what follows a backslash. Returns how many bytes that is, or 0: no escape. */
static size_t unescape(const char *text, const char *end, char *out)
{
	static const char letters[] = "\"\\nt", means[] = "\"\\\n\t";
	const char *letter = text < end ? memchr(letters, *text, sizeof letters - 1) : NULL;
	int high, low;

	if (letter != NULL) {
		*out = means[letter - letters];
		return 1;
	}
	if (end - text < 3 || *text != 'x')
		return 0;
	high = digit_of(text[1]);
	low = digit_of(text[2]);
	if (high < 0 || low < 0 || high + low == 0)
		return 0;
	*out = (char)(high << 4 | low);
	return 3;
}

/*
 * Takes the quoted word after *text and writes what it means over it, which is never longer. Moves
 * *text behind the closing quote. Returns NULL or what is wrong.
 */
static const char *take_quoted(char **text, const char *end)
{
	char *from = *text + 1, *to = *text;

	while (from < end && *from != '"') {
		char byte = *from++;

		if (byte == '\\') {
			size_t taken = unescape(from, end, &byte);

			if (taken == 0)
				return "unknown escape; in quotes there are \\\" \\\\ \\n \\t "
				       "\\xHH";
			from += taken;
		}
		*to++ = byte;
	}
	if (from == end)
		return "a quote is not closed";
	from++;
	if (from < end && !is_blank(*from))
		return "text right after a quoted word; a space is missing";
	*to = '\0';
	*text = from;
	return NULL;
}

static const char *take_bare(char **text, const char *end)
{
	for (; *text < end && !is_blank(**text); (*text)++)
		if (**text == '"')
			return "a quote in the middle of a word; quote the word as a whole";
	return NULL;
}

int line_split(struct line *line, char *text, size_t length, const char **why)
{
	char *end = text + length;
	const char *wrong = NULL;

	line->count = 0;
	for (;;) {
		while (text < end && is_blank(*text))
			text++;
		if (text == end)
			return 0;
		if (line->count == LINE_WORDS_MAX)
			wrong = "too many words";
		else
			line->words[line->count++] = text;
		if (wrong == NULL)
			wrong = *text == '"' ? take_quoted(&text, end) : take_bare(&text, end);
		if (wrong != NULL) {
			*why = wrong;
			return -1;
		}
		if (text < end)
			*text++ = '\0';
		else
			*text = '\0';
	}
}

/* The length of NAME of a word NAME=…, or 0: it is no option. */
static size_t option_name(const char *word)
{
	size_t length = strspn(word, "abcdefghijklmnopqrstuvwxyz-");

	return word[length] == '=' ? length : 0;
}

static int set_option(struct line_options *options, const struct directive *table, const char *word,
    size_t length, char *why, size_t size)
{
	char name[32];
	const char *value = word + length + 1;
	const struct directive *row;

	snprintf(name, sizeof name, "%.*s", length < sizeof name ? (int)length : 0, word);
	row = directive_find(table, name);
	if (row == NULL) {
		snprintf(why, size, "there is no option %.*s here", length < 80 ? (int)length : 80,
		    word);
		return -1;
	}
	if (row->type == DIRECTIVE_STRING && *value != '/') {
		snprintf(why, size, "%s takes an absolute path", row->name);
		return -1;
	}
	return directive_set(row, options, &value, 1, NULL, why, size);
}

int line_options_read(struct line_options *options, const struct directive *table,
    const struct line *line, size_t *first, char *why, size_t size)
{
	size_t i = 1;

	*options = (struct line_options){.grace = -1};
	for (; i < line->count; i++) {
		size_t length = option_name(line->words[i]);

		if (length == 0)
			break;
		if (set_option(options, table, line->words[i], length, why, size) == -1)
			return -1;
	}
	*first = i;
	return 0;
}

void line_options_release(struct line_options *options)
{
	directive_release(line_lease_options, options);
}

/* ---- writing ---- */

#define ROOM (CONTROL_LINE_MAX - 1) /* the line end has its place */

static bool is_plain(unsigned char byte)
{
	return byte > 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

/* Whether it stands as it is between spaces. */
static bool is_bare(const char *text)
{
	while (is_plain((unsigned char)*text))
		text++;
	return *text == '\0';
}

/* Writes one byte, or four for one that is not plain. Returns how many. */
static size_t put_byte(char *out, unsigned char byte, bool space)
{
	static const char digits[] = "0123456789abcdef";

	if (is_plain(byte) || (space && byte == ' ')) {
		*out = (char)byte;
		return 1;
	}
	out[0] = '\\';
	out[1] = 'x';
	out[2] = digits[byte >> 4];
	out[3] = digits[byte & 15];
	return 4;
}

void line_put_word(struct line_out *out, const char *key, const char *value)
{
	bool bare = is_bare(key) && is_bare(value) && (*key != '\0' || *value != '\0');
	size_t most = 4 * (strlen(key) + strlen(value)) + 3;
	char *at = out->text + out->length;

	/* Measured as if every byte were escaped, but where that alone would not fit. */
	if (bare)
		most = strlen(key) + strlen(value) + 1;
	if (most > ROOM - out->length)
		return;
	if (out->length > 0)
		*at++ = ' ';
	if (!bare)
		*at++ = '"';
	for (; *key != '\0'; key++)
		at += put_byte(at, (unsigned char)*key, true);
	for (; *value != '\0'; value++)
		at += put_byte(at, (unsigned char)*value, true);
	if (!bare)
		*at++ = '"';
	out->length = (size_t)(at - out->text);
}

void line_put_number(struct line_out *out, const char *key, int64_t value)
{
	char text[24];

	/* What a worker scribbled into its numbers is no negative number. */
	snprintf(text, sizeof text, "%lld", value < 0 ? (long long)INT64_MAX : (long long)value);
	line_put_word(out, key, text);
}

void line_put_text(struct line_out *out, const char *text)
{
	if (out->length > 0 && out->length < ROOM)
		out->text[out->length++] = ' ';
	for (; *text != '\0' && out->length + 4 <= ROOM; text++) {
		unsigned char byte = *text == '"' ? '\'' : (unsigned char)*text;

		out->length += put_byte(out->text + out->length, byte, true);
	}
}

void line_put_end(struct line_out *out)
{
	out->text[out->length++] = '\n';
}
