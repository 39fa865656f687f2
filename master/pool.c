/*
 * Supervision: forks workers, listens to their hearts, reaps and replaces them. Decisions are made
 * in pool_reconcile and in what it calls, never where an event comes in.
 *
 * Only pids of children that were not reaped yet are signalled, so a pid can never mean somebody
 * else.
 */
#include "pool.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bell.h"
#include "channel.h"
#include "clock.h"
#include "descriptor.h"
#include "memory.h"
#include "signals.h"
#include "system.h"
#include "watchdog.h"

#define MORE_MAX 16 /* workers that can be added to those of the start */
#define MESSAGES_MAX 64 /* of one worker in one go */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 30000
#define CATCH_UP_MS 100 /* until a worker whose channel was full is tried again */
#define RETIRED_CUT_MS 1000 /* from the order to end to SIGKILL, for one that retired */
#define SOUND_MS 10000 /* a worker that lived as long was no failure */

static void channel_ready(struct watch *watch, unsigned events);

static unsigned slot_of(const struct pool *pool, const struct worker_process *worker)
{
	return (unsigned)(worker - pool->workers);
}

void pool_set_state(struct worker_process *worker, enum worker_state state)
{
	worker->state = state;
}

size_t pool_capacity(size_t wanted)
{
	size_t generations = wanted * POOL_GENERATIONS_MAX + MORE_MAX;
	size_t renewal = 2 * (wanted + MORE_MAX);
	size_t capacity = generations > renewal ? generations : renewal;

	return capacity < SCOREBOARD_SLOTS ? capacity : SCOREBOARD_SLOTS;
}

int pool_make(struct pool *pool, size_t capacity)
{
	pool->capacity = capacity;
	pool->drain[0] = pool->drain[1] = -1;
	pool->workers = calloc(pool->capacity, sizeof *pool->workers);
	pool->seats = calloc(POOL_SEATS, sizeof *pool->seats);
	pool->ropes = calloc(pool->capacity, sizeof *pool->ropes);
	pool->ears = calloc(pool->capacity, sizeof *pool->ears);
	if (pool->ropes != NULL && pool->ears != NULL) {
		for (size_t i = 0; i < pool->capacity; i++)
			pool->ropes[i] = pool->ears[i] = -1;
	}
	if (pool->workers == NULL || pool->seats == NULL || pool->ropes == NULL ||
	    pool->ears == NULL)
		return -1;
	for (size_t i = 0; i < POOL_SEATS; i++)
		pool->seats[i] = (struct seat){.worker = -1, .successor = -1, .heir = -1};
	for (size_t i = 0; i < pool->capacity; i++)
		pool_vacate(pool, i);
	return 0;
}

void pool_vacate(struct pool *pool, size_t slot)
{
	pool->workers[slot] = (struct worker_process){
	    .pool = pool,
	    .seat = -1,
	    .channel = {.fd = -1, .ready = channel_ready},
	    .retire_ends = CLOCK_NEVER,
	};
}

int pool_open(struct pool *pool, size_t wanted)
{
	if (pool_make(pool, pool_capacity(wanted)) == -1)
		return -1;
	for (size_t i = 0; i < pool->capacity; i++) {
		if (bell_open(&pool->ropes[i], &pool->ears[i]) == -1)
			return -1;
	}
	if (scoreboard_open(pool->scoreboard, pool->capacity) == -1)
		return -1;
	pool->wanted = wanted;
	pool->most = wanted + MORE_MAX < POOL_SEATS ? wanted + MORE_MAX : POOL_SEATS;
	return fd_pipe(pool->drain);
}

int pool_forget(struct pool *pool)
{
	pool->others = pool->living;
	pool->others_wanted = pool->wanted;
	pool->other_generations = pool_generations(pool);
	for (size_t i = 0; i < pool->capacity; i++) {
		fd_close(&pool->workers[i].channel.fd);
		pool_vacate(pool, i);
		fd_close(&pool->ropes[i]);
		fd_close(&pool->ears[i]);
		if (bell_open(&pool->ropes[i], &pool->ears[i]) == -1)
			return -1;
	}
	for (size_t i = 0; i < POOL_SEATS; i++)
		pool->seats[i] = (struct seat){.worker = -1, .successor = -1, .heir = -1};
	pool->living = pool->wanted = 0;
	pool->rehearses = true;
	return 0;
}

void pool_close(struct pool *pool)
{
	if (pool->capacity == 0)
		return; /* it was never opened */
	for (size_t i = 0; pool->ropes != NULL && pool->ears != NULL && i < pool->capacity; i++) {
		fd_close(&pool->ears[i]);
		fd_close(&pool->ropes[i]);
	}
	fd_close(&pool->drain[0]);
	fd_close(&pool->drain[1]);
	free(pool->workers);
	free(pool->seats);
	free(pool->ropes);
	free(pool->ears);
	pool->workers = NULL;
	pool->capacity = 0;
	scoreboard_close(pool->scoreboard);
}

static void ring(struct pool *pool, unsigned slot)
{
	atomic_store(&pool->scoreboard->slots[slot].hint, HINT_ALL);
	bell_ring(pool->ropes[slot]);
}

void pool_restate(struct pool *pool)
{
	for (size_t i = 0; i < pool->listeners->count; i++) {
		if (pool->listeners->all[i].state != LISTENER_VACANT)
			closing_restate(&pool->listeners->all[i].closing);
	}
	atomic_store(pool->scoreboard->order, (uint32_t)pool->order);
	for (size_t i = 0; i < pool->capacity; i++) {
		if (pool->workers[i].state == WORKER_VACANT)
			atomic_store(&pool->scoreboard->slots[i].state, SLOT_VACANT);
	}
}

