/*
 * Copies of larger files that are asked for often, each in a file of memory that only this process
 * has. sendfile(2) queues the pages of a file and not their bytes, so a file that is rewritten in
 * place would change what was sent already; nobody rewrites these.
 *
 * A file all of which is asked for a second time gets a copy, which those who send it fill on their
 * way: each says what it has read, and who is ahead of what is there adds to it. When all of it is
 * there, it is sent from the copy. A copy is of one state of the file, which its identity tells:
 * another state is another file.
 *
 * The copies of a root take so many bytes at most, and there are COPIES_MAX of them (and of all
 * roots of a process HANDOVER_COPIES_MAX). Room is made at the cost of those that nobody sends and
 * nobody has asked for lately.
 */
#ifndef LASTCALL_COPIES_H
#define LASTCALL_COPIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "identity.h"

#define COPIES_MAX 8

struct copies;

struct copy {
	struct copies *copies;
	int fd; /* -1: it was asked for once, and is only remembered */
	bool gone; /* not to be found any more; the last holder ends it */
	bool asked; /* for, since the hand last passed */
	uint32_t holders;
	uint64_t length; /* of what is there, from the beginning */
	/* Of size 0: this place is vacant, for such a file needs no copy. */
	struct identity identity;
};

struct copies {
	uint64_t most, taken; /* bytes; those of a copy are taken from its start */
	unsigned hand; /* the place that is looked at next when room is needed */
	struct copy places[COPIES_MAX];
};

void copies_open(struct copies *copies, uint64_t most);

/* Nobody may hold any. */
void copies_close(struct copies *copies);

/*
 * Somebody is about to send a file that is at rest: all of it, or a part. Returns its copy, held,
 * or NULL if it has none: all of it was not asked for before, there is no room, or no descriptor.
 */
struct copy *copy_hold(struct copies *copies, const struct identity *identity, bool all);

/* To give back none is allowed. */
void copy_give(struct copy *copy);

bool copy_is_whole(const struct copy *copy);

/* Bytes of the file, which was in that state after they were read. Adds those that continue what is
 * there. */
void copy_add(struct copy *copy, const char *bytes, size_t length, uint64_t at);

#endif
