/*
 * What a policy may name: networks that a client comes from, and ranges of ports. Text in, struct
 * out; nothing is looked up.
 *
 *   127.0.0.1, ::1            one address
 *   10.0.0.0/8, fd00::/8      a network; bits beyond its prefix are an error
 *   unix                      every client of a Unix socket
 *   *                         everybody
 *
 *   8080, 20000-20999         ports from 1 to 65535, both ends included
 */
#ifndef LASTCALL_NETWORK_H
#define LASTCALL_NETWORK_H

#include <stdbool.h>

#include "address.h"

struct network {
	int family; /* AF_INET, AF_INET6, AF_UNIX, or AF_UNSPEC: everybody */
	unsigned bits; /* of the prefix */
	unsigned char prefix[16]; /* in network order; the rest is 0 */
};

struct port_range {
	unsigned first, last;
};

/*
 * Reads a network or a range. Returns 0, or -1 with *why set to a constant sentence without the
 * text; *out is then unchanged.
 */
int network_parse(struct network *out, const char *text, const char **why);
int port_range_parse(struct port_range *out, const char *text, const char **why);

/* Whether it has that address. An IPv4-mapped IPv6 address is one of IPv4. */
bool network_has(const struct network *network, const union address_socket *address);

#endif
