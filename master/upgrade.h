/*
 * Another program for a server that runs: the binary on disk takes the place of the running one,
 * in the same process, with all that is open and everybody who is in.
 *
 *   IDLE ─asked, no reload under way─► REHEARSING ─it said that it can─► REHEARSED ─execve─► IDLE,
 *    ▲      cannot be run, died, said why not, took too long │              │ failed         there
 *    └───────────────────────────────────────────────────────┴──────────────┘
 *
 *   REHEARSING  A child runs the new program. It is given what the real one would be, makes all of
 *               it again, reads the configuration, starts workers of it up to the point where they
 *               are ready, and ends. It touches nothing that is shared.
 *   REHEARSED   The execve is due, as soon as no signal is left to be heard.
 *   ENDING      A rehearsal that took too long, or of a server that stops, was told to end (TERM,
 *               and KILL after a second). It has bound what is new in the configuration, and
 *               removes the paths of that. From REHEARSING, to IDLE.
 *
 * The process goes on in the new program with the same pid, so workers stay its children, the lock
 * of the pid file its own, and clients connected. What it does first is a reload: new workers of
 * the new program with the configuration on disk.
 *
 * What the new program is told stands in the environment: UPGRADE_VARIABLE=resume:PID:STATE, or
 * rehearse:PID:STATE:RESULT. PID is the process that it is meant for, STATE the descriptor of what
 * carry.h has written, and RESULT where the rehearsal is told: "ok VERSION", "wrong WHY" or
 * "failed WHY", and lines behind it.
 */
#ifndef LASTCALL_UPGRADE_H
#define LASTCALL_UPGRADE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "carry.h"
#include "log.h"
#include "loop.h"
#include "state.h"

#define UPGRADE_VARIABLE "LASTCALL_UPGRADE"
#define UPGRADE_PATH 4096

/* How this process was started, so that it can be again. */
struct invocation {
	char *const *argv; /* NULL: it cannot be upgraded */
	char program[UPGRADE_PATH]; /* absolute; empty: not found, with errno in `error` */
	int error;
};

/*
 * Finds the program by the name that it was started under: where a symbolic link was on the way,
 * an upgrade follows it to where it leads then. Call it before the folder is changed.
 */
void invocation_find(struct invocation *invocation, char *const *argv);

enum upgrade_state { UPGRADE_IDLE, UPGRADE_REHEARSING, UPGRADE_REHEARSED, UPGRADE_ENDING };

struct upgrade {
	/* Set by whoever makes it. */
	const struct invocation *invocation;
	struct parts parts;
	struct log *log;
	struct loop *loop;

	enum upgrade_state state;
	bool asked;
	struct stat file; /* the program as it was rehearsed */
	pid_t child; /* of the rehearsal, which leads a process group; 0: it was reaped */
	int status; /* how it ended */
	struct watch result; /* what it tells */
	char *told;
	size_t told_length;
	int64_t deadline; /* ms */
};

/* Asks for one. Returns false, with errno, when this process cannot be upgraded. */
bool upgrade_ask(struct upgrade *upgrade);

/* Whether one is under way, or its rehearsal lives: a reload has to wait, and so has the end. */
bool upgrade_is_busy(const struct upgrade *upgrade);

/* A child that is no worker has ended. */
void upgrade_reaped(struct upgrade *upgrade, pid_t pid, int status);

/* Does what is due; does not return when the new program takes over. Returns when it wants to be
 * called again. now in ms. */
int64_t upgrade_step(struct upgrade *upgrade, int64_t now);

/* The server stops. upgrade_end is due from then on: it returns when to call it again. */
void upgrade_abandon(struct upgrade *upgrade, int64_t now);
int64_t upgrade_end(struct upgrade *upgrade, int64_t now);

/* ---- in the new program ---- */

/* What the program before this one left. */
struct inheritance {
	bool rehearses;
	int result; /* where a rehearsal is told; -1: none */
	struct carry_in in;
	struct state_sources sources;
};

/*
 * Looks whether this process is one that goes on, or rehearses that. Returns 0: it is not; 1, with
 * *inheritance set; -1 with why in inheritance->in: it is, and cannot.
 */
int inheritance_open(struct inheritance *inheritance);
void inheritance_close(struct inheritance *inheritance);

/* Tells the result of a rehearsal, and ends the process. word: "ok", "wrong" or "failed"; lines may
 * be empty. */
void rehearsal_end(const struct inheritance *inheritance, const char *word, const char *why,
    const char *lines) __attribute__((noreturn));

#endif
