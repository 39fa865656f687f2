/*
 * faulty: a server that fails on purpose, in the one way that its argument names, so that the tests
 * can prove what losscount calls it. It is no model of a server: a thread per connection, blocking.
 * It prints "listening ADDR" once it listens on a port of the kernel's choice, ends on TERM, and
 * never outlives a minute.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LIFETIME_S = 60, REQUEST_SIZE = 8192, CHUNK_SIZE = 16384, POLL_MS = 5 };

struct server;

struct way {
	const char *name;
	const char *meaning;
	void (*connection)(const struct server *server, int fd); /* owns fd */
	void (*listener)(struct server *server); /* instead of accepting at once */
};

struct server {
	const struct way *way;
	const char *path; /* unix, or NULL */
	int listener;
	int port;
	int count; /* -n */
	int promise; /* -k, seconds, -1: none */
	size_t size; /* -b, of the body */
};

struct job {
	const struct server *server;
	int fd;
};

static void die(const char *what)
{
	fprintf(stderr, "faulty: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void pause_ms(int ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
	nanosleep(&ts, NULL);
}

/* ---- what the ways are made of --------------------------------------------------------- */

/* Ends the connection with a RST. */
static void reset(int fd)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

/* Reads and forgets until end of file. */
static void swallow(int fd)
{
	char chunk[CHUNK_SIZE];
	while (read(fd, chunk, sizeof(chunk)) > 0)
		;
}

/* Ends the connection with a FIN: unread input would make it a RST. */
static void finish(int fd)
{
	shutdown(fd, SHUT_WR);
	swallow(fd);
	close(fd);
}

static bool write_all(int fd, const char *data, size_t length)
{
	while (length) {
		ssize_t n = send(fd, data, length, MSG_NOSIGNAL);
		if (n < 0)
			return false;
		data += n;
		length -= (size_t)n;
	}
	return true;
}

/* Reads one request. Returns false at end of file, else sets whether it says Connection: close. */
static bool read_request(int fd, bool *closes)
{
	char request[REQUEST_SIZE];
	size_t length = 0;
	while (length < sizeof(request) - 1) {
		ssize_t n = read(fd, request + length, 1);
		if (n <= 0)
			return false;
		request[++length] = '\0';
		if (length >= 4 && !strcmp(request + length - 4, "\r\n\r\n")) {
			*closes = strstr(request, "Connection: close") != NULL;
			return true;
		}
	}
	return false;
}

static bool write_head(
    const struct server *server, int fd, const char *status, size_t length, bool closes)
{
	char head[256], promise[64] = "";
	if (!closes && server->promise >= 0)
		snprintf(promise, sizeof(promise), "Keep-Alive: timeout=%d\r\n", server->promise);
	int n = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s%s\r\n",
	    status, length, closes ? "Connection: close\r\n" : "", promise);
	return write_all(fd, head, (size_t)n);
}

/* The alphabet, over and over; the byte at the offset spoiled is another one (-1: none). */
static bool write_body(int fd, size_t length, long spoiled)
{
	char chunk[CHUNK_SIZE];
	for (size_t done = 0; done < length;) {
		size_t n = length - done < sizeof(chunk) ? length - done : sizeof(chunk);
		for (size_t i = 0; i < n; i++)
			chunk[i] =
			    (long)(done + i) == spoiled ? '!' : (char)('a' + (done + i) % 26);
		if (!write_all(fd, chunk, n))
			return false;
		done += n;
	}
	return true;
}

static bool respond(const struct server *server, int fd, bool closes)
{
	return write_head(server, fd, "200 OK", server->size, closes) &&
	    write_body(fd, server->size, -1);
}

/* ---- the ways, per connection ---------------------------------------------------------- */

static void serve_ok(const struct server *server, int fd)
{
	bool closes = false;
	while (!closes && read_request(fd, &closes) && respond(server, fd, closes))
		;
	finish(fd);
}

static void serve_announce(const struct server *server, int fd)
{
	bool closes;
	if (read_request(fd, &closes))
		respond(server, fd, true);
	finish(fd);
}

static void serve_fragments(const struct server *server, int fd)
{
	static const char text[] =
	    "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n"
	    "content-length:  26 \r\nCONNECTION: foo, Close\r\n\r\n"
	    "abcdefghijklmnopqrstuvwxyz";
	bool closes;
	(void)server;
	if (read_request(fd, &closes)) {
		for (size_t i = 0; i < sizeof(text) - 1; i++) {
			write_all(fd, text + i, 1);
			pause_ms(1);
		}
	}
	finish(fd);
}

