/*
 * talk: a raw client that says exactly what it is told, byte by byte if need be, and tells how its
 * connections ended.
 *
 *	talk [-q] [-c CONNECTIONS] [-n ROUNDS] [-t MS] ADDRESS STEP…
 *
 * Each of -c clients opens a connection, goes through the steps and closes it, -n times. It reads
 * all the time but where a step says otherwise. When everything is sent or the server has closed,
 * the connection is done. With one connection what was received goes to standard output, unless -q.
 *
 * The counters go to standard error, with -q to standard output: how the connections ended (eof:
 * the server closed; reset; timeout: after -t; done: the steps were through; refused), answers by
 * status, bytes, and the shortest and the longest time that a connection took.
 *
 * C escapes (\r \n \t \\ \xHH) in the texts of steps are read as such.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 4096
#define STEPS_MAX 64
#define KEPT_MAX ((size_t)64 << 20) /* of what one connection received */

enum verb { SEND, FILL, RANDOM, DRIP, FLOOD, WAIT, DEAF, READ, SIP, UNTIL, HALF, RESET };

static const struct {
	const char *name;
	bool number, text; /* "name:NUMBER:TEXT", each where it is taken */
	const char *help;
} verbs[] = {
    [SEND] = {"send", false, true, "send TEXT in one write"},
    [FILL] = {"fill", true, true, "send TEXT so many times"},
    [RANDOM] = {"random", true, false, "send so many random bytes"},
    [DRIP] = {"drip", true, true, "send TEXT, one byte each NUMBER ms"},
    [FLOOD] = {"flood", true, true, "send TEXT again and again for NUMBER ms"},
    [WAIT] = {"wait", true, false, "wait NUMBER ms"},
    [DEAF] = {"deaf", false, false, "read nothing until a step that reads"},
    [READ] = {"read", false, false, "read until the server closes"},
    [SIP] = {"sip", true, false, "read a KiB each NUMBER ms, until the server closes"},
    [UNTIL] = {"until", false, true, "read until TEXT has come"},
    [HALF] = {"half", false, false, "shut the sending side"},
    [RESET] = {"reset", false, false, "close with a reset"},
};

enum end { EOF_SEEN, WAS_RESET, TIMED_OUT, WAS_DONE, WAS_REFUSED, ENDS };

static const char *const end_names[ENDS] = {"eof", "reset", "timeout", "done", "refused"};

struct step {
	enum verb verb;
	int64_t number;
	char *bytes;
	size_t length;
};

struct client {
	int fd; /* -1: none */
	int rounds;
	size_t at, sent; /* step, and bytes of it */
	int64_t began, due; /* ms; due: of this step, 0: not set */
	bool deaf, blocked;
	char *got;
	size_t length, room, seen; /* of got; seen: where the next until looks from */
	uint64_t bytes, random;
};

static struct sockaddr_storage address;
static socklen_t address_length;
static struct step steps[STEPS_MAX];
static size_t steps_count;
static int64_t limit = 15000;
static uint64_t ends[ENDS], statuses[600], bytes_total;
static int64_t shortest = INT64_MAX, longest;
static struct client clients[CLIENTS_MAX];

