/*
 * Opens listening sockets, knows what they are bound to, and keeps their places. It never accepts
 * and never forks.
 */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* Binds a TCP socket to an address. Returns it, or -1 with errno. */
static int bind_tcp(const struct address *address)
{
	union address_socket at = address->socket;
	socklen_t length = address->length;
	int fd = stream_socket(at.any.sa_family);

	if (fd == -1 && errno == EAFNOSUPPORT && address->form == ADDRESS_ANY) {
		at = (union address_socket){
		    .in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)address->port)}};
		length = sizeof at.in;
		fd = stream_socket(AF_INET);
	}
	if (fd == -1)
		return -1;
	if (at.any.sa_family == AF_INET6)
		set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, address->form != ADDRESS_ANY);
	set_inherited(fd);
	set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(fd, &at.any, length) == -1)
		fd_close(&fd);
	return fd;
}

/* Binds the socket of a listener. Returns 0, or -1 with errno. */
static int bind_socket(struct listener *listener, const struct address *address, bool patient)
{
	if (address->socket.any.sa_family != AF_UNIX) {
		listener->fd = bind_tcp(address);
		return listener->fd == -1 ? -1 : 0;
	}
	listener->path.at = address->socket.un;
	if (path_socket_bind(&listener->path, PATH_SOCKET_UMASK, (gid_t)-1,
		patient ? PATH_SOCKET_PATIENCE : 0) == -1)
		return -1;
	listener->fd = listener->path.fd;
	return 0;
}

/* What it is bound to; dual: an IPv6 wildcard that is meant for IPv4 too. Returns 0, or -1 with
 * errno. */
static int describe(struct listener *listener, bool dual)
{
	socklen_t length = sizeof listener->bound;

	if (getsockname(listener->fd, &listener->bound.any, &length) == -1)
		return -1;
	listener->kind = listener->bound.any.sa_family == AF_UNIX ? LISTENER_UNIX : LISTENER_TCP;
	address_format(&listener->bound, length, dual, listener->text, sizeof listener->text);
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
	listener->counted = listener->closing.ours && use->listeners == 1 &&
	    arrivals_watch(&listeners->arrivals, listener->fd);
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

int listeners_make(struct listeners *listeners, size_t capacity, struct scoreboard *scoreboard)
{
	*listeners = (struct listeners){
	    .all = calloc(capacity, sizeof *listeners->all),
	    .hashed = calloc(LISTENERS_HASH, sizeof(struct listener *)),
	    .uses = calloc(65536, sizeof *listeners->uses),
	    .capacity = capacity,
	    .scoreboard = scoreboard,
	    .arrivals = {.map = -1, .program = -1, .gate = -1},
	};
	return listeners->all == NULL || listeners->hashed == NULL || listeners->uses == NULL ? -1
											      : 0;
}

int listeners_init(struct listeners *listeners, size_t capacity, struct scoreboard *scoreboard)
{
	if (listeners_make(listeners, capacity, scoreboard) == -1)
		return -1;
	arrivals_open(&listeners->arrivals);
	return 0;
}

/* Where the listeners of a text are chained (FNV-1a). */
static struct listener **chain(const struct listeners *listeners, const char *text)
{
	uint32_t hash = 2166136261u;

	for (; *text != '\0'; text++)
		hash = (hash ^ (unsigned char)*text) * 16777619u;
	return &listeners->hashed[(hash ^ hash >> 16) % LISTENERS_HASH];
}

static void enchain(struct listeners *listeners, struct listener *listener)
{
	struct listener **first = chain(listeners, listener->text);

	listener->next_same = *first;
	*first = listener;
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
		/* OPEN, CLOSING, FINISHING and CLOSED are in that order; BOUND is nobody's yet. */
		if (at->state != LISTENER_BOUND && strcmp(at->text, text) == 0 &&
		    (best == NULL || at->state < best->state))
			best = at;
	}
	return best;
}

void listener_set_state(
    struct listeners *listeners, struct listener *listener, enum listener_state state)
{
	listeners->open -= listener->state == LISTENER_OPEN;
	listeners->open += state == LISTENER_OPEN;
	listeners->bound -= listener->state == LISTENER_BOUND;
	listeners->bound += state == LISTENER_BOUND;
	listener->state = state;
}

