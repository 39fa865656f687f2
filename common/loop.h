/*
 * The event loop of both processes: descriptors in, calls out. loop_epoll.c and loop_poll.c are
 * twins.
 *
 * A caller embeds a struct watch in what it watches for, sets fd and ready, and calls loop_watch.
 * In ready() it may watch, change, forget and close anything, itself and others that are about to
 * be reported too.
 */
#ifndef LASTCALL_LOOP_H
#define LASTCALL_LOOP_H

#include <stddef.h>
#include <stdint.h>

enum {
	LOOP_READ = 1, /* readable, end of file, or an error to be read */
	LOOP_WRITE = 2,
	LOOP_HANGUP = 4, /* reported, never asked for: both directions are over */
	LOOP_EXCLUSIVE =
	    8, /* with LOOP_READ, for a shared listener: wake one process, not all (epoll only) */
	LOOP_EDGE = 16, /* with LOOP_READ, for a TCP socket: reported when bytes or the end come,
			   and not again for the same ones (epoll only); see loop_again */
	LOOP_MARK = 32, /* reported with that, never asked for: the end has come, or urgent data */
};

struct watch {
	int fd;
	void (*ready)(struct watch *watch, unsigned events);
	unsigned events; /* what is asked for now; 0: not watched. Owned by the loop */
	unsigned place; /* owned by the loop */
};

struct loop;

/* The struct that a member is part of. */
#define container_of(pointer, type, member)                                                        \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* "epoll" or "poll". */
extern const char *const loop_name;

/* Returns a loop, or NULL with errno. capacity: how many descriptors at most. */
struct loop *loop_open(size_t capacity);
void loop_close(struct loop *loop);

/*
 * Asks for events on watch->fd, from now on and as long as they last (but see LOOP_EDGE); 0 takes
 * it out. Returns 0, or -1 with errno (ENOSPC, ENOMEM, EPERM for a file that cannot be waited for).
 */
int loop_watch(struct loop *loop, struct watch *watch, unsigned events);

/*
 * For who has LOOP_EDGE and did not read until there was no more: reports it again if it is ready
 * now. There was no more when a read gave less than it had room for (epoll(7)), unless LOOP_MARK
 * was reported: a read stops before the end and before urgent data, and what is behind is not
 * reported a second time. Returns as loop_watch.
 */
int loop_again(struct loop *loop, struct watch *watch);

/*
 * Takes a watch out whose descriptor only this process has and closes right after this call (that
 * saves a system call). Nobody else may have a copy: neither a process that was sent it, nor a
 * child that was forked and has not closed it yet; else use loop_watch with 0. Events of it that
 * are on their way are dropped.
 */
void loop_forget(struct loop *loop, struct watch *watch);

/*
 * Waits until something is ready or timeout_ms are over (negative: for ever), sets *now to
 * clock_ms(), then makes the calls: what they count from now is counted from after the wait. A
 * signal ends the wait early. Returns 0, or -1 with errno when waiting itself failed.
 */
int loop_wait(struct loop *loop, int64_t timeout_ms, int64_t *now);

#endif
