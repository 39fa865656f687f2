/*
 * What a kernel offers for closing a listener without loss: a gate that lets no new handshake
 * begin, and the counts of what is still under way. gate_linux.c and gate_posix.c are twins;
 * closing.c is the protocol.
 */
#ifndef LASTCALL_GATE_H
#define LASTCALL_GATE_H

#include <stdbool.h>

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

/* Sets the gate on a listening socket, for all processes that share it. Idempotent. */
enum gate_way gate_set(int listener, enum listener_kind kind);

/*
 * What a connection inherited from a gated listener is undone, so that it can receive. For every
 * connection accepted on a listener that was ever gated; harmless on all others.
 */
void gate_admit(int connection);

/* Connections in the accept queue, or -1 where the system does not tell. */
int gate_queue(int listener, enum listener_kind kind);

/*
 * Handshakes on the listener's address that have begun and not ended (SYN_RECV), or -1 where the
 * system does not tell. Takes milliseconds on a machine with very many sockets.
 */
int gate_handshakes(int listener, enum listener_kind kind);

#endif
