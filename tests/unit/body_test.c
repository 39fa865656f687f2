/*
 * The reader of bodies: a table of chunked bodies with what must come of each, whole, cut at every
 * byte, and a byte at a time; and its limits, to the byte.
 */
#include "body.h"
#include "unit.h"

#include <stdbool.h>
#include <stdlib.h>

#define ROOM 100 /* bytes of data that a body in the table may have */

/* expected: "done N" with what is left behind the body, "more", or the status. */
struct sample {
	const char *raw;
	size_t length;
	const char *expected;
};

#define BODY(raw, expected)                                                                        \
	{                                                                                          \
		raw, sizeof(raw) - 1, expected                                                     \
	}
/* One chunk of one byte with that after its size, then the end. */
#define AFTER_SIZE(text, expected) BODY("1" text "\r\nx\r\n0\r\n\r\n", expected)
#define TRAILER(text, expected) BODY("0\r\n" text "\r\n", expected)

static const struct sample samples[] = {
    BODY("0\r\n\r\n", "done 0"),
    BODY("5\r\nhello\r\n0\r\n\r\n", "done 0"),
    BODY("5\r\nhello\r\n0\r\n\r\nGET /", "done 5"),
    BODY("5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n\r\n", "done 2"),
    BODY("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "done 0"),
    BODY("000\r\n\r\n", "done 0"),
    BODY("0000000000000005\r\nhello\r\n0\r\n\r\n", "done 0"),
    /* Data is whatever it is. */
    BODY("6\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", "done 0"),
    BODY("5\r\n0\r\n\r\n\r\n0\r\n\r\n", "done 0"),
    BODY("3\r\n\000\377\n\r\n0\r\n\r\n", "done 0"),
    /* Not all there yet. */
    BODY("", "more"),
    BODY("5", "more"),
    BODY("5\r", "more"),
    BODY("5\r\n", "more"),
    BODY("5\r\nhello", "more"),
    BODY("5\r\nhello\r", "more"),
    BODY("5\r\nhello\r\n", "more"),
    BODY("5\r\nhello\r\n0", "more"),
    BODY("5\r\nhello\r\n0\r\n", "more"),
    BODY("5\r\nhello\r\n0\r\n\r", "more"),
    BODY("0\r\nX: y\r\n", "more"),
    /* Sizes. */
    BODY("\r\n", "400"),
    BODY(" 5\r\nhello\r\n0\r\n\r\n", "400"),
    BODY("g\r\n", "400"),
    BODY("5g\r\n", "400"),
    BODY("0x5\r\nhello\r\n0\r\n\r\n", "400"),
    BODY("+5\r\nhello\r\n0\r\n\r\n", "400"),
    BODY("-1\r\n", "400"),
    BODY("5_0\r\n", "400"),
    BODY("5,0\r\n", "400"),
    BODY("5.0\r\n", "400"),
    BODY("\000\r\n", "400"),
    BODY("5\000\r\n", "400"),
    BODY("\013\r\n", "400"),
    BODY("\xef\xbc\x95\r\n", "400"),
    BODY("64\r\n", "more"),
    BODY("65\r\n", "413"),
    BODY("65;a\r\n", "413"),
    BODY("65 ;a\r\n", "413"),
    BODY("65h\r\n", "400"),
    BODY("65,\r\n", "400"),
    BODY("60\r\n0123456789012345678901234567890123456789012345678901234567890123456789"
	 "01234567890123456789012345\r\n5\r\n",
	"413"),
    BODY("7fffffffffffffff\r\n", "413"),
    BODY("8000000000000000\r\n", "400"),
    BODY("ffffffffffffffff\r\n", "400"),
    BODY("10000000000000000\r\n", "400"),
    BODY("100000000000000005\r\nhello\r\n0\r\n\r\n", "400"),
    BODY("00000000000000005\r\nhello\r\n0\r\n\r\n", "400"),
    BODY("ffffffffffffffffffffffffffffffff0\r\n", "400"),
    /* Ends of lines. */
    BODY("5\nhello\r\n0\r\n\r\n", "400"),
    BODY("5\rhello\r\n0\r\n\r\n", "400"),
    BODY("5\r\r\nhello\r\n0\r\n\r\n", "400"),
    BODY("5\r\nhello\n0\r\n\r\n", "400"),
    BODY("5\r\nhello\r0\r\n\r\n", "400"),
    BODY("5\r\nhello0\r\n\r\n", "400"),
    BODY("5\r\nhello world\r\n0\r\n\r\n", "400"),
    BODY("5\r\nhell\r\n0\r\n\r\n", "400"),
    BODY("5\r\nhello\r\n\r\n0\r\n\r\n", "400"),
    BODY("0\n\n", "400"),
    BODY("0\r\n\n", "400"),
    BODY("0\r\n\rX", "400"),
    BODY("0\r\r\n\r\n", "400"),
    /* Extensions. */
    AFTER_SIZE(";a", "done 0"),
    AFTER_SIZE(";a=b", "done 0"),
    AFTER_SIZE(";a;b;c", "done 0"),
    AFTER_SIZE(";a=\"\"", "done 0"),
    AFTER_SIZE(";a=\"b c;d=\\\"e\\\\\"", "done 0"),
    AFTER_SIZE(";a=\"\t\344\"", "done 0"),
    AFTER_SIZE(" ;a", "done 0"),
    AFTER_SIZE("\t; \ta \t= \tb \t;\tc", "done 0"),
    AFTER_SIZE(" ; a ; b = \"c\" ; d", "done 0"),
    AFTER_SIZE(" ", "400"),
    AFTER_SIZE("\t", "400"),
    AFTER_SIZE(" a", "400"),
    AFTER_SIZE(";", "400"),
    AFTER_SIZE(";a;", "400"),
    AFTER_SIZE(";;a", "400"),
    AFTER_SIZE("; ", "400"),
    AFTER_SIZE(";a ", "400"),
    AFTER_SIZE(";a b", "400"),
    AFTER_SIZE(";a=", "400"),
    AFTER_SIZE(";a= ", "400"),
    AFTER_SIZE(";a=;b", "400"),
    AFTER_SIZE(";a==b", "400"),
    AFTER_SIZE(";=b", "400"),
    AFTER_SIZE(";a=b ", "400"),
    AFTER_SIZE(";a=b c", "400"),
    AFTER_SIZE(";a=b=c", "400"),
    AFTER_SIZE(";a=\"b", "400"),
    AFTER_SIZE(";a=\"b\"c", "400"),
    AFTER_SIZE(";a=\"b\" ", "400"),
    AFTER_SIZE(";a=b\"c\"", "400"),
    AFTER_SIZE(";\"a\"", "400"),
    AFTER_SIZE(";a(b)", "400"),
    AFTER_SIZE(";a\000", "400"),
    AFTER_SIZE(";a=\"\000\"", "400"),
    AFTER_SIZE(";a=\"\177\"", "400"),
    AFTER_SIZE(";a=\"\\\001\"", "400"),
    AFTER_SIZE(";a\n", "400"),
    AFTER_SIZE(";a\nb", "400"),
    AFTER_SIZE(";a=\"\n\"", "400"),
    AFTER_SIZE(";a=\"\r\n\"", "400"),
    AFTER_SIZE(";a=\"\\\r\n\"", "400"),
    AFTER_SIZE(";a\r", "400"),
    BODY("0;last;x=y\r\n\r\n", "done 0"),
    /* Trailers. */
    TRAILER("X: y\r\n", "done 0"),
    TRAILER("X:\r\nY:z\r\nX-Z:\ta b\344\t\r\n", "done 0"),
    TRAILER("Content-Length: 5\r\nTransfer-Encoding: gzip\r\nHost: x\r\n", "done 0"),
    TRAILER("X: y\n", "400"),
    TRAILER("X: y\r", "400"),
    TRAILER("X\r\n", "400"),
    TRAILER(": y\r\n", "400"),
    TRAILER("X : y\r\n", "400"),
    TRAILER(" X: y\r\n", "400"),
    TRAILER("X: y\r\n z\r\n", "400"),
    TRAILER("X: y\r\n\tz\r\n", "400"),
    TRAILER("X: a\000b\r\n", "400"),
    TRAILER("X: a\033b\r\n", "400"),
    TRAILER("X: a\177b\r\n", "400"),
    TRAILER("X\344: y\r\n", "400"),
    TRAILER("X(: y\r\n", "400"),
    TRAILER("GET / HTTP/1.1\r\n", "400"),
};

static void describe(
    const struct body *body, enum body_result result, size_t left, char *out, size_t size)
{
	if (result == BODY_MORE)
		snprintf(out, size, "more");
	else if (result == BODY_BAD)
		snprintf(out, size, "%d", body->status);
	else
		snprintf(out, size, "done %zu", left);
}

/* Reads what is there from a copy of exactly that length, so that a sanitizer sees a byte read
 * past. */
static enum body_result feed(struct body *body, const char *raw, size_t length, size_t *used)
{
	char *bytes = malloc(length ? length : 1);
	enum body_result result;

	if (!bytes)
		abort();
	memcpy(bytes, raw, length);
	result = body_read(body, bytes, length, used);
	CHECK(*used <= length && (result != BODY_MORE || *used == length), "%zu", *used);
	free(bytes);
	return result;
}

/* One cut after `first` bytes, and then one every `piece`; 0: none. */
static void check_cut(const struct sample *sample, size_t first, size_t piece)
{
	enum body_result result = BODY_MORE;
	struct body body;
	size_t at = 0, used;
	char text[32];

	body_init_chunked(&body, ROOM);
	do {
		size_t length = sample->length - at;

		if (at == 0 && first > 0 && first < length)
			length = first;
		else if (piece > 0 && piece < length)
			length = piece;
		result = feed(&body, sample->raw + at, length, &used);
		at += used;
	} while (result == BODY_MORE && at < sample->length);
	describe(&body, result, sample->length - at, text, sizeof(text));
	CHECK(strcmp(text, sample->expected) == 0, "%s\nis %s, not %s, cut at %zu, %zu",
	    sample->raw, text, sample->expected, first, piece);
	if (result != BODY_MORE)
		CHECK(body_read(&body, "0", 1, &used) == result && used == 0, "not the same again");
}

static void test_table(void)
{
	for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++) {
		check_cut(&samples[i], 0, 0);
		check_cut(&samples[i], 0, 1);
		for (size_t at = 1; at < samples[i].length; at++)
			check_cut(&samples[i], at, 0);
	}
}

