/*
 * The birth of a worker: what it gets of the master's by the fork, what it must not keep, and whom
 * it becomes before it runs.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bell.h"
#include "clock.h"
#include "descriptor.h"
#include "pool_parts.h"
#include "signals.h"
#include "system.h"

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
		    !listener->service_is_ours && pool_service_place(plan->config, service) < 0 &&
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
	    .slot = pool_slot(pool, self),
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

/* Starts a worker. Returns its place, or -1 with why. */
int pool_spawn(struct pool *pool, const struct pool_plan *plan, int64_t now, const char **why)
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
	slot = pool_slot(pool, worker);
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
	    .channel = {.fd = ends[0], .ready = worker->channel.ready},
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