bool listeners_have_room(const struct listeners *listeners)
{
	return listeners->vacant != NULL || listeners->count < listeners->capacity;
}

bool listeners_use_port(const struct listeners *listeners, unsigned port)
{
	return listeners->uses[port].listeners > 0;
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
	free(listener->stored);
	*listener = (struct listener){.fd = -1,
	    .passed = -1,
	    .path = {.fd = -1, .lock = -1},
	    .next_vacant = listeners->vacant};
	listeners->vacant = listener;
}

/* Gives up a socket that does not listen, and its place. */
static void discard(struct listeners *listeners, struct listener *listener)
{
	fd_close(&listener->fd);
	listener->path.fd = -1; /* it was the same */
	path_socket_close(&listener->path);
	give_place(listeners, listener);
}

/* Begins a listener in a vacant place. Returns it, or NULL with errno ENFILE. */
static struct listener *begin(struct listeners *listeners, int64_t now)
{
	struct listener *listener = take_place(listeners);

	if (listener == NULL) {
		errno = ENFILE;
		return NULL;
	}
	*listener = (struct listener){
	    .fd = -1,
	    .passed = -1,
	    .path = {.fd = -1, .lock = -1},
	    .index = (unsigned)(listener - listeners->all),
	    .owner = {.endpoint = -1},
	    .opened = now,
	    .ttl_ends = CLOCK_NEVER,
	    .grace_ends = CLOCK_NEVER,
	};
	return listener;
}

/* It has its socket, is described, and becomes BOUND. */
static void settle(struct listeners *listeners, struct listener *listener, const char *asked)
{
	snprintf(listener->asked, sizeof listener->asked, "%s", asked);
	enchain(listeners, listener);
	for (unsigned slot = 0; slot < listeners->scoreboard->slots_count; slot++) {
		if (listeners->living[slot / 64] >> slot % 64 & 1)
			tally_clear(scoreboard_tally(listeners->scoreboard, slot, listener->index));
	}
	closing_init(&listener->closing, listener->fd, listener->kind,
	    &listeners->scoreboard->listeners[listener->index]);
	listener->closing.filter = listeners->arrivals.gate;
	closing_restate(&listener->closing);
	listener_set_state(listeners, listener, LISTENER_BOUND);
}

struct listener *listener_bind(
    struct listeners *listeners, const struct address *address, int64_t now)
{
	struct listener *listener = begin(listeners, now);

	if (listener == NULL)
		return NULL;
	if (bind_socket(listener, address, listeners->patient) == -1 ||
	    describe(listener, address->form == ADDRESS_ANY) == -1) {
		int error = errno;

		discard(listeners, listener);
		errno = error;
		return NULL;
	}
	settle(listeners, listener, address->text);
	return listener;
}

/* Whether a socket takes IPv4 connections too. */
static bool is_dual(int fd)
{
	int v6only = 1;
	socklen_t length = sizeof v6only;

	return getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &length) == 0 && v6only == 0;
}

struct listener *listener_adopt(
    struct listeners *listeners, int fd, int passed, const char *asked, int64_t now)
{
	struct listener *listener = begin(listeners, now);
	struct stat info;

	if (listener == NULL)
		return NULL;
	listener->fd = fd;
	listener->passed = passed;
	if (describe(listener, is_dual(fd)) == -1) {
		int error = errno;

		listener->fd = -1;
		discard(listeners, listener);
		errno = error;
		return NULL;
	}
	if (listener->kind == LISTENER_TCP)
		set_inherited(fd);
	else if (passed < 0 && lstat(listener->bound.un.sun_path, &info) == 0) {
		listener->path.fd = fd;
		listener->path.at = listener->bound.un;
		listener->path.device = info.st_dev;
		listener->path.inode = info.st_ino;
	}
	settle(listeners, listener, asked);
	closing_share(&listener->closing, true);
	return listener;
}

/* Has connections let in. A socket that was passed does that already, with the backlog that whoever
 * passed it chose. */
