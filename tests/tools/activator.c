/*
 * activator: plays the service manager where no systemd runs. It listens on sockets, starts a
 * server with them (sd_listen_fds(3)), hears what the server tells (sd_notify(3)), keeps the
 * sockets that the server has it store, and starts it again with them.
 *
 *	activator [-l NAME=ADDR]... [-x NAME=WHAT]... [-w USEC] [-n NOTIFY] [-d] [-m] -- COMMAND...
 *
 *   -l NAME=ADDR  listen at 127.0.0.1:PORT or unix:PATH, and pass it under that name. The socket
 *                 blocks, so that whoever gets it has to see to that.
 *   -x NAME=WHAT  pass something else: dgram, unbound (a stream socket that does not listen), file
 *   -w USEC       WATCHDOG_USEC
 *   -n NOTIFY     NOTIFY_SOCKET: a path, or @NAME
 *   -d            deaf: hears nothing, so that the socket fills up
 *   -m            as KillMode=mixed: when the server has ended, what is left of its group is killed
 *
 * Commands are lines on standard input: `restart` (TERM, and start again when it has ended), `stop`
 * (TERM), `kill` (KILL, and start again), `start`, `hear` (no longer deaf), `gone` (closes and
 * unlinks the notify socket). At the end of standard input it ends the server with KILL and exits.
 *
 * It says what happens on standard output, a line each: `socket NAME ADDR`, `started PID`, `heard
 * KEY=VALUE`, `stored NAME`, `removed NAME COUNT`, `ended PID HOW`. As systemd does, it hears what
 * was said before it learns of a death.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKETS_MAX 512
#define FIRST 3
#define ASIDE 1100 /* where descriptors wait while those of the server are put in place */

struct entry {
	int fd;
	char name[256];
	bool stored;
};

struct activator {
	struct entry entries[SOCKETS_MAX]; /* passed ones first, then the store */
	int count;
	const char *notify_name, *watchdog;
	int notify;
	bool deaf, mixed;
	char **command;
	pid_t main; /* 0: none runs */
	bool again; /* start it when it has ended */
};

