/*
 * Opens log files, perhaps as root and perhaps in a folder where others may write, and again
 * whenever somebody rotates them. Who may write to a folder can put a link in the place of a log,
 * and have us write to any file of ours (CVE-2016-1247). So the path is walked from folder to
 * folder, and of what is found on the way:
 *
 *   - a symbolic link is followed if it is root's or ours, or in a folder of root's or ours that
 *     nobody else may write to;
 *   - in any other folder a file with a second name is refused, for it may be a link to another.
 *
 * What is below /dev and /proc is opened as it is: `/dev/stdout` leads to no path that could be
 * walked.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "descriptor.h"

#ifndef PATH_MAX
#define PATH_MAX 4096
#endif
#define LINKS_MAX 40

static const int log_flags =
    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW;

/* To look a name up in a folder one need not be able to read it. */
#if defined O_PATH
static const int folder_flags = O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
#elif defined O_SEARCH
static const int folder_flags = O_SEARCH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
#else
static const int folder_flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
#endif

/* A path that is being walked. */
struct walk {
	int folder; /* where we are */
	char rest[PATH_MAX]; /* the path from there */
	int links; /* followed so far */
};

static bool is_ours(const struct stat *info)
{
	return info->st_uid == 0 || info->st_uid == geteuid();
}

/* Whether nobody but root and us can make or rename anything there. */
static bool is_safe(const struct stat *folder)
{
	return is_ours(folder) && !(folder->st_mode & (S_IWGRP | S_IWOTH));
}

static bool is_special(const char *path)
{
	return (strncmp(path, "/dev/", 5) == 0 && strncmp(path, "/dev/shm/", 9) != 0) ||
	    strncmp(path, "/proc/", 6) == 0;
}

static int enter(struct walk *walk, int from, const char *name)
{
	int folder = openat(from, name, folder_flags);

	if (folder == -1)
		return -1;
	fd_close(&walk->folder);
	walk->folder = folder;
	return 0;
}

/* Splits the first name off the rest; *rest is then what follows it, "" for the last one. */
static char *next_name(char *path, char **rest)
{
	char *name = path + strspn(path, "/");

	*rest = name + strcspn(name, "/");
	if (**rest != '\0')
		*(*rest)++ = '\0';
	*rest += strspn(*rest, "/");
	return name;
}

/*
 * Reads a link, and what it is. Where a link can be held it cannot be exchanged between the two.
 * Returns its length, or -1 with errno.
 */
static ssize_t read_link(int folder, const char *name, char *target, size_t size, struct stat *info)
{
#ifdef O_PATH
	int link = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	ssize_t length = -1;

	if (link != -1 && fstat(link, info) == 0)
		length = readlinkat(link, "", target, size);
	fd_close(&link);
	return length;
#else
	return fstatat(folder, name, info, AT_SYMLINK_NOFOLLOW) == -1
	    ? -1
	    : readlinkat(folder, name, target, size);
#endif
}

/*
 * Whether a name leads to a file, or is a link, that we hold, and the file has no other name. Asked
 * of the name, and after the open: who has put another name of a file there can remove it when it
 * was opened, and of the descriptor it would seem then that the file never had two.
 */
