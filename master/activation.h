/*
 * Sockets that this process was started with: those that a service manager listens on for us
 * (socket activation, sd_listen_fds(3)), and those of ours that it kept in its store while no
 * server ran (store.h).
 *
 * A socket that was passed stays the service manager's, whatever becomes of us. So it is kept here
 * for as long as the server runs, and a listener gets a copy of its own: a reload may let it go and
 * a later one take it again. A socket from the store was ours, and a listener takes it over.
 */
#ifndef LASTCALL_ACTIVATION_H
#define LASTCALL_ACTIVATION_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "address.h"

#define ACTIVATION_NAME 256 /* the longest name, with its NUL */
#define ACTIVATION_FIRST 3 /* where the descriptors begin */

struct passed {
	int fd; /* -1: there is none (any more) */
	int number; /* of the descriptor that it was, as in fd:3 */
	char name[ACTIVATION_NAME];
	bool stored; /* it comes from the store */
	const char
	    *fault; /* what it is instead of a socket that a stream listener can have; NULL */
	char text[ADDRESS_TEXT]; /* what it is bound to; without a fault */
};

struct activation {
	struct passed *all;
	size_t count;
};

/*
 * Takes what the environment tells, LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, and unsets them.
 * Every descriptor becomes close-on-exec and non-blocking. Returns 0, or -1 with errno ENOMEM, or
 * EINVAL: they say nonsense, and nothing was taken.
 */
int activation_take(struct activation *activation);

/*
 * The same of these values, any of which may be NULL, with the first descriptor's number. self is
 * compared with pid: what was meant for another process is none of ours.
 */
int activation_read(struct activation *activation, pid_t self, const char *pid, const char *count,
    const char *names, int first);

/* Closes what is left. Any number of times; also in a child, for itself. */
void activation_close(struct activation *activation);

/*
 * The index of the next socket that was passed under that name, beginning with from, or -1. A
 * number that is nobody's name means the descriptor of that number.
 */
int activation_find(const struct activation *activation, const char *name, size_t from);

/*
 * The index of the socket from the store that is for an address that was asked for in these words,
 * or -1. Only for one that can be bound as it is (never ADDRESS_NAME, ADDRESS_FD).
 */
int activation_find_stored(
    const struct activation *activation, const struct address *address, const char *asked);

/*
 * The name in the store for a listener that was asked for in these words and is bound to what text
 * says: at most 255 characters, no colon, so that it can be told from all others, and found again.
 * The name of a Unix socket tells its path's device and inode. Returns out.
 */
const char *activation_stored_name(const char *asked, const char *text, char out[ACTIVATION_NAME]);

/* Whether a name is one of those. */
bool activation_is_stored_name(const char *name);

#endif
