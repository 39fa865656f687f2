/*
 * The closing protocol; hold it against closing.h and the description in HACKING.md. It keeps no
 * truth in the shared word but what it says there to others: what a worker scribbles into it cannot
 * mislead the master.
 */
#include "closing.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "clock.h"
#include "descriptor.h"
#include "scoreboard.h"
#include "system.h"

#define FIRST_DRAIN_MS 20 /* at most, before the gate */
#define QUIET_MS 300 /* without an arrival, where nothing counts handshakes */
#define LOOK_MS 1 /* between looks; */
#define LOOK_LATER_MS 10 /* once it has taken longer than 100 ms */

const char *gate_way_name(enum gate_way way)
{
	static const char *const names[] = {"none", "SYN filter", "TTL", "backlog", "shutdown"};

	return names[way];
}

static void set_state(struct closing *closing, enum closing_state state, int64_t now)
{
	closing->state = state;
	closing->look_at = state != CLOSING_OPEN && state != CLOSING_RELEASED ? now : CLOCK_NEVER;
}

static void say(struct closing *closing, uint64_t flag)
{
	atomic_fetch_or_explicit(closing->word, flag, memory_order_acq_rel);
}

void closing_init(struct closing *closing, int fd, enum listener_kind kind, _Atomic uint64_t *word)
{
	*closing = (struct closing){
	    .state = CLOSING_OPEN,
	    .fd = fd,
	    .kind = kind,
	    .ours = true,
	    .word = word,
	    .filter = -1,
	    .look_at = CLOCK_NEVER,
	};
}

void closing_share(struct closing *closing, bool shared)
{
	closing->ours = !shared;
	closing_restate(closing);
}

void closing_heed(struct closing *closing)
{
	closing->ours = !(closing_word(closing->word) & WORD_SHARED);
}

void closing_begin(struct closing *closing, int64_t now, int64_t settle)
{
	if (closing->state != CLOSING_OPEN)
		return;
	say(closing, WORD_CLOSING);
	closing->begun = closing->quiet_since = now;
	closing->settle = settle;
	set_state(closing, CLOSING_DRAINING, now);
}

/* Whether somebody waits in the queue: by count, or by what poll says, which means the same. */
static bool queue_is_empty(const struct closing *closing)
{
	struct pollfd listener = {.fd = closing->fd, .events = POLLIN};
	int queued = gate_queue(closing->fd, closing->kind);

	if (queued >= 0)
		return queued == 0;
	/* A Unix socket that was shut down is always readable: its drain ends with the quiet alone.
	 */
	if (closing->kind == LISTENER_UNIX && closing->state == CLOSING_GATED && !closing->foreign)
		return true;
	return poll(&listener, 1, 0) == 0;
}

void closing_gate(struct closing *closing, int64_t now)
{
	if (closing->state >= CLOSING_GATED || !closing->ours)
		return;
	if (closing->foreign) {
		/* Nobody new finds the path of a Unix socket, and to shut it down would be an error
		 * to who accepts. */
		if (closing->kind == LISTENER_TCP)
			closing->way = gate_set_exact(closing->fd, closing->filter);
		closing->quiet_since = now;
		set_state(closing, CLOSING_GATED, now);
		return;
	}
	/* The word comes first: a connection accepted under the gate must find it there. */
	say(closing, WORD_CLOSING | WORD_GATED);
	closing->ever_gated = true;
	closing->way = gate_set(closing->fd, closing->kind, closing->filter);
	closing->quiet_since = now;
	set_state(closing, CLOSING_GATED, now);
}

/* Where nothing counts the queue: takes it and resets it, which closing it would do, too. */
static int drop_queue(const struct closing *closing)
{
	int dropped = 0, fd;

	if (closing->foreign)
		fd_set_nonblocking(closing->fd); /* programs have it as they like it */
	while ((fd = system_accept(closing->fd, NULL, NULL)) >= 0 || errno == EINTR ||
	    errno == ECONNABORTED) {
		dropped += fd >= 0;
		fd_close(&fd);
	}
	return dropped;
}

/* How many connections wait in the queue; where nobody counts them they are taken and reset, as the
 * release would do. */
static int count_queue(const struct closing *closing)
{
	int queued = closing->ours ? gate_queue(closing->fd, closing->kind) : 0;

	return queued < 0 ? drop_queue(closing) : queued;
}

