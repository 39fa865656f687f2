/*
 * A listening socket as the master sees it: what it was asked to be, what it became, who has it,
 * and how it closes.
 *
 * The master owns the descriptor; each worker has a copy, by the fork or over its channel. A
 * listener has one place in `struct listeners` from the time that it is bound until its last
 * connection has ended, and its index there is that of its word and its tallies in the shared
 * memory. What it goes through is ports.h's; here is what it is.
 */
#ifndef LASTCALL_LISTENER_H
#define LASTCALL_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "activation.h"
#include "address.h"
#include "arrivals.h"
#include "closing.h"
#include "config.h"
#include "diagnostics.h"
#include "handover.h"
#include "path_socket.h"
#include "scoreboard.h"

#define LISTENERS_OF_A_NAME 8 /* addresses of a name that are bound at most */

struct port_holder;
struct port_waiter;

enum listener_state {
	LISTENER_VACANT, /* no listener: the place is free */
	LISTENER_OPEN,
	LISTENER_CLOSING, /* flag, gate, drain */
	LISTENER_FINISHING, /* released: connections that it let in are served on */
	LISTENER_CLOSED, /* of the configuration, closed until the next reload */
	LISTENER_BOUND, /* of a configuration that is being applied: listens when it is */
};

enum listener_origin { ORIGIN_CONFIGURATION, ORIGIN_OPENED, ORIGIN_LEASED };

/* Who asked for a port. */
struct owner {
	int endpoint; /* of the control endpoints, -1: nobody, it is the configuration's */
	bool known; /* uid and pid are those that the kernel tells of a Unix client */
	uid_t uid;
	pid_t pid;
	char peer[ADDRESS_TEXT]; /* "127.0.0.1:4711", of a TCP client; else empty */
};

struct listener {
	enum listener_state state;
	int fd; /* -1: released, and no worker has a copy */
	unsigned index; /* of its place, its word and its tallies */
	enum listener_kind kind;
	int passed; /* its index among the sockets that were passed; -1: we bound it */
	char *stored; /* its name in the store of the service manager, owned; NULL: not there */
	enum listener_origin origin;
	struct service_config *service;
	const struct listen_block *block; /* of the configuration that its service is of; NULL:
					   * none, as a port that a client opened */
	struct service_config *next_service; /* while another configuration is being applied: what
					      * it has there; NULL: nothing, or it is not the
					      * configuration's */
	const char *next_asked; /* and in which words; that configuration's */
	const struct listen_block *next_block; /* and with which block */
	bool service_is_ours; /* made for this port alone, freed with it */
	union address_socket bound; /* what the kernel says it is bound to */
	char text[ADDRESS_TEXT]; /* the same as text, "127.0.0.1:41233" */
	char asked[ADDRESS_TEXT]; /* as it was asked for, "localhost:0" */
	struct path_socket path; /* of a Unix socket; its descriptor is fd */
	struct owner owner;
	int64_t opened; /* ms */
	struct closing closing;
	uint64_t holders[SCOREBOARD_SLOTS / 64]; /* which workers have a copy, by slot */
	struct tally past; /* of workers that are gone, and of what was cut in its queue */
	bool counted; /* its SYNs are, */
	uint64_t arrivals_before; /* beginning with this number of its port, */
	uint32_t mixed_before; /* as long as no other listener shares the port */

	/* ports.c's own. */
	int64_t ttl_ends; /* ms; CLOCK_NEVER: no ttl */
	int64_t grace_ends; /* ms: what is open then is cut; CLOCK_NEVER */
	int64_t released; /* ms: when it was; 0: not yet */
	bool told; /* whoever waited for that was told */
	int why_closed; /* enum close_reason */
	int64_t nudge_at; /* ms: when the workers are told to look at its queue */
	bool cut; /* its connections were told to end */
	struct port_holder *holder; /* of a lease, NULL once it is gone */
	struct listener *next_lease, **lease_link; /* of the same holder, and what points here */
	struct port_waiter *waiters;
	struct listener *next_closing; /* of those that close, or that finish */
	struct listener *next_same; /* of the same hash */
	struct listener *next_vacant;
};

/* Who listens on a port number, at whatever address. */
struct port_use {
	uint32_t listeners; /* now */
	uint32_t mixed; /* how often there came to be more than one */
};

/* Every place. The pointers stay as they are from listeners_init to listeners_close. */
struct listeners {
	struct listener *all;
	size_t capacity; /* places */
	size_t count; /* places used so far: no listener beyond */
	size_t open, bound; /* LISTENER_OPEN, LISTENER_BOUND */
	bool let_go; /* a worker has closed a copy since ports.c looked */
	bool patient; /* it starts: waits for another server that is looking at the same path */
	struct listener *vacant;
	struct listener **hashed; /* by text; LISTENERS_HASH of them */
	struct scoreboard *scoreboard;
	struct arrivals arrivals;
	struct activation *activation; /* what we were started with; NULL: nothing */
	struct port_use *uses; /* by port */
	uint64_t living[SCOREBOARD_SLOTS / 64]; /* which workers count, by slot */
};

/* Whether there is a vacant place; and whether one listens on a port, at whatever address. */
bool listeners_have_room(const struct listeners *listeners);
bool listeners_use_port(const struct listeners *listeners, unsigned port);

