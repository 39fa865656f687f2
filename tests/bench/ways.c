/*
 * ways: three usual ways to stop a prefork server, to set beside lastcall's own. See scripts/ways.
 *
 * Workers share one listener, serve by epoll, answer one request per connection and finish what
 * they accepted. They differ only in what TERM does to the listener:
 *
 *	poll-flag  the accept loop wakes every 100 ms, looks at a stop flag, and closes
 *	close      every process is told at once, and closes at once
 *	drain      every process is told at once, accepts until EAGAIN, and closes
 *
 *	ways [-w WORKERS] [-a ACCEPTS] [-t SECONDS] poll-flag|close|drain [PORT]
 *
 * ACCEPTS is how many connections one turn of the loop takes (default 1: what came is served before
 * more is taken; a large number is a tight accept loop). SECONDS bounds a drain (default 60), which
 * under load need not end. Prints "listening 127.0.0.1:PORT" when it accepts connections.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	BACKLOG = 128,
	BODY = 1024,
	CONNECTION_MAX = 16384, /* descriptors from here on are closed at once */
	EVENT_MAX = 64,
	FINISH_MS = 10000, /* for connections that were accepted and stay silent */
	POLL_MS = 100,
	READ_SIZE = 4096,
	WORKER_MAX = 64,
};

enum way { POLL_FLAG, CLOSE, DRAIN, WAYS };

static const char *const way_names[WAYS] = {"poll-flag", "close", "drain"};

struct server {
	enum way way;
	long workers;
	long accepts; /* per turn of a worker's loop */
	long drain_ms; /* bound of a drain */
	int listener; /* -1 when closed, in the master and in each worker */
	int told[2]; /* a pipe: its end of file tells the workers to stop */
	atomic_bool *flag; /* shared: what poll-flag looks at */
};

/*
 * A worker listens, then (drain only) drains, then finishes: entered in this order, never back.
 * Its listener is open in the first two.
 */
enum phase { LISTENING, DRAINING, FINISHING };

struct worker {
	const struct server *server;
	enum phase phase;
	int listener;
	int epoll;
	long open; /* connections accepted and not yet closed */
	long deadline; /* of the phase, in ms of the monotonic clock */
};

/* How much of CR LF CR LF the last bytes read from a descriptor were: 0 to 3. */
static unsigned char matched[CONNECTION_MAX];

static char answer[BODY + 256];
static size_t answer_length;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "ways: %s: %s\n", what, strerror(errno));
	exit(1);
}

