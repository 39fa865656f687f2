/*
 * The loop of a worker and its phases; see worker.h. One turn: wait, serve what is ready, run the
 * timers, do what the phase asks for.
 */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "access.h"
#include "bell.h"
#include "channel.h"
#include "clock.h"
#include "instances.h"
#include "launcher.h"
#include "listening.h"
#include "logs.h"
#include "system.h"

#define BEAT_MS 1000

static void set_phase(struct worker *worker, enum worker_phase phase)
{
	worker->phase = phase;
	if (phase != PHASE_SERVING)
		atomic_store(&worker->self->state, SLOT_LEAVING);
}

bool worker_hears_last_call(const struct worker *worker)
{
	const struct handover *from = worker->from;

	return worker->phase >= PHASE_STOPPING ||
	    atomic_load(from->scoreboard->order) >= ORDER_STOP;
}

bool worker_is_leaving(const struct worker *worker)
{
	const struct handover *from = worker->from;

	return worker->phase >= PHASE_STOPPING ||
	    atomic_load_explicit(from->scoreboard->order, memory_order_relaxed) != ORDER_NONE;
}

/* ---- being replaced ---- */

void worker_ask_for_successor(struct worker *worker)
{
	worker->enough_due =
	    channel_send(worker->from->channel, CHANNEL_ENOUGH, ENOUGH_REQUESTS) == -1;
}

/* Where the master cannot see what we have, we say when it is too much, once. What may be shared of
 * it is not ours. */
static void look_at_memory(struct worker *worker)
{
	int64_t own;

	if (worker->memory_most == 0 || worker->now - worker->memory_looked_at < BEAT_MS)
		return;
	worker->memory_looked_at = worker->now;
	own = system_own_memory();
	if (own == -1)
		worker->memory_most = 0; /* the master looks */
	else if (own - (int64_t)scoreboard_touched(worker->from->scoreboard) >
		worker->memory_most &&
	    channel_send(worker->from->channel, CHANNEL_ENOUGH, ENOUGH_MEMORY) == 0)
		worker->memory_most = 0;
}

void worker_count_request(struct worker *worker)
{
	slot_add(&worker->self->requests, 1);
	if (worker->requests_left > 0 && --worker->requests_left == 0)
		worker_ask_for_successor(worker);
}

/* Up to an eighth is taken off, a different part in each worker, so that not all are replaced at
 * once. */
static uint64_t jittered(int64_t max_requests)
{
	uint64_t most = (uint64_t)max_requests;
	unsigned seed = (unsigned)getpid() * 2654435761u;

	return most < 8 ? most : most - (seed >> 8) % (most / 8);
}

/* ---- orders ---- */

static void become_orphan(struct worker *worker)
{
	log_write(worker->log, LOG_ERROR,
	    "worker %u (pid %ld): the master died; closing its listeners and draining",
	    worker->from->slot, (long)getpid());
	set_phase(worker, PHASE_ORPHANED);
	worker->grace_ends = worker->now + worker->config->grace;
	acceptors_begin_closing(worker);
}

static void begin_cut(struct worker *worker)
{
	if (worker->phase == PHASE_CUTTING)
		return;
	if (worker->phase < PHASE_STOPPING)
		set_phase(worker, PHASE_STOPPING); /* what is cut is counted */
	acceptors_release_all(worker);
	connections_cut(worker, NULL);
	set_phase(worker, PHASE_CUTTING);
}

/* Its time to finish is over. What is cut now is none of a stop's. */
static void end_retirement(struct worker *worker)
{
	if (worker->phase != PHASE_RETIRING)
		return;
	worker->retirement_over = true;
	acceptors_release_all(worker);
	connections_cut(worker, NULL);
	set_phase(worker, PHASE_CUTTING);
}

static void begin_retirement(struct worker *worker)
{
	if (worker->phase != PHASE_SERVING)
		return;
	set_phase(worker, PHASE_RETIRING);
	acceptors_leave(worker);
}

/* The drain pipe has ended. What it means was said before, in the order's word. */
static void drain_ready(struct watch *watch, unsigned events)
{
	struct worker *worker = container_of(watch, struct worker, drain);
	const struct handover *from = worker->from;

	(void)events;
	loop_watch(worker->loop, watch, 0);
	switch (atomic_load(from->scoreboard->order)) {
	case ORDER_NONE:
	case ORDER_DELAY:
		become_orphan(worker);
		break;
	case ORDER_STOP:
		set_phase(worker, PHASE_STOPPING);
		break;
	default:
		begin_cut(worker);
	}
}

