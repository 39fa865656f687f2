/*
 * Basic authentication of an http service against a file of lines `name:hash`, with hashes as
 * crypt(3) makes them.
 *
 * crypt(3) is slow on purpose: milliseconds, or a quarter of a second for some hashes, in which a
 * worker does nothing else. So what was found out is remembered (a keyed hash of name and password,
 * never these themselves), and what is new waits for its turn: after each call the worker serves
 * for AUTH_SHARE times as long before the next one. A request whose turn would be more than
 * AUTH_WAIT_MS away is told to come again. Whoever is known already never waits, so a storm of
 * guesses costs newcomers time, and nobody else.
 */
#ifndef LASTCALL_AUTH_H
#define LASTCALL_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "credentials.h"

#define AUTH_SHARE 3 /* crypt gets a quarter of a worker's time at most */
#define AUTH_WAIT_MS 4000
#define AUTH_REMEMBERED 512 /* answers of each service and worker */

/* The turns of one worker. */
struct auth_turns {
	int64_t next; /* ms: the first turn that is not taken yet */
	int64_t free; /* ms: when the next call may be made, whoever has a turn */
	int64_t cost; /* ms that the last call took */
};

struct auth; /* the users of a file, and what is remembered */

enum auth_result {
	AUTH_YES,
	AUTH_NO,
	AUTH_LATER, /* *wait ms from now it is this request's turn: call again then */
	AUTH_BUSY, /* too many wait already */
};

/* Whether this build has crypt(3). */
bool auth_available(void);

/*
 * Reads the file of users. Returns it, or NULL with why: it cannot be read, is over 1 MiB, a line
 * is no `name:hash`, a name comes twice, or crypt(3) does not know the hash.
 */
struct auth *auth_open(const char *path, char *why, size_t size);
void auth_close(struct auth *auth); /* NULL is allowed */

/* In each worker, before the first check: makes the key. Returns 0, or -1 with errno. */
int auth_start(struct auth *auth);

/*
 * Whether these are a user's. waited: how long this request has waited for its turn, which is now,
 * in ms; -1: it has none yet.
 */
enum auth_result auth_check(struct auth *auth, struct auth_turns *turns,
    const struct credentials *credentials, int64_t waited, int64_t *wait);

#endif
