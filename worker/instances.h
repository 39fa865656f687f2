/*
 * A set of instances: long-lived programs of one service that accept by themselves on the listening
 * sockets that they are given (sd_listen_fds(3)). The worker that keeps has one for each such
 * service that has a listener; a launcher (launcher.h) starts and ends the programs.
 *
 * A set has as many *places* as instances are wanted. A place has one instance that serves, and
 * while that one is being replaced a successor, which takes the place when it is ready. What should
 * be is compared with what is in every turn of the worker (instances_step), and nowhere else:
 *
 *   instance:  STARTING ─ready─► READY ─stop signal─► ENDING ─exit─► freed
 *                  └──start-timeout, or exit: its place waits, longer each time in a row──► freed
 *
 * A set that has to leave a listener (its word says so, or the worker retires and a successor's
 * instances are ready) gives its instances their signal, and lets go of the socket when none of
 * them has it any more, or LEAVE_MS after the last was told. An instance has the sockets that it
 * was started with, so when one of several is left, or another one comes, all are replaced, without
 * the other sockets being left for a moment.
 */
#ifndef LASTCALL_INSTANCES_H
#define LASTCALL_INSTANCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct acceptor;
struct launcher;
struct worker;
struct instances;

/* What a service wants; owned by it, and outlives the set. */
struct instances_plan {
	const char *name; /* of the service, for the log and LISTEN_FDNAMES */
	size_t wanted; /* 1 or more */
	bool notify; /* ready is who says so; else who was executed */
	int64_t start_timeout; /* ms */
	int64_t end_delay; /* ms from the signal to KILL; negative: unlimited */
	int64_t max_age; /* ms; negative: unlimited */
	/* Makes a launcher, when there is none or it has died. NULL with errno: EPERM, only a
	 * successor of the worker can have another. */
	struct launcher *(*make_launcher)(void *owner);
	void *owner;
};

/* Makes a set without listeners. launcher may be NULL: made when needed. Returns it, or NULL with
 * errno. */
struct instances *instances_open(
    struct worker *worker, const struct instances_plan *plan, struct launcher *launcher);

/* One more listener. */
void instances_add(struct instances *set, struct acceptor *acceptor);

/* Frees it. It has no listener any more. */
void instances_close(struct instances *set);

/* Does what is due of all sets of a worker. Returns when to call again. */
int64_t instances_step(struct worker *worker);

#endif
