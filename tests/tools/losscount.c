/*
 * losscount: a load client that counts how connections end, each in exactly one class. It is how
 * lastcall proves that it loses none on stop, reload, upgrade and close: a connection whose
 * handshake completed was let in, and must get its answer.
 *
 * One thread, one epoll set, -c clients with one connection each at most. A client goes through
 * the states of enum state; every connection that was let in leaves through client_end(), which
 * judges it once. The definition of every class is in the table counters[] below (printed by
 * --help). It must never count a connection twice or not at all: unaccounted=0 proves it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	EXIT_LOST = 1,
	EXIT_USAGE = 2,
	EXIT_UNANSWERED = 4,

	MS = 1000, /* times are microseconds of the monotonic clock; options are milliseconds */
	REFUSED_BACKOFF = 5 * MS,
	NO_PORT_BACKOFF = 50 * MS,
	SLOW_CONNECT = 900 * MS, /* a SYN is sent again after 1 s */

	HEAD_SIZE = 8192,
	CHUNK_SIZE = 65536,
};

/* Order matters: from RESET to CLIENT_CLOSE are the ends, up to TIMEOUT those that are losses. */
enum counter {
	CONNECTED,
	ANSWERED,
	RESPONSES,
	REFUSED,
	CONNECT_FAILED,
	CONNECT_SLOW,
	SELF_CONNECTED,
	NO_PORT,
	QUEUE_FULL,
	RESET,
	ENDED,
	TRUNCATED,
	REUSED_RESET,
	TIMEOUT,
	REUSED_LATE,
	CLEAN_CLOSE,
	EARLY_CLOSE,
	RESET_AFTER,
	NOT_CLOSED,
	CLIENT_CLOSE,
	UNASKED,
	STATUS_4XX,
	STATUS_5XX,
	STATUS_408,
	COUNTERS
};

static const struct {
	const char *name;
	const char *meaning;
} counters[COUNTERS] = {
    [CONNECTED] = {"connected", "handshake completed: the connection was let in"},
    [ANSWERED] = {"answered",
	"connections that got at least one whole response (with -m connect, or\n"
	"an orderly end when -i was over) and no request of which was left open"},
    [RESPONSES] = {"responses", "whole responses with the right body"},
    [REFUSED] = {"refused", "ECONNREFUSED (unix: or ENOENT) at connect: never let in, no loss"},
    [CONNECT_FAILED] = {"connect_failed", "any other failure of the handshake, or none within -T"},
    [CONNECT_SLOW] = {"connect_slow",
	"handshake took more than 900 ms: a SYN was dropped and resent"},
    [SELF_CONNECTED] = {"self_connected",
	"TCP connected the socket to itself: nobody listens there, and\n"
	"the kernel chose the server's port as ours; as refused"},
    [NO_PORT] = {"no_port", "EADDRNOTAVAIL: no ephemeral port was free; tried again 50 ms later"},
    [QUEUE_FULL] = {"queue_full",
	"unix: EAGAIN, the accept queue was full; tried again 5 ms later"},
    [RESET] = {"reset", "LOSS: reset before any byte of the first response"},
    [ENDED] = {"eof",
	"LOSS: end of file before any byte of the first response (-m connect: before\n"
	"-i was over)"},
    [TRUNCATED] = {"truncated",
	"LOSS: end of file or reset after a part of a response; a body that is\n"
	"not the expected one, bytes after it, or a malformed response"},
    [REUSED_RESET] = {"reused_reset",
	"LOSS: a connection that had answered ended or was reset before any\n"
	"byte of its next response, though the request was sent within the\n"
	"promised Keep-Alive: timeout=N since the last one"},
    [TIMEOUT] = {"timeout", "LOSS: no whole response within -T"},
    [REUSED_LATE] = {"reused_late",
	"as reused_reset, but after that time, or without a promise: a race\n"
	"that HTTP allows; neither answered nor lost"},
    [CLEAN_CLOSE] = {"clean_close",
	"orderly end by the server, nothing outstanding: after the last\n"
	"response, or of an idle connection with no promise to keep"},
    [EARLY_CLOSE] = {"early_close",
	"end or reset of an idle connection, unannounced, before the promised\n"
	"time was over; no request was in flight"},
    [RESET_AFTER] = {"reset_after", "reset by the server when nothing was outstanding or promised"},
    [NOT_CLOSED] = {"not_closed",
	"no end of file within -T of the last response; closed by the client"},
    [CLIENT_CLOSE] = {"client_close",
	"closed by the client, nothing outstanding: after -r requests, or\n"
	"because the run was over"},
    [UNASKED] = {"unasked",
	"the part of client_close that never sent a request: run over while silent"},
    [STATUS_4XX] = {"status_4xx", "whole responses with a status of 400 to 499"},
    [STATUS_5XX] = {"status_5xx", "whole responses with a status of 500 to 599"},
    [STATUS_408] = {"status_408", "whole responses with status 408 (also in status_4xx)"},
};

enum mode { MODE_CLOSE, MODE_KEEP, MODE_IDLE, MODE_SILENT, MODE_CONNECT, MODES };

static const char *const modes[MODES] = {
    [MODE_CLOSE] = "close",
    [MODE_KEEP] = "keep",
    [MODE_IDLE] = "idle",
    [MODE_SILENT] = "silent",
    [MODE_CONNECT] = "connect",
};

