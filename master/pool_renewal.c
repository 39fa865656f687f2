/*
 * Renewal: the heirs of all seats at once, and the generations that this makes; see pool.h.
 */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "channel.h"
#include "clock.h"
#include "pool_parts.h"

/* Whether all heirs are ready. */
void renewal_look(struct pool *pool)
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

/* An heir that is gone: its generation cannot be had. */
void renewal_heir_died(struct pool *pool, const struct worker_process *worker, int status)
{
	for (size_t i = 0; i < POOL_SEATS; i++) {
		if (pool->seats[i].heir == (int)pool_slot(pool, worker))
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

/* Starts the heirs that are missing. */
void renewal_step(struct pool *pool, int64_t now)
{
	const char *why;

	for (size_t i = 0; i < pool->next.wanted && pool->renewal == RENEWAL_STARTING; i++) {
		struct seat *seat = &pool->seats[i];

		if (seat->heir >= 0)
			continue;
		pool->next.keeps = i == 0;
		seat->heir = pool_spawn(pool, &pool->next, now, &why);
		if (seat->heir >= 0)
			continue;
		pool->renewal = RENEWAL_FAILED;
		snprintf(
		    pool->renewal_why, sizeof pool->renewal_why, "cannot start a worker: %s", why);
	}
}

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
			pool_catch_up(pool, heir);
	}
	/* When the others have all there is. */
	for (size_t i = 0; i < pool->capacity; i++) {
		struct worker_process *worker = &pool->workers[i];

		if (worker->generation != pool->generation &&
		    (worker->state == WORKER_STARTING || worker->state == WORKER_SERVING ||
			worker->state == WORKER_ABORTED))
			pool_retire(pool, worker, now);
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
			pool_retire(pool, heir, now);
		else
			heir->heir = false;
	}
}
