/*
 * Connections that begin with a PROXY header (`listen … { proxy-protocol on; }`): the header is
 * read between accept and the service, which sees the client that it names and not a byte of it.
 *
 * Who may not send one, does not, or takes too long, never reaches a service: it is closed,
 * counted, and the log says so now and then.
 */
#ifndef LASTCALL_PROXIED_H
#define LASTCALL_PROXIED_H

#include <stdbool.h>

#include "address.h"
#include "connection.h"
#include "handover.h"

/* Whether the connections of a listener begin with a header. */
bool proxied_is(const struct handover_listener *listener);

/* Whether somebody of that address may send one; if not, it is counted and logged, and the caller
 * closes the connection. */
bool proxied_admits(struct acceptor *acceptor, const union address_socket *peer);

/* Instead of the service's open, which is called when the header is read. */
void proxied_open(struct connection *c);

#endif