/* An heir has its seat. What became of its listeners meanwhile the words say. */
static void begin_to_serve(struct worker *worker)
{
	if (!worker->waiting || worker->phase != PHASE_SERVING)
		return;
	acceptors_serve(worker);
	acceptors_look(worker, HINT_ALL);
	atomic_store(&worker->self->state, SLOT_SERVING);
}

static void heed(struct worker *worker, const struct channel_message *message)
{
	switch (message->type) {
	case CHANNEL_SERVE:
		begin_to_serve(worker);
		break;
	case CHANNEL_RETIRE:
		begin_retirement(worker);
		break;
	case CHANNEL_CUT:
		end_retirement(worker);
		break;
	case CHANNEL_LISTEN:
		listening_begin(worker, message);
		break;
	case CHANNEL_LOOK:
		acceptors_look(worker, message->index + 1);
		break;
	case CHANNEL_REOPEN:
		logs_reopen(worker, message);
		break;
	case CHANNEL_ANSWER:
		logs_answer(worker, message->index);
		break;
	default:
		break;
	}
}

static void channel_ready(struct watch *watch, unsigned events)
{
	struct worker *worker = container_of(watch, struct worker, channel);
	struct channel_message message;
	int got;

	(void)events;
	while ((got = channel_receive(watch->fd, &message, true)) == 1)
		heed(worker, &message);
	if (got == 0)
		return;
	/* The master has died. The drain pipe says so too, unless it had ended before, by an order.
	 */
	loop_watch(worker->loop, watch, 0);
	worker->master_gone = true;
}

/* The bell: somebody wants us to look at the words and to try to accept. */
static void bell_ready(struct watch *watch, unsigned events)
{
	struct worker *worker = container_of(watch, struct worker, bell);
	const struct handover *from = worker->from;
	uint32_t hint;

	(void)events;
	bell_hush(watch->fd);
	atomic_store_explicit(&worker->self->beat, worker->now, memory_order_relaxed);
	if (atomic_load(from->scoreboard->order) == ORDER_CUT) {
		begin_cut(worker);
		return;
	}
	hint = atomic_exchange(&worker->self->hint, HINT_NONE);
	acceptors_look(worker, hint);
}

/* ---- a turn ---- */

/* Does what the phase asks for. Returns when the next turn is due at the latest. */
static int64_t step(struct worker *worker)
{
	int64_t next;

	if (worker->master_gone && worker->phase == PHASE_STOPPING)
		become_orphan(worker); /* nobody will ever say that the listeners are released */
	next = acceptors_return(worker);
	if (worker->phase == PHASE_ORPHANED) {
		next = clock_earlier(next, acceptors_step_closing(worker));
		if (worker->now >= worker->grace_ends)
			begin_cut(worker);
		next = clock_earlier(next, worker->grace_ends);
	}
	next = clock_earlier(next, instances_step(worker));
	if (worker->enough_due)
		worker_ask_for_successor(worker);
	look_at_memory(worker);
	logs_answer_due(worker);
	access_log_flush_all(worker);
	next = clock_earlier(next, acceptors_tell(worker));
	acceptors_sweep(worker);
	return clock_earlier(next, launchers_sweep(worker));
}

/* Nothing is left but what programs that were cut still have; *next is then when to look again. */
static bool is_done(struct worker *worker, int64_t *next)
{
	return worker->phase != PHASE_SERVING && worker->open == 0 && worker->acceptors_open == 0 &&
	    !launchers_linger(worker, next);
}

static void run(struct worker *worker)
{
	int64_t next = CLOCK_NEVER;

	while (!is_done(worker, &next)) {
		next = clock_earlier(step(worker), wheel_next(&worker->wheel));
		if (is_done(worker, &next))
			return;
		/* Somebody was read since connections_answer, by who accepts outside of the loop.
		 */
		next = worker->ahead != NULL ? worker->now
					     : clock_earlier(next, worker->now + BEAT_MS);
		if (loop_wait(worker->loop, next > worker->now ? next - worker->now : 0,
			&worker->now) == -1)
			log_write(worker->log, LOG_ERROR, "worker %u: waiting for events: %s",
			    worker->from->slot, strerror(errno));
		connections_answer(worker);
		atomic_store_explicit(&worker->self->beat, worker->now, memory_order_relaxed);
		wheel_run(&worker->wheel, worker->now);
	}
}

/* ---- beginning ---- */

static int start_service(
    struct worker *worker, const struct service_config *config, char *why, size_t size)
{
	const struct service *service = service_of(config->kind);
	char reason[256];

