/*
 * pieces: makes requests up, good ones and such with faults at random places, sends each whole and
 * then in random pieces, and wants the same answers: whether the server takes the bytes for the
 * same requests may not depend on how they come.
 *
 *	pieces [-n COUNT] [-s SEED] ADDRESS
 *
 * After each the client shuts its side and reads to the end. Prints what differs, with the seed,
 * and how many answers with each status there were. Exit status: 0 no difference, 1 some, 2 usage.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MAX 65536
#define ANSWER_MAX 262144
#define TRIES_MAX 20 /* to talk in time; what the last one said counts, however long it took */
#define DIFFERENCES_MAX 5 /* after so many there is no need for more */

/* A '~' stands for eight KiB, about what a head may have. */
static const char *const seeds[] = {
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /1k.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HEAD /no HTTP/1.1\r\nHost: x\r\nX: y\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET http://x/?q HTTP/1.1\r\nHost: y\r\nConnection: keep-alive\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
     "5;a=\"b\";c\r\nhello\r\n0\r\nX: y\r\n\r\n"),
    "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "GET /~ HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nX: ~\r\n\r\n",
};

static const char *const faults[] = {"\r", "\n", "\r\n", " ", "\t", "0", "f", "ffff", ";", ":",
    "\"", "\\", "=", ",", "/", "%", "..", "X: y\r\n", "Host: x\r\n", "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n", "Connection: close\r\n"};

struct bytes {
	char at[ANSWER_MAX];
	size_t length;
};

static struct sockaddr_in address;
static uint64_t state;

static size_t below(size_t limit)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (size_t)(state >> 33) % limit;
}

static void die(const char *what)
{
	fprintf(stderr, "pieces: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* Puts length bytes in the place of `gone` ones at `at`. */
static void splice(struct bytes *in, size_t at, size_t gone, const char *bytes, size_t length)
{
	if (in->length + length > REQUEST_MAX)
		return;
	if (gone > in->length - at)
		gone = in->length - at;
	memmove(in->at + at + length, in->at + at + gone, in->length - at - gone);
	memcpy(in->at + at, bytes, length);
	in->length += length - gone;
}

static void add_seed(struct bytes *request)
{
	static char filler[8192];

	memset(filler, 'z', sizeof filler);
	for (const char *at = seeds[below(sizeof seeds / sizeof seeds[0])]; *at != '\0'; at++) {
		if (*at == '~')
			splice(request, request->length, 0, filler, 8100 + below(92));
		else
			splice(request, request->length, 0, at, 1);
	}
}

static void make(struct bytes *request)
{
	request->length = 0;
	for (size_t i = below(4) + 1; i > 0; i--)
		add_seed(request);
	for (size_t i = below(4); i > 0; i--) {
		size_t at = below(request->length + 1), kind = below(10);
		const char *fault = faults[below(sizeof faults / sizeof faults[0])];
		char byte = (char)below(256);

		if (kind < 4)
			splice(request, at, 0, fault, strlen(fault));
		else if (kind < 7)
			splice(request, at, 1 + below(3), "", 0);
		else if (kind < 9)
			splice(request, at, 1, &byte, 1);
		else
			request->length = at;
	}
}

/* Sends it in pieces of at most `most` bytes (0: whole), and reads to the end. */
static void talk(const struct bytes *request, size_t most, struct bytes *answer)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval limit = {.tv_sec = 30};
	ssize_t moved = 0;

	if (fd == -1 || connect(fd, (struct sockaddr *)&address, sizeof address) == -1)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	for (size_t at = 0; at < request->length; at += (size_t)moved) {
		size_t piece = request->length - at;

		if (most > 0 && piece > most)
			piece = 1 + below(most);
		moved = send(fd, request->at + at, piece, MSG_NOSIGNAL);
		if (moved == -1)
			break; /* it was refused, and the server is gone; the answer says with what
				*/
		if (most > 0)
			sched_yield();
	}
	shutdown(fd, SHUT_WR);
	answer->length = 0;
	while ((moved = recv(fd, answer->at + answer->length, ANSWER_MAX - answer->length, 0)) > 0)
		answer->length += (size_t)moved;
	if (moved == -1)
		answer->length += (size_t)snprintf(answer->at + answer->length,
		    ANSWER_MAX - answer->length, "(%s)", strerror(errno));
	close(fd);
}

static int64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* Talks in less than a second, which is before any deadline of the server's, if need be in a later
 * try: on a busy machine many small pieces can take seconds. */
static void talk_in_time(const struct bytes *request, size_t most, struct bytes *answer)
{
	for (int tries = 0; tries < TRIES_MAX; tries++) {
		int64_t began = milliseconds();

		talk(request, most, answer);
		if (milliseconds() - began < 1000)
			return;
	}
}

/* Makes the dates in it all the same, and counts the statuses. */
static void settle(struct bytes *answer, unsigned *statuses)
{
	char *end = answer->at + answer->length, *at = answer->at, digits[4] = "";

	while ((at = memmem(at, (size_t)(end - at), "\r\nDate: ", 8)) != NULL && end - at > 37)
		memset(at += 8, 'D', 29);
	for (at = answer->at; (at = memmem(at, (size_t)(end - at), "HTTP/1.1 ", 9)) != NULL;) {
		at += 9;
		if (end - at >= 3) {
			memcpy(digits, at, 3);
			statuses[strtoul(digits, NULL, 10) % 600]++;
		}
	}
}

static void show(const char *label, const struct bytes *bytes)
{
	printf("  %s (%zu bytes): ", label, bytes->length);
	for (size_t i = 0; i < bytes->length && i < 1500; i++) {
		unsigned char byte = (unsigned char)bytes->at[i];

		if (byte >= 0x20 && byte < 0x7f && byte != '\\')
			putchar(byte);
		else
			printf("\\x%02x", byte);
	}
	printf("\n");
}

static bool set_address(const char *text)
{
	char host[64];
	unsigned port;

	address.sin_family = AF_INET;
	if (sscanf(text, "%63[^:]:%u", host, &port) != 2 || port > 65535)
		return false;
	address.sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &address.sin_addr) == 1;
}

