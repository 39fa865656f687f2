/*
 * app: a set of long-lived programs that accept by themselves on sockets that lastcall owns, as a
 * service manager's socket activation gives them (sd_listen_fds(3)). Here are its options and its
 * row in the table of services; instances.h keeps the programs.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "account.h"
#include "child.h"
#include "instances.h"
#include "launcher.h"
#include "service.h"
#include "worker.h"

#define INSTANCES_MAX 256
#define LAUNCHER_CAPACITY 4096 /* those that are replaced and have not ended yet included */
#define LEFT_MS 5000 /* from TERM to KILL for what an instance leaves behind in its group */
#define LEAVE_MS 30000 /* from the signal to KILL at most, when the worker has died */

enum ready_by { READY_EXEC, READY_NOTIFY };

struct app_options {
	struct child_options child; /* as it was written: command may begin with a number */
	struct child_user user;
	int64_t instances;
	int64_t stop_signal, ready; /* indexes of the choices */
	int64_t start_timeout, end_delay, max_age; /* ms */
	/* What prepare(), begin() and start() make. */
	struct child_options program; /* what is run */
	struct launcher_instances how;
	struct launcher *born; /* with the worker: of another user */
	struct instances_plan plan;
	struct instances *set;
};

static const char *const stop_signals[] = {
    "TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", NULL};
static const int stop_numbers[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2,
#ifdef SIGWINCH
    SIGWINCH};
#else
    SIGTERM};
#endif
static const char *const readies[] = {"exec", "notify", NULL};

#define DAY_MS INT64_C(86400000)
#define AT(member) .offset = offsetof(struct app_options, member)

static const struct directive app_directives[] = {
    {.name = "command", .type = DIRECTIVE_COMMAND, AT(child.command), .max = 1},
    {.name = "instances",
	.type = DIRECTIVE_NUMBER,
	AT(instances),
	.min = 1,
	.max = INSTANCES_MAX,
	.initial = "1"},
    {.name = "environment", .type = DIRECTIVE_LIST, AT(child.environment)},
    {.name = "pass", .type = DIRECTIVE_LIST, AT(child.pass)},
    {.name = "limit", .type = DIRECTIVE_LIST, AT(child.limits)},
    {.name = "directory", .type = DIRECTIVE_PATH, .min = PATH_FOLDER, AT(child.directory)},
    {.name = "user", .type = DIRECTIVE_STRING, AT(user.name)},
    {.name = "umask",
	.type = DIRECTIVE_MODE,
	AT(child.umask),
	.max = 0777,
	.keyword = "inherit",
	.initial = "inherit"},
    {.name = "ready", .type = DIRECTIVE_CHOICE, AT(ready), .choices = readies, .initial = "exec"},
    {.name = "start-timeout",
	.type = DIRECTIVE_DURATION,
	AT(start_timeout),
	.min = 10,
	.max = DAY_MS,
	.initial = "1m"},
    {.name = "stop-signal",
	.type = DIRECTIVE_CHOICE,
	AT(stop_signal),
	.choices = stop_signals,
	.initial = "TERM"},
    {.name = "end-delay",
	.type = DIRECTIVE_DURATION,
	AT(end_delay),
	.min = 0,
	.max = 7 * DAY_MS,
	.keyword = "unlimited",
	.initial = "unlimited"},
    {.name = "max-age",
	.type = DIRECTIVE_DURATION,
	AT(max_age),
	.min = 100,
	.max = 365 * DAY_MS,
	.keyword = "unlimited",
	.initial = "unlimited"},
    {.name = NULL},
};

/* ---- the service in the master ---- */

/* The number that a command begins with, which stands before a program, or -1. */
static long leading_number(char *const *command)
{
	const char *word = command != NULL ? command[0] : NULL;

	if (word == NULL || *word == '\0' || command[1] == NULL ||
	    word[strspn(word, "0123456789")] != '\0')
		return -1;
	return strlen(word) > 6 ? INSTANCES_MAX + 1 : strtol(word, NULL, 10);
}

