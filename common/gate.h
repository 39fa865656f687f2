/*
 * What a kernel offers for closing a listener without loss: a gate that lets no new handshake
 * begin, and the counts of what is still under way. gate_linux.c and gate_posix.c are twins;
 * closing.c is the protocol.
 */
#ifndef LASTCALL_GATE_H
#define LASTCALL_GATE_H

#include <stdbool.h>
#include <stdint.h>

enum listener_kind {
	LISTENER_TCP,
	LISTENER_UNIX,
};

/* How a gate was set; the best that was permitted. */
enum gate_way {
	GATE_NONE, /* it could not be, or must not be (a socket that is not ours) */
	GATE_FILTER, /* a socket filter drops each SYN: exact; wants CAP_NET_ADMIN on newer kernels
		      */
	GATE_MINTTL, /* IP_MINTTL and IPV6_MINHOPCOUNT 255: SYNs arrive with less */
	GATE_BACKLOG, /* listen(fd, 0): as little as a POSIX system can */
	GATE_SHUTDOWN, /* Unix socket: shutdown(SHUT_RD) refuses newcomers and keeps the queue */
};

/*
 * Sets the gate on a listening socket, for all processes that share it. Idempotent. filter: a
 * program that drops SYNs (arrivals.h), not owned, which spares making one; -1: there is none.
 */
enum gate_way gate_set(int listener, enum listener_kind kind, int filter);

/*
 * The same for a socket on which programs accept that do not call gate_admit: only a gate that
 * connections do not inherit. Returns GATE_FILTER, or GATE_NONE.
 */
enum gate_way gate_set_exact(int listener, int filter);

/* Whether that can be had, tried on a socket of its own. */
bool gate_exact_is_permitted(void);

/*
 * Takes the gate away again; backlog is what it had. Who accepts on the listener from then on still
 * calls gate_admit, for a connection may have been born under it. Returns 0, or -1 with errno
 * (EOPNOTSUPP: GATE_SHUTDOWN cannot be undone).
 */
int gate_clear(int listener, enum gate_way way, int backlog);

/*
 * What a connection inherited from a gated listener is undone, so that it can receive. For every
 * connection accepted on a listener that was ever gated; harmless on all others.
 */
void gate_admit(int connection);

/* Connections in the accept queue, or -1 where the system does not tell. */
int gate_queue(int listener, enum listener_kind kind);

/*
 * All handshakes of this machine that have begun and not ended (SYN_RECV), asked for once for any
 * number of listeners: to ask takes a millisecond on a machine with a large table of sockets.
 * It holds for a listener that was gated before it was taken. Zeroed before its first use.
 */
#define GATE_CENSUS_MAX 512

struct gate_handshake {
	uint8_t family; /* of the socket: AF_INET6 also for IPv4 on a dual-stack listener */
	uint16_t port; /* network order */
	uint32_t address[4]; /* the local one */
};

struct gate_census {
	bool taken; /* false: gate_handshakes takes it */
	int count; /* -1: the system does not tell */
	struct gate_handshake all[GATE_CENSUS_MAX]; /* the first of them */
};

/* Forgets it, for whoever has gated a listener since. */
static inline void gate_census_clear(struct gate_census *census)
{
	census->taken = false;
}

/*
 * Handshakes on the listener's address, by the census, or -1 where the system does not tell. More
 * than GATE_CENSUS_MAX at a time count for every listener.
 */
int gate_handshakes(int listener, enum listener_kind kind, struct gate_census *census);

#endif