/* Feeds text so many times. Returns the status, 0 while there must be more, or -1: done. */
static int feed_times(struct body *body, const char *text, int times)
{
	enum body_result result = BODY_MORE;
	size_t used;

	for (int i = 0; i < times && result == BODY_MORE; i++)
		result = feed(body, text, strlen(text), &used);
	return result == BODY_MORE ? 0 : result == BODY_DONE ? -1 : body->status;
}

static int feed_text(struct body *body, const char *text)
{
	return feed_times(body, text, 1);
}

static void test_limits(void)
{
	struct body body;

	/* The data of all chunks together; whatever they are cut into. */
	body_init_chunked(&body, 1000);
	CHECK(feed_times(&body, "1\r\nx\r\n", 1000) == 0, "%d", body.status);
	CHECK(feed_text(&body, "1\r") == 413, "%d", body.status);
	body_init_chunked(&body, 1000);
	CHECK(feed_times(&body, "1\r\nx\r\n", 1000) == 0, "%d", body.status);
	CHECK(feed_text(&body, "0\r\n\r\n") == -1, "%d", body.status);
	body_init_chunked(&body, 0);
	CHECK(feed_text(&body, "0\r\n\r\n") == -1, "%d", body.status);
	body_init_chunked(&body, UINT64_MAX);
	CHECK(feed_text(&body, "7fffffffffffffff\r\n") == 0, "%d", body.status);

	/* Extensions, of one chunk and of several, with the byte that ends each. */
	body_init_chunked(&body, UINT64_MAX);
	CHECK(feed_text(&body, "1;") == 0, "%d", body.status);
	CHECK(feed_times(&body, "e", BODY_EXTENSIONS_MAX) == 0, "%d", body.status);
	CHECK(feed_text(&body, "e") == 413, "%d", body.status);
	body_init_chunked(&body, UINT64_MAX);
	CHECK(feed_times(&body, "1;abc\r\nx\r\n", BODY_EXTENSIONS_MAX / 4) == 0, "%d", body.status);
	CHECK(feed_text(&body, "1\r\nx\r\n1;a") == 413, "%d", body.status);

	/* Trailers, with the empty line. */
	body_init_chunked(&body, 0);
	CHECK(feed_text(&body, "0\r\nX:") == 0, "%d", body.status);
	CHECK(feed_times(&body, "y", BODY_TRAILER_MAX - 6) == 0, "%d", body.status);
	CHECK(feed_text(&body, "\r\n\r\n") == -1, "%d", body.status);
	body_init_chunked(&body, 0);
	CHECK(feed_text(&body, "0\r\nX:") == 0, "%d", body.status);
	CHECK(feed_times(&body, "y", BODY_TRAILER_MAX - 2) == 0, "%d", body.status);
	CHECK(feed_text(&body, "y") == 431, "%d", body.status);
	body_init_chunked(&body, 0);
	CHECK(feed_text(&body, "0\r\n") == 0, "%d", body.status);
	CHECK(feed_times(&body, "X:\r\n", BODY_TRAILER_FIELDS_MAX) == 0, "%d", body.status);
	CHECK(feed_text(&body, "X") == 431, "%d", body.status);
}

static void test_length(void)
{
	struct body body;
	size_t used = 99;

	body_init_length(&body, 0);
	CHECK(feed(&body, "GET", 3, &used) == BODY_DONE && used == 0, "%zu", used);
	body_init_length(&body, 5);
	CHECK(feed(&body, "hel", 3, &used) == BODY_MORE && used == 3, "%zu", used);
	CHECK(feed(&body, "", 0, &used) == BODY_MORE && used == 0, "%zu", used);
	CHECK(feed(&body, "loGET", 5, &used) == BODY_DONE && used == 2, "%zu", used);
	CHECK(feed(&body, "GET", 3, &used) == BODY_DONE && used == 0, "%zu", used);
	body_init_length(&body, INT64_MAX);
	CHECK(feed(&body, "0\r\n\r\n", 5, &used) == BODY_MORE && used == 5, "%zu", used);
}

int main(void)
{
	test_table();
	test_limits();
	test_length();
	return unit_end();
}
