/*
 * Who the workers are: the user and group that they run as, and the limits that they live under.
 *
 * Started as root, workers run as `user` (nobody when none is set) and its groups, or as `group`
 * alone instead of the user's own. Started as anybody else, naming another user is an error.
 */
#ifndef LASTCALL_PRIVILEGE_H
#define LASTCALL_PRIVILEGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "account.h"
#include "config.h"

#define PRIVILEGE_GROUPS 256

struct privilege {
	bool change; /* false: the workers stay who the master is */
	struct account account; /* who they are */
	gid_t groups[PRIVILEGE_GROUPS]; /* of privilege_can_enter: gid and the others, or the first
					 * of them */
	int groups_count;
};

/* Finds out, in the master. Returns 0, or -1 with why. */
int privilege_resolve(
    struct privilege *privilege, const struct config *config, char *why, size_t size);

/* Who the workers become, or NULL: they stay who the master is. */
const struct account *privilege_account(const struct privilege *privilege);

/* In a worker, and for all that it starts: core limit and umask. */
void privilege_limit(const struct config *config);

/*
 * Becomes it, in a worker, for good: groups, gid, uid, no_new_privs. Returns 0,
 * or -1 with why; the worker must then end, whatever succeeded.
 */
int privilege_drop(
    const struct privilege *privilege, const struct config *config, char *why, size_t size);

/*
 * Whether the workers may enter a folder that is open here. Says false also when that cannot be
 * found out.
 */
bool privilege_can_enter(const struct privilege *privilege, int folder);

/*
 * Raises the limit of descriptors to what one worker needs, for this process and its children.
 * *max_connections is DIRECTIVE_AUTO or what the configuration demands; on return it is a number:
 * the demanded one, or for auto at most 4096 and what the limit admits. others: descriptors that
 * are not connections. Returns 0, or -1 with why.
 */
int privilege_raise_descriptors(int64_t *max_connections, size_t others, char *why, size_t size);

#endif