/* ---- listeners that come and go ---- */

/* The place of a service in the configuration, or -1: it is a port's own. */
static int place_of(const struct config *config, const struct service_config *service)
{
	int place = 0;

	for (const struct service_config *at = config->services; at != NULL; at = at->next) {
		if (at == service)
			return place;
		place++;
	}
	return -1;
}

/* What a worker is told of a block of the configuration. */
static uint32_t number_of(const struct config *config, const struct listen_block *block)
{
	uint32_t number = 1;

	if (block == NULL)
		return 0;
	for (const struct listen_block *at = config->blocks; at != NULL && at != block;
	     at = at->next)
		number++;
	return number;
}

static uint32_t place_of_kind(const struct service_kind *kind)
{
	uint32_t place = 0;

	while (service_kinds[place] != kind)
		place++;
	return place;
}

/* What a worker must know of a listener. Returns 0, or -1 with errno E2BIG. */
static int describe(
    const struct pool *pool, const struct listener *listener, struct channel_message *message)
{
	const struct service_config *service = listener->service;
	bool own = listener->service_is_ours;
	int place = own ? -1 : place_of(pool->config, service);
	size_t size = 0;

	if (!own && place < 0) {
		errno = ESTALE; /* of a configuration that is no longer in force */
		return -1;
	}

	message->type = CHANNEL_LISTEN;
	message->index = listener->index;
	message->fds[0] = listener->fd;
	message->fds_count = 1;
	message->listen = (struct channel_listen){
	    .kind = listener->kind,
	    .in_place = place < 0,
	    .service = place < 0 ? place_of_kind(service->kind) : (uint32_t)place,
	    .block = number_of(pool->config, listener->block),
	};
	if (place >= 0)
		return 0;
	if (service->kind->argument != NULL &&
	    directive_words(directive_find(service->kind->directives, service->kind->argument),
		service->options, message->words, sizeof message->words, &size) == -1)
		return -1;
	message->listen.words_size = (uint32_t)size;
	if (service->kind->lend != NULL)
		message->fds_count +=
		    service->kind->lend(service->options, message->fds + 1, CHANNEL_FDS_MAX - 1);
	return 0;
}

/* Whether a worker is to have the listeners that are opened. An heir is given them when it has its
 * seat, for its configuration is another until then. */
static bool takes_listeners(const struct worker_process *worker)
{
	return (worker->state == WORKER_STARTING || worker->state == WORKER_SERVING) &&
	    !worker->heir;
}

static void offer(struct pool *pool, struct worker_process *worker, struct listener *listener,
    const struct channel_message *message)
{
	if (channel_send_fds(worker->channel.fd, message) == 0)
		listener_hold(listener, slot_of(pool, worker), true);
	else
		worker->behind = true;
}

int pool_offer(struct pool *pool, struct listener *listener)
{
	struct channel_message message;

	if (describe(pool, listener, &message) == -1)
		return -1;
	for (size_t i = 0; i < pool->capacity; i++) {
		if (takes_listeners(&pool->workers[i]) && !pool->workers[i].behind)
			offer(pool, &pool->workers[i], listener, &message);
	}
	return 0;
}

/* Tries again to give a worker the listeners that it could not be given. */
static void catch_up(struct pool *pool, struct worker_process *worker)
{
	struct channel_message message;

	worker->behind = false;
	for (size_t i = 0; i < pool->listeners->count && !worker->behind; i++) {
		struct listener *listener = &pool->listeners->all[i];

		if ((listener->state != LISTENER_OPEN && listener->state != LISTENER_CLOSING) ||
		    listener_held_by(listener, slot_of(pool, worker)))
			continue;
		if (describe(pool, listener, &message) == 0)
			offer(pool, worker, listener, &message);
		else
			log_write(pool->log, LOG_ERROR,
			    "worker %u (pid %ld) cannot be given %s: %s", slot_of(pool, worker),
			    (long)worker->pid, listener->text, strerror(errno));
	}
}

void pool_tell(struct pool *pool, const struct listener *listener)
{
	for (size_t i = 0; i < pool->capacity; i++) {
		struct worker_process *worker = &pool->workers[i];

		/* A worker whose channel is full is told by its bell to look at everything. */
		if (worker->state != WORKER_VACANT &&
		    channel_send(worker->channel.fd, CHANNEL_LOOK, listener->index) == -1)
			ring(pool, (unsigned)i);
	}
}

bool pool_drains(const struct pool *pool, const struct listener *listener, int64_t now)
{
	for (size_t i = 0; i < pool->capacity; i++) {
		const struct worker_process *worker = &pool->workers[i];

		if (worker->state != WORKER_VACANT && worker->state != WORKER_ABORTED &&
		    !worker->heir && listener_held_by(listener, (unsigned)i) && !worker->stopped &&
		    now - worker->beat_at < WATCHDOG_LATE_MS)
			return true;
	}
	return false;
}

bool pool_beats(const struct pool *pool, int64_t now)
{
	for (size_t i = 0; i < pool->capacity; i++) {
		const struct worker_process *worker = &pool->workers[i];

		if (worker->state != WORKER_VACANT && worker->state != WORKER_ABORTED &&
		    !worker->stopped && now - worker->beat_at < WATCHDOG_LATE_MS)
			return true;
	}
	return false;
}

void pool_ring(struct pool *pool)
{
	for (size_t i = 0; i < pool->capacity; i++) {
		if (pool->workers[i].state != WORKER_VACANT)
			ring(pool, (unsigned)i);
	}
}

