/*
 * Opens listening sockets and knows what they are bound to. It never accepts and never forks.
 */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "descriptor.h"

static int set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof value);
}

/* A stream socket of a family, like all our descriptors. Returns it, or -1 with errno. */
static int stream_socket(int family)
{
	int fd = socket(family, SOCK_STREAM, 0);

	if (fd >= 0 && (fd_set_nonblocking(fd) == -1 || fd_set_cloexec(fd, true) == -1))
		fd_close(&fd);
	return fd;
}

/*
 * Locks the folder of a path, so that of two servers that start at once only one looks, removes
 * and binds. Returns the descriptor to close, or -1: the folder cannot be read, or somebody holds
 * the lock for longer than a second, and it has to do without.
 */
static int lock_folder(const char *path)
{
	char folder[sizeof((struct sockaddr_un *)0)->sun_path + 1];
	const char *slash = strrchr(path, '/');
	int tries = 100, fd;

	snprintf(folder, sizeof folder, "%.*s", (int)(slash - path + 1), path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == -1) {
		if (errno != EWOULDBLOCK || --tries == 0) {
			fd_close(&fd);
			break;
		}
		poll(NULL, 0, 10);
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
	fd = stream_socket(AF_UNIX);
	if (fd == -1)
		return;
	if (connect(fd, (const void *)path, sizeof *path) == -1 && errno == ECONNREFUSED)
		unlink(path->sun_path);
	fd_close(&fd);
}

/* What connections inherit: answers leave at once, and a peer that vanished is noticed. */
static void set_inherited(int fd)
{
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef TCP_KEEPIDLE
	set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
	set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
	set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
#endif
#ifdef TCP_USER_TIMEOUT
	set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 60000);
#endif
}

static int bind_and_listen(int fd, const union address_socket *at, socklen_t length, int backlog)
{
	if (at->any.sa_family != AF_UNIX)
		set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(fd, &at->any, length) == -1 || listen(fd, backlog) == -1)
		return -1;
	return 0;
}

/* Opens the socket of one address that can be bound. Returns it, or -1 with errno. */
static int open_socket(const struct address *address, int backlog)
{
	union address_socket at = address->socket;
	int fd, folder = -1;

	if (at.any.sa_family == AF_UNIX) {
		/* Bound and not yet listening looks like stale. */
		folder = lock_folder(at.un.sun_path);
		unlink_stale(&at.un);
	}
	fd = stream_socket(at.any.sa_family);
	if (fd == -1 && errno == EAFNOSUPPORT && address->form == ADDRESS_ANY) {
		at = (union address_socket){
		    .in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)address->port)}};
		fd = stream_socket(AF_INET);
	}
	if (fd == -1)
		goto out;
	if (at.any.sa_family == AF_INET6)
		set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, address->form != ADDRESS_ANY);
	if (at.any.sa_family != AF_UNIX)
		set_inherited(fd);
	if (bind_and_listen(fd, &at, at.any.sa_family == AF_INET ? sizeof at.in : address->length,
		backlog) == -1)
		fd_close(&fd);
out:
	fd_close(&folder);
	return fd;
}

static int describe(struct listener *listener, const struct address *address)
{
	socklen_t length = sizeof listener->bound;
	struct stat info;

	if (getsockname(listener->fd, &listener->bound.any, &length) == -1)
		return -1;
	listener->kind = listener->bound.any.sa_family == AF_UNIX ? LISTENER_UNIX : LISTENER_TCP;
	address_format(&listener->bound, length, address->form == ADDRESS_ANY, listener->text,
	    sizeof listener->text);
	if (listener->kind == LISTENER_UNIX && lstat(listener->bound.un.sun_path, &info) == 0) {
		listener->device = info.st_dev;
		listener->inode = info.st_ino;
	}
	return 0;
}

static int add(struct listeners *listeners, const struct address *address,
    const struct listen_config *wanted, const struct config *config, struct scoreboard *scoreboard)
{
	struct listener *listener = &listeners->all[listeners->count];

	*listener = (struct listener){
	    .fd = open_socket(address, (int)config->backlog),
	    .index = (unsigned)listeners->count,
	    .ours = true,
	    .service = wanted->service,
	};
	if (listener->fd == -1)
		return -1;
	listeners->count++;
	if (describe(listener, address) == -1)
		return -1;
	closing_init(&listener->closing, listener->fd, listener->kind, listener->ours,
	    &scoreboard->listeners[listener->index]);
	listeners->handover[listener->index] = (struct handover_listener){
	    .fd = listener->fd,
	    .index = listener->index,
	    .ours = listener->ours,
	    .kind = (int)listener->kind,
	    .service = listener->service,
	};
	return 0;
}

