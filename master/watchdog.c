/*
 * Listens to the hearts of the workers, and ends the one that hangs: SIGABRT first, so that it may
 * leave a core, then SIGKILL, which also ends a stopped one. A heart beats when its number changes,
 * by our own clock; what the number is does not matter, for a worker can write any.
 */
#include "watchdog.h"

#include <signal.h>

#include "log.h"
#include "pool.h"
#include "scoreboard.h"

#define ABORT_MS 1000 /* from SIGABRT to SIGKILL */

static void watch_heart(struct pool *pool, struct worker_process *worker, int64_t now)
{
	unsigned slot = (unsigned)(worker - pool->workers);
	int64_t beat =
	    atomic_load_explicit(&pool->scoreboard->slots[slot].beat, memory_order_relaxed);
	int64_t silent;

	if (beat != worker->beat) {
		worker->beat = beat;
		worker->beat_at = now;
		worker->stopped = false;
		return;
	}
	silent = now - worker->beat_at;
	if (silent >= WATCHDOG_LATE_MS) {
		pool_ring(pool); /* it may have been the one that was woken for a connection */
		pool->missed = true; /* or be dead: a debugger that lets go can lose a SIGCHLD */
	}
	if (worker->state == WORKER_ABORTED) {
		if (silent >= pool->config->watchdog + ABORT_MS)
			kill(worker->pid, SIGKILL);
		return;
	}
	if (silent < pool->config->watchdog)
		return;
	pool->totals.watchdog_kills++;
	log_write(pool->log, LOG_ERROR,
	    "worker %u (pid %ld) has not beaten for %.1f s: the watchdog kills it", slot,
	    (long)worker->pid, (double)silent / 1000);
	kill(worker->pid, SIGABRT);
	pool_set_state(worker, WORKER_ABORTED);
}

/*
 * Listens to every heart. Our own lateness is not the workers': a little of it is taken off, and
 * when we were stopped or the machine was, so were they perhaps, and they have the whole time
 * again.
 */
void watchdog_look(struct pool *pool, int64_t now)
{
	int64_t gap = now - pool->watched_at;

	if (pool->watched_at != 0 && gap < WATCHDOG_LOOK_MS / 2)
		return;
	for (size_t i = 0; i < pool->capacity; i++) {
		struct worker_process *worker = &pool->workers[i];

		if (worker->state == WORKER_VACANT)
			continue;
		if (pool->watched_at != 0 && gap > 2 * WATCHDOG_LOOK_MS)
			worker->beat_at = now;
		else if (pool->watched_at != 0 && gap > WATCHDOG_LOOK_MS)
			worker->beat_at += gap - WATCHDOG_LOOK_MS;
		if (worker->beat_at > now)
			worker->beat_at = now;
		watch_heart(pool, worker, now);
	}
	pool->watched_at = now;
	pool_restate(pool);
}