/* ---- birth ---- */

/*
 * In the child: what it gets of the listeners. Those that are released already are closed. The
 * memory lives as long as the process.
 */
static size_t hand_over(
    const struct pool *pool, const struct pool_plan *plan, struct handover_listener **out)
{
	struct listeners *listeners = pool->listeners;
	size_t count = 0;

	*out = calloc(listeners->count + 1, sizeof **out);
	if (*out == NULL)
		_exit(STATUS_FAILED);
	for (size_t i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->all[i];

		if (listener->state != LISTENER_OPEN && listener->state != LISTENER_CLOSING) {
			const struct service_kind *kind =
			    listener->service_is_ours ? listener->service->kind : NULL;

			fd_close(&listener->fd);
			fd_close(&listener->path.lock);
			if (kind != NULL && kind->release != NULL)
				kind->release(listener->service->options);
			continue;
		}
		(*out)[count++] = (struct handover_listener){
		    .fd = listener->fd,
		    .index = listener->index,
		    .kind = (int)listener->kind,
		    .own = listener->service_is_ours,
		    .service = plan->renews && listener->next_service != NULL
			? listener->next_service
			: listener->service,
		    .block = plan->renews && listener->next_service != NULL ? listener->next_block
									    : listener->block,
		};
	}
	return count;
}

/* In an heir: what only the present configuration has, its log and what its services opened. */
static void let_go(
    const struct pool *pool, const struct pool_plan *plan, const struct handover *handover)
{
	for (const struct service_config *at = pool->config->services; at != NULL; at = at->next) {
		size_t user = 0;

		while (user < handover->listeners_count && handover->listeners[user].service != at)
			user++;
		if (user == handover->listeners_count && at->kind->release != NULL)
			at->kind->release(at->options);
	}
	if (pool->log->fd != STDERR_FILENO && pool->log->fd != plan->log->fd)
		fd_close(&pool->log->fd);
}

static int begin_service(
    struct service_config *service, const struct pool_plan *plan, char *why, size_t size)
{
	char reason[256];

	if (service->kind->begin == NULL ||
	    service->kind->begin(
		service->options, plan->config, plan->keeps, reason, sizeof reason) == 0)
		return 0;
	snprintf(why, size, "service %s: %s", service->name, reason);
	return -1;
}

/* In the child, which still is who the master is: the services of its configuration begin, and
 * those of earlier ones that listeners still have. Returns 0, or -1 with why. */
static int begin_services(
    const struct pool *pool, const struct pool_plan *plan, char *why, size_t size)
{
	const struct listeners *listeners = pool->listeners;

	for (struct service_config *at = plan->config->services; at != NULL; at = at->next) {
		if (begin_service(at, plan, why, size) == -1)
			return -1;
	}
	for (size_t i = 0; i < listeners->count; i++) {
		const struct listener *listener = &listeners->all[i];
		struct service_config *service = plan->renews && listener->next_service != NULL
		    ? listener->next_service
		    : listener->service;

		/* To begin again does nothing. */
		if ((listener->state == LISTENER_OPEN || listener->state == LISTENER_CLOSING) &&
		    !listener->service_is_ours && place_of(plan->config, service) < 0 &&
		    begin_service(service, plan, why, size) == -1)
			return -1;
	}
	return 0;
}

/* In the child: closes what is the master's, and runs the worker. mask: the signals that were
 * blocked before. */
static void be_worker(struct pool *pool, const struct pool_plan *plan, struct worker_process *self,
    int channel, const sigset_t *mask)
{
	static const int deaf_to[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTTIN,
	    SIGTTOU, SIGPIPE, SIGXFSZ, 0};
	struct handover handover = {
	    .config = plan->config,
	    .scoreboard = pool->scoreboard,
	    .slot = slot_of(pool, self),
	    .drain = pool->drain[0],
	    .channel = channel,
	    .bells = pool->ropes,
	    .bell_ears = pool->ears,
	    .bells_count = pool->capacity,
	    .listeners_max = pool->listeners->capacity,
	    .waits = plan->renews,
	    .keeps = plan->keeps,
	    .rehearses = pool->rehearses,
	    .log = plan->log,
	};
	struct handover_listener *listeners;
	char why[384];

	/* A sibling that kept the write end would hide the end of the drain pipe from everybody;
	 * one that was stopped before it got here is continued when the master dies. */
	system_wake_on_parent_death();
	fd_close(&pool->drain[1]);
	signals_detach(deaf_to);
	signals_unblock(mask);
	pool->detach(pool->owner);
	fd_close(&pool->scoreboard->fd);
	for (size_t i = 0; i < pool->capacity; i++)
		fd_close(&pool->workers[i].channel.fd);
	privilege_limit(plan->config);
	if (begin_services(pool, plan, why, sizeof why) == -1 ||
	    privilege_drop(plan->privilege, plan->config, why, sizeof why) == -1) {
		log_write(plan->log, LOG_ERROR, "worker %u: %s", handover.slot, why);
		_exit(STATUS_USAGE);
	}
	system_wake_on_parent_death();
	listeners_detach(pool->listeners);
	handover.listeners_count = hand_over(pool, plan, &listeners);
	handover.listeners = listeners;
	if (plan->renews)
		let_go(pool, plan, &handover);
	_exit(worker_run(&handover));
}

static struct worker_process *vacant(struct pool *pool)
{
	for (size_t i = 0; i < pool->capacity; i++) {
		if (pool->workers[i].state == WORKER_VACANT)
			return &pool->workers[i];
	}
	return NULL;
}