static bool is_only_name(int folder, const char *name, const struct stat *held)
{
	struct stat named;

	return held->st_nlink == 1 && fstatat(folder, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	    named.st_dev == held->st_dev && named.st_ino == held->st_ino && named.st_nlink == 1;
}

/* Whether a link was made by root or us, for certain. Where it cannot be held, only a sticky bit
 * keeps others from exchanging it. A second name may have been given to it by anybody. */
static bool is_our_link(
    const struct walk *walk, const char *name, const struct stat *folder, const struct stat *link)
{
#ifdef O_PATH
	const bool held = true;
#else
	const bool held = false;
#endif

	return is_ours(link) && is_only_name(walk->folder, name, link) &&
	    (held || (is_ours(folder) && folder->st_mode & S_ISVTX));
}

/* Puts where the link leads in front of the rest. Returns 0, or -1 with errno: ELOOP, it is not to
 * be followed; ENOTDIR, it is no link. */
static int follow(struct walk *walk, const char *name, const char *rest)
{
	char target[PATH_MAX];
	struct stat folder, link;
	size_t rest_length = strlen(rest);
	ssize_t length = read_link(walk->folder, name, target, sizeof target, &link);

	if (length == -1) {
		if (errno == EINVAL || errno == ENOENT)
			errno = ENOTDIR;
		return -1;
	}
	if (fstat(walk->folder, &folder) == -1)
		return -1;
	if (++walk->links > LINKS_MAX ||
	    !(is_safe(&folder) || is_our_link(walk, name, &folder, &link))) {
		errno = ELOOP;
		return -1;
	}
	if ((size_t)length + 1 + rest_length >= sizeof target) {
		errno = ENAMETOOLONG;
		return -1;
	}
	/* The rest stands in walk->rest itself. */
	memcpy(target + length + 1, rest, rest_length + 1);
	target[length] = rest_length > 0 ? '/' : '\0';
	memcpy(walk->rest, target, (size_t)length + 1 + rest_length + 1);
	return 0;
}

/* Opens the last name. Returns the descriptor, or -1 with errno (ELOOP: it is a link). */
static int open_last(const struct walk *walk, const char *name)
{
	struct stat folder, info;
	int fd = openat(walk->folder, name, log_flags, 0640);

	if (fd == -1) {
#ifdef EMLINK
		if (errno == EMLINK) /* what some systems say for ELOOP */
			errno = ELOOP;
#endif
		return -1;
	}
	if (fstat(walk->folder, &folder) == -1 || fstat(fd, &info) == -1) {
		fd_close(&fd);
		return -1;
	}
	if (!is_safe(&folder) && S_ISREG(info.st_mode) &&
	    !is_only_name(walk->folder, name, &info)) {
		fd_close(&fd);
		errno = EMLINK;
	}
	return fd;
}

/* Goes on from walk->folder. */
static int walk_on(struct walk *walk)
{
	for (;;) {
		char *rest, *name;
		int fd;

		if (walk->rest[0] == '/') {
			if (is_special(walk->rest))
				return open(walk->rest, log_flags & ~O_NOFOLLOW, 0640);
			if (enter(walk, AT_FDCWD, "/") == -1)
				return -1;
		}
		name = next_name(walk->rest, &rest);
		if (*name == '\0') {
			errno = EISDIR;
			return -1;
		}
		if (*rest == '\0') {
			fd = open_last(walk, name);
			if (fd != -1 || errno != ELOOP)
				return fd;
		} else if (enter(walk, walk->folder, name) == 0) {
			memmove(walk->rest, rest, strlen(rest) + 1);
			continue;
		} else if (errno != ELOOP && errno != ENOTDIR) {
			return -1;
		}
		if (follow(walk, name, rest) == -1)
			return -1;
	}
}

int log_open(const char *path)
{
	struct walk walk = {.folder = -1};
	size_t length = strlen(path);
	int fd = -1;

	if (length >= sizeof walk.rest) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(walk.rest, path, length + 1);
	if (enter(&walk, AT_FDCWD, ".") == 0)
		fd = walk_on(&walk);
	fd_close(&walk.folder);
	return fd;
}

const char *log_open_error(int number)
{
	if (number == ENXIO)
		return "nobody reads this pipe";
	if (number == ELOOP)
		return "a symbolic link that somebody else may have made is not followed";
	if (number == EMLINK)
		return "it has a second name or was just renamed, and others may write to its "
		       "folder";
	return strerror(number);
}

int log_redirect(int fd, int anew)
{
	struct stat old, new;

	if (fstat(fd, &old) == -1 || fstat(anew, &new) == -1)
		return -1;
	if (old.st_dev == new.st_dev && old.st_ino == new.st_ino)
		return 0;
	return fd_redirect(fd, anew) == -1 ? -1 : 1;
}
