/*
 * Fuzzes the reader of bodies: whatever comes, it ends where a second reader of the same grammar
 * says that it ends, which takes the whole body at once and knows no limits but those of the
 * header; and the same bytes cut anywhere give the same result. corpus_test replays the corpus. The
 * first two bytes of an input choose how much data there may be, and the kind of body.
 *
 * Sources: worker/body.c worker/octet.c
 */
#include "body.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_body(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "body_fuzz: broken: %s\n", what);
		abort();
	}
}

/* ---- the second reader ---- */

/* Where it stands in the bytes; bad once something is wrong, short once they ran out. */
struct second {
	const uint8_t *bytes;
	size_t length, at;
	bool bad, ended;
	size_t extensions, trailer, fields;
};

static int peek(struct second *second)
{
	if (second->at == second->length)
		second->ended = true;
	return second->ended || second->bad ? -1 : second->bytes[second->at];
}

static void take(struct second *second, int wanted)
{
	int byte = peek(second);

	if (byte >= 0 && byte != wanted)
		second->bad = true;
	else if (byte >= 0)
		second->at++;
}

static bool is_one_of(int byte, const char *set)
{
	return byte > 0 && strchr(set, byte) != NULL;
}

static bool is_letter_or_digit(int byte)
{
	return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
	    (byte >= 'A' && byte <= 'Z');
}

static bool is_tchar(int byte)
{
	return is_letter_or_digit(byte) || is_one_of(byte, "!#$%&'*+-.^_`|~");
}

static bool is_text(int byte)
{
	return byte == '\t' || (byte >= ' ' && byte != 0x7f);
}

static void skip_spaces(struct second *second)
{
	while (is_one_of(peek(second), " \t"))
		second->at++;
}

static void take_token(struct second *second)
{
	if (peek(second) >= 0 && !is_tchar(peek(second)))
		second->bad = true;
	while (is_tchar(peek(second)))
		second->at++;
}

static void take_quoted(struct second *second)
{
	take(second, '"');
	while (is_text(peek(second)) && peek(second) != '"') {
		if (peek(second) == '\\') {
			second->at++;
			if (peek(second) >= 0 && !is_text(peek(second)))
				second->bad = true;
		}
		if (peek(second) >= 0)
			second->at++;
	}
	take(second, '"');
}

/* What follows a size up to its CR. */
static void take_extensions(struct second *second)
{
	size_t from = second->at;

	while (peek(second) >= 0 && peek(second) != '\r') {
		skip_spaces(second);
		take(second, ';');
		skip_spaces(second);
		take_token(second);
		size_t name_end = second->at;
		skip_spaces(second);
		if (peek(second) == '=') {
			second->at++;
			skip_spaces(second);
			if (peek(second) == '"')
				take_quoted(second);
			else
				take_token(second);
		} else if (peek(second) >= 0) {
			/* The white space is of the next extension, if there is one. */
			second->at = name_end;
		}
	}
	second->extensions += second->at - from;
}

static void take_trailers(struct second *second)
{
	size_t from = second->at;

	while (peek(second) >= 0 && peek(second) != '\r') {
		take_token(second);
		take(second, ':');
		while (is_text(peek(second)))
			second->at++;
		take(second, '\r');
		take(second, '\n');
		second->fields++;
	}
	take(second, '\r');
	take(second, '\n');
	second->trailer = second->at - from;
}

/* Reads a whole chunked body. Returns false if it is malformed, not there to its end, or too large.
 */