/*
 * RESTING waits for its deadline and connects. CONNECTING becomes IDLE (-m silent), or ASKED: a
 * request is being sent or its response is awaited. A whole response leads to IDLE (nothing
 * outstanding), to ASKED again, or to CLOSING when it was the last one: all that is expected is
 * the server's end of file. Every end of a connection leads to RESTING, CONNECTING or STOPPED.
 */
enum state { STOPPED, RESTING, CONNECTING, IDLE, ASKED, CLOSING };

enum cause { BY_EOF, BY_RESET, BY_TIMEOUT, BY_WRONG_ANSWER, BY_CLIENT };

struct response {
	char head[HEAD_SIZE];
	size_t head_length;
	bool head_done;
	bool begun; /* a byte of it has come */
	bool whole;
	bool wrong; /* malformed, or not the expected body */
	bool closes; /* Connection: close */
	int status; /* 0 for echo */
	int promise; /* seconds of Keep-Alive: timeout=N, -1 without */
	int64_t length; /* of the body, -1: it ends with the connection */
	int64_t got;
};

struct client {
	int fd;
	enum state state;
	bool token; /* counted in run.taken, but no handshake has completed yet */
	bool spoken_for; /* counted in run.ready_missing no more */
	bool broken; /* a send failed: the end that follows is a reset */
	uint32_t watched;
	uint32_t serial; /* of the connection: seeds the bytes of echo */
	int64_t deadline; /* of the state, 0: none */
	int64_t since; /* connect or request began */
	int64_t patience; /* -m connect: an end of file is orderly from here on */
	int64_t promised; /* the server keeps the idle connection until then, 0: no promise */
	uint64_t sent; /* bytes of the request */
	uint64_t answers;
	struct response response;
};

struct run {
	/* options */
	size_t client_count;
	enum mode mode;
	bool echo;
	bool stop_on_refused;
	bool json;
	int ready_fd;
	int64_t pause; /* -i */
	int64_t duration;
	int64_t patience; /* -T */
	uint64_t max_connections;
	uint64_t max_requests;
	const char *target;
	const char *expect_file;
	int64_t expected_length; /* -1: any */
	char *expected;
	uint64_t echo_length;
	struct sockaddr_storage address;
	socklen_t address_length;
	char host[256];

	char *request;
	uint64_t request_length;
	struct client *clients;
	struct epoll_event *events;
	size_t running; /* clients that are not STOPPED */
	size_t ready_missing;
	uint64_t taken; /* connections begun, against -n */
	uint64_t random;
	int epoll;
	bool ending;
	int64_t next_timer; /* no deadline is earlier */
	int64_t began;
	int64_t latency_max;
	int64_t connect_max;
	uint64_t count[COUNTERS];
};

static volatile sig_atomic_t interrupted;

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
	va_list list;
	fputs("losscount: ", stderr);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	exit(EXIT_USAGE);
}

static int64_t now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* ---- the response ---------------------------------------------------------------------- */

/* Begins a new one. The buffer of the head is left as it is: head_length says what counts. */
static void response_init(struct response *r, bool echo, uint64_t echo_length)
{
	r->head_length = 0;
	r->head_done = echo;
	r->begun = r->whole = r->wrong = r->closes = false;
	r->status = 0;
	r->promise = -1;
	r->length = echo ? (int64_t)echo_length : -1;
	r->got = 0;
}

/* Whether the comma-separated list has the word, whatever its case. */
static bool list_has(const char *list, const char *word)
{
	size_t length = strlen(word);
	for (;;) {
		list += strspn(list, " \t,");
		if (!*list)
			return false;
		size_t n = strcspn(list, " \t,;");
		if (n == length && !strncasecmp(list, word, n))
			return true;
		list += strcspn(list, ",");
	}
}

/* Returns the number that the text is, or -1 when it is none. */
static int64_t parse_number(const char *text)
{
	char *end;
	if (*text < '0' || *text > '9')
		return -1;
	errno = 0;
	long long value = strtoll(text, &end, 10);
	return errno || *end ? -1 : value;
}

static void response_field(struct response *r, const char *name, char *value)
{
	value += strspn(value, " \t");
	for (size_t n = strlen(value); n && (value[n - 1] == ' ' || value[n - 1] == '\t'); n--)
		value[n - 1] = '\0';
	if (!strcasecmp(name, "Content-Length")) {
		int64_t length = parse_number(value);
		if (length < 0 || (r->length >= 0 && r->length != length))
			r->wrong = true;
		r->length = length;
	} else if (!strcasecmp(name, "Transfer-Encoding")) {
		r->wrong = true; /* we never ask for it, and do not read it */
	} else if (!strcasecmp(name, "Connection")) {
		if (list_has(value, "close"))
			r->closes = true;
		else if (list_has(value, "keep-alive"))
			r->closes = false;
	} else if (!strcasecmp(name, "Keep-Alive")) {
		const char *timeout = strstr(value, "timeout=");
		if (timeout && timeout[8] >= '0' && timeout[8] <= '9')
			r->promise = (int)strtol(timeout + 8, NULL, 10);
	}
}

