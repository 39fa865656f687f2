/* Users, and becoming one; see account.h. */
#include "account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int account_find(struct account *account, const char *user, char *why, size_t size)
{
	const struct passwd *entry;

	errno = 0;
	entry = getpwnam(user);
	if (entry == NULL) {
		snprintf(why, size, "user \"%.64s\": %s", user,
		    errno ? strerror(errno) : "there is no such user");
		return -1;
	}
	*account = (struct account){.uid = entry->pw_uid, .gid = entry->pw_gid};
	snprintf(account->user, sizeof account->user, "%s", user);
	return 0;
}

int account_of_workers(
    struct account *account, const char *user, const char *group, char *why, size_t size)
{
	const struct group *entry;

	if (account_find(account, user != NULL ? user : "nobody", why, size) == -1)
		return -1;
	if (group == NULL)
		return 0;
	entry = getgrnam(group);
	if (entry == NULL) {
		snprintf(why, size, "group \"%.64s\": there is no such group", group);
		return -1;
	}
	account->gid = entry->gr_gid;
	account->alone = true;
	return 0;
}

static int take_groups(const struct account *account)
{
	return account->alone ? setgroups(1, &account->gid)
			      : initgroups(account->user, account->gid);
}

int account_pose(const struct account *account)
{
	if (take_groups(account) == -1 || setegid(account->gid) == -1)
		return -1;
	return seteuid(account->uid);
}

int account_become(const struct account *account)
{
	if (take_groups(account) == -1 || setgid(account->gid) == -1 || setuid(account->uid) == -1)
		return -1;
	/* Not one of them may be undone. */
	if (account->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0)) {
		errno = EPERM;
		return -1;
	}
	return 0;
}