static size_t count_wanted(const struct config *config)
{
	size_t count = 0;

	for (const struct listen_config *at = config->listeners; at != NULL; at = at->next)
		count += LISTENERS_OF_A_NAME;
	return count < SCOREBOARD_LISTENERS ? count : SCOREBOARD_LISTENERS;
}

/* Reports an address that cannot be bound, with errno if it got as far: bound is what it stood for,
 * else NULL. */
static void cannot_listen(const struct config *config, const struct listen_config *at,
    const struct address *bound, const char *reason, struct diagnostics *d)
{
	const char *open = "", *text = "", *close = "", *advice = "";

	if (bound != NULL && at->address.form == ADDRESS_NAME) {
		open = " (";
		text = bound->text;
		close = ")";
	}
	if (bound != NULL && errno == EACCES && bound->port > 0 && bound->port < 1024)
		advice = " (a port below 1024 wants root or CAP_NET_BIND_SERVICE)";
	config_error(config, d, &at->at, "cannot listen on %s%s%s%s: %s%s", at->address.text, open,
	    text, close, reason, advice);
}

int listeners_open(struct listeners *listeners, const struct config *config,
    struct scoreboard *scoreboard, struct diagnostics *d)
{
	size_t capacity = count_wanted(config);
	int before = d->errors;

	*listeners = (struct listeners){
	    .all = calloc(capacity, sizeof *listeners->all),
	    .handover = calloc(capacity, sizeof *listeners->handover),
	};
	if (listeners->all == NULL || listeners->handover == NULL) {
		config_error(
		    config, d, &(struct position){0}, "cannot listen: %s", strerror(ENOMEM));
		return -1;
	}
	/* All of them, also after errors: what is wrong is to be seen in one run. */
	for (const struct listen_config *at = config->listeners; at != NULL; at = at->next) {
		struct address resolved[LISTENERS_OF_A_NAME];
		const char *reason = "no socket of that name was passed";
		int count = -1;

		if (at->address.form != ADDRESS_FD)
			count =
			    address_resolve(&at->address, resolved, LISTENERS_OF_A_NAME, &reason);
		if (count == -1)
			cannot_listen(config, at, NULL, reason, d);
		for (int i = 0; i < count; i++) {
			if (listeners->count == capacity) {
				config_error(config, d, &at->at,
				    "cannot listen on more than %d addresses",
				    SCOREBOARD_LISTENERS);
				return -1;
			}
			if (add(listeners, &resolved[i], at, config, scoreboard) == -1)
				cannot_listen(config, at, &resolved[i], strerror(errno), d);
		}
	}
	return d->errors == before ? 0 : -1;
}

void listeners_give(struct listeners *listeners, gid_t group)
{
	for (size_t i = 0; i < listeners->count; i++) {
		const struct listener *listener = &listeners->all[i];

		/* Only a hint to others: the server serves without it. */
		if (listener->kind == LISTENER_UNIX &&
		    lchown(listener->bound.un.sun_path, (uid_t)-1, group) == -1)
			continue;
	}
}

void listener_unlink(struct listener *listener)
{
	struct stat info;
	const char *path = listener->bound.un.sun_path;

	if (listener->kind != LISTENER_UNIX || !listener->ours || listener->inode == 0)
		return;
	if (lstat(path, &info) == 0 && info.st_dev == listener->device &&
	    info.st_ino == listener->inode)
		unlink(path);
	listener->inode = 0;
}

void listeners_close(struct listeners *listeners)
{
	for (size_t i = 0; i < listeners->count; i++) {
		listener_unlink(&listeners->all[i]);
		fd_close(&listeners->all[i].fd);
	}
	free(listeners->all);
	free(listeners->handover);
	*listeners = (struct listeners){0};
}

void listener_hold(struct listener *listener, unsigned slot, bool holds)
{
	uint64_t bit = (uint64_t)1 << slot % 64;

	if (holds)
		listener->holders[slot / 64] |= bit;
	else
		listener->holders[slot / 64] &= ~bit;
}

bool listener_held(const struct listener *listener)
{
	for (size_t i = 0; i < sizeof listener->holders / sizeof listener->holders[0]; i++) {
		if (listener->holders[i] != 0)
			return true;
	}
	return false;
}

const char *listener_url(const struct listener *listener, char *out, size_t size)
{
	const char *scheme = listener->service->kind->scheme;
	bool any = strncmp(listener->text, "*:", 2) == 0 ||
	    strncmp(listener->text, "0.0.0.0:", 8) == 0 || strncmp(listener->text, "[::]:", 5) == 0;

	out[0] = '\0';
	if (scheme == NULL || listener->kind != LISTENER_TCP)
		return out;
	if (any)
		snprintf(out, size, "%s://localhost:%u/", scheme, address_port(&listener->bound));
	else
		snprintf(out, size, "%s://%s/", scheme, listener->text);
	return out;
}