static void fail(const char *what)
{
	fprintf(stderr, "activator: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

static struct entry *add(struct activator *a, int fd, const char *name, bool stored)
{
	struct entry *entry = &a->entries[a->count];

	if (a->count == SOCKETS_MAX) {
		close(fd);
		return NULL;
	}
	a->count++;
	*entry = (struct entry){.fd = fd, .stored = stored};
	snprintf(entry->name, sizeof entry->name, "%s", name);
	return entry;
}

/* ---- sockets ---- */

/* Splits NAME=REST; returns REST. */
static char *split(char *pair)
{
	char *rest = strchr(pair, '=');

	if (rest == NULL) {
		fprintf(stderr, "activator: %s: NAME= is missing\n", pair);
		exit(2);
	}
	*rest = '\0';
	return rest + 1;
}

static void listen_unix(struct activator *a, const char *name, const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
	if (fd == -1 || bind(fd, (void *)&at, sizeof at) == -1 || listen(fd, 4096) == -1)
		fail(path);
	add(a, fd, name, false);
	say("socket %s unix:%s", name, path);
}

static void listen_at(struct activator *a, char *pair)
{
	char *address = split(pair), *colon, host[64];
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t length = sizeof at;
	int fd, on = 1;

	if (strncmp(address, "unix:", 5) == 0) {
		listen_unix(a, pair, address + 5);
		return;
	}
	colon = strrchr(address, ':');
	if (colon == NULL)
		fail(address);
	snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
	at.sin_port = htons((in_port_t)atoi(colon + 1));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (inet_pton(AF_INET, host, &at.sin_addr) != 1 || fd == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == -1 ||
	    bind(fd, (void *)&at, sizeof at) == -1 || listen(fd, 4096) == -1 ||
	    getsockname(fd, (void *)&at, &length) == -1)
		fail(address);
	add(a, fd, pair, false);
	say("socket %s %s:%u", pair, host, ntohs(at.sin_port));
}

static void pass_wrong(struct activator *a, char *pair)
{
	const char *what = split(pair);
	int fd = -1;

	if (strcmp(what, "dgram") == 0)
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	else if (strcmp(what, "unbound") == 0)
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	else if (strcmp(what, "file") == 0)
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		fail(what);
	add(a, fd, pair, false);
}

/* ---- the server ---- */

/* In the child. */
static void become_server(struct activator *a)
{
	char names[SOCKETS_MAX * 64] = "", number[32];
	size_t n = 0;
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; i < a->count; i++) {
		if (fcntl(a->entries[i].fd, F_DUPFD_CLOEXEC, ASIDE + i) != ASIDE + i)
			fail("F_DUPFD");
		n += (size_t)snprintf(
		    names + n, sizeof names - n, "%s%s", i > 0 ? ":" : "", a->entries[i].name);
	}
	setpgid(0, 0);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	for (int i = 0; i < a->count; i++)
		dup2(ASIDE + i, FIRST + i);
	snprintf(number, sizeof number, "%ld", (long)getpid());
	if (a->count > 0) {
		setenv("LISTEN_PID", number, 1);
		setenv("LISTEN_FDNAMES", names, 1);
		snprintf(number, sizeof number, "%d", a->count);
		setenv("LISTEN_FDS", number, 1);
	}
	if (a->notify_name != NULL)
		setenv("NOTIFY_SOCKET", a->notify_name, 1);
	if (a->watchdog != NULL) {
		snprintf(number, sizeof number, "%ld", (long)getpid());
		setenv("WATCHDOG_PID", number, 1);
		setenv("WATCHDOG_USEC", a->watchdog, 1);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(a->command[0], a->command);
	fail(a->command[0]);
}

static void start(struct activator *a)
{
	pid_t pid = fork();

	if (pid == -1)
		fail("fork");
	if (pid == 0)
		become_server(a);
	a->main = pid;
	a->again = false;
	say("started %ld", (long)pid);
}

static void end(struct activator *a, int signal, bool again)
{
	a->again = again;
	if (a->main > 0)
		kill(a->main, signal);
}

/* ---- what it tells ---- */

static void remove_stored(struct activator *a, const char *name)
{
	int kept = 0, removed = 0;

	for (int i = 0; i < a->count; i++) {
		if (a->entries[i].stored && strcmp(a->entries[i].name, name) == 0) {
			close(a->entries[i].fd);
			removed++;
			continue;
		}
		a->entries[kept++] = a->entries[i];
	}
	a->count = kept;
	say("removed %s %d", name, removed);
}

/* A message: its lines, and the descriptor that came along, or -1. */
static void heed(struct activator *a, char *text, int fd)
{
	char *name = NULL;
	bool stores = false, removes = false;

	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		say("heard %s", line);
		if (strncmp(line, "FDNAME=", 7) == 0)
			name = line + 7;
		else if (strncmp(line, "MAINPID=", 8) == 0)
			a->main = (pid_t)atol(line + 8);
		stores |= strcmp(line, "FDSTORE=1") == 0;
		removes |= strcmp(line, "FDSTOREREMOVE=1") == 0;
	}
	if (stores && fd >= 0) {
		add(a, fd, name != NULL && strlen(name) < 256 ? name : "stored", true);
		say("stored %s", name != NULL ? name : "stored");
		return;
	}
	if (fd >= 0)
		close(fd);
	if (removes && name != NULL)
		remove_stored(a, name);
}

static void hear(struct activator *a)
{
	char text[4096];
	union {
		struct cmsghdr header;
		char room[256];
	} control;

	for (;;) {
		struct iovec bytes = {.iov_base = text, .iov_len = sizeof text - 1};
		struct msghdr message = {
		    .msg_iov = &bytes,
		    .msg_iovlen = 1,
		    .msg_control = &control,
		    .msg_controllen = sizeof control,
		};
		ssize_t got = recvmsg(a->notify, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		struct cmsghdr *header;
		int fd = -1;

		if (got < 0)
			return;
		text[got] = '\0';
		header = CMSG_FIRSTHDR(&message);
		if (header != NULL && header->cmsg_type == SCM_RIGHTS)
			memcpy(&fd, CMSG_DATA(header), sizeof fd);
		heed(a, text, fd);
	}
}

static void open_notify(struct activator *a)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	socklen_t length = sizeof at;

	a->notify = -1;
	if (a->notify_name == NULL)
		return;
	snprintf(at.sun_path, sizeof at.sun_path, "%s", a->notify_name);
	if (at.sun_path[0] == '@') {
		length =
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(a->notify_name));
		at.sun_path[0] = '\0';
	}
	a->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (a->notify == -1 || bind(a->notify, (void *)&at, length) == -1)
		fail(a->notify_name);
}

