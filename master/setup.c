/* From a configuration to numbers and descriptors; see setup.h. */
#include "setup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "descriptor.h"
#include "directive.h"
#include "handover.h"
#include "pool.h"
#include "scoreboard.h"

#define LISTENERS_AUTO 1024
#define FOLDERS_MOST 1024 /* that ports of their own are expected to have open */

size_t setup_workers(const struct config *config)
{
	long cpus;

	if (config->workers != DIRECTIVE_AUTO)
		return (size_t)config->workers;
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	return cpus < 1 ? 1 : cpus > 256 ? 256 : (size_t)cpus;
}

int64_t setup_listeners(const struct config *config)
{
	int64_t wanted = LISTENERS_AUTO;
	struct rlimit limit;

	if (config->max_listeners != DIRECTIVE_AUTO)
		return config->max_listeners;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max != RLIM_INFINITY &&
	    limit.rlim_max / 16 < (rlim_t)wanted)
		wanted = (int64_t)limit.rlim_max / 16;
	for (const struct listen_config *at = config->listeners; at != NULL; at = at->next)
		wanted++;
	return wanted < SCOREBOARD_LISTENERS ? wanted : SCOREBOARD_LISTENERS;
}

size_t setup_places(const struct config *config)
{
	size_t open = (size_t)config->max_listeners;
	size_t places = open + open / 2 + 64;

	return places < SCOREBOARD_LISTENERS ? places : SCOREBOARD_LISTENERS;
}

/* A folder and a log, and whatever else the rows of a service name. */
static size_t descriptors_of(const struct service_config *service)
{
	const struct directive *row = service->kind->directives;
	size_t count = 3; /* a log is opened once more before the other is closed */

	for (; row != NULL && row->name != NULL; row++) {
		const struct directive_rows *about = row->choices;
		char ***rows;

		if (row->type != DIRECTIVE_ROWS || about->folder == 0)
			continue;
		memcpy(&rows, (const char *)service->options + row->offset, sizeof rows);
		count += directive_rows(rows);
	}
	return count;
}

size_t setup_descriptors(const struct config *config, size_t workers)
{
	size_t listeners = (size_t)config->max_listeners;
	size_t folders = listeners < FOLDERS_MOST ? listeners : FOLDERS_MOST;
	size_t count = pool_capacity(workers) * 3 + listeners + folders + HANDOVER_COPIES_MAX + 64;

	for (const struct service_config *at = config->services; at != NULL; at = at->next)
		count += descriptors_of(at);
	return count;
}

int setup_log(struct log *log, const struct config *config, char *why, size_t size)
{
	const char *path = config->error_log;

	*log = (struct log){.fd = STDERR_FILENO, .level = (enum log_level)config->log_level};
	log->journal = path == NULL && log_is_journal(STDERR_FILENO);
	if (path == NULL)
		return 0;
	log->fd = log_open(path);
	if (log->fd == -1) {
		snprintf(why, size, "error-log %s: %s", path, log_open_error(errno));
		log->fd = STDERR_FILENO;
		return -1;
	}
	log->stamped = true;
	return 0;
}

void setup_log_close(struct log *log)
{
	if (log->fd != STDERR_FILENO)
		fd_close(&log->fd);
	log->fd = STDERR_FILENO;
}

int setup_services(
    const struct config *config, const struct account *workers, char *why, size_t size)
{
	for (struct service_config *at = config->services; at != NULL; at = at->next) {
		char reason[384];

		if (at->kind->prepare != NULL &&
		    at->kind->prepare(at->options, workers, reason, sizeof reason) == -1) {
			snprintf(why, size, "service %s: %s", at->name, reason);
			return -1;
		}
	}
	return 0;
}

void setup_release(const struct config *config)
{
	for (struct service_config *at = config->services; at != NULL; at = at->next) {
		if (at->kind->release != NULL)
			at->kind->release(at->options);
	}
}
