/*
 * The memory that master and workers share: a slot of numbers for each worker, a tally for each
 * worker and listener, and the words that carry a state to everybody at once (one for each
 * listener, one for what the workers are told).
 *
 * Who writes what: a worker its own slot; the master the words (and a worker too, when the master
 * has died). A worker can scribble over all of it, so the master keeps its own truth elsewhere and
 * takes what it reads here for what it is: numbers to show and to compare, never an index, a length
 * or a pointer.
 */
#ifndef LASTCALL_SCOREBOARD_H
#define LASTCALL_SCOREBOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCOREBOARD_LISTENERS 16384 /* words for listeners */
#define SCOREBOARD_SLOTS 1024 /* the most workers at a time, retiring ones included */

/* What a worker is doing, as it says. */
enum slot_state {
	SLOT_VACANT, /* nobody's */
	SLOT_STARTING, /* born, not ready */
	SLOT_SERVING, /* accepts */
	SLOT_FULL, /* serves, and has no room for another connection */
	SLOT_LEAVING, /* retires or drains: finishes what it has */
	SLOT_STOPPED, /* written by the master when it hears so; the worker's next turn says
			 otherwise */
};

/*
 * What the end of the drain pipe means; a higher one overrides a lower one. A worker that a
 * successor replaces is told so over its channel: its siblings go on.
 */
enum order {
	ORDER_NONE, /* nothing was said: the master has died */
	ORDER_DELAY, /* a stop will be ordered: serve as before, and say so where health is asked
		      * for; with the end of the pipe, as none */
	ORDER_STOP, /* they are closing: accept until they are released */
	ORDER_CUT, /* end now: cut what is open, and count it */
};

/* Of a listener's word. */
enum {
	WORD_CLOSING = 1, /* flag: set before anything else happens to the socket */
	WORD_GATED = 2, /* it was ever gated: who accepts undoes what a connection inherits */
	WORD_RELEASED = 4, /* its queue is empty: close your copy */
	WORD_CUT = 8, /* end the connections that came from it */
	WORD_SHARED =
	    16, /* a service manager has the socket too: it is never gated nor shut down */
	WORD_LEAVE = 32, /* of a service whose programs accept: they are to stop that now */
};

/* Hints of a bell: which listener to look at. */
#define HINT_NONE 0u
#define HINT_ALL UINT32_MAX

/* One worker's numbers. Counters only rise while a worker lives; the master adds them up when it
 * ends. */
struct slot {
	_Alignas(128) _Atomic int64_t beat; /* clock_ms() of its last turn */
	_Atomic uint32_t state; /* enum slot_state */
	_Atomic uint32_t connections; /* open now */
	_Atomic uint32_t hint; /* HINT_NONE, HINT_ALL, or 1 + index of a listener */
	_Atomic uint64_t accepted; /* connections let in */
	_Atomic uint64_t requests; /* answers begun: requests of http, connections of echo */
	_Atomic uint64_t passed; /* wake-ups passed on to a sibling */
	_Atomic uint64_t pauses; /* times that accept ran out of something */
	_Atomic uint64_t refused; /* connections answered with the reserve descriptor */
	_Atomic uint64_t broken; /* connections cut for a deadline of theirs, or a file that
				  * changed, before a stop */
	_Atomic uint64_t log_dropped;
	_Atomic uint64_t turned_away; /* connections without the PROXY header that they owe */
	/* Since the drain began. */
	_Atomic uint64_t answered; /* connections that ended in order */
	_Atomic uint64_t queued; /* of those, accepted after the flag was set */
	_Atomic uint64_t left; /* connections whose client went away by itself */
	_Atomic uint64_t cut;
	/* Programs of exec: with status 0, with another, by a signal (or nobody knows how). */
	_Atomic uint64_t programs_done, programs_failed, programs_killed;
};

/*
 * What became of the connections that one worker accepted on one listener, since it was opened.
 * Written by the worker alone, with plain stores: the master reads them while they change, and
 * takes over what a worker wrote when it has died.
 */
struct tally {
	_Atomic uint64_t accepted, answered, queued, left, cut; /* as in struct slot */
	_Atomic uint64_t programs_done, programs_failed, programs_killed; /* the same */
	_Atomic uint64_t open; /* now */
	_Atomic uint64_t instances, instances_ready; /* now; of a service whose programs accept */
	_Atomic uint64_t serves; /* somebody accepts on it for this worker: 1, or 0 */
	_Atomic uint64_t limited; /* not 0: for its limit it did not look whether more wait */
};

/*
 * How many connections one worker has of a client, for limits that hold across workers. The key is
 * made of the client's address and the listener's index (crowd.c); a count of 0 is a free place.
 * Written by the worker alone.
 */
#define SCOREBOARD_CROWD 8192 /* places of each worker, a power of two */

struct crowd_place {
	_Atomic uint64_t key;
	_Atomic uint64_t count;
};

/* One process's view of the memory; the pointers are its own. */
struct scoreboard {
	int fd;
	void *memory;
	size_t size;
	struct slot *slots;
	size_t slots_count;
	struct tally
	    *tallies; /* SCOREBOARD_LISTENERS for each slot: pages nobody uses cost nothing */
	struct crowd_place *crowd; /* SCOREBOARD_CROWD for each slot; the same holds for them */
	_Atomic uint64_t *salt; /* of the keys: no client can choose addresses that share a place */
	_Atomic uint64_t *listeners; /* SCOREBOARD_LISTENERS words */
	_Atomic uint32_t *order; /* enum order */
};

/* Makes the memory. Returns 0, or -1 with errno ENOMEM, EMFILE or ENFILE. */
int scoreboard_open(struct scoreboard *scoreboard, size_t slots);

/* The same memory again, by its descriptor, which is the scoreboard's from here on. Returns 0, or
 * -1 with errno (EINVAL: it is of another size). */
int scoreboard_resume(struct scoreboard *scoreboard, size_t slots, int fd);
void scoreboard_close(struct scoreboard *scoreboard);

/* Empties a slot for its next worker. Its tallies are not touched. */
void slot_clear(struct slot *slot);

/* The most that one worker touches of the memory, in bytes. */
static inline size_t scoreboard_touched(const struct scoreboard *scoreboard)
{
	return SCOREBOARD_LISTENERS * (sizeof(struct tally) + sizeof *scoreboard->listeners) +
	    scoreboard->slots_count * sizeof *scoreboard->slots;
}

/* What the worker in a slot counts for a listener. */
static inline struct tally *scoreboard_tally(
    const struct scoreboard *scoreboard, size_t slot, size_t listener)
{
	return &scoreboard->tallies[slot * SCOREBOARD_LISTENERS + listener];
}

/* Adds what one tally says now to another that is nobody else's. */
void tally_add(struct tally *sum, const struct tally *tally);
void tally_clear(struct tally *tally);

/* What it says of now, not of what happened, ends with its worker. */
void tally_end_present(struct tally *tally);

/* Whether a worker that lives has turned from a listener for its limit: its queue may have more,
 * however quiet it is. */
bool scoreboard_is_limited(const struct scoreboard *scoreboard, size_t listener);

/* Adds to a counter that only this process writes: no locked instruction is needed. */
static inline void slot_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(
	    counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t slot_read(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
