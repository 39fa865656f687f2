/*
 * Accepting on listeners that are shared with other workers: who takes a connection, what each
 * error of accept(2) means, and how a listener is left.
 *
 * Under epoll one worker is woken for a connection (EPOLLEXCLUSIVE), and it is often the same one.
 * So whoever is ahead of a sibling by more than a little takes itself out of the set for DEFER_MS,
 * or until it is ahead no more, and rings the sibling's bell. Then it takes one connection if it is
 * still there, and defers again. A sibling that has not turned its loop PATIENCE_MS after it was
 * first told (it is stopped, or busy) is not deferred to until it does: no connection waits longer
 * for the sake of balance.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "access.h"
#include "bell.h"
#include "channel.h"
#include "clock.h"
#include "descriptor.h"
#include "listening.h"
#include "proxied.h"
#include "system.h"
#include "worker.h"

#define DEFER_MS 5
#define PATIENCE_MS 100 /* a sibling is scheduled by then, also on a busy machine */
#define PAUSE_MS 100
#define STARVED_MS 500 /* then the queue is answered with the reserve descriptor */
#define TELL_MS 10 /* until a master that did not read is told again */
#define LIMITED_MS 100 /* the longest that a limited one is not looked at */
#define BATCH 64 /* connections taken in one go */
#define FRESH_BEAT_MS 2500 /* a sibling that has not turned for longer is not waited for */
#define SLACK 4 /* ahead by more than this, and by an eighth */

static void set_state(struct acceptor *acceptor, enum acceptor_state state, int64_t until)
{
	acceptor->state = state;
	acceptor->until = until;
}

static uint32_t hint_of(const struct acceptor *acceptor)
{
	return acceptor->from.index + 1;
}

/* ---- in and out of the set ---- */

static void put_in(struct acceptor *acceptor)
{
	struct worker *worker = acceptor->worker;

	if (loop_watch(worker->loop, &acceptor->watch, LOOP_READ | LOOP_EXCLUSIVE) == -1) {
		log_write(worker->log, LOG_ERROR, "cannot watch a listener: %s", strerror(errno));
		set_state(acceptor, ACCEPTOR_PAUSED, worker->now + PAUSE_MS);
		return;
	}
	set_state(acceptor, ACCEPTOR_IN, 0);
}

/* The same for one that is on no list: where it cannot be put in, it waits to be. */
static void put_back(struct acceptor *acceptor)
{
	struct worker *worker = acceptor->worker;

	put_in(acceptor);
	if (acceptor->state == ACCEPTOR_IN)
		return;
	acceptor->next_out = worker->out;
	worker->out = acceptor;
}

static void take_out(struct acceptor *acceptor, enum acceptor_state why, int64_t until)
{
	struct worker *worker = acceptor->worker;

	if (acceptor->state != ACCEPTOR_IN) {
		set_state(acceptor, why, until); /* it is on the list already */
		return;
	}
	loop_watch(worker->loop, &acceptor->watch, 0);
	set_state(acceptor, why, until);
	acceptor->next_out = worker->out;
	worker->out = acceptor;
}

static void unlist(struct acceptor *acceptor)
{
	struct acceptor **link = &acceptor->worker->out;

	while (*link != NULL && *link != acceptor)
		link = &(*link)->next_out;
	if (*link != NULL)
		*link = acceptor->next_out;
}

void acceptors_say_released(struct worker *worker, unsigned index)
{
	uint64_t bit = (uint64_t)1 << index % 64;

	if (worker->untold > 0 ||
	    channel_send(worker->from->channel, CHANNEL_RELEASED, index) == -1) {
		worker->untold += !(worker->untold_indexes[index / 64] & bit);
		worker->untold_indexes[index / 64] |= bit;
	}
}

/* Has it freed, if it is RELEASED and has no connection left. Called when either has come true. */
static void end_if_over(struct acceptor *acceptor)
{
	if (acceptor->state != ACCEPTOR_RELEASED || acceptor->connections > 0)
		return;
	acceptor->next_over = acceptor->worker->over;
	acceptor->worker->over = acceptor;
}

