/* The pid file; see pidfile.h. */
#include "pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "descriptor.h"

pid_t pidfile_holder(int fd)
{
	/* A read lock, so that a file opened for reading will do; it meets the write lock all the
	 * same. */
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_GETLK, &lock) == -1)
		return -1;
	if (lock.l_type == F_UNLCK)
		return 0;
	if (lock.l_pid > 0)
		return lock.l_pid;
	errno = EXDEV;
	return -1;
}

const char *pidfile_why(int error)
{
	return error == EXDEV ? "its holder is in another pid namespace" : strerror(error);
}

/* Whether the path still leads to the file that is open: another process may have unlinked it
 * meanwhile. */
static int is_same_file(int fd, const char *path)
{
	struct stat open_file, named;

	return fstat(fd, &open_file) == 0 && lstat(path, &named) == 0 &&
	    open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

/* Whether a file is empty or begins with a line of digits, as we leave it: anything else is not
 * ours to write over. */
static bool is_pid_file(int fd)
{
	char text[32];
	ssize_t got = pread(fd, text, sizeof text, 0);
	ssize_t digits = 0;

	while (digits < got && text[digits] >= '0' && text[digits] <= '9')
		digits++;
	if (digits == 0)
		return got == 0 || (got == 1 && text[0] == '\n');
	return digits < 20 && (digits == got || text[digits] == '\n');
}

/* Opens and locks. Returns the descriptor; -1 with why; or -2 when the file went away meanwhile. */
static int open_locked(const char *path, char *why, size_t size)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat info;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

	if (fd == -1) {
		snprintf(why, size, "pid file %s: %s", path,
		    errno == ELOOP ? "is a symbolic link" : strerror(errno));
		return -1;
	}
	if (fstat(fd, &info) == -1 || !S_ISREG(info.st_mode)) {
		snprintf(why, size, "pid file %s: is not a regular file", path);
		fd_close(&fd);
		return -1;
	}
	if (!is_pid_file(fd)) {
		snprintf(why, size, "pid file %s: there is something else in it; it is left alone",
		    path);
		fd_close(&fd);
		return -1;
	}
	if (fcntl(fd, F_SETLK, &lock) == -1) {
		pid_t holder = pidfile_holder(fd);

		if (holder > 0)
			snprintf(why, size, "pid file %s: locked by a running lastcall, pid %ld",
			    path, (long)holder);
		else
			snprintf(
			    why, size, "pid file %s: cannot lock it: %s", path, pidfile_why(errno));
		fd_close(&fd);
		return holder == 0 ? -2 : -1;
	}
	if (!is_same_file(fd, path)) {
		fd_close(&fd);
		return -2;
	}
	return fd;
}

int pidfile_open(struct pidfile *pidfile, const char *path, char *why, size_t size)
{
	char line[32];
	int length = snprintf(line, sizeof line, "%ld\n", (long)getpid());
	int tries = 100;

	pidfile->path = strdup(path);
	if (pidfile->path == NULL) {
		snprintf(why, size, "pid file %s: %s", path, strerror(errno));
		return -1;
	}
	do {
		pidfile->fd = open_locked(path, why, size);
		/* Somebody unlinked it, or waits for its end with a lock for reading: that passes.
		 */
		if (pidfile->fd == -2)
			poll(NULL, 0, 10);
	} while (pidfile->fd == -2 && --tries > 0);
	if (pidfile->fd < 0) {
		if (pidfile->fd == -2)
			snprintf(
			    why, size, "pid file %s: somebody else takes it again and again", path);
		pidfile->fd = -1;
		return -1;
	}
	if (ftruncate(pidfile->fd, 0) == -1 ||
	    pwrite(pidfile->fd, line, (size_t)length, 0) != (ssize_t)length) {
		snprintf(why, size, "pid file %s: cannot write it: %s", path, strerror(errno));
		pidfile_close(pidfile);
		return -1;
	}
	return 0;
}

void pidfile_say(struct pidfile *pidfile, int status, const char *receipt)
{
	char lines[512];
	int length = snprintf(lines, sizeof lines, "%d %s\n", status, receipt);

	if (pidfile->fd < 0 || length >= (int)sizeof lines)
		return;
	/* Whoever asked for the stop only misses the receipt if this fails. */
	if (lseek(pidfile->fd, 0, SEEK_END) == -1 ||
	    write(pidfile->fd, lines, (size_t)length) == -1)
		return;
}

void pidfile_close(struct pidfile *pidfile)
{
	if (pidfile->fd >= 0 && is_same_file(pidfile->fd, pidfile->path))
		unlink(pidfile->path);
	fd_close(&pidfile->fd);
	free(pidfile->path);
	pidfile->path = NULL;
}

void pidfile_detach(struct pidfile *pidfile)
{
	fd_close(&pidfile->fd);
}
