/* The commands; see command.h. What serves is in master.c; here is what happens before, and `stop`.
 */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "descriptor.h"
#include "master.h"
#include "pidfile.h"
#include "system.h"

#define DEFAULT_CONFIG "/etc/lastcall/lastcall.conf"

int command_misused(const struct command *command, const char *why)
{
	fprintf(stderr, "lastcall: error: %s: %s\n", command->name, why);
	fprintf(stderr, "usage: lastcall %s %s\n", command->name, command->usage);
	return STATUS_USAGE;
}

static int out_of_memory(void)
{
	fprintf(stderr, "lastcall: error: out of memory\n");
	return STATUS_FAILED;
}

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

static int start(struct config *config, const struct options *options)
{
	struct announce announce = {.lines = true, .ready_fd = options->ready_fd, .parent = -1};

	if (options->ready_fd >= 0 && fd_set_cloexec(options->ready_fd, true) == -1) {
		fprintf(stderr, "lastcall: error: --ready-fd %d: %s\n", options->ready_fd,
		    strerror(errno));
		return STATUS_USAGE;
	}
	if (options->detach) {
		announce.parent = detach();
		if (announce.parent == -1) {
			fprintf(stderr, "lastcall: error: -d: %s\n", strerror(errno));
			return STATUS_FAILED;
		}
	}
	return master_run(config, &announce);
}

/* ---- serve ---- */

static int run_serve(const struct command *command, const struct options *options)
{
	struct diagnostics diagnostics = {.out = stderr};
	struct config *config = config_new();
	const char *folder = options->folder != NULL ? options->folder : ".";
	char http[] = "http", argument[4096];
	char *words[] = {http, argument};
	int status = STATUS_USAGE;

	(void)command;
	if (config == NULL)
		return out_of_memory();
	snprintf(argument, sizeof argument, "%s", folder);
	for (int i = 0; i < options->listen_count; i++)
		config_add_listener(config, options->listen[i].address, 2, words, &diagnostics);
	if (options->listen_count == 0)
		config_add_listener(config, "8080", 2, words, &diagnostics);
	if (apply_options(config, options) == -1)
		status = out_of_memory();
	else if (diagnostics.errors == 0 && config_check_system(config, &diagnostics) == 0)
		status = start(config, options);
	diagnostics_end(&diagnostics);
	config_free(config);
	return status;
}

/* ---- run, check ---- */

/*
 * Loads what the options name: the file of -c, the default one if nothing else says what to serve,
 * and the listeners of the command line. Returns the configuration, or NULL after the errors were
 * written.
 */
static struct config *load(const struct options *options, const char **file)
{
	struct diagnostics diagnostics = {.out = stderr};
	struct config *config = config_new();

	*file = options->config_file != NULL ? options->config_file
	    : options->listen_count == 0     ? DEFAULT_CONFIG
					     : NULL;
	if (config == NULL) {
		out_of_memory();
		return NULL;
	}
	if (*file != NULL)
		config_load(config, *file, &diagnostics);
	for (int i = 0; i < options->listen_count; i++)
		config_add_listener(config, options->listen[i].address, options->listen[i].count,
		    options->listen[i].words, &diagnostics);
	if (apply_options(config, options) == -1)
		diagnostics_error(
		    &diagnostics, &(struct position){0}, NULL, 0, "%s", strerror(errno));
	/* Also after errors: what is wrong is to be seen in one run. */
	config_check_system(config, &diagnostics);
	if (diagnostics.errors == 0 && config->listeners == NULL)
		diagnostics_error(&diagnostics, &(struct position){.file = *file}, NULL, 0,
		    "nothing to serve: there is no listen");
	if (diagnostics_end(&diagnostics) == 0)
		return config;
	config_free(config);
	return NULL;
}

static int run_run(const struct command *command, const struct options *options)
{
	const char *file;
	struct config *config = load(options, &file);
	int status;

	(void)command;
	if (config == NULL)
		return STATUS_USAGE;
	status = start(config, options);
	config_free(config);
	return status;
}

static int run_check(const struct command *command, const struct options *options)
{
	const char *file;
	struct config *config = load(options, &file);
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

/* ---- stop ---- */

/* The pid file that the options name, directly or by a configuration, in path. Returns 0 or a
 * status. */
static int find_pid_file(
    const struct command *command, const struct options *options, char *path, size_t size)
{
	struct diagnostics diagnostics = {.out = stderr};
	struct config *config;
	int status = STATUS_DONE;

	if (options->pid_file != NULL) {
		snprintf(path, size, "%s", options->pid_file);
		return STATUS_DONE;
	}
	if (options->config_file == NULL)
		return command_misused(
		    command, "which one? (-p PIDFILE, or -c FILE of one that names its pid-file)");
	config = config_new();
	if (config == NULL)
		return out_of_memory();
	config_load(config, options->config_file, &diagnostics);
	if (diagnostics_end(&diagnostics) > 0)
		status = STATUS_USAGE;
	else if (config->pid_file == NULL)
		status = command_misused(command, "that configuration names no pid-file");
	else
		snprintf(path, size, "%s", config->pid_file);
	config_free(config);
	return status;
}

/* Signals whoever holds the lock, and nobody else whatever pid was reused meanwhile. Returns 0 or
 * -1 with errno. */
static int signal_holder(int fd, pid_t holder, int signal)
{
	int process = system_process_open(holder);
	int result = -1;

	errno = ESRCH;
	if (pidfile_holder(fd) == holder)
		result = system_process_signal(process, holder, signal);
	fd_close(&process);
	return result;
}

/* Waits for the lock to be given up, and reads what the stop left in the file. Returns the exit
 * status. */
static int await_end(int fd, pid_t holder)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	char text[600] = "";
	char *receipt;
	long status;
	ssize_t got;

	while (fcntl(fd, F_SETLKW, &lock) == -1) {
		if (errno != EINTR) {
			fprintf(stderr, "lastcall: error: stop: cannot wait for pid %ld: %s\n",
			    (long)holder, strerror(errno));
			return STATUS_FAILED;
		}
	}
	got = pread(fd, text, sizeof text - 1, 0);
	text[got > 0 ? got : 0] = '\0';
	receipt = strchr(text, '\n');
	if (receipt == NULL || receipt[1] == '\0') {
		fprintf(stderr, "lastcall: error: stop: pid %ld ended without a receipt\n",
		    (long)holder);
		return STATUS_FAILED;
	}
	status = strtol(receipt + 1, &receipt, 10);
	printf("lastcall:%s", receipt);
	return status == STATUS_DONE || status == STATUS_CUT ? (int)status : STATUS_FAILED;
}

