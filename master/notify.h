/*
 * What a service manager is told of the server, as sd_notify(3) describes it: one datagram for each
 * message, to the Unix socket that NOTIFY_SOCKET names. Spoken directly; there is no library.
 *
 *   STARTING ─► READY ◄─► RELOADING        any ─► STOPPING
 *
 * It is a courtesy and never in the way: nothing here blocks, and nothing fails the server. A
 * message that finds the socket full is kept and sent later, in order; a socket that is gone is
 * told nothing until it is there again.
 *
 * Where there is no NOTIFY_SOCKET every function returns at once.
 */
#ifndef LASTCALL_NOTIFY_H
#define LASTCALL_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "log.h"

#define NOTIFY_MESSAGE 512 /* the longest, with its NUL */
#define NOTIFY_KEPT 16 /* messages that wait for room */

enum notify_state { NOTIFY_STARTING, NOTIFY_READY, NOTIFY_RELOADING, NOTIFY_STOPPING };

/* What STATUS= says, in numbers. */
struct notify_status {
	const char *state; /* a constant word */
	size_t workers, listeners;
};

/* What a message must outlive an execve is all of it but fd and log. */
struct notify {
	int fd; /* -1: nobody wants to hear */
	struct sockaddr_un to;
	socklen_t length; /* of to */
	struct log *log; /* set by whoever makes the server */
	enum notify_state state;
	int64_t watchdog; /* ms between signs of life; 0: none are wanted */
	int64_t beat_at, extend_at, status_at, retry_at; /* ms: when each may be sent next */
	bool silent; /* it cannot be reached, and the log knows */
	struct notify_status told; /* the last status, */
	bool told_stale; /* which is to be told again whatever it says */
	char failure[160]; /* of the last reload, or empty */
	char kept[NOTIFY_KEPT][NOTIFY_MESSAGE]; /* a ring: what waits, the oldest first */
	unsigned kept_first, kept_count;
};

/*
 * Takes what the environment tells, NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and unsets them:
 * no worker and no program of ours speaks for the server. Returns 0, or -1 with why: they say
 * nonsense; nobody is told anything then.
 */
int notify_open(struct notify *notify, char *why, size_t size);
void notify_close(struct notify *notify); /* also in a child, for itself */

/* Whether somebody wants to hear. */
bool notify_listens(const struct notify *notify);

/* The workers serve: the first time, and this is our pid. */
void notify_ready(struct notify *notify);

/* A reload begins; it has ended, well (why NULL) or not: the server is ready in both cases. */
void notify_reloading(struct notify *notify);
void notify_reloaded(struct notify *notify, const char *why);

/* The last call. Nothing but status and time is told after it. */
void notify_stopping(struct notify *notify);

/*
 * Tells what is due. moving: it starts, reloads or drains, and there is progress, or grace left, so
 * it wants more time. alive: the workers' hearts beat. Returns when to call again; CLOCK_NEVER.
 */
int64_t notify_step(struct notify *notify, const struct notify_status *status, bool moving,
    bool alive, int64_t now);

/*
 * Has a socket stored under a name, or all that are stored under it removed. Returns 0, or -1 with
 * errno: EAGAIN, there is no room now; else it cannot be told.
 */
int notify_store(struct notify *notify, const char *name, int fd);
int notify_unstore(struct notify *notify, const char *name);

#endif