/* Closes our copy, and tells the master. Its queue is empty by then, or somebody else's. */
static void release(struct acceptor *acceptor)
{
	struct worker *worker = acceptor->worker;

	if (acceptor->state == ACCEPTOR_RELEASED)
		return;
	if (acceptor->state != ACCEPTOR_IN)
		unlist(acceptor);
	atomic_store_explicit(&acceptor->tally->serves, 0, memory_order_relaxed);
	/* Others share the socket, so closing our descriptor would not take it out of the set. */
	if (acceptor->state != ACCEPTOR_KEPT)
		loop_watch(worker->loop, &acceptor->watch, 0);
	fd_close(&acceptor->watch.fd);
	atomic_store(&acceptor->tally->limited, 0);
	set_state(acceptor, ACCEPTOR_RELEASED, 0);
	worker->acceptors_open--;
	if (worker->phase != PHASE_ORPHANED)
		acceptors_say_released(worker, acceptor->from.index);
	end_if_over(acceptor);
}

/* ---- balance ---- */

/* The sibling with the fewest connections that can be expected to take one, or -1. */
static int least_sibling(const struct worker *worker, uint32_t *connections)
{
	const struct scoreboard *scoreboard = worker->from->scoreboard;
	int least = -1;

	for (size_t i = 0; i < scoreboard->slots_count; i++) {
		const struct slot *slot = &scoreboard->slots[i];
		int64_t beat;
		uint32_t theirs;

		if (i == worker->from->slot ||
		    atomic_load_explicit(&slot->state, memory_order_relaxed) != SLOT_SERVING)
			continue;
		beat = atomic_load_explicit(&slot->beat, memory_order_relaxed);
		/* Compared without a difference: whoever went wild may have written any number
		 * there. */
		if (beat < worker->now - FRESH_BEAT_MS || beat > worker->now + FRESH_BEAT_MS)
			continue;
		/* It was told of a connection and has not turned since: it does not come. */
		if (beat < worker->passed_at[i] &&
		    worker->now - worker->passed_at[i] >= PATIENCE_MS)
			continue;
		theirs = atomic_load_explicit(&slot->connections, memory_order_relaxed);
		if (least == -1 || theirs < *connections) {
			least = (int)i;
			*connections = theirs;
		}
	}
	return least;
}

/* Tells a sibling to try this listener. */
static void pass_on(struct acceptor *acceptor, int sibling)
{
	struct worker *worker = acceptor->worker;
	struct slot *slot = &worker->from->scoreboard->slots[sibling];
	_Atomic uint32_t *hint = &slot->hint;
	uint32_t nothing = HINT_NONE;

	if (!atomic_compare_exchange_strong(hint, &nothing, hint_of(acceptor)) &&
	    nothing != hint_of(acceptor))
		atomic_store(hint, HINT_ALL);
	if (atomic_load_explicit(&slot->beat, memory_order_relaxed) >= worker->passed_at[sibling])
		worker->passed_at[sibling] = worker->now;
	slot_add(&worker->self->passed, 1);
	bell_ring(worker->from->bells[sibling]);
}

/* The sibling that we are ahead of by more than a little, or -1. */
static int whom_ahead_of(const struct worker *worker)
{
	uint32_t least = 0;
	int sibling;

	if (worker->phase != PHASE_SERVING || worker->open <= SLACK)
		return -1;
	sibling = least_sibling(worker, &least);
	return sibling == -1 || worker->open <= least + SLACK + least / 8 ? -1 : sibling;
}

/* Defers to a sibling if we are ahead of it. Returns whether it did. */
static bool defer(struct acceptor *acceptor)
{
	struct worker *worker = acceptor->worker;
	int sibling = whom_ahead_of(worker);

	if (sibling == -1)
		return false;
	take_out(acceptor, ACCEPTOR_DEFERRED, worker->now + DEFER_MS);
	pass_on(acceptor, sibling);
	return true;
}

/* ---- the limit of a listener ---- */

/* How many connections of it are open, over all workers. */
static uint64_t count_open(const struct acceptor *acceptor)
{
	const struct scoreboard *scoreboard = acceptor->worker->from->scoreboard;
	uint64_t sum = 0;

	for (size_t i = 0; i < scoreboard->slots_count; i++) {
		if (i == acceptor->worker->from->slot ||
		    atomic_load_explicit(&scoreboard->slots[i].state, memory_order_relaxed) !=
			SLOT_VACANT)
			sum += atomic_load(
			    &scoreboard_tally(scoreboard, i, acceptor->from.index)->open);
	}
	return sum;
}

