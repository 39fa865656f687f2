/*
 * Supervision: forks workers, listens to their hearts, reaps and replaces them. Decisions are made
 * in pool_reconcile and in what it calls, never where an event comes in.
 *
 * Only pids of children that were not reaped yet are signalled, so a pid can never mean somebody
 * else.
 */
#include "pool_parts.h"

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
#include "watchdog.h"

#define MORE_MAX 16 /* workers that can be added to those of the start */
#define MESSAGES_MAX 64 /* of one worker in one go */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 30000
#define CATCH_UP_MS 100 /* until a worker whose channel was full is tried again */
#define RETIRED_CUT_MS 1000 /* from the order to end to SIGKILL, for one that retired */
#define SOUND_MS 10000 /* a worker that lived as long was no failure */

static void channel_ready(struct watch *watch, unsigned events);

unsigned pool_slot(const struct pool *pool, const struct worker_process *worker)
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

void pool_ring_one(struct pool *pool, unsigned slot)
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

void pool_ring(struct pool *pool)
{
	for (size_t i = 0; i < pool->capacity; i++) {
		if (pool->workers[i].state != WORKER_VACANT)
			pool_ring_one(pool, (unsigned)i);
	}
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

/* ---- starting ---- */

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
	slot = pool_spawn(pool, &plan, now, &why);
	if (slot < 0)
		fork_failed(pool, seat, now, why);
	else
		pool->fork_failing = false;
	return slot;
}

/* ---- what workers say ---- */

void pool_retire(struct pool *pool, struct worker_process *worker, int64_t now)
{
	worker->seat = -1;
	worker->heir = false;
	if (pool->config->retire_grace != DIRECTIVE_AUTO)
		worker->retire_ends = now + pool->config->retire_grace;
	worker->retire_due = channel_send(worker->channel.fd, CHANNEL_RETIRE, 0) == -1;
	if (worker->state != WORKER_ABORTED)
		pool_set_state(worker, WORKER_RETIRING);
	log_write(pool->log, LOG_INFO, "worker %u (pid %ld) retires", pool_slot(pool, worker),
	    (long)worker->pid);
}

static void became_ready(struct pool *pool, struct worker_process *worker)
{
	struct seat *seat;

	if (worker->state != WORKER_STARTING)
		return;
	pool_set_state(worker, WORKER_SERVING);
	if (worker->heir) {
		renewal_look(pool);
		return;
	}
	pool->served = true;
	if (worker->seat < 0)
		return;
	seat = &pool->seats[worker->seat];
	if (seat->successor == (int)pool_slot(pool, worker)) {
		if (seat->worker >= 0)
			pool_retire(pool, &pool->workers[seat->worker], clock_ms());
		seat->worker = seat->successor;
		seat->successor = -1;
	}
}

static void wants_successor(struct pool *pool, const struct worker_process *worker)
{
	/* One that has a successor already wants no second one. */
	if (worker->seat >= 0 && pool->seats[worker->seat].worker == (int)pool_slot(pool, worker) &&
	    pool->seats[worker->seat].successor < 0)
		pool->seats[worker->seat].successor_due = true;
}

static void heed(
    struct pool *pool, struct worker_process *worker, const struct channel_message *message)
{
	unsigned slot = pool_slot(pool, worker);

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
	    pool_slot(worker->pool, worker), (long)worker->pid);
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
	unsigned slot = pool_slot(pool, worker);
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

static void reaped(struct pool *pool, struct worker_process *worker, int status, int64_t now)
{
	unsigned slot = pool_slot(pool, worker);
	bool asked = worker->state == WORKER_RETIRING || pool->order >= ORDER_STOP;
	bool orderly = asked && WIFEXITED(status) && WEXITSTATUS(status) == STATUS_DONE &&
	    held_by(pool, slot) == 0;
	struct seat *seat = worker->seat >= 0 ? &pool->seats[worker->seat] : NULL;

	count_slot(pool, slot, orderly);
	if (worker->heir)
		renewal_heir_died(pool, worker, status);
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
		    "worker %u (pid %ld) was stopped by signal %d (%s)", pool_slot(pool, worker),
		    (long)pid, WSTOPSIG(status), strsignal(WSTOPSIG(status)));
		worker->stopped = true;
		/* Nobody defers to it from here on, and a connection that it was woken for is taken
		 * by another. */
		atomic_store(&pool->scoreboard->slots[pool_slot(pool, worker)].state, SLOT_STOPPED);
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
		pool_retire(pool, &pool->workers[seat->worker], now);
	if (seat->successor >= 0)
		pool_retire(pool, &pool->workers[seat->successor], now);
	*seat = (struct seat){.worker = -1, .successor = -1, .heir = seat->heir};
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
	    pool_slot(pool, worker), (long)worker->pid,
	    (unsigned long long)held_by(pool, pool_slot(pool, worker)));
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
		if (worker->serve_due && pool_takes_listeners(worker))
			worker->serve_due =
			    channel_send(worker->channel.fd, CHANNEL_SERVE, 0) == -1;
		if (worker->behind && !worker->serve_due && pool_takes_listeners(worker))
			pool_catch_up(pool, worker);
		if (worker->behind && pool_takes_listeners(worker))
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
	renewal_step(pool, now);
	return pool->living > 0 ? clock_earlier(next, now + WATCHDOG_LOOK_MS) : next;
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
