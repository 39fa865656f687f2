/*
 * The channel between the master and one worker: whole messages over a socket pair.
 *
 *   worker to master   READY      everything is open, it serves
 *                      ENOUGH     it has had its max-requests and would be replaced
 *                      RELEASED   it has closed its copy of the listener `index`
 *   master to worker   RETIRE     leave the listeners to the others, finish what you have, exit
 */
#ifndef LASTCALL_CHANNEL_H
#define LASTCALL_CHANNEL_H

#include <stdint.h>

enum channel_type {
	CHANNEL_READY = 1,
	CHANNEL_ENOUGH,
	CHANNEL_RELEASED,
	CHANNEL_RETIRE,
};

struct channel_message {
	uint32_t type; /* enum channel_type, to be checked: the other side is not trusted */
	uint32_t index; /* RELEASED: of the listener */
};

/* Sends one message. Returns 0, or -1 with errno (EAGAIN: the other side does not read; EPIPE: it
 * is gone). */
int channel_send(int fd, enum channel_type type, uint32_t index);

/* Takes one message. Returns 1, 0 when there is none now, or -1 when the other side is gone or says
 * nonsense. */
int channel_receive(int fd, struct channel_message *message);

#endif
