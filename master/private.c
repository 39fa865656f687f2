/* The daemon of one lease; see private.h. */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"
#include "descriptor.h"
#include "log.h"
#include "master.h"
#include "signals.h"

#define END_MS 60000 /* for an orderly end, which its grace of 30 s bounds */

#define WORKERS 2 /* one serves while the other is replaced */
#define LISTENERS_MAX 16 /* one lease needs one */
#define FOLDER_MAX 64 /* bytes; a Unix path is short */
#define SOCKET_NAME "/control"

/* ---- the child ---- */

/* Neither the terminal nor a pipe of the client is this process's; its warnings are the client's.
 */
static void leave_streams(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null == -1)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	fd_close(&null);
}

static int make_folder(char *folder, size_t size)
{
	const char *temporary = getenv("TMPDIR");

	if (temporary == NULL || temporary[0] != '/' ||
	    snprintf(folder, size, "%s/lastcall.XXXXXX", temporary) >= (int)size)
		snprintf(folder, size, "/tmp/lastcall.XXXXXX");
	return mkdtemp(folder) != NULL ? 0 : -1;
}

/* A configuration without a listener, whose only endpoint is that path. Returns NULL when there is
 * no memory for it. */
static struct config *make_config(const char *path)
{
	struct config *config = config_new();
	char text[ADDRESS_TEXT];
	struct address address;
	const char *why;

	if (config == NULL)
		return NULL;
	config->workers = WORKERS;
	config->max_listeners = LISTENERS_MAX;
	config->log_level = LOG_WARNING;
	snprintf(text, sizeof text, "unix:%s", path);
	if (address_parse(&address, text, &why) == 0)
		config->controls = config_new_control(&address);
	if (config->controls != NULL)
		return config;
	config_free(config);
	return NULL;
}

/* Is the server, to its end. told: a line with the folder goes there, then those of `run`. */
static int serve(int told, int lifeline)
{
	struct announce announce = {.ready_fd = told, .parent = -1, .lifeline = lifeline};
	char folder[FOLDER_MAX], path[FOLDER_MAX + sizeof SOCKET_NAME];
	struct config *config;
	int status = STATUS_FAILED;

	if (make_folder(folder, sizeof folder) == -1) {
		fprintf(stderr, "lastcall: error: %s: %s\n", folder, strerror(errno));
		return status;
	}
	snprintf(path, sizeof path, "%s" SOCKET_NAME, folder);
	config = make_config(path);
	if (config == NULL)
		fprintf(stderr, "lastcall: error: out of memory\n");
	else if (dprintf(told, "folder %s\n", folder) > 0)
		status = master_run(config, &announce, NULL);
	else
		config_free(config);
	unlink(path);
	rmdir(folder);
	return status;
}

/* ---- the client's side ---- */

/* Reads the child's lines up to `ready`, and the folder from them. Returns 0, or -1: it ended or
 * took too long. */
static int await_ready(int told, char *folder, size_t size, int64_t deadline)
{
	char text[2048] = "";
	size_t length = 0;

	folder[0] = '\0';
	while (strstr(text, "\nready ") == NULL) {
		struct pollfd waiting = {.fd = told, .events = POLLIN};
		int64_t left = deadline - clock_ms();
		ssize_t n;

		if (left <= 0 || length == sizeof text - 1)
			return -1;
		if (poll(&waiting, 1, (int)left) < 1)
			continue;
		n = read(told, text + length, sizeof text - 1 - length);
		if (n == -1 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return -1;
		length += (size_t)n;
		text[length] = '\0';
		if (folder[0] == '\0' && strchr(text, '\n') != NULL &&
		    strncmp(text, "folder ", 7) == 0)
			snprintf(folder, size, "%.*s", (int)strcspn(text + 7, "\n"), text + 7);
	}
	return folder[0] != '\0' ? 0 : -1;
}

static int connect_to(
    struct client *client, const char *folder, int64_t deadline, char *why, size_t size)
{
	char path[FOLDER_MAX + sizeof SOCKET_NAME];
	const struct client_place place = {.endpoint = path};

	snprintf(path, sizeof path, "%s" SOCKET_NAME, folder);
	return client_open(client, &place, deadline, why, size) == CLIENT_OK ? 0 : -1;
}

/* Whether or not the child still lives, nobody else is to come here. */
static void remove_folder(const char *folder)
{
	char path[FOLDER_MAX + sizeof SOCKET_NAME];

	if (folder[0] == '\0')
		return;
	snprintf(path, sizeof path, "%s" SOCKET_NAME, folder);
	unlink(path);
	rmdir(folder);
}

int private_start(
    struct private_server *server, struct client *client, int64_t deadline, char *why, size_t size)
{
	int told[2] = {-1, -1}, lifeline[2] = {-1, -1};
	char folder[FOLDER_MAX] = "";
	int result = -1;
	pid_t child = -1;

	*server = (struct private_server){.lifeline = -1};
	if (fd_pipe(told) == 0 && fd_pipe(lifeline) == 0)
		child = fork();
	if (child == -1) {
		snprintf(why, size, "cannot start a server: %s", strerror(errno));
		goto out;
	}
	if (child == 0) {
		fd_close(&told[0]);
		fd_close(&lifeline[1]);
		setsid();
		/* A client that is gone already must not end us between the folder and its removal.
		 */
		signal(SIGPIPE, SIG_IGN);
		leave_streams();
		_exit(serve(told[1], lifeline[0]));
	}
	server->pid = child;
	server->lifeline = lifeline[1];
	lifeline[1] = -1;
	fd_close(&told[1]);
	snprintf(why, size, "no server is running, and one for this lease alone did not start");
	if (await_ready(told[0], folder, sizeof folder, deadline) == 0)
		result = connect_to(client, folder, deadline, why, size);
	remove_folder(folder);
	if (result == -1)
		private_end(server, -1);
out:
	fd_close(&told[0]);
	fd_close(&told[1]);
	fd_close(&lifeline[0]);
	fd_close(&lifeline[1]);
	return result;
}

void private_end(struct private_server *server, int signals)
{
	static const int hurry[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	int64_t end = clock_ms() + END_MS;
	pid_t gone;

	fd_close(&server->lifeline);
	while (server->pid > 0) {
		struct pollfd waiting = {.fd = signals, .events = POLLIN};

		gone = waitpid(server->pid, NULL, signals == -1 ? 0 : WNOHANG);
		if (gone == server->pid || (gone == -1 && errno != EINTR)) {
			server->pid = 0;
			break;
		}
		if (signals == -1)
			continue;
		/* It hangs, or is stopped: its workers end by themselves. */
		if (clock_ms() >= end)
			kill(server->pid, SIGKILL);
		for (size_t i = 0; i < sizeof hurry / sizeof hurry[0]; i++) {
			if (signals_take(hurry[i]))
				kill(server->pid, SIGQUIT);
		}
		/* CHLD writes to it too, so this ends when the server does. */
		if (poll(&waiting, 1, 1000) > 0)
			signals_clear();
	}
}
