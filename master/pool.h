/*
 * The workers: who should live, who does, and what follows from the difference.
 *
 * A *seat* is a place that is to be filled; there are as many as workers are wanted. A seat has one
 * worker that serves, and while that one is being replaced a successor. Workers that retire have no
 * seat. What is wanted is said with pool_want, pool_stop and pool_cut; pool_reconcile does what is
 * missing after every wake of the loop.
 *
 * A *renewal* replaces all of them at once, by workers of another configuration: each seat gets an
 * heir, and only when every heir is ready do they take the seats (pool_renew_commit), and begin to
 * accept, and the others retire. Until then nothing has changed, and pool_renew_abandon leaves it
 * so.
 *
 *   worker:  VACANT ─fork─► STARTING ─READY─► SERVING ─RETIRE─► RETIRING ─exit─► VACANT
 *                any of them, when the heart stops ─ABRT─► ABORTED ─KILL, exit─► VACANT
 */
#ifndef LASTCALL_POOL_H
#define LASTCALL_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "handover.h"
#include "listener.h"
#include "log.h"
#include "loop.h"
#include "privilege.h"
#include "scoreboard.h"

enum worker_state {
	WORKER_VACANT,
	WORKER_STARTING,
	WORKER_SERVING,
	WORKER_RETIRING,
	WORKER_ABORTED
};

struct pool;

/* How far a worker has come with log files that were opened anew (reopen.c). */
struct worker_logs {
	unsigned due; /* the number of the reopening that it has to answer; 0: none */
	size_t sent; /* files of it; one more, when it was asked to answer too */
	bool kept; /* it could not take all */
};

/* What is known of the memory of a worker (memory.c). */
struct worker_memory {
	int64_t over_since; /* ms: when it was first seen above the limit; 0: it was not */
	bool said; /* it said so itself, where we cannot look */
};

/* One process. Its slot on the scoreboard is its place in pool->workers. */
struct worker_process {
	struct pool *pool;
	enum worker_state state;
	pid_t pid;
	int seat; /* -1: none (it retires, or drains for the dead) */
	int64_t born; /* ms */
	struct watch channel;
	bool stopped; /* it was heard to be; its next beat says otherwise */
	int64_t beat; /* the last heartbeat seen, */
	int64_t beat_at; /* and when it was seen to change, by our own clock */
	bool retire_due; /* RETIRE could not be sent yet, */
	bool behind; /* or a LISTEN */
	unsigned generation;
	bool keeps; /* see struct handover */
	bool heir; /* of a renewal that is under way: it waits for its seat, and accepts nothing */
	bool serve_due; /* SERVE could not be sent yet */
	int64_t retire_ends; /* ms: of one that retires, when it is cut; CLOCK_NEVER */
	bool cut; /* it was told to end, or killed, for that */
	const struct config *config; /* that it was born with; to be compared only */
	struct worker_logs logs;
	struct worker_memory memory;
	uint64_t room; /* connections that it can hold */
};

struct seat {
	int worker; /* -1: empty */
	int successor; /* -1: none; takes the seat when it is ready */
	bool successor_due; /* the worker asked to be replaced */
	unsigned failures; /* deaths and failed forks in a row */
	int64_t not_before; /* ms: back-off */
	bool refused; /* its worker said that it can never start */
	int heir; /* of a renewal, -1: none */
};

/* What workers are made of. */
struct pool_plan {
	const struct config *config;
	const struct privilege *privilege;
	struct log *log;
	size_t wanted; /* how many */
	unsigned generation;
	bool renews; /* listeners have their next_service */
	bool keeps; /* of the worker that is started: see struct handover */
};

#define POOL_SEATS 256
#define POOL_GENERATIONS_MAX 8 /* alive at a time, the newest included */

enum renewal_state { RENEWAL_NONE, RENEWAL_STARTING, RENEWAL_READY, RENEWAL_FAILED };

/* What has become of the workers so far, in numbers; those that they wrote themselves are not to be
 * trusted. */
struct pool_totals {
	uint64_t restarts, fork_failures, watchdog_kills;
	uint64_t accepted, requests;
	uint64_t
	    lost; /* connections that died with their worker, or by a deadline, before a stop */
	uint64_t refused; /* connections that no worker had a descriptor for */
	uint64_t turned_away; /* connections without the PROXY header that they owed */
	uint64_t queued, answered, left, cut; /* since the stop began */
	uint64_t programs_done, programs_failed, programs_killed; /* the same; see struct slot */
};

/* What max-memory has brought about so far (memory.c). */
struct pool_memory {
	int64_t looked_at; /* ms */
	unsigned soon; /* replaced in a row that were too large soon after their birth */
	bool blind; /* the log knows that we cannot see what they have */
};

struct pool {
	const struct config *config;
	struct log *log;
	struct loop *loop;
	struct scoreboard *scoreboard;
	struct listeners *listeners;
	const struct privilege *privilege;
	void (*detach)(void *owner); /* in a child: closes what is the owner's */
	void (*other_ended)(void *owner, pid_t pid, int status); /* a child that is no worker has */
	void *owner;

	struct worker_process *workers;
	size_t capacity; /* of workers, slots and bells */
	int *ropes, *ears; /* the bell of each slot */
	struct seat *seats;
	struct seat drainer; /* counts those started by pool_start_drainer, and their back-off */
	size_t wanted; /* seats in use */
	size_t most; /* that there can be */
	size_t living; /* processes not yet reaped */