/* How long the next start waits after that many failures in a row: not at all after the first. */
static int64_t back_off(unsigned failures)
{
	int64_t delay = BACKOFF_FIRST_MS;

	if (failures <= 1)
		return 0;
	for (unsigned i = 2; i < failures && delay < BACKOFF_MAX_MS; i++)
		delay *= 2;
	return delay < BACKOFF_MAX_MS ? delay : BACKOFF_MAX_MS;
}

static void fork_failed(struct pool *pool, struct seat *seat, int64_t now, const char *why)
{
	pool->totals.fork_failures++;
	seat->failures +=
	    seat->failures == 0 ? 2 : 1; /* a fork that failed is not tried again at once */
	seat->not_before = now + back_off(seat->failures);
	if (!pool->fork_failing)
		log_write(pool->log, LOG_ERROR,
		    "cannot start a worker: %s; %zu go on, trying again", why, pool->living);
	pool->fork_failing = true;
}

/* Starts a worker. Returns its place, or -1 with why. */
static int spawn(struct pool *pool, const struct pool_plan *plan, int64_t now, const char **why)
{
	struct worker_process *worker = vacant(pool);
	unsigned slot;
	int ends[2];
	sigset_t old;
	pid_t pid;

	if (worker == NULL) {
		*why = "too many of them are still finishing";
		return -1;
	}
	slot = slot_of(pool, worker);
	if (fd_pair(ends, SOCK_SEQPACKET) == -1) {
		*why = strerror(errno);
		return -1;
	}
	slot_clear(&pool->scoreboard->slots[slot]);
	listeners_born(pool->listeners, slot); /* before it is: it may count at once */
	bell_hush(pool->ears[slot]);
	signals_block(&old);
	pid = fork();
	if (pid == 0) {
		fd_close(&ends[0]);
		be_worker(pool, plan, worker, ends[1], &old);
	}
	if (pid == -1)
		*why = strerror(errno);
	signals_unblock(&old);
	fd_close(&ends[1]);
	if (pid == -1) {
		fd_close(&ends[0]);
		listeners_dead(pool->listeners, slot, 0);
		return -1;
	}
	pool->living++;
	*worker = (struct worker_process){
	    .pool = pool,
	    .pid = pid,
	    .seat = -1,
	    .born = now,
	    .beat_at = now,
	    .channel = {.fd = ends[0], .ready = channel_ready},
	    .generation = plan->generation,
	    .keeps = plan->keeps,
	    .heir = plan->renews,
	    .retire_ends = CLOCK_NEVER,
	    .room = (uint64_t)plan->config->max_connections,
	    .config = plan->config,
	};
	pool_set_state(worker, WORKER_STARTING);
	if (loop_watch(pool->loop, &worker->channel, LOOP_READ) == -1)
		log_write(
		    pool->log, LOG_ERROR, "cannot watch worker %u: %s", slot, strerror(errno));
	return (int)slot;
}

/* What the workers in the seats are made of. */
static struct pool_plan present(const struct pool *pool)
{
	return (struct pool_plan){
	    .config = pool->config,
	    .privilege = pool->privilege,
	    .log = pool->log,
	    .wanted = pool->wanted,
	    .generation = pool->generation,
	};
}

/* Starts one for a seat. Returns its place, or -1 when it could not be: the seat then waits. */
static int spawn_for(struct pool *pool, struct seat *seat, int64_t now)
{
	struct pool_plan plan = present(pool);
	const char *why;
	int slot;

	plan.keeps = seat == &pool->seats[0] || seat == &pool->drainer;
	slot = spawn(pool, &plan, now, &why);
	if (slot < 0)
		fork_failed(pool, seat, now, why);
	else
		pool->fork_failing = false;
	return slot;
}

/* ---- what workers say ---- */

static void retire(struct pool *pool, struct worker_process *worker, int64_t now)
{
	worker->seat = -1;
	worker->heir = false;
	if (pool->config->retire_grace != DIRECTIVE_AUTO)
		worker->retire_ends = now + pool->config->retire_grace;
	worker->retire_due = channel_send(worker->channel.fd, CHANNEL_RETIRE, 0) == -1;
	if (worker->state != WORKER_ABORTED)
		pool_set_state(worker, WORKER_RETIRING);
	log_write(pool->log, LOG_INFO, "worker %u (pid %ld) retires", slot_of(pool, worker),
	    (long)worker->pid);
}

/* Whether all heirs are ready. */
static void look_at_heirs(struct pool *pool)
{
	if (pool->renewal != RENEWAL_STARTING)
		return;
	for (size_t i = 0; i < pool->next.wanted; i++) {
		int heir = pool->seats[i].heir;

		if (heir < 0 || pool->workers[heir].state != WORKER_SERVING)
			return;
	}
	pool->renewal = RENEWAL_READY;
}

static void became_ready(struct pool *pool, struct worker_process *worker)
{
	struct seat *seat;

	if (worker->state != WORKER_STARTING)
		return;
	pool_set_state(worker, WORKER_SERVING);
	if (worker->heir) {
		look_at_heirs(pool);
		return;
	}
	pool->served = true;
	if (worker->seat < 0)
		return;
	seat = &pool->seats[worker->seat];
	if (seat->successor == (int)slot_of(pool, worker)) {
		if (seat->worker >= 0)
			retire(pool, &pool->workers[seat->worker], clock_ms());
		seat->worker = seat->successor;
		seat->successor = -1;
	}
}