/* What is run: the command without the number. */
static struct child_options program_of(const struct app_options *app)
{
	struct child_options program = app->child;

	if (leading_number(program.command) >= 0)
		program.command++;
	return program;
}

static const char *app_check(const void *options, const char **directive)
{
	const struct app_options *app = options;
	const struct child_options program = program_of(app);
	long number = leading_number(app->child.command);

	*directive = "command";
	if (number == 0 || number > INSTANCES_MAX)
		return "the number of instances, which stands before the program, is from 1 to 256";
	return child_check(&program, directive);
}

static const char *app_look(
    const void *options, const struct account *workers, const char **directive)
{
	const struct app_options *app = options;
	const struct child_options program = program_of(app);

	return child_look(&program, &app->user, workers, directive);
}

static int app_prepare(void *options, const struct account *workers, char *why, size_t size)
{
	struct app_options *app = options;
	const struct child_options program = program_of(app);

	return child_user_prepare(&app->user, &program, workers, why, size);
}

/* ---- the launcher ---- */

static struct launcher *open_launcher(struct app_options *app)
{
	const struct launcher_plan plan = {
	    .options = &app->program,
	    .account = app->user.changes ? &app->user.account : NULL,
	    .end_delay = LEFT_MS,
	    .capacity = LAUNCHER_CAPACITY,
	    .instances = &app->how,
	};

	app->program = program_of(app);
	app->how = (struct launcher_instances){
	    .stop_signal = stop_numbers[app->stop_signal],
	    .notify = app->ready == READY_NOTIFY,
	    .leave_delay =
		app->end_delay < 0 || app->end_delay > LEAVE_MS ? LEAVE_MS : app->end_delay,
	};
	return launcher_open(&plan);
}

/* While the worker is who the master is: the launcher of another user can be made only now. */
static int app_begin(void *options, const struct config *config, bool keeps, char *why, size_t size)
{
	struct app_options *app = options;

	(void)config;
	if (!keeps || !app->user.changes || app->born != NULL)
		return 0;
	app->born = open_launcher(app);
	if (app->born != NULL)
		return 0;
	snprintf(why, size, "cannot start a process as user \"%s\": %s", app->user.name,
	    strerror(errno));
	return -1;
}

/* Another one, later. */
static struct launcher *make_launcher(void *owner)
{
	struct app_options *app = owner;

	errno = EPERM;
	return app->user.changes ? NULL : open_launcher(app);
}

/* ---- the service in the worker ---- */

static int app_start(struct worker *worker, void *options, char *why, size_t size)
{
	struct app_options *app = options;
	long number = leading_number(app->child.command);
	const struct service_config *at = worker->config->services;

	if (!worker->from->keeps)
		return 0;
	while (at != NULL && at->options != options)
		at = at->next;
	app->plan = (struct instances_plan){
	    .name = at != NULL ? at->name : "app",
	    .wanted = (size_t)(number > 0 ? number : app->instances),
	    .notify = app->ready == READY_NOTIFY,
	    .start_timeout = app->start_timeout,
	    .end_delay = app->end_delay,
	    .max_age = app->max_age,
	    .make_launcher = make_launcher,
	    .owner = app,
	};
	app->set = instances_open(worker, &app->plan, app->born);
	if (app->set != NULL)
		return 0;
	snprintf(why, size, "%s", strerror(errno));
	return -1;
}

static void app_stop(void *options)
{
	struct app_options *app = options;

	if (app->set != NULL)
		instances_close(app->set);
	app->set = NULL;
}

static void app_keep(struct acceptor *acceptor)
{
	instances_add(((struct app_options *)acceptor->from.service->options)->set, acceptor);
}

const struct service app_service = {
    .kind =
	{
	    .name = "app",
	    .summary = "runs programs that accept by themselves",
	    .directives = app_directives,
	    .options_size = sizeof(struct app_options),
	    .argument = "command",
	    .accepts_itself = true,
	    .check = app_check,
	    .look = app_look,
	    .prepare = app_prepare,
	    .begin = app_begin,
	},
    .start = app_start,
    .stop = app_stop,
    .keep = app_keep,
};
