/*
 * ctl: a client of control that says exactly what it is told, and does what no good client does.
 *
 *	ctl [-c CONNECTIONS] [-t MS] ENDPOINT STEP…
 *
 * ENDPOINT is a path or HOST:PORT. Opens all connections first, then does each step on every one of
 * them. What is read goes to standard output, a line each; where there is none, "(eof)", "(reset)"
 * or "(timeout)", after -t.
 *
 *   send:TEXT     sends it; C escapes (\n \t \r \\ \xHH) are read
 *   fill:N:TEXT   sends it so many times, as far as it is taken
 *   random:N      sends so many random bytes, as far as they are taken
 *   drip:MS:TEXT  sends it, one byte each so many ms, until the server closes
 *   fds:N:TEXT    sends it with so many descriptors along (Unix sockets)
 *   half          shuts the sending side
 *   wait:MS       does nothing for so long
 *   line          reads a line
 *   answer        reads lines up to one that begins with ok or error
 *   end           reads all to the end
 *   pump          sends standard input as it comes, then shuts the sending side; reads to the end
 *   close         closes the connection; with unread bytes that is a reset
 *   hold          closes standard output, and waits until it is killed
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 4096
#define FDS_MAX 200

struct client {
	int fd;
	size_t length, room;
	char *got;
};

static struct client clients[CLIENTS_MAX];
static int limit = 15000;

static void die(const char *what, const char *which)
{
	fflush(stdout);
	fprintf(stderr, "ctl: %s: %s\n", which, what);
	exit(2);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

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

static int connect_to(const char *endpoint)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in in = {.sin_family = AF_INET};
	const struct sockaddr *address = (const void *)&un;
	socklen_t length = sizeof un;
	char host[64] = "";
	int fd;

	if (strchr(endpoint, '/') != NULL) {
		snprintf(un.sun_path, sizeof un.sun_path, "%s", endpoint);
	} else {
		const char *colon = strrchr(endpoint, ':');

		if (colon == NULL || (size_t)(colon - endpoint) >= sizeof host)
			die("neither a path nor HOST:PORT", endpoint);
		memcpy(host, endpoint, (size_t)(colon - endpoint));
		in.sin_port = htons((uint16_t)atoi(colon + 1));
		if (inet_pton(AF_INET, host, &in.sin_addr) != 1)
			die("not an address", endpoint);
		address = (const void *)&in;
		length = sizeof in;
	}
	fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1 || connect(fd, address, length) == -1)
		die(strerror(errno), endpoint);
	return fd;
}

/* ---- sending ---- */

/* Sends as much as is taken within the limit. What the server does not take is no error. */
static void put(const struct client *client, const char *bytes, size_t length)
{
	int64_t end = now_ms() + limit;

	while (length > 0 && now_ms() < end) {
		struct pollfd room = {.fd = client->fd, .events = POLLOUT};
		ssize_t n;

		if (poll(&room, 1, 200) == 0)
			return;
		n = send(client->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n == -1 && errno != EAGAIN)
			return;
		if (n > 0) {
			bytes += n;
			length -= (size_t)n;
		}
	}
}

static void fill(const struct client *client, int64_t times, const char *bytes, size_t length)
{
	char *all = malloc((size_t)times * length + 1);

	if (all == NULL)
		die(strerror(errno), "memory");
	for (int64_t i = 0; i < times; i++)
		memcpy(all + (size_t)i * length, bytes, length);
	put(client, all, (size_t)times * length);
	free(all);
}

static void put_random(const struct client *client, int64_t count)
{
	static uint64_t state = 0x9e3779b97f4a7c15;
	char bytes[4096];

	while (count > 0) {
		size_t length = count < (int64_t)sizeof bytes ? (size_t)count : sizeof bytes;

		for (size_t i = 0; i < length; i++) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			bytes[i] = (char)(state >> 33);
		}
		put(client, bytes, length);
		count -= (int64_t)length;
	}
}

static void drip(const struct client *client, int64_t ms, const char *bytes, size_t length)
{
	const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

	for (size_t i = 0; i < length; i++) {
		if (send(client->fd, bytes + i, 1, MSG_NOSIGNAL) == -1)
			return;
		nanosleep(&pause, NULL);
	}
}

static void put_fds(const struct client *client, int64_t count, char *bytes, size_t length)
{
	struct iovec part = {bytes, length};
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} control;
	int fds[FDS_MAX];
	struct msghdr message = {
	    .msg_iov = &part,
	    .msg_iovlen = 1,
	    .msg_control = control.room,
	    .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count),
	};

	if (count < 1 || count > FDS_MAX)
		die("from 1 to 200 descriptors", "fds");
	memset(&control, 0, sizeof control);
	for (int64_t i = 0; i < count; i++)
		fds[i] = STDERR_FILENO;
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
	memcpy(CMSG_DATA(rights), fds, sizeof(int) * (size_t)count);
	if (sendmsg(client->fd, &message, MSG_NOSIGNAL) == -1)
		die(strerror(errno), "fds");
}

/* ---- reading ---- */

