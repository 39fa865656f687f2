/* Opens the log files anew; see reopen.h. */
#include "reopen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "channel.h"
#include "clock.h"
#include "descriptor.h"
#include "handover.h"

#define SIGNALS_MS 1000 /* between reopenings that signals ask for */
#define AGAIN_MS 100 /* until a worker whose channel was full is tried again */

static void set_state(struct reopen *reopen, enum reopen_state state)
{
	reopen->state = state;
}

unsigned reopen_ask(struct reopen *reopen)
{
	/* One that is under way may have opened a file before it was renamed. */
	reopen->asked = reopen->begun + 1;
	reopen->not_before = 0;
	return reopen->asked;
}

void reopen_signalled(struct reopen *reopen, int64_t now)
{
	if (reopen->asked == reopen->begun && reopen->begun > 0 &&
	    now - reopen->begun_at < SIGNALS_MS)
		reopen->not_before = reopen->begun_at + SIGNALS_MS;
	reopen->asked = reopen->begun + 1;
}

/* ---- the files ---- */

static void forget_files(struct reopen *reopen)
{
	for (size_t i = 0; i < reopen->count; i++) {
		fd_close(&reopen->files[i].fd);
		free(reopen->files[i].path);
	}
	free(reopen->files);
	reopen->files = NULL;
	reopen->count = reopen->room = 0;
}

static struct reopen_file *find_file(const struct reopen *reopen, const char *path)
{
	for (size_t i = 0; i < reopen->count; i++) {
		if (strcmp(reopen->files[i].path, path) == 0)
			return &reopen->files[i];
	}
	return NULL;
}

/* what: a path, or which worker. */
static void failed(struct reopen *reopen, const char *what, const char *why)
{
	size_t used = strlen(reopen->lines);

	log_write(reopen->log, LOG_ERROR, "reopen: %s: %s; the old file goes on", what, why);
	snprintf(reopen->lines + used, sizeof reopen->lines - used, "%s: %s\n", what, why);
	reopen->failed++;
}

/* Opens a file, unless it was for somebody else. */
static void open_file(struct reopen *reopen, const char *path)
{
	struct reopen_file *file;
	struct stat info;

	if (find_file(reopen, path) != NULL)
		return;
	if (reopen->count == reopen->room) {
		size_t room = reopen->room * 2 + 8;

		file = realloc(reopen->files, room * sizeof *file);
		if (file == NULL) {
			failed(reopen, path, strerror(ENOMEM));
			return;
		}
		reopen->files = file;
		reopen->room = room;
	}
	file = &reopen->files[reopen->count];
	file->path = strdup(path);
	if (file->path == NULL) {
		failed(reopen, path, strerror(ENOMEM));
		return;
	}
	reopen->count++;
	file->fd = log_open(path);
	if (file->fd == -1) {
		failed(reopen, path, log_open_error(errno));
		return;
	}
	/* `/dev/stdout` may be another one by now than it was at the start. */
	if (fstat(file->fd, &info) == -1 || !(S_ISREG(info.st_mode) || S_ISFIFO(info.st_mode)))
		fd_close(&file->fd);
	else
		reopen->opened++;
}

/* Has a log of the master's own lead to the file of its path. Returns whether it changed. */
static bool take_file(struct reopen *reopen, const char *path, int fd)
{
	const struct reopen_file *file = find_file(reopen, path);
	int result;

	if (fd < 0 || file == NULL || file->fd < 0)
		return false;
	result = log_redirect(fd, file->fd);
	if (result == -1)
		failed(reopen, path, strerror(errno));
	return result == 1;
}

static void take_error_log(struct reopen *reopen, struct log *log, const struct config *config)
{
	if (config->error_log == NULL)
		return;
	open_file(reopen, config->error_log);
	if (take_file(reopen, config->error_log, log->fd))
		log->torn = false;
}

/* What is done with a log of a service. fd: -1, the master has not opened it. */
typedef void visit_function(struct reopen *reopen, const char *path, int fd);

static void visit_open(struct reopen *reopen, const char *path, int fd)
{
	(void)fd;
	open_file(reopen, path);
}

static void visit_take(struct reopen *reopen, const char *path, int fd)
{
	take_file(reopen, path, fd);
}

static void visit_service(
    struct reopen *reopen, const struct service_config *service, visit_function *visit)
{
	struct service_log logs[SERVICE_LOGS_MAX];
	int count = 0;

	if (service->kind->logs != NULL)
		count = service->kind->logs(service->options, logs, SERVICE_LOGS_MAX);
	for (int i = 0; i < count; i++)
		visit(reopen, logs[i].path, logs[i].fd);
}

static void visit_config(struct reopen *reopen, const struct config *config, visit_function *visit)
{
	if (config->error_log != NULL)
		visit(reopen, config->error_log, -1);
	for (const struct service_config *at = config->services; at != NULL; at = at->next)
		visit_service(reopen, at, visit);
}

/* Those of the configuration in force, of the one that is being applied, of those before that
 * somebody still has, and of ports whose services are their own. */
static void visit_all(struct reopen *reopen, visit_function *visit)
{
	const struct reload *reload = reopen->reload;

	visit_config(reopen, reload->config, visit);
	if (reload->next != NULL)
		visit_config(reopen, reload->next, visit);
	for (const struct config *at = reload->older; at != NULL; at = at->older)
		visit_config(reopen, at, visit);
	for (size_t i = 0; i < reopen->listeners->count; i++) {
		const struct listener *listener = &reopen->listeners->all[i];

		if (listener->state != LISTENER_VACANT && listener->service_is_ours)
			visit_service(reopen, listener->service, visit);
	}
}

