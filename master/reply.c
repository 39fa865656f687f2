/* Requests and answers as text; see reply.h. */
#include "reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a request ---- */

static void put(struct request *request, char byte)
{
	/* The last two are for the line's end and the NUL. */
	if (request->length >= sizeof request->line - 2)
		request->too_long = true;
	else
		request->line[request->length++] = byte;
}

static void put_escaped(struct request *request, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			put(request, '\\');
		if (*text == '\n' || *text == '\t')
			put(request, '\\');
		put(request, *text == '\n' ? 'n' : *text == '\t' ? 't' : *text);
	}
}

static bool is_bare(const char *word)
{
	static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789_./:=@%+,*[]-";

	return word[strspn(word, bare)] == '\0';
}

/* One word made of up to three texts. */
static void put_word(
    struct request *request, const char *text, const char *joint, const char *value)
{
	bool quoted = *text == '\0' || !is_bare(text) || !is_bare(value);

	if (request->length > 0)
		put(request, ' ');
	if (quoted)
		put(request, '"');
	put_escaped(request, text);
	put_escaped(request, joint);
	put_escaped(request, value);
	if (quoted)
		put(request, '"');
}

void request_word(struct request *request, const char *word)
{
	put_word(request, word, "", "");
}

void request_option(struct request *request, const char *name, const char *value)
{
	if (value != NULL)
		put_word(request, name, "=", value);
}

int request_end(struct request *request)
{
	if (request->too_long)
		return -1;
	request->line[request->length++] = '\n';
	request->line[request->length] = '\0';
	return 0;
}

/* ---- an answer ---- */

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/*
 * Reads what follows a backslash within quotes; *at is moved behind it. Returns the byte, or -1 for
 * no such escape, and for a NUL, which would end the word.
 */
static int unescape(const char **at)
{
	const char *c = *at;
	int high, low;

	*at = c + 1;
	switch (*c) {
	case '"':
	case '\\':
		return (unsigned char)*c;
	case 'n':
		return '\n';
	case 't':
		return '\t';
	case 'x':
		high = hex(c[1]);
		low = high == -1 ? -1 : hex(c[2]);
		*at = low == -1 ? c : c + 3;
		return low == -1 || high * 16 + low == 0 ? -1 : high * 16 + low;
	default:
		return -1;
	}
}

/* Takes one word from *at, in place. Returns it, or NULL when its quotes are wrong. */
static const char *take_word(char **at)
{
	const char *from = *at;
	char *word = *at, *to = word;
	int byte;

	if (*from != '"') {
		from += strcspn(from, " \t");
		to = word + (from - word);
	} else {
		for (from++; *from != '"'; *to++ = (char)byte) {
			byte = (unsigned char)*from++;
			if (byte == '\\')
				byte = unescape(&from);
			if (byte <= 0)
				return NULL;
		}
		from++;
	}
	if (*from != '\0' && *from != ' ' && *from != '\t')
		return NULL;
	*at = word + (from - word) + (*from != '\0');
	*to = '\0';
	return word;
}

static void bad(struct reply *reply, const char *why)
{
	reply->kind = REPLY_BAD;
	reply->count = 0;
	reply->text = why;
}

static enum reply_kind kind_of(const struct reply *reply)
{
	if (strcmp(reply->words[0], "ok") == 0)
		return REPLY_OK;
	if (strcmp(reply->words[0], "closed") == 0 && reply->count > 1)
		return REPLY_CLOSED;
	return REPLY_LINE;
}

/* `error CODE TEXT`: the text is no list of words, and is shown as it came. */
static void parse_error(struct reply *reply, char *line)
{
	char *code = line + strspn(line, " \t");
	char *text = code + strcspn(code, " \t");

	reply->kind = REPLY_ERROR;
	if (*text != '\0')
		*text++ = '\0';
	reply->words[0] = "error";
	reply->words[1] = code;
	reply->count = 2;
	reply->text = *text != '\0' ? text : code;
}

void reply_parse(struct reply *reply, char *line)
{
	*reply = (struct reply){.text = ""};
	if (strncmp(line, "error", 5) == 0 && (line[5] == ' ' || line[5] == '\0')) {
		parse_error(reply, line + 5);
		return;
	}
	for (;;) {
		line += strspn(line, " \t");
		if (*line == '\0')
			break;
		if (reply->count == REPLY_WORDS_MAX) {
			bad(reply, "it has too many words");
			return;
		}
		reply->words[reply->count] = take_word(&line);
		if (reply->words[reply->count++] == NULL) {
			bad(reply, "its quotes are wrong");
			return;
		}
	}
	if (reply->count == 0)
		bad(reply, "it is empty");
	else
		reply->kind = kind_of(reply);
}

const char *reply_value(const struct reply *reply, const char *name)
{
	size_t length = strlen(name);

	for (size_t i = 1; i < reply->count; i++) {
		if (strncmp(reply->words[i], name, length) == 0 && reply->words[i][length] == '=')
			return reply->words[i] + length + 1;
	}
	return NULL;
}

int reply_receipt(const struct reply *reply, struct receipt *receipt)
{
	struct receipt read = {0};
	const struct {
		const char *name;
		uint64_t *number;
	} fields[] = {
	    {"accepted", &read.accepted},
	    {"answered", &read.answered},
	    {"queued", &read.queued},
	    {"left", &read.left},
	    {"open", &read.open},
	    {"cut", &read.cut},
	    {"programs-done", &read.programs_done},
	    {"programs-failed", &read.programs_failed},
	    {"programs-killed", &read.programs_killed},
	};
	const char *milliseconds = reply_value(reply, "milliseconds");

	if (milliseconds == NULL)
		return -1;
	read.milliseconds = strtoll(milliseconds, NULL, 10);
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		const char *value = reply_value(reply, fields[i].name);

		if (value != NULL)
			*fields[i].number = strtoull(value, NULL, 10);
	}
	*receipt = read;
	return 0;
}

size_t reply_utf8(const unsigned char *text)
{
	size_t length = text[0] < 0x80          ? 1
	    : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
	    : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
	    : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
						: 0;

	for (size_t i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Longer than it had to be, a surrogate, or above the last one. */
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
	    (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
		return 0;
	return length;
}

const char *reply_display(const char *text, char *out, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *at = (const unsigned char *)text;
	size_t n = 0;

	while (*at != '\0') {
		size_t length = reply_utf8(at);
		bool control = *at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] < 0xa0);
		bool plain = length > 0 && !control;

		if (length == 0)
			length = 1;
		if (n + length * (plain ? 1 : 4) >= size)
			break;
		for (; length > 0; length--, at++) {
			if (plain) {
				out[n++] = (char)*at;
				continue;
			}
			out[n++] = '\\';
			out[n++] = 'x';
			out[n++] = digits[*at >> 4];
			out[n++] = digits[*at & 15];
		}
	}
	if (size > 0)
		out[n] = '\0';
	return out;
}
