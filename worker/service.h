/*
 * What a service is: a file in worker/ and a row in service.c. It sees a connection and whether the
 * worker drains; it never sees the master. echo.c is the one to copy.
 *
 * Each call is made from the loop, with the connection's slot; a service answers for itself when it
 * waits, by connection_want and connection_deadline, and ends the connection with connection_finish
 * or connection_close.
 */
#ifndef LASTCALL_SERVICE_H
#define LASTCALL_SERVICE_H

#include "connection.h"
#include "handover.h"

struct acceptor;

struct service {
	struct service_kind kind; /* first, so that a kind is its service */

	/* Once in each worker, before the first connection, as the worker's user. 0, or -1 with
	 * why. May be NULL. */
	int (*start)(struct worker *worker, void *options, char *why, size_t size);

	/* Undoes start, for a service whose port is closed while the worker lives. May be NULL. */
	void (*stop)(void *options);

	/* Descriptors of its logs (kind.logs) lead to other files now; all lines before were
	 * written. May be NULL. */
	void (*reopened)(void *options);
	/* How many connections each of its listeners may have open, over all workers; those that
	 * are above it wait in the accept queue. Negative, or NULL: any number. */
	int64_t (*most)(const void *options);

	/* Of a kind that accepts_itself, in the worker that keeps: another listener of it. The rest
	 * is instances.h's. The calls below may be NULL then. */
	void (*keep)(struct acceptor *acceptor);

	/* A connection was accepted, and may have sent bytes already. */
	void (*open)(struct connection *c);

	/* What was wanted is there. */
	void (*ready)(struct connection *c, unsigned events);

	/* The deadline is over. */
	void (*expire)(struct connection *c);

	/* There is no room for this one: says so if the protocol can, without waiting. The caller
	 * closes it. */
	void (*refuse)(int fd);

	/*
	 * Cuts the connection, whose client is told at once. Returns true: something of it still
	 * ends, and then it closes the connection with that outcome, soon. False, or NULL: the
	 * caller closes it. May be called again meanwhile.
	 */
	bool (*cut)(struct connection *c, enum outcome outcome);

	/* The connection ends: gives back what it holds beyond its buffers. May be NULL. */
	void (*close)(struct connection *c);
};

extern const struct service app_service, echo_service, exec_service, http_service;

/* The service of a kind; every kind is one. */
static inline const struct service *service_of(const struct service_kind *kind)
{
	return (const struct service *)kind;
}

#endif
