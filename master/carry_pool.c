/* What an upgrade carries over of the workers; see carry_parts.h. A worker goes on through it as if
 * nothing were: its channel, its bell and the drain pipe are the same, and so is its parent. */
#include <errno.h>
#include <string.h>

#include "carry_parts.h"
#include "pool.h"
#include "scoreboard.h"

#define OF_POOL(type, member) CARRY_FIELD(type, struct pool, member)

static const struct carry_field pool_fields[] = {
    OF_POOL(CARRY_NUMBER, wanted),
    OF_POOL(CARRY_NUMBER, most),
    OF_POOL(CARRY_NUMBER, generation),
    OF_POOL(CARRY_NUMBER, generations),
    OF_POOL(CARRY_FD, drain[0]),
    OF_POOL(CARRY_FD, drain[1]),
    OF_POOL(CARRY_NUMBER, served),
    OF_POOL(CARRY_NUMBER, fork_failing),
    OF_POOL(CARRY_NUMBER, missed),
    OF_POOL(CARRY_NUMBER, watched_at),
    OF_POOL(CARRY_NUMBER, totals.restarts),
    OF_POOL(CARRY_NUMBER, totals.fork_failures),
    OF_POOL(CARRY_NUMBER, totals.watchdog_kills),
    OF_POOL(CARRY_NUMBER, totals.accepted),
    OF_POOL(CARRY_NUMBER, totals.requests),
    OF_POOL(CARRY_NUMBER, totals.lost),
    OF_POOL(CARRY_NUMBER, totals.refused),
    OF_POOL(CARRY_NUMBER, totals.turned_away),
    CARRY_END,
};

#define OF_WORKER(type, member) CARRY_FIELD(type, struct worker_process, member)

static const struct carry_field worker_fields[] = {
    OF_WORKER(CARRY_NUMBER, state),
    OF_WORKER(CARRY_NUMBER, pid),
    OF_WORKER(CARRY_NUMBER, seat),
    OF_WORKER(CARRY_NUMBER, born),
    OF_WORKER(CARRY_FD, channel.fd),
    OF_WORKER(CARRY_NUMBER, stopped),
    OF_WORKER(CARRY_NUMBER, beat),
    OF_WORKER(CARRY_NUMBER, beat_at),
    OF_WORKER(CARRY_NUMBER, retire_due),
    OF_WORKER(CARRY_NUMBER, behind),
    OF_WORKER(CARRY_NUMBER, keeps),
    OF_WORKER(CARRY_NUMBER, generation),
    OF_WORKER(CARRY_NUMBER, serve_due),
    OF_WORKER(CARRY_NUMBER, retire_ends),
    OF_WORKER(CARRY_NUMBER, cut),
    OF_WORKER(CARRY_NUMBER, room),
    CARRY_END,
};

#define OF_SEAT(type, member) CARRY_FIELD(type, struct seat, member)

static const struct carry_field seat_fields[] = {
    OF_SEAT(CARRY_NUMBER, worker),
    OF_SEAT(CARRY_NUMBER, successor),
    OF_SEAT(CARRY_NUMBER, successor_due),
    OF_SEAT(CARRY_NUMBER, failures),
    OF_SEAT(CARRY_NUMBER, not_before),
    OF_SEAT(CARRY_NUMBER, refused),
    CARRY_END,
};

void pool_leave(struct carry_out *out, const struct parts *parts)
{
	const struct pool *pool = parts->pool;

	carry_line(out, "pool");
	carry_put_number(out, "capacity", pool->capacity);
	carry_put(out, pool_fields, pool);
	carry_put_fd(out, "scoreboard", parts->scoreboard->fd);
	for (size_t i = 0; i < pool->capacity; i++) {
		carry_line(out, "bell");
		carry_put_number(out, "slot", i);
		carry_put_fd(out, "rope", pool->ropes[i]);
		carry_put_fd(out, "ear", pool->ears[i]);
	}
	for (size_t i = 0; i < pool->capacity; i++) {
		if (pool->workers[i].state == WORKER_VACANT)
			continue;
		carry_line(out, "worker");
		carry_put_number(out, "slot", i);
		carry_put(out, worker_fields, &pool->workers[i]);
		carry_put_number(out, "config", config_number(parts, pool->workers[i].config));
	}
	for (size_t i = 0; i < POOL_SEATS; i++) {
		if (i >= pool->wanted && pool->seats[i].worker < 0 && pool->seats[i].successor < 0)
			continue;
		carry_line(out, "seat");
		carry_put_number(out, "number", i);
		carry_put(out, seat_fields, &pool->seats[i]);
	}
}

