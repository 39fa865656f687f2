/*
 * The seam between master and worker: all that the one knows of the other.
 *
 * The master knows a service by its service_kind: its name, the options that its block may have,
 * and a hook that opens what only root can open. The worker gets a handover after the fork and
 * never returns from worker_run. Nothing else crosses, but the words in shared memory
 * (scoreboard.h, closing.h) and the messages on the channel (channel.h).
 */
#ifndef LASTCALL_HANDOVER_H
#define LASTCALL_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>

#include "account.h"
#include "config.h"
#include "directive.h"
#include "log.h"

#define SERVICE_LOGS_MAX 4
#define HANDOVER_COPIES_MAX 64 /* descriptors that a worker has for copies of files */

/* A log file of a service. */
struct service_log {
	const char *path; /* absolute; the service's */
	int fd; /* -1: it is not open in this process */
};

/* What the master and the configuration know of a service. Tables live in worker/service.c. */
struct service_kind {
	const char *name; /* "http" */
	const char *summary; /* one line for --help */
	const char *scheme; /* "http" if a URL can be printed for its listeners, else NULL */
	const struct directive
	    *directives; /* of its block, ends with a NULL name; offsets into its options */
	size_t options_size; /* of its options struct; zeroed, then filled from the directives */
	const char *argument; /* the directive that a first plain argument sets
			       * ("http ./site" sets root), or NULL: takes none */
	/* Its programs accept by themselves, so workers do not: one of them, which keeps (see
	 * struct handover), runs them. */
	bool accepts_itself;
	/*
	 * Looks at options as a whole, without changing anything (the file is only being tested).
	 * Returns NULL, or a constant or static text that says what is wrong; *directive is then
	 * set to the name of the directive to blame, or NULL for the block as a whole.
	 */
	const char *(*check)(const void *options, const char **directive);
	/*
	 * The same with what only the system knows: that the programs and users which the options
	 * name are there. workers: who they become, or NULL: they stay who we are. Opens nothing.
	 * May be NULL.
	 */
	const char *(*look)(
	    const void *options, const struct account *workers, const char **directive);
	/*
	 * Looks up what options name of the rest of the configuration, when all of it was read:
	 * other services. Returns as check does. May be NULL.
	 */
	const char *(*link)(void *options, const struct config *config, const char **directive);
	/*
	 * Opens, as the user that started the master, what the workers will need (folders, logs).
	 * workers: as above. Returns 0, or -1 with a message in why. May be NULL.
	 */
	int (*prepare)(void *options, const struct account *workers, char *why, size_t size);
	/* Closes what prepare opened. Takes half-prepared options, and those it has had already.
	 * May be NULL. */
	void (*release)(void *options);
	/*
	 * For a port that is opened while workers run: what prepare opened goes to them as
	 * descriptors. lend writes at most max to fds and returns how many; they stay the options'.
	 * borrow takes them over, in the same order, into options that were made of the same words;
	 * returns 0, or -1: these are not what was lent, and still the caller's. Both NULL: nothing
	 * is opened.
	 */
	int (*lend)(const void *options, int *fds, int max);
	int (*borrow)(void *options, const int *fds, int count);
	/*
	 * The log files that it has: writes at most max to logs and returns how many. Their
	 * descriptors may be made to lead to other files, and are otherwise its own. NULL: none.
	 */
	int (*logs)(const void *options, struct service_log *logs, int max);
	/*
	 * In each new worker, for the services of the configuration, before it becomes the user
	 * that workers run as: starts what must have another one. keeps: as in struct handover.
	 * Returns 0, or -1 with why; the worker then ends. May be NULL.
	 */
	int (*begin)(
	    void *options, const struct config *config, bool keeps, char *why, size_t size);
};

/* Every kind of service, NULL-terminated. */
extern const struct service_kind *const service_kinds[];

/* The kind of that name, or NULL. */
const struct service_kind *service_kind_find(const char *name);

struct scoreboard;

/* A listening socket as a worker sees it. */
struct handover_listener {
	int fd; /* the worker's own copy */
	unsigned index; /* of its word and its tally in shared memory */
	int kind; /* enum listener_kind */
	bool own; /* the service is this listener's alone: started with it, and freed with it */
	struct service_config *service;
	const struct listen_block *block; /* of its `listen`, or NULL */
};

/* What a worker is born with. It owns its copy of every descriptor here. */
struct handover {
	const struct config *config;
	struct scoreboard *scoreboard;
	unsigned slot; /* its own in the scoreboard */
	int drain; /* read end of the drain pipe */
	int channel; /* to the master */
	const int *bells; /* one descriptor per slot: ring to make its worker look again */
	const int *bell_ears; /* one per slot: readable when its bell was rung */
	size_t bells_count;
	const struct handover_listener *listeners; /* those that are open at birth */
	size_t listeners_count;
	size_t listeners_max; /* others come over the channel */
	bool waits; /* it accepts nothing until SERVE comes */
	bool keeps; /* the programs of services that accept by themselves are this worker's */
	bool rehearses; /* that it can start is all there is to it: it touches no listener */
	struct log *log;
};

/* Runs a worker to its end. Returns its exit status (config.h: STATUS_*). */
int worker_run(const struct handover *handover);

#endif
