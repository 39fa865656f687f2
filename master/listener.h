/*
 * A listening socket as the master sees it: what it was asked to be, what it became, and how it
 * closes.
 *
 * The master owns the descriptor; each worker gets a copy by the fork. A listener is in `struct
 * listeners` from the time that it is bound until the process ends.
 */
#ifndef LASTCALL_LISTENER_H
#define LASTCALL_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "address.h"
#include "closing.h"
#include "config.h"
#include "handover.h"
#include "scoreboard.h"

#define LISTENERS_OF_A_NAME 8 /* addresses of a name that are bound at most */

struct listener {
	int fd;
	unsigned index; /* of its word on the scoreboard */
	enum listener_kind kind;
	bool ours;
	const struct service_config *service; /* of the configuration, not owned */
	union address_socket bound; /* what the kernel says it is bound to */
	char text[ADDRESS_TEXT]; /* the same as text, "127.0.0.1:41233" */
	dev_t device; /* of a Unix socket's path, so that only our own is unlinked */
	ino_t inode;
	struct closing closing;
	uint64_t holders[SCOREBOARD_SLOTS / 64]; /* which workers have a copy, by slot */
};

struct listeners {
	struct listener *all;
	size_t count;
	struct handover_listener *handover; /* the same for workers, in the same order */
};

/*
 * Binds every address of the configuration. Returns 0, or -1 with an error in d for each that
 * cannot be bound ("cannot listen on *:80: Permission denied", at its place in the file); what was
 * bound stays in listeners and is released by listeners_close.
 */
int listeners_open(struct listeners *listeners, const struct config *config,
    struct scoreboard *scoreboard, struct diagnostics *d);

/* Gives the paths of Unix sockets to a group. */
void listeners_give(struct listeners *listeners, gid_t group);

/* Closes what is left and unlinks the paths that are still ours. */
void listeners_close(struct listeners *listeners);

/* Unlinks the path of a Unix listener if it is still the one that we bound: nobody new finds it. */
void listener_unlink(struct listener *listener);

/* Notes who has a copy. */
void listener_hold(struct listener *listener, unsigned slot, bool holds);
bool listener_held(const struct listener *listener);

/* "http://127.0.0.1:8080/" for a service that has a scheme, else "". Returns out. */
const char *listener_url(const struct listener *listener, char *out, size_t size);

#endif
