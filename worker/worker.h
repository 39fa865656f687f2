/*
 * A worker: accepts on the shared listeners, carries its connections, and ends when it is told to
 * and has nothing left.
 *
 *   SERVING ──RETIRE────────────► RETIRING ──┐
 *      │                                     ├──nothing open──► exit
 *      ├──end of the drain pipe──► STOPPING ─┤
 *      └──…with no order said────► ORPHANED ─┘
 *   STOPPING ──the master dies──► ORPHANED
 *   any ──ORDER_CUT, CUT, or its grace──► CUTTING ──► exit
 *
 *   RETIRING  A successor has the listeners. This one leaves them after a last look, and finishes
 *             what it has.
 *   STOPPING  The listeners close. It accepts until the words say that they are released.
 *   ORPHANED  The master died without a word: the same, but this worker and its siblings close
 *             them by themselves.
 */
#ifndef LASTCALL_WORKER_H
#define LASTCALL_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth.h"
#include "buffer.h"
#include "closing.h"
#include "connection.h"
#include "handover.h"
#include "log.h"
#include "loop.h"
#include "scoreboard.h"
#include "service.h"
#include "wheel.h"

enum worker_phase { PHASE_SERVING, PHASE_RETIRING, PHASE_STOPPING, PHASE_ORPHANED, PHASE_CUTTING };

/* Whether an acceptor is polled, and why not. */
enum acceptor_state {
	ACCEPTOR_IN, /* polled */
	ACCEPTOR_DEFERRED, /* a sibling has fewer connections and was told; back in a few
			      milliseconds */
	ACCEPTOR_PAUSED, /* accept ran out of something; back in 100 ms */
	ACCEPTOR_FULL, /* no room; back when there is */
	ACCEPTOR_LIMITED, /* the listener has as many as its service admits; back when one ends, or
			     in at most 100 ms */
	ACCEPTOR_KEPT, /* never polled: programs accept on it (instances.h), or another worker's */
	ACCEPTOR_RELEASED, /* our copy is closed */
};

/* One listener of this worker. It is there until it is RELEASED and its last connection has ended.
 */
struct acceptor {
	struct watch watch; /* its fd is our copy */
	struct worker *worker;
	struct handover_listener from;
	_Atomic uint64_t *word;
	struct tally *tally;
	enum acceptor_state state;
	bool refusing; /* its service could not be started here: everybody is told so */
	int64_t most; /* connections that it may have open, over all workers; negative: any */
	bool reserved; /* the tally counts one that is not accepted yet */
	int64_t limited_ms; /* how long it was LIMITED the last time; 0: it is not */
	size_t connections; /* that came from it and are open */
	int64_t until; /* of DEFERRED and PAUSED, ms */
	int64_t starved_since; /* when accept first ran out, ms; 0: it works */
	struct acceptor *next_out; /* list of those that wait to be put back */
	struct acceptor *next, **link; /* list of all, and what points here in it */
	struct acceptor *next_over; /* list of those to be freed */
	struct closing closing; /* for when we are orphaned */
};

struct access_log;
struct instances;
struct launcher;

/* What the log was not told yet of connections that were turned away (proxied.h). */
struct turned_away {
	int64_t not_before; /* ms: of the next line */
	uint64_t unsaid;
};

struct worker {
	const struct handover *from;
	const struct config *config;
	struct log *log;
	struct loop *loop;
	struct wheel wheel;
	struct slot *self;
	enum worker_phase phase;
	int64_t now; /* ms: when this turn, or the event at hand, began */

	struct watch drain, channel, bell;

	struct acceptor *acceptors; /* list of all */
	struct acceptor **acceptors_by_index; /* SCOREBOARD_LISTENERS; NULL where there is none */
	size_t acceptors_open; /* not RELEASED */
	struct acceptor *over; /* list of those that are RELEASED and have no connection left */
	size_t untold; /* that were released, and the master could not be told yet: */
	uint64_t untold_indexes[SCOREBOARD_LISTENERS / 64]; /* by index, a bit each */
	struct gate_census census; /* of an orphan that closes them */
	struct acceptor *out; /* those that wait to be put back */
	int64_t
	    *passed_at; /* by slot: when a wake-up was first passed on to it since its last turn */
	int reserve; /* a descriptor to give up when there are none left */
	int64_t starved_until; /* ms: accept ran out of something, and none is to be expected to
				  work before */