static void die(const char *what, const char *which)
{
	fprintf(stderr, "talk: %s: %s\n", which, what);
	exit(2);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- what to do ---- */

static char *unescape(const char *text, size_t *length)
{
	char *out = malloc(strlen(text) + 1);
	size_t n = 0;

	if (out == NULL)
		die(strerror(errno), "memory");
	while (*text != '\0') {
		unsigned byte;
		int taken = 0;

		if (*text != '\\') {
			out[n++] = *text++;
			continue;
		}
		text++;
		if (*text == 'x' && sscanf(text + 1, "%2x%n", &byte, &taken) == 1) {
			out[n++] = (char)byte;
			text += 1 + taken;
			continue;
		}
		out[n++] = (char)(*text == 'r' ? '\r'
			: *text == 'n'         ? '\n'
			: *text == 't'         ? '\t'
					       : *text);
		text += *text != '\0';
	}
	*length = n;
	return out;
}

static void repeat(struct step *step, size_t count)
{
	char *all = malloc(step->length * count + 1);

	if (all == NULL)
		die(strerror(errno), "memory");
	for (size_t i = 0; i < count; i++)
		memcpy(all + i * step->length, step->bytes, step->length);
	free(step->bytes);
	step->bytes = all;
	step->length *= count;
}

static void add_step(const char *word)
{
	struct step *step = &steps[steps_count];
	size_t length = strcspn(word, ":"), verb = 0, count = sizeof verbs / sizeof verbs[0];
	const char *at = word + length;
	char *end;

	while (verb < count &&
	    (strlen(verbs[verb].name) != length || strncmp(verbs[verb].name, word, length) != 0))
		verb++;
	if (verb == count || steps_count == STEPS_MAX)
		die("no such step, or too many", word);
	step->verb = (enum verb)verb;
	if (verbs[verb].number) {
		if (*at != ':')
			die("wants a number", word);
		step->number = strtoll(at + 1, &end, 10);
		at = end;
	}
	if (verbs[verb].text != (*at == ':'))
		die(verbs[verb].text ? "wants a text" : "takes no text", word);
	if (verbs[verb].text)
		step->bytes = unescape(at + 1, &step->length);
	if (step->verb == FILL)
		repeat(step, (size_t)step->number);
	/* A flood is sent in big writes, so that the server never catches up. */
	if (step->verb == FLOOD)
		repeat(step, 262144 / (step->length + 1) + 1);
	steps_count++;
}

static void set_address(const char *text)
{
	char host[64] = "";
	const char *colon = strrchr(text, ':');
	struct sockaddr_in *four = (struct sockaddr_in *)(void *)&address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)&address;

	if (colon == NULL || (size_t)(colon - text) >= sizeof host)
		die("not an address", text);
	memcpy(host, text, (size_t)(colon - text));
	if (host[0] == '[') {
		host[strlen(host) - 1] = '\0';
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)atoi(colon + 1));
		address_length = sizeof *six;
		if (inet_pton(AF_INET6, host + 1, &six->sin6_addr) != 1)
			die("not an address", text);
		return;
	}
	four->sin_family = AF_INET;
	four->sin_port = htons((uint16_t)atoi(colon + 1));
	address_length = sizeof *four;
	if (inet_pton(AF_INET, host, &four->sin_addr) != 1)
		die("not an address", text);
}

/* ---- a connection ---- */