static int run_stop(const struct command *command, const struct options *options)
{
	char path[4096];
	int status = find_pid_file(command, options, path, sizeof path);
	pid_t holder = 0;
	int fd;

	if (status != STATUS_DONE)
		return status;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd != -1)
		holder = pidfile_holder(fd);
	if (fd == -1 || holder <= 0) {
		fprintf(stderr, "lastcall: error: stop: %s: %s\n", path,
		    fd == -1 || holder == -1 ? pidfile_why(errno) : "no lastcall is running");
		fd_close(&fd);
		return STATUS_FAILED;
	}
	if (signal_holder(fd, holder, options->now ? SIGQUIT : SIGTERM) == -1) {
		fprintf(
		    stderr, "lastcall: error: stop: pid %ld: %s\n", (long)holder, strerror(errno));
		status = STATUS_FAILED;
	} else {
		status = await_end(fd, holder);
	}
	fd_close(&fd);
	return status;
}

/* ---- the table ---- */

#define RUNNING_HELP                                                                               \
	"  -w, --workers N       how many workers (default: one per CPU)\n"                        \
	"  -u, --user USER       who they run as when started as root (default: nobody)\n"         \
	"  -p, --pid-file FILE   lock FILE and write the pid to it\n"                              \
	"  -e, --error-log FILE  log there instead of to standard error\n"                         \
	"      --ready-fd N      write the `listening` and `ready` lines to descriptor N too, "    \
	"then close it\n"

#define ADDRESS_HELP                                                                               \
	"\nADDR: 8080 or *:8080 (IPv6 and IPv4), 0.0.0.0:8080, [::]:8080 (IPv6 only), "            \
	"127.0.0.1:8080, host:8080,\n"                                                             \
	"unix:/path. Port 0, or :0, is the kernel's choice; the line `listening ADDR SERVICE "     \
	"[URL]` tells it.\n"

#define SIGNALS_HELP                                                                               \
	"\nTERM stops without losing a connection; INT the same, twice: at once; QUIT at once; "   \
	"TTIN and TTOU: one\n"                                                                     \
	"worker more or fewer. Exit status: 0 drained, 3 something was cut, 1 failed, 2 usage or " \
	"configuration.\n"

const struct command commands[] = {
    {
	.name = "serve",
	.usage = "[-l ADDR]... [-w N] [-p FILE] [DIR]",
	.summary = "serve a folder over HTTP, without a configuration",
	.help = "  -l, --listen ADDR     listen there (default: *:8080); may be given more than "
		"once\n" RUNNING_HELP "  -h, --help            this\n"
		"\nDIR is the folder, by default the current one.\n" ADDRESS_HELP SIGNALS_HELP,
	.takes = TAKES_LISTEN | TAKES_RUNNING | TAKES_PID_FILE | TAKES_FOLDER,
	.run = run_serve,
    },
    {
	.name = "run",
	.usage = "[-c FILE] [-l ADDR SERVICE [ARG]]... [-d] [-w N] [-p FILE]",
	.summary = "run the daemon, in the foreground",
	.help = "  -c, --config FILE     the configuration (default: " DEFAULT_CONFIG
		", unless there is a -l)\n"
		"  -l, --listen ADDR SERVICE [ARG]\n"
		"                        serve this there too; SERVICE is one of the "
		"configuration, or `echo`, or\n"
		"                        `http DIR`; may be given more than once\n"
		"  -d, --detach          go to the background once it is ready\n" RUNNING_HELP
		"  -h, --help            this\n" ADDRESS_HELP SIGNALS_HELP,
	.takes =
	    TAKES_LISTEN_SERVICE | TAKES_CONFIG | TAKES_RUNNING | TAKES_PID_FILE | TAKES_DETACH,
	.run = run_run,
    },
    {
	.name = "check",
	.usage = "[-c FILE]",
	.summary = "test a configuration, and start nothing",
	.help = "  -c, --config FILE     the configuration (default: " DEFAULT_CONFIG ")\n"
		"  -h, --help            this\n"
		"\nExit status: 0 it is good, 2 it is not; what is wrong is on standard error, all "
		"of it.\n",
	.takes = TAKES_CONFIG,
	.run = run_check,
    },
    {
	.name = "stop",
	.usage = "[-p FILE | -c FILE] [--now]",
	.summary = "last call: stop a running daemon and wait for it",
	.help = "  -p, --pid-file FILE   the pid file of the one to stop\n"
		"  -c, --config FILE     or the configuration that names its pid-file\n"
		"      --now             do not wait for who is in: cut (QUIT instead of TERM)\n"
		"  -h, --help            this\n"
		"\nPrints the receipt. Exit status: 0 drained, 3 something was cut, 1 failed or "
		"none is running.\n",
	.takes = TAKES_CONFIG | TAKES_PID_FILE | TAKES_NOW,
	.run = run_stop,
    },
    {.name = NULL},
};
