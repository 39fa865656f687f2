/*
 * The table of connections, and what every service needs to read, write and end one. Nothing is
 * allocated here after connections_open.
 */
#include "connection.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "descriptor.h"
#include "proxied.h"
#include "service.h"
#include "worker.h"

#define LINGER_MS 2000 /* for a client that sends nothing more, and while the worker drains */
#define LINGER_MAX_MS 10000 /* for one that goes on sending */
#define LINGER_READS 16

static void *reserve(size_t size)
{
	void *memory = mmap(
	    NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

int connections_open(struct worker *worker)
{
	worker->max = (size_t)worker->config->max_connections;
	worker->connections = reserve(worker->max * sizeof *worker->connections);
	worker->privates = reserve(worker->max * sizeof *worker->privates);
	if (worker->connections == NULL || worker->privates == NULL)
		return -1;
	/* One for what comes in and one for what goes out. */
	return buffers_open(&worker->buffers, worker->max * 2);
}

const union address_socket *connection_peer(const struct connection *c, union address_socket *out)
{
	memset(out, 0, sizeof *out);
	memcpy(out, &c->peer, sizeof c->peer);
	return out;
}

void connection_set_peer(struct connection *c, const union address_socket *peer)
{
	if (peer->any.sa_family == AF_UNIX)
		c->peer.any.sa_family = AF_UNIX;
	else
		memcpy(&c->peer, peer, sizeof c->peer);
}

void *connection_private(struct connection *c)
{
	struct worker *worker = c->worker;
	union connection_private *part = worker->privates_vacant;

	if (c->private != NULL)
		return c->private;
	if (part != NULL)
		worker->privates_vacant = part->next;
	else
		part = &worker->privates[worker->privates_touched++];
	memset(part, 0, sizeof *part);
	c->private = part;
	return part;
}

void connection_private_give(struct connection *c)
{
	if (c->private == NULL)
		return;
	c->private->next = c->worker->privates_vacant;
	c->worker->privates_vacant = c->private;
	c->private = NULL;
}

void connection_set_state(struct connection *c, enum connection_state state)
{
	c->state = state;
}

/* Whoever still sends has perhaps not looked yet for the answer, and gets more time, up to a limit.
 */
static void linger_on(struct connection *c)
{
	int64_t left = c->linger_until - c->worker->now;

	if (!connection_draining(c))
		connection_deadline(c, left < LINGER_MS ? left : LINGER_MS);
}

static void linger_ready(struct connection *c)
{
	char bytes[8192];
	int reads =
	    LINGER_READS; /* somebody who sends as fast as we read must not hold the others */
	ssize_t got;

	do {
		/* Where a program had it, the descriptor waits. */
		got = recv(c->watch.fd, bytes, sizeof bytes, MSG_DONTWAIT);
	} while ((got == (ssize_t)sizeof bytes || (got == -1 && errno == EINTR)) && --reads > 0);
	if (got > 0 || (got == -1 && (errno == EAGAIN || errno == EINTR)))
		linger_on(c);
	else
		connection_close(c, OUTCOME_ANSWERED);
}

static void ready(struct watch *watch, unsigned events)
{
	struct connection *c = container_of(watch, struct connection, watch);

	if (events & LOOP_MARK)
		c->marked = true;
	if (c->state == CONNECTION_LINGER)
		linger_ready(c);
	else if (c->state != CONNECTION_FREE)
		c->service->ready(c, events);
}

static void fire(struct timer *timer)
{
	struct connection *c = container_of(timer, struct connection, timer);

	if (c->state == CONNECTION_LINGER)
		connection_close(c, OUTCOME_ANSWERED);
	else
		c->service->expire(c);
}

void connection_start(
    struct acceptor *acceptor, int fd, const union address_socket *peer, bool late)
{
	struct worker *worker = acceptor->worker;
	const struct service_config *service = acceptor->from.service;
	struct connection *c = worker->vacant;

	if (c != NULL)
		worker->vacant = c->next;
	else
		c = &worker->connections[worker->touched++];
	*c = (struct connection){
	    .watch = {.fd = fd, .ready = ready},
	    .timer = {.fire = fire},
	    .worker = worker,
	    .acceptor = acceptor,
	    .service = service_of(service->kind),
	    .options = service->options,
	    .level = peer->any.sa_family == AF_UNIX,
	    .late = late,
	    .last_call = late && worker_hears_last_call(worker),
	};
	connection_set_peer(c, peer);
	connection_set_state(c, CONNECTION_FRESH);
	worker->open++;
	atomic_store_explicit(
	    &worker->self->connections, (uint32_t)worker->open, memory_order_relaxed);
	slot_add(&worker->self->accepted, 1);
	/* Where there is a limit it was counted before it was accepted. */
	slot_add(&acceptor->tally->open, !acceptor->reserved);
	acceptor->reserved = false;
	slot_add(&acceptor->tally->accepted, 1);
	acceptor->connections++;
	if (proxied_is(&acceptor->from))
		proxied_open(c);
	else
		c->service->open(c);
}

enum transfer connection_read(struct connection *c, bool *drained)
{
	ssize_t got;
	size_t room;

	if (c->in == NULL)
		c->in = buffer_take(&c->worker->buffers);
	else
		buffer_compact(c->in);
	room = buffer_room(c->in);
	if (room == 0) {
		c->unread = true;
		return TRANSFER_AGAIN;
	}
	do {
		got = recv(c->watch.fd, c->in->bytes + c->in->end, room, 0);
	} while (got == -1 && errno == EINTR);
	if (got == 0)
		return TRANSFER_END;
	if (got == -1)
		return errno == EAGAIN ? TRANSFER_AGAIN : TRANSFER_GONE;
	c->in->end += (uint32_t)got;
	c->worker->reads++;
	*drained = (size_t)got < room && !c->marked;
	return TRANSFER_SOME;
}

void connection_answer_later(struct connection *c)
{
	struct worker *worker = c->worker;

	if (c->ahead)
		return;
	c->ahead = true;
	c->next_ahead = NULL;
	if (worker->ahead == NULL)
		worker->ahead_end = &worker->ahead;
	*worker->ahead_end = c;
	worker->ahead_end = &c->next_ahead;
	if (++worker->ahead_count == AHEAD_MAX)
		connections_answer(worker);
}

/* One that is closed before its turn; rare enough to be looked for. */
static void forget_ahead(struct connection *c)
{
	struct worker *worker = c->worker;
	struct connection **link = &worker->ahead;

	if (!c->ahead)
		return;
	while (*link != c)
		link = &(*link)->next_ahead;
	*link = c->next_ahead;
	if (worker->ahead_end == &c->next_ahead)
		worker->ahead_end = link;
	worker->ahead_count--;
	c->ahead = false;
}

void connections_answer(struct worker *worker)
{
	while (worker->ahead != NULL) {
		struct connection *c = worker->ahead;

		worker->ahead = c->next_ahead;
		if (worker->ahead == NULL)
			worker->ahead_end = &worker->ahead;
		worker->ahead_count--;
		c->ahead = false;
		c->service->ready(c, 0);
	}
}

enum transfer connection_flush(struct connection *c)
{
	while (c->out != NULL && buffer_length(c->out) > 0) {
		ssize_t sent = send(c->watch.fd, c->out->bytes + c->out->begin,
		    buffer_length(c->out), MSG_NOSIGNAL);

		if (sent == -1 && errno == EINTR)
			continue;
		if (sent == -1)
			return errno == EAGAIN ? TRANSFER_AGAIN : TRANSFER_GONE;
		c->out->begin += (uint32_t)sent;
	}
	buffer_give(&c->worker->buffers, &c->out);
	return TRANSFER_SOME;
}

void connection_rest(struct connection *c)
{
	if (c->in != NULL && buffer_length(c->in) == 0)
		buffer_give(&c->worker->buffers, &c->in);
}

void connection_want(struct connection *c, unsigned events)
{
	struct loop *loop = c->worker->loop;
	bool again;

	if (c->level)
		events &= ~(unsigned)LOOP_EDGE;
	again = c->unread && events != 0 && events == c->watch.events;
	c->unread = false;
	/* There is room for every connection; without it this one could never be heard of again. */
	if ((again ? loop_again(loop, &c->watch) : loop_watch(loop, &c->watch, events)) == -1)
		connection_close(c, OUTCOME_CUT);
}

void connection_deadline(struct connection *c, int64_t ms_from_now)
{
	timer_set(&c->worker->wheel, &c->timer, c->worker->now + ms_from_now);
}

void connection_no_deadline(struct connection *c)
{
	timer_clear(&c->worker->wheel, &c->timer);
}

void connection_finish(struct connection *c, bool clean)
{
	if (clean || shutdown(c->watch.fd, SHUT_WR) == -1) {
		connection_close(c, OUTCOME_ANSWERED);
		return;
	}
	buffer_give(&c->worker->buffers, &c->in);
	buffer_give(&c->worker->buffers, &c->out);
	if (c->service->close != NULL)
		c->service->close(c);
	connection_private_give(c);
	connection_set_state(c, CONNECTION_LINGER);
	c->linger_until = c->worker->now + LINGER_MAX_MS;
	connection_deadline(c, LINGER_MS);
	connection_want(c, LOOP_READ);
}

/* In the worker's numbers, which are those of a stop, and in those of the listener. */
static void count_outcome(const struct connection *c, enum outcome outcome)
{
	const struct worker *worker = c->worker;
	struct slot *self = worker->self;
	struct tally *tally = c->acceptor->tally;
	bool stopping =
	    (worker->phase >= PHASE_STOPPING && !worker->retirement_over) || c->last_call;

	if (outcome == OUTCOME_BROKEN)
		slot_add(&self->broken, !stopping);
	if (outcome == OUTCOME_ANSWERED) {
		slot_add(&self->answered, stopping);
		slot_add(&self->queued, c->last_call);
		slot_add(&tally->answered, 1);
		slot_add(&tally->queued, c->late);
	} else if (outcome == OUTCOME_LEFT) {
		slot_add(&self->left, stopping);
		slot_add(&tally->left, 1);
	} else {
		slot_add(&self->cut, stopping);
		slot_add(&tally->cut, 1);
	}
	/* Last: whoever sees that none is open sees what became of them. */
	atomic_store_explicit(&tally->open, slot_read(&tally->open) - 1, memory_order_release);
}

void connection_close(struct connection *c, enum outcome outcome)
{
	struct worker *worker = c->worker;

	if (c->state == CONNECTION_FREE)
		return;
	if (c->service->close != NULL && c->state != CONNECTION_LINGER)
		c->service->close(c);
	forget_ahead(c);
	timer_clear(&worker->wheel, &c->timer);
	/* Closing our copy alone would not take it out of the loop. */
	if (c->shared)
		loop_watch(worker->loop, &c->watch, 0);
	else
		loop_forget(worker->loop, &c->watch);
	buffer_give(&worker->buffers, &c->in);
	buffer_give(&worker->buffers, &c->out);
	connection_private_give(c);
	if (c->shared)
		shutdown(c->watch.fd, SHUT_RDWR);
	fd_close(&c->watch.fd);
	connection_set_state(c, CONNECTION_FREE);
	c->next = worker->vacant;
	worker->vacant = c;
	worker->open--;
	atomic_store_explicit(
	    &worker->self->connections, (uint32_t)worker->open, memory_order_relaxed);
	count_outcome(c, outcome);
	acceptor_connection_ended(c->acceptor);
}

void connections_cut(struct worker *worker, const struct acceptor *acceptor)
{
	enum outcome cut = worker->phase == PHASE_RETIRING ? OUTCOME_BROKEN : OUTCOME_CUT;

	for (size_t i = 0; i < worker->touched; i++) {
		struct connection *c = &worker->connections[i];

		if (c->state == CONNECTION_FREE || (acceptor != NULL && c->acceptor != acceptor))
			continue;
		if (c->state == CONNECTION_LINGER)
			connection_close(c, OUTCOME_ANSWERED);
		else if (c->service->cut == NULL || !c->service->cut(c, cut))
			connection_close(c, cut);
	}
}

bool connection_draining(const struct connection *c)
{
	return c->worker->phase != PHASE_SERVING || !connection_port_stays(c);
}

bool connection_port_stays(const struct connection *c)
{
	return !worker_is_leaving(c->worker) &&
	    (closing_word(c->acceptor->word) & WORD_CLOSING) == 0;
}