static void wants_successor(struct pool *pool, const struct worker_process *worker)
{
	/* One that has a successor already wants no second one. */
	if (worker->seat >= 0 && pool->seats[worker->seat].worker == (int)slot_of(pool, worker) &&
	    pool->seats[worker->seat].successor < 0)
		pool->seats[worker->seat].successor_due = true;
}

static void heed(
    struct pool *pool, struct worker_process *worker, const struct channel_message *message)
{
	unsigned slot = slot_of(pool, worker);

	if (message->type == CHANNEL_READY) {
		became_ready(pool, worker);
	} else if (message->type == CHANNEL_ENOUGH) {
		if (message->index == ENOUGH_MEMORY)
			memory_said(worker);
		else
			wants_successor(pool, worker);
	} else if (message->type == CHANNEL_REOPENED || message->type == CHANNEL_KEPT) {
		if (message->index != worker->logs.due)
			return; /* of one before */
		worker->logs.due = 0;
		worker->logs.kept = message->type == CHANNEL_KEPT;
	} else if (message->type == CHANNEL_RELEASED && message->index < pool->listeners->count) {
		const struct listener *listener = &pool->listeners->all[message->index];

		listener_hold(&pool->listeners->all[message->index], slot, false);
		pool->listeners->let_go = true;
		if (listener->state == LISTENER_OPEN && worker->state == WORKER_SERVING) {
			/* Nobody told it to: the words were scribbled over. It serves nobody any
			 * more. */
			log_write(pool->log, LOG_ERROR,
			    "worker %u (pid %ld) let a listener go that is open: replacing it",
			    slot, (long)worker->pid);
			wants_successor(pool, worker);
		} else if (listener->state == LISTENER_OPEN && worker->state == WORKER_STARTING) {
			worker->behind = true; /* it could not take it; it is given it again */
		}
	}
}

static void channel_ready(struct watch *watch, unsigned events)
{
	struct worker_process *worker = container_of(watch, struct worker_process, channel);
	struct channel_message message;
	int got = 1;

	(void)events;
	for (int i = 0; i < MESSAGES_MAX && got == 1; i++) {
		got = channel_receive(watch->fd, &message, false);
		if (got == 1)
			heed(worker->pool, worker, &message);
	}
	if (got == 1 || got == 0)
		return;
	/* It is gone, or talks nonsense; what it would say from here on could not be believed, and
	 * without it its copies would be held for ever. */
	loop_watch(worker->pool->loop, watch, 0);
	if (errno != EPROTO)
		return;
	log_write(worker->pool->log, LOG_ERROR,
	    "worker %u (pid %ld) talks nonsense on its channel: killing it",
	    slot_of(worker->pool, worker), (long)worker->pid);
	kill(worker->pid, SIGKILL);
}

/* ---- death ---- */

static uint64_t at_most(uint64_t value, uint64_t most)
{
	return value < most ? value : most;
}

/* How many connections a worker that died held: what it could not hold it did not hold. */
static uint64_t held_by(const struct pool *pool, unsigned slot)
{
	return at_most(
	    atomic_load(&pool->scoreboard->slots[slot].connections), pool->workers[slot].room);
}

/* Adds up what a worker wrote of itself; the numbers of the drain are bounded by what it can have
 * had. */
static void count_slot(struct pool *pool, unsigned slot, bool orderly)
{
	const struct slot *numbers = &pool->scoreboard->slots[slot];
	struct pool_totals *totals = &pool->totals;
	uint64_t held = orderly ? 0 : held_by(pool, slot);
	uint64_t accepted = slot_read(&numbers->accepted);
	uint64_t programs = accepted + pool->workers[slot].room; /* some accept by themselves */

	totals->accepted += accepted;
	totals->requests += slot_read(&numbers->requests);
	totals->refused += at_most(slot_read(&numbers->refused), slot_read(&numbers->pauses));
	totals->turned_away += at_most(slot_read(&numbers->turned_away), accepted);
	totals->queued += at_most(slot_read(&numbers->queued), accepted);
	totals->answered += at_most(slot_read(&numbers->answered), accepted);
	totals->left += at_most(slot_read(&numbers->left), accepted);
	totals->cut += at_most(slot_read(&numbers->cut), pool->workers[slot].room);
	totals->programs_done += at_most(slot_read(&numbers->programs_done), programs);
	totals->programs_failed += at_most(slot_read(&numbers->programs_failed), programs);
	totals->programs_killed += at_most(slot_read(&numbers->programs_killed), programs);
	totals->lost += at_most(slot_read(&numbers->broken), accepted);
	if (pool->order >= ORDER_STOP)
		totals->cut += held;
	else
		totals->lost += held;
}

static void log_death(struct pool *pool, const struct worker_process *worker, int status,
    int64_t now, const char *next)
{
	unsigned slot = slot_of(pool, worker);
	unsigned held = (unsigned)held_by(pool, slot);
	double lived = (double)(now - worker->born) / 1000;

	if (WIFSIGNALED(status))
		log_write(pool->log, LOG_WARNING,
		    "worker %u (pid %ld) was killed by signal %d (%s) after %.1f s, %u connections "
		    "lost%s",
		    slot, (long)worker->pid, WTERMSIG(status), strsignal(WTERMSIG(status)), lived,
		    held, next);
	else
		log_write(pool->log, LOG_WARNING,
		    "worker %u (pid %ld) exited with status %d after %.1f s, %u connections lost%s",
		    slot, (long)worker->pid, WEXITSTATUS(status), lived, held, next);
}

