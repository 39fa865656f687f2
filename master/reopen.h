/*
 * The log files, opened anew: for whoever has renamed them, and wants the server to let go of the
 * old ones.
 *
 *   IDLE ─asked─► (every file opened, and taken by the master) ─► TELLING ─all answered─► IDLE
 *
 *   TELLING  Each worker that lives, of whatever generation, is sent the files and answers when it
 *            writes to them alone. Who asked is answered when all have, or after REOPEN_WAIT_MS;
 *            a worker that hangs is told for as long as it lives, or until the next reopening.
 *
 * A file that cannot be opened is told; the old one goes on. Standard error and devices are left
 * alone. Workers that are born meanwhile have the new files from the master. What is asked for
 * while one is under way is one more, after it.
 */
#ifndef LASTCALL_REOPEN_H
#define LASTCALL_REOPEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control.h"
#include "listener.h"
#include "log.h"
#include "pool.h"
#include "reload.h"

#define REOPEN_WAIT_MS 5000 /* that whoever asked waits for a worker */

enum reopen_state { REOPEN_IDLE, REOPEN_TELLING };

/* One path, however many have it. */
struct reopen_file {
	char *path; /* owned */
	int fd; /* -1: it could not be opened, or is nothing that can be rotated */
};

struct reopen {
	/* Set by whoever makes it. */
	struct log *log;
	struct reload *reload; /* knows all configurations */
	struct listeners *listeners;
	struct pool *pool;
	struct control *control;

	enum reopen_state state;
	unsigned asked, begun; /* numbers of reopenings */
	int64_t not_before; /* ms: when what was asked for is begun */
	int64_t begun_at; /* ms */
	bool told; /* who asked for the one that was begun was answered */
	struct reopen_file *files; /* of the one that was begun; owned */
	size_t count, room;
	size_t opened, failed; /* of these */
	char lines[4096]; /* what is wrong with those that failed, as far as there is room */
};

/* Asks for one: a client, who is answered. Returns its number. */
unsigned reopen_ask(struct reopen *reopen);

/* The same for a signal. Ten in a second are two: the first, and one after it. */
void reopen_signalled(struct reopen *reopen, int64_t now);

/* Does what is due. Returns when it wants to be called again. Call it after pool_reconcile. */
int64_t reopen_step(struct reopen *reopen, int64_t now);

/* Whether everybody who asked for what was begun was answered. */
bool reopen_is_told(const struct reopen *reopen);

/* Closes what it has open; in a child its copies. */
void reopen_close(struct reopen *reopen);

#endif