static void begin(struct reopen *reopen, int64_t now)
{
	struct reload *reload = reopen->reload;

	forget_files(reopen);
	reopen->begun = reopen->asked;
	reopen->begun_at = now;
	reopen->not_before = 0;
	reopen->told = false;
	reopen->opened = reopen->failed = 0;
	reopen->lines[0] = '\0';
	/* First, so that what goes wrong with the others is told in the new one. */
	take_error_log(reopen, reload->log, reload->config);
	if (reload->next != NULL)
		take_error_log(reopen, &reload->next_log, reload->next);
	visit_all(reopen, visit_open);
	visit_all(reopen, visit_take);
	for (size_t i = 0; i < reopen->pool->capacity; i++) {
		struct worker_process *worker = &reopen->pool->workers[i];

		worker->logs = (struct worker_logs){
		    .due = worker->state != WORKER_VACANT && reopen->opened > 0 ? reopen->begun : 0,
		};
	}
	set_state(reopen, REOPEN_TELLING);
}

/* ---- the workers ---- */

static int send_file(const struct worker_process *worker, const struct reopen_file *file)
{
	struct channel_message message = {.type = CHANNEL_REOPEN};
	size_t size = strlen(file->path) + 1;

	if (size > sizeof message.words)
		return 0; /* log_open does not take a path of that length */
	memcpy(message.words, file->path, size);
	message.listen.words_size = (uint32_t)size;
	message.fds[0] = file->fd;
	message.fds_count = 1;
	return channel_send_fds(worker->channel.fd, &message);
}

/* Sends what a worker lacks. Returns false if its channel is full. */
static bool tell(const struct reopen *reopen, struct worker_process *worker)
{
	struct worker_logs *logs = &worker->logs;

	for (; logs->sent < reopen->count; logs->sent++) {
		const struct reopen_file *file = &reopen->files[logs->sent];

		if (file->fd >= 0 && send_file(worker, file) == -1)
			return false;
	}
	if (logs->sent == reopen->count &&
	    channel_send(worker->channel.fd, CHANNEL_ANSWER, reopen->begun) == -1)
		return false;
	logs->sent = reopen->count + 1;
	return true;
}

/* Answers who asked. late: a worker that has not answered, or NULL; how many there are. */
static void answer(struct reopen *reopen, const struct worker_process *late, size_t late_count)
{
	char why[256] = "";
	struct control_reopen told = {.files = reopen->opened, .lines = reopen->lines, .why = why};

	if (late != NULL)
		snprintf(why, sizeof why,
		    "workers that still have the old files: %zu, one of them pid %ld; each lets go "
		    "of them when it runs again, or when the watchdog ends it",
		    late_count, (long)late->pid);
	else if (reopen->failed > 0)
		snprintf(
		    why, sizeof why, "failures: %zu; the old files go on there", reopen->failed);
	if (why[0] != '\0')
		log_write(reopen->log, LOG_WARNING, "log files opened anew: %zu; %s",
		    reopen->opened, why);
	else
		log_write(reopen->log, LOG_NOTICE, "log files opened anew: %zu", reopen->opened);
	control_reopened(reopen->control, reopen->begun, &told);
	reopen->told = true;
}

/* Returns when to look again, or CLOCK_NEVER with the state IDLE. */
static int64_t tell_all(struct reopen *reopen, int64_t now)
{
	const struct worker_process *late = NULL;
	size_t late_count = 0;
	bool full = false;

	for (size_t i = 0; i < reopen->pool->capacity; i++) {
		struct worker_process *worker = &reopen->pool->workers[i];

		if (worker->state == WORKER_VACANT)
			continue;
		if (worker->logs.due != 0) {
			full |= !tell(reopen, worker);
			late = worker;
			late_count++;
		} else if (worker->logs.kept) {
			char what[64];

			snprintf(what, sizeof what, "worker %zu (pid %ld)", i, (long)worker->pid);
			worker->logs.kept = false;
			failed(reopen, what, "it could not take a file; its log says why");
		}
	}
	if (late_count == 0 || now - reopen->begun_at >= REOPEN_WAIT_MS) {
		if (!reopen->told)
			answer(reopen, late, late_count);
		if (late_count == 0) {
			forget_files(reopen);
			set_state(reopen, REOPEN_IDLE);
			return CLOCK_NEVER;
		}
	}
	if (full)
		return now + AGAIN_MS;
	return reopen->told ? CLOCK_NEVER : reopen->begun_at + REOPEN_WAIT_MS;
}

int64_t reopen_step(struct reopen *reopen, int64_t now)
{
	for (;;) {
		int64_t next = CLOCK_NEVER;

		if (reopen->state == REOPEN_TELLING)
			next = tell_all(reopen, now);
		/* One that only waits for who hangs is overtaken. */
		if (reopen->asked == reopen->begun ||
		    (reopen->state == REOPEN_TELLING && !reopen->told))
			return next;
		if (now < reopen->not_before)
			return clock_earlier(next, reopen->not_before);
		begin(reopen, now);
	}
}

bool reopen_is_told(const struct reopen *reopen)
{
	return reopen->state == REOPEN_IDLE || reopen->told;
}

void reopen_close(struct reopen *reopen)
{
	forget_files(reopen);
}
