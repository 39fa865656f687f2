/* Stops a server by its pid file; see stop.h. */
#include "stop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "descriptor.h"
#include "pidfile.h"
#include "remote.h"
#include "system.h"

static int out_of_memory(void)
{
	fprintf(stderr, "lastcall: error: out of memory\n");
	return STATUS_FAILED;
}

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

int stop_run(const struct command *command, const struct options *options)
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
