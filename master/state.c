/* Puts together what an upgrade carries over; see state.h. */
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "carry_parts.h"
#include "channel.h"
#include "control.h"
#include "handover.h"
#include "listener.h"
#include "log.h"
#include "pidfile.h"
#include "pool.h"
#include "ports.h"
#include "reload.h"
#include "reopen.h"
#include "scoreboard.h"
#include "setup.h"

/*
 * What the two programs must agree on: what is said here, and the shape of what the workers share
 * with either. The number is raised when a value comes to mean something else; one that is new, or
 * is gone, is told by its name.
 */
#define STATE_NUMBER 2

struct shape {
	uint64_t number, slots, slot, tally, listeners, message, worker;
};

static const struct carry_field shape_fields[] = {
    CARRY_FIELD(CARRY_NUMBER, struct shape, number),
    CARRY_FIELD(CARRY_NUMBER, struct shape, slots),
    CARRY_FIELD(CARRY_NUMBER, struct shape, slot),
    CARRY_FIELD(CARRY_NUMBER, struct shape, tally),
    CARRY_FIELD(CARRY_NUMBER, struct shape, listeners),
    CARRY_FIELD(CARRY_NUMBER, struct shape, message),
    CARRY_FIELD(CARRY_NUMBER, struct shape, worker),
    CARRY_END,
};

static const struct shape shape_of_this = {
    .number = STATE_NUMBER,
    .slots = SCOREBOARD_SLOTS,
    .slot = sizeof(struct slot),
    .tally = sizeof(struct tally),
    .listeners = SCOREBOARD_LISTENERS,
    .message = sizeof(struct channel_message),
    .worker = CHANNEL_ANSWER,
};

static const struct carry_field source_fields[] = {
    CARRY_FIELD(CARRY_NUMBER, struct config_source, device),
    CARRY_FIELD(CARRY_NUMBER, struct config_source, inode),
    CARRY_END,
};

static const struct carry_field reload_fields[] = {
    CARRY_FIELD(CARRY_NUMBER, struct reload, asked),
    CARRY_FIELD(CARRY_NUMBER, struct reload, begun),
    CARRY_FIELD(CARRY_NUMBER, struct reload, begun_at),
    CARRY_END,
};

static const struct carry_field log_fields[] = {
    CARRY_FIELD(CARRY_NUMBER, struct log, torn),
    CARRY_FIELD(CARRY_NUMBER, struct log, dropped),
    CARRY_FIELD(CARRY_NUMBER, struct log, dropped_total),
    CARRY_END,
};

static const struct carry_field reopen_fields[] = {
    CARRY_FIELD(CARRY_NUMBER, struct reopen, asked),
    CARRY_FIELD(CARRY_NUMBER, struct reopen, begun),
    CARRY_FIELD(CARRY_NUMBER, struct reopen, state),
    CARRY_FIELD(CARRY_NUMBER, struct reopen, not_before),
    CARRY_FIELD(CARRY_NUMBER, struct reopen, begun_at),
    CARRY_END,
};

/* ---- configurations and their services ---- */

const struct config *config_numbered(const struct parts *parts, uint64_t number)
{
	const struct config *config = parts->reload->config;

	if (number == 0)
		return config;
	config = parts->reload->older;
	while (config != NULL && --number > 0)
		config = config->older;
	return config;
}

uint64_t config_number(const struct parts *parts, const struct config *config)
{
	uint64_t number = 0;

	const struct config *at;

	/* One that is not there any more has the number behind the last, which stands for none. */
	while ((at = config_numbered(parts, number)) != NULL && at != config)
		number++;
	return number;
}

const struct config *config_having(const struct parts *parts, const struct service_config *service)
{
	const struct config *config;

	for (uint64_t number = 0; (config = config_numbered(parts, number)) != NULL; number++) {
		for (const struct service_config *at = config->services; at != NULL;
		     at = at->next) {
			if (at == service)
				return config;
		}
	}
	return NULL;
}

void service_leave(
    struct carry_out *out, const struct parts *parts, const struct service_config *service)
{
	const struct config *config;

	for (uint64_t number = 0; (config = config_numbered(parts, number)) != NULL; number++) {
		uint64_t place = 0;

		for (const struct service_config *at = config->services; at != NULL;
		     at = at->next, place++) {
			if (at != service)
				continue;
			carry_put_number(out, "config", number);
			carry_put_number(out, "place", place);
			carry_put_bytes(out, "service", service->name, strlen(service->name));
			return;
		}
	}
}

