/* The services of listeners; see listening.h. */
#include "listening.h"

#include <stdio.h>
#include <string.h>

#include "descriptor.h"
#include "service.h"
#include "worker.h"

/* The service of the configuration at that place of its list, or NULL. */
static struct service_config *configured(const struct config *config, uint32_t place)
{
	struct service_config *service = config->services;

	while (service != NULL && place-- > 0)
		service = service->next;
	return service;
}

/* The block that a message means, or NULL. */
static const struct listen_block *block_of(const struct config *config, uint32_t block)
{
	const struct listen_block *at = block > 0 ? config->blocks : NULL;

	while (at != NULL && --block > 0)
		at = at->next;
	return at;
}

static const struct service_kind *kind_at(uint32_t place)
{
	for (uint32_t i = 0; service_kinds[i] != NULL; i++) {
		if (i == place)
			return service_kinds[i];
	}
	return NULL;
}

/* Makes the service that the words of a message tell, with what it was lent. NULL with why. */
static struct service_config *make_service(
    const struct channel_message *message, char *why, size_t size)
{
	const struct service_kind *kind = kind_at(message->listen.service);
	const char *words[CHANNEL_WORDS_MAX / 2];
	struct service_config *service;
	size_t count = 0;

	snprintf(why, size, "there is no such kind of service");
	if (kind == NULL)
		return NULL;
	for (uint32_t at = 0; at < message->listen.words_size && count < CHANNEL_WORDS_MAX / 2;) {
		words[count] = message->words + at;
		at += (uint32_t)strlen(words[count++]) + 1;
	}
	service = config_make_service(kind, words, count, "/", why, size);
	if (service == NULL)
		return NULL;
	if (message->fds_count == 1 && kind->borrow == NULL)
		return service;
	if (kind->borrow != NULL &&
	    kind->borrow(service->options, message->fds + 1, message->fds_count - 1) == 0)
		return service;
	snprintf(why, size, "it was lent the wrong descriptors");
	config_free_service(service);
	return NULL;
}

static void refuse(struct worker *worker, const struct channel_message *message, const char *why)
{
	log_write(worker->log, LOG_ERROR, "worker %u: cannot take a listener: %s",
	    worker->from->slot, why);
	for (int i = 0; i < message->fds_count; i++) {
		int fd = message->fds[i];

		fd_close(&fd);
	}
	if (message->index < SCOREBOARD_LISTENERS)
		acceptors_say_released(worker, message->index);
}

void listening_begin(struct worker *worker, const struct channel_message *message)
{
	char why[512] = "there is no such service";
	struct handover_listener listener = {
	    .fd = message->fds_count > 0 ? message->fds[0] : -1,
	    .index = message->index,
	    .kind = (int)message->listen.kind,
	    .own = message->listen.in_place,
	};

	if (listener.fd == -1) {
		refuse(worker, message, "its descriptor was lost: too many are open");
		return;
	}
	listener.service = listener.own ? make_service(message, why, sizeof why)
					: configured(worker->config, message->listen.service);
	listener.block = block_of(worker->config, message->listen.block);
	/* Without its block it would believe whoever comes. */
	if (listener.block == NULL && message->listen.block > 0)
		listener.service = NULL;
	if (message->index >= SCOREBOARD_LISTENERS || listener.service == NULL) {
		refuse(worker, message, why);
		return;
	}
	acceptors_add(worker, &listener);
}

bool listening_start(struct worker *worker, const struct handover_listener *listener)
{
	const struct service *service = service_of(listener->service->kind);
	char why[384];

	if (!listener->own || service->start == NULL ||
	    service->start(worker, listener->service->options, why, sizeof why) == 0)
		return true;
	log_write(worker->log, LOG_ERROR, "worker %u: service %s: %s", worker->from->slot,
	    listener->service->name, why);
	return false;
}

void listening_end(const struct handover_listener *listener)
{
	const struct service *service = service_of(listener->service->kind);

	if (!listener->own)
		return;
	if (service->stop != NULL)
		service->stop(listener->service->options);
	if (service->kind.release != NULL)
		service->kind.release(listener->service->options);
	config_free_service(listener->service);
}