/* An empty seat after a death that nobody asked for: how soon it is filled again. */
static void seat_failed(struct pool *pool, struct seat *seat, const struct worker_process *worker,
    int status, int64_t now)
{
	char next[64];
	int64_t delay;

	if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_USAGE && !pool->served) {
		seat->refused = true;
		log_death(
		    pool, worker, status, now, "; it can never start, so it is not started again");
		return;
	}
	seat->failures = now - worker->born >= SOUND_MS ? 1 : seat->failures + 1;
	delay = back_off(seat->failures);
	seat->not_before = now + delay;
	pool->totals.restarts++;
	if (delay == 0)
		snprintf(next, sizeof next, "; starting another");
	else
		snprintf(next, sizeof next, "; starting another in %.1f s", (double)delay / 1000);
	log_death(pool, worker, status, now, next);
}

/* An heir that is gone: its generation cannot be had. */
static void heir_died(struct pool *pool, const struct worker_process *worker, int status)
{
	for (size_t i = 0; i < POOL_SEATS; i++) {
		if (pool->seats[i].heir == (int)slot_of(pool, worker))
			pool->seats[i].heir = -1;
	}
	pool->renewal = RENEWAL_FAILED;
	if (WIFSIGNALED(status))
		snprintf(pool->renewal_why, sizeof pool->renewal_why,
		    "a new worker (pid %ld) was killed by signal %d (%s) before all were ready",
		    (long)worker->pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(pool->renewal_why, sizeof pool->renewal_why,
		    "a new worker (pid %ld) exited with status %d before all were ready; its log, "
		    "%s, says why",
		    (long)worker->pid, WEXITSTATUS(status),
		    pool->next.config->error_log != NULL ? pool->next.config->error_log
							 : "standard error");
}

static void reaped(struct pool *pool, struct worker_process *worker, int status, int64_t now)
{
	unsigned slot = slot_of(pool, worker);
	bool asked = worker->state == WORKER_RETIRING || pool->order >= ORDER_STOP;
	bool orderly = asked && WIFEXITED(status) && WEXITSTATUS(status) == STATUS_DONE &&
	    held_by(pool, slot) == 0;
	struct seat *seat = worker->seat >= 0 ? &pool->seats[worker->seat] : NULL;

	count_slot(pool, slot, orderly);
	if (worker->heir)
		heir_died(pool, worker, status);
	if (seat != NULL && seat->worker == (int)slot)
		seat->worker = -1;
	else if (seat != NULL && seat->successor == (int)slot) {
		/* The one that asked for it goes on, and still wants it. */
		seat->successor = -1;
		seat->successor_due = true;
	}
	if (seat != NULL && pool->order < ORDER_STOP)
		seat_failed(pool, seat, worker, status, now);
	else if (!orderly)
		log_death(pool, worker, status, now, "");
	loop_watch(pool->loop, &worker->channel, 0);
	fd_close(&worker->channel.fd);
	listeners_dead(pool->listeners, slot, worker->room);
	pool_set_state(worker, WORKER_VACANT);
	/* Nobody defers to it, and no bell of its is rung. */
	atomic_store(&pool->scoreboard->slots[slot].state, SLOT_VACANT);
	worker->pid = 0;
	worker->seat = -1;
	worker->heir = false;
	pool->living--;
	/* It may have been the one that was woken for a connection, and have written nonsense. */
	pool_restate(pool);
	pool_ring(pool);
}

static struct worker_process *find(struct pool *pool, pid_t pid)
{
	for (size_t i = 0; i < pool->capacity; i++) {
		if (pool->workers[i].state != WORKER_VACANT && pool->workers[i].pid == pid)
			return &pool->workers[i];
	}
	return NULL;
}

void pool_reap(struct pool *pool, int64_t now)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		struct worker_process *worker = find(pool, pid);

		if (worker == NULL) {
			/* The owner's, or an orphan that was given to us as process 1. */
			if (!WIFSTOPPED(status))
				pool->other_ended(pool->owner, pid, status);
			continue;
		}
		if (!WIFSTOPPED(status)) {
			reaped(pool, worker, status, now);
			continue;
		}
		log_write(pool->log, LOG_WARNING,
		    "worker %u (pid %ld) was stopped by signal %d (%s)", slot_of(pool, worker),
		    (long)pid, WSTOPSIG(status), strsignal(WSTOPSIG(status)));
		worker->stopped = true;
		/* Nobody defers to it from here on, and a connection that it was woken for is taken
		 * by another. */
		atomic_store(&pool->scoreboard->slots[slot_of(pool, worker)].state, SLOT_STOPPED);
		pool_ring(pool);
	}
}

/* ---- what should be, against what is ---- */

static void fill_seat(struct pool *pool, size_t number, int64_t now)
{
	struct seat *seat = &pool->seats[number];
	int worker;

	if (seat->refused || now < seat->not_before)
		return;
	if (seat->worker < 0 && seat->successor >= 0) {
		/* The worker died before its successor was ready: that one takes the seat as it is.
		 */
		seat->worker = seat->successor;
		seat->successor = -1;
		seat->successor_due = false;
		return;
	}
	if (seat->worker >= 0 && !(seat->successor_due && seat->successor < 0))
		return;
	worker = spawn_for(pool, seat, now);
	if (worker < 0)
		return;
	pool->workers[worker].seat = (int)number;
	if (seat->worker < 0)
		seat->worker = worker;
	else
		seat->successor = worker;
	seat->successor_due = false;
}

/* A seat that is no longer wanted. */
static void clear_seat(struct pool *pool, struct seat *seat, int64_t now)
{
	if (seat->worker >= 0)
		retire(pool, &pool->workers[seat->worker], now);
	if (seat->successor >= 0)
		retire(pool, &pool->workers[seat->successor], now);
	*seat = (struct seat){.worker = -1, .successor = -1, .heir = seat->heir};
}

