/*
 * crowd: many connections to one server that do little, for `make bench`.
 *
 *	crowd idle COUNT ADDRESS TARGET             each asks once, reads the answer, and waits
 *	crowd slow COUNT ADDRESS TARGET BYTES MS    each asks, and reads up to BYTES each MS
 *
 * ADDRESS is IPv4:PORT. It prints "held COUNT" when all of them are there, goes on until the end of
 * its standard input, and prints "open COUNT": how many the server has not closed by then.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define COUNT_MAX 100000
#define SECONDS 10 /* for an answer, while they are made */

static int *fds;
static size_t count;
static char request[1024], bytes[1 << 20];

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "crowd: %s: %s\n", what, strerror(errno));
	exit(1);
}

static _Noreturn void usage(void)
{
	fprintf(stderr,
	    "usage: crowd idle COUNT ADDRESS TARGET\n"
	    "       crowd slow COUNT ADDRESS TARGET BYTES MS\n");
	exit(2);
}

static long number(const char *text, long most)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*end != '\0' || value < 1 || value > most)
		usage();
	return value;
}

static struct sockaddr_in address_of(const char *text)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	const char *colon = strchr(text, ':');
	char host[32];

	if (colon == NULL || (size_t)(colon - text) >= sizeof host)
		usage();
	snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
	address.sin_port = htons((uint16_t)number(colon + 1, 65535));
	if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
		usage();
	return address;
}

/* A connection that has sent its request. */
static int ask(const struct sockaddr_in *address)
{
	struct timeval limit = {.tv_sec = SECONDS};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd == -1)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (connect(fd, (const struct sockaddr *)address, sizeof *address) == -1)
		die("connect");
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
		die("send");
	return fd;
}

/* Reads an answer to its end, which Content-Length tells. */
static void read_answer(int fd)
{
	size_t length = 0, wanted = 0;

	while (wanted == 0 || length < wanted) {
		ssize_t got = recv(fd, bytes + length, sizeof bytes - 1 - length, 0);
		const char *end, *field;

		if (got <= 0)
			die("no answer");
		length += (size_t)got;
		bytes[length] = '\0';
		end = strstr(bytes, "\r\n\r\n");
		if (wanted > 0 || end == NULL)
			continue;
		field = strcasestr(bytes, "\r\nContent-Length:");
		if (field == NULL || field > end)
			die("an answer without a length");
		wanted = (size_t)(end + 4 - bytes) + strtoul(field + 17, NULL, 10);
	}
}

/* Reads from each what is there, at most so much. Returns how many are open. */
static size_t read_some(size_t most)
{
	size_t open = 0;

	for (size_t i = 0; i < count; i++) {
		ssize_t got =
		    recv(fds[i], bytes, most < sizeof bytes ? most : sizeof bytes, MSG_DONTWAIT);

		open += got > 0 || (got == -1 && errno == EAGAIN);
	}
	return open;
}

/* Waits so long, or (-1) for ever. Returns false: standard input has ended. */
static bool goes_on(int ms)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	char byte;

	return poll(&input, 1, ms) == 0 || read(STDIN_FILENO, &byte, 1) == 1;
}

int main(int argc, char **argv)
{
	bool slow = argc == 7 && strcmp(argv[1], "slow") == 0;
	struct rlimit files;
	struct sockaddr_in address;
	size_t most = 1;
	int ms = -1;

	if (!slow && !(argc == 5 && strcmp(argv[1], "idle") == 0))
		usage();
	count = (size_t)number(argv[2], COUNT_MAX);
	address = address_of(argv[3]);
	snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", argv[4]);
	if (slow) {
		most = (size_t)number(argv[5], sizeof bytes);
		ms = (int)number(argv[6], 60000);
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	fds = calloc(count, sizeof *fds);
	if (fds == NULL)
		die("memory");
	for (size_t i = 0; i < count; i++) {
		fds[i] = ask(&address);
		if (!slow)
			read_answer(fds[i]);
	}
	printf("held %zu\n", count);
	fflush(stdout);
	while (goes_on(ms))
		read_some(slow ? most : 0);
	printf("open %zu\n", read_some(most));
	return 0;
}