	if (service->start == NULL ||
	    service->start(worker, config->options, reason, sizeof reason) == 0)
		return 0;
	snprintf(why, size, "service %s: %s", config->name, reason);
	return -1;
}

static bool is_configured(const struct config *config, const struct service_config *service)
{
	const struct service_config *at = config->services;

	while (at != NULL && at != service)
		at = at->next;
	return at != NULL;
}

/* Those of the configuration, and those of earlier ones that listeners still have, each once. */
static int start_services(struct worker *worker, char *why, size_t size)
{
	const struct handover *from = worker->from;

	for (struct service_config *at = worker->config->services; at != NULL; at = at->next) {
		if (start_service(worker, at, why, size) == -1)
			return -1;
	}
	for (size_t i = 0; i < from->listeners_count; i++) {
		const struct service_config *service = from->listeners[i].service;
		size_t before = 0;

		if (from->listeners[i].own || is_configured(worker->config, service))
			continue;
		while (from->listeners[before].service != service)
			before++;
		if (before == i && start_service(worker, service, why, size) == -1)
			return -1;
	}
	return 0;
}

/*
 * Opens all that is open before the first connection. Returns 0, or an exit status with why: what
 * the system lacks now it may have later, and what a service cannot start with it never can.
 */
static int open_all(struct worker *worker, char *why, size_t size)
{
	const struct handover *from = worker->from;

	wheel_init(&worker->wheel, worker->now);
	worker->loop =
	    loop_open((size_t)worker->config->max_connections + from->listeners_max + 64);
	if (worker->loop == NULL || connections_open(worker) == -1 ||
	    loop_watch(worker->loop, &worker->drain, LOOP_READ) == -1 ||
	    loop_watch(worker->loop, &worker->channel, LOOP_READ) == -1 ||
	    loop_watch(worker->loop, &worker->bell, LOOP_READ) == -1) {
		snprintf(why, size, "%s", strerror(errno));
		return STATUS_FAILED;
	}
	if (start_services(worker, why, size) == -1)
		return STATUS_USAGE;
	if (acceptors_open(worker) == -1) {
		snprintf(why, size, "%s", strerror(errno));
		return STATUS_FAILED;
	}
	return 0;
}

/* An orphan has nobody to tell what its drain did but the log. */
static void say_last_words(const struct worker *worker)
{
	const struct slot *self = worker->self;

	log_write(worker->log, LOG_NOTICE,
	    "worker %u (pid %ld): drained without the master: %llu answered, "
	    "%llu of them from the queue, %llu cut",
	    worker->from->slot, (long)getpid(), (unsigned long long)slot_read(&self->answered),
	    (unsigned long long)slot_read(&self->queued),
	    (unsigned long long)slot_read(&self->cut));
}

int worker_run(const struct handover *handover)
{
	struct worker worker = {
	    .from = handover,
	    .config = handover->config,
	    .log = handover->log,
	    .self = &handover->scoreboard->slots[handover->slot],
	    .now = clock_ms(),
	    .drain = {.fd = handover->drain, .ready = drain_ready},
	    .channel = {.fd = handover->channel, .ready = channel_ready},
	    .bell = {.fd = handover->bell_ears[handover->slot], .ready = bell_ready},
	    .requests_left = jittered(handover->config->max_requests),
	    .memory_most =
		handover->config->max_memory == DIRECTIVE_AUTO ? 0 : handover->config->max_memory,
	    .reserve = -1,
	    .waiting = handover->waits,
	};
	char why[384];
	int status;

	/* The lines that the master dropped are its own to tell of. */
	handover->log->dropped = handover->log->dropped_total = 0;
	atomic_store(&worker.self->state, SLOT_STARTING);
	status = open_all(&worker, why, sizeof why);
	if (status != 0) {
		log_write(
		    worker.log, LOG_ERROR, "worker %u: cannot start: %s", handover->slot, why);
		return status;
	}
	atomic_store(&worker.self->beat, worker.now);
	if (!worker.waiting)
		atomic_store(&worker.self->state, SLOT_SERVING);
	channel_send(handover->channel, CHANNEL_READY, 0);
	if (handover->rehearses) {
		/* A word of any kind, or the end of who rehearses. */
		poll(&(struct pollfd){.fd = handover->channel, .events = POLLIN}, 1, -1);
		return STATUS_DONE;
	}
	run(&worker);
	access_log_flush_all(&worker);
	/* Whether the master lives is no longer to be read off the phase: a cut hides it. */
	if (worker.grace_ends != 0)
		say_last_words(&worker);
	return STATUS_DONE;
}
