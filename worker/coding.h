/*
 * Content codings: what Accept-Encoding (RFC 9110, 12.5.3) lets an answer be compressed with. Pure.
 */
#ifndef LASTCALL_CODING_H
#define LASTCALL_CODING_H

#include <stddef.h>

/* Those of which siblings are looked for, the better ones first. */
enum coding { CODING_BR, CODING_ZSTD, CODING_GZIP, CODING_NONE };
#define CODINGS ((int)CODING_NONE)

/* "br" as a field says it, ".br" as a file's name ends, "br" as it is in an entity tag. */
struct coding_names {
	const char *field, *suffix, *tag;
};
extern const struct coding_names coding_names[CODING_NONE + 1];

/* What the fields of a request say: thousandths for each coding, -1: nothing. */
struct coding_wishes {
	int quality[CODING_NONE + 1]; /* that of CODING_NONE is of "identity" */
	int any; /* of "*" */
};

void coding_init(struct coding_wishes *wishes);

/* Reads the value of one field. A weight that is malformed is read as 0. */
void coding_read(struct coding_wishes *wishes, const char *text, size_t length);

/*
 * The codings that may be sent, the one to be preferred first, without those that are wanted less
 * than none at all. Returns how many.
 */
int coding_order(const struct coding_wishes *wishes, enum coding order[CODING_NONE]);

#endif