	unsigned generation; /* of those in the seats */
	unsigned generations; /* the newest that was ever begun */
	enum renewal_state renewal;
	struct pool_plan next; /* of the heirs */
	char renewal_why[512]; /* of RENEWAL_FAILED */
	int drain[2]; /* the drain pipe; the write end is -1 once the drain began */
	enum order order; /* our own truth of the order's word */
	bool served; /* a worker was ready once: what makes one fail to start then may pass */
	bool fork_failing; /* the log knows */
	/* In a rehearsal, of the server that goes on: workers, those that serve, generations. */
	size_t others, others_wanted, other_generations;
	bool rehearses; /* its workers are for a rehearsal, and serve nobody */
	bool missed; /* a heart did not beat: somebody may have died unheard */
	int64_t watched_at; /* when the hearts were last listened to */
	struct pool_memory memory;
	struct pool_totals totals;
};

/* How many places a pool of so many workers has. */
size_t pool_capacity(size_t wanted);

/* Prepares a pool of wanted workers; forks none. Returns 0, or -1 with errno. The pool's first
 * seven members are set. */
int pool_open(struct pool *pool, size_t wanted);

/* The memory alone, for a pool that is made again as it was: no bell, no pipe, nobody. Returns as
 * pool_open. pool_vacate makes a place nobody's. */
int pool_make(struct pool *pool, size_t capacity);
void pool_vacate(struct pool *pool, size_t slot);

/* For a rehearsal: forgets all workers, who are somebody else's, and has bells of its own. Returns
 * 0, or -1 with errno. */
int pool_forget(struct pool *pool);

/* Frees it. No worker lives any more. */
void pool_close(struct pool *pool);

/* Sets how many workers are wanted. Returns false when there cannot be as many, or none is asked
 * for. */
bool pool_want(struct pool *pool, size_t wanted);

/* The most that can be wanted. */
size_t pool_most(const struct pool *pool);

/* How many generations have workers that live. */
size_t pool_generations(const struct pool *pool);

/* Whether every worker that retires has left the listeners, but for those that are stopped. */
bool pool_has_left(const struct pool *pool);

/* Whether a worker lives that was born with that configuration. */
bool pool_uses(const struct pool *pool, const struct config *config);

/*
 * Begins a renewal. plan's config, privilege, log and wanted are set and outlive it. Returns 0, or
 * -1 with why: there is no room for so many.
 */
int pool_renew(struct pool *pool, const struct pool_plan *plan, char *why, size_t size);

/* For one that is RENEWAL_READY: the heirs take the seats, and the others retire. Where privilege
 * and log of the pool point to is what those of the plan say by then. */
void pool_renew_commit(struct pool *pool, int64_t now);

/* Takes it back, in whatever state it is: the heirs end. In a stop that was ordered they do so by
 * that. */
void pool_renew_abandon(struct pool *pool, int64_t now);

/* A stop is about to be ordered: the workers serve on, and say so to who asks for their health. */
void pool_order_delay(struct pool *pool);

/*
 * Begins the drain: every worker finishes what it has. Nobody new is started but by
 * pool_start_drainer. pool_order_stop only says so, for whoever looks; it comes before the flags of
 * the listeners, and pool_stop after them.
 */
void pool_order_stop(struct pool *pool);
void pool_stop(struct pool *pool);

/* Everybody ends now and counts what it cuts. */
void pool_cut(struct pool *pool);

/* Kills everybody who is left. */
void pool_kill(struct pool *pool);

/* Whether a worker lives that runs the programs of services that accept by themselves. */
bool pool_keeps(const struct pool *pool);

/* Starts a worker that drains the listeners after everybody else has died, or whoever keeps. Backs
 * off as a seat does. */
void pool_start_drainer(struct pool *pool, int64_t now);

/* Reaps the dead, and hears of the stopped. Call it after SIGCHLD. */
void pool_reap(struct pool *pool, int64_t now);

/* Starts, replaces, retires and kills what has to be. Returns when it wants to be called again. */
int64_t pool_reconcile(struct pool *pool, int64_t now);

/*
 * Writes our own truth into the shared words again, and clears the slots that nobody has: what a
 * worker scribbled there must not outlive it.
 */
void pool_restate(struct pool *pool);

/* Wakes every worker to look at its listeners and at the words. */
void pool_ring(struct pool *pool);

/*
 * Gives a listener that was just opened to every worker that serves. Who cannot be told now is told
 * later. Returns 0, or -1 with errno: E2BIG, its service is told in too many words; ESTALE, it is
 * of a configuration that is no longer in force.
 */
int pool_offer(struct pool *pool, struct listener *listener);

/* Has every worker look at the word of one listener. */
void pool_tell(struct pool *pool, const struct listener *listener);

/* Whether a worker that has a copy of the listener can be expected to accept from it: not all of
 * them are stopped or have missed their heartbeats. */
bool pool_drains(const struct pool *pool, const struct listener *listener, int64_t now);

/* Whether the heart of any worker beats. */
bool pool_beats(const struct pool *pool, int64_t now);

/* The one setter of a worker's state. */
void pool_set_state(struct worker_process *worker, enum worker_state state);

/* Every seat that is not refused has a worker that serves, and there is one. */
bool pool_is_ready(const struct pool *pool);

/* Every seat was refused: nobody will ever serve. */
bool pool_is_hopeless(const struct pool *pool);

#endif
