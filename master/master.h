/*
 * The master: owns the listening sockets, keeps the workers alive, and closes up.
 *
 *   STARTING ──every seat serves──► SERVING ──TERM, INT, with drain-delay──► DELAYING
 *       │  TERM, INT, or nobody can ever serve │                  drain-delay over │
 *       └──────────────┬───────────────────────┴───────────────────────────────────┘
 *                      ▼
 *                  CLOSING ──every listener released──► DRAINING ──last worker gone──► DONE
 *                      └── grace over, QUIT, second INT ──► CUTTING ──last worker gone──┘
 *
 *   DELAYING  As SERVING, for load balancers to notice: health answers 503, each answer is the last
 *             of its connection, and nothing is opened or reloaded any more. It takes its time,
 *             whatever comes, but for QUIT, a second INT, and workers that cannot start.
 *   CLOSING   The listeners go through closing.h while the workers accept what is queued and
 *             finish what they have.
 *   DRAINING  The ports are free; the workers finish.
 *   CUTTING   The workers were told to end; whoever has not after a second is killed.
 */
#ifndef LASTCALL_MASTER_H
#define LASTCALL_MASTER_H

#include <stdbool.h>

#include "activation.h"
#include "config.h"
#include "notify.h"

struct diagnostics;
struct inheritance;
struct invocation;

struct announce {
	bool lines; /* print the listeners and the ready line to standard output */
	int ready_fd; /* the same lines go here, then it is closed; -1: none */
	int parent; /* a pipe to the process that waits for us to be ready (-d); -1: none */
	struct activation *activation; /* what we were started with; NULL: nothing. Taken over, */
	struct notify *notify; /* and so is this: whom to tell; NULL: nobody */
	int lifeline; /* a pipe whose end of file is a TERM: who holds it has ended; -1: none */
};

/* Where the configuration comes from, for a reload. */
struct source_of_config {
	/* Reads it again and checks it. Returns it, or NULL with every error in d. */
	struct config *(*load)(const void *from, struct diagnostics *d);
	const void *from;
	const struct invocation *invocation; /* how to run the program on disk, for an upgrade */
};

/*
 * Runs the server to its end, and frees the configuration, which is checked; it is changed only
 * where it said `auto`. source may be NULL: there is nothing to read again. Returns the exit
 * status: STATUS_DONE, STATUS_CUT, STATUS_FAILED, or STATUS_USAGE when it could not start for what
 * it was told.
 */
int master_run(
    struct config *config, const struct announce *announce, const struct source_of_config *source);

/*
 * Goes on where the program before this one left a server, to its end, or rehearses that, and does
 * not return. config is the one in force, with the older ones that are still needed behind it.
 * inheritance is closed. Returns as master_run.
 */
int master_resume(
    struct config *config, struct inheritance *inheritance, const struct source_of_config *source);

#endif
