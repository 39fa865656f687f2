/*
 * max-memory: has a worker replaced that has too much memory.
 *
 * The master looks, once a second, at what each worker has resident that it shares with nobody
 * (so the scoreboard counts for none). Where the system does not tell, a worker says so itself. One
 * worker at a time is replaced, the largest first, in the way of max-requests.
 *
 * A worker that is above the limit soon after its birth says that the limit is too low: the next
 * one has to be older before it is replaced in its turn, from 10 s, then twice as long each time up
 * to 10 minutes. One that took its time sets that back.
 */
#ifndef LASTCALL_MEMORY_H
#define LASTCALL_MEMORY_H

#include <stdint.h>

struct pool;
struct worker_process;

/* Looks, if it is time. Call it at least once a second. */
void memory_look(struct pool *pool, int64_t now);

/* A worker says that it has too much. It is believed where we cannot see it. */
void memory_said(struct worker_process *worker);

#endif