/* Starts the heirs that are missing. */
static void start_heirs(struct pool *pool, int64_t now)
{
	const char *why;

	for (size_t i = 0; i < pool->next.wanted && pool->renewal == RENEWAL_STARTING; i++) {
		struct seat *seat = &pool->seats[i];

		if (seat->heir >= 0)
			continue;
		pool->next.keeps = i == 0;
		seat->heir = spawn(pool, &pool->next, now, &why);
		if (seat->heir >= 0)
			continue;
		pool->renewal = RENEWAL_FAILED;
		snprintf(
		    pool->renewal_why, sizeof pool->renewal_why, "cannot start a worker: %s", why);
	}
}

/* Ends a worker whose time to finish is over. Returns when to look again. */
static int64_t end_retired(struct pool *pool, struct worker_process *worker, int64_t now)
{
	/* A stop has a grace of its own. */
	if (worker->state != WORKER_RETIRING || worker->retire_ends == CLOCK_NEVER ||
	    pool->order >= ORDER_STOP)
		return CLOCK_NEVER;
	if (now < worker->retire_ends)
		return worker->retire_ends;
	if (worker->cut) {
		kill(worker->pid, SIGKILL);
		worker->retire_ends = CLOCK_NEVER;
		return CLOCK_NEVER;
	}
	log_write(pool->log, LOG_WARNING,
	    "worker %u (pid %ld): retire-grace is over: cutting what is still open, "
	    "connections: %llu",
	    slot_of(pool, worker), (long)worker->pid,
	    (unsigned long long)held_by(pool, slot_of(pool, worker)));
	worker->cut = true;
	worker->retire_ends = now + RETIRED_CUT_MS;
	if (channel_send(worker->channel.fd, CHANNEL_CUT, 0) == -1)
		worker->retire_ends = now;
	return worker->retire_ends;
}

int64_t pool_reconcile(struct pool *pool, int64_t now)
{
	int64_t next = pool->living > 0 ? now + WATCHDOG_LOOK_MS : CLOCK_NEVER;

	watchdog_look(pool, now);
	memory_look(pool, now);
	if (pool->missed)
		pool_reap(pool, now);
	pool->missed = false;
	for (size_t i = 0; i < pool->capacity; i++) {
		struct worker_process *worker = &pool->workers[i];

		if (worker->retire_due && worker->state != WORKER_VACANT)
			worker->retire_due =
			    channel_send(worker->channel.fd, CHANNEL_RETIRE, 0) == -1;
		if (worker->serve_due && takes_listeners(worker))
			worker->serve_due =
			    channel_send(worker->channel.fd, CHANNEL_SERVE, 0) == -1;
		if (worker->behind && !worker->serve_due && takes_listeners(worker))
			catch_up(pool, worker);
		if (worker->behind && takes_listeners(worker))
			next = clock_earlier(next, now + CATCH_UP_MS);
		next = clock_earlier(next, end_retired(pool, worker, now));
	}
	if (pool->order >= ORDER_STOP)
		return next;
	for (size_t i = 0; i < POOL_SEATS; i++) {
		struct seat *seat = &pool->seats[i];

		if (i >= pool->wanted) {
			clear_seat(pool, seat, now);
			continue;
		}
		fill_seat(pool, i, now);
		if (!seat->refused && (seat->worker < 0 || seat->successor_due))
			next = clock_earlier(
			    next, seat->not_before > now ? seat->not_before : now + 1);
	}
	start_heirs(pool, now);
	return pool->living > 0 ? clock_earlier(next, now + WATCHDOG_LOOK_MS) : next;
}

/* ---- renewal ---- */

size_t pool_generations(const struct pool *pool)
{
	size_t count = 0;

	for (size_t i = 0; i < pool->capacity; i++) {
		bool first = pool->workers[i].state != WORKER_VACANT;

		for (size_t j = 0; j < i && first; j++)
			first = pool->workers[j].state == WORKER_VACANT ||
			    pool->workers[j].generation != pool->workers[i].generation;
		count += first;
	}
	return count;
}

bool pool_has_left(const struct pool *pool)
{
	for (size_t i = 0; i < pool->capacity; i++) {
		if (pool->workers[i].state != WORKER_RETIRING || pool->workers[i].stopped)
			continue;
		for (size_t l = 0; l < pool->listeners->count; l++) {
			if (listener_held_by(&pool->listeners->all[l], (unsigned)i))
				return false;
		}
	}
	return true;
}

bool pool_uses(const struct pool *pool, const struct config *config)
{
	for (size_t i = 0; i < pool->capacity; i++) {
		if (pool->workers[i].state != WORKER_VACANT && pool->workers[i].config == config)
			return true;
	}
	return false;
}

/* Whether a renewal by so many workers has room. Returns 0, or -1 with why. */
static int admit_renewal(
    const struct pool *pool, size_t wanted, int64_t retire_grace, char *why, size_t size)
{
	size_t living = pool->living + pool->others;
	size_t serving = pool->others > 0 ? pool->others_wanted : pool->wanted;

	if (wanted > pool_most(pool)) {
		snprintf(why, size,
		    "%zu workers are more than were made room for at the start, which is %zu: that "
		    "wants a restart",
		    wanted, pool_most(pool));
		return -1;
	}
	/* Where their time is bounded, that bounds them. */
	if ((pool_generations(pool) + pool->other_generations >= POOL_GENERATIONS_MAX &&
		retire_grace == DIRECTIVE_AUTO) ||
	    living + wanted > pool->capacity) {
		snprintf(why, size,
		    "%zu worker%s of earlier generations %s still finishing, and there is room "
		    "for %zu workers in all; retire-grace bounds how long they may",
		    living > serving ? living - serving : 0, living == serving + 1 ? "" : "s",
		    living == serving + 1 ? "is" : "are", pool->capacity);
		return -1;
	}
	return 0;
}

