/* Has a worker replaced that has too much memory; see memory.h. */
#include "memory.h"

#include <errno.h>
#include <string.h>

#include "pool.h"
#include "system.h"

#define LOOK_MS 1000
#define SOON_MS 10000 /* after its birth: it was too large from the start */
#define WAIT_FIRST_MS 10000
#define WAIT_MAX_MS 600000

void memory_said(struct worker_process *worker)
{
	worker->memory.said = true;
}

/* How old a worker has to be to be replaced, after so many in a row that were soon too large. */
static int64_t age_wanted(unsigned soon)
{
	int64_t wait = WAIT_FIRST_MS;

	if (soon == 0)
		return 0;
	for (unsigned i = 1; i < soon && wait < WAIT_MAX_MS; i++)
		wait *= 2;
	return wait < WAIT_MAX_MS ? wait : WAIT_MAX_MS;
}

/* What a worker has, in bytes; one more than the limit where only the worker can say that it is
 * more. */
static int64_t memory_of(struct pool *pool, const struct worker_process *worker, int64_t limit)
{
	int64_t bytes = system_memory_of(worker->pid);

	if (bytes >= 0)
		return bytes;
	if (errno != ENOSYS && !pool->memory.blind) {
		log_write(pool->log, LOG_WARNING,
		    "max-memory: cannot see what memory worker %u (pid %ld) has: %s",
		    (unsigned)(worker - pool->workers), (long)worker->pid, strerror(errno));
		pool->memory.blind = true;
	}
	return worker->memory.said ? limit + 1 : 0;
}

/* Whether any seat is waiting for a successor: one at a time. */
static bool is_replacing(const struct pool *pool)
{
	for (size_t i = 0; i < pool->wanted; i++) {
		if (pool->seats[i].successor >= 0 || pool->seats[i].successor_due)
			return true;
	}
	return false;
}

static void replace(struct pool *pool, struct worker_process *worker, int64_t bytes)
{
	struct pool_memory *memory = &pool->memory;
	const long long limit = (long long)pool->config->max_memory;
	unsigned slot = (unsigned)(worker - pool->workers);

	pool->seats[worker->seat].successor_due = true;
	log_write(pool->log, LOG_NOTICE,
	    "worker %u (pid %ld) has %lld KiB of memory or more, and max-memory is %lld KiB: "
	    "replacing it",
	    slot, (long)worker->pid, (long long)bytes / 1024, limit / 1024);
	if (worker->memory.over_since - worker->born >= SOON_MS) {
		memory->soon = 0;
		return;
	}
	if (memory->soon++ == 0)
		log_write(pool->log, LOG_WARNING,
		    "max-memory: worker %u (pid %ld) had more than %lld KiB within 10 s of its "
		    "birth; workers are replaced less often if that goes on",
		    slot, (long)worker->pid, limit / 1024);
}

void memory_look(struct pool *pool, int64_t now)
{
	int64_t limit = pool->config->max_memory, most = limit;
	struct worker_process *largest = NULL;

	if (limit == DIRECTIVE_AUTO || pool->order >= ORDER_STOP || pool->renewal != RENEWAL_NONE ||
	    now - pool->memory.looked_at < LOOK_MS)
		return;
	pool->memory.looked_at = now;
	for (size_t i = 0; i < pool->wanted; i++) {
		struct worker_process *worker;
		int64_t bytes;

		if (pool->seats[i].worker < 0)
			continue;
		worker = &pool->workers[pool->seats[i].worker];
		if (worker->state != WORKER_SERVING)
			continue;
		bytes = memory_of(pool, worker, limit);
		if (bytes <= limit) {
			worker->memory.over_since = 0;
			continue;
		}
		if (worker->memory.over_since == 0)
			worker->memory.over_since = now;
		if (bytes > most && now - worker->born >= age_wanted(pool->memory.soon)) {
			most = bytes;
			largest = worker;
		}
	}
	if (largest != NULL && !is_replacing(pool))
		replace(pool, largest, most);
}
