/* The commands; see command.h. What serves is in master.c, what asks a running server in remote.c,
 * lease.c and status.c; here is what happens before, and `stop` by a pid file. */
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
#include "lease.h"
#include "log.h"
#include "master.h"
#include "pidfile.h"
#include "remote.h"
#include "status.h"
#include "system.h"
#include "upgrade.h"

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

static int run_serve(const struct command *command, const struct options *options)
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

static int run_run(const struct command *command, const struct options *options)
{
	(void)command;
	return start(options, load_run);
}

static int run_check(const struct command *command, const struct options *options)
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
	int status;
	pid_t holder = 0;
	int fd;

	if (options->pid_file == NULL && options->config_file == NULL)
		return remote_run_stop(command, options);
	if (options->control != NULL)
		return command_misused(command, "either -s, or a pid file");
	status = find_pid_file(command, options, path, sizeof path);
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
	"  -s, --control ENDPOINT\n"                                                               \
	"                        take requests there: a path, or ADDR with a --token-file\n"       \
	"      --no-control      take none\n"                                                      \
	"      --token-file FILE what clients of a TCP endpoint have to know\n"                    \
	"      --ready-fd N      write the `listening` and `ready` lines to descriptor N too, "    \
	"then close it\n"

#define ADDRESS_HELP                                                                               \
	"\nADDR: 8080 or *:8080 (IPv6 and IPv4), 0.0.0.0:8080, [::]:8080 (IPv6 only), "            \
	"127.0.0.1:8080, host:8080,\n"                                                             \
	"unix:/path, fd:NAME (passed by a service manager). Port 0, or :0, is the kernel's "       \
	"choice; the line\n"                                                                       \
	"`listening ADDR SERVICE [URL]` tells it.\n"

#define SIGNALS_HELP                                                                               \
	"\nTERM stops without losing a connection; INT the same, twice: at once; QUIT at once; "   \
	"HUP: reload; USR1:\n"                                                                     \
	"open log files anew; USR2: upgrade; TTIN and TTOU: one worker more or fewer.\n"           \
	"Exit status: 0 drained, 3 something was cut, 1 failed, 2 usage or configuration.\n"

#define CLIENT_HELP                                                                                \
	"  -s, --control ENDPOINT\n"                                                               \
	"                        where the daemon is: a path, unix:PATH or HOST:PORT (default: "   \
	"LASTCALL_CONTROL,\n"                                                                      \
	"                        else /run/lastcall/control.sock for root, else "                  \
	"$XDG_RUNTIME_DIR/lastcall/control.sock)\n"                                                \
	"      --token-file FILE the token for a TCP endpoint (default: LASTCALL_TOKEN_FILE)\n"

#define CLIENT_ADDRESS_HELP                                                                        \
	"\nADDR: 8080 or *:8080 (IPv6 and IPv4), 0.0.0.0:8080, [::]:8080 (IPv6 only), "            \
	"127.0.0.1:8080, host:8080,\n"                                                             \
	"unix:/path. Port 0, or :0, is the kernel's choice. Options stand before ADDR. DURATION: " \
	"250ms, 30s, 5m, 2h, 1d.\n"

