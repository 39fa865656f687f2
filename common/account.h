/*
 * Who a process becomes for good: the one way in which anything of ours gives up root. Workers and
 * the processes that start programs both go through it.
 */
#ifndef LASTCALL_ACCOUNT_H
#define LASTCALL_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct account {
	char user[64];
	uid_t uid;
	gid_t gid;
	bool alone; /* gid alone, without the user's other groups */
};

/* Finds a user by name. Returns 0, or -1 with why ("there is no such user"). */
int account_find(struct account *account, const char *user, char *why, size_t size);

/*
 * Who the workers of a configuration are that is started as root: `user` (NULL: nobody), in its
 * groups, or in `group` alone. Returns 0, or -1 with why.
 */
int account_of_workers(
    struct account *account, const char *user, const char *group, char *why, size_t size);

/*
 * Becomes it: groups, gid, uid, in that order, and makes sure that there is no way back. Returns 0,
 * or -1 with errno; the process must then end, whatever succeeded.
 */
int account_become(const struct account *account);

/*
 * Becomes it in its effective ids alone, for a process that only looks: that user may not signal
 * it. Returns 0, or -1 with errno.
 */
int account_pose(const struct account *account);

#endif
