/*
 * A client's connection to a control endpoint: finds it, connects, sends requests, reads lines
 * (PROTOCOL). It blocks no longer than it is told to, and keeps at most one line.
 *
 * A caller calls client_open, then client_send and client_line as often as it likes, then
 * client_close.
 */
#ifndef LASTCALL_CLIENT_H
#define LASTCALL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "reply.h"

#define CLIENT_ANSWER_MS 10000 /* until a master has connected and answered what it can at once */
#define CLIENT_LINE_MAX 8192 /* bytes of a line that comes, its end included */
#define CLIENT_WHY 512

struct client {
	int fd; /* -1: not connected */
	char endpoint[ADDRESS_TEXT]; /* as messages show it */
	bool remote; /* over TCP */
	union address_socket peer; /* of a remote one */
	char bytes[CLIENT_LINE_MAX];
	size_t length; /* of what came */
	size_t taken; /* of it, by client_take */
};

/* Where the daemon is, and what to show it. */
struct client_place {
	const char *endpoint; /* -s: a path, unix:PATH or HOST:PORT; NULL: LASTCALL_CONTROL, or the
			       * default one */
	const char *token_file; /* NULL: LASTCALL_TOKEN_FILE */
};

enum client_result {
	CLIENT_OK,
	CLIENT_FAILED,
	CLIENT_MISUSED, /* the endpoint is no address, or over TCP without a token */
	CLIENT_ABSENT, /* nobody is at the default endpoint, and no other was named */
};

/*
 * Reads an endpoint: a path (with a slash, or with nothing of an address), unix:PATH, or a TCP
 * address, which may be a name here. Returns 0, or -1 with *why as address_parse.
 */
int client_endpoint(struct address *address, const char *text, const char **why);

/* Connects, over TCP with the token. deadline as of clock_ms. Returns CLIENT_OK, or why not. */
enum client_result client_open(struct client *client, const struct client_place *place,
    int64_t deadline, char *why, size_t size);

/* Sends a request that was ended. Returns 0, or -1 with why. */
int client_send(
    struct client *client, const struct request *request, int64_t deadline, char *why, size_t size);

/*
 * Waits for the next line and takes it apart; reply points into client, until the next call.
 * Returns 0, or -1 with why: no line until the deadline, the end of the connection, nonsense.
 */
int client_line(
    struct client *client, struct reply *reply, int64_t deadline, char *why, size_t size);

/*
 * The same in two parts, for who waits for other things too. client_take takes a line that came
 * already (1: there is one, 0: not yet, -1: nonsense); client_fill reads once without waiting (1:
 * something came, or nothing did yet; 0: the connection ended, or broke).
 */
int client_take(struct client *client, struct reply *reply, char *why, size_t size);
int client_fill(struct client *client);

void client_close(struct client *client);

#endif
