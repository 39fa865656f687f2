/* What happens before there is a server; see start.h. What serves is in master.c. */
#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "activation.h"
#include "config.h"
#include "descriptor.h"
#include "log.h"
#include "master.h"
#include "notify.h"
#include "upgrade.h"

/* What the command line says takes the place of what the file says. Returns 0, or -1 with errno
 * ENOMEM or of getcwd(3). */
static int replace_path(char **slot, const char *path)
{
	char folder[4096], *copy;
	size_t length;

	if (path == NULL)
		return 0;
	if (path[0] != '/' && getcwd(folder, sizeof folder) == NULL)
		return -1;
	length = strlen(path) + sizeof folder + 2;
	copy = malloc(length);
	if (copy == NULL)
		return -1;
	if (path[0] == '/')
		snprintf(copy, length, "%s", path);
	else
		snprintf(copy, length, "%s/%s", folder, path);
	free(*slot);
	*slot = copy;
	return 0;
}

static int apply_options(struct config *config, const struct options *options)
{
	if (options->workers > 0)
		config->workers = options->workers;
	if (options->user != NULL) {
		free(config->user);
		config->user = strdup(options->user);
		if (config->user == NULL)
			return -1;
	}
	if (replace_path(&config->pid_file, options->pid_file) == -1)
		return -1;
	return replace_path(&config->error_log, options->error_log);
}

/* ---- the daemon's own endpoint ---- */

/* Makes an endpoint the only one. Returns 0, or -1 with errno ENOMEM. */
static int set_control(struct config *config, const struct address *address)
{
	struct control_config *control = config_new_control(address);

	if (control == NULL)
		return -1;
	for (struct control_config *at = config->controls, *next; at != NULL; at = next) {
		next = at->next;
		config_free_control(at);
	}
	config->controls = control;
	config->control_off = false;
	return 0;
}

/* -s, --no-control and --token-file take the place of what the file says, like the other options.
 * What is wrong goes to d. */
static void apply_control(
    struct config *config, const struct options *options, struct diagnostics *d)
{
	const struct position here = {0};
	struct address address;
	const char *why;

	if (options->no_control && options->control != NULL)
		diagnostics_error(d, &here, NULL, 0, "either -s or --no-control");
	if (options->token_file != NULL && options->control == NULL)
		diagnostics_error(d, &here, NULL, 0, "--token-file belongs to an endpoint of -s");
	if (options->no_control) {
		while (config->controls != NULL) {
			struct control_config *next = config->controls->next;

			config_free_control(config->controls);
			config->controls = next;
		}
		config->control_off = true;
	}
	if (options->control == NULL)
		return;
	if (config_control_address(&address, options->control, NULL, &why) == -1) {
		diagnostics_error(d, &here, NULL, 0, "-s: \"%.280s\": %s", options->control, why);
		return;
	}
	if (address.form != ADDRESS_UNIX && options->token_file == NULL)
		diagnostics_error(d, &here, NULL, 0,
		    "-s %s: an endpoint over TCP needs a --token-file: whoever reaches the port "
		    "could else open others",
		    options->control);
	if (address.form == ADDRESS_UNIX && options->token_file != NULL)
		diagnostics_error(d, &here, NULL, 0,
		    "--token-file is for a TCP endpoint; a Unix socket is its user's");
	if (set_control(config, &address) == -1 ||
	    replace_path(&config->controls->token_file, options->token_file) == -1)
		diagnostics_error(d, &here, NULL, 0, "%s", strerror(errno));
}

/* ---- a configuration, at the start and at each reload ---- */

static struct config *no_memory(struct diagnostics *d)
{
	diagnostics_error(d, &(struct position){0}, NULL, 0, "out of memory");
	return NULL;
}

/*
 * Adds what the command line says to what was read, and looks at the whole, also after errors: what
 * is wrong is to be seen in one run. Returns it, or NULL when there was any error.
 */
static struct config *complete(
    struct config *config, const struct options *options, const char *file, struct diagnostics *d)
{
	apply_control(config, options, d);
	if (apply_options(config, options) == -1)
		diagnostics_error(d, &(struct position){0}, NULL, 0, "%s", strerror(errno));
	/* What is carried over was checked when it came into force. */
	if (!options->resumes)
		config_check_system(config, d);
	if (d->errors == 0 && config->listeners == NULL && config->controls == NULL)
		diagnostics_error(d, &(struct position){.file = file}, NULL, 0,
		    "nothing to serve: there is no listen");
	if (diagnostics_end(d) == 0)
		return config;
	config_free(config);
	return NULL;
}

