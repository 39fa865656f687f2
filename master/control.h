/*
 * The control endpoints: where clients ask the master for ports, and what becomes of their
 * connections. What they may say is in PROTOCOL.
 *
 *   client:  READING ─a request─► WAITING, REPORTING, or answered at once ─answered─► READING
 *               └─ end of file and all answered, a fatal error, too slow ─► CLOSING ─► gone
 *
 *   READING    A request may come. Whoever holds leases may be silent for as long as he likes.
 *   WAITING    Its answer waits for a close, a reload, the logs or the stop; what comes meanwhile
 * is kept, up to a line's length, and not looked at. REPORTING  `status` is being told, piece by
 * piece as there is room for it. CLOSING    What it was told last is still being written and what
 * it sent read away, for CONTROL_SLOW_MS at most.
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
struct wheel;

#define CONTROL_ENDPOINTS_MAX (2 * CONFIG_CONTROLS_MAX + 2)

/* What a reload came to. */
struct control_reload {
	bool done;
	bool wrong; /* the configuration is; else it could not be applied */
	const char *lines; /* what is wrong, as a compiler says it, each with its end; or "" */
	const char *why; /* in one sentence */
	unsigned generation; /* that serves from now on */
};

/* What a reopening of the logs came to. */
struct control_reopen {
	size_t files; /* opened anew */
	const char *lines; /* what could not be, each with its line end; or "" */
	const char *why; /* "": all is done; else in one sentence */
};

struct control {
	/* Set by whoever makes it. */
	const struct config *config;
	struct log *log;
	struct loop *loop;
	struct ports *ports;
	struct pool *pool;
	const char *(*state)(void *owner); /* of the server, for `status`: "serving" */
	void (*stop)(void *owner, bool now); /* last call, as TERM; with now, as QUIT */
	unsigned (*reload)(void *owner); /* as HUP; returns the number of that reload */
	bool (*upgrade)(void *owner); /* as USR2; false: it cannot be */
	unsigned (*reopen)(void *owner); /* as USR1; returns the number of that reopening */
	void *owner;
	int64_t started; /* ms */

	/* control.c's own. */
	struct control_endpoint *endpoints; /* CONTROL_ENDPOINTS_MAX */
	int endpoints_made;
	const struct config *next; /* that is being applied, or NULL */
	struct control_client *clients; /* list */
	size_t clients_count;
	struct control_client *busy, **busy_end; /* those with something to do */
	struct wheel *wheel; /* their deadlines */
	struct control_config *fallback; /* the default endpoint, where the configuration has or
					  * had none */
	bool acted; /* a port was opened or closed: the ports have to be looked at */
	uint64_t refused; /* requests, by token and policy */
	int64_t complained_at; /* ms: when the log was told of one */
	uint64_t complaints; /* that it was not told of since */
};

/*
 * Opens the endpoints of the configuration, or the default one where it has none. A default one, or
 * one that is soft, that cannot be had is told to the log, and it goes on without. Returns 0, or -1
 * with why; control_close is due in both cases.
 */
int control_open(struct control *control, char *why, size_t size);

/* The memory alone, for endpoints and clients that are made again as they were. Returns 0, or -1
 * with errno. control_begin has the loop watch these; returns 0, or -1 with errno. */
int control_make(struct control *control);
int control_begin(struct control *control);

/* The rules of the default endpoint, or NULL: there is no place for one. */
const struct control_config *control_default(struct control *control);

/*
 * Does what is due: requests, answers, deadlines. Returns when it wants to be called again; now,
 * when ports_step is due too. now in ms. Call it after ports_step.
 */
int64_t control_step(struct control *control, int64_t now);

/*
 * Plans another configuration: endpoints that it has too get its rules, others are opened. Returns
 * 0, or -1 with why; control_unplan is due in both cases, or control_adopt, which closes those that
 * it does not have. The clients of these stay.
 */
int control_plan(struct control *control, const struct config *next, char *why, size_t size);
void control_unplan(struct control *control);
void control_adopt(struct control *control);

/* Whether it has anything of that configuration still. */
bool control_uses(const struct control *control, const struct config *config);

/* Answers those who asked for that reload, or for one before it. */
void control_reloaded(struct control *control, unsigned number, const struct control_reload *told);

/* The upgrade came to that, for those who asked for it. told NULL: it is done, and what the reload
 * of that number comes to is their answer. */
void control_upgraded(struct control *control, unsigned number, const struct control_reload *told);
/* The same for the logs. */
void control_reopened(struct control *control, unsigned number, const struct control_reopen *told);

/* The stop is over: answers those who asked for it, with the receipt of all ports. Closes their
 * connections and all others, with what they can take of it at once. */
void control_stopped(struct control *control, const struct receipt *receipt);

/* In a child: closes its copies. */
void control_detach(struct control *control);

/* Closes all, and unlinks the paths that are still ours. The ports are not touched any more. */
void control_close(struct control *control);

#endif