static int begin_listening(struct listener *listener, int backlog)
{
	if (listener->passed >= 0)
		return 0;
	return listener->kind == LISTENER_UNIX ? path_socket_listen(&listener->path, backlog)
					       : listen(listener->fd, backlog);
}

int listener_listen(struct listeners *listeners, struct listener *listener, int backlog)
{
	/* What is counted is so from the first handshake on. */
	use_port(listeners, listener);
	if (begin_listening(listener, backlog) == -1) {
		leave_port(listeners, listener);
		return -1;
	}
	listener_set_state(listeners, listener, LISTENER_OPEN);
	return 0;
}

void listener_unbind(struct listeners *listeners, struct listener *listener)
{
	unchain(listeners, listener);
	listener_set_state(listeners, listener, LISTENER_VACANT);
	discard(listeners, listener);
}

struct listener *listener_open(
    struct listeners *listeners, const struct address *address, int backlog, int64_t now)
{
	struct listener *listener = listener_bind(listeners, address, now);
	int error;

	if (listener == NULL || listener_listen(listeners, listener, backlog) == 0)
		return listener;
	error = errno;
	listener_unbind(listeners, listener);
	errno = error;
	return NULL;
}

void listener_close(struct listeners *listeners, struct listener *listener)
{
	leave_port(listeners, listener);
	fd_close(&listener->fd);
}

void listener_enter(struct listeners *listeners, struct listener *listener)
{
	enum listener_state state = listener->state;

	enchain(listeners, listener);
	listener->closing.fd = listener->fd;
	listener->closing.kind = listener->kind;
	listener->closing.word = &listeners->scoreboard->listeners[listener->index];
	listener->closing.filter = listeners->arrivals.gate;
	listener->mixed_before = 0;
	if (listener->kind == LISTENER_TCP && listener->fd >= 0)
		listeners->uses[address_port(&listener->bound)].listeners++;
	listener->state = LISTENER_VACANT;
	listener_set_state(listeners, listener, state);
	if (listener->index >= listeners->count)
		listeners->count = listener->index + 1;
}

void listeners_entered(struct listeners *listeners)
{
	for (size_t i = listeners->count; i-- > 0;) {
		struct listener *listener = &listeners->all[i];

		if (listener->state == LISTENER_VACANT)
			give_place(listeners, listener);
		else if (listener->kind == LISTENER_TCP &&
		    listeners->uses[address_port(&listener->bound)].listeners > 1)
			listener->counted = false;
		listener->counted &= listeners->arrivals.counts != NULL;
	}
}

void listener_free(struct listeners *listeners, struct listener *listener)
{
	if (listener->state == LISTENER_VACANT)
		return;
	if (listener->state == LISTENER_BOUND) {
		listener_unbind(listeners, listener);
		return;
	}
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

bool listeners_use(const struct listeners *listeners, const struct config *config)
{
	for (size_t i = 0; i < listeners->count; i++) {
		const struct listener *listener = &listeners->all[i];

		if (listener->state == LISTENER_VACANT || listener->service_is_ours)
			continue;
		for (const struct service_config *at = config->services; at != NULL;
		     at = at->next) {
			if (at == listener->service)
				return true;
		}
	}
	return false;
}

void listener_give(const struct listener *listener, gid_t group)
{
	/* Only a hint to others: the server serves without it. */
	if (listener->kind == LISTENER_UNIX && path_socket_is_ours(&listener->path) &&
	    lchown(listener->bound.un.sun_path, (uid_t)-1, group) == -1)
		return;
}

void listener_unlink(struct listener *listener)
{
	if (listener->closing.ours)
		path_socket_unlink(&listener->path);
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
	listeners->let_go = true;
	for (size_t i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->all[i];
		struct tally *tally = scoreboard_tally(listeners->scoreboard, slot, i);
		uint64_t open;

		if (listener->state == LISTENER_VACANT)
			continue;
		listener_hold(listener, slot, false);
		open = slot_read(&tally->open);
		slot_add(&listener->past.cut, open < most ? open : most);
		tally_end_present(tally);
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
