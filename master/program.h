/*
 * The command of a lease: started with the address in its environment, and nothing else of ours but
 * the standard streams.
 */
#ifndef LASTCALL_PROGRAM_H
#define LASTCALL_PROGRAM_H

#include <signal.h>
#include <stddef.h>
#include <sys/types.h>

#include "client.h"

/* What it is told of its port: LASTCALL_ADDR, LASTCALL_HOST, LASTCALL_PORT, LASTCALL_URL. */
struct program_port {
	char address[ADDRESS_TEXT]; /* "127.0.0.1:8080", "[::1]:8080", "unix:/path" */
	char host[ADDRESS_TEXT]; /* without brackets; empty for a Unix socket */
	char port[8]; /* empty for a Unix socket */
	char url[CLIENT_LINE_MAX]; /* empty where there is none */
};

#define PROGRAM_SIGNALS 4

/* How signals were before we began to catch them. */
struct program_signals {
	sigset_t mask;
	bool ignored[PROGRAM_SIGNALS]; /* as nohup(1) has HUP, and a shell INT and QUIT in the
					* background */
};

/*
 * What to connect to for a port that the server bound as address, with its url (NULL: none). A
 * wildcard is no place to connect to: it becomes the loopback address of its family, or where the
 * server is when it is reached over TCP.
 */
void program_port_of(
    struct program_port *port, const struct client *client, const char *address, const char *url);

/* Notes them; call it before signals_open. */
void program_signals_note(struct program_signals *signals);

/* Ignores again those that were ignored. */
void program_signals_restore(const struct program_signals *signals);

/*
 * Starts words (ends with NULL) as execvp does, with default handling of the signals that we catch.
 * Returns the pid, or -1 with errno: of fork(2), or what execvp said.
 */
pid_t program_start(
    char *const *words, const struct program_port *port, const struct program_signals *signals);

#endif