int pool_renew(struct pool *pool, const struct pool_plan *plan, char *why, size_t size)
{
	if (admit_renewal(pool, plan->wanted, plan->config->retire_grace, why, size) == -1)
		return -1;
	pool->next = *plan;
	pool->next.generation = ++pool->generations;
	pool->next.renews = true;
	if (pool->rehearses)
		pool->next.wanted = 1; /* as good as all */
	pool->renewal = RENEWAL_STARTING;
	return 0;
}

void pool_renew_commit(struct pool *pool, int64_t now)
{
	pool->config = pool->next.config;
	pool->wanted = pool->next.wanted;
	pool->generation = pool->next.generation;
	pool->renewal = RENEWAL_NONE;
	pool->memory = (struct pool_memory){.looked_at = now}; /* the limit may be another */
	for (size_t i = 0; i < POOL_SEATS; i++) {
		struct seat *seat = &pool->seats[i];
		struct worker_process *heir = NULL;

		if (seat->heir >= 0)
			heir = &pool->workers[seat->heir];
		*seat = (struct seat){.worker = seat->heir, .successor = -1, .heir = -1};
		if (heir == NULL)
			continue;
		heir->heir = false;
		heir->seat = (int)i;
		heir->serve_due = channel_send(heir->channel.fd, CHANNEL_SERVE, 0) == -1;
		heir->behind = heir->serve_due;
		if (!heir->behind)
			catch_up(pool, heir);
	}
	/* When the others have all there is. */
	for (size_t i = 0; i < pool->capacity; i++) {
		struct worker_process *worker = &pool->workers[i];

		if (worker->generation != pool->generation &&
		    (worker->state == WORKER_STARTING || worker->state == WORKER_SERVING ||
			worker->state == WORKER_ABORTED))
			retire(pool, worker, now);
		else if (worker->state == WORKER_RETIRING && !worker->cut &&
		    pool->config->retire_grace != DIRECTIVE_AUTO)
			worker->retire_ends =
			    clock_earlier(worker->retire_ends, now + pool->config->retire_grace);
	}
}

void pool_renew_abandon(struct pool *pool, int64_t now)
{
	pool->renewal = RENEWAL_NONE;
	for (size_t i = 0; i < POOL_SEATS; i++) {
		struct seat *seat = &pool->seats[i];

		struct worker_process *heir = seat->heir >= 0 ? &pool->workers[seat->heir] : NULL;

		seat->heir = -1;
		if (heir == NULL)
			continue;
		heir->config = NULL; /* it goes before the heir has */
		if (pool->order < ORDER_STOP)
			retire(pool, heir, now);
		else
			heir->heir = false;
	}
}

/* ---- what is wanted ---- */

size_t pool_most(const struct pool *pool)
{
	return pool->most;
}

bool pool_want(struct pool *pool, size_t wanted)
{
	if (wanted == 0 || wanted > pool_most(pool) || pool->order >= ORDER_STOP)
		return false;
	pool->wanted = wanted;
	return true;
}

static void give_order(struct pool *pool, enum order order)
{
	pool->order = order;
	atomic_store(pool->scoreboard->order, (uint32_t)order);
}

void pool_order_delay(struct pool *pool)
{
	if (pool->order < ORDER_DELAY)
		give_order(pool, ORDER_DELAY);
}

void pool_order_stop(struct pool *pool)
{
	if (pool->order < ORDER_STOP)
		give_order(pool, ORDER_STOP);
}

void pool_stop(struct pool *pool)
{
	pool_order_stop(pool);
	/* The end of the pipe is what wakes them; the word, written before, says what it means. */
	fd_close(&pool->drain[1]);
}

void pool_cut(struct pool *pool)
{
	give_order(pool, ORDER_CUT);
	fd_close(&pool->drain[1]);
	pool_ring(pool);
}

void pool_kill(struct pool *pool)
{
	for (size_t i = 0; i < pool->capacity; i++) {
		if (pool->workers[i].state != WORKER_VACANT)
			kill(pool->workers[i].pid, SIGKILL);
	}
}

bool pool_keeps(const struct pool *pool)
{
	for (size_t i = 0; i < pool->capacity; i++) {
		if (pool->workers[i].state != WORKER_VACANT && pool->workers[i].keeps)
			return true;
	}
	return false;
}

void pool_start_drainer(struct pool *pool, int64_t now)
{
	struct seat *drainer = &pool->drainer;

	if (now < drainer->not_before)
		return;
	drainer->failures++;
	drainer->not_before = now + back_off(drainer->failures + 1);
	log_write(pool->log, LOG_NOTICE, "no worker is left to serve the queue: starting one");
	spawn_for(pool, drainer, now);
}

bool pool_is_ready(const struct pool *pool)
{
	bool one = false;

	for (size_t i = 0; i < pool->wanted; i++) {
		const struct seat *seat = &pool->seats[i];

		if (seat->refused)
			continue;
		if (seat->worker < 0 || pool->workers[seat->worker].state == WORKER_STARTING)
			return false;
		one = true;
	}
	return one;
}

bool pool_is_hopeless(const struct pool *pool)
{
	for (size_t i = 0; i < pool->wanted; i++) {
		if (!pool->seats[i].refused)
			return false;
	}
	return true;
}
