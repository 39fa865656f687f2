/*
 * Opens listening sockets, knows what they are bound to, and keeps their places. It never accepts
 * and never forks.
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

#include "clock.h"
#include "descriptor.h"

#define LISTENERS_HASH 4096 /* a power of two */

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
 * the lock for tries of 10 ms each, and it has to do without.
 */
static int lock_folder(const char *path, int tries)
{
	char folder[sizeof((struct sockaddr_un *)0)->sun_path + 1];
	const char *slash = strrchr(path, '/');
	int fd;

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

static int bind_only(int fd, const union address_socket *at, socklen_t length)
{
	if (at->any.sa_family != AF_UNIX)
		set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	return bind(fd, &at->any, length);
}

/* Binds a socket to an address that can be. Returns it, or -1 with errno. */
static int open_socket(const struct address *address, int backlog, bool patient)
{
	union address_socket at = address->socket;
	int fd, folder = -1;

	if (at.any.sa_family == AF_UNIX) {
		/* Bound and not yet listening looks like stale. */
		folder = lock_folder(at.un.sun_path, patient ? 100 : 1);
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
	if (bind_only(fd, &at, at.any.sa_family == AF_INET ? sizeof at.in : address->length) == -1)
		fd_close(&fd);
	/* Within the lock: bound and not listening looks like one that a dead server left. */
	if (fd >= 0 && at.any.sa_family == AF_UNIX && listen(fd, backlog) == -1)
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

/* ---- what is counted of a port ---- */

static void use_port(struct listeners *listeners, struct listener *listener)
{
	unsigned port = address_port(&listener->bound);
	struct port_use *use = &listeners->uses[port];

	if (listener->kind != LISTENER_TCP)
		return;
	use->mixed += use->listeners++ > 0;
	listener->mixed_before = use->mixed;
	listener->counted =
	    use->listeners == 1 && arrivals_watch(&listeners->arrivals, listener->fd);
	listener->arrivals_before = arrivals_on(&listeners->arrivals, port);
}

static void leave_port(struct listeners *listeners, struct listener *listener)
{
	if (listener->kind == LISTENER_TCP && listener->fd >= 0)
		listeners->uses[address_port(&listener->bound)].listeners--;
}

bool listener_has_none_under_way(const struct listeners *listeners, const struct listener *listener)
{
	unsigned port = address_port(&listener->bound);
	uint64_t begun = arrivals_on(&listeners->arrivals, port) - listener->arrivals_before;
	struct tally tally;

	if (!listener->counted || listeners->uses[port].mixed != listener->mixed_before)
		return false;
	listener_tally(listeners, listener, &tally);
	return slot_read(&tally.accepted) == begun;
}

/* ---- places ---- */

int listeners_init(struct listeners *listeners, size_t capacity, struct scoreboard *scoreboard)
{
	*listeners = (struct listeners){
	    .all = calloc(capacity, sizeof *listeners->all),
	    .hashed = calloc(LISTENERS_HASH, sizeof(struct listener *)),
	    .uses = calloc(65536, sizeof *listeners->uses),
	    .capacity = capacity,
	    .scoreboard = scoreboard,
	};
	arrivals_open(&listeners->arrivals);
	return listeners->all == NULL || listeners->hashed == NULL || listeners->uses == NULL ? -1
											      : 0;
}

/* Where the listeners of a text are chained (FNV-1a). */
static struct listener **chain(const struct listeners *listeners, const char *text)
{
	uint32_t hash = 2166136261u;

	for (; *text != '\0'; text++)
		hash = (hash ^ (unsigned char)*text) * 16777619u;
	return &listeners->hashed[(hash ^ hash >> 16) % LISTENERS_HASH];
}

static void unchain(struct listeners *listeners, struct listener *listener)
{
	struct listener **link = chain(listeners, listener->text);

	while (*link != NULL && *link != listener)
		link = &(*link)->next_same;
	if (*link != NULL)
		*link = listener->next_same;
}

struct listener *listener_find(const struct listeners *listeners, const char *text)
{
	struct listener *best = NULL;

	for (struct listener *at = *chain(listeners, text); at != NULL; at = at->next_same) {
		/* OPEN, CLOSING, FINISHING and CLOSED are in that order. */
		if (strcmp(at->text, text) == 0 && (best == NULL || at->state < best->state))
			best = at;
	}
	return best;
}

void listener_set_state(
    struct listeners *listeners, struct listener *listener, enum listener_state state)
{
	listeners->open -= listener->state == LISTENER_OPEN;
	listeners->open += state == LISTENER_OPEN;
	listener->state = state;
}

static struct listener *take_place(struct listeners *listeners)
{
	struct listener *listener = listeners->vacant;

	if (listener != NULL)
		listeners->vacant = listener->next_vacant;
	else if (listeners->count < listeners->capacity)
		listener = &listeners->all[listeners->count++];
	return listener;
}

static void give_place(struct listeners *listeners, struct listener *listener)
{
	*listener = (struct listener){.fd = -1, .next_vacant = listeners->vacant};
	listeners->vacant = listener;
}

/* The last step: from here on the kernel takes connections. */
static int start_listening(struct listeners *listeners, struct listener *listener, int backlog)
{
	if (listener->kind == LISTENER_UNIX)
		return 0; /* it does already */
	use_port(listeners, listener);
	if (listen(listener->fd, backlog) == 0)
		return 0;
	leave_port(listeners, listener);
	return -1;
}

struct listener *listener_open(
    struct listeners *listeners, const struct address *address, int backlog, int64_t now)
{
	struct listener *listener = take_place(listeners), **first;
	int error;

	if (listener == NULL) {
		errno = ENFILE;
		return NULL;
	}
	*listener = (struct listener){
	    .fd = open_socket(address, backlog, listeners->patient),
	    .index = (unsigned)(listener - listeners->all),
	    .ours = true,
	    .owner = {.endpoint = -1},
	    .opened = now,
	    .ttl_ends = CLOCK_NEVER,
	    .grace_ends = CLOCK_NEVER,
	};
	if (listener->fd == -1 || describe(listener, address) == -1 ||
	    start_listening(listeners, listener, backlog) == -1) {
		error = errno;
		fd_close(&listener->fd);
		give_place(listeners, listener);
		errno = error;
		return NULL;
	}
	snprintf(listener->asked, sizeof listener->asked, "%s", address->text);
	first = chain(listeners, listener->text);
	listener->next_same = *first;
	*first = listener;
	for (unsigned slot = 0; slot < listeners->scoreboard->slots_count; slot++) {
		if (listeners->living[slot / 64] >> slot % 64 & 1)
			tally_clear(scoreboard_tally(listeners->scoreboard, slot, listener->index));
	}
	closing_init(&listener->closing, listener->fd, listener->kind, listener->ours,
	    &listeners->scoreboard->listeners[listener->index]);
	listener->closing.filter = listeners->arrivals.gate;
	closing_restate(&listener->closing);
	listener_set_state(listeners, listener, LISTENER_OPEN);
	return listener;
}

void listener_close(struct listeners *listeners, struct listener *listener)
{
	leave_port(listeners, listener);
	fd_close(&listener->fd);
}

void listener_free(struct listeners *listeners, struct listener *listener)
{
	if (listener->state == LISTENER_VACANT)
		return;
	listener_close(listeners, listener);
	unchain(listeners, listener);
	if (listener->service_is_ours && listener->service != NULL) {
		if (listener->service->kind->release != NULL)
			listener->service->kind->release(listener->service->options);
		config_free_service(listener->service);
	}
	listener_set_state(listeners, listener, LISTENER_VACANT);
	give_place(listeners, listener);
}

/* ---- the configuration's ---- */

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

static void open_configured(struct listeners *listeners, const struct config *config,
    const struct listen_config *wanted, int64_t now, struct diagnostics *d)
{
	struct address resolved[LISTENERS_OF_A_NAME];
	const char *reason = "no socket of that name was passed";
	int count = -1;

	if (wanted->address.form != ADDRESS_FD)
		count = address_resolve(&wanted->address, resolved, LISTENERS_OF_A_NAME, &reason);
	if (count == -1)
		cannot_listen(config, wanted, NULL, reason, d);
	for (int i = 0; i < count; i++) {
		struct listener *listener;

		if (listeners->open >= (size_t)config->max_listeners) {
			config_error(config, d, &wanted->at,
			    "cannot listen on more than %lld addresses (max-listeners)",
			    (long long)config->max_listeners);
			return;
		}
		listener = listener_open(listeners, &resolved[i], (int)config->backlog, now);
		if (listener == NULL) {
			cannot_listen(config, wanted, &resolved[i], strerror(errno), d);
			continue;
		}
		snprintf(listener->asked, sizeof listener->asked, "%s", wanted->address.text);
		listener->service = wanted->service;
	}
}

int listeners_open(
    struct listeners *listeners, const struct config *config, int64_t now, struct diagnostics *d)
{
	int before = d->errors;

	listeners->patient = true;
	/* All of them, also after errors: what is wrong is to be seen in one run. */
	for (const struct listen_config *at = config->listeners; at != NULL; at = at->next)
		open_configured(listeners, config, at, now, d);
	listeners->patient = false;
	return d->errors == before ? 0 : -1;
}

void listener_give(const struct listener *listener, gid_t group)
{
	/* Only a hint to others: the server serves without it. */
	if (listener->kind == LISTENER_UNIX &&
	    lchown(listener->bound.un.sun_path, (uid_t)-1, group) == -1)
		return;
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
		listener_free(listeners, &listeners->all[i]);
	}
	arrivals_close(&listeners->arrivals);
	free(listeners->all);
	free(listeners->hashed);
	free(listeners->uses);
	*listeners = (struct listeners){0};
}

void listeners_detach(struct listeners *listeners)
{
	arrivals_close(&listeners->arrivals);
}

/* ---- who has a copy, and what they counted ---- */

static void set_bit(uint64_t *bits, unsigned number, bool on)
{
	uint64_t bit = (uint64_t)1 << number % 64;

	if (on)
		bits[number / 64] |= bit;
	else
		bits[number / 64] &= ~bit;
}

void listener_hold(struct listener *listener, unsigned slot, bool holds)
{
	set_bit(listener->holders, slot, holds);
}

bool listener_held(const struct listener *listener)
{
	for (size_t i = 0; i < sizeof listener->holders / sizeof listener->holders[0]; i++) {
		if (listener->holders[i] != 0)
			return true;
	}
	return false;
}

bool listener_held_by(const struct listener *listener, unsigned slot)
{
	return listener->holders[slot / 64] >> slot % 64 & 1;
}

void listener_tally(
    const struct listeners *listeners, const struct listener *listener, struct tally *out)
{
	const struct scoreboard *scoreboard = listeners->scoreboard;

	tally_clear(out);
	tally_add(out, &listener->past);
	for (unsigned word = 0; word < SCOREBOARD_SLOTS / 64; word++) {
		for (uint64_t bits = listeners->living[word]; bits != 0; bits &= bits - 1) {
			unsigned bit = 0;

			while (!(bits >> bit & 1))
				bit++;
			tally_add(
			    out, scoreboard_tally(scoreboard, word * 64 + bit, listener->index));
		}
	}
}

void listeners_born(struct listeners *listeners, unsigned slot)
{
	set_bit(listeners->living, slot, true);
	for (size_t i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->all[i];

		if (listener->state == LISTENER_VACANT)
			continue;
		tally_clear(scoreboard_tally(listeners->scoreboard, slot, i));
		if (listener->state == LISTENER_OPEN || listener->state == LISTENER_CLOSING)
			listener_hold(listener, slot, true);
	}
}

void listeners_dead(struct listeners *listeners, unsigned slot, uint64_t most)
{
	set_bit(listeners->living, slot, false);
	for (size_t i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->all[i];
		struct tally *tally = scoreboard_tally(listeners->scoreboard, slot, i);
		uint64_t open;

		if (listener->state == LISTENER_VACANT)
			continue;
		listener_hold(listener, slot, false);
		open = slot_read(&tally->open);
		slot_add(&listener->past.cut, open < most ? open : most);
		atomic_store(&tally->open, 0);
		tally_add(&listener->past, tally);
	}
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
