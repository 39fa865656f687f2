/*
 * Fuzzes PROXY headers: nothing behind a header is taken, in whatever pieces it comes it is the
 * same header, and what it says is an address. corpus_test replays the corpus.
 *
 * Sources: worker/proxy_header.c
 */
#include "proxy_header.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_proxy(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "proxy_header_fuzz: broken: %s\n", what);
		abort();
	}
}

/* Feeds it in pieces of that size, each in memory of its own size. *taken is how much was used. */
static enum proxy_result feed_pieces(
    struct proxy_header *header, const uint8_t *data, size_t size, size_t piece, size_t *taken)
{
	enum proxy_result result = PROXY_MORE;

	*taken = 0;
	while (*taken < size && result == PROXY_MORE) {
		size_t length = size - *taken < piece ? size - *taken : piece, used;
		unsigned char *bytes = malloc(length);

		if (!bytes)
			abort();
		memcpy(bytes, data + *taken, length);
		result = proxy_header_feed(header, bytes, length, &used);
		require_proxy(used <= length, "no more is used than there is");
		require_proxy(result != PROXY_MORE || used == length, "all is used before the end");
		require_proxy(result != PROXY_DONE || used > 0, "an end is at a byte");
		*taken += used;
		free(bytes);
	}
	return result;
}

static void check_client(const struct proxy_header *header)
{
	union address_socket client;
	char text[ADDRESS_TEXT];

	memset(&client, 0x55, sizeof client);
	if (!proxy_header_client(header, &client)) {
		require_proxy(((unsigned char *)&client)[0] == 0x55, "unchanged without one");
		return;
	}
	switch (client.any.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &client.in.sin_addr, text, sizeof text);
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &client.in6.sin6_addr, text, sizeof text);
		break;
	default:
		require_proxy(client.any.sa_family == AF_UNIX, "a family that is known");
		require_proxy(client.un.sun_path[0] == '\0', "no path of another machine");
	}
}

/* The end of a line of version 1 is its first CR LF, and what version 2 says is its length. */
static void check_length(const uint8_t *data, size_t taken)
{
	if (data[0] == 'P') {
		require_proxy(taken <= PROXY_V1_MAX, "at most 107 bytes");
		require_proxy(memcmp(data + taken - 2, "\r\n", 2) == 0, "a line ends in CR LF");
		for (size_t i = 0; i + 3 < taken; i++)
			require_proxy(memcmp(data + i, "\r\n", 2) != 0, "and in its first one");
	} else {
		require_proxy(
		    taken == PROXY_V2_HEAD + (size_t)(data[14] << 8 | data[15]), "its length");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header whole = {0}, split = {0};
	size_t taken, taken_split;
	enum proxy_result result = feed_pieces(&whole, data, size, size, &taken);
	enum proxy_result result_split =
	    feed_pieces(&split, data, size, size % 7 + 1, &taken_split);

	require_proxy(result == result_split && taken == taken_split, "the same in pieces");
	require_proxy(result == PROXY_MORE ? taken == size : taken <= size, "what was taken");
	if (result != PROXY_DONE)
		return 0;
	require_proxy(memcmp(&whole, &split, sizeof whole) == 0, "the same header");
	check_length(data, taken);
	check_client(&whole);
	return 0;
}
