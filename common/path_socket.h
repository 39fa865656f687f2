/*
 * The path of a Unix socket that a server listens on: bound with care for who else may want it, and
 * removed only while it is still ours.
 */
#ifndef LASTCALL_PATH_SOCKET_H
#define LASTCALL_PATH_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

struct path_socket {
	int fd; /* -1: none */
	int lock; /* of the path's folder, from bind to listen; -1: none */
	struct sockaddr_un at;
	dev_t device; /* of the path that we bound, so that only our own is unlinked */
	ino_t inode; /* 0: it is not to be unlinked */
};

#define PATH_SOCKET_UMASK ((mode_t)-1) /* the mode that umask leaves */
#define PATH_SOCKET_PATIENCE 1000 /* ms, for whoever starts */

/*
 * Binds a stream socket to socket->at. The path has that mode, and that group unless it is
 * (gid_t)-1, before anybody can connect. What a dead server left there is removed, a living one is
 * left alone. patience in ms: how long another process that is just looking at the same folder is
 * waited for, at most; the folder is locked from here on, so path_socket_listen or
 * path_socket_close is due soon. Returns 0, or -1 with errno (EADDRINUSE: a living server, or
 * something that is no socket). fd is -1 then.
 */
int path_socket_bind(struct path_socket *socket, mode_t mode, gid_t group, int patience);

/*
 * Listens. Returns 0, or -1 with errno; it is to be closed then. EADDRINUSE: somebody who did not
 * wait for the lock has taken the path since it was bound.
 */
int path_socket_listen(struct path_socket *socket, int backlog);

/* Whether the path is still the one that we bound. */
bool path_socket_is_ours(const struct path_socket *socket);

/* Unlinks the path if it is still the one that we bound: nobody new finds it. Any number of times.
 */
void path_socket_unlink(struct path_socket *socket);

/* The same, and closes it. */
void path_socket_close(struct path_socket *socket);

#endif