static _Noreturn void usage(void)
{
	fprintf(stderr,
	    "usage: ways [-w WORKERS] [-a ACCEPTS] [-t SECONDS] "
	    "poll-flag|close|drain [PORT]\n");
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

static enum way way_parse(const char *name)
{
	for (int i = 0; i < WAYS; i++) {
		if (strcmp(name, way_names[i]) == 0)
			return (enum way)i;
	}
	usage();
}

static long clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void answer_build(void)
{
	int length = snprintf(answer, sizeof(answer),
	    "HTTP/1.1 200 OK\r\nServer: ways/1.0\r\nContent-Type: text/plain\r\n"
	    "Content-Length: %d\r\nConnection: close\r\n\r\n",
	    BODY);

	memset(answer + length, 'x', BODY);
	answer_length = (size_t)length + BODY;
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

/* Whether a request head ended in these bytes. */
static bool head_ended(int fd, const char *bytes, size_t length)
{
	static const char end[] = "\r\n\r\n";
	unsigned char at = matched[fd];

	for (size_t i = 0; i < length && at < 4; i++)
		at = bytes[i] == end[at] ? at + 1 : bytes[i] == '\r';
	matched[fd] = at;
	return at == 4;
}

static void connection_close(struct worker *worker, int fd)
{
	close(fd);
	worker->open--;
}

/* Reads, answers once the head is there, and closes. The answer fits an empty socket buffer. */
static void connection_serve(struct worker *worker, int fd)
{
	char bytes[READ_SIZE];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0 && !head_ended(fd, bytes, (size_t)n))
		return;
	if (n > 0 && write(fd, answer, answer_length) != (ssize_t)answer_length)
		fprintf(stderr, "ways: an answer was not written\n");
	connection_close(worker, fd);
}

/* Takes up to so many connections as a turn may. Returns false once the accept queue is empty. */
static bool worker_accept(struct worker *worker)
{
	for (long i = 0; i < worker->server->accepts; i++) {
		struct epoll_event event = {.events = EPOLLIN};
		int fd = accept4(worker->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return errno != EAGAIN;
		event.data.fd = fd;
		worker->open++;
		if (fd < CONNECTION_MAX && epoll_ctl(worker->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
			matched[fd] = 0;
		else
			connection_close(worker, fd);
	}
	return true;
}

/* The one place where a worker's phase changes. */
static void worker_enter(struct worker *worker, enum phase phase)
{
	worker->phase = phase;
	if (phase == DRAINING) {
		worker->deadline = clock_ms() + worker->server->drain_ms;
		epoll_ctl(worker->epoll, EPOLL_CTL_DEL, worker->listener, NULL);
	} else {
		worker->deadline = clock_ms() + FINISH_MS;
		close(worker->listener);
		worker->listener = -1;
	}
	epoll_ctl(worker->epoll, EPOLL_CTL_DEL, worker->server->told[0], NULL);
}

/* What stop means, by the way that was chosen. */
static void worker_stop(struct worker *worker)
{
	if (worker->phase == LISTENING)
		worker_enter(worker, worker->server->way == DRAIN ? DRAINING : FINISHING);
}

/* How long the next wait may last, in ms; -1 for as long as nothing happens. */
static int worker_patience(const struct worker *worker)
{
	long rest;

	if (worker->phase == LISTENING)
		return worker->server->way == POLL_FLAG ? POLL_MS : -1;
	if (worker->phase == DRAINING)
		return 0;
	rest = worker->deadline - clock_ms();
	return rest > 0 ? (int)rest : 0;
}

static void worker_turn(struct worker *worker)
{
	struct epoll_event events[EVENT_MAX];
	int count = epoll_wait(worker->epoll, events, EVENT_MAX, worker_patience(worker));

	if (worker->server->way == POLL_FLAG && atomic_load(worker->server->flag))
		worker_stop(worker);
	for (int i = 0; i < count; i++) {
		int fd = events[i].data.fd;

		if (fd == worker->server->told[0])
			worker_stop(worker);
		else if (fd != worker->server->listener)
			connection_serve(worker, fd);
		else if (worker->phase == LISTENING)
			worker_accept(worker);
	}
	if (worker->phase == DRAINING && (!worker_accept(worker) || clock_ms() >= worker->deadline))
		worker_enter(worker, FINISHING);
}

static _Noreturn void worker_run(const struct server *server)
{
	struct worker worker = {.server = server, .listener = server->listener};
	struct epoll_event listener = {.events = EPOLLIN | EPOLLEXCLUSIVE};
	struct epoll_event told = {.events = EPOLLIN, .data.fd = server->told[0]};

	listener.data.fd = server->listener;
	worker.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (worker.epoll < 0)
		die("epoll_create1");
	if (epoll_ctl(worker.epoll, EPOLL_CTL_ADD, server->listener, &listener) < 0)
		die("epoll_ctl");
	if (server->way != POLL_FLAG &&
	    epoll_ctl(worker.epoll, EPOLL_CTL_ADD, server->told[0], &told) < 0)
		die("epoll_ctl");
	while (worker.phase != FINISHING || (worker.open > 0 && clock_ms() < worker.deadline))
		worker_turn(&worker);
	if (worker.open > 0)
		fprintf(stderr, "ways: %ld connections cut\n", worker.open);
	_exit(worker.open > 0 ? 3 : 0);
}

/* Forks one worker, which dies with the master and hears of a stop from it alone. */
static void worker_start(const struct server *server)
{
	pid_t master = getpid();
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != master)
		_exit(1);
	close(server->told[1]);
	worker_run(server);
}

/* Tells the workers and waits for them. The worst of their exit statuses. */
static int server_stop(struct server *server)
{
	int status, worst = 0;

	close(server->listener);
	server->listener = -1;
	atomic_store(server->flag, true);
	close(server->told[1]);
	while (wait(&status) > 0) {
		int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;

		worst = code > worst ? code : worst;
	}
	return worst;
}

int main(int argc, char **argv)
{
	struct server server = {.workers = 2, .accepts = 1, .drain_ms = 60000};
	sigset_t set;
	int c, sig;

	while ((c = getopt(argc, argv, "w:a:t:")) != -1) {
		if (c == 'w')
			server.workers = number(optarg, 1, WORKER_MAX);
		else if (c == 'a')
			server.accepts = number(optarg, 1, 1000000);
		else if (c == 't')
			server.drain_ms = 1000 * number(optarg, 1, 3600);
		else
			usage();
	}
	if (argc - optind < 1 || argc - optind > 2)
		usage();
	server.way = way_parse(argv[optind]);

	/* Blocked in the workers too, which so ignore a TERM that is sent to the whole group. */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	server.flag = mmap(
	    NULL, sizeof(*server.flag), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (server.flag == MAP_FAILED)
		die("mmap");
	if (pipe(server.told) < 0)
		die("pipe");
	answer_build();
	server.listener =
	    listener_open(argc - optind == 2 ? number(argv[optind + 1], 0, 65535) : 0);
	for (long i = 0; i < server.workers; i++)
		worker_start(&server);

	sigwait(&set, &sig);
	return server_stop(&server);
}