int service_resume(struct carry_in *in, const struct parts *parts, struct service_config **service)
{
	const struct config *config;
	struct service_config *at;
	uint64_t number, place;
	size_t length;
	char *name;

	if (carry_get_number(in, "config", STATE_CONFIGS_MAX, &number) == -1 ||
	    carry_get_number(in, "place", UINT64_MAX, &place) == -1 ||
	    carry_get_bytes(in, "service", &name, &length) == -1)
		return -1;
	config = config_numbered(parts, number);
	at = config != NULL ? config->services : NULL;
	while (at != NULL && place-- > 0)
		at = at->next;
	if (at == NULL || name == NULL || strcmp(at->name, name) != 0) {
		carry_wrong(in,
		    "this version reads another configuration from the same words: "
		    "there is no service \"%.60s\"",
		    name != NULL ? name : "");
		at = NULL;
	}
	free(name);
	*service = at;
	return at != NULL ? 0 : -1;
}

/* ---- leaving ---- */

static void leave_sources(struct carry_out *out, const struct parts *parts)
{
	const struct config *config;

	for (uint64_t number = 0; (config = config_numbered(parts, number)) != NULL; number++) {
		for (const struct config_source *at = config->sources; at != NULL; at = at->next) {
			carry_line(out, "source");
			carry_put_number(out, "config", number);
			carry_put_bytes(out, "name", at->name, strlen(at->name));
			carry_put_bytes(out, "folder", at->folder, strlen(at->folder));
			carry_put_bytes(out, "text", at->text, at->length);
			carry_put(out, source_fields, at);
		}
	}
}

void state_leave(struct carry_out *out, const struct parts *parts)
{
	uint64_t configs = 0, sources = 0;
	const struct config *config;

	while ((config = config_numbered(parts, configs)) != NULL) {
		configs++;
		for (const struct config_source *at = config->sources; at != NULL; at = at->next)
			sources++;
	}
	carry_line(out, "lastcall");
	carry_put(out, shape_fields, &shape_of_this);
	carry_put_bytes(out, "program", parts->program, strlen(parts->program));
	carry_put_number(out, "configs", configs);
	carry_put_number(out, "sources", sources);
	leave_sources(out, parts);
	carry_line(out, "master");
	carry_put(out, reload_fields, parts->reload);
	carry_put_fd(out, "pidfile", parts->pidfile->fd);
	if (parts->pidfile->fd >= 0)
		carry_put_bytes(out, "path", parts->pidfile->path, strlen(parts->pidfile->path));
	carry_line(out, "log");
	carry_put(out, log_fields, parts->log);
	carry_line(out, "reopen");
	carry_put(out, reopen_fields, parts->reopen);
	manager_leave(out, parts);
	pool_leave(out, parts);
	listeners_leave(out, parts);
	control_leave(out, parts);
}

/* ---- resuming ---- */

static int read_source(struct carry_in *in, struct state_sources *sources)
{
	struct config_source *source = calloc(1, sizeof *source), **end;
	uint64_t number;
	size_t length;

	if (source == NULL)
		return carry_wrong(in, "%s", strerror(errno));
	if (strcmp(in->kind, "source") != 0 ||
	    carry_get_number(in, "config", sources->count - 1, &number) == -1 ||
	    carry_get_bytes(in, "name", &source->name, &length) == -1 ||
	    carry_get_bytes(in, "folder", &source->folder, &length) == -1 ||
	    carry_get_bytes(in, "text", &source->text, &source->length) == -1 ||
	    carry_get(in, source_fields, source) == -1 || source->name == NULL ||
	    source->folder == NULL || source->text == NULL) {
		source_free(source);
		return carry_wrong(in, "a source of the configuration is malformed");
	}
	end = &sources->of[number];
	while (*end != NULL)
		end = &(*end)->next;
	*end = source;
	return 0;
}