static void give_back(struct acceptor *acceptor)
{
	if (acceptor->reserved)
		atomic_store(&acceptor->tally->open, slot_read(&acceptor->tally->open) - 1);
	acceptor->reserved = false;
}

/*
 * Takes a place for one more connection. Counted first and looked at then: of two workers that do
 * so at once at least one sees the other, so there is never one too many.
 */
static bool reserve(struct acceptor *acceptor)
{
	if (acceptor->most < 0 || acceptor->reserved)
		return true;
	atomic_store(&acceptor->tally->open, slot_read(&acceptor->tally->open) + 1);
	atomic_thread_fence(memory_order_seq_cst);
	acceptor->reserved = true;
	if (count_open(acceptor) <= (uint64_t)acceptor->most) {
		acceptor->limited_ms = 0;
		atomic_store(&acceptor->tally->limited, 0);
		return true;
	}
	give_back(acceptor);
	return false;
}

/* Back soon at first, for two that saw each other were both turned away, then less soon. */
static void become_limited(struct acceptor *acceptor)
{
	int64_t ms = acceptor->limited_ms * 2 + 1 + acceptor->worker->from->slot % 4;

	acceptor->limited_ms = ms < LIMITED_MS ? ms : LIMITED_MS;
	atomic_store(&acceptor->tally->limited, 1);
	take_out(acceptor, ACCEPTOR_LIMITED, acceptor->worker->now + acceptor->limited_ms);
}

/* A connection has ended: whoever was turned away may take another, in this worker or a sibling. */
static void tell_limited(struct acceptor *acceptor)
{
	const struct scoreboard *scoreboard = acceptor->worker->from->scoreboard;

	if (acceptor->most < 0 || count_open(acceptor) + 1 < (uint64_t)acceptor->most)
		return;
	if (acceptor->state == ACCEPTOR_LIMITED)
		acceptor->until = 0;
	for (size_t i = 0; i < scoreboard->slots_count; i++) {
		uint32_t state =
		    atomic_load_explicit(&scoreboard->slots[i].state, memory_order_relaxed);

		if (i != acceptor->worker->from->slot &&
		    (state == SLOT_SERVING || state == SLOT_LEAVING))
			pass_on(acceptor, (int)i);
	}
}

static void say_fullness(struct worker *worker)
{
	uint32_t state = worker->phase != PHASE_SERVING ? SLOT_LEAVING
	    : worker->open >= worker->max               ? SLOT_FULL
	    : worker->now < worker->starved_until       ? SLOT_FULL
							: SLOT_SERVING;

	atomic_store_explicit(&worker->self->state, state, memory_order_relaxed);
}

/*
 * We were the one that was woken, and cannot: whoever can is told. When no sibling seems fit, all
 * are, for one that was taken for hanging may be back before we are.
 */
static void tell_somebody(struct acceptor *acceptor)
{
	const struct scoreboard *scoreboard = acceptor->worker->from->scoreboard;
	uint32_t connections;
	int sibling = least_sibling(acceptor->worker, &connections);

	if (sibling >= 0) {
		pass_on(acceptor, sibling);
		return;
	}
	for (size_t i = 0; i < scoreboard->slots_count; i++) {
		if (i != acceptor->worker->from->slot &&
		    atomic_load_explicit(&scoreboard->slots[i].state, memory_order_relaxed) ==
			SLOT_SERVING)
			pass_on(acceptor, (int)i);
	}
}

/* No room: stops polling. */
static void become_full(struct acceptor *acceptor)
{
	say_fullness(acceptor->worker);
	take_out(acceptor, ACCEPTOR_FULL, CLOCK_NEVER);
	if (acceptor->worker->phase == PHASE_SERVING)
		tell_somebody(acceptor);
}

/* ---- accept and its errors ---- */

enum verdict { VERDICT_NEXT, VERDICT_EMPTY, VERDICT_EXHAUSTED, VERDICT_BROKEN };

/* What an error of accept(2) asks for. */
static enum verdict judge(int error)
{
	switch (error) {
	case EAGAIN:
#if EWOULDBLOCK != EAGAIN
	case EWOULDBLOCK:
#endif
		return VERDICT_EMPTY;
	/* The connection at the head is gone, or the kernel tells of a network error on it: there
	 * may be another. */
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case EPERM: /* a firewall rule forbids it */
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
	case ETIMEDOUT:
#ifdef ENONET
	case ENONET:
#endif
		return VERDICT_NEXT;
	/* It will work again when something is freed, by us or by others. */
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
		return VERDICT_EXHAUSTED;
	/* EINVAL after shutdown(2), EBADF, and what nobody has thought of: the flag says whether it
	 * is the end. */
	default:
		return VERDICT_BROKEN;
	}
}