/* Reads the head, which is whole. Sets wrong when it is none. An interim response starts over. */
static void response_head(struct response *r)
{
	int minor;
	r->head[r->head_length - 2] = '\0'; /* leaves the last field its line end */
	if (r->wrong || sscanf(r->head, "HTTP/1.%1d %3d", &minor, &r->status) != 2 ||
	    r->status < 100) {
		r->wrong = true;
		return;
	}
	if (r->status < 200) {
		r->head_length = 0;
		return;
	}
	r->closes = minor == 0;
	char *line = strstr(r->head, "\r\n") + 2;
	for (char *end; (end = strstr(line, "\r\n")); line = end + 2) {
		*end = '\0';
		char *colon = strchr(line, ':');
		if (!colon) {
			r->wrong = true;
			return;
		}
		*colon = '\0';
		response_field(r, line, colon + 1);
	}
	if (r->status == 204 || r->status == 304)
		r->length = 0;
	if (r->length < 0)
		r->closes = true; /* the body ends with the connection */
	r->head_done = true;
}

/* Takes bytes up to the end of the head; returns how many. */
static size_t response_take_head(struct response *r, const char *data, size_t length)
{
	size_t n = 0;
	while (n < length && !r->head_done && !r->wrong) {
		if (r->head_length == HEAD_SIZE) {
			r->wrong = true;
			break;
		}
		if (r->head_length < 7 && data[n] != "HTTP/1."[r->head_length])
			r->wrong = true;
		r->head[r->head_length++] = data[n++];
		if (r->head_length >= 4 && !memcmp(r->head + r->head_length - 4, "\r\n\r\n", 4))
			response_head(r);
	}
	return n;
}

/* The bytes of an echo: of one's own connection, so that crossed answers are seen. */
static unsigned char echo_byte(const struct client *c, uint64_t offset)
{
	return (unsigned char)(c->serial * 31 + offset * 7 + (offset >> 8) + (offset >> 16) * 3);
}

/* Whether the bytes are what is expected at this offset of the body. */
static bool body_matches(const struct run *run, const struct client *c, const char *data, size_t n)
{
	int64_t offset = c->response.got;
	if (run->echo) {
		for (size_t i = 0; i < n; i++)
			if ((unsigned char)data[i] != echo_byte(c, (uint64_t)offset + i))
				return false;
		return true;
	}
	if (c->response.status / 100 != 2 || run->expected_length < 0)
		return true;
	if (offset + (int64_t)n > run->expected_length)
		return false;
	return !run->expected || !memcmp(run->expected + offset, data, n);
}

/* The response as far as it came is all that comes: is it the one that was expected? */
static void response_finish(const struct run *run, struct response *r)
{
	r->whole = true;
	if (!run->echo && r->status / 100 == 2 && run->expected_length >= 0 &&
	    r->got != run->expected_length)
		r->wrong = true;
}

/* Takes what belongs to the response; returns how many bytes. Sets whole or wrong. */
static size_t response_feed(
    const struct run *run, struct client *c, const char *data, size_t length)
{
	struct response *r = &c->response;
	size_t n = 0;
	r->begun = true;
	if (!r->head_done)
		n = response_take_head(r, data, length);
	if (!r->head_done || r->wrong)
		return n;
	size_t rest = length - n;
	if (r->length >= 0 && (int64_t)rest > r->length - r->got)
		rest = (size_t)(r->length - r->got);
	if (!body_matches(run, c, data + n, rest))
		r->wrong = true;
	r->got += (int64_t)rest;
	if (r->got == r->length)
		response_finish(run, r);
	return n + rest;
}

/* ---- a client and its connection ------------------------------------------------------- */

static void client_connect(struct run *run, struct client *c);

static void client_set(struct run *run, struct client *c, enum state state, int64_t deadline)
{
	c->state = state;
	c->deadline = deadline;
	if (deadline && deadline < run->next_timer)
		run->next_timer = deadline;
}

static void client_watch(struct run *run, struct client *c, uint32_t events)
{
	if (c->watched == events)
		return;
	struct epoll_event event = {.events = events, .data.ptr = c};
	if (epoll_ctl(run->epoll, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event) < 0)
		die("epoll_ctl: %s", strerror(errno));
	c->watched = events;
}

static void client_drop(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->watched = 0;
}

static void client_stop(struct run *run, struct client *c)
{
	client_drop(c);
	client_set(run, c, STOPPED, 0);
	run->running--;
}

static void client_rest(struct run *run, struct client *c, int64_t time)
{
	client_drop(c);
	if (run->ending)
		client_stop(run, c);
	else
		client_set(run, c, RESTING, now_us() + time);
}

/* Tells who waits for the load to be on, once every client has had its first success. */
static void client_succeeded(struct run *run, struct client *c)
{
	if (c->spoken_for)
		return;
	c->spoken_for = true;
	if (run->ready_missing && --run->ready_missing == 0 && run->ready_fd >= 0) {
		if (write(run->ready_fd, "ready\n", 6) < 0)
			fprintf(stderr, "losscount: --ready-fd: %s\n", strerror(errno));
		close(run->ready_fd);
		run->ready_fd = -1;
	}
}

