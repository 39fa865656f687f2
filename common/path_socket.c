/* Binds and unlinks the paths of Unix sockets; see path_socket.h. */
#include "path_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "descriptor.h"

/* A Unix stream socket, like all our descriptors. Returns it, or -1 with errno. */
static int stream_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd >= 0 && (fd_set_nonblocking(fd) == -1 || fd_set_cloexec(fd, true) == -1))
		fd_close(&fd);
	return fd;
}

/*
 * Locks the folder of a path, so that of two servers that start at once only one looks, removes
 * and binds. Returns the descriptor to close, or -1: the folder cannot be read, or somebody holds
 * the lock for longer than patience, and it has to do without.
 */
static int lock_folder(const char *path, int patience)
{
	char folder[sizeof((struct sockaddr_un *)0)->sun_path + 1];
	const char *slash = strrchr(path, '/');
	int fd;

	snprintf(folder, sizeof folder, "%.*s", slash != NULL ? (int)(slash - path + 1) : 0, path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == -1) {
		if (errno != EWOULDBLOCK || patience <= 0) {
			fd_close(&fd);
			break;
		}
		poll(NULL, 0, 10);
		patience -= 10;
	}
	return fd;
}

/*
 * Removes a path that a dead server left: a socket that refuses connections. Anything else is left
 * alone, and bind says why it is in the way.
 */
static void unlink_stale(const struct sockaddr_un *path)
{
	struct stat info;
	int fd;

	if (lstat(path->sun_path, &info) == -1 || !S_ISSOCK(info.st_mode))
		return;
	fd = stream_socket();
	if (fd == -1)
		return;
	if (connect(fd, (const void *)path, sizeof *path) == -1 && errno == ECONNREFUSED)
		unlink(path->sun_path);
	fd_close(&fd);
}

/* Binds with the mode of the path from the first moment; nobody can connect before listen(2). */
static int bind_path(struct path_socket *socket, mode_t mode, gid_t group)
{
	struct stat info;
	mode_t old = mode == PATH_SOCKET_UMASK ? 0 : umask(~mode & 0777);
	int result = bind(socket->fd, (const void *)&socket->at, sizeof socket->at);

	if (mode != PATH_SOCKET_UMASK)
		umask(old);
	if (result == -1)
		return -1;
	if (lstat(socket->at.sun_path, &info) == -1)
		return -1;
	socket->device = info.st_dev;
	socket->inode = info.st_ino;
	if (group != (gid_t)-1 && lchown(socket->at.sun_path, (uid_t)-1, group) == -1)
		return -1;
	return 0;
}

int path_socket_bind(struct path_socket *socket, mode_t mode, gid_t group, int patience)
{
	int failed;

	socket->lock = lock_folder(socket->at.sun_path, patience);
	socket->inode = 0;
	unlink_stale(&socket->at);
	socket->fd = stream_socket();
	if (socket->fd >= 0 && bind_path(socket, mode, group) == 0)
		return 0;
	failed = errno;
	path_socket_close(socket);
	errno = failed;
	return -1;
}

/* A child that was forked meanwhile may have a copy of the lock: it is given up for all. */
static void unlock_folder(struct path_socket *socket)
{
	if (socket->lock >= 0)
		flock(socket->lock, LOCK_UN);
	fd_close(&socket->lock);
}

int path_socket_listen(struct path_socket *socket, int backlog)
{
	if (listen(socket->fd, backlog) == -1)
		return -1;
	if (!path_socket_is_ours(socket)) {
		errno = EADDRINUSE;
		return -1;
	}
	unlock_folder(socket);
	return 0;
}

bool path_socket_is_ours(const struct path_socket *socket)
{
	struct stat info;

	return socket->inode != 0 && lstat(socket->at.sun_path, &info) == 0 &&
	    info.st_dev == socket->device && info.st_ino == socket->inode;
}

void path_socket_unlink(struct path_socket *socket)
{
	if (path_socket_is_ours(socket))
		unlink(socket->at.sun_path);
	socket->inode = 0;
}

void path_socket_close(struct path_socket *socket)
{
	path_socket_unlink(socket);
	fd_close(&socket->fd);
	unlock_folder(socket);
}
