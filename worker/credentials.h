/*
 * What a client says of itself (RFC 7617), and what is kept of it. Pure.
 */
#ifndef LASTCALL_CREDENTIALS_H
#define LASTCALL_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CREDENTIALS_MAX 512 /* bytes of name and password together */

struct credentials {
	char text[CREDENTIALS_MAX + 1]; /* "name\0password\0" */
	const char *password; /* in text */
	size_t length; /* of both, with the byte between them */
};

/*
 * Reads the value of an Authorization field, "Basic …". Returns false if it is none: another
 * scheme, not base64, no colon, a NUL or another control character, too long.
 */
bool credentials_read(struct credentials *credentials, const char *value, size_t length);

/* A key that nobody knows, and what bytes become under it: SipHash-2-4, 64 bits of it. */
struct sip_key {
	uint64_t k0, k1;
};
uint64_t sip_hash(const struct sip_key *key, const void *bytes, size_t length);

/* Whether two texts are equal, in a time that only depends on the length of the first. */
bool same_secret(const char *known, const char *said);

#endif
