/*
 * instance: a program for the service app, as others write them. It accepts on the sockets that it
 * is given by the protocol of sd_listen_fds(3), which it holds lastcall to, and sends back what
 * comes. What it does on its signal is said in the first argument:
 *
 *   drain    takes what is in the queue, closes its sockets, finishes what it has, exits with 0
 *   abrupt   exits with 0 at once
 *   ignore   goes on
 *   mute     as drain, and never says that it is ready; the others do where they can
 *   crash    exits with 3 as soon as it has begun
 *   leave    as drain, and leaves a process behind in its group that ignores TERM
 *
 * "instance drain FILE" says that it is ready, and accepts, only when FILE is there.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST 3
#define SOCKETS_MAX 64
#define CONNECTIONS_MAX 2048

static volatile sig_atomic_t told;

static void tell(int signal)
{
	(void)signal;
	told = 1;
}

static int listening(void)
{
	const char *fds = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	int count = fds != NULL ? atoi(fds) : 0;

	if (pid == NULL || atol(pid) != (long)getpid() || count < 1 || count > SOCKETS_MAX) {
		fprintf(stderr, "no sockets are for this process\n");
		exit(4);
	}
	for (int fd = FIRST; fd < FIRST + count; fd++) {
		int on = 0, flags = fcntl(fd, F_GETFL);
		socklen_t size = sizeof on;

		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &size) == -1 || !on ||
		    (fcntl(fd, F_GETFD) & FD_CLOEXEC)) {
			fprintf(stderr, "descriptor %d is no listening socket for programs\n", fd);
			exit(4);
		}
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	}
	if (fcntl(FIRST + count, F_GETFD) != -1) {
		fprintf(stderr, "descriptor %d leaked\n", FIRST + count);
		exit(4);
	}
	return count;
}

static void say_ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t length = path != NULL ? strlen(path) : 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	if (length > 0 && length < sizeof to.sun_path && fd >= 0) {
		memcpy(to.sun_path, path, length + 1);
		if (*path == '@')
			to.sun_path[0] = '\0';
		sendto(fd, "STATUS=up\nREADY=1", 17, 0, (struct sockaddr *)&to,
		    (socklen_t)(sizeof to - sizeof to.sun_path + length + (*path != '@')));
	}
	close(fd);
}

static void leave_behind(void)
{
	if (fork() > 0)
		return;
	for (int fd = 0; fd < FIRST + SOCKETS_MAX; fd++)
		close(fd);
	signal(SIGTERM, SIG_IGN);
	for (;;)
		pause();
}

static struct pollfd set[SOCKETS_MAX + CONNECTIONS_MAX];
static int sockets, used;

static void accept_all(int listener)
{
	int fd;

	while (used < SOCKETS_MAX + CONNECTIONS_MAX && (fd = accept(listener, NULL, NULL)) >= 0) {
		fcntl(fd, F_SETFL, O_NONBLOCK);
		set[used++] = (struct pollfd){.fd = fd, .events = POLLIN};
	}
}

/* Returns whether the connection goes on. */
static int serve(int fd)
{
	char bytes[16384];
	ssize_t got = read(fd, bytes, sizeof bytes), sent = 0;

	if (got == -1 && (errno == EAGAIN || errno == EINTR))
		return 1;
	while (got > 0 && sent < got) {
		ssize_t n = send(fd, bytes + sent, (size_t)(got - sent), MSG_NOSIGNAL);

		if (n == -1 && errno == EAGAIN)
			poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000);
		else if (n == -1)
			return 0;
		else
			sent += n;
	}
	return got > 0;
}

static void drain(void)
{
	for (int i = 0; i < sockets; i++) {
		accept_all(set[i].fd);
		close(set[i].fd);
		set[i].fd = -1;
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "drain";
	const struct sigaction action = {.sa_handler = tell};
	int drained = 0;
	sigset_t signals, none;

	if (strcmp(mode, "crash") == 0)
		return 3;
	/* Blocked but for the wait, so that one that comes just before it is not missed. */
	sigemptyset(&signals);
	sigemptyset(&none);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	sockets = used = listening();
	for (int i = 0; i < sockets; i++)
		set[i] = (struct pollfd){.fd = FIRST + i, .events = POLLIN};
	printf("listens on %d as %s\n", sockets, getenv("LISTEN_FDNAMES"));
	fflush(stdout);
	if (strcmp(mode, "leave") == 0)
		leave_behind();
	while (argc > 2 && access(argv[2], F_OK) == -1 && !told)
		ppoll(NULL, 0, &(struct timespec){.tv_nsec = 5000000}, &none);
	if (strcmp(mode, "mute") != 0)
		say_ready();
	while (!drained || used > sockets) {
		if (ppoll(set, (nfds_t)used, NULL, &none) == -1 && errno != EINTR)
			return 5;
		if (told && strcmp(mode, "abrupt") == 0)
			_exit(0);
		for (int i = used - 1; i >= sockets; i--) {
			if (set[i].revents == 0 || serve(set[i].fd))
				continue;
			close(set[i].fd);
			set[i] = set[--used];
		}
		for (int i = 0; i < sockets; i++) {
			if (set[i].fd >= 0 && set[i].revents != 0)
				accept_all(set[i].fd);
		}
		if (told && !drained && strcmp(mode, "ignore") != 0) {
			drain();
			drained = 1;
		}
	}
	return 0;
}
