/*
 * What the files of the pool share with each other and with nobody else: pool.c decides who should
 * live and hears of who does, pool_birth.c starts them, pool_listeners.c gives them listeners,
 * pool_renewal.c replaces all of them at once.
 */
#ifndef LASTCALL_POOL_PARTS_H
#define LASTCALL_POOL_PARTS_H

#include "pool.h"

/* The slot of a worker on the scoreboard: its place in pool->workers. */
unsigned pool_slot(const struct pool *pool, const struct worker_process *worker);

/* Wakes the worker of a slot to look at everything. */
void pool_ring_one(struct pool *pool, unsigned slot);

/* ---- pool_birth.c ---- */

/* Starts a worker. Returns its slot, or -1 with why, which is constant or valid until the next call
 * of strerror. now in ms. */
int pool_spawn(struct pool *pool, const struct pool_plan *plan, int64_t now, const char **why);

/* ---- pool_listeners.c ---- */

/* The place of a service in the configuration, or -1: it is none of that one. */
int pool_service_place(const struct config *config, const struct service_config *service);

/* Whether it is to have the listeners that are opened: an heir gets them with its seat. */
bool pool_takes_listeners(const struct worker_process *worker);

/* Tries to give a worker every listener that it lacks. */
void pool_catch_up(struct pool *pool, struct worker_process *worker);

/* ---- pool.c ---- */

/* Tells a worker to leave the listeners and to finish. */
void pool_retire(struct pool *pool, struct worker_process *worker, int64_t now);

/* ---- pool_renewal.c ---- */

/* Starts the heirs that are missing; sees whether all are ready; one has died. */
void renewal_step(struct pool *pool, int64_t now);
void renewal_look(struct pool *pool);
void renewal_heir_died(struct pool *pool, const struct worker_process *worker, int status);

#endif