static void begin(struct client *c)
{
	c->at = c->sent = c->length = c->seen = 0;
	c->due = 0;
	c->bytes = 0;
	c->deaf = c->blocked = false;
	c->began = now_ms();
	c->fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd == -1)
		die(strerror(errno), "socket");
	/* Blocking until it is connected: that is quick here, and keeps the rest simple. */
	if (connect(c->fd, (struct sockaddr *)&address, address_length) == -1) {
		if (errno != ECONNREFUSED)
			die(strerror(errno), "connect");
		close(c->fd);
		c->fd = -1;
		ends[WAS_REFUSED]++;
		return;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static void count_statuses(const struct client *c)
{
	const char *at = c->got, *end = at;

	if (c->length > 0)
		end += c->length;
	while (at != NULL && end - at > 12 &&
	    (at = memmem(at, (size_t)(end - at), "HTTP/1.1 ", 9)) != NULL) {
		unsigned status = (unsigned)atoi(at + 9);

		if (status < 600)
			statuses[status]++;
		at += 9;
	}
}

static void finish(struct client *c, enum end how)
{
	int64_t took = now_ms() - c->began;

	ends[how]++;
	bytes_total += c->bytes;
	count_statuses(c);
	shortest = took < shortest ? took : shortest;
	longest = took > longest ? took : longest;
	close(c->fd);
	c->fd = -1;
}

static void keep(struct client *c, const char *bytes, size_t length)
{
	c->bytes += length;
	if (c->length + length > KEPT_MAX)
		return;
	if (c->length + length + 1 > c->room) {
		c->room = (c->length + length) * 2 + 1;
		c->got = realloc(c->got, c->room);
		if (c->got == NULL)
			die(strerror(errno), "memory");
	}
	memcpy(c->got + c->length, bytes, length);
	c->length += length;
	c->got[c->length] = '\0';
}

/* Reads what there is, at most most bytes. Returns false when the connection has ended. */
static bool receive(struct client *c, size_t most)
{
	static char bytes[262144];

	for (;;) {
		ssize_t got = recv(c->fd, bytes, most < sizeof bytes ? most : sizeof bytes, 0);

		if (got == -1 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (got <= 0) {
			finish(c, got == 0 ? EOF_SEEN : WAS_RESET);
			return false;
		}
		keep(c, bytes, (size_t)got);
		if ((most -= (size_t)got) == 0)
			return true;
	}
}

/* Sends on. Returns true when all of it is sent. */
static bool transmit(struct client *c, const char *bytes, size_t length)
{
	while (c->sent < length) {
		ssize_t sent = send(c->fd, bytes + c->sent, length - c->sent, MSG_NOSIGNAL);

		if (sent == -1 && errno == EINTR)
			continue;
		if (sent == -1 && errno == EAGAIN) {
			c->blocked = true;
			return false;
		}
		if (sent == -1) {
			finish(c, WAS_RESET);
			return false;
		}
		c->sent += (size_t)sent;
	}
	c->sent = 0;
	return true;
}

static bool transmit_random(struct client *c, size_t length)
{
	static char bytes[65536];
	size_t n = length < sizeof bytes ? length : sizeof bytes;

	for (size_t i = 0; i < n; i++) {
		c->random =
		    c->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		bytes[i] = (char)(c->random >> 56);
	}
	return transmit(c, bytes, n);
}

/* Whether the time of a step is over; it begins with the first call. */
static bool is_due(struct client *c, int64_t ms)
{
	if (c->due == 0)
		c->due = now_ms() + ms;
	return now_ms() >= c->due;
}

/* Does the step at hand as far as it goes. Returns true when it is done. */
static bool do_step(struct client *c, const struct step *step)
{
	switch (step->verb) {
	case SEND:
	case FILL:
		return transmit(c, step->bytes, step->length);
	case RANDOM:
		return transmit_random(c, (size_t)step->number);
	case DRIP:
		while (c->sent < step->length) {
			if (c->due == 0)
				c->due = now_ms();
			if (now_ms() < c->due)
				return false;
			if (send(c->fd, step->bytes + c->sent, 1, MSG_NOSIGNAL) == -1) {
				finish(c, WAS_RESET);
				return false;
			}
			c->sent++;
			c->due += step->number;
		}
		c->sent = 0;
		return true;
	case FLOOD:
		if (is_due(c, step->number))
			return true;
		transmit(c, step->bytes, step->length);
		return false;
	case WAIT:
		return is_due(c, step->number);
	case DEAF:
		return c->deaf = true;
	case READ:
		c->deaf = false;
		return false;
	case SIP:
		c->deaf = true;
		if (is_due(c, step->number)) {
			c->due = 0;
			receive(c, 1024);
		}
		return false;
	case UNTIL: {
		const char *found;

		c->deaf = false;
		if (c->length == 0)
			return false;
		found = memmem(c->got + c->seen, c->length - c->seen, step->bytes, step->length);
		if (found == NULL)
			return false;
		c->seen = (size_t)(found - c->got) + step->length;
		return true;
	}
	case HALF:
		shutdown(c->fd, SHUT_WR);
		return true;
	case RESET: {
		struct linger at_once = {.l_onoff = 1};

		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
		finish(c, WAS_DONE);
		return false;
	}
	}
	return false;
}

/* Goes on with a connection, or begins the next one. */
static void go_on(struct client *c)
{
	if (c->fd == -1 && c->rounds > 0) {
		c->rounds--;
		begin(c);
	}
	if (c->fd != -1 && now_ms() - c->began > limit)
		finish(c, TIMED_OUT);
	if (c->fd != -1 && !c->deaf)
		receive(c, (size_t)1 << 20);
	c->blocked = false;
	while (c->fd != -1 && c->at < steps_count && do_step(c, &steps[c->at]) && c->fd != -1) {
		c->at++;
		c->due = 0;
	}
	if (c->fd != -1 && c->at == steps_count)
		finish(c, WAS_DONE);
}

/* ---- all of them ---- */

static void run(int count)
{
	static struct pollfd polled[CLIENTS_MAX];
	int alive = count;

	while (alive > 0) {
		int timeout = 100;

		alive = 0;
		for (int i = 0; i < count; i++) {
			struct client *c = &clients[i];
			int64_t rest = c->due - now_ms();

			polled[i] = (struct pollfd){.fd = c->fd};
			if (c->fd == -1) {
				alive += c->rounds > 0;
				timeout = c->rounds > 0 ? 0 : timeout;
				continue;
			}
			alive++;
			polled[i].events =
			    (short)((c->deaf ? 0 : POLLIN) | (c->blocked ? POLLOUT : 0));
			/* A deaf one would be told of the end of its connection for ever. */
			if (c->deaf && !c->blocked)
				polled[i].fd = -1;
			if (c->due != 0 && rest < timeout)
				timeout = rest > 0 ? (int)rest : 0;
			if (c->at < steps_count && steps[c->at].verb == FLOOD && !c->blocked)
				timeout = 0;
		}
		if (alive > 0)
			poll(polled, (nfds_t)count, timeout);
		for (int i = 0; i < count; i++)
			go_on(&clients[i]);
	}
}

static void report(FILE *out)
{
	for (int i = 0; i < ENDS; i++)
		fprintf(out, "%s=%llu\n", end_names[i], (unsigned long long)ends[i]);
	for (int i = 0; i < 600; i++) {
		if (statuses[i] > 0)
			fprintf(out, "status_%d=%llu\n", i, (unsigned long long)statuses[i]);
	}
	fprintf(out, "bytes=%llu\nms_min=%lld\nms_max=%lld\n", (unsigned long long)bytes_total,
	    (long long)(shortest == INT64_MAX ? 0 : shortest), (long long)longest);
}

static void usage(void)
{
	fprintf(stderr,
	    "usage: talk [-q] [-c CONNECTIONS] [-n ROUNDS] [-t MS] ADDRESS STEP…\nsteps:\n");
	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
		fprintf(stderr, "  %s%s%s: %s\n", verbs[i].name, verbs[i].number ? ":NUMBER" : "",
		    verbs[i].text ? ":TEXT" : "", verbs[i].help);
	exit(2);
}

int main(int argc, char **argv)
{
	int option, count = 1, rounds = 1;
	bool quiet = false;
	struct rlimit files;

	while ((option = getopt(argc, argv, "+qc:n:t:")) != -1) {
		if (option == 'q')
			quiet = true;
		else if (option == 'c')
			count = atoi(optarg);
		else if (option == 'n')
			rounds = atoi(optarg);
		else if (option == 't')
			limit = atoll(optarg);
		else
			usage();
	}
	if (argc - optind < 1 || count < 1 || count > CLIENTS_MAX || rounds < 1)
		usage();
	set_address(argv[optind++]);
	while (optind < argc)
		add_step(argv[optind++]);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	for (int i = 0; i < count; i++)
		clients[i] = (struct client){
		    .fd = -1, .rounds = rounds, .random = (uint64_t)i * 77 + (uint64_t)getpid()};
	run(count);
	if (!quiet && count == 1 && clients[0].length > 0)
		fwrite(clients[0].got, 1, clients[0].length, stdout);
	report(quiet ? stdout : stderr);
	return 0;
}
