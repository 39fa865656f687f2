/*
 * A daemon for one lease alone: `lease` starts it where none is running, and it ends with the
 * lease.
 *
 * It is a child of the client and a whole server without listeners, in a session of its own, so
 * that what the terminal sends reaches the client and its command only. Its endpoint is a socket in
 * a folder that only its user may enter; once the client is connected, the path is gone and nobody
 * else can come. It ends as on TERM when the client closes the lifeline, which the client's death
 * does too, however it dies. Each of the two removes the path and the folder, so that nothing is
 * left whichever is killed.
 */
#ifndef LASTCALL_PRIVATE_H
#define LASTCALL_PRIVATE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "client.h"

struct private_server {
	pid_t pid; /* 0: there is none */
	int lifeline; /* it lives as long as this is open; -1: it was told to end */
};

/*
 * Starts one and connects to it. Call it before signals_open. deadline as of clock_ms. Returns 0,
 * or -1 with why (it has then said on standard error what it could not do itself), and it ends.
 */
int private_start(
    struct private_server *server, struct client *client, int64_t deadline, char *why, size_t size);

/*
 * Has it end: orderly, as on TERM. signals is what signals_open returned, with CHLD among those
 * that are caught; -1 waits without looking at signals. INT, TERM, HUP and QUIT meanwhile cut what
 * it still serves. Returns when it is gone.
 */
void private_end(struct private_server *server, int signals);

#endif
