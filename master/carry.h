/*
 * What a master leaves to the program that replaces it: lines of text in memory that outlives the
 * execve, and the descriptors that they name.
 *
 *   worker slot=3 pid=4711 channel=12 …
 *
 * A line is a kind and any number of NAME=VALUE: numbers in decimal, as the unsigned number that
 * has the same bits; bytes and texts in hex. Who reads takes the values by name. One that is not
 * there leaves what is read as it was, so a newer program may have more of them; one that nobody
 * takes is an error, so nothing that the older one knew is lost without a word.
 *
 * The text comes from a program that may not be this one: what is read is checked for its form
 * here, and by whoever reads it for its sense.
 */
#ifndef LASTCALL_CARRY_H
#define LASTCALL_CARRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A member of a struct that is carried as it is. */
struct carry_field {
	const char *name; /* NULL ends a table */
	enum { CARRY_NUMBER, CARRY_TEXT, CARRY_BYTES, CARRY_FD } type;
	size_t offset, size; /* of NUMBER 1, 2, 4 or 8 */
};

#define CARRY_FIELD(type, object, member)                                                          \
	{                                                                                          \
#member, type, offsetof(object, member), sizeof(((object *)NULL)->member)          \
	}
#define CARRY_END                                                                                  \
	{                                                                                          \
		NULL, CARRY_NUMBER, 0, 0                                                           \
	}

/* Frees what may have held a token, and leaves nothing of it in memory that workers are forked
 * from.
 */
void carry_wipe(char *bytes, size_t length);

/* ---- leaving ---- */

struct carry_out {
	char *bytes; /* the text */
	size_t length, room;
	int *fds; /* every descriptor that was named */
	size_t fds_count, fds_room;
	bool failed; /* there was no memory */
};

/* Begins. What is released is wiped first, for tokens are among it, and workers are forked from
 * this memory. */
void carry_open(struct carry_out *out);
void carry_release(struct carry_out *out);

/* Begins a line, and adds to it. */
void carry_line(struct carry_out *out, const char *kind);
void carry_put(struct carry_out *out, const struct carry_field *fields, const void *object);
void carry_put_number(struct carry_out *out, const char *name, uint64_t number);
void carry_put_bytes(struct carry_out *out, const char *name, const void *bytes, size_t length);
void carry_put_fd(struct carry_out *out, const char *name, int fd);

/*
 * Puts the text into memory of its own. Returns a descriptor of it, to be closed, or -1 with errno.
 */
int carry_finish(struct carry_out *out);

/* Has the descriptors that were named, and one more, outlive an execve, or not. Returns 0, or -1
 * with errno. */
int carry_keep(const struct carry_out *out, int more, bool keep);

/* ---- reading ---- */

#define CARRY_VALUES_MAX 64 /* of a line */

struct carry_value {
	const char *name, *text;
	bool taken;
};

struct carry_in {
	char *bytes, *next; /* the text, and what is not read of it */
	size_t length;
	const char *kind; /* of the line */
	struct carry_value values[CARRY_VALUES_MAX];
	size_t count;
	char why[256]; /* what is wrong, once something is; else empty */
};

/* Reads all that fd has, and closes it. Returns 0, or -1 with errno. carry_close wipes it, and
 * keeps why. */
int carry_read(struct carry_in *in, int fd);
void carry_close(struct carry_in *in);

/* Goes to the next line. Returns false at the end, and when something is wrong. */
bool carry_next(struct carry_in *in);

/* Says what is wrong, unless something was before. Returns -1. */
int carry_wrong(struct carry_in *in, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Take values of the line. Where one is malformed, or a descriptor is not open, it is wrong.
 * Return 0 or -1. A descriptor that was taken closes at an execve, as all of ours. */
int carry_get(struct carry_in *in, const struct carry_field *fields, void *object);
int carry_get_fd(struct carry_in *in, const char *name, int *fd);

/* Whether the line has a value of that name; it is not taken by this. */
bool carry_has(const struct carry_in *in, const char *name);

/* One number, which must be there, and at most `most`. */
int carry_get_number(struct carry_in *in, const char *name, uint64_t most, uint64_t *number);

/* Bytes, in memory that is the caller's to free, with a NUL behind them; not there: NULL and 0. */
int carry_get_bytes(struct carry_in *in, const char *name, char **bytes, size_t *length);

#endif