#define FAILED_HELP "\nExit status: 0 done, 1 failed, 2 usage.\n"

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
		"                        `http DIR`, or `exec PROGRAM ARG...`, or "
		"`app [N] PROGRAM ARG...`, which go on\n"
		"                        to `--` or the end; may be given more than once\n"
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
	.name = "open",
	.usage = "[-s ENDPOINT] ADDR SERVICE [ARG...]",
	.summary = "open a port of a running daemon",
	.help = CLIENT_HELP
	"  -h, --help            this\n"
	"\nPrints the address bound, and nothing else; the port takes connections by then. What "
	"stands behind ADDR is\n"
	"the service: one of the daemon's configuration, a kind (`echo`), or for its own user and "
	"root a kind with its\n"
	"arguments (`http DIR`, `exec PROGRAM ARG...`, `app [N] PROGRAM "
	"ARG...`).\n" CLIENT_ADDRESS_HELP FAILED_HELP,
	.takes = TAKES_CLIENT | TAKES_SERVICE,
	.run = remote_run_open,
    },
    {
	.name = "close",
	.usage = "[-s ENDPOINT] [--grace DURATION | --now] ADDR",
	.summary = "close a port without losing a connection",
	.help = CLIENT_HELP
	"      --grace DURATION  wait for connections that are still served, so long; then cut\n"
	"      --now             cut at once what is still served\n"
	"  -h, --help            this\n"
	"\nReturns when the address can be bound again, and prints the receipt. Connections that "
	"are open then are\n"
	"served on. DURATION: 250ms, 30s, 5m, 2h, 1d.\n"
	"\nExit status: 0 closed, 3 something was cut, 1 failed or no such port, 2 usage.\n",
	.takes = TAKES_CLIENT | TAKES_GRACE | TAKES_NOW | TAKES_ADDRESS,
	.run = remote_run_close,
    },
    {
	.name = "cancel",
	.usage = "[-s ENDPOINT] ADDR",
	.summary = "take back a close that still waits",
	.help = CLIENT_HELP "  -h, --help            this\n"
			    "\nThe port is open as before.\n" FAILED_HELP,
	.takes = TAKES_CLIENT | TAKES_ADDRESS,
	.run = remote_run_cancel,
    },
    {
	.name = "lease",
	.usage = "[-s ENDPOINT | --private] [--ttl DURATION] [--heartbeat DURATION] ADDR SERVICE "
		 "[ARG...] [-- COMMAND...]",
	.summary = "have a port for as long as this, or COMMAND, runs",
	.help = CLIENT_HELP
	"      --ttl DURATION    at most so long\n"
	"      --heartbeat DURATION\n"
	"                        the daemon closes the port when this was silent for so long\n"
	"      --private         start a daemon for this lease alone; so is done for a COMMAND "
	"where none is running\n"
	"                        and no ENDPOINT was named\n"
	"  -h, --help            this\n"
	"\nWith COMMAND: runs it with LASTCALL_ADDR, LASTCALL_HOST, LASTCALL_PORT and "
	"LASTCALL_URL set, closes the port\n"
	"when it ends, and exits with its status: 128+N if signal N killed it, 127 if there is no "
	"such command, 126 if it\n"
	"cannot be run, 125 if lastcall could not get the port. TERM, HUP, USR1 and USR2 are "
	"passed "
	"on.\n"
	"\nWithout: prints the address, and closes the port at the end of standard input or at a "
	"signal.\n" CLIENT_ADDRESS_HELP
	"\nExit status: 0 closed (or the ttl was over), 3 something was cut, 1 failed or closed by "
	"somebody else, 2 usage.\n",
	.takes = TAKES_CLIENT | TAKES_LEASE | TAKES_SERVICE,
	.run = lease_run,
    },
    {
	.name = "status",
	.usage = "[-s ENDPOINT] [--json]",
	.summary = "show the listeners and workers of a running daemon",
	.help = CLIENT_HELP "      --json            for programs\n"
			    "  -h, --help            this\n" FAILED_HELP,
	.takes = TAKES_CLIENT | TAKES_JSON,
	.run = status_run,
    },
    {
	.name = "ping",
	.usage = "[-s ENDPOINT]",
	.summary = "ask whether a daemon answers",
	.help = CLIENT_HELP "  -h, --help            this\n"
			    "\nExit status: 0 it does, 1 it does not, 2 usage.\n",
	.takes = TAKES_CLIENT,
	.run = remote_run_ping,
    },
    {
	.name = "reload",
	.usage = "[-s ENDPOINT]",
	.summary = "put a changed configuration in force, without losing a connection",
	.help = CLIENT_HELP
	"  -h, --help            this\n"
	"\nReturns when new workers serve, and those of before take nobody new. If anything is "
	"wrong, the daemon goes on\n"
	"as before, and what is wrong is printed.\n"
	"\nExit status: 0 in force, 2 the configuration is wrong (or usage), 1 it could not be "
	"applied.\n",
	.takes = TAKES_CLIENT,
	.run = remote_run_renewal,
    },
    {
	.name = "upgrade",
	.usage = "[-s ENDPOINT]",
	.summary = "go on in the program on disk, without losing a connection",
	.help = CLIENT_HELP
	"  -h, --help            this\n"
	"\nThe daemon keeps its pid, its ports, its leases and its clients. First a child "
	"rehearses "
	"it; if that shows anything\n"
	"wrong, the daemon goes on as before, and what is wrong is printed. Then it reads its "
	"configuration again, as\n"
	"`reload` does, and new workers of the new program take over.\n"
	"\nExit status: 0 done, 2 the configuration is wrong (or usage), 1 it could not be "
	"done.\n",
	.takes = TAKES_CLIENT,
	.run = remote_run_renewal,
    },
    {
	.name = "reopen",
	.usage = "[-s ENDPOINT]",
	.summary = "have a running daemon open its log files anew, after they were renamed",
	.help = CLIENT_HELP
	"  -h, --help            this\n"
	"\nReturns when nothing is written to the renamed files any more. A file that cannot be "
	"opened is printed; its old one\n"
	"goes on.\n" FAILED_HELP,
	.takes = TAKES_CLIENT,
	.run = remote_run_reopen,
    },
    {
	.name = "workers",
	.usage = "[-s ENDPOINT] N",
	.summary = "have a running daemon use N workers, until it is reloaded",
	.help = CLIENT_HELP "  -h, --help            this\n"
			    "\nReturns at once, before a new one serves or one too many has ended; "
			    "`lastcall status` shows who does.\n" FAILED_HELP,
	.takes = TAKES_CLIENT | TAKES_ADDRESS,
	.run = remote_run_workers,
    },
    {
	.name = "stop",
	.usage = "[-s ENDPOINT | -p FILE | -c FILE] [--now]",
	.summary = "last call: stop a running daemon and wait for it",
	.help = CLIENT_HELP
	"  -p, --pid-file FILE   or the pid file of the one to stop\n"
	"  -c, --config FILE     or the configuration that names its pid-file\n"
	"      --now             do not wait for who is in: cut (QUIT instead of TERM)\n"
	"  -h, --help            this\n"
	"\nPrints the receipt. Exit status: 0 drained, 3 something was cut, 1 failed or "
	"none is running.\n",
	.takes = TAKES_CLIENT | TAKES_CONFIG | TAKES_PID_FILE | TAKES_NOW,
	.run = run_stop,
    },
    {.name = NULL},
};