	struct connection *connections; /* max of them, touched when first used */
	union connection_private *privates; /* max of them, too, of those that need one now */
	union connection_private *privates_vacant;
	size_t privates_touched;
	struct connection *vacant;
	size_t max, touched, open;
	struct buffers buffers;

	uint64_t requests_left; /* until a successor is asked for; 0: never, or it was */
	bool enough_due; /* asking could not be sent yet */
	int64_t memory_most; /* bytes: more than that is too much; 0: no limit, or it was said */
	int64_t memory_looked_at; /* ms */
	bool retirement_over; /* its time to finish was: what is cut then is none of a stop's */
	bool waiting; /* for SERVE: it has no acceptors yet */
	bool master_gone; /* the channel has ended */
	int64_t grace_ends; /* of an orphan, ms */
	struct turned_away turned_away;
	uint32_t logs_number; /* of the master's ANSWER, */
	bool logs_answer_due; /* which could not be answered yet */
	bool logs_kept; /* a log could not be taken since the last answer */
	struct launcher *launchers; /* list of all */
	struct instances *instances; /* list of all sets of programs that accept */
	bool crowd_is_clear; /* see crowd.h */
	uint64_t boundary; /* of multipart answers, with a number each; 0: not needed yet */
	uint32_t boundaries;
	struct auth_turns auth_turns; /* whose password may be checked when */
	struct connection *ahead, **ahead_end; /* read, and to be answered in this turn */
	size_t ahead_count;
	uint64_t reads; /* of connections so far: what was looked at since the last one is newer
			 * than every request that is here */
	struct access_log *unwritten; /* logs with lines to be written at the end of the turn */
};

/* ---- worker.c ---- */

/* Whether the server was told to stop, even if this worker has not turned to it yet. */
bool worker_hears_last_call(const struct worker *worker);

/* Whether the server stops or is about to: no load balancer should send it anybody new. */
bool worker_is_leaving(const struct worker *worker);

/* Asks the master for another worker in place of this one, which then finishes what it has. */
void worker_ask_for_successor(struct worker *worker);

/* Counts an answer begun; it may be the one after which this worker would be replaced. */
void worker_count_request(struct worker *worker);

/* ---- accept.c ---- */

/* Makes what acceptors need, and those of all listeners unless it waits. Returns 0, or -1 with
 * errno. */
int acceptors_open(struct worker *worker);

/* The wait is over: makes them. What goes wrong is logged, and the master told what is not held. */
void acceptors_serve(struct worker *worker);

/*
 * One more listener, whose descriptor and service are the acceptor's from here on. What goes wrong
 * is logged, and the master told that it is not held.
 */
void acceptors_add(struct worker *worker, const struct handover_listener *listener);

/* For one that is KEPT by this worker: its programs have left it. */
void acceptor_let_go(struct acceptor *acceptor);

/* Whether another worker that does not leave has somebody who accepts on it. */
bool acceptor_is_served_elsewhere(const struct acceptor *acceptor);

/* A connection of it has ended: its acceptor may be over with it. */
void acceptor_connection_ended(struct acceptor *acceptor);

/* Tells the master that a listener is not held any more; later, if it does not read now. */
void acceptors_say_released(struct worker *worker, unsigned index);

/* Tells the master of those that it could not be told of. Returns when to call again. */
int64_t acceptors_tell(struct worker *worker);

/* Frees those that are over. Not from within a callback of one of them. */
void acceptors_sweep(struct worker *worker);

/* Puts back those whose time has come, or that have room again. Returns when the next one is due.
 */
int64_t acceptors_return(struct worker *worker);

/* Looks at the words, all or that of one listener, as `hint` says (scoreboard.h): releases and cuts
 * what is to be released and cut, and tries to accept. */
void acceptors_look(struct worker *worker, uint32_t hint);

/* For one that retires: leaves the listeners to the others, after a last and bounded look. */
void acceptors_leave(struct worker *worker);

/* For an orphan: begins to close all; then what is due of it. Returns when to call again. */
void acceptors_begin_closing(struct worker *worker);
int64_t acceptors_step_closing(struct worker *worker);

/* Closes every copy without another look. */
void acceptors_release_all(struct worker *worker);

/* ---- connection.c ---- */

/* Makes the table. Returns 0, or -1 with errno. */
int connections_open(struct worker *worker);

/* Starts a connection in a vacant slot; there is one. late: its listener was flagged by then. */
void connection_start(
    struct acceptor *acceptor, int fd, const union address_socket *peer, bool late);

/* Cuts every connection, or those that came from one listener. */
void connections_cut(struct worker *worker, const struct acceptor *acceptor);

#endif
