/*
 * The Range field (RFC 9110, 14.2): text in, parts of a file out. Pure.
 *
 * A client may ask for many parts, and the same bytes again and again; what it can cost is bounded
 * here. Parts that overlap or touch become one, so no byte is sent twice, and a field with more
 * than RANGES_MAX parts is ignored, as the RFC permits.
 */
#ifndef LASTCALL_RANGE_H
#define LASTCALL_RANGE_H

#include <stddef.h>
#include <stdint.h>

#define RANGES_MAX 16

struct range {
	uint64_t first, length; /* bytes; length is never 0 */
};

enum { RANGE_IGNORED = 0, RANGE_NOT_SATISFIABLE = -1 };

/*
 * Reads the value of the field for a file of size bytes. Returns how many parts there are, in the
 * order in which they were asked for; RANGE_IGNORED: the field does not count (another unit,
 * malformed, too many parts, an empty file), and the whole file is the answer; or
 * RANGE_NOT_SATISFIABLE: all parts are beyond the end, which is a 416.
 */
int range_parse(const char *text, size_t length, uint64_t size, struct range ranges[RANGES_MAX]);

#endif