static void serve_until_close(const struct server *server, int fd)
{
	static const char head[] = "HTTP/1.1 200 OK\r\n\r\n";
	bool closes;
	if (read_request(fd, &closes) && write_all(fd, head, sizeof(head) - 1))
		write_body(fd, server->size, -1);
	finish(fd);
}

static void reset_accept(const struct server *server, int fd)
{
	(void)server;
	reset(fd);
}

static void eof_accept(const struct server *server, int fd)
{
	(void)server;
	finish(fd);
}

static void reset_request(const struct server *server, int fd)
{
	bool closes;
	(void)server;
	read_request(fd, &closes);
	reset(fd);
}

static void eof_request(const struct server *server, int fd)
{
	bool closes;
	(void)server;
	read_request(fd, &closes);
	finish(fd);
}

static void part_head(const struct server *server, int fd)
{
	bool closes;
	(void)server;
	if (read_request(fd, &closes))
		write_all(fd, "HTTP/1.1 200 OK\r\nConte", 22);
	finish(fd);
}

/* Half of the body that was announced. */
static bool write_half(const struct server *server, int fd)
{
	bool closes;
	return read_request(fd, &closes) &&
	    write_head(server, fd, "200 OK", server->size, closes) &&
	    write_body(fd, server->size / 2, -1);
}

static void short_eof(const struct server *server, int fd)
{
	write_half(server, fd);
	finish(fd);
}

static void short_reset(const struct server *server, int fd)
{
	write_half(server, fd);
	reset(fd);
}

static void surplus(const struct server *server, int fd)
{
	bool closes;
	if (read_request(fd, &closes) && write_head(server, fd, "200 OK", server->size, closes))
		write_body(fd, server->size * 2, -1);
	finish(fd);
}

static void wrong_body(const struct server *server, int fd)
{
	bool closes;
	if (read_request(fd, &closes) && write_head(server, fd, "200 OK", server->size, closes))
		write_body(fd, server->size, (long)server->size / 2);
	finish(fd);
}

static void malformed(const struct server *server, int fd)
{
	bool closes;
	(void)server;
	if (read_request(fd, &closes))
		write_all(fd, "hello, world\r\n\r\n", 16);
	finish(fd);
}

static void never(const struct server *server, int fd)
{
	(void)server;
	swallow(fd);
	close(fd);
}

static void never_close(const struct server *server, int fd)
{
	bool closes;
	if (read_request(fd, &closes))
		respond(server, fd, true);
	swallow(fd);
	close(fd);
}

static void timeout_408(const struct server *server, int fd)
{
	if (write_head(server, fd, "408 Request Timeout", 5, true))
		write_body(fd, 5, -1);
	finish(fd);
}

static void unavailable(const struct server *server, int fd)
{
	bool closes;
	if (read_request(fd, &closes) && write_head(server, fd, "503 Service Unavailable", 3, true))
		write_body(fd, 3, -1);
	finish(fd);
}

/* One answer that keeps the connection; then the end of it when the second request is there. */
static bool answer_once(const struct server *server, int fd)
{
	bool closes;
	return read_request(fd, &closes) && respond(server, fd, false) && read_request(fd, &closes);
}

static void reuse_reset(const struct server *server, int fd)
{
	answer_once(server, fd);
	reset(fd);
}

static void reuse_eof(const struct server *server, int fd)
{
	answer_once(server, fd);
	finish(fd);
}

static void reuse_short(const struct server *server, int fd)
{
	if (answer_once(server, fd))
		write_all(fd, "HTTP", 4);
	reset(fd);
}

static void idle_eof(const struct server *server, int fd)
{
	bool closes;
	if (read_request(fd, &closes))
		respond(server, fd, false);
	finish(fd);
}

static void idle_reset(const struct server *server, int fd)
{
	bool closes;
	if (read_request(fd, &closes))
		respond(server, fd, false);
	reset(fd);
}

static void idle_408(const struct server *server, int fd)
{
	bool closes;
	if (read_request(fd, &closes) && respond(server, fd, false))
		timeout_408(server, fd);
	else
		close(fd);
}

/* Sends back what comes, the first piece without the bytes that it is to lose. */
static void echo_dropping(int fd, ssize_t lose)
{
	char chunk[CHUNK_SIZE];
	for (ssize_t n; (n = read(fd, chunk, sizeof(chunk))) > 0; lose = 0)
		if (n > lose && !write_all(fd, chunk, (size_t)(n - lose)))
			break;
	finish(fd);
}