int state_sources(struct carry_in *in, struct state_sources *sources)
{
	struct shape shape = {0};
	uint64_t configs, count;
	size_t length;

	*sources = (struct state_sources){.count = 0};
	if (!carry_next(in) || strcmp(in->kind, "lastcall") != 0)
		return carry_wrong(in, "what the running server left is not understood");
	if (carry_get(in, shape_fields, &shape) == -1)
		return -1;
	if (memcmp(&shape, &shape_of_this, sizeof shape) != 0)
		return carry_wrong(in,
		    "the running server and this program share their memory "
		    "in different shapes; this takes a restart");
	if (carry_get_bytes(in, "program", &sources->program, &length) == -1)
		return -1;
	if (carry_get_number(in, "configs", STATE_CONFIGS_MAX, &configs) == -1 ||
	    carry_get_number(in, "sources", UINT64_MAX, &count) == -1)
		return carry_wrong(in, "too many configurations are still in use");
	if (configs == 0)
		return carry_wrong(in, "there is no configuration");
	sources->count = (size_t)configs;
	for (; count > 0; count--) {
		if (!carry_next(in))
			return carry_wrong(in, "a source of the configuration is missing");
		if (read_source(in, sources) == -1)
			return -1;
	}
	return 0;
}

void state_release_sources(struct state_sources *sources)
{
	for (size_t i = 0; i < sources->count; i++) {
		while (sources->of[i] != NULL) {
			struct config_source *source = sources->of[i];

			sources->of[i] = source->next;
			source_free(source);
		}
	}
	sources->count = 0;
	free(sources->program);
	sources->program = NULL;
}

static int master_resume_line(struct carry_in *in, const struct parts *parts)
{
	size_t length;

	if (carry_get(in, reload_fields, parts->reload) == -1 ||
	    carry_get_fd(in, "pidfile", &parts->pidfile->fd) == -1 ||
	    carry_get_bytes(in, "path", &parts->pidfile->path, &length) == -1)
		return -1;
	if (parts->pidfile->fd >= 0 && parts->pidfile->path == NULL)
		return carry_wrong(in, "the pid file has no path");
	return 0;
}

static int log_resume(struct carry_in *in, const struct parts *parts)
{
	return carry_get(in, log_fields, parts->log);
}

static int reopen_resume(struct carry_in *in, const struct parts *parts)
{
	struct reopen *reopen = parts->reopen;

	if (carry_get(in, reopen_fields, reopen) == -1)
		return -1;
	/* A worker that hung has the old files still: all are told once more. */
	if (reopen->state != REOPEN_IDLE && reopen->asked == reopen->begun)
		reopen->asked++;
	reopen->state = REOPEN_IDLE;
	return 0;
}

/* What older configurations have open, for the ports that still need it. */
static int prepare_older(struct carry_in *in, const struct parts *parts)
{
	char why[200];

	for (struct config *at = parts->reload->older; at != NULL; at = at->older) {
		if (setup_services(at, NULL, why, sizeof why) == -1 &&
		    listeners_use(parts->listeners, at))
			return carry_wrong(in,
			    "what a port still needs of an earlier configuration is gone: %s", why);
	}
	return 0;
}

static const struct {
	const char *kind;
	int (*resume)(struct carry_in *in, const struct parts *parts);
} kinds[] = {
    {"master", master_resume_line},
    {"log", log_resume},
    {"reopen", reopen_resume},
    {"manager", manager_resume},
    {"passed", passed_resume},
    {"gone", gone_resume},
    {"pool", pool_resume},
    {"bell", bell_resume},
    {"worker", worker_resume},
    {"seat", seat_resume},
    {"listeners", listeners_resume},
    {"listener", listener_resume},
    {"control", control_resume},
    {"endpoint", endpoint_resume},
    {"client", client_resume},
    {"lease", lease_resume},
    {"waiter", waiter_resume},
};
#define KINDS (sizeof kinds / sizeof *kinds)

int state_resume(struct carry_in *in, const struct parts *parts)
{
	while (carry_next(in)) {
		size_t i = 0;

		while (i < KINDS && strcmp(kinds[i].kind, in->kind) != 0)
			i++;
		if (i == KINDS)
			return carry_wrong(
			    in, "there is a \"%.40s\", which this version does not know", in->kind);
		if (kinds[i].resume(in, parts) == -1)
			return carry_wrong(in, "a %s is not understood", kinds[i].kind);
	}
	if (in->why[0] != '\0' || pool_resumed(in, parts) == -1 ||
	    listeners_resumed(in, parts) == -1)
		return -1;
	if (parts->control->wheel == NULL)
		return carry_wrong(in, "nothing is left of control");
	return prepare_older(in, parts);
}

int state_begin(const struct parts *parts)
{
	struct pool *pool = parts->pool;

	for (size_t i = 0; i < pool->capacity; i++) {
		struct worker_process *worker = &pool->workers[i];

		if (worker->state != WORKER_VACANT &&
		    loop_watch(pool->loop, &worker->channel, LOOP_READ) == -1)
			return -1;
	}
	return control_begin(parts->control);
}