/* Answers one connection of the queue with the reserve descriptor: better than to let it hang. */
static void answer_with_reserve(struct acceptor *acceptor)
{
	const struct service *service = service_of(acceptor->from.service->kind);
	int fd;

	fd_close(&acceptor->worker->reserve);
	fd = system_accept(acceptor->watch.fd, NULL, NULL);
	if (fd >= 0) {
		gate_admit(fd);
		service->refuse(fd);
		fd_close(&fd);
		slot_add(&acceptor->worker->self->refused, 1);
	}
	acceptor->worker->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void exhausted(struct acceptor *acceptor, int error)
{
	struct worker *worker = acceptor->worker;
	uint32_t connections;

	slot_add(&worker->self->pauses, 1);
	worker->starved_until = worker->now + PAUSE_MS;
	say_fullness(worker);
	if (acceptor->starved_since == 0) {
		acceptor->starved_since = worker->now;
		log_write(worker->log, LOG_WARNING,
		    "worker %u: accept: %s; trying again every %d ms", worker->from->slot,
		    strerror(error), PAUSE_MS);
	} else if (worker->now - acceptor->starved_since >= STARVED_MS &&
	    (error == EMFILE || error == ENFILE) && least_sibling(worker, &connections) == -1) {
		answer_with_reserve(acceptor);
	}
	take_out(acceptor, ACCEPTOR_PAUSED, worker->now + PAUSE_MS);
	if (worker->phase == PHASE_SERVING)
		tell_somebody(acceptor);
}

static void broken(struct acceptor *acceptor, int error)
{
	struct worker *worker = acceptor->worker;

	if (closing_word(acceptor->word) & WORD_RELEASED) {
		release(acceptor);
		return;
	}
	/* Gated by shutdown (Unix sockets) and empty: readable for ever, so it is only looked at
	 * now and then. */
	if (!(closing_word(acceptor->word) & WORD_CLOSING) && acceptor->starved_since == 0) {
		acceptor->starved_since = worker->now;
		slot_add(&worker->self->pauses, 1);
		log_write(worker->log, LOG_ERROR, "worker %u: accept: %s", worker->from->slot,
		    strerror(error));
	}
	take_out(acceptor, ACCEPTOR_PAUSED, worker->now + PAUSE_MS);
}

/*
 * Ends one that no service sees, which is an answer: politely where its service could not be
 * started here, at once where it may not speak for others.
 */
static void refuse(struct acceptor *acceptor, int fd)
{
	if (acceptor->refusing)
		service_of(acceptor->from.service->kind)->refuse(fd);
	fd_close(&fd);
	slot_add(&acceptor->worker->self->accepted, 1);
	slot_add(&acceptor->tally->accepted, 1);
	slot_add(&acceptor->tally->answered, 1);
	give_back(acceptor);
}

static void admit(struct acceptor *acceptor, int fd, const union address_socket *peer)
{
	struct worker *worker = acceptor->worker;
	/* Right after accept: what it says of that accept is true. */
	uint64_t word = closing_word(acceptor->word);

	if (word & WORD_GATED)
		gate_admit(fd);
	if (word & WORD_CLOSING)
		closing_saw_arrival(&acceptor->closing, worker->now);
	if (acceptor->starved_since != 0) {
		acceptor->starved_since = worker->starved_until = 0;
		log_write(
		    worker->log, LOG_NOTICE, "worker %u: accept works again", worker->from->slot);
	}
	if (acceptor->refusing || (proxied_is(&acceptor->from) && !proxied_admits(acceptor, peer)))
		refuse(acceptor, fd);
	else
		connection_start(acceptor, fd, peer, word & WORD_CLOSING);
}

/*
 * Accepts what is there. politely: defers to a sibling before the first one; after the first it
 * does in any case, so two workers that pass on to each other always get on. Returns how many it
 * took.
 */
static int take(struct acceptor *acceptor, bool politely)
{
	struct worker *worker = acceptor->worker;
	int taken = 0;

	for (int tries = 0; tries < BATCH; tries++) {
		union address_socket peer = {.any.sa_family = AF_UNIX};
		socklen_t length = sizeof peer;
		int fd;

		if (worker->open >= worker->max) {
			become_full(acceptor);
			return taken;
		}
		if ((politely || taken > 0) && defer(acceptor))
			return taken;
		if (!reserve(acceptor)) {
			become_limited(acceptor);
			return taken;
		}
		fd = system_accept(acceptor->watch.fd, &peer.any, &length);
		if (fd == -1) {
			int error = errno;

			give_back(acceptor);
			switch (judge(error)) {
			case VERDICT_NEXT:
				continue;
			case VERDICT_EMPTY:
				return taken;
			case VERDICT_EXHAUSTED:
				exhausted(acceptor, error);
				return taken;
			case VERDICT_BROKEN:
				broken(acceptor, error);
				return taken;
			}
		}
		admit(acceptor, fd, &peer);
		taken++;
	}
	/* There may be more, of which the loop would not tell us again. */
	if (acceptor->state == ACCEPTOR_IN) {
		loop_watch(worker->loop, &acceptor->watch, 0);
		put_back(acceptor);
	}
	return taken;
}

static void acceptor_ready(struct watch *watch, unsigned events)
{
	(void)events;
	take(container_of(watch, struct acceptor, watch), true);
}

/* ---- what the worker calls ---- */

/* Whether its programs are not this worker's: then it only has a copy. */
static bool is_others(const struct acceptor *acceptor)
{
	return acceptor->state == ACCEPTOR_KEPT &&
	    (!acceptor->worker->from->keeps || acceptor->refusing);
}

/* Its programs accept. The worker that keeps has them started, all others wait for its end. */
static void keep(struct acceptor *acceptor)
{
	set_state(acceptor, ACCEPTOR_KEPT, 0);
	acceptor->closing.foreign = true;
	if (!is_others(acceptor))
		service_of(acceptor->from.service->kind)->keep(acceptor);
}

void acceptor_let_go(struct acceptor *acceptor)
{
	/* An orphan still has to shut it down. */
	if (acceptor->worker->phase == PHASE_ORPHANED)
		acceptor->closing.left = true;
	else
		release(acceptor);
}

bool acceptor_is_served_elsewhere(const struct acceptor *acceptor)
{
	const struct scoreboard *scoreboard = acceptor->worker->from->scoreboard;

	for (size_t i = 0; i < scoreboard->slots_count; i++) {
		uint32_t state =
		    atomic_load_explicit(&scoreboard->slots[i].state, memory_order_relaxed);

		if (i != acceptor->worker->from->slot && state != SLOT_VACANT &&
		    state != SLOT_LEAVING &&
		    slot_read(&scoreboard_tally(scoreboard, i, acceptor->from.index)->serves) != 0)
			return true;
	}
	return false;
}

/* Of an orphan: nobody else closes it. */
static void begin_closing(struct acceptor *acceptor)
{
	struct worker *worker = acceptor->worker;

	if (is_others(acceptor)) {
		release(acceptor);
		return;
	}
	closing_heed(&acceptor->closing);
	closing_begin(&acceptor->closing, worker->now, worker->config->settle);
}

void acceptors_add(struct worker *worker, const struct handover_listener *listener)
{
	const struct scoreboard *scoreboard = worker->from->scoreboard;
	struct acceptor *acceptor = calloc(1, sizeof *acceptor);
	int fd = listener->fd;

	acceptors_sweep(worker); /* the place may be that of one that was released in this turn */
	if (acceptor == NULL || worker->acceptors_by_index[listener->index] != NULL) {
		/* Not as it should be: the master takes its copy for given up, and replaces us. */
		log_write(worker->log, LOG_ERROR, "worker %u: cannot take a listener: %s",
		    worker->from->slot,
		    acceptor == NULL ? strerror(errno) : "it has one in its place");
		free(acceptor);
		fd_close(&fd);
		listening_end(listener);
		acceptors_say_released(worker, listener->index);
		return;
	}
	*acceptor = (struct acceptor){
	    .watch = {.fd = fd, .ready = acceptor_ready},
	    .worker = worker,
	    .from = *listener,
	    .word = &scoreboard->listeners[listener->index],
	    .tally = scoreboard_tally(scoreboard, worker->from->slot, listener->index),
	    .state = ACCEPTOR_IN,
	    .most = -1,
	    .refusing = !listening_start(worker, listener),
	    .next = worker->acceptors,
	    .link = &worker->acceptors,
	};
	if (acceptor->next != NULL)
		acceptor->next->link = &acceptor->next;
	if (service_of(listener->service->kind)->most != NULL)
		acceptor->most =
		    service_of(listener->service->kind)->most(listener->service->options);
	closing_init(&acceptor->closing, fd, (enum listener_kind)listener->kind, acceptor->word);
	worker->acceptors = acceptor;
	worker->acceptors_by_index[listener->index] = acceptor;
	worker->acceptors_open++;
	if (listener->service->kind->accepts_itself) {
		keep(acceptor);
	} else {
		/* Programs may have had it before. */
		fd_set_nonblocking(fd);
		atomic_store_explicit(&acceptor->tally->serves, 1, memory_order_relaxed);
	}
	if (worker->phase == PHASE_ORPHANED)
		begin_closing(acceptor);
	if (acceptor->state == ACCEPTOR_IN)
		put_back(acceptor);
}

int acceptors_open(struct worker *worker)
{
	const struct handover *from = worker->from;

	worker->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	worker->acceptors_by_index = calloc(SCOREBOARD_LISTENERS, sizeof(struct acceptor *));
	worker->passed_at = calloc(from->bells_count, sizeof *worker->passed_at);
	if (worker->acceptors_by_index == NULL || worker->passed_at == NULL)
		return -1;
	if (worker->waiting)
		return 0;
	acceptors_serve(worker);
	return worker->acceptors_open == from->listeners_count ? 0 : -1;
}

void acceptors_serve(struct worker *worker)
{
	const struct handover *from = worker->from;

	worker->waiting = false;
	for (size_t i = 0; i < from->listeners_count; i++)
		acceptors_add(worker, &from->listeners[i]);
}

void acceptor_connection_ended(struct acceptor *acceptor)
{
	acceptor->connections--;
	tell_limited(acceptor);
	end_if_over(acceptor);
}

int64_t acceptors_tell(struct worker *worker)
{
	for (unsigned index = 0; worker->untold > 0 && index < SCOREBOARD_LISTENERS; index++) {
		uint64_t bit = (uint64_t)1 << index % 64;

		if (!(worker->untold_indexes[index / 64] & bit))
			continue;
		if (channel_send(worker->from->channel, CHANNEL_RELEASED, index) == -1)
			return worker->now + TELL_MS;
		worker->untold_indexes[index / 64] &= ~bit;
		worker->untold--;
	}
	return CLOCK_NEVER;
}

void acceptors_sweep(struct worker *worker)
{
	struct acceptor *at = worker->over, *following;

	if (at == NULL)
		return;
	worker->over = NULL;
	access_log_flush_all(worker); /* a log goes with its service */
	for (; at != NULL; at = following) {
		following = at->next_over;
		*at->link = at->next;
		if (at->next != NULL)
			at->next->link = at->link;
		worker->acceptors_by_index[at->from.index] = NULL;
		listening_end(&at->from);
		free(at);
	}
}

int64_t acceptors_return(struct worker *worker)
{
	struct acceptor *at = worker->out;
	int64_t next = CLOCK_NEVER;

	if (!worker->waiting)
		say_fullness(worker);
	worker->out = NULL;
	while (at != NULL) {
		struct acceptor *acceptor = at;
		bool room = worker->open < worker->max;
		bool deferred = acceptor->state == ACCEPTOR_DEFERRED;

		at = at->next_out;
		if (deferred && whom_ahead_of(worker) == -1)
			acceptor->until = 0; /* with short connections that is soon */
		if (acceptor->state == ACCEPTOR_FULL ? !room : worker->now < acceptor->until) {
			acceptor->next_out = worker->out;
			worker->out = acceptor;
			next = clock_earlier(next, acceptor->until);
			continue;
		}
		put_in(acceptor);
		if (acceptor->state != ACCEPTOR_IN) {
			acceptor->next_out = worker->out;
			worker->out = acceptor;
			next = clock_earlier(next, acceptor->until);
		} else if (deferred) {
			take(acceptor, false);
			next = clock_earlier(
			    next, acceptor->until == 0 ? CLOCK_NEVER : acceptor->until);
		}
	}
	return next;
}

/* Does what its word says, and tries to accept. */
static void look(struct acceptor *acceptor)
{
	uint64_t word = closing_word(acceptor->word);

	if (acceptor->state == ACCEPTOR_KEPT) {
		if (is_others(acceptor) && (word & (WORD_LEAVE | WORD_RELEASED)))
			release(acceptor);
		return; /* instances_step looks at the word, too */
	}
	/* While it is out of the set for want of something, that decides when it is tried again. */
	if (acceptor->state != ACCEPTOR_RELEASED &&
	    ((word & WORD_RELEASED) || acceptor->state == ACCEPTOR_IN ||
		acceptor->state == ACCEPTOR_DEFERRED || acceptor->state == ACCEPTOR_LIMITED))
		take(acceptor, false);
	if (acceptor->state == ACCEPTOR_LIMITED && acceptor->limited_ms == 0)
		acceptor->until = 0; /* it was given a place: back into the set */
	if (word & WORD_RELEASED)
		release(acceptor);
	if (word & WORD_CUT)
		connections_cut(acceptor->worker, acceptor);
}

void acceptors_look(struct worker *worker, uint32_t hint)
{
	if (hint != HINT_ALL) {
		struct acceptor *acceptor = hint >= 1 && hint <= SCOREBOARD_LISTENERS
		    ? worker->acceptors_by_index[hint - 1]
		    : NULL;

		if (acceptor != NULL)
			look(acceptor);
		return;
	}
	for (struct acceptor *at = worker->acceptors; at != NULL; at = at->next)
		look(at);
}

void acceptors_leave(struct worker *worker)
{
	for (struct acceptor *at = worker->acceptors; at != NULL; at = at->next) {
		if (is_others(at))
			release(at);
		if (at->state == ACCEPTOR_RELEASED || at->state == ACCEPTOR_KEPT)
			continue;
		/* Out of the set first: a wake-up that was already ours is answered by the look
		 * that follows. */
		loop_watch(worker->loop, &at->watch, 0);
		for (int64_t left = worker->config->backlog; left > 0 && take(at, false) == BATCH;
		     left -= BATCH)
			loop_watch(worker->loop, &at->watch, 0);
		if (at->state != ACCEPTOR_IN)
			tell_somebody(at); /* it could not take what it may have been woken for */
		release(at);
	}
}

void acceptors_begin_closing(struct worker *worker)
{
	for (struct acceptor *at = worker->acceptors; at != NULL; at = at->next) {
		if (at->state != ACCEPTOR_RELEASED)
			begin_closing(at);
	}
}

/* One step of one. Returns true when it was gated just now. */
static bool step_closing(struct acceptor *acceptor, int64_t *next)
{
	struct worker *worker = acceptor->worker;
	struct closing *closing = &acceptor->closing;
	enum closing_state before = closing->state;

	if (acceptor->state == ACCEPTOR_RELEASED)
		return false;
	if (scoreboard_is_limited(worker->from->scoreboard, acceptor->from.index))
		closing_saw_arrival(closing, worker->now);
	if (closing_step(closing, &worker->census, worker->now) != CLOCK_NEVER &&
	    !(closing_word(acceptor->word) & WORD_RELEASED)) {
		*next = clock_earlier(*next, closing->look_at);
		return closing->state == CLOSING_GATED && before != CLOSING_GATED;
	}
	if (closing->lost > 0)
		log_write(worker->log, LOG_WARNING,
		    "worker %u: a listener was closed with %d connections in its queue, which are "
		    "lost",
		    worker->from->slot, closing->lost);
	if (acceptor->state != ACCEPTOR_KEPT)
		take(acceptor, false);
	release(acceptor);
	return false;
}

int64_t acceptors_step_closing(struct worker *worker)
{
	int64_t next;
	bool gated;

	/* All gates first, so that one census does for all. */
	gate_census_clear(&worker->census);
	do {
		next = CLOCK_NEVER;
		gated = false;
		for (struct acceptor *at = worker->acceptors; at != NULL; at = at->next)
			gated |= step_closing(at, &next);
	} while (gated);
	return next;
}

void acceptors_release_all(struct worker *worker)
{
	for (struct acceptor *at = worker->acceptors; at != NULL; at = at->next)
		release(at);
}