static bool read_second(struct second *second, uint64_t max)
{
	uint64_t sum = 0, chunk;

	do {
		size_t digits = 0;

		chunk = 0;
		while (is_one_of(peek(second), "0123456789abcdefABCDEF")) {
			char digit[2] = {(char)peek(second), 0};

			chunk = chunk * 16 + strtoull(digit, NULL, 16);
			second->at++;
			if (++digits > BODY_DIGITS_MAX)
				return false;
		}
		if (digits == 0 || chunk > INT64_MAX || chunk > max - sum)
			return false;
		sum += chunk;
		take_extensions(second);
		take(second, '\r');
		take(second, '\n');
		if (second->bad || second->ended)
			return false;
		if (chunk > second->length - second->at)
			return false;
		second->at += (size_t)chunk;
		if (chunk > 0) {
			take(second, '\r');
			take(second, '\n');
		}
	} while (chunk > 0 && !second->bad && !second->ended);
	take_trailers(second);
	return !second->bad && !second->ended && second->trailer <= BODY_TRAILER_MAX &&
	    second->fields <= BODY_TRAILER_FIELDS_MAX;
}

/* ---- the first ---- */

static void begin(struct body *body, uint64_t max, bool chunked)
{
	if (chunked)
		body_init_chunked(body, max);
	else
		body_init_length(body, max);
}

/* Reads from memory that ends with the bytes, so that reading on is seen. */
static enum body_result read_exactly(
    struct body *body, const uint8_t *data, size_t length, size_t *used)
{
	char *bytes = malloc(length ? length : 1);
	enum body_result result;

	if (!bytes)
		abort();
	if (length)
		memcpy(bytes, data, length);
	result = body_read(body, bytes, length, used);
	free(bytes);
	require_body(*used <= length, "no more used than there was");
	require_body(result != BODY_MORE || *used == length, "all used when there must be more");
	return result;
}

/* The same in pieces, whose lengths the bytes themselves choose, or a byte at a time. */
static void check_body_in_pieces(const uint8_t *data, size_t size, uint64_t max, bool chunked,
    bool single, enum body_result expected, const struct body *whole, size_t whole_used)
{
	enum body_result result = BODY_MORE;
	struct body body;
	size_t at = 0, used;

	begin(&body, max, chunked);
	result = body_read(&body, "", 0, &used);
	while (result == BODY_MORE && at < size) {
		size_t piece = single ? 1 : 1 + (data[at] * 7u + at) % 61;

		if (piece > size - at)
			piece = size - at;
		result = read_exactly(&body, data + at, piece, &used);
		at += used;
	}
	require_body(result == expected, "the same result in pieces");
	require_body(at == whole_used, "the same end in pieces");
	require_body(result != BODY_BAD || body.status == whole->status, "the same status");
	if (result != BODY_MORE)
		require_body(
		    body_read(&body, "0", 1, &used) == result && used == 0, "the same again");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum body_result result;
	struct body body;
	uint64_t max;
	bool chunked;
	size_t used;

	if (size < 2)
		return 0;
	chunked = data[0] & 1;
	/* Up to 127, up to 32 KiB, or no limit. */
	max = data[0] & 2 ? data[0] >> 1 : (uint64_t)(data[0] >> 1) << 8 | data[1];
	if (data[0] & 4)
		max = UINT64_MAX;
	data += 2;
	size -= 2;

	begin(&body, max, chunked);
	result = read_exactly(&body, data, size, &used);
	if (result == BODY_BAD)
		require_body(
		    body.status == 400 || body.status == 413 || body.status == 431, "a status");
	else
		require_body(body.status == 0, "no status");
	if (chunked) {
		struct second second = {.bytes = data, .length = size};
		bool good = read_second(&second, max) && second.extensions <= BODY_EXTENSIONS_MAX;

		require_body(good == (result == BODY_DONE), "both readers agree about it");
		require_body(!good || second.at == used, "and about where it ends");
	} else {
		require_body(result != BODY_BAD, "a length is never wrong");
		require_body((result == BODY_DONE) == (max <= size), "there or not");
		require_body(result != BODY_DONE || used == max, "where it ends");
	}
	check_body_in_pieces(data, size, max, chunked, false, result, &body, used);
	if (size <= 512)
		check_body_in_pieces(data, size, max, chunked, true, result, &body, used);
	return 0;
}
