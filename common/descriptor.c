/*
 * Owns nothing: the few calls on descriptors that everybody needs, with the fallbacks for systems
 * that cannot give birth to a close-on-exec, non-blocking descriptor in one call.
 */
#include "descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "system.h"

void fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

int fd_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags == -1)
		return -1;
	return flags & O_NONBLOCK ? 0 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int fd_set_cloexec(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFD);

	if (flags == -1)
		return -1;
	return fcntl(fd, F_SETFD, on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC);
}

int fd_redirect(int fd, int other)
{
	int result;

	do {
		result = dup2(other, fd);
	} while (result == -1 && errno == EINTR);
	return result == -1 ? -1 : fd_set_cloexec(fd, true);
}

/* Finishes two descriptors, or closes both. */
static int finish_both(int ends[2])
{
	for (int i = 0; i < 2; i++) {
		if (fd_set_nonblocking(ends[i]) == -1 || fd_set_cloexec(ends[i], true) == -1) {
			fd_close(&ends[0]);
			fd_close(&ends[1]);
			return -1;
		}
	}
	return 0;
}

int fd_pipe(int ends[2])
{
	ends[0] = ends[1] = -1;
	if (system_pipe(ends) == -1)
		return -1;
	return finish_both(ends);
}

int fd_pair(int ends[2], int type)
{
	ends[0] = ends[1] = -1;
	if (socketpair(AF_UNIX, type, 0, ends) == -1)
		return -1;
	return finish_both(ends);
}

int fd_write_all(int fd, const void *bytes, size_t length)
{
	const char *at = bytes;

	while (length > 0) {
		ssize_t n = write(fd, at, length);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		at += n;
		length -= (size_t)n;
	}
	return 0;
}
