/*
 * Drops what the workers must not have. Each step is checked, and a failure is fatal to the worker
 * (a server that goes on as root because a call failed is the oldest hole there is).
 */
#include "privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "account.h"
#include "directive.h"
#include "system.h"

#define CONNECTIONS_AUTO 4096
#define CONNECTIONS_LEAST 16

static void list_groups(struct privilege *privilege)
{
	privilege->groups[0] = privilege->account.gid;
	privilege->groups_count = privilege->account.alone ? 1 : PRIVILEGE_GROUPS;
	if (!privilege->account.alone &&
	    getgrouplist(privilege->account.user, privilege->account.gid, privilege->groups,
		&privilege->groups_count) == -1)
		privilege->groups_count = PRIVILEGE_GROUPS;
}

int privilege_resolve(
    struct privilege *privilege, const struct config *config, char *why, size_t size)
{
	*privilege = (struct privilege){.account = {.uid = geteuid(), .gid = getegid()}};
	if (geteuid() != 0 && config->user == NULL && config->group == NULL)
		return 0;
	if (account_of_workers(&privilege->account, config->user, config->group, why, size) == -1)
		return -1;
	privilege->change = geteuid() == 0;
	if (privilege->change) {
		list_groups(privilege);
		return 0;
	}
	if (config->user != NULL && privilege->account.uid != geteuid()) {
		snprintf(why, size, "user \"%s\": only root can run its workers as somebody else",
		    config->user);
		return -1;
	}
	if (config->group != NULL && privilege->account.gid != getegid()) {
		snprintf(why, size, "group \"%s\": only root can run its workers in another group",
		    config->group);
		return -1;
	}
	return 0;
}

const struct account *privilege_account(const struct privilege *privilege)
{
	return privilege->change ? &privilege->account : NULL;
}

void privilege_limit(const struct config *config)
{
	rlim_t core =
	    config->core_limit == DIRECTIVE_AUTO ? RLIM_INFINITY : (rlim_t)config->core_limit;
	struct rlimit limit;

	/* What cannot be raised is left where it is. */
	if (getrlimit(RLIMIT_CORE, &limit) == 0) {
		if (geteuid() == 0 && (core > limit.rlim_max || core == RLIM_INFINITY))
			limit.rlim_max = core;
		limit.rlim_cur = core < limit.rlim_max ? core : limit.rlim_max;
		setrlimit(RLIMIT_CORE, &limit);
	}
	umask((mode_t)config->umask);
}

int privilege_drop(
    const struct privilege *privilege, const struct config *config, char *why, size_t size)
{
	if (privilege->change && account_become(&privilege->account) == -1) {
		snprintf(why, size, "cannot become user \"%s\": %s", privilege->account.user,
		    strerror(errno));
		return -1;
	}
	if (config->core_limit != 0)
		system_allow_core();
	if (system_no_new_privileges() == -1) {
		snprintf(why, size, "cannot set no_new_privs: %s", strerror(errno));
		return -1;
	}
	return 0;
}

/* Becomes the workers' user, or itself again, for a question: the saved uid stays. */
static int pose(uid_t uid, gid_t gid, size_t count, const gid_t *groups)
{
	/* As root only; so the user is the last to be given up and the first to be taken back. */
	if (uid == 0 && seteuid(0) == -1)
		return -1;
	if (setgroups(count, groups) == -1 || setegid(gid) == -1)
		return -1;
	return uid == 0 ? 0 : seteuid(uid);
}

bool privilege_can_enter(const struct privilege *privilege, int folder)
{
	gid_t own[PRIVILEGE_GROUPS];
	gid_t own_gid = getegid();
	int own_count;
	bool can;

	if (!privilege->change || privilege->account.uid == 0)
		return faccessat(folder, ".", X_OK, AT_EACCESS) == 0;
	own_count = getgroups(PRIVILEGE_GROUPS, own);
	if (own_count == -1)
		return false;
	can = pose(privilege->account.uid, privilege->account.gid, (size_t)privilege->groups_count,
		  privilege->groups) == 0 &&
	    faccessat(folder, ".", X_OK, AT_EACCESS) == 0;
	/* A master that is not itself again could not go on as what it is. */
	if (pose(0, own_gid, (size_t)own_count, own) == -1)
		abort();
	return can;
}

int privilege_raise_descriptors(int64_t *max_connections, size_t others, char *why, size_t size)
{
	bool demanded = *max_connections != DIRECTIVE_AUTO;
	int64_t connections = demanded ? *max_connections : CONNECTIONS_AUTO;
	/* A connection may have a file open beside it. */
	rlim_t need = (rlim_t)connections * 2 + others;
	struct rlimit limit, raised;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		return snprintf(why, size, "descriptor limit: %s", strerror(errno)), -1;
	raised = limit;
	if (raised.rlim_max != RLIM_INFINITY && raised.rlim_max < need)
		raised.rlim_max = need;
	if (raised.rlim_cur != RLIM_INFINITY && raised.rlim_cur < need)
		raised.rlim_cur = need;
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
		*max_connections = connections;
		return 0;
	}
	limit.rlim_cur = limit.rlim_max; /* as far as we may */
	setrlimit(RLIMIT_NOFILE, &limit);
	connections = limit.rlim_max > others ? (int64_t)((limit.rlim_max - others) / 2) : 0;
	if (demanded || connections < CONNECTIONS_LEAST) {
		int64_t least = demanded ? *max_connections : CONNECTIONS_LEAST;
		int n = snprintf(why, size,
		    "max-connections %lld needs %llu descriptors and the limit is %llu: raise it "
		    "(ulimit -Hn, "
		    "LimitNOFILE=)",
		    (long long)least, (unsigned long long)least * 2 + others,
		    (unsigned long long)limit.rlim_max);

		if (connections > 0 && n > 0 && (size_t)n < size)
			snprintf(why + n, size - (size_t)n, " or lower max-connections to %lld",
			    (long long)connections);
		return -1;
	}
	*max_connections = connections;
	return 0;
}
