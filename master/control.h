/*
 * The control endpoints: where clients ask the master for ports, and what becomes of their
 * connections. What they may say is in PROTOCOL; this is the only file that reads from them.
 *
 *   client:  READING ──a whole request──► (answered at once, or) WAITING ──answered──► READING
 *               │                                                              │
 *               └── end of file and all answered, a fatal error, too slow ─────┴──► CLOSING ──► gone
 *
 *   READING  A request may come. Whoever holds leases may be silent for as long as he likes. WAITING
 * Its answer waits for a close or for the stop; what comes meanwhile is not read. CLOSING  What it
 * was told last is still being written, for SLOW_MS at most.
 *
 * Nothing here blocks, and what a client can make the master keep is bounded.
 */
#ifndef LASTCALL_CONTROL_H
#define LASTCALL_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "log.h"
#include "loop.h"
#include "pool.h"
#include "ports.h"

struct control_client;
struct control_endpoint;

struct control {
	/* Set by whoever makes it. */
	const struct config *config;
	struct log *log;
	struct loop *loop;
	struct ports *ports;
	struct pool *pool;
	const char *(*state)(void *owner); /* of the server, for `status`: "serving" */
	void (*stop)(void *owner, bool now); /* last call, as TERM; with now, as QUIT */
	void *owner;
	int64_t started; /* ms */

	/* control.c's own. */
	struct control_endpoint *endpoints;
	size_t endpoints_count;
	struct control_client *clients; /* list */
	size_t clients_count;
};

/*
 * Opens the endpoints of the configuration. A default one (config_control with soft set) that
 * cannot be had is told to the log, and it goes on without. Returns 0, or -1 with why.
 */
int control_open(struct control *control, char *why, size_t size);

/* Does what is due: deadlines, answers. Returns when it wants to be called again. now in ms. */
int64_t control_step(struct control *control, int64_t now);

/* The stop is over: answers those who asked for it, with the receipt of all ports. Closes their
 * connections and all others, with what they can take of it at once. */
void control_stopped(struct control *control, const struct receipt *receipt);

/* In a child: closes its copies. */
void control_detach(struct control *control);

/* Closes all, and unlinks the paths that are still ours. */
void control_close(struct control *control);

#endif
