/*
 * The state of the master as a whole, for an upgrade: left as text with descriptors (carry.h), and
 * made again of it by the program that takes over.
 */
#ifndef LASTCALL_STATE_H
#define LASTCALL_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "source.h"

struct activation;
struct carry_in;
struct carry_out;
struct control;
struct listeners;
struct log;
struct notify;
struct pidfile;
struct pool;
struct ports;
struct reload;
struct reopen;
struct scoreboard;
struct store;

/* The parts of a master that an upgrade carries over. None is owned. */
struct parts {
	struct reload *reload;
	struct reopen *reopen;
	struct listeners *listeners;
	struct scoreboard *scoreboard;
	struct pool *pool;
	struct ports *ports;
	struct control *control;
	struct pidfile *pidfile;
	struct log *log;
	const char *program; /* that an upgrade runs */
	struct activation *activation;
	struct notify *notify;
	struct store *store;
	bool rehearses; /* in a rehearsal, which has a shared memory of its own */
};

/* Writes it all. */
void state_leave(struct carry_out *out, const struct parts *parts);

#define STATE_CONFIGS_MAX 64 /* the one in force, and older ones that ports still need */

/* The files that each configuration was read from, as they were then. */
struct state_sources {
	struct config_source *of[STATE_CONFIGS_MAX]; /* lists, owned; the first is of the one in
						      * force */
	size_t count; /* of configurations */
	char *program; /* that an upgrade runs, owned */
};

/* Reads what comes first: that the two programs understand each other, and the sources. Returns 0,
 * or -1 with why in `in`. state_release_sources is due in both cases. */
int state_sources(struct carry_in *in, struct state_sources *sources);
void state_release_sources(struct state_sources *sources);

/*
 * Makes the rest again. The parts know of each other, and reload of the configurations; the
 * services of the one in force are prepared. Returns 0, or -1 with why in `in`.
 */
int state_resume(struct carry_in *in, const struct parts *parts);

/* Has the loop watch what was resumed, from where it goes on. Returns 0, or -1 with errno. */
int state_begin(const struct parts *parts);

#endif
