/*
 * The listeners that the workers have: each that is opened while they run is given to those who
 * serve, and who cannot take it now is given it later.
 */
#include <errno.h>
#include <string.h>

#include "channel.h"
#include "pool_parts.h"
#include "watchdog.h"

/* The place of a service in the configuration, or -1: it is a port's own. */
int pool_service_place(const struct config *config, const struct service_config *service)
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
	int place = own ? -1 : pool_service_place(pool->config, service);
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
bool pool_takes_listeners(const struct worker_process *worker)
{
	return (worker->state == WORKER_STARTING || worker->state == WORKER_SERVING) &&
	    !worker->heir;
}

static void offer(struct pool *pool, struct worker_process *worker, struct listener *listener,
    const struct channel_message *message)
{
	if (channel_send_fds(worker->channel.fd, message) == 0)
		listener_hold(listener, pool_slot(pool, worker), true);
	else
		worker->behind = true;
}

int pool_offer(struct pool *pool, struct listener *listener)
{
	struct channel_message message;

	if (describe(pool, listener, &message) == -1)
		return -1;
	for (size_t i = 0; i < pool->capacity; i++) {
		if (pool_takes_listeners(&pool->workers[i]) && !pool->workers[i].behind)
			offer(pool, &pool->workers[i], listener, &message);
	}
	return 0;
}

/* Tries again to give a worker the listeners that it could not be given. */
void pool_catch_up(struct pool *pool, struct worker_process *worker)
{
	struct channel_message message;

	worker->behind = false;
	for (size_t i = 0; i < pool->listeners->count && !worker->behind; i++) {
		struct listener *listener = &pool->listeners->all[i];

		if ((listener->state != LISTENER_OPEN && listener->state != LISTENER_CLOSING) ||
		    listener_held_by(listener, pool_slot(pool, worker)))
			continue;
		if (describe(pool, listener, &message) == 0)
			offer(pool, worker, listener, &message);
		else
			log_write(pool->log, LOG_ERROR,
			    "worker %u (pid %ld) cannot be given %s: %s", pool_slot(pool, worker),
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
			pool_ring_one(pool, (unsigned)i);
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