/* The class of a connection that ends now. The table of counters defines it. */
static enum counter client_judge(const struct run *run, const struct client *c, enum cause cause)
{
	int64_t now = now_us();
	if (cause == BY_WRONG_ANSWER)
		return TRUNCATED;
	if (cause == BY_CLIENT)
		return CLIENT_CLOSE;
	if (c->state == CLOSING)
		return cause == BY_TIMEOUT ? NOT_CLOSED
		    : cause == BY_EOF      ? CLEAN_CLOSE
					   : RESET_AFTER;
	if (cause == BY_TIMEOUT)
		return TIMEOUT;
	if (c->response.begun)
		return TRUNCATED;
	if (c->answers && c->state == IDLE)
		return now < c->promised ? EARLY_CLOSE
		    : cause == BY_EOF    ? CLEAN_CLOSE
					 : RESET_AFTER;
	if (c->answers)
		return c->since < c->promised ? REUSED_RESET : REUSED_LATE;
	if (cause == BY_EOF && run->mode == MODE_CONNECT && now >= c->patience)
		return CLEAN_CLOSE;
	return cause == BY_EOF ? ENDED : RESET;
}

static void note_latency(int64_t *max, int64_t since)
{
	int64_t latency = now_us() - since;
	if (latency > *max)
		*max = latency;
}

/* Every connection that was let in ends here, once. The client goes on to its next one. */
static void client_end(struct run *run, struct client *c, enum cause cause)
{
	enum counter end = client_judge(run, c, cause);
	run->count[end]++;
	if (end > REUSED_LATE) {
		/* Without an answer only -m connect has a server's orderly end: it is the answer.
		 */
		if (c->answers || end != CLIENT_CLOSE)
			run->count[ANSWERED]++;
		else
			run->count[UNASKED]++;
		if (!c->answers && end != CLIENT_CLOSE)
			note_latency(&run->latency_max, c->since);
	}
	client_drop(c);
	client_connect(run, c);
}

/* Whether the connection carries one request only, or none. */
static bool one_request(const struct run *run)
{
	return run->mode != MODE_KEEP && run->mode != MODE_IDLE;
}

/* Puts the next bytes of the request into the chunk; returns them or a place in the request. */
static const char *request_bytes(
    const struct run *run, const struct client *c, char *chunk, size_t *length)
{
	uint64_t rest = run->request_length - c->sent;
	if (!run->echo) {
		*length = (size_t)rest;
		return run->request + c->sent;
	}
	*length = rest < CHUNK_SIZE ? (size_t)rest : CHUNK_SIZE;
	for (size_t i = 0; i < *length; i++)
		chunk[i] = (char)echo_byte(c, c->sent + i);
	return chunk;
}

/*
 * Sends what the socket takes. A failure ends nothing yet: the server may have answered before it
 * closed, and what it said is still to be read; the end of file after it then counts as a reset.
 */
static void client_send(struct run *run, struct client *c)
{
	static char chunk[CHUNK_SIZE];
	while (c->sent < run->request_length) {
		size_t length;
		const char *data = request_bytes(run, c, chunk, &length);
		ssize_t n = send(c->fd, data, length, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			c->broken = errno != EAGAIN && errno != EWOULDBLOCK;
			client_watch(run, c, c->broken ? EPOLLIN : EPOLLIN | EPOLLOUT);
			return;
		}
		c->sent += (uint64_t)n;
	}
	if (run->echo && one_request(run))
		shutdown(c->fd, SHUT_WR);
	client_watch(run, c, EPOLLIN);
}

static void client_ask(struct run *run, struct client *c)
{
	response_init(&c->response, run->echo, run->echo_length);
	c->sent = 0;
	c->since = now_us();
	client_set(run, c, ASKED, c->since + run->patience);
	client_send(run, c);
}

/* The time until the next request: half to one and a half of -i, so that clients spread. */
static int64_t jitter(struct run *run)
{
	run->random ^= run->random << 13;
	run->random ^= run->random >> 7;
	run->random ^= run->random << 17;
	return run->pause / 2 + (int64_t)(run->random % (uint64_t)(run->pause + 1));
}

/*
 * Whether the bytes after a response are what a server may say next without having been asked. They
 * come in one piece with the response when this process was delayed.
 */
static bool is_unasked_408(const char *data, size_t length)
{
	static const char begin[] = "HTTP/1.1 408";
	return !memcmp(data, begin, length < sizeof(begin) - 1 ? length : sizeof(begin) - 1);
}

/*
 * A whole response is there, and surplus bytes after it. Returns whether those are to be read as a
 * response that nobody asked for; if not, and there are some, they made this one wrong.
 */
static bool client_answered(struct run *run, struct client *c, const char *data, size_t surplus)
{
	const struct response *r = &c->response;
	bool unasked = c->state == IDLE || run->mode == MODE_CONNECT;
	bool last = one_request(run) || r->closes || unasked;
	bool followed = surplus && !last && !run->echo && is_unasked_408(data, surplus);
	if (r->wrong || (surplus && !followed) || (unasked && (run->echo || r->status < 400))) {
		client_end(run, c, BY_WRONG_ANSWER);
		return false;
	}
	int64_t now = now_us();
	c->answers++;
	run->count[RESPONSES]++;
	run->count[STATUS_4XX] += r->status / 100 == 4;
	run->count[STATUS_5XX] += r->status / 100 == 5;
	run->count[STATUS_408] += r->status == 408;
	if (c->state == ASKED)
		note_latency(&run->latency_max, c->since);
	c->promised = r->promise >= 0 ? now + (int64_t)r->promise * 1000 * MS : 0;
	client_succeeded(run, c);
	if (last) {
		client_set(run, c, CLOSING, now + run->patience);
		client_watch(run, c, EPOLLIN);
	} else if (!followed && (run->ending || c->answers == run->max_requests)) {
		client_end(run, c, BY_CLIENT);
	} else if (run->mode == MODE_IDLE || followed) {
		response_init(&c->response, run->echo, run->echo_length);
		client_set(run, c, IDLE, now + jitter(run));
	} else {
		client_ask(run, c);
	}
	return followed;
}

