/*
 * Ports that open and close while the server runs: gives the workers their copies of a new
 * listener, takes a closing one through the protocol (closing.h), and tells whoever waits.
 *
 *   VACANT ─open─► OPEN ─close─► CLOSING ─released─► FINISHING ─last connection ended─► VACANT
 *                    ▲              │                                 (or CLOSED, see below)
 *                    └────cancel────┘
 *
 *   CLOSING    Flag, gate and drain. The workers still have their copies.
 *   FINISHING  The address can be bound again. Connections that were let in are served on; the
 *              listener's place, and with it its word and its tallies, is kept until the last of
 *              them has ended.
 *   CLOSED     One of the configuration that was closed by hand: remembered until a reload.
 *
 * The listeners of the configuration are opened by listeners_open, and by a reload, and go the same
 * way. On TERM all of them do, at once.
 */
#ifndef LASTCALL_PORTS_H
#define LASTCALL_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "address.h"
#include "config.h"
#include "gate.h"
#include "listener.h"
#include "log.h"

struct pool;
struct privilege;
struct store;

/* What has become of a listener's connections. Numbers of workers: not to be trusted. */
struct receipt {
	int64_t milliseconds; /* from the close to the release, or until now */
	uint64_t accepted, answered, queued, left, open, cut;
	uint64_t programs_done, programs_failed, programs_killed; /* of exec; see struct slot */
};

#define RECEIPT_PROGRAMS 128 /* enough for what receipt_programs writes */

/* Writes "; programs: 3 with status 0, 0 with another, 0 killed", or nothing where there were none.
 * Returns out. */
const char *receipt_programs(const struct receipt *receipt, char *out, size_t size);

/* Why a port closes, for its holder, the log and the status. */
enum close_reason {
	CLOSE_ASKED, /* `close` */
	CLOSE_TTL,
	CLOSE_HEARTBEAT,
	CLOSE_HOLDER, /* its holder went away, or asked */
	CLOSE_STOP, /* the server stops */
	CLOSE_RELOAD, /* the configuration does not have it any more */
};

/* The word of PROTOCOL for each. */
const char *close_reason_word(enum close_reason reason);

/* What an attempt to open a port came to; the codes of PROTOCOL. */
enum port_fault {
	PORT_OK,
	PORT_IN_USE,
	PORT_NOT_AVAILABLE,
	PORT_PERMISSION,
	PORT_TOO_MANY,
	PORT_STOPPING,
	PORT_ADDRESS,
	PORT_SERVICE, /* its service cannot be prepared */
	PORT_FAILED,
};

/* The word of PROTOCOL for each: "in-use". */
const char *port_fault_word(enum port_fault fault);

/* What a waiter is told. */
enum port_event {
	PORT_RELEASED, /* the address can be bound again; told to those who did not ask for more */
	PORT_FINISHED, /* the last connection has ended or was cut */
	PORT_CANCELLED, /* the close was taken back */
};

/*
 * Somebody who waits for a close, embedded in its owner; told once, and out of the list by then.
 * told() may not open or close ports.
 */
struct port_waiter {
	void (*told)(struct port_waiter *waiter, const struct listener *listener,
	    enum port_event event, const struct receipt *receipt);
	bool to_the_end; /* waits for FINISHED */
	struct listener *listener; /* owned by ports; NULL: does not wait */
	struct port_waiter *next;
};

/*
 * Who holds leases, embedded in its owner; zeroed but for told. told() is called when a lease of
 * it was closed by anybody but itself, at the release. It may not open or close ports.
 */
struct port_holder {
	void (*told)(struct port_holder *holder, const struct listener *listener,
	    enum close_reason reason, const struct receipt *receipt);
	struct listener *leases; /* list, by next_lease; owned by ports */
	size_t count;
};

struct open_request {
	const struct address *address; /* never ADDRESS_NAME */
	const char *asked; /* its text as the client wrote it */
	struct service_config *service;
	bool service_is_ours; /* made for this port and not prepared: freed with it, also when this
			       * fails */
	enum listener_origin origin;
	struct owner owner;
	int64_t ttl; /* ms; 0: none */
	struct port_holder *holder; /* of a lease */
};

struct ports {
	/* Set by whoever makes it. */
	const struct config *config;
	struct log *log;
	struct listeners *listeners;
	struct pool *pool;
	struct store *store;