int main(int argc, char **argv)
{
	static struct bytes request, whole, cut;
	static unsigned statuses[600];
	unsigned long count = 1000, seed = (unsigned long)time(NULL), differ = 0;
	int option;

	while ((option = getopt(argc, argv, "+n:s:")) != -1) {
		if (option == 'n')
			count = strtoul(optarg, NULL, 10);
		else if (option == 's')
			seed = strtoul(optarg, NULL, 10);
		else
			exit(2);
	}
	if (argc - optind != 1 || !set_address(argv[optind])) {
		fprintf(stderr, "usage: pieces [-n COUNT] [-s SEED] ADDRESS\n");
		exit(2);
	}
	for (unsigned long i = 0; i < count && differ < DIFFERENCES_MAX; i++) {
		/* Each by a seed of its own, so that one that differs can be had alone. */
		state = seed + i;
		below(2);
		make(&request);
		talk_in_time(&request, 0, &whole);
		talk_in_time(&request, request.length > 1000 ? 2000 : below(2) == 0 ? 1 : 60, &cut);
		settle(&whole, statuses);
		settle(&cut, statuses);
		if (whole.length == cut.length && memcmp(whole.at, cut.at, whole.length) == 0)
			continue;
		differ++;
		printf("another answer in pieces (-n 1 -s %lu)\n", seed + i);
		show("request", &request);
		show("whole", &whole);
		show("in pieces", &cut);
	}
	for (int i = 0; i < 600; i++) {
		if (statuses[i] > 0)
			printf("status_%d=%u\n", i, statuses[i]);
	}
	printf("differ=%lu\n", differ);
	return differ > 0;
}