/* The server ended the connection, in order or not. */
static void client_ended(struct run *run, struct client *c, bool orderly)
{
	struct response *r = &c->response;
	orderly = orderly && !c->broken;
	if (orderly && c->state != CLOSING && r->head_done && r->begun && r->length < 0 &&
	    !r->whole) {
		response_finish(run, r);
		client_answered(run, c, NULL, 0);
		if (c->state != CLOSING)
			return;
	}
	client_end(run, c, orderly ? BY_EOF : BY_RESET);
}

static void client_take(struct run *run, struct client *c, const char *data, size_t length)
{
	if (c->state == CLOSING) {
		client_end(run, c, BY_WRONG_ANSWER);
		return;
	}
	bool unexpected = c->state == IDLE && !c->response.begun;
	size_t taken = response_feed(run, c, data, length);
	if (c->response.wrong) {
		client_end(run, c, BY_WRONG_ANSWER);
	} else if (c->response.whole) {
		if (client_answered(run, c, data + taken, length - taken))
			client_take(run, c, data + taken, length - taken);
	} else if (unexpected) { /* it comes first, not the next request */
		client_set(run, c, IDLE, now_us() + run->patience);
	}
}

static void client_receive(struct run *run, struct client *c)
{
	static char chunk[CHUNK_SIZE];
	ssize_t n = recv(c->fd, chunk, sizeof(chunk), 0);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (n > 0)
		client_take(run, c, chunk, (size_t)n);
	else
		client_ended(run, c, n == 0);
}

/*
 * TCP's simultaneous open: a socket whose ephemeral port is the one it connects to, when nobody
 * listens there, connects to itself. It would also keep the server from binding its port again.
 */
static bool is_self_connected(const struct run *run, int fd)
{
	struct sockaddr_storage local, peer;
	socklen_t local_length = sizeof(local), peer_length = sizeof(peer);
	if (run->address.ss_family == AF_UNIX)
		return false;
	memset(&local, 0, sizeof(local));
	memset(&peer, 0, sizeof(peer));
	if (getsockname(fd, (struct sockaddr *)&local, &local_length) < 0 ||
	    getpeername(fd, (struct sockaddr *)&peer, &peer_length) < 0)
		return false;
	return local_length == peer_length && !memcmp(&local, &peer, local_length);
}

static void client_refused(struct run *run, struct client *c, enum counter which)
{
	run->count[which]++;
	if (run->stop_on_refused && run->count[CONNECTED])
		client_stop(run, c);
	else
		client_rest(run, c, REFUSED_BACKOFF);
}

/* The handshake is over. reset: and the connection too, already. */
static void client_connected(struct run *run, struct client *c, bool reset)
{
	int64_t now = now_us();
	if (is_self_connected(run, c->fd)) {
		struct linger linger = {.l_onoff = 1, .l_linger = 0};
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		client_refused(run, c, SELF_CONNECTED);
		return;
	}
	run->count[CONNECTED]++;
	if (now - c->since > SLOW_CONNECT)
		run->count[CONNECT_SLOW]++;
	note_latency(&run->connect_max, c->since);
	c->token = false;
	c->broken = reset;
	c->answers = 0;
	c->promised = 0;
	c->serial = (uint32_t)run->count[CONNECTED];
	c->patience = now + run->pause;
	if (reset || run->mode == MODE_CONNECT || run->mode == MODE_SILENT) {
		bool silent = run->mode == MODE_SILENT && !reset;
		response_init(&c->response, run->echo, run->echo_length);
		c->since = now;
		client_set(
		    run, c, silent ? IDLE : ASKED, now + run->pause + (silent ? 0 : run->patience));
		client_watch(run, c, EPOLLIN);
	} else {
		client_ask(run, c);
	}
	if (run->mode == MODE_CONNECT && !reset)
		client_succeeded(run, c);
}

/* Decides what the result of a connect, an errno or 0, means. */
static void client_connect_result(struct run *run, struct client *c, int error)
{
	switch (error) {
	case 0:
		client_connected(run, c, false);
		break;
	case ECONNRESET: /* a SYN that meets a RST is ECONNREFUSED: these came after the handshake
			  */
	case EPIPE:
		client_connected(run, c, true);
		break;
	case EINPROGRESS:
	case EINTR:
		client_watch(run, c, EPOLLOUT);
		client_set(run, c, CONNECTING, c->since + run->patience);
		break;
	case ENOENT: /* unix: unlinked */
	case ECONNREFUSED:
		client_refused(run, c, REFUSED);
		break;
	case EADDRNOTAVAIL:
		run->count[NO_PORT]++;
		client_rest(run, c, NO_PORT_BACKOFF);
		break;
	case EAGAIN:
		run->count[QUEUE_FULL]++;
		client_rest(run, c, REFUSED_BACKOFF);
		break;
	default:
		run->count[CONNECT_FAILED]++;
		client_rest(run, c, NO_PORT_BACKOFF);
	}
}