	const struct privilege
	    *privilege; /* of the workers: whose the paths of Unix sockets become,
			 * and who must get at what a service was given */

	struct listener *closing; /* list of those CLOSING, */
	struct listener *finishing; /* and of those FINISHING */
	int64_t finish_at; /* ms: when the next look at these is due */
	int64_t next_ttl; /* ms: when the first ttl ends, or before */
	struct gate_census census;
	bool no_more; /* a stop was ordered: none is opened any more, */
	bool stopping; /* and those that are open close */
};

/*
 * Opens a port and gives it to the workers. Returns PORT_OK with *out set, or what is wrong with a
 * sentence in why.
 */
enum port_fault ports_open(struct ports *ports, const struct open_request *request, int64_t now,
    struct listener **out, char *why, size_t size);

/*
 * A port of a service whose programs accept by themselves is open, and nobody was given it yet:
 * makes its socket what they expect, and says so where it cannot be closed without loss. Does
 * nothing for others. ports_open and ports_adopt call it themselves.
 */
void ports_say_foreign(const struct ports *ports, const struct listener *listener);

/*
 * Begins to close a port that is open; one that is closing already goes on, with the shorter grace
 * of both. grace in ms: until what is still open is cut; -1: never, 0: at once. The holder of a
 * lease is told at the release, unless the reason is CLOSE_HOLDER.
 */
void ports_close(struct ports *ports, struct listener *listener, enum close_reason reason,
    int64_t grace, int64_t now);

/*
 * Takes a close back that somebody asked for. Returns 0, or -1 with errno: EALREADY, it does not
 * close, was released already, or closes for another reason; EOPNOTSUPP, a Unix socket, whose path
 * is gone; or of setsockopt(2), the gate cannot be undone, and the close goes on.
 */
int ports_cancel(struct ports *ports, struct listener *listener, int64_t now);

/* Has a waiter told. The listener is closing. */
void ports_wait(struct ports *ports, struct listener *listener, struct port_waiter *waiter);

/* Has a port held by a holder, as `lease` does. Nobody holds it yet. */
void ports_hold(struct listener *listener, struct port_holder *holder);

/* A waiter, or the holder of leases, goes away. The leases of the holder close. */
void ports_forget_waiter(struct port_waiter *waiter);
void ports_holder_gone(
    struct ports *ports, struct port_holder *holder, enum close_reason reason, int64_t now);

/*
 * The listener that text means: as it is bound ("127.0.0.1:80"), or as it was asked for if that is
 * one only. Those that are open come before those that are closing. NULL: none.
 */
struct listener *ports_find(const struct ports *ports, const char *text);

/* The texts of the open ports nearest to that text, "127.0.0.1:8080 or *:8081", at most three. */
const char *ports_nearest(const struct ports *ports, const char *text, char *out, size_t size);

/* What has become of a listener's connections until now. */
void ports_receipt(
    const struct ports *ports, const struct listener *listener, int64_t now, struct receipt *out);

/* Does what is due. Returns when it wants to be called again. */
int64_t ports_step(struct ports *ports, int64_t now);

/*
 * A configuration is in force that was planned (listeners_plan) and started: every listener has the
 * service that it says, what it does not have closes, and what was closed by hand is forgotten.
 * Counts those that were kept, opened and closed, and those that it would have kept, but that
 * somebody has closed by hand since it was planned.
 */
struct ports_adopted {
	size_t kept, opened, closed, missed;
};
struct ports_adopted ports_adopt(struct ports *ports, const struct config *config, int64_t now);

/* Begins to close all of them, for a stop. */
void ports_stop(struct ports *ports, int64_t now);

/* Whether all of them were released. */
bool ports_are_released(const struct ports *ports);

/* Whether the queue of one that closes has still to be accepted from; and by programs that accept
 * by themselves. */
bool ports_want_worker(const struct ports *ports);
bool ports_want_programs(const struct ports *ports);

/* For a stop that does not wait: nobody comes in any more. */
void ports_gate(struct ports *ports, int64_t now);

/*
 * Releases what is left; no worker lives any more. Returns how many connections still waited, which
 * this resets.
 */
uint64_t ports_force(struct ports *ports, int64_t now);

#endif
