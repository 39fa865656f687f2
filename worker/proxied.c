/*
 * Reads PROXY headers; see proxied.h.
 *
 * Until the header is whole the connection has a service of this file in place of its own. The
 * bytes are looked at first (MSG_PEEK), and only those of the header are taken, so that what
 * follows stays in the socket: for a service that reads, and for a program that gets the socket
 * itself.
 */
#include "proxied.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "network.h"
#include "proxy_header.h"
#include "service.h"
#include "worker.h"

#define LOOKS_MAX 16 /* of one connection in one go; a header with extensions can have 64 KiB */
#define LOOK 4096 /* bytes */
#define LOG_MS 10000 /* between lines about those that were turned away */

_Static_assert(sizeof(struct proxy_header) <= CONNECTION_PRIVATE,
    "CONNECTION_PRIVATE is too small for a PROXY header");

static struct proxy_header *header_of(struct connection *c)
{
	return connection_private(c);
}

/* ---- turned away ---- */

static void say(struct acceptor *acceptor, const union address_socket *peer, const char *why)
{
	struct worker *worker = acceptor->worker;
	struct turned_away *log = &worker->turned_away;
	char host[ADDRESS_TEXT], others[64] = "";

	slot_add(&worker->self->turned_away, 1);
	if (worker->now < log->not_before) {
		log->unsaid++;
		return;
	}
	if (log->unsaid > 0)
		snprintf(others, sizeof others, "; %llu more since the last such line",
		    (unsigned long long)log->unsaid);
	log_write(worker->log, LOG_WARNING,
	    "worker %u: service %s: a connection of %s was turned away: %s%s", worker->from->slot,
	    acceptor->from.service->name, address_host(peer, host, sizeof host), why, others);
	*log = (struct turned_away){.not_before = worker->now + LOG_MS};
}

/* Closing is all the answer that this one gets. */
static void turn_away(struct connection *c, const char *why)
{
	union address_socket peer;

	say(c->acceptor, connection_peer(c, &peer), why);
	connection_close(c, OUTCOME_ANSWERED);
}

bool proxied_is(const struct handover_listener *listener)
{
	return listener->block != NULL && listener->block->proxy_protocol;
}

bool proxied_admits(struct acceptor *acceptor, const union address_socket *peer)
{
	const struct listen_block *block = acceptor->from.block;

	for (size_t i = 0; i < block->networks_count; i++) {
		if (network_has(&block->networks[i], peer))
			return true;
	}
	say(acceptor, peer, "\"from\" does not name it");
	return false;
}

/* ---- reading ---- */

/* The connection is the service's from here on, as if it had just been accepted from the client. */
static void hand_on(struct connection *c)
{
	union address_socket client;

	if (proxy_header_client(header_of(c), &client))
		connection_set_peer(c, &client);
	connection_private_give(c);
	timer_clear(&c->worker->wheel, &c->timer);
	connection_want(c, 0);
	c->service = service_of(c->acceptor->from.service->kind);
	c->service->open(c);
}

/* Takes bytes that were seen to be there. Returns false if they are not. */
static bool take(struct connection *c, size_t length)
{
	char bytes[LOOK];

	while (length > 0) {
		ssize_t got = recv(c->watch.fd, bytes, length, 0);

		if (got == -1 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		length -= (size_t)got;
	}
	return true;
}

/* The client's side has ended, or the connection is broken. Who only looked whether somebody
 * listens did no wrong. */
static void ended(struct connection *c)
{
	union address_socket peer;

	if (header_of(c)->have > 0)
		say(c->acceptor, connection_peer(c, &peer), "it ended within its PROXY header");
	connection_close(c, OUTCOME_LEFT);
}

static void proxied_ready(struct connection *c, unsigned events)
{
	unsigned char bytes[LOOK];

	(void)events;
	for (int looks = 0; looks < LOOKS_MAX; looks++) {
		ssize_t got = recv(c->watch.fd, bytes, sizeof bytes, MSG_PEEK);
		enum proxy_result result;
		size_t used;

		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1 && errno == EAGAIN)
			break;
		if (got <= 0) {
			ended(c);
			return;
		}
		result = proxy_header_feed(header_of(c), bytes, (size_t)got, &used);
		if (result == PROXY_BAD) {
			turn_away(c, "it did not begin with a PROXY header");
			return;
		}
		if (!take(c, used)) {
			ended(c);
			return;
		}
		if (result == PROXY_DONE) {
			hand_on(c);
			return;
		}
	}
	connection_want(c, LOOP_READ);
}

static void proxied_expire(struct connection *c)
{
	turn_away(c, "its PROXY header did not come in time");
}

/* In no table: nobody can name it. */
static const struct service proxied_service = {
    .kind = {.name = "proxied"},
    .ready = proxied_ready,
    .expire = proxied_expire,
};

void proxied_open(struct connection *c)
{
	c->service = &proxied_service;
	connection_deadline(c, c->acceptor->from.block->proxy_timeout);
	proxied_ready(c, LOOP_READ);
}