/* Begins the next connection, or stops when there is none to begin. */
static void client_connect(struct run *run, struct client *c)
{
	int on = 1;
	if (run->ending ||
	    (!c->token && run->max_connections && run->taken == run->max_connections)) {
		client_stop(run, c);
		return;
	}
	if (!c->token)
		run->taken++;
	c->token = true;
	int family = run->address.ss_family;
	c->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket: %s", strerror(errno));
	if (family != AF_UNIX)
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->since = now_us();
	int r = connect(c->fd, (struct sockaddr *)&run->address, run->address_length);
	client_connect_result(run, c, r < 0 ? errno : 0);
}

static void client_event(struct run *run, struct client *c, uint32_t events)
{
	if (c->state == CONNECTING) {
		int error = 0;
		socklen_t length = sizeof(error);
		if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
			error = errno;
		client_connect_result(run, c, error);
		return;
	}
	if (c->state == ASKED && (events & EPOLLOUT) && !c->broken)
		client_send(run, c);
	if (events & ~(uint32_t)EPOLLOUT)
		client_receive(run, c);
}

static void client_late(struct run *run, struct client *c)
{
	switch (c->state) {
	case RESTING:
		client_connect(run, c);
		break;
	case CONNECTING:
		run->count[CONNECT_FAILED]++;
		client_rest(run, c, 0);
		break;
	case IDLE:
		if (c->response.begun)
			client_end(run, c, BY_TIMEOUT);
		else
			client_ask(run, c);
		break;
	case ASKED:
	case CLOSING:
		client_end(run, c, BY_TIMEOUT);
		break;
	case STOPPED:
		break;
	}
}

/* ---- the run --------------------------------------------------------------------------- */

/* No new connection and no new request from here on. What is outstanding has its own deadline. */
static void run_end(struct run *run)
{
	run->ending = true;
	for (size_t i = 0; i < run->client_count; i++) {
		struct client *c = &run->clients[i];
		if (c->state == RESTING || c->state == CONNECTING)
			client_stop(run, c);
		else if (c->state == IDLE && !c->response.begun)
			client_end(run, c, BY_CLIENT);
	}
}

static void run_timers(struct run *run, int64_t now)
{
	if (now < run->next_timer)
		return;
	run->next_timer = INT64_MAX;
	for (size_t i = 0; i < run->client_count; i++) {
		struct client *c = &run->clients[i];
		if (c->deadline && c->deadline <= now)
			client_late(run, c);
		if (c->deadline && c->deadline < run->next_timer)
			run->next_timer = c->deadline;
	}
}

/* The time until something is due, in milliseconds, rounded up. */
static int run_timeout(const struct run *run)
{
	int64_t due = run->next_timer;
	if (!run->ending && run->began + run->duration < due)
		due = run->began + run->duration;
	int64_t left = due - now_us();
	if (left <= 0)
		return 0;
	return left > 60000 * MS ? 60000 : (int)((left + MS - 1) / MS);
}

/*
 * All events come before the timers, and the timers go by the time at which the events were asked
 * for: when losscount was itself delayed it does not call an answer late that was there in time.
 */
static void run_loop(struct run *run, const sigset_t *unblocked)
{
	for (size_t i = 0; i < run->client_count; i++)
		client_connect(run, &run->clients[i]);
	while (run->running) {
		int n = epoll_pwait(
		    run->epoll, run->events, (int)run->client_count, run_timeout(run), unblocked);
		int64_t now = now_us();
		if (n < 0 && errno != EINTR)
			die("epoll_pwait: %s", strerror(errno));
		for (int i = 0; i < n; i++)
			client_event(run, run->events[i].data.ptr, run->events[i].events);
		run_timers(run, now);
		if (!run->ending && (interrupted || now >= run->began + run->duration))
			run_end(run);
	}
}

static uint64_t run_sum(const struct run *run, enum counter from, enum counter to)
{
	uint64_t sum = 0;
	for (enum counter i = from; i <= to; i++)
		sum += run->count[i];
	return sum;
}

static void print_value(const struct run *run, const char *name, int64_t value, bool last)
{
	if (run->json)
		printf("\"%s\":%" PRId64 "%s", name, value, last ? "}\n" : ",");
	else
		printf("%s=%" PRId64 "\n", name, value);
}

/* Prints the counters; returns the exit status. */
static int run_report(const struct run *run)
{
	const uint64_t *count = run->count;
	int64_t lost = (int64_t)run_sum(run, RESET, TIMEOUT);
	int64_t unended = (int64_t)(count[CONNECTED] - run_sum(run, RESET, CLIENT_CLOSE));
	int64_t unjudged = (int64_t)count[CONNECTED] - lost -
	    (int64_t)(count[ANSWERED] + count[REUSED_LATE] + count[UNASKED]);
	if (run->json)
		putchar('{');
	for (int i = 0; i < COUNTERS; i++)
		print_value(run, counters[i].name, (int64_t)count[i], false);
	print_value(run, "lost", lost, false);
	print_value(run, "unaccounted", llabs(unended) + llabs(unjudged), false);
	print_value(run, "latency_max_ms", run->latency_max / MS, false);
	print_value(run, "latency_max_connect_ms", run->connect_max / MS, false);
	print_value(run, "elapsed_ms", (now_us() - run->began) / MS, true);
	if (fflush(stdout) == EOF)
		die("standard output: %s", strerror(errno));
	if (lost)
		return EXIT_LOST;
	return count[ANSWERED] ? 0 : EXIT_UNANSWERED;
}

