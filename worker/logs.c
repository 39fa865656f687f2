/* The log files of a worker, when they are opened anew; see logs.h. */
#include "logs.h"

#include <errno.h>
#include <string.h>

#include "access.h"
#include "channel.h"
#include "descriptor.h"
#include "service.h"
#include "worker.h"

/* What is done to each service. */
struct anew {
	struct worker *worker;
	const char *path;
	int fd;
};

static void could_not(struct worker *worker, const char *path, const char *why)
{
	log_write(worker->log, LOG_ERROR,
	    "worker %u: cannot take the log %s that was opened anew, going on with the old: %s",
	    worker->from->slot, path, why);
	worker->logs_kept = true;
}

static void reopen_service(const struct anew *anew, const struct service_config *config)
{
	struct service_log logs[SERVICE_LOGS_MAX];
	const struct service *service = service_of(config->kind);
	int count = 0, replaced = 0;

	if (service->kind.logs != NULL)
		count = service->kind.logs(config->options, logs, SERVICE_LOGS_MAX);
	for (int i = 0; i < count; i++) {
		int result;

		if (logs[i].fd < 0 || strcmp(logs[i].path, anew->path) != 0)
			continue;
		result = log_redirect(logs[i].fd, anew->fd);
		if (result == -1)
			could_not(anew->worker, anew->path, strerror(errno));
		replaced += result == 1;
	}
	if (replaced > 0 && service->reopened != NULL)
		service->reopened(config->options);
}

static void reopen_error_log(const struct anew *anew)
{
	struct worker *worker = anew->worker;
	const char *path = worker->config->error_log;
	int result;

	if (path == NULL || strcmp(path, anew->path) != 0)
		return;
	result = log_redirect(worker->log->fd, anew->fd);
	if (result == -1)
		could_not(worker, path, strerror(errno));
	if (result == 1)
		worker->log->torn = false;
}

void logs_reopen(struct worker *worker, const struct channel_message *message)
{
	struct anew anew = {worker, message->words, -1};
	const struct handover *from = worker->from;

	if (message->listen.words_size == 0)
		return;
	if (message->fds_count == 0) {
		could_not(worker, anew.path, "its descriptor was lost: too many are open");
		return;
	}
	anew.fd = message->fds[0];
	access_log_flush_all(worker);
	/* A service that is met twice is changed once: its descriptor leads there by then. */
	reopen_error_log(&anew);
	for (const struct service_config *at = worker->config->services; at != NULL; at = at->next)
		reopen_service(&anew, at);
	for (size_t i = 0; i < from->listeners_count; i++) {
		/* One that waits has no acceptors yet, which are what knows a port's own services.
		 */
		if (!from->listeners[i].own || worker->waiting)
			reopen_service(&anew, from->listeners[i].service);
	}
	for (const struct acceptor *at = worker->acceptors; at != NULL; at = at->next) {
		if (at->from.own)
			reopen_service(&anew, at->from.service);
	}
	for (int i = 0; i < message->fds_count; i++) {
		int fd = message->fds[i];

		fd_close(&fd);
	}
}

void logs_answer(struct worker *worker, unsigned number)
{
	/* A later one answers for those before. */
	worker->logs_number = number;
	worker->logs_answer_due = true;
	logs_answer_due(worker);
}

void logs_answer_due(struct worker *worker)
{
	enum channel_type type = worker->logs_kept ? CHANNEL_KEPT : CHANNEL_REOPENED;

	if (!worker->logs_answer_due ||
	    channel_send(worker->from->channel, type, worker->logs_number) == -1)
		return;
	worker->logs_answer_due = false;
	worker->logs_kept = false;
}
