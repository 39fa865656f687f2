/*
 * The channel between the master and one worker: whole messages over a socket pair.
 *
 *   worker to master   READY      everything is open, it serves
 *                      ENOUGH     it has had its max-requests, or more than its max-memory
 *                                 (index), and would be replaced
 *                      RELEASED   it has closed its copy of the listener index
 *                      REOPENED   all before ANSWER index is done: it writes to new files only
 *                      KEPT       the same, but it could not take all of them
 *
 *   master to worker   SERVE      accept from now on, for a worker that was told to wait
 *                      RETIRE     leave the listeners to the others, finish, exit
 *                      LISTEN     here is another listener, its descriptor and its service
 *                      LOOK       the word of the listener index says something new
 *                      CUT        the time to finish is over: cut what is open, exit
 *                      REOPEN     a log file was opened anew: its path, and its descriptor
 *                      ANSWER     say so, REOPENED or KEPT, when all before this is done
 *
 * The master never waits for a worker: what it cannot send now it sends later, and the words are
 * the truth that a LOOK only points to.
 */
#ifndef LASTCALL_CHANNEL_H
#define LASTCALL_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum channel_type {
	CHANNEL_READY = 1,
	CHANNEL_ENOUGH,
	CHANNEL_RELEASED,
	CHANNEL_SERVE,
	CHANNEL_RETIRE,
	CHANNEL_LISTEN,
	CHANNEL_LOOK,
	CHANNEL_CUT,
	CHANNEL_REOPENED,
	CHANNEL_KEPT,
	CHANNEL_REOPEN,
	CHANNEL_ANSWER,
};

enum { ENOUGH_REQUESTS, ENOUGH_MEMORY };

#define CHANNEL_WORDS_MAX 8192
#define CHANNEL_FDS_MAX 8

/* Of LISTEN: what a worker that was forked earlier must know of the listener. */
struct channel_listen {
	uint32_t kind; /* enum listener_kind */
	uint32_t in_place; /* 0: service is one of the configuration, by its place in the list */
	uint32_t
	    service; /* else its kind's place in service_kinds, made of words and descriptors */
	uint32_t block; /* 0: none, else 1 + its place in the configuration's list */
	uint32_t words_size; /* of words, each with its NUL */
};

struct channel_message {
	uint32_t type; /* enum channel_type, to be checked: the other side is not trusted */
	uint32_t index; /* of the listener, the number of an ANSWER, what there is ENOUGH of */
	struct channel_listen listen; /* LISTEN; of REOPEN words_size alone */
	char words[CHANNEL_WORDS_MAX]; /* LISTEN; REOPEN: the path */
	int fds[CHANNEL_FDS_MAX]; /* LISTEN: the listener's, then its service's; REOPEN: the file's.
				   * Owned by the receiver */
	int fds_count; /* fewer than were sent, or none, at the receiver's limit of descriptors */
};

/* Sends one message. Returns 0, or -1 with errno (EAGAIN: the other side does not read; EPIPE: it
 * is gone). */
int channel_send(int fd, enum channel_type type, uint32_t index);

/*
 * Sends a LISTEN or a REOPEN: message has type, index, listen, words and fds (not owned) set.
 * Returns 0, or -1 as channel_send.
 */
int channel_send_fds(int fd, const struct channel_message *message);

/*
 * Takes one message. Returns 1, 0 when there is none now, or -1 when the other side is gone or says
 * nonsense (errno EPROTO). Descriptors are taken only where `with_fds` says that they are wanted;
 * else those that are sent along are closed by the kernel.
 */
int channel_receive(int fd, struct channel_message *message, bool with_fds);

#endif
