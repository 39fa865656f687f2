/*
 * A launcher: the process that starts the programs of one service for one worker, hears what they
 * say and how they end, and ends them.
 *
 * It is a child of the worker, and small: to start a program stops whoever starts it until the
 * program's file is loaded, and that is not the worker, which has other clients. It may have
 * another user (launcher_open before the worker gives up root); a worker can have it run that
 * program and nothing else. It outlives a worker that is killed for as long as it takes to end the
 * programs.
 *
 *   worker to launcher   START     here is a connection, or the listening sockets of a service
 *                        END       end the process group: TERM, and KILL when its time is over
 *                        (end of file)  end them all, then exit
 *   launcher to worker   READY     it is who it is to be
 *                        STARTED   it runs, with that pid
 *                        FAILED    it could not be started; ECONNRESET: its client has gone
 *                        SAID      it says that it is ready (sd_notify(3))
 *                        ENDED     it has ended, with that status
 *                        LINE      it wrote that line to its standard error
 *                        DROPPED   and so many more, which were too many
 *                        STRAY     a process that it left behind has left its group too
 *
 * A *run* is a program from START to FAILED or ENDED. Its number is the worker's, and is used again
 * only after that. A caller opens a launcher, attaches it to its loop, starts runs, and gives it up
 * with launcher_leave; the struct is freed when the process was reaped.
 */
#ifndef LASTCALL_LAUNCHER_H
#define LASTCALL_LAUNCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "account.h"
#include "address.h"
#include "child.h"
#include "loop.h"

struct worker;
struct launcher;

/* For programs that accept by themselves on the sockets that they are given. */
struct launcher_instances {
	int stop_signal; /* that asks one to end; it is sent to the program, and not to its group */
	bool notify; /* it is given a NOTIFY_SOCKET */
	int64_t leave_delay; /* ms from that signal to KILL, when the worker has died */
};

/* What a launcher is made of. It is copied by the fork, and may be gone in the worker after it. */
struct launcher_plan {
	const struct child_options *options;
	const struct account *account; /* who it becomes; NULL: it stays who the worker is */
	int64_t end_delay; /* ms between TERM and KILL for what a program leaves behind */
	size_t capacity; /* programs at a time */
	const struct launcher_instances *instances; /* NULL: a program gets a connection */
};

/* One program, as its worker sees it. */
struct launcher_run {
	struct launcher_run *next; /* free list */
	void *owner; /* who is told; NULL: nobody any more */
	pid_t pid; /* 0: not started yet */
	bool end_due; /* END could not be sent yet, */
	int32_t end_ms; /* with that delay */
};

/* Who is told, and of what. run is free after failed and ended. */
struct launcher_events {
	void (*started)(void *owner, pid_t pid);
	void (*failed)(void *owner, int error, const char *what);
	/* Of instances that are given a NOTIFY_SOCKET. May be NULL. */
	void (*said_ready)(void *owner);
	/* status as waitpid(2) has it; -1: the launcher has died, and nobody knows. owner may be
	 * NULL: it was ended after its connection. */
	void (*ended)(struct worker *worker, void *owner, int status);
	/* It takes messages again, or it is gone. */
	void (*writable)(struct launcher *launcher);
};

struct launcher {
	struct watch watch;
	struct worker *worker; /* NULL: not attached yet */
	const struct launcher_events *events;
	pid_t pid;
	bool gone; /* the other side has closed: it only has to be reaped */
	bool leaving;
	size_t capacity, running, ends_due;
	struct launcher_run *runs, *vacant;
	size_t touched;
	char name[64]; /* of the program, for the log */
	void *user; /* the caller's */
	struct launcher *next; /* of the worker's list */
};

/* Makes the process. Returns the launcher, or NULL with errno. One that is to be somebody else is
 * waited for, so that it is known to be (EPERM: it is not). */
struct launcher *launcher_open(const struct launcher_plan *plan);

/* Joins the worker's loop. Returns 0, or -1 with errno. */
int launcher_attach(
    struct launcher *launcher, struct worker *worker, const struct launcher_events *events);

/*
 * Gives it a connection, which stays the caller's too. number: of the connections that this client
 * has. Returns the run, or NULL with errno: EAGAIN, it has no room now and writable will be called;
 * EPIPE, it is gone; ENOBUFS, ENOMEM or ETOOMANYREFS, to be tried again.
 */
struct launcher_run *launcher_start(struct launcher *launcher, void *owner, int connection,
    const union address_socket *peer, uint32_t number);

/*
 * The same for an instance, which gets copies of count listening sockets (at most CHILD_SOCKETS)
 * with those names ("web:web", LISTEN_FDNAMES).
 */
struct launcher_run *launcher_start_instance(
    struct launcher *launcher, void *owner, const int *sockets, size_t count, const char *names);

/* Has a program's group ended: TERM now, KILL after delay ms. An instance gets its stop signal
 * alone, and its group the KILL; asked again with less it is killed earlier. */
void launcher_end(struct launcher *launcher, struct launcher_run *run, int64_t delay);

/* No more is to be started: it exits when nothing of its programs is left. */
void launcher_leave(struct launcher *launcher);

/* For the worker that ends: all leave. Returns whether one is still there; *next is then when to
 * look again. */
bool launchers_linger(struct worker *worker, int64_t *next);

/* Frees those that were reaped. Not from within a callback of one. Returns when to call again. */
int64_t launchers_sweep(struct worker *worker);

#endif