static void echo(const struct server *server, int fd)
{
	(void)server;
	echo_dropping(fd, 0);
}

static void echo_drop(const struct server *server, int fd)
{
	(void)server;
	echo_dropping(fd, 1);
}

static void echo_garble(const struct server *server, int fd)
{
	char chunk[CHUNK_SIZE];
	ssize_t n = read(fd, chunk, sizeof(chunk));
	(void)server;
	if (n > 0) {
		chunk[n - 1] ^= 1;
		write_all(fd, chunk, (size_t)n);
	}
	finish(fd);
}

/* ---- the ways, of the listener --------------------------------------------------------- */

static void *run_connection(void *argument)
{
	struct job job = *(struct job *)argument;
	free(argument);
	job.server->way->connection(job.server, job.fd);
	return NULL;
}

static void start_connection(const struct server *server, int fd)
{
	int on = 1;
	pthread_t thread;
	struct job *job = malloc(sizeof(*job));
	if (!job)
		die("malloc");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* a unix socket has none */
	*job = (struct job){.server = server, .fd = fd};
	if ((errno = pthread_create(&thread, NULL, run_connection, job)))
		die("pthread_create");
	pthread_detach(thread);
}

static void accept_all(struct server *server)
{
	for (;;) {
		int fd = accept(server->listener, NULL, NULL);
		if (fd < 0)
			die("accept");
		start_connection(server, fd);
	}
}

/* The listener is closed before the last one is answered: its client finds it so. */
static void accept_some(struct server *server)
{
	for (int i = 1; i <= server->count; i++) {
		int fd = accept(server->listener, NULL, NULL);
		if (fd < 0)
			die("accept");
		if (i == server->count)
			close(server->listener);
		start_connection(server, fd);
	}
}

/* Lets -n connections wait in the accept queue, then closes it: the kernel resets them. */
static void drop_queue(struct server *server)
{
	struct tcp_info info;
	socklen_t length;
	do {
		pause_ms(POLL_MS);
		memset(&info, 0, sizeof(info));
		length = sizeof(info);
		if (getsockopt(server->listener, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
			die("TCP_INFO");
	} while ((int)info.tcpi_unacked < server->count); /* of a listener: what is queued */
	close(server->listener);
}

/* Whether a client has sent us a SYN that was not answered: one in SYN_SENT to our port. */
static bool has_caller(const struct server *server)
{
	char line[256];
	unsigned int port, state;
	bool found = false;
	FILE *file = fopen("/proc/net/tcp", "r");
	if (!file)
		die("/proc/net/tcp");
	while (!found && fgets(line, sizeof(line), file))
		found = sscanf(line, " %*d: %*x:%*x %*x:%x %x", &port, &state) == 2 &&
		    port == (unsigned int)server->port && state == TCP_SYN_SENT;
	fclose(file);
	return found;
}

/* Drops the SYN (minimum TTL) until there was one: it is sent again a second later. */
static void accept_late(struct server *server)
{
	int ttl = 0;
	while (!has_caller(server))
		pause_ms(POLL_MS);
	if (setsockopt(server->listener, IPPROTO_IP, IP_MINTTL, &ttl, sizeof(ttl)) < 0)
		die("IP_MINTTL");
	accept_all(server);
}

static const struct way ways[] = {
    {"ok", "correct HTTP: keep-alive with the promise -k, body of -b bytes", serve_ok, NULL},
    {"announce", "correct: Connection: close in each response", serve_announce, NULL},
    {"fragments", "correct: an interim response, then byte by byte (body: 26)", serve_fragments,
	NULL},
    {"until-close", "correct: no Content-Length, the body ends with the connection",
	serve_until_close, NULL},
    {"refuse-after", "correct, but the listener closes with connection -n", serve_ok, accept_some},
    {"slow-handshake", "correct, but drops SYNs until one was sent", serve_ok, accept_late},
    {"unread-queue", "closes the listener with -n connections in its queue", NULL, drop_queue},
    {"reset-accept", "RST after accept", reset_accept, NULL},
    {"eof-accept", "FIN after accept", eof_accept, NULL},
    {"reset-request", "RST after the request", reset_request, NULL},
    {"eof-request", "FIN after the request", eof_request, NULL},
    {"part-head", "FIN within the head", part_head, NULL},
    {"short-eof", "FIN within the body", short_eof, NULL},
    {"short-reset", "RST within the body", short_reset, NULL},
    {"surplus", "twice the body that was announced", surplus, NULL},
    {"wrong-body", "one byte of the body is wrong", wrong_body, NULL},
    {"malformed", "no HTTP", malformed, NULL},
    {"never", "never answers, never closes", never, NULL},
    {"never-close", "answers, announces the close, and does not", never_close, NULL},
    {"408", "408 and close, at once, without a request", timeout_408, NULL},
    {"503", "503 and close", unavailable, NULL},
    {"reuse-reset", "answers once, RST after the second request", reuse_reset, NULL},
    {"reuse-eof", "answers once, FIN after the second request", reuse_eof, NULL},
    {"reuse-short", "answers once, RST within the head of the second response", reuse_short, NULL},
    {"idle-eof", "answers once, keeps it, FIN", idle_eof, NULL},
    {"idle-reset", "answers once, keeps it, RST", idle_reset, NULL},
    {"idle-408", "answers once, keeps it, 408 and close", idle_408, NULL},
    {"echo", "correct echo", echo, NULL},
    {"echo-drop", "echo that loses the first byte", echo_drop, NULL},
    {"echo-garble", "echo that spoils a byte", echo_garble, NULL},
};

/* ---- start ----------------------------------------------------------------------------- */

static void listen_unix(struct server *server)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", server->path);
	server->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (server->listener < 0 ||
	    bind(server->listener, (struct sockaddr *)&un, sizeof(un)) < 0 ||
	    listen(server->listener, SOMAXCONN) < 0)
		die(server->path);
	printf("listening unix:%s\n", server->path);
}

static void listen_tcp(struct server *server)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t length = sizeof(in);
	int ttl = 255;
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server->listener = socket(AF_INET, SOCK_STREAM, 0);
	if (server->listener < 0 || bind(server->listener, (struct sockaddr *)&in, sizeof(in)) < 0)
		die("bind");
	if (server->way->listener == accept_late &&
	    setsockopt(server->listener, IPPROTO_IP, IP_MINTTL, &ttl, sizeof(ttl)) < 0)
		die("IP_MINTTL");
	if (listen(server->listener, SOMAXCONN) < 0 ||
	    getsockname(server->listener, (struct sockaddr *)&in, &length) < 0)
		die("listen");
	server->port = ntohs(in.sin_port);
	printf("listening 127.0.0.1:%d\n", server->port);
}

