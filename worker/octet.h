/*
 * What each octet may be part of in the text of HTTP/1.1: one table for the parsers of heads and of
 * bodies, so that both mean the same by a name and by a value.
 */
#ifndef LASTCALL_OCTET_H
#define LASTCALL_OCTET_H

#include <stdbool.h>
#include <stdint.h>

enum octet_class {
	TOKEN_BYTE = 1, /* tchar of RFC 9110, 5.6.2 */
	TARGET_BYTE = 2, /* 0x21 to 0x7e, but '#' */
	VALUE_BYTE = 4, /* everything but control characters, so HT is not one */
	HOST_BYTE = 8, /* of a reg-name of RFC 3986, 3.2.2, with '%' */
};

/* The octet_classes of each octet; request_test derives them anew. */
extern const uint8_t octet_classes[256];

static inline bool octet_is(char byte, enum octet_class class)
{
	return octet_classes[(unsigned char)byte] & class;
}

#endif