/* ---- the command line ------------------------------------------------------------------ */

static const char usage_text[] =
    "usage: losscount [options] ADDR      (127.0.0.1:8080, [::1]:8080, unix:/path)\n"
    "  -c N                clients, one connection at a time each (32)\n"
    "  -m MODE             close    one request per connection, then the server's end of file\n"
    "                      keep     requests back to back\n"
    "                      idle     idle for -i (times 0.5 to 1.5) between requests\n"
    "                      silent   silent for -i, then as close\n"
    "                      connect  never speaks; expects an error response (408), or an end of\n"
    "                               file not before -i; one of them within -i + -T\n"
    "  -P http|echo        protocol (http); echo: the same bytes come back, close and silent shut\n"
    "                      down after sending and expect end of file\n"
    "  -t TARGET           request target (/)\n"
    "  -b BYTES            echo: bytes per request (64)\n"
    "  -r N                keep, idle: requests per connection, then the client closes (0: never)\n"
    "  -i MS               see -m (0)\n"
    "  -d MS               duration (10000); no request begins after it, those outstanding are\n"
    "                      waited for. TERM or INT ends the run in the same way\n"
    "  -n N                connections let in, in all (0: no limit)\n"
    "  -T MS               time for a handshake, a response, an end of file (10000)\n"
    "  -e BYTES            length of the body of a 2xx response\n"
    "  --expect-file FILE  the body of a 2xx response\n"
    "  --stop-on-refused   a client stops when refused, once any connection was let in\n"
    "  --ready-fd N        write a line to descriptor N when every client has had a response\n"
    "                      (-m connect: is connected), and close it\n"
    "  --json              one JSON object instead of lines key=value\n"
    "exit status: 0 lost=0 and something was answered, 1 lost>0, 2 usage or system error,\n"
    "             4 nothing was answered (and nothing lost)\n"
    "\noutput, in this order:\n";

static void usage_meaning(const char *name, const char *meaning)
{
	printf("  %-15s ", name);
	for (const char *p = meaning; *p; p++) {
		putchar(*p);
		if (*p == '\n')
			printf("%18s", "");
	}
	putchar('\n');
}

__attribute__((noreturn)) static void usage(void)
{
	fputs(usage_text, stdout);
	for (int i = 0; i < COUNTERS; i++)
		usage_meaning(counters[i].name, counters[i].meaning);
	usage_meaning("lost", "reset + eof + truncated + reused_reset + timeout");
	usage_meaning("unaccounted",
	    "0, or the bookkeeping is broken: connected = answered + lost +\n"
	    "reused_late + unasked, and = reset + ... + client_close");
	usage_meaning("latency_max_ms",
	    "longest time from the begin of a request (-m connect: from the\n"
	    "handshake) to its whole response");
	usage_meaning("latency_max_connect_ms", "longest completed handshake");
	usage_meaning("elapsed_ms", "duration of the run");
	exit(0);
}

static uint64_t number_option(const char *name, const char *text, uint64_t min, uint64_t max)
{
	int64_t value = parse_number(text);
	if (value < 0 || (uint64_t)value < min || (uint64_t)value > max)
		die("%s: %s: a number from %" PRIu64 " to %" PRIu64 " is wanted", name, text, min,
		    max);
	return (uint64_t)value;
}