/* Makes the places, and begins to count SYNs. Returns 0, or -1 with errno ENOMEM. listeners_make
 * makes the places alone. */
int listeners_init(struct listeners *listeners, size_t capacity, struct scoreboard *scoreboard);
int listeners_make(struct listeners *listeners, size_t capacity, struct scoreboard *scoreboard);

/*
 * Binds every address of the configuration. Returns 0, or -1 with every error in d; what was bound
 * by then stays in listeners and is released by listeners_close.
 */
int listeners_open(
    struct listeners *listeners, const struct config *config, int64_t now, struct diagnostics *d);

/*
 * Plans another configuration. A listener of the present one that it has too gets its next_service,
 * and so do ports that were opened for a service that it has under the same name; what else it
 * listens on is bound. Returns 0, or -1 with every error in d; listeners_unplan is due in both
 * cases, or listeners_start_planned and the adoption of every next_service.
 */
int listeners_plan(
    struct listeners *listeners, const struct config *next, int64_t now, struct diagnostics *d);

/* The same for ports that were opened since. */
void listeners_plan_ports(struct listeners *listeners, const struct config *next);

/* Those that are bound take connections from now on. Returns 0, or -1 with why. */
int listeners_start_planned(struct listeners *listeners, int backlog, char *why, size_t size);

/* Takes the plan back. Returns how many connections came in where it had begun to listen, which are
 * reset. */
uint64_t listeners_unplan(struct listeners *listeners);

/* Whether any of them has a service of that configuration. */
bool listeners_use(const struct listeners *listeners, const struct config *config);

/* Gives the path of a Unix socket to a group; only a hint to others, so it cannot fail. */
void listener_give(const struct listener *listener, gid_t group);

/* Closes what is left and unlinks the paths that are still ours. */
void listeners_close(struct listeners *listeners);

/*
 * Binds one address (never ADDRESS_NAME) in a vacant place. Returns the listener, OPEN, for its
 * service to be set, or NULL with errno of socket(2), bind(2), listen(2); ENFILE: no place is left.
 */
struct listener *listener_open(
    struct listeners *listeners, const struct address *address, int backlog, int64_t now);

/*
 * The same in two steps, for one that is to take connections only when all else is done: bound, and
 * BOUND, and then listening, and OPEN. Returns as listener_open; 0, or -1 with errno. One that does
 * not listen is given up with listener_unbind.
 */
struct listener *listener_bind(
    struct listeners *listeners, const struct address *address, int64_t now);
int listener_listen(struct listeners *listeners, struct listener *listener, int backlog);
void listener_unbind(struct listeners *listeners, struct listener *listener);

/*
 * A place was filled with what a listener was before an upgrade: it is found from here on, and
 * knows its word. listeners_entered is due after the last of them.
 */
void listener_enter(struct listeners *listeners, struct listener *listener);
void listeners_entered(struct listeners *listeners);

/*
 * The same for a socket that listens already, of which fd is a copy that is taken over if this
 * succeeds. It is not ours alone. passed: its index among those that were passed, whose listen(2)
 * is not ours to repeat; -1, and it is as if we had bound it, with its path.
 */
struct listener *listener_adopt(
    struct listeners *listeners, int fd, int passed, const char *asked, int64_t now);

/* Closes its descriptor. It was released. */
void listener_close(struct listeners *listeners, struct listener *listener);

/* Gives a place back: its descriptor is closed, its own service released and freed. */
void listener_free(struct listeners *listeners, struct listener *listener);

/* The one setter of the state. */
void listener_set_state(
    struct listeners *listeners, struct listener *listener, enum listener_state state);

/* The listener that is bound to that text, the OPEN one first, then one that is CLOSING, then any;
 * or NULL. */
struct listener *listener_find(const struct listeners *listeners, const char *text);

/* Unlinks the path of a Unix listener if it is still the one that we bound, and ours alone: nobody
 * new finds it. */
void listener_unlink(struct listener *listener);

/* Notes who has a copy. */
void listener_hold(struct listener *listener, unsigned slot, bool holds);
bool listener_held(const struct listener *listener);
bool listener_held_by(const struct listener *listener, unsigned slot);

/*
 * What all workers, living and gone, counted for it. Numbers of workers: to show and to compare.
 */
void listener_tally(
    const struct listeners *listeners, const struct listener *listener, struct tally *out);

/*
 * Whether it is certain that no handshake is under way on a listener that is gated and whose queue
 * is empty. False says nothing.
 */
bool listener_has_none_under_way(
    const struct listeners *listeners, const struct listener *listener);

/* In a child: closes what is the master's, but for the listeners' own descriptors. */
void listeners_detach(struct listeners *listeners);

/* A worker is born in that slot and has a copy of every listener that is OPEN or CLOSING. */
void listeners_born(struct listeners *listeners, unsigned slot);

/*
 * It is gone: it has no copy any more, and what it counted is taken over. What it had open is cut,
 * most at most.
 */
void listeners_dead(struct listeners *listeners, unsigned slot, uint64_t most);

/* "http://127.0.0.1:8080/" for a service that has a scheme, else "". Returns out. */
const char *listener_url(const struct listener *listener, char *out, size_t size);

#endif
