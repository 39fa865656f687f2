/*
 * Closing a listener without losing a connection: flag, gate, drain, release.
 *
 *   OPEN ─begin─► DRAINING ─queue empty, or 20 ms─► GATED ─nothing queued, no handshake─► RELEASED
 *     ▲    flag      │          the gate is set       │      (or settle is over)    word, shutdown
 *     └────cancel────┴────────────────────────────────┘
 *
 *   DRAINING  The flag is set: whatever accept says now is understood. The workers go on
 *             accepting, so that the gate, which makes each SYN wait a second, is short.
 *   GATED     No new handshake can begin. The workers accept what is queued; handshakes under way
 *             end.
 *   RELEASED  The queue was seen empty with no handshake left to fill it. The word tells the
 *             workers to close their copies; shutdown(2) frees the port even while a stopped
 *             process holds one.
 *
 * A socket that a service manager has too goes from DRAINING to RELEASED: it is neither gated nor
 * shut down, and what is in its queue by then is served by whoever gets it next.
 *
 * Programs of others accept by themselves on some listeners (closing->foreign). They cannot read a
 * word, undo what a connection inherits from a gate, or understand a socket that is shut down, so
 * for them there is one more state before the last:
 *
 *   GATED ─nothing queued, no handshake─► YIELDING ─nobody has it any more, or settle─► RELEASED
 *
 *   YIELDING  The word says WORD_LEAVE: the programs get their signal. Where there is no gate that
 *             connections do not inherit, this follows DRAINING, and what still comes is counted
 *             at the release as lost.
 *
 * Every act is idempotent: the master does this, or all workers at once when it has died. Nobody
 * here accepts; whoever runs this must see to it that somebody does.
 */
#ifndef LASTCALL_CLOSING_H
#define LASTCALL_CLOSING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gate.h"

enum closing_state {
	CLOSING_OPEN,
	CLOSING_DRAINING,
	CLOSING_GATED,
	CLOSING_YIELDING,
	CLOSING_RELEASED
};

struct closing {
	enum closing_state state;
	int fd; /* the listening socket, not owned */
	enum listener_kind kind;
	bool ours; /* false: a service manager has it too; closing_share */
	_Atomic uint64_t *word; /* of the listener, in shared memory */

	bool foreign; /* programs of others accept on it; set before closing_begin */
	bool left; /* set by who knows, while it is YIELDING: no program has it any more */

	int filter; /* of gate_set, not owned; -1: none, or set by who has one */
	enum gate_way way; /* how it was gated */
	bool ever_gated; /* and so the word says for ever */
	bool cutting; /* the word tells to end what came from it */
	bool none_under_way; /* set by who knows, once it is GATED: no handshake is, so the census
			      * is not asked */
	int64_t begun; /* ms */
	int64_t settle; /* ms that handshakes are waited for */
	int64_t quiet_since; /* where the system does not count: when an arrival was last seen */
	int64_t look_at; /* when closing_step has something to do */
	int handshakes_left; /* given up at the end of settle */
	int64_t yield_ends; /* ms: the end of YIELDING */
	int lost; /* foreign: connections that nobody had accepted when it was released */
};

/* "SYN filter", "TTL", … for log and status. */
const char *gate_way_name(enum gate_way way);

/* Prepares it for a listener that is open. It is ours alone. */
void closing_init(struct closing *closing, int fd, enum listener_kind kind, _Atomic uint64_t *word);

/*
 * Whether a service manager has the socket too. The word tells the workers, who ask it with
 * closing_heed before they close a listener by themselves.
 */
void closing_share(struct closing *closing, bool shared);
void closing_heed(struct closing *closing);

/* Sets the flag and begins. Again: no effect. settle in ms. */
void closing_begin(struct closing *closing, int64_t now, int64_t settle);

/*
 * Does what is due, at most one transition, and returns when to call again: now, when there is more
 * to do at once; CLOCK_NEVER once it is RELEASED. Calling early does no harm. The census may be
 * shared by any number of listeners that are stepped in turn; it is taken anew when it is needed
 * and was cleared, and cleared when a gate is set. A caller clears it before the first.
 */
int64_t closing_step(struct closing *closing, struct gate_census *census, int64_t now);

/*
 * Takes it back: undoes the gate and clears the flag. Returns 0, or -1 with errno: EALREADY, it was
 * released or is not closing; EOPNOTSUPP, its gate cannot be undone, and it goes on closing.
 */
int closing_cancel(struct closing *closing, int backlog);

/* Tells the workers to end the connections that came from it. */
void closing_cut(struct closing *closing);

/* Where nothing counts the queue: an arrival was accepted just now, or there may be one that nobody
 * accepts for a limit, so the wait for quiet begins anew. */
void closing_saw_arrival(struct closing *closing, int64_t now);

/* Sets flag and gate now, whatever still waits: for a stop that does not drain. Again, or on a
 * socket that is not ours alone: no effect. */
void closing_gate(struct closing *closing, int64_t now);

/*
 * Gives up waiting: releases at once. Returns how many connections still waited in the queue, which
 * are reset by this and are the caller's to count as cut; those of a socket that is not ours alone
 * wait on.
 */
int closing_force(struct closing *closing);

/* Writes the word again as the state has it: for the master, whose truth the state is. */
void closing_restate(struct closing *closing);

/* What a process that accepts must know of a listener's word. */
static inline uint64_t closing_word(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

#endif
