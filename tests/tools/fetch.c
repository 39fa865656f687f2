/*
 * fetch: asks for one file again and again, as fast as it can, and looks closely at what it gets.
 *
 *	fetch [-n TRIES] [-c] [-m] [-f FORBIDDEN] [-p MS] [-b BYTES] ADDRESS TARGET
 *
 *   -c            a connection for each request, else keep-alive
 *   -m            counts bodies that have more than one letter in them (mixed)
 *   -f FORBIDDEN  a text that no answer may have in it
 *   -p MS         waits so long between the head and the rest
 *   -b BYTES      the size of its receive buffer
 *
 * It prints how many answers had which status, how many bodies of 200 were whole and short, with -m
 * how many whole ones were mixed, how many answers were forbidden (leaked), and how many
 * connections were reset or ended without an answer (broken). Status 1 if mixed or leaked.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in address = {.sin_family = AF_INET};
static const char *forbidden;
static int receive_buffer, fd = -1;
static long pause_ms;
static bool fresh, of_one_letter;
static char request[1024], *bytes;
static size_t size = 1 << 20, length; /* of bytes: room, and what is there */
static unsigned long long statuses[600], whole, shorter, mixed, leaked, broken;

static void die(const char *what)
{
	fprintf(stderr, "fetch: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void be_connected(void)
{
	struct timeval limit = {.tv_sec = 20};

	if (fd != -1)
		return;
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd == -1)
		die("socket");
	if (receive_buffer > 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == -1)
		die("connect");
}

static void disconnect(void)
{
	if (fd != -1)
		close(fd);
	fd = -1;
}

/* Receives once. Returns false at the end of the connection. */
static bool more(void)
{
	ssize_t got;

	if (length + 1 >= size) {
		size *= 2;
		bytes = realloc(bytes, size);
		if (bytes == NULL)
			die("memory");
	}
	got = recv(fd, bytes + length, size - length - 1, 0);
	if (got <= 0)
		return false;
	length += (size_t)got;
	bytes[length] = '\0';
	return true;
}

static void judge_body(const char *body, size_t there, size_t wanted)
{
	if (there < wanted) {
		shorter++;
		return;
	}
	whole++;
	for (size_t i = 1; of_one_letter && i < wanted; i++) {
		if (body[i] != body[0]) {
			mixed++;
			return;
		}
	}
}

static void try_once(void)
{
	size_t head, wanted;
	char *end, *field;
	int status;

	be_connected();
	length = 0;
	bytes[0] = '\0';
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) == -1) {
		broken++;
		disconnect();
		return;
	}
	while ((end = strstr(bytes, "\r\n\r\n")) == NULL) {
		if (more())
			continue;
		broken++;
		disconnect();
		return;
	}
	head = (size_t)(end - bytes) + 4;
	status = atoi(bytes + 9);
	field = strcasestr(bytes, "\r\nContent-Length: ");
	wanted = field != NULL ? strtoul(field + 18, NULL, 10) : 0;
	if (pause_ms > 0)
		nanosleep(&(struct timespec){.tv_sec = pause_ms / 1000,
			      .tv_nsec = pause_ms % 1000 * 1000000},
		    NULL);
	while (length < head + wanted && more())
		continue;
	statuses[status > 0 && status < 600 ? status : 0]++;
	if (status == 200)
		judge_body(bytes + head, length - head, wanted);
	if (forbidden != NULL && memmem(bytes, length, forbidden, strlen(forbidden)) != NULL)
		leaked++;
	if (fresh || length < head + wanted ||
	    strcasestr(bytes, "\r\nConnection: close\r\n") != NULL)
		disconnect();
}

int main(int argc, char **argv)
{
	long tries = 1;
	char *colon;
	int option;

	while ((option = getopt(argc, argv, "n:cmf:p:b:")) != -1) {
		if (option == 'n')
			tries = atol(optarg);
		else if (option == 'c')
			fresh = true;
		else if (option == 'm')
			of_one_letter = true;
		else if (option == 'f')
			forbidden = optarg;
		else if (option == 'p')
			pause_ms = atol(optarg);
		else if (option == 'b')
			receive_buffer = atoi(optarg);
		else
			return 2;
	}
	if (argc - optind != 2 || (colon = strrchr(argv[optind], ':')) == NULL) {
		fprintf(stderr,
		    "usage: fetch [-n TRIES] [-c] [-m] [-f FORBIDDEN] [-p MS] [-b BYTES] ADDRESS "
		    "TARGET\n");
		return 2;
	}
	*colon = '\0';
	address.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, argv[optind], &address.sin_addr) != 1)
		die("address");
	snprintf(
	    request, sizeof request, "GET %s HTTP/1.1\r\nHost: fetch\r\n\r\n", argv[optind + 1]);
	bytes = malloc(size);
	if (bytes == NULL)
		die("memory");
	for (long i = 0; i < tries; i++)
		try_once();
	for (int i = 0; i < 600; i++) {
		if (statuses[i] > 0)
			printf("status_%d=%llu\n", i, statuses[i]);
	}
	printf("whole=%llu\nshort=%llu\nmixed=%llu\nleaked=%llu\nbroken=%llu\n", whole, shorter,
	    mixed, leaked, broken);
	free(bytes);
	return mixed > 0 || leaked > 0;
}