/* ---- -d ---- */

/*
 * Goes to the background. The parent waits for the child to be ready and exits with 0, or with the
 * child's status if that never was. Returns the pipe to the parent in the child, or -1 with errno.
 */
static int detach(void)
{
	int ends[2], status;
	pid_t child;
	ssize_t got;
	char byte;

	if (pipe(ends) == -1)
		return -1;
	child = fork();
	if (child == -1)
		return -1;
	if (child == 0) {
		fd_close(&ends[0]);
		fd_set_cloexec(ends[1], true);
		setsid();
		return ends[1];
	}
	fd_close(&ends[1]);
	do {
		got = read(ends[0], &byte, 1);
	} while (got == -1 && errno == EINTR);
	if (got == 1)
		_exit(STATUS_DONE);
	/* The pipe ended without the byte: it could not start, and has said why. */
	waitpid(child, &status, 0);
	_exit(WIFEXITED(status) && WEXITSTATUS(status) != STATUS_DONE ? WEXITSTATUS(status)
								      : STATUS_FAILED);
}

/* What a line on standard error begins with. */
static const char *journal_prefix(enum log_level level)
{
	return log_is_journal(STDERR_FILENO) ? log_priority(level) : "";
}

/* What a service manager has passed, and wants to be told. Nonsense is said, and left. */
static void hear_manager(struct activation *activation, struct notify *notify)
{
	char why[256];

	if (activation_take(activation) == -1)
		fprintf(stderr, "%slastcall: warning: no socket is taken (LISTEN_FDS): %s\n",
		    journal_prefix(LOG_WARNING),
		    errno == EINVAL ? "LISTEN_PID or LISTEN_FDS is no number" : strerror(errno));
	if (notify_open(notify, why, sizeof why) == -1)
		fprintf(stderr, "%slastcall: warning: %s\n", journal_prefix(LOG_WARNING), why);
}

typedef struct config *load_function(const void *from, struct diagnostics *d);

/* The configurations that the program before this one had, from what it left of their texts.
 * Returns the one in force, with the older ones behind it, or NULL with every error in d. */
static struct config *load_inherited(const struct options *options, load_function *load,
    const struct inheritance *inheritance, struct diagnostics *d)
{
	struct options with_texts = *options;
	struct config *first = NULL, **end = &first;

	with_texts.resumes = true;
	for (size_t i = 0; i < inheritance->sources.count; i++) {
		with_texts.given = inheritance->sources.of[i];
		*end = load(&with_texts, d);
		/* An older one that is no longer right is missed by whoever still needs it. */
		if (*end == NULL && i > 0)
			*end = config_new();
		if (*end == NULL)
			break;
		end = &(*end)->older;
		if (i + 1 == inheritance->sources.count)
			return first;
	}
	while (first != NULL) {
		struct config *next = first->older;

		config_free(first);
		first = next;
	}
	return NULL;
}

/* Goes on where the program before this one left the server, or rehearses that. Returns the exit
 * status of the server. */
static int resume(const struct options *options, const struct source_of_config *source,
    struct inheritance *inheritance)
{
	static const char why[] = "this version does not accept the configuration that is in force";
	char *lines = NULL;
	size_t length;
	struct diagnostics d = {.out = open_memstream(&lines, &length)};
	struct config *config = NULL;

	if (d.out != NULL)
		config = load_inherited(options, source->load, inheritance, &d);
	if (d.out != NULL)
		fclose(d.out);
	if (config == NULL && inheritance->rehearses)
		rehearsal_end(inheritance, "wrong", why, lines != NULL ? lines : "");
	if (config == NULL)
		fprintf(stderr, "%slastcall: error: %s\n", lines != NULL ? lines : "", why);
	free(lines);
	return config != NULL ? master_resume(config, inheritance, source) : STATUS_FAILED;
}

/* Runs a server of the configuration that load makes of the options, at the start and at each
 * reload. Returns its exit status. */