static void release(struct closing *closing, int64_t now)
{
	say(closing, (closing->foreign ? WORD_LEAVE : 0) | WORD_RELEASED);
	if (closing->ours)
		shutdown(closing->fd, SHUT_RDWR);
	set_state(closing, CLOSING_RELEASED, now);
}

/*
 * Whether nothing can be lost any more. The order matters: the gate was set before the census was
 * taken, so no handshake has begun since; one that has ended since is in the queue by the second
 * look at it.
 */
static bool nothing_pending(struct closing *closing, struct gate_census *census, int64_t now)
{
	int handshakes;

	if (!queue_is_empty(closing)) {
		closing_saw_arrival(closing, now);
		return false;
	}
	handshakes =
	    closing->none_under_way ? 0 : gate_handshakes(closing->fd, closing->kind, census);
	if (handshakes < 0)
		return now - closing->quiet_since >= QUIET_MS;
	closing->handshakes_left = handshakes;
	if (handshakes > 0 && now - closing->begun < closing->settle)
		return false;
	return queue_is_empty(closing);
}

/* Those who accept are told to stop that. */
static void yield(struct closing *closing, int64_t now)
{
	say(closing, WORD_LEAVE);
	closing->left = false;
	closing->yield_ends = now + closing->settle;
	set_state(closing, CLOSING_YIELDING, now);
}

/* Nothing can be lost any more that we can wait for. */
static void end_drain(struct closing *closing, int64_t now)
{
	if (closing->foreign)
		yield(closing, now);
	else
		release(closing, now);
}

/* Whether it is gated in a way that lets its queue become empty. */
static bool is_shut(const struct closing *closing)
{
	return !closing->foreign || closing->kind == LISTENER_UNIX || closing->way != GATE_NONE;
}

int64_t closing_step(struct closing *closing, struct gate_census *census, int64_t now)
{
	if (now < closing->look_at)
		return closing->look_at;
	if (closing->state == CLOSING_DRAINING &&
	    (queue_is_empty(closing) || now - closing->begun >= FIRST_DRAIN_MS)) {
		if (!closing->ours) {
			end_drain(closing, now);
			return closing->look_at;
		}
		closing_gate(closing, now);
		gate_census_clear(census);
		return closing->look_at;
	}
	if (closing->state == CLOSING_GATED &&
	    (!is_shut(closing) || nothing_pending(closing, census, now)))
		end_drain(closing, now);
	if (closing->state == CLOSING_YIELDING && (closing->left || now >= closing->yield_ends)) {
		closing->lost = count_queue(closing);
		release(closing, now);
	}
	if (closing->state != CLOSING_OPEN && closing->state != CLOSING_RELEASED)
		closing->look_at = now + (now - closing->begun < 100 ? LOOK_MS : LOOK_LATER_MS);
	return closing->look_at;
}

int closing_cancel(struct closing *closing, int backlog)
{
	if (closing->state != CLOSING_DRAINING && closing->state != CLOSING_GATED) {
		errno = EALREADY;
		return -1;
	}
	if (closing->state == CLOSING_GATED && gate_clear(closing->fd, closing->way, backlog) == -1)
		return -1;
	closing->way = GATE_NONE;
	closing->none_under_way = false;
	set_state(closing, CLOSING_OPEN, 0);
	closing_restate(closing);
	return 0;
}

void closing_cut(struct closing *closing)
{
	closing->cutting = true;
	say(closing, WORD_CUT);
}

void closing_saw_arrival(struct closing *closing, int64_t now)
{
	closing->quiet_since = now;
}

int closing_force(struct closing *closing)
{
	int queued;

	if (closing->state == CLOSING_RELEASED)
		return 0;
	queued = count_queue(closing);
	release(closing, 0);
	return queued;
}

void closing_restate(struct closing *closing)
{
	static const uint64_t words[] = {
	    [CLOSING_OPEN] = 0,
	    [CLOSING_DRAINING] = WORD_CLOSING,
	    [CLOSING_GATED] = WORD_CLOSING,
	    [CLOSING_YIELDING] = WORD_CLOSING | WORD_LEAVE,
	    [CLOSING_RELEASED] = WORD_CLOSING | WORD_RELEASED,
	};
	uint64_t word = words[closing->state];

	if (closing->ever_gated)
		word |= WORD_GATED;
	if (closing->foreign && closing->state == CLOSING_RELEASED)
		word |= WORD_LEAVE;
	if (closing->cutting)
		word |= WORD_CUT;
	if (!closing->ours)
		word |= WORD_SHARED;
	atomic_store_explicit(closing->word, word, memory_order_release);
}
