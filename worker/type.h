/*
 * The media type of a file, by the extension of its name: a table of ours, and one in the form of
 * /etc/mime.types. Lookups are pure, and what is read is never written again, so that all workers
 * share it.
 */
#ifndef LASTCALL_TYPE_H
#define LASTCALL_TYPE_H

#include <stdbool.h>
#include <stddef.h>

#define TYPES_FILE "/etc/mime.types" /* read where no other is named */
#define TYPE_MAX 127 /* bytes of a type; a longer one is not taken */
#define TYPE_EXTENSION_MAX 31

struct type_row {
	const char *extension, *type; /* in text */
};

struct types {
	char *text;
	struct type_row *rows; /* sorted by extension */
	size_t count;
	bool first; /* looked at before the table of ours, not after it */
	unsigned users; /* of one that was made with malloc and is shared */
};

/*
 * Reads a file of at most 1 MiB. It counts before our table, unless it is TYPES_FILE, which only
 * adds to it and may be missing. Returns 0, or -1 with errno.
 */
int types_load(struct types *types, const char *path);

/*
 * Takes text apart, whose last byte is a line end and which becomes the types' own: a type and its
 * extensions on each line, from "#" on a comment. What is no type or no extension is left out; of
 * an extension that comes twice the last one counts. Returns 0, or -1 with errno ENOMEM (text is
 * then still the caller's).
 */
int types_parse(struct types *types, char *text, size_t length);
void types_free(struct types *types);

/* For types that are allocated and shared: take counts a user and returns types, give frees them
 * with the last one. */
struct types *types_take(struct types *types);
void types_give(struct types *types);

/*
 * The type of a name, which may have folders before it; case does not matter. types may be NULL.
 * Never NULL: what is unknown is application/octet-stream.
 */
const char *type_of(const struct types *types, const char *name);

/* Whether a charset belongs to it. */
bool type_is_text(const char *type);

#endif
