/*
 * Headers of the PROXY protocol: what each says, byte by byte and at once, and what is none.
 */
#include <stdlib.h>

#include "proxy_header.h"
#include "unit.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define INET "\xc0\0\2\1\xc6\x33\x64\1\xdc\4\1\xbb"
#define SIX "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
#define ZEROS "\0\0\0\0\0\0\0\0\0\0\0\0"
#define PATH ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS
#define BYTES(text) text, sizeof(text) - 1

struct row {
	const char *bytes;
	size_t length; /* of the header; behind it comes what is the client's */
	const char *client; /* "" that of the connection, NULL: it is none */
};

static const struct row rows[] = {
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"), "192.0.2.1:56324"},
    {BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255:65535"},
    {BYTES("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), "0.0.0.0:0"},
    {BYTES("PROXY TCP6 2001:db8::1 ::1 1 2\r\n"), "[2001:db8::1]:1"},
    {BYTES("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	   "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
	"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
    {BYTES("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), "192.0.2.1:1"},
    {BYTES("PROXY UNKNOWN\r\n"), ""},
    {BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	   "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
	""},
    {BYTES("PROXY UNKNOWN what\r ever\nit is\0\r\n"), ""},
    {BYTES("PROXY UNKNOWNS\r\n"), NULL},
    {BYTES("PROXY \r\n"), NULL},
    {BYTES("PROXY\r\n"), NULL},
    {BYTES("PROXY TCP4\r\n"), NULL},
    {BYTES("PROXY TCP4 \r\n"), NULL},
    {BYTES("PROXY  TCP4 192.0.2.1 198.51.100.1 1 2\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1  198.51.100.1 1 2\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 1 2 \r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 65536 1\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 100000 1\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 01 1\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 -1 1\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 +1 1\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 0x1 1\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.01 198.51.100.1 1 2\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1\0 198.51.100.1 1 2\r\n"), NULL},
    {BYTES("PROXY TCP4 2001:db8::1 ::1 1 2\r\n"), NULL},
    {BYTES("PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n"), NULL},
    {BYTES("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1 ::1 1 2\r\n"), NULL},
    {BYTES("PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n"), NULL},
    {BYTES("PROXY tcp4 192.0.2.1 198.51.100.1 1 2\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n"), NULL},
    {BYTES("PROXY TCP4\t192.0.2.1 198.51.100.1 1 2\r\n"), NULL},
    {BYTES("proxy TCP4 192.0.2.1 198.51.100.1 1 2\r\n"), NULL},
    {BYTES("GET / HTTP/1.1\r\n"), NULL},
    {BYTES("\x16\x03\x01"), NULL},
    {BYTES("\r\n\r\n\r\n"), NULL},

    {BYTES(SIGNATURE "\x20\0\0\0"), ""},
    {BYTES(SIGNATURE "\x20\xff\0\3abc"), ""},
    {BYTES(SIGNATURE "\x20\x11\0\x0c" INET), ""},
    {BYTES(SIGNATURE "\x21\0\0\0"), ""},
    {BYTES(SIGNATURE "\x21\0\0\3abc"), ""},
    {BYTES(SIGNATURE "\x21\1\0\0"), ""},
    {BYTES(SIGNATURE "\x21\x11\0\x0c" INET), "192.0.2.1:56324"},
    {BYTES(SIGNATURE "\x21\x11\0\x13" INET "\2\0\4a.bc"), "192.0.2.1:56324"},
    {BYTES(SIGNATURE "\x21\x12\0\x0c" INET), ""},
    {BYTES(SIGNATURE "\x21\x10\0\x0c" INET), ""},
    {BYTES(SIGNATURE "\x21\x21\0\x24" SIX SIX "\xdc\4\1\xbb"), "[2001:db8::1]:56324"},
    {BYTES(SIGNATURE "\x21\x31\0\xd8" PATH PATH), "unix:"},
    {BYTES(SIGNATURE "\x21\x11\0\x0b" INET), NULL},
    {BYTES(SIGNATURE "\x21\x11\0\0"), NULL},
    {BYTES(SIGNATURE "\x21\x21\0\x23"), NULL},
    {BYTES(SIGNATURE "\x21\x31\0\xd7"), NULL},
    {BYTES(SIGNATURE "\x11\x11\0\x0c" INET), NULL},
    {BYTES(SIGNATURE "\x31\x11\0\x0c" INET), NULL},
    {BYTES(SIGNATURE "\x22\x11\0\x0c" INET), NULL},
    {BYTES(SIGNATURE "\x2f\x11\0\x0c" INET), NULL},
    {BYTES(SIGNATURE "\x21\x41\0\x0c" INET), NULL},
    {BYTES(SIGNATURE "\x21\x13\0\x0c" INET), NULL},
    {BYTES("\r\n\r\n\0\r\nQUIT\r"), NULL},
};

/* Feeds it in pieces of that size. */
static enum proxy_result feed(
    struct proxy_header *header, const char *bytes, size_t length, size_t piece, size_t *taken)
{
	enum proxy_result result = PROXY_MORE;

	*header = (struct proxy_header){0};
	for (*taken = 0; *taken < length && result == PROXY_MORE;) {
		size_t n = length - *taken < piece ? length - *taken : piece, used;

		result = proxy_header_feed(header, (const unsigned char *)bytes + *taken, n, &used);
		*taken += used;
	}
	return result;
}

static void check_row(const struct row *row, size_t number, size_t piece)
{
	static const char rest[] = "PROXY and what else is the client's\r\n";
	union address_socket client = {.any.sa_family = AF_UNSPEC};
	char bytes[1024], text[ADDRESS_TEXT] = "";
	struct proxy_header header;
	enum proxy_result result;
	size_t taken;

	memcpy(bytes, row->bytes, row->length);
	memcpy(bytes + row->length, rest, sizeof rest);
	result = feed(&header, bytes, row->length + sizeof rest, piece, &taken);
	if (row->client == NULL) {
		CHECK(result == PROXY_BAD, "row %zu is taken for a header", number);
		return;
	}
	CHECK(result == PROXY_DONE && taken == row->length, "row %zu: %zu bytes", number, taken);
	if (result != PROXY_DONE)
		return;
	if (proxy_header_client(&header, &client))
		address_format(&client,
		    client.any.sa_family == AF_UNIX ? sizeof(sa_family_t) : sizeof client, false,
		    text, sizeof text);
	CHECK(strcmp(text, row->client) == 0, "row %zu: %s", number, text);
	/* Every part of it is only a part. */
	for (size_t length = 0; length < row->length; length++)
		CHECK(feed(&header, bytes, length, length + 1, &taken) == PROXY_MORE &&
			taken == length,
		    "row %zu, %zu bytes", number, length);
}

/* A line may have 107 bytes and not one more. */
static void test_longest_line(void)
{
	char line[PROXY_V1_MAX + 1] = "PROXY UNKNOWN ";
	struct proxy_header header;
	size_t taken;

	memset(line + 14, 'x', sizeof line - 14);
	memcpy(line + PROXY_V1_MAX - 2, "\r\n", 2);
	CHECK(feed(&header, line, PROXY_V1_MAX, 7, &taken) == PROXY_DONE, "107 bytes");
	memcpy(line + PROXY_V1_MAX - 2, "x\r\n", 3);
	CHECK(feed(&header, line, PROXY_V1_MAX + 1, 7, &taken) == PROXY_BAD, "108 bytes");
	CHECK(taken == PROXY_V1_MAX, "%zu", taken);
}

/* Extensions are skipped, up to what a length can say. */
static void test_longest_extensions(void)
{
	static char bytes[PROXY_V2_HEAD + 65535 + 1] = SIGNATURE "\x21\x11\xff\xff" INET;
	union address_socket client;
	struct proxy_header header;
	size_t taken;

	for (size_t piece = 1; piece <= sizeof bytes; piece = piece * 3 + 1) {
		CHECK(feed(&header, bytes, sizeof bytes, piece, &taken) == PROXY_DONE, "done");
		CHECK(taken == sizeof bytes - 1, "%zu", taken);
		CHECK(proxy_header_client(&header, &client) && address_port(&client) == 56324,
		    "in pieces of %zu", piece);
	}
	CHECK(feed(&header, bytes, sizeof bytes - 2, 4096, &taken) == PROXY_MORE, "one byte less");
}

int main(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t piece = 1; piece <= 9; piece++)
			check_row(&rows[i], i, piece);
		check_row(&rows[i], i, 1024);
	}
	test_longest_line();
	test_longest_extensions();
	return unit_end();
}
