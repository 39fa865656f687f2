/*
 * The gate where there is nothing but POSIX; see gate.h. A minimum TTL is used where the system has
 * it (FreeBSD does, and so does Linux, which is how the tests reach this file); else an empty
 * backlog must do. Counts are unknown, so closing.c waits for a time without arrivals.
 */
#include "gate.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#ifndef IPV6_MINHOPCOUNT
#ifdef __linux__
#define IPV6_MINHOPCOUNT 73
#endif
#endif

/* Sets the minimum TTL of both families. Returns whether one of them took it. */
static bool set_minimum(int fd, int ttl)
{
	bool set = false;

#ifdef IP_MINTTL
	set |= setsockopt(fd, IPPROTO_IP, IP_MINTTL, &ttl, sizeof ttl) == 0;
#endif
#ifdef IPV6_MINHOPCOUNT
	set |= setsockopt(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, &ttl, sizeof ttl) == 0;
#endif
	(void)fd;
	(void)ttl;
	return set;
}

/* Sets one back to none. Returns 0, also where the socket knows no such minimum, or -1 with errno.
 */
static inline int clear_minimum(int fd, int level, int name)
{
	int value = 0, error;
	socklen_t length = sizeof value;

	if (setsockopt(fd, level, name, &value, sizeof value) == 0)
		return 0;
	error = errno;
	if (getsockopt(fd, level, name, &value, &length) == -1 || value == 0)
		return 0;
	errno = error;
	return -1;
}

/* Both: half a gate on a dual-stack socket would shut out half of the clients. */
static int clear_minimums(int fd)
{
#ifdef IP_MINTTL
	if (clear_minimum(fd, IPPROTO_IP, IP_MINTTL) == -1)
		return -1;
#endif
#ifdef IPV6_MINHOPCOUNT
	if (clear_minimum(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT) == -1)
		return -1;
#endif
	(void)fd;
	return 0;
}

enum gate_way gate_set(int listener, enum listener_kind kind, int filter)
{
	(void)filter;
	if (kind == LISTENER_UNIX)
		return shutdown(listener, SHUT_RD) == 0 ? GATE_SHUTDOWN : GATE_NONE;
	if (set_minimum(listener, 255))
		return GATE_MINTTL;
	return listen(listener, 0) == 0 ? GATE_BACKLOG : GATE_NONE;
}

enum gate_way gate_set_exact(int listener, int filter)
{
	(void)listener;
	(void)filter;
	return GATE_NONE;
}

bool gate_exact_is_permitted(void)
{
	return false;
}

int gate_clear(int listener, enum gate_way way, int backlog)
{
	switch (way) {
	case GATE_NONE:
		return 0;
	case GATE_MINTTL:
		return clear_minimums(listener);
	case GATE_BACKLOG:
		return listen(listener, backlog);
	default:
		errno = EOPNOTSUPP;
		return -1;
	}
}

void gate_admit(int connection)
{
	set_minimum(connection, 0);
}

int gate_queue(int listener, enum listener_kind kind)
{
	(void)listener;
	(void)kind;
	return -1;
}

int gate_handshakes(int listener, enum listener_kind kind, struct gate_census *census)
{
	(void)census;
	(void)listener;
	(void)kind;
	return -1;
}