int pool_resume(struct carry_in *in, const struct parts *parts)
{
	struct pool *pool = parts->pool;
	uint64_t capacity;
	int fd = -1;

	if (pool->capacity > 0)
		return carry_wrong(in, "there are two pools");
	if (carry_get_number(in, "capacity", SCOREBOARD_SLOTS, &capacity) == -1 ||
	    carry_get_fd(in, "scoreboard", &fd) == -1)
		return -1;
	if (pool_make(pool, (size_t)capacity) == -1 ||
	    scoreboard_resume(parts->scoreboard, (size_t)capacity, fd) == -1)
		return carry_wrong(in, "its shared memory: %s", strerror(errno));
	if (parts->rehearses) {
		scoreboard_close(parts->scoreboard);
		if (scoreboard_open(parts->scoreboard, (size_t)capacity) == -1)
			return carry_wrong(in, "shared memory: %s", strerror(errno));
	}
	if (carry_get(in, pool_fields, pool) == -1)
		return -1;
	if (pool->wanted == 0 || pool->wanted > pool->most || pool->most > POOL_SEATS)
		return carry_wrong(in, "the pool makes no sense");
	return 0;
}

int bell_resume(struct carry_in *in, const struct parts *parts)
{
	struct pool *pool = parts->pool;
	uint64_t slot;

	if (carry_get_number(in, "slot", SCOREBOARD_SLOTS, &slot) == -1)
		return -1;
	if (slot >= pool->capacity)
		return carry_wrong(in, "a bell is nobody's");
	if (carry_get_fd(in, "rope", &pool->ropes[slot]) == -1)
		return -1;
	return carry_get_fd(in, "ear", &pool->ears[slot]);
}

int worker_resume(struct carry_in *in, const struct parts *parts)
{
	struct pool *pool = parts->pool;
	struct worker_process *worker;
	uint64_t slot, config;

	if (carry_get_number(in, "slot", SCOREBOARD_SLOTS, &slot) == -1 ||
	    carry_get_number(in, "config", UINT64_MAX, &config) == -1)
		return -1;
	if (slot >= pool->capacity || pool->workers[slot].state != WORKER_VACANT)
		return carry_wrong(in, "a worker has no place");
	worker = &pool->workers[slot];
	if (carry_get(in, worker_fields, worker) == -1)
		return -1;
	if (worker->state > WORKER_ABORTED || worker->state == WORKER_VACANT || worker->pid <= 1 ||
	    worker->channel.fd < 0 || worker->seat < -1 || worker->seat >= POOL_SEATS)
		return carry_wrong(in, "worker %ld makes no sense", (long)worker->pid);
	worker->config = config_numbered(parts, config);
	pool->living++;
	return 0;
}

static bool is_slot(const struct pool *pool, int slot)
{
	return slot >= -1 && slot < (int)pool->capacity &&
	    (slot == -1 || pool->workers[slot].state != WORKER_VACANT);
}

int seat_resume(struct carry_in *in, const struct parts *parts)
{
	struct pool *pool = parts->pool;
	struct seat *seat;
	uint64_t number;

	if (pool->capacity == 0 || carry_get_number(in, "number", POOL_SEATS - 1, &number) == -1)
		return carry_wrong(in, "a seat comes too early");
	seat = &pool->seats[number];
	if (carry_get(in, seat_fields, seat) == -1)
		return -1;
	if (!is_slot(pool, seat->worker) || !is_slot(pool, seat->successor))
		return carry_wrong(in, "seat %d makes no sense", (int)number);
	return 0;
}

int pool_resumed(struct carry_in *in, const struct parts *parts)
{
	const struct pool *pool = parts->pool;

	if (pool->capacity == 0 || pool->drain[0] < 0 || pool->drain[1] < 0)
		return carry_wrong(in, "there is no pool");
	for (size_t i = 0; i < pool->capacity; i++) {
		if (pool->ropes[i] < 0 || pool->ears[i] < 0)
			return carry_wrong(in, "a bell is missing");
	}
	return 0;
}