static void *run_listener(void *argument)
{
	struct server *server = argument;
	if (server->way->listener)
		server->way->listener(server);
	else
		accept_all(server);
	return NULL;
}

__attribute__((noreturn)) static void usage(void)
{
	fputs("usage: faulty [-n COUNT] [-k SECONDS] [-b BYTES] [-u PATH] WAY\n"
	      "  -n COUNT    connections, see below (1)\n"
	      "  -k SECONDS  Keep-Alive: timeout=SECONDS (-1: no such field)\n"
	      "  -b BYTES    length of the body (1000)\n"
	      "  -u PATH     a unix socket there instead of TCP\n",
	    stderr);
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		fprintf(stderr, "  %-15s %s\n", ways[i].name, ways[i].meaning);
	exit(2);
}

static void parse_options(struct server *server, int argc, char **argv)
{
	int option;
	while ((option = getopt(argc, argv, "n:k:b:u:")) >= 0) {
		if (option == 'n')
			server->count = atoi(optarg);
		else if (option == 'k')
			server->promise = atoi(optarg);
		else if (option == 'b')
			server->size = (size_t)atol(optarg);
		else if (option == 'u')
			server->path = optarg;
		else
			usage();
	}
	for (size_t i = 0; optind == argc - 1 && i < sizeof(ways) / sizeof(*ways); i++)
		if (!strcmp(argv[optind], ways[i].name))
			server->way = &ways[i];
	if (!server->way)
		usage();
}

int main(int argc, char **argv)
{
	static struct server server = {.count = 1, .promise = -1, .size = 1000};
	sigset_t term;
	pthread_t thread;
	int signal_number;

	parse_options(&server, argc, argv);
	alarm(LIFETIME_S);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL); /* inherited by the threads */
	if (server.path)
		listen_unix(&server);
	else
		listen_tcp(&server);
	if (fflush(stdout) == EOF)
		die("standard output");
	if ((errno = pthread_create(&thread, NULL, run_listener, &server)))
		die("pthread_create");
	sigwait(&term, &signal_number);
	if (server.path)
		unlink(server.path);
	_exit(0);
}