/* ---- the loop ---- */

static void reap(struct activator *a)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		/* What it said before it died. */
		if (a->notify >= 0 && !a->deaf)
			hear(a);
		if (WIFSIGNALED(status))
			say("ended %ld signal %d", (long)pid, WTERMSIG(status));
		else
			say("ended %ld status %d", (long)pid, WEXITSTATUS(status));
		if (pid != a->main)
			continue;
		if (a->mixed && kill(-pid, SIGKILL) == 0)
			say("left some");
		a->main = 0;
		if (a->again)
			start(a);
	}
}

static void obey(struct activator *a, const char *word)
{
	if (strcmp(word, "restart") == 0)
		end(a, SIGTERM, true);
	else if (strcmp(word, "stop") == 0)
		end(a, SIGTERM, false);
	else if (strcmp(word, "kill") == 0)
		end(a, SIGKILL, true);
	else if (strcmp(word, "start") == 0 && a->main == 0)
		start(a);
	else if (strcmp(word, "hear") == 0)
		a->deaf = false;
	else if (strcmp(word, "gone") == 0) {
		close(a->notify);
		a->notify = -1;
		unlink(a->notify_name);
	}
}

/* Returns false at the end of standard input. */
static bool read_commands(struct activator *a)
{
	static char line[256];
	static size_t length;
	ssize_t got = read(STDIN_FILENO, line + length, sizeof line - 1 - length);
	char *end_of_line;

	if (got <= 0)
		return false;
	length += (size_t)got;
	line[length] = '\0';
	while ((end_of_line = strchr(line, '\n')) != NULL) {
		*end_of_line++ = '\0';
		obey(a, line);
		length -= (size_t)(end_of_line - line);
		memmove(line, end_of_line, length + 1);
	}
	return true;
}

static void run(struct activator *a, int signals)
{
	for (;;) {
		struct pollfd fds[] = {
		    {.fd = STDIN_FILENO, .events = POLLIN},
		    {.fd = signals, .events = POLLIN},
		    {.fd = a->deaf ? -1 : a->notify, .events = POLLIN},
		};
		struct signalfd_siginfo info;

		if (poll(fds, 3, -1) == -1)
			continue;
		if (fds[2].revents != 0)
			hear(a);
		if (fds[1].revents != 0 && read(signals, &info, sizeof info) > 0)
			reap(a);
		if (fds[0].revents != 0 && !read_commands(a))
			return;
	}
}

int main(int argc, char **argv)
{
	static struct activator a;
	sigset_t child;
	int option, signals;

	while ((option = getopt(argc, argv, "+l:x:w:n:dm")) != -1) {
		switch (option) {
		case 'l':
			listen_at(&a, optarg);
			break;
		case 'x':
			pass_wrong(&a, optarg);
			break;
		case 'w':
			a.watchdog = optarg;
			break;
		case 'n':
			a.notify_name = optarg;
			break;
		case 'm':
			a.mixed = true;
			break;
		case 'd':
			a.deaf = true;
			break;
		default:
			return 2;
		}
	}
	a.command = argv + optind;
	if (a.command[0] == NULL)
		return 2;
	open_notify(&a);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signals = signalfd(-1, &child, SFD_CLOEXEC);
	/* Whoever goes to the background is ours all the same, as with systemd. */
	if (signals == -1 || prctl(PR_SET_CHILD_SUBREAPER, 1) == -1)
		fail("prepare");
	start(&a);
	run(&a, signals);
	if (a.main > 0)
		kill(a.main, SIGKILL);
	return 0;
}