static int start(const struct options *options, load_function *load)
{
	static struct inheritance inheritance;
	static struct invocation invocation;
	const struct source_of_config source = {load, options, &invocation};
	const int inherits = inheritance_open(&inheritance);
	struct activation activation;
	struct notify notify;
	struct announce announce = {
	    .lines = true,
	    .ready_fd = options->ready_fd,
	    .parent = -1,
	    .activation = &activation,
	    .notify = &notify,
	    .lifeline = -1,
	};
	struct diagnostics diagnostics = {.out = stderr, .prefix = journal_prefix(LOG_ERROR)};
	struct config *config;
	int status = STATUS_USAGE;

	if (inherits == -1) {
		if (inheritance.result >= 0)
			rehearsal_end(&inheritance, "failed", inheritance.in.why, "");
		fprintf(stderr, "%slastcall: error: %s\n", journal_prefix(LOG_ERROR),
		    inheritance.in.why);
		return STATUS_FAILED;
	}
	invocation_find(&invocation, options->argv);
	if (inherits == 1 && inheritance.sources.program != NULL)
		snprintf(invocation.program, sizeof invocation.program, "%s",
		    inheritance.sources.program);
	if (inherits == 1)
		return resume(options, &source, &inheritance);
	/* Before -d forks: it is this process that they were meant for. */
	hear_manager(&activation, &notify);
	config = load(options, &diagnostics);
	if (config == NULL)
		return STATUS_USAGE;
	if (options->ready_fd >= 0 && fd_set_cloexec(options->ready_fd, true) == -1) {
		fprintf(stderr, "lastcall: error: --ready-fd %d: %s\n", options->ready_fd,
		    strerror(errno));
	} else if (options->detach && (announce.parent = detach()) == -1) {
		fprintf(stderr, "lastcall: error: -d: %s\n", strerror(errno));
		status = STATUS_FAILED;
	} else {
		return master_run(config, &announce, &source);
	}
	config_free(config);
	return status;
}

/* ---- serve ---- */

/* What the options say. Returns it, or NULL with every error in d. */
static struct config *load_serve(const void *from, struct diagnostics *d)
{
	const struct options *options = from;
	struct config *config = config_new();
	const char *folder = options->folder != NULL ? options->folder : ".";
	char http[] = "http", argument[4096];
	char *words[] = {http, argument};

	if (config == NULL)
		return no_memory(d);
	snprintf(argument, sizeof argument, "%s", folder);
	for (int i = 0; i < options->listen_count; i++)
		config_add_listener(config, options->listen[i].address, 2, words, d);
	if (options->listen_count == 0)
		config_add_listener(config, "8080", 2, words, d);
	return complete(config, options, NULL, d);
}

int start_run_serve(const struct command *command, const struct options *options)
{
	(void)command;
	return start(options, load_serve);
}

/* ---- run, check ---- */

/* The file of -c, or the default one if nothing else says what to serve or where to be asked for
 * it; or NULL. */
static const char *config_file(const struct options *options)
{
	if (options->config_file == NULL && options->listen_count == 0 && options->control == NULL)
		return DEFAULT_CONFIG;
	return options->config_file;
}

/* The file that the options name, and the listeners of the command line. Returns it, or NULL with
 * every error in d. */
static struct config *load_run(const void *from, struct diagnostics *d)
{
	const struct options *options = from;
	const char *file = config_file(options);
	struct config *config = config_new();

	if (config == NULL)
		return no_memory(d);
	config->given = options->given;
	if (file != NULL)
		config_load(config, file, d);
	config->given = NULL;
	for (int i = 0; i < options->listen_count; i++)
		config_add_listener(config, options->listen[i].address, options->listen[i].count,
		    options->listen[i].words, d);
	return complete(config, options, file, d);
}

int start_run_run(const struct command *command, const struct options *options)
{
	(void)command;
	return start(options, load_run);
}

int start_run_check(const struct command *command, const struct options *options)
{
	const char *file = config_file(options);
	struct diagnostics diagnostics = {.out = stderr, .prefix = journal_prefix(LOG_ERROR)};
	struct config *config = load_run(options, &diagnostics);
	int services = 0, listeners = 0;

	(void)command;
	if (config == NULL)
		return STATUS_USAGE;
	for (const struct service_config *at = config->services; at != NULL; at = at->next)
		services++;
	for (const struct listen_config *at = config->listeners; at != NULL; at = at->next)
		listeners++;
	printf("%s: ok, %d service%s, %d listener%s\n", file != NULL ? file : "command line",
	    services, services == 1 ? "" : "s", listeners, listeners == 1 ? "" : "s");
	config_free(config);
	return STATUS_DONE;
}