static void parse_address(struct run *run, const char *text)
{
	char host[128];
	snprintf(run->host, sizeof(run->host), "%s", text);
	if (!strncmp(text, "unix:", 5)) {
		struct sockaddr_un *un = (struct sockaddr_un *)&run->address;
		un->sun_family = AF_UNIX;
		if (strlen(text + 5) >= sizeof(un->sun_path))
			die("%s: path is too long", text);
		snprintf(un->sun_path, sizeof(un->sun_path), "%s", text + 5);
		run->address_length = sizeof(*un);
		snprintf(run->host, sizeof(run->host), "localhost");
		return;
	}
	const char *colon = strrchr(text, ':');
	size_t length = colon ? (size_t)(colon - text) : 0;
	bool bracketed = length > 2 && text[0] == '[' && text[length - 1] == ']';
	if (!length || length >= sizeof(host) || strlen(text) >= sizeof(run->host))
		die("%s: an address is 127.0.0.1:8080, [::1]:8080 or unix:/path", text);
	snprintf(
	    host, sizeof(host), "%.*s", (int)(bracketed ? length - 2 : length), text + bracketed);
	struct addrinfo hints = {
	    .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *found;
	int error = getaddrinfo(host, colon + 1, &hints, &found);
	if (error)
		die("%s: %s", text, gai_strerror(error));
	memcpy(&run->address, found->ai_addr, found->ai_addrlen);
	run->address_length = found->ai_addrlen;
	freeaddrinfo(found);
}

static enum mode parse_mode(const char *text)
{
	for (int i = 0; i < MODES; i++)
		if (!strcmp(text, modes[i]))
			return (enum mode)i;
	die("-m: %s: no such mode", text);
}

static void parse_protocol(struct run *run, const char *text)
{
	run->echo = !strcmp(text, "echo");
	if (!run->echo && strcmp(text, "http"))
		die("-P: %s: http or echo is wanted", text);
}

static void parse_option(struct run *run, int option, const char *text)
{
	const char name[] = {'-', (char)option, '\0'};
	/* clang-format off */
	switch (option) {
	case 'c': run->client_count = number_option(name, text, 1, 1000000); break;
	case 'm': run->mode = parse_mode(text); break;
	case 'P': parse_protocol(run, text); break;
	case 't': run->target = text; break;
	case 'b': run->echo_length = number_option(name, text, 1, UINT64_C(1) << 40); break;
	case 'r': run->max_requests = number_option(name, text, 0, INT64_MAX); break;
	case 'i': run->pause = (int64_t)number_option(name, text, 0, INT_MAX) * MS; break;
	case 'd': run->duration = (int64_t)number_option(name, text, 1, INT_MAX) * MS; break;
	case 'n': run->max_connections = number_option(name, text, 0, INT64_MAX); break;
	case 'T': run->patience = (int64_t)number_option(name, text, 1, INT_MAX) * MS; break;
	case 'e': run->expected_length = (int64_t)number_option(name, text, 0, INT64_MAX); break;
	case 'F': run->expect_file = text; break;
	case 'S': run->stop_on_refused = true; break;
	case 'R': run->ready_fd = (int)number_option("--ready-fd", text, 0, INT_MAX); break;
	case 'J': run->json = true; break;
	case 'h': usage();
	default: fputs("losscount --help tells the options\n", stderr); exit(EXIT_USAGE);
	}
	/* clang-format on */
}

static void parse_options(struct run *run, int argc, char **argv)
{
	static const struct option options[] = {
	    {"expect-file", required_argument, NULL, 'F'},
	    {"stop-on-refused", no_argument, NULL, 'S'},
	    {"ready-fd", required_argument, NULL, 'R'},
	    {"json", no_argument, NULL, 'J'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int option;
	while ((option = getopt_long(argc, argv, "c:m:P:t:b:r:i:d:n:T:e:h", options, NULL)) >= 0)
		parse_option(run, option, optarg);
	if (optind != argc - 1)
		die("one ADDR is wanted; losscount --help tells more");
	parse_address(run, argv[optind]);
}

static void load_expected(struct run *run)
{
	FILE *file = fopen(run->expect_file, "rb");
	struct stat st;
	if (!file || fstat(fileno(file), &st) < 0)
		die("%s: %s", run->expect_file, strerror(errno));
	run->expected_length = st.st_size;
	run->expected = malloc((size_t)st.st_size + 1);
	if (!run->expected ||
	    fread(run->expected, 1, (size_t)st.st_size, file) != (size_t)st.st_size)
		die("%s: cannot be read", run->expect_file);
	fclose(file);
}

static void build_request(struct run *run)
{
	static const char format[] = "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n";
	const char *close_field = one_request(run) ? "Connection: close\r\n" : "";
	size_t size =
	    sizeof(format) + strlen(run->target) + strlen(run->host) + strlen(close_field);
	run->request = malloc(size);
	if (!run->request)
		die("out of memory");
	int length = snprintf(run->request, size, format, run->target, run->host, close_field);
	run->request_length = run->echo ? run->echo_length : (uint64_t)length;
	if (run->mode == MODE_CONNECT)
		run->request_length = 0;
}

static void run_init(struct run *run)
{
	struct rlimit limit;
	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (run->expect_file)
		load_expected(run);
	build_request(run);
	run->clients = calloc(run->client_count, sizeof(*run->clients));
	run->events = calloc(run->client_count, sizeof(*run->events));
	run->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!run->clients || !run->events || run->epoll < 0)
		die("cannot start: %s", strerror(errno));
	for (size_t i = 0; i < run->client_count; i++)
		run->clients[i].fd = -1;
	run->running = run->ready_missing = run->client_count;
	if (run->max_connections && run->max_connections < run->ready_missing)
		run->ready_missing = (size_t)run->max_connections;
	run->next_timer = INT64_MAX;
	run->began = now_us();
	run->random = (uint64_t)run->began * 2654435761U | 1;
}

static void run_release(struct run *run)
{
	close(run->epoll);
	free(run->clients);
	free(run->events);
	free(run->request);
	free(run->expected);
}

static void on_interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

int main(int argc, char **argv)
{
	struct run run = {.client_count = 32,
	    .duration = 10000 * MS,
	    .patience = 10000 * MS,
	    .target = "/",
	    .expected_length = -1,
	    .echo_length = 64,
	    .ready_fd = -1};
	struct sigaction action = {.sa_handler = on_interrupt};
	sigset_t blocked, unblocked;

	parse_options(&run, argc, argv);
	run_init(&run);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigprocmask(SIG_BLOCK, &blocked, &unblocked);
	sigdelset(&unblocked, SIGTERM);
	sigdelset(&unblocked, SIGINT);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	run_loop(&run, &unblocked);
	int status = run_report(&run);
	run_release(&run);
	return status;
}
