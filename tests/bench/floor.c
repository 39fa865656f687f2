/*
 * floor: the least that a prefork HTTP server can do, to measure lastcall against.
 *
 * Workers share one listener under EPOLLEXCLUSIVE, read, count the ends of request heads and write
 * one answer that was built at the start. Nothing is parsed, logged, timed or limited, and nothing
 * is closed with care: what a real server spends beyond this is what its promises cost.
 *
 *	floor [-w WORKERS] [-b BODYBYTES] [PORT]
 *
 * Prints "listening 127.0.0.1:PORT" when it accepts connections. TERM ends it and its workers.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	BACKLOG = 1024,
	BODY_MAX = 1 << 20,
	CONNECTION_MAX = 16384, /* descriptors from here on are closed at once */
	EVENT_MAX = 64,
	READ_SIZE = 4096,
	WORKER_MAX = 64,
};

/* The one answer, in full. */
struct answer {
	char *bytes;
	size_t length;
};

/* Indexed by descriptor. */
struct connection {
	size_t owed; /* bytes of answers not yet written */
	unsigned char matched; /* how much of CR LF CR LF the last bytes read were: 0 to 3 */
};

static struct connection connections[CONNECTION_MAX];

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

static _Noreturn void usage(void)
{
	fprintf(stderr, "usage: floor [-w WORKERS] [-b BODYBYTES] [PORT]\n");
	exit(2);
}

/* The number in text, if it lies between least and most; else the usage text and exit 2. */
static long number(const char *text, long least, long most)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || value < least || value > most)
		usage();
	return value;
}

/* Builds the answer: a head with the fields and the size of a real one, and body bytes of text. */
static void answer_build(struct answer *answer, size_t body)
{
	static const char head[] = "HTTP/1.1 200 OK\r\n"
				   "Server: floor/1.0\r\n"
				   "Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
				   "Content-Type: text/plain\r\n"
				   "Content-Length: %zu\r\n"
				   "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
				   "Connection: keep-alive\r\n"
				   "ETag: \"65920080-400\"\r\n"
				   "Accept-Ranges: bytes\r\n"
				   "\r\n";
	size_t size = sizeof(head) + 20 + body;
	int length;

	answer->bytes = malloc(size);
	if (answer->bytes == NULL)
		die("malloc");
	length = snprintf(answer->bytes, size, head, body);
	memset(answer->bytes + length, 'x', body);
	answer->length = (size_t)length + body;
}

/* A non-blocking listener on 127.0.0.1:port; prints the address that it got. */
static int listener_open(long port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	socklen_t length = sizeof(sin);
	int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0)
		die("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		die("SO_REUSEADDR");
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		die("bind");
	if (listen(fd, BACKLOG) < 0)
		die("listen");
	if (getsockname(fd, (struct sockaddr *)&sin, &length) < 0)
		die("getsockname");
	printf("listening 127.0.0.1:%d\n", ntohs(sin.sin_port));
	if (fflush(stdout) != 0)
		die("standard output");
	return fd;
}

/* How many request heads end in these bytes; *matched carries a split CR LF CR LF across reads. */
static size_t heads_count(const char *bytes, size_t length, unsigned char *matched)
{
	static const char end[] = "\r\n\r\n";
	size_t count = 0;
	unsigned char at = *matched;

	for (size_t i = 0; i < length; i++) {
		if (bytes[i] == end[at])
			at++;
		else
			at = bytes[i] == '\r';
		if (at == 4) {
			count++;
			at = 0;
		}
	}
	*matched = at;
	return count;
}

/* Writes what is owed, as far as the socket takes it. -1 when the connection is of no more use. */
static int connection_write(int fd, const struct answer *answer)
{
	struct connection *connection = &connections[fd];

	while (connection->owed > 0) {
		size_t rest = connection->owed % answer->length;
		size_t length = rest ? rest : answer->length;
		ssize_t n = write(fd, answer->bytes + answer->length - length, length);

		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		connection->owed -= (size_t)n;
	}
	return 0;
}

/* Reads once and answers every head that ended. While an answer is stuck nothing more is read. */
static void connection_serve(int epoll, int fd, const struct answer *answer)
{
	struct connection *connection = &connections[fd];
	struct epoll_event event = {.data.fd = fd};
	char bytes[READ_SIZE];
	size_t before = connection->owed;

	if (before == 0) {
		ssize_t n = read(fd, bytes, sizeof(bytes));

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			goto gone;
		connection->owed =
		    answer->length * heads_count(bytes, (size_t)n, &connection->matched);
	}
	if (connection_write(fd, answer) < 0)
		goto gone;
	if ((before == 0) == (connection->owed == 0))
		return;
	event.events = connection->owed > 0 ? EPOLLOUT : EPOLLIN;
	if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) == 0)
		return;
gone:
	close(fd);
}

/* Takes one connection per wake-up, so that the workers share a burst. */
static void listener_accept(int epoll, int listener)
{
	struct epoll_event event = {.events = EPOLLIN};
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	event.data.fd = fd;
	if (fd >= CONNECTION_MAX || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		close(fd);
		return;
	}
	connections[fd] = (struct connection){0};
}

static _Noreturn void worker_run(int listener, const struct answer *answer)
{
	struct epoll_event events[EVENT_MAX];
	struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.fd = listener};
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
		die("epoll");
	for (;;) {
		int count = epoll_wait(epoll, events, EVENT_MAX, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == listener)
				listener_accept(epoll, listener);
			else
				connection_serve(epoll, events[i].data.fd, answer);
		}
	}
}

/* Forks one worker, which dies with the master. Signals are blocked in the master only. */
static pid_t worker_start(int listener, const struct answer *answer, const sigset_t *old)
{
	pid_t master = getpid();
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigprocmask(SIG_SETMASK, old, NULL);
	if (getppid() != master)
		_exit(1);
	worker_run(listener, answer);
}

int main(int argc, char **argv)
{
	struct answer answer;
	pid_t pids[WORKER_MAX];
	sigset_t set, old;
	long workers = 2, body = 1024, port = 0;
	int c, listener, sig;

	while ((c = getopt(argc, argv, "w:b:")) != -1) {
		if (c == 'w')
			workers = number(optarg, 1, WORKER_MAX);
		else if (c == 'b')
			body = number(optarg, 0, BODY_MAX);
		else
			usage();
	}
	if (argc - optind > 1)
		usage();
	if (argc - optind == 1)
		port = number(argv[optind], 0, 65535);

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &old);
	answer_build(&answer, (size_t)body);
	listener = listener_open(port);
	for (long i = 0; i < workers; i++)
		pids[i] = worker_start(listener, &answer, &old);

	sigwait(&set, &sig);
	for (long i = 0; i < workers; i++)
		kill(pids[i], SIGTERM);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	free(answer.bytes);
	if (sig != SIGCHLD)
		return 0;
	fprintf(stderr, "floor: a worker died\n");
	return 1;
}