/* Reads more. Returns NULL, or what there is instead. */
static const char *get(struct client *client, int64_t end)
{
	struct pollfd more = {.fd = client->fd, .events = POLLIN};
	int64_t left = end - now_ms();
	ssize_t n;

	if (left <= 0 || poll(&more, 1, (int)left) == 0)
		return "(timeout)";
	if (client->length == client->room) {
		client->room = client->room * 2 + 8192;
		client->got = realloc(client->got, client->room);
		if (client->got == NULL)
			die(strerror(errno), "memory");
	}
	n = recv(client->fd, client->got + client->length, client->room - client->length, 0);
	if (n == 0)
		return "(eof)";
	if (n == -1)
		return errno == ECONNRESET ? "(reset)" : strerror(errno);
	client->length += (size_t)n;
	return NULL;
}

/* Reads a line and prints it. Returns whether an answer ends with it, or there is no more. */
static bool get_line(struct client *client)
{
	int64_t end = now_ms() + limit;
	const char *instead = NULL;
	char *newline;
	bool last;

	while ((newline = client->length > 0 ? memchr(client->got, '\n', client->length) : NULL) ==
	    NULL) {
		instead = get(client, end);
		if (instead != NULL) {
			fwrite(client->got, 1, client->length, stdout);
			client->length = 0;
			printf("%s\n", instead);
			return true;
		}
	}
	last = strncmp(client->got, "ok", 2) == 0 || strncmp(client->got, "error", 5) == 0;
	fwrite(client->got, 1, (size_t)(newline - client->got) + 1, stdout);
	client->length -= (size_t)(newline - client->got) + 1;
	memmove(client->got, newline + 1, client->length);
	return last;
}

static void get_end(struct client *client)
{
	int64_t end = now_ms() + limit;
	const char *instead;

	while ((instead = get(client, end)) == NULL)
		continue;
	fwrite(client->got, 1, client->length, stdout);
	client->length = 0;
	printf("%s\n", instead);
}

/* Both ways at once: who is not read from does not read. */
static void pump(struct client *client)
{
	char bytes[65536];
	size_t length = 0, at = 0;
	bool more = true;

	for (;;) {
		struct pollfd ends[] = {
		    {.fd = more && at == length ? STDIN_FILENO : -1, .events = POLLIN},
		    {.fd = client->fd, .events = POLLIN | (at < length ? POLLOUT : 0)},
		};
		ssize_t n;

		if (poll(ends, 2, limit) <= 0)
			die("nothing within the time limit", "pump");
		if (ends[0].revents != 0) {
			n = read(STDIN_FILENO, bytes, sizeof bytes);
			more = n > 0;
			at = 0;
			length = more ? (size_t)n : 0;
			if (!more)
				shutdown(client->fd, SHUT_WR);
		}
		if (ends[1].revents & POLLOUT) {
			n = send(client->fd, bytes + at, length - at, MSG_NOSIGNAL | MSG_DONTWAIT);
			at += n > 0 ? (size_t)n : 0;
		}
		if (ends[1].revents & ~POLLOUT) {
			char got[65536];

			n = recv(client->fd, got, sizeof got, 0);
			if (n <= 0)
				return;
			fwrite(got, 1, (size_t)n, stdout);
			fflush(stdout);
		}
	}
}

/* ---- steps ---- */

static bool is_step(const char *step, const char *name)
{
	size_t length = strlen(name);

	return strncmp(step, name, length) == 0 && (step[length] == ':' || step[length] == '\0');
}

static void do_step(struct client *client, const char *step)
{
	const char *colon = strchr(step, ':'), *text = colon != NULL ? colon + 1 : "";
	char *rest = NULL, *bytes;
	int64_t number = strtoll(text, &rest, 10);
	size_t length;

	if (is_step(step, "send")) {
		bytes = unescape(text, &length);
		put(client, bytes, length);
		free(bytes);
		return;
	}
	bytes = unescape(*rest == ':' ? rest + 1 : rest, &length);
	if (is_step(step, "fill"))
		fill(client, number, bytes, length);
	else if (is_step(step, "random"))
		put_random(client, number);
	else if (is_step(step, "drip"))
		drip(client, number, bytes, length);
	else if (is_step(step, "fds"))
		put_fds(client, number, bytes, length);
	else if (is_step(step, "half"))
		shutdown(client->fd, SHUT_WR);
	else if (is_step(step, "line"))
		get_line(client);
	else if (is_step(step, "answer"))
		while (!get_line(client))
			continue;
	else if (is_step(step, "end"))
		get_end(client);
	else if (is_step(step, "pump"))
		pump(client);
	else if (is_step(step, "close"))
		close(client->fd);
	else
		die("no such step", step);
	free(bytes);
}

int main(int argc, char **argv)
{
	struct rlimit files;
	int count = 1, option;

	while ((option = getopt(argc, argv, "+c:t:")) != -1) {
		if (option == 'c')
			count = atoi(optarg);
		else if (option == 't')
			limit = atoi(optarg);
		else
			return 2;
	}
	if (argc - optind < 1 || count < 1 || count > CLIENTS_MAX)
		die("ctl [-c CONNECTIONS] [-t MS] ENDPOINT STEP...", "usage");
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	for (int i = 0; i < count; i++)
		clients[i].fd = connect_to(argv[optind]);
	for (char **step = argv + optind + 1; *step != NULL; step++) {
		if (is_step(*step, "wait")) {
			int64_t ms = strtoll(*step + 5, NULL, 10);

			nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
		} else if (is_step(*step, "hold")) {
			fflush(stdout);
			fclose(stdout);
			for (;;)
				pause();
		} else
			for (int i = 0; i < count; i++)
				do_step(&clients[i], *step);
		fflush(stdout);
	}
	return 0;
}
