/*
 * Another configuration for a server that runs: read whole, prepared whole, and only then put in
 * force. Whatever goes wrong before that leaves everything as it was.
 *
 *   IDLE ─asked─► (read, check, open, bind) ─► STARTING ─all new workers ready─► (in force) ─► IDLE
 *                        │ wrong                  │ one died, or cannot be started
 *                        └────────────────────────┴─► (undone) ─► IDLE
 *
 *   STARTING  Sockets that are new are bound and do not listen. The workers of the new generation
 *             start, and wait.
 *
 * In force means, in this order and without a wait in between: the new sockets listen, every
 * listener has its new service, the new workers have the seats and the others retire, and what the
 * configuration does not have any more closes by the closing protocol, drained by the new workers.
 *
 * Who asked is told when the workers of before have left the listeners, so that whoever connects
 * then is served by the new ones; but not later than LEAVE_MS.
 *
 * What is asked for while one is under way is one more, after it.
 */
#ifndef LASTCALL_RELOAD_H
#define LASTCALL_RELOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "control.h"
#include "diagnostics.h"
#include "log.h"
#include "notify.h"
#include "pool.h"
#include "ports.h"
#include "privilege.h"
#include "store.h"

enum reload_state { RELOAD_IDLE, RELOAD_STARTING };

/* What a reload comes to that is only a rehearsal: where it would be put in force it is undone. */
struct reload_rehearsal {
	bool over, good;
	bool wrong; /* the configuration is */
	char why[768];
	char *lines; /* owned; may be NULL */
};

struct reload {
	/* Set by whoever makes it. */
	/* Reads the configuration again. NULL with every error in d; a NULL load: there is none. */
	struct config *(*load)(const void *from, struct diagnostics *d);
	const void *from;
	struct config *config; /* the one in force; owned */
	struct log *log; /* those of the server, changed with it */
	struct privilege *privilege;
	struct listeners *listeners;
	struct pool *pool;
	struct ports *ports;
	struct control *control;
	struct reload_rehearsal *rehearsal; /* NULL: it is none */
	struct notify *notify;
	struct store *store;

	enum reload_state state;
	unsigned asked, begun; /* numbers of reloads */
	int64_t not_before; /* ms: when what was asked for is begun */
	int64_t begun_at; /* ms */
	unsigned untold; /* of one that is in force, and whose askers were not told; 0: none */
	int64_t tell_at; /* ms: when they are told, whoever has not left by then */
	struct config *next; /* of STARTING, owned */
	struct privilege next_privilege;
	struct log next_log;
	struct config *older; /* list of those that listeners still need; owned */
	int64_t sweep_at; /* ms: when these are looked at */
};

/* Asks for one: a client, who is answered. Returns its number. */
unsigned reload_ask(struct reload *reload);

/* The same for a signal. Ten in a second are two: the first, and one after it. */
void reload_signalled(struct reload *reload, int64_t now);

/* Whether nothing is under way, and everybody was told. */
bool reload_is_idle(const struct reload *reload);

/* Does what is due. Returns when it wants to be called again; now, when everybody has to look. Call
 * it after pool_reconcile. */
int64_t reload_step(struct reload *reload, int64_t now);

/* The server stops: what is under way is taken back, and what was asked for is not begun. */
void reload_abandon(struct reload *reload, int64_t now);

/* Frees every configuration. The listeners are closed. */
void reload_close(struct reload *reload);

#endif
