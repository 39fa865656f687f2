/*
 * A connection: one slot in the worker's table, from accept to close.
 *
 * Its state says what it is owed when the lights go out:
 *
 *   FRESH ──first byte──► BUSY ──answer sent──► IDLE ──next request──► BUSY
 *     │                    │                     │
 *     └── deadline: 408 ───┴──── last answer ────┴──► LINGER ──end of file, or a limit──► closed
 *
 *   FRESH   let in and has not spoken: it has until its deadline, then it is answered
 *   BUSY    a request has begun or an answer is being sent: it is finished
 *   IDLE    kept alive, with a promise of how long: the promise is kept, drain or not
 *   LINGER  answered for good: our side is shut, and what the client still sends is read away
 *           for a short time, for closing with unread input would reset the answer that is on
 *           its way
 */
#ifndef LASTCALL_CONNECTION_H
#define LASTCALL_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "buffer.h"
#include "loop.h"
#include "wheel.h"

struct acceptor;
struct worker;
struct service;

enum connection_state {
	CONNECTION_FREE,
	CONNECTION_FRESH,
	CONNECTION_BUSY,
	CONNECTION_IDLE,
	CONNECTION_LINGER
};

/* How a connection ended; each is counted. */
enum outcome {
	OUTCOME_ANSWERED, /* in order, with all that it was owed */
	OUTCOME_LEFT, /* the client went away before it was answered */
	OUTCOME_BROKEN, /* cut in mid-answer: a deadline of its own, or its file changed */
	OUTCOME_CUT, /* we cut it: grace, QUIT */
};

#define AHEAD_MAX 8
#define CONNECTION_PRIVATE 448

struct connection {
	struct watch watch;
	struct timer timer;
	struct worker *worker;
	struct acceptor *acceptor; /* of the listener that it came from */
	const struct service *service;
	void *options; /* of the service; this process's own copy */
	struct connection *next; /* free list */
	enum connection_state state;
	bool answered; /* it got a whole answer at least once */
	bool late; /* accepted after its listener was flagged: that one's receipt counts it */
	bool shared; /* another process has a copy: closing ours would not end it */
	bool last_call; /* and the server was being stopped: so does the stop's */
	bool ahead; /* it was read, and is answered when all others were */
	bool level; /* of a Unix socket: LOOP_EDGE is not for it */
	bool marked; /* LOOP_MARK was reported: a short read need not be the last */
	bool unread; /* LOOP_EDGE: more may be there than was read */
	struct connection *next_ahead;
	int64_t linger_until; /* LINGER: the end of it, whatever still comes */
	struct buffer *in, *out; /* NULL while empty */
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} peer; /* of one of a Unix socket only the family */
	union connection_private *private; /* see connection_private() */
};

/* What a service keeps for a connection. */
union connection_private {
	union connection_private *next; /* free list */
	_Alignas(16) unsigned char bytes[CONNECTION_PRIVATE];
};

/* What reading and writing can come to. */
enum transfer {
	TRANSFER_SOME, /* bytes were moved; there may be more */
	TRANSFER_AGAIN, /* not now: the loop will say when */
	TRANSFER_END, /* read: the client has shut its side */
	TRANSFER_GONE, /* the connection is broken */
};

/*
 * Reads once into c->in, taking a buffer if there is none. TRANSFER_AGAIN also when the buffer is
 * full. A short read means that there was no more: *drained is then set, unless LOOP_MARK was
 * reported, and more may be behind the mark.
 */
enum transfer connection_read(struct connection *c, bool *drained);

/*
 * For one that was read: its service's ready() is called, with no events, when everybody who could
 * be read in this turn of the loop was, or AHEAD_MAX were, each of which holds a buffer; touch it
 * no more. So what is looked at for the first of them holds for all:
 * see worker->reads. A worker does not sleep while anybody waits for that.
 */
void connection_answer_later(struct connection *c);

/* Calls them, and those that this brings about. */
void connections_answer(struct worker *worker);

/* Writes c->out until it is empty (TRANSFER_SOME, the buffer given back), or AGAIN, or GONE. */
enum transfer connection_flush(struct connection *c);

/* Gives back the input buffer if nothing is in it. */
void connection_rest(struct connection *c);

/*
 * Waits for LOOP_READ or LOOP_WRITE; 0 for neither. With LOOP_EDGE, who did not read until there
 * was no more sets c->unread before. (A read from a Unix socket also stops where a descriptor was
 * passed, without a mark. There LOOP_EDGE is taken out.)
 */
void connection_want(struct connection *c, unsigned events);

/* The one setter of the state; and the moment at which the service's expire() is called. */
void connection_set_state(struct connection *c, enum connection_state state);
void connection_deadline(struct connection *c, int64_t ms_from_now);

/* No such moment: expire() is not called. */
void connection_no_deadline(struct connection *c);

/*
 * The service's own part of a connection, CONNECTION_PRIVATE bytes: zeroed when it is first asked
 * for, and when it is asked for after it was given back, which a service may do while nothing in it
 * matters. So whoever is idle takes little memory. It is given back at the end, after close().
 */
void *connection_private(struct connection *c);
void connection_private_give(struct connection *c);

/* Who the client is. Returns out. */
const union address_socket *connection_peer(const struct connection *c, union address_socket *out);

/* Says so, for who came through a proxy. */
void connection_set_peer(struct connection *c, const union address_socket *peer);

/*
 * Ends it after an answer: shuts our side, reads away what comes until the client closes. With
 * clean true the client has said that it sends no more, and it is closed at once.
 */
void connection_finish(struct connection *c, bool clean);

/* Closes it now. The slot is free from then on: touch it no more. */
void connection_close(struct connection *c, enum outcome outcome);

/*
 * Whether the worker drains, its port closes, or the server is about to stop: then an answer
 * announces that it is the last.
 */
bool connection_draining(const struct connection *c);

/* Whether its port will go on: not that its worker does, which a successor may follow. */
bool connection_port_stays(const struct connection *c);

#endif
