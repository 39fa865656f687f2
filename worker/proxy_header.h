/*
 * The header of the PROXY protocol, versions 1 and 2 (haproxy's doc/proxy-protocol.txt): what a
 * proxy says, ahead of all else, of the client that it speaks for. Bytes in, an address out; pure,
 * and resumable at every byte.
 *
 *   PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n      version 1: a line of at most 107 bytes
 *   \r\n\r\n\0\r\nQUIT\n, version and command, family, length, addresses, extensions    version 2
 *
 * A caller zeroes one, feeds it what comes until it is DONE, and then asks for the client.
 */
#ifndef LASTCALL_PROXY_HEADER_H
#define LASTCALL_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"

#define PROXY_V1_MAX 107 /* of a line, with its CR LF */
#define PROXY_V2_HEAD 16 /* up to the length */
#define PROXY_V2_ADDRESSES 216 /* the most that a family has; what follows is skipped */

enum proxy_result {
	PROXY_MORE,
	PROXY_DONE, /* the next byte is the client's */
	PROXY_BAD, /* no header, or none that may be understood */
};

struct proxy_header {
	uint32_t skip; /* bytes of extensions still to come */
	uint8_t have; /* of bytes */
	unsigned char bytes[PROXY_V2_HEAD + PROXY_V2_ADDRESSES];
};

/*
 * Takes bytes of the header, at most length, and never one that is behind it: *used is how many.
 * All were used when the result is PROXY_MORE; how many is of no interest when it is PROXY_BAD, and
 * nothing may be fed after that or after PROXY_DONE.
 */
enum proxy_result proxy_header_feed(
    struct proxy_header *header, const unsigned char *bytes, size_t length, size_t *used);

/*
 * Of one that is DONE: the client's address. Returns false when it is that of the connection itself
 * (UNKNOWN, LOCAL, no or another family, datagrams); *client is then unchanged. Of a Unix socket
 * only the family is told: its path, if it has one, is another machine's.
 */
bool proxy_header_client(const struct proxy_header *header, union address_socket *client);

#endif
