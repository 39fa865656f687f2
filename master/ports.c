/* Ports that open and close; see ports.h. What a port is, is listener.c's, how it closes
 * closing.c's; here is when, for whom, and who is told. */
#include "ports.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "channel.h"
#include "clock.h"
#include "descriptor.h"
#include "pool.h"
#include "privilege.h"
#include "store.h"
#include "system.h"

#define FINISH_LOOK_MS 20 /* between looks at connections that are finished */
#define NUDGE_MS                                                                                   \
	50 /* until the workers are told of a queue that does not empty, again and again           \
	    */
#define COUNT_MS 200 /* from the release to the receipt, for workers that have not let go */
#define CUT_MS 1000 /* from the order to cut to the answer, whatever is still open */
#define NEAREST_MAX 3

const char *port_fault_word(enum port_fault fault)
{
	static const char *const words[] = {
	    [PORT_OK] = "ok",
	    [PORT_IN_USE] = "in-use",
	    [PORT_NOT_AVAILABLE] = "not-available",
	    [PORT_PERMISSION] = "permission",
	    [PORT_TOO_MANY] = "too-many",
	    [PORT_STOPPING] = "stopping",
	    [PORT_ADDRESS] = "address",
	    [PORT_SERVICE] = "service",
	    [PORT_FAILED] = "failed",
	};

	return words[fault];
}

const char *close_reason_word(enum close_reason reason)
{
	static const char *const words[] = {
	    [CLOSE_ASKED] = "close",
	    [CLOSE_TTL] = "ttl",
	    [CLOSE_HEARTBEAT] = "heartbeat",
	    [CLOSE_HOLDER] = "close",
	    [CLOSE_STOP] = "stop",
	    [CLOSE_RELOAD] = "reload",
	};

	return words[reason];
}

/* ---- opening ---- */

/* The listener of ours that has the port of an address that is in use, or NULL. */
static const struct listener *holder_of(const struct ports *ports, const struct address *address)
{
	struct address theirs;
	const char *why;

	for (size_t i = 0; i < ports->listeners->count; i++) {
		const struct listener *listener = &ports->listeners->all[i];

		if (listener->state != LISTENER_OPEN && listener->state != LISTENER_CLOSING &&
		    listener->state != LISTENER_BOUND)
			continue;
		if (listener->kind == LISTENER_TCP &&
		    address_port(&listener->bound) != address->port)
			continue; /* most of them, at no cost */
		if (address_parse(&theirs, listener->text, &why) == 0 &&
		    (address_equal(&theirs, address) || address_overlaps(&theirs, address)))
			return listener;
	}
	return NULL;
}

static void say_in_use(
    const struct ports *ports, const struct address *address, char *why, size_t size)
{
	const struct listener *ours = holder_of(ports, address);
	unsigned low, high;

	if (ours != NULL)
		snprintf(why, size, "%s: address in use, by the listener %s of this server%s",
		    address->text, ours->text,
		    ours->state == LISTENER_CLOSING     ? ", which is closing"
			: ours->state == LISTENER_BOUND ? ", which a reload is about to open"
							: "");
	else if (address->form != ADDRESS_UNIX && system_ephemeral_ports(&low, &high) &&
	    address->port >= low && address->port <= high)
		snprintf(why, size,
		    "%s: address in use; ports %u to %u are given to outgoing connections, one of "
		    "which may have it",
		    address->text, low, high);
	else
		snprintf(why, size, "%s: address in use", address->text);
}

/* What an error of bind(2) and the like is to a client. */
static enum port_fault fault_of(
    const struct ports *ports, const struct address *address, int error, char *why, size_t size)
{
	switch (error) {
	case EADDRINUSE:
		say_in_use(ports, address, why, size);
		return PORT_IN_USE;
	case EADDRNOTAVAIL:
		snprintf(why, size, "%s: not an address of this machine", address->text);
		return PORT_NOT_AVAILABLE;
	case EACCES:
	case EPERM:
		snprintf(why, size, "%s: %s%s", address->text, strerror(error),
		    address->form != ADDRESS_UNIX && address->port > 0 && address->port < 1024
			? " (a port below 1024 wants root or CAP_NET_BIND_SERVICE)"
			: "");
		return PORT_PERMISSION;
	default:
		snprintf(why, size, "%s: %s", address->text, strerror(error));
		return PORT_FAILED;
	}
}

/* Whether there may be one more. */
static enum port_fault admit(
    const struct ports *ports, const struct address *address, char *why, size_t size)
{
	size_t closing = 0;

	if (ports->no_more) {
		snprintf(why, size, "the server is stopping");
		return PORT_STOPPING;
	}
	if (address->form == ADDRESS_NAME || address->form == ADDRESS_FD) {
		snprintf(why, size, "%s: not an address that can be bound", address->text);
		return PORT_ADDRESS;
	}
	/* The kernel would let it, for these do not listen yet. */
	if (ports->listeners->bound > 0 && holder_of(ports, address) != NULL) {
		say_in_use(ports, address, why, size);
		return PORT_IN_USE;
	}
	for (const struct listener *at = ports->closing; at != NULL; at = at->next_closing)
		closing++;
	if (ports->listeners->open + closing >= (size_t)ports->config->max_listeners) {
		snprintf(why, size, "%lld listeners are open, and max-listeners is %lld",
		    (long long)(ports->listeners->open + closing),
		    (long long)ports->config->max_listeners);
		return PORT_TOO_MANY;
	}
	if (!listeners_have_room(ports->listeners)) {
		snprintf(why, size, "too many ports that were closed still have connections");
		return PORT_TOO_MANY;
	}
	return PORT_OK;
}

/* Has a service of a port's own open what it needs. Returns 0, or -1 with why. */
static int prepare(
    const struct ports *ports, struct service_config *service, char *why, size_t size)
{
	const struct service_kind *kind = service->kind;
	int fds[CHANNEL_FDS_MAX], count = 0;
	struct stat info;

	if (kind->prepare != NULL &&
	    kind->prepare(service->options, privilege_account(ports->privilege), why, size) == -1)
		return -1;
	if (kind->lend != NULL)
		count = kind->lend(service->options, fds, CHANNEL_FDS_MAX);
	for (int i = 0; i < count; i++) {
		if (fstat(fds[i], &info) == -1 || !S_ISDIR(info.st_mode) ||
		    privilege_can_enter(ports->privilege, fds[i]))
			continue;
		snprintf(why, size,
		    "the user that workers run as, \"%s\", may not enter the folder",
		    ports->privilege->account.user);
		if (kind->release != NULL)
			kind->release(service->options);
		return -1;
	}
	return 0;
}

void ports_hold(struct listener *listener, struct port_holder *holder)
{
	listener->holder = holder;
	listener->next_lease = holder->leases;
	listener->lease_link = &holder->leases;
	if (holder->leases != NULL)
		holder->leases->lease_link = &listener->next_lease;
	holder->leases = listener;
	holder->count++;
}

static void leave_holder(struct listener *listener)
{
	if (listener->holder == NULL)
		return;
	*listener->lease_link = listener->next_lease;
	if (listener->next_lease != NULL)
		listener->next_lease->lease_link = listener->lease_link;
	listener->holder->count--;
	listener->holder = NULL;
}

static void log_opened(const struct ports *ports, const struct listener *listener)
{
	const struct owner *owner = &listener->owner;
	char who[ADDRESS_TEXT + 32];

	if (owner->known)
		snprintf(who, sizeof who, " by uid %lu, pid %ld", (unsigned long)owner->uid,
		    (long)owner->pid);
	else
		snprintf(who, sizeof who, " by %s", owner->peer);
	log_write(ports->log, LOG_INFO, "%s: %s%s, for %s", listener->text,
	    listener->origin == ORIGIN_LEASED ? "leased" : "opened", who, listener->service->name);
}

void ports_say_foreign(const struct ports *ports, const struct listener *listener)
{
	int flags;

	if (!listener->service->kind->accepts_itself)
		return;
	/* Programs expect what systemd gives them: a socket that waits. Nothing of ours accepts
	 * here, and what they make of it later is theirs. */
	flags = fcntl(listener->fd, F_GETFL);
	if (flags != -1)
		fcntl(listener->fd, F_SETFL, flags & ~O_NONBLOCK);
	if (listener->kind == LISTENER_TCP && listener->closing.ours && !gate_exact_is_permitted())
		log_write(ports->log, LOG_WARNING,
		    "%s: no gate may be set here for %s, whose programs accept by themselves: when "
		    "it closes, connections that they leave in the queue are lost, and counted",
		    listener->text, listener->service->name);
}

/* Frees the service of a request that comes to nothing. */
static void drop_service(const struct open_request *request, bool prepared)
{
	if (!request->service_is_ours)
		return;
	if (prepared && request->service->kind->release != NULL)
		request->service->kind->release(request->service->options);
	config_free_service(request->service);
}

enum port_fault ports_open(struct ports *ports, const struct open_request *request, int64_t now,
    struct listener **out, char *why, size_t size)
{
	const struct address *address = request->address;
	enum port_fault fault = admit(ports, address, why, size);
	struct listener *listener;

	if (fault == PORT_OK && request->service_is_ours &&
	    prepare(ports, request->service, why, size) == -1)
		fault = PORT_SERVICE;
	if (fault != PORT_OK) {
		drop_service(request, false);
		return fault;
	}
	listener = listener_open(ports->listeners, address, (int)ports->config->backlog, now);
	if (listener == NULL) {
		fault = fault_of(ports, address, errno, why, size);
		drop_service(request, true);
		return fault;
	}
	listener->origin = request->origin;
	listener->owner = request->owner;
	listener->service = request->service;
	listener->service_is_ours = request->service_is_ours;
	if (request->asked != NULL)
		snprintf(listener->asked, sizeof listener->asked, "%s", request->asked);
	if (ports->privilege->change)
		listener_give(listener, ports->privilege->account.gid);
	ports_say_foreign(ports, listener);
	if (pool_offer(ports->pool, listener) == -1) {
		snprintf(why, size, "%s: %s", address->text, strerror(errno));
		listener_unlink(listener);
		listener_free(ports->listeners, listener);
		return PORT_FAILED;
	}
	if (request->ttl > 0) {
		listener->ttl_ends = now + request->ttl;
		ports->next_ttl = clock_earlier(ports->next_ttl, listener->ttl_ends);
	}
	if (request->holder != NULL)
		ports_hold(listener, request->holder);
	log_opened(ports, listener);
	*out = listener;
	return PORT_OK;
}

/* ---- closing ---- */

static void list_remove(struct listener **list, struct listener *listener)
{
	while (*list != listener)
		list = &(*list)->next_closing;
	*list = listener->next_closing;
}

void ports_close(struct ports *ports, struct listener *listener, enum close_reason reason,
    int64_t grace, int64_t now)
{
	if (listener->state == LISTENER_OPEN) {
		listener_set_state(ports->listeners, listener, LISTENER_CLOSING);
		listener->why_closed = reason;
		listener->nudge_at = now + NUDGE_MS;
		/* What is in the store outlives a stop; what closes for good does not. */
		if (reason != CLOSE_STOP)
			store_forget(ports->store, listener);
		listener->closing.foreign = listener->service->kind->accepts_itself;
		closing_begin(&listener->closing, now, ports->config->settle);
		listener_unlink(listener);
		listener->next_closing = ports->closing;
		ports->closing = listener;
	}
	/* What ends a lease cannot be taken back, as a close that somebody asked for can. */
	if (listener->state == LISTENER_CLOSING && listener->why_closed == CLOSE_ASKED)
		listener->why_closed = reason;
	if (reason == CLOSE_HOLDER)
		leave_holder(listener);
	if (grace >= 0)
		listener->grace_ends = clock_earlier(listener->grace_ends, now + grace);
	ports->finish_at = now;
}

void ports_wait(struct ports *ports, struct listener *listener, struct port_waiter *waiter)
{
	waiter->listener = listener;
	waiter->next = listener->waiters;
	listener->waiters = waiter;
	ports->finish_at = 0;
}

void ports_forget_waiter(struct port_waiter *waiter)
{
	struct port_waiter **link;

	if (waiter->listener == NULL)
		return;
	link = &waiter->listener->waiters;
	while (*link != waiter)
		link = &(*link)->next;
	*link = waiter->next;
	waiter->listener = NULL;
}

/* Tells those who wait for this; at the end everybody. Returns how many. */
static unsigned tell(
    struct ports *ports, struct listener *listener, enum port_event event, int64_t now)
{
	struct port_waiter **link = &listener->waiters;
	struct receipt receipt;
	unsigned told = 0;

	if (*link == NULL)
		return 0;
	ports_receipt(ports, listener, now, &receipt);
	while (*link != NULL) {
		struct port_waiter *waiter = *link;

		if (event == PORT_RELEASED && waiter->to_the_end) {
			link = &waiter->next;
			continue;
		}
		*link = waiter->next;
		waiter->listener = NULL;
		waiter->told(waiter, listener, event, &receipt);
		told++;
	}
	return told;
}

int ports_cancel(struct ports *ports, struct listener *listener, int64_t now)
{
	if (listener->state != LISTENER_CLOSING || listener->why_closed != CLOSE_ASKED ||
	    listener->cut) {
		errno = EALREADY;
		return -1;
	}
	if (listener->kind == LISTENER_UNIX) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if (closing_cancel(&listener->closing, (int)ports->config->backlog) == -1)
		return -1;
	list_remove(&ports->closing, listener);
	listener->counted = false; /* the filter that counts went with the gate */
	ports->store->due = true;
	listener->grace_ends = CLOCK_NEVER;
	listener_set_state(ports->listeners, listener, LISTENER_OPEN);
	log_write(ports->log, LOG_INFO, "%s: not closed after all", listener->text);
	tell(ports, listener, PORT_CANCELLED, now);
	pool_tell(ports->pool, listener);
	return 0;
}

void ports_holder_gone(
    struct ports *ports, struct port_holder *holder, enum close_reason reason, int64_t now)
{
	while (holder->leases != NULL) {
		struct listener *listener = holder->leases;

		leave_holder(listener);
		ports_close(ports, listener, reason, -1, now);
	}
}

void ports_receipt(
    const struct ports *ports, const struct listener *listener, int64_t now, struct receipt *out)
{
	const struct closing *closing = &listener->closing;
	struct tally tally;

	listener_tally(ports->listeners, listener, &tally);
	*out = (struct receipt){
	    .accepted = slot_read(&tally.accepted),
	    .answered = slot_read(&tally.answered),
	    .queued = slot_read(&tally.queued),
	    .programs_done = slot_read(&tally.programs_done),
	    .programs_failed = slot_read(&tally.programs_failed),
	    .programs_killed = slot_read(&tally.programs_killed),
	    .left = slot_read(&tally.left),
	    .open = slot_read(&tally.open),
	    .cut = slot_read(&tally.cut),
	};
	if (closing->state != CLOSING_OPEN)
		out->milliseconds =
		    (listener->released != 0 ? listener->released : now) - closing->begun;
}

static const char *why_text(const struct listener *listener)
{
	return listener->why_closed == CLOSE_HOLDER
	    ? "its lease ended"
	    : close_reason_word((enum close_reason)listener->why_closed);
}

/* A port was released: its address is free. Who waits for that is told in step_finishing. */
static void released(struct ports *ports, struct listener *listener, int64_t now)
{
	list_remove(&ports->closing, listener);
	listener->next_closing = ports->finishing;
	ports->finishing = listener;
	ports->finish_at = now;
	listener_set_state(ports->listeners, listener, LISTENER_FINISHING);
	listener->released = now;
	if (listener->closing.handshakes_left > 0)
		log_write(ports->log, LOG_WARNING, "%s: %d handshakes had not ended within settle",
		    listener->text, listener->closing.handshakes_left);
}

const char *receipt_programs(const struct receipt *receipt, char *out, size_t size)
{
	out[0] = '\0';
	if (receipt->programs_done + receipt->programs_failed + receipt->programs_killed > 0)
		snprintf(out, size,
		    "; programs: %llu with status 0, %llu with another, %llu killed",
		    (unsigned long long)receipt->programs_done,
		    (unsigned long long)receipt->programs_failed,
		    (unsigned long long)receipt->programs_killed);
	return out;
}

/* Logs a release, and tells the holder and whoever waits for it. */
static void tell_released(struct ports *ports, struct listener *listener, int64_t now)
{
	struct port_holder *holder = listener->holder;
	bool heard = holder != NULL || listener->waiters != NULL;
	char programs[RECEIPT_PROGRAMS];
	struct receipt receipt;

	listener->told = true;
	ports_receipt(ports, listener, now, &receipt);
	leave_holder(listener);
	if (holder != NULL)
		holder->told(holder, listener, (enum close_reason)listener->why_closed, &receipt);
	if (listener->service->kind->accepts_itself) {
		/* What they did with whom they accepted nobody knows but they. */
		log_write(ports->log, ports->stopping || heard ? LOG_INFO : LOG_NOTICE,
		    "%s: closed after %lld ms (%s): accepted by its programs, %llu cut%s",
		    listener->text, (long long)receipt.milliseconds, why_text(listener),
		    (unsigned long long)receipt.cut,
		    receipt_programs(&receipt, programs, sizeof programs));
		return;
	}
	/* What nobody waited for is to be read in the log; that of a stop is in its receipt. */
	log_write(ports->log,
	    heard || ports->stopping || listener->why_closed == CLOSE_HOLDER ? LOG_INFO
									     : LOG_NOTICE,
	    "%s: closed after %lld ms (%s): %llu accepted, %llu answered, %llu open, %llu cut%s",
	    listener->text, (long long)receipt.milliseconds, why_text(listener),
	    (unsigned long long)receipt.accepted, (unsigned long long)receipt.answered,
	    (unsigned long long)receipt.open, (unsigned long long)receipt.cut,
	    receipt_programs(&receipt, programs, sizeof programs));
}

/* Gives up waiting for the queue: what is in it is reset, and counted. Returns how many. */
static uint64_t force(struct ports *ports, struct listener *listener, int64_t now)
{
	int queued;

	closing_gate(&listener->closing, now);
	queued = closing_force(&listener->closing);
	if (queued > 0) {
		slot_add(&listener->past.accepted, (uint64_t)queued);
		slot_add(&listener->past.cut, (uint64_t)queued);
		log_write(ports->log, LOG_WARNING, "%s: %d connections of its queue were cut",
		    listener->text, queued);
	}
	return (uint64_t)queued;
}

/* Whether a close has waited for long enough. A stop has a grace of its own, which is the master's.
 */
static bool is_overdue(const struct ports *ports, const struct listener *listener, int64_t now)
{
	int64_t waited = now - listener->closing.begun;

	if (now >= listener->grace_ends)
		return true;
	return !ports->stopping &&
	    (waited >= ports->config->grace ||
		(waited >= ports->config->settle && !pool_drains(ports->pool, listener, now)));
}

/* What nobody had accepted when a port was released whose programs accept, and no gate was there
 * for. */
static void count_lost(struct ports *ports, struct listener *listener)
{
	uint64_t lost = listener->closing.lost > 0 ? (uint64_t)listener->closing.lost : 0;

	if (lost == 0)
		return;
	slot_add(&listener->past.accepted, lost);
	slot_add(&listener->past.cut, lost);
	if (ports->stopping)
		ports->pool->totals.cut += lost;
	else
		ports->pool->totals.lost += lost;
	log_write(ports->log, LOG_WARNING,
	    "%s: %llu connections of its queue were lost: there was no gate for it", listener->text,
	    (unsigned long long)lost);
	listener->closing.lost = 0;
}

/* Takes a closing port one step on. Returns true when it was gated just now. */
static bool step_closing(struct ports *ports, struct listener *listener, int64_t now, int64_t *next)
{
	struct closing *closing = &listener->closing;
	enum closing_state before = closing->state;

	if (before != CLOSING_RELEASED && is_overdue(ports, listener, now))
		force(ports, listener, now);
	else {
		closing->left = !listener_held(listener);
		if (scoreboard_is_limited(ports->pool->scoreboard, listener->index))
			closing_saw_arrival(closing, now);
		closing->none_under_way = before == CLOSING_GATED &&
		    listener_has_none_under_way(ports->listeners, listener);
		*next = clock_earlier(*next, closing_step(closing, &ports->census, now));
	}
	if (closing->ours && closing->state >= CLOSING_GATED && before < CLOSING_GATED)
		log_write(ports->log, LOG_INFO, "%s: gate: %s", listener->text,
		    gate_way_name(closing->way));
	if (closing->state == CLOSING_YIELDING && before != CLOSING_YIELDING)
		pool_tell(ports->pool, listener);
	if (closing->state == CLOSING_RELEASED) {
		if (before != CLOSING_RELEASED)
			count_lost(ports, listener);
		released(ports, listener, now);
		if (!ports->stopping)
			pool_tell(ports->pool, listener);
		return false;
	}
	if (now >= listener->nudge_at) {
		pool_tell(ports->pool, listener);
		listener->nudge_at = now + NUDGE_MS;
	}
	return closing->state == CLOSING_GATED && before != CLOSING_GATED;
}

static int64_t step_all_closing(struct ports *ports, int64_t now)
{
	bool any_released = false, gated;
	int64_t next;

	gate_census_clear(&ports->census);
	/* All gates first, so that one census does for all. */
	do {
		struct listener *at = ports->closing, *following;

		next = CLOCK_NEVER;
		gated = false;
		for (; at != NULL; at = following) {
			following = at->next_closing;
			gated |= step_closing(ports, at, now, &next);
			any_released |= at->state == LISTENER_FINISHING;
		}
	} while (gated);
	if (any_released && ports->stopping)
		pool_ring(ports->pool);
	return next;
}

/* Looks at a port that is released: whether its last connection has ended, or its grace. */
static void step_finishing(struct ports *ports, struct listener *listener, int64_t now)
{
	bool held = listener_held(listener);
	struct receipt receipt;

	/* A worker that still has a copy may have accepted and not counted yet: its word is waited
	 * for, but not for long, for it may be stopped. */
	if (!listener->told && (!held || now - listener->released >= COUNT_MS))
		tell_released(ports, listener, now);
	ports_receipt(ports, listener, now, &receipt);
	if (receipt.open > 0 && now >= listener->grace_ends && !listener->cut) {
		listener->cut = true;
		closing_cut(&listener->closing);
		pool_tell(ports->pool, listener);
	}
	if (listener->told)
		tell(ports, listener, PORT_RELEASED, now);
	if ((receipt.open == 0 && !held) ||
	    (listener->grace_ends != CLOCK_NEVER && now - CUT_MS >= listener->grace_ends))
		tell(ports, listener, PORT_FINISHED, now);
	if (held)
		return;
	/* Our copy outlives those of the workers: their death must not reset the queue. */
	listener_close(ports->listeners, listener);
	if (receipt.open > 0)
		return;
	list_remove(&ports->finishing, listener);
	if (listener->origin == ORIGIN_CONFIGURATION && listener->why_closed != CLOSE_RELOAD)
		listener_set_state(ports->listeners, listener, LISTENER_CLOSED);
	else
		listener_free(ports->listeners, listener);
}

static int64_t step_all_finishing(struct ports *ports, int64_t now)
{
	struct listener *at = ports->finishing, *following;

	if (at == NULL)
		return CLOCK_NEVER;
	if (now < ports->finish_at && !ports->listeners->let_go)
		return ports->finish_at;
	ports->listeners->let_go = false;
	for (; at != NULL; at = following) {
		following = at->next_closing;
		step_finishing(ports, at, now);
	}
	ports->finish_at = now + FINISH_LOOK_MS;
	return ports->finishing != NULL ? ports->finish_at : CLOCK_NEVER;
}

static void end_ttls(struct ports *ports, int64_t now)
{
	if (now < ports->next_ttl)
		return;
	ports->next_ttl = CLOCK_NEVER;
	for (size_t i = 0; i < ports->listeners->count; i++) {
		struct listener *listener = &ports->listeners->all[i];

		/* Also of one whose close may yet be taken back. */
		if (listener->state != LISTENER_OPEN &&
		    (listener->state != LISTENER_CLOSING || listener->why_closed != CLOSE_ASKED))
			continue;
		if (listener->ttl_ends <= now)
			ports_close(ports, listener, CLOSE_TTL, -1, now);
		else
			ports->next_ttl = clock_earlier(ports->next_ttl, listener->ttl_ends);
	}
}

int64_t ports_step(struct ports *ports, int64_t now)
{
	int64_t next;

	end_ttls(ports, now);
	next = step_all_closing(ports, now);
	next = clock_earlier(next, step_all_finishing(ports, now));
	return clock_earlier(next, ports->next_ttl);
}

/* ---- another configuration ---- */

struct ports_adopted ports_adopt(struct ports *ports, const struct config *config, int64_t now)
{
	struct ports_adopted count = {0};

	for (size_t i = 0; i < ports->listeners->count; i++) {
		struct listener *listener = &ports->listeners->all[i];
		struct service_config *next = listener->next_service;

		listener->next_service = NULL;
		if (listener->state == LISTENER_VACANT)
			continue;
		if (next != NULL) {
			bool ours = listener->origin == ORIGIN_CONFIGURATION;
			bool open = listener->state == LISTENER_OPEN;

			count.opened += next == listener->service;
			if (next == listener->service)
				ports_say_foreign(ports, listener);
			count.kept += ours && open && next != listener->service;
			count.missed += ours && !open;
			listener->service = next;
			listener->block = listener->next_block;
			if (listener->next_asked != NULL)
				snprintf(listener->asked, sizeof listener->asked, "%s",
				    listener->next_asked);
			listener->next_asked = NULL;
			listener->next_block = NULL;
		} else if (listener->origin != ORIGIN_CONFIGURATION) {
			continue;
		} else if (listener->state == LISTENER_OPEN) {
			count.closed++;
			ports_close(ports, listener, CLOSE_RELOAD, -1, now);
		} else if (listener->state == LISTENER_CLOSED) {
			listener_free(ports->listeners, listener);
		} else {
			listener->why_closed = CLOSE_RELOAD; /* and so not to be remembered */
		}
		/* What it may have waiting is as much as this one says. */
		if (next != NULL && listener->state == LISTENER_OPEN &&
		    config->backlog != ports->config->backlog && listener->passed < 0)
			listen(listener->fd, (int)config->backlog);
	}
	ports->config = config;
	return count;
}

/* ---- the end ---- */

void ports_stop(struct ports *ports, int64_t now)
{
	ports->no_more = ports->stopping = true;
	for (size_t i = 0; i < ports->listeners->count; i++) {
		struct listener *listener = &ports->listeners->all[i];

		if (listener->state == LISTENER_OPEN)
			ports_close(ports, listener, CLOSE_STOP, -1, now);
	}
}

bool ports_are_released(const struct ports *ports)
{
	return ports->stopping && ports->closing == NULL;
}

bool ports_want_worker(const struct ports *ports)
{
	for (const struct listener *at = ports->closing; at != NULL; at = at->next_closing) {
		if (at->closing.state < CLOSING_YIELDING)
			return true;
	}
	return false;
}

bool ports_want_programs(const struct ports *ports)
{
	for (const struct listener *at = ports->closing; at != NULL; at = at->next_closing) {
		if (at->closing.foreign && at->closing.state < CLOSING_YIELDING)
			return true;
	}
	return false;
}

void ports_gate(struct ports *ports, int64_t now)
{
	for (struct listener *at = ports->closing; at != NULL; at = at->next_closing)
		closing_gate(&at->closing, now);
}

uint64_t ports_force(struct ports *ports, int64_t now)
{
	uint64_t cut = 0;

	while (ports->closing != NULL) {
		struct listener *listener = ports->closing;

		cut += force(ports, listener, now);
		released(ports, listener, now);
	}
	ports->finish_at = now;
	step_all_finishing(ports, now);
	return cut;
}

/* ---- finding ---- */

/* The open listener that was asked for in these words, if there is just one. */
static struct listener *find_asked(const struct ports *ports, const char *text)
{
	struct listener *found = NULL;

	for (size_t i = 0; i < ports->listeners->count; i++) {
		struct listener *listener = &ports->listeners->all[i];

		if (listener->state != LISTENER_OPEN || strcmp(listener->asked, text) != 0)
			continue;
		if (found != NULL)
			return NULL; /* it could be either */
		found = listener;
	}
	return found;
}

struct listener *ports_find(const struct ports *ports, const char *text)
{
	struct listener *found = listener_find(ports->listeners, text);
	char canonical[ADDRESS_TEXT];
	struct address address;
	const char *why;

	if (found == NULL && address_parse(&address, text, &why) == 0 && address.length > 0) {
		address_format(&address.socket, address.length, address.form == ADDRESS_ANY,
		    canonical, sizeof canonical);
		found = listener_find(ports->listeners, canonical);
	}
	return found != NULL ? found : find_asked(ports, text);
}

/* How far a listener is from what was meant; more for another host, and for a port farther away. */
static unsigned distance(const struct listener *listener, const char *text)
{
	const char *ours = strrchr(listener->text, ':'), *theirs = strrchr(text, ':');
	const char *port = theirs != NULL ? theirs + 1 : text;
	size_t same = 0;
	long far, wanted;

	if (listener->kind == LISTENER_UNIX || strncmp(text, "unix:", 5) == 0) {
		while (text[same] != '\0' && text[same] == listener->text[same])
			same++;
		return 100000 - (same < 1000 ? (unsigned)same : 1000);
	}
	wanted = strtol(port, NULL, 10);
	wanted = wanted < 0 ? 0 : wanted > 65535 ? 65535 : wanted;
	far = labs(wanted - (long)address_port(&listener->bound));
	while (&listener->text[same] < ours && text[same] == listener->text[same])
		same++;
	return (unsigned)far * 2 + (&listener->text[same] != ours);
}

const char *ports_nearest(const struct ports *ports, const char *text, char *out, size_t size)
{
	const struct listener *nearest[NEAREST_MAX] = {NULL};
	size_t used = 0;

	for (size_t i = 0; i < ports->listeners->count; i++) {
		const struct listener *at = &ports->listeners->all[i];

		if (at->state != LISTENER_OPEN)
			continue;
		for (size_t n = 0; n < NEAREST_MAX; n++) {
			const struct listener *worse = nearest[n];

			if (worse == NULL || distance(at, text) < distance(worse, text)) {
				nearest[n] = at;
				at = worse;
			}
			if (at == NULL)
				break;
		}
	}
	out[0] = '\0';
	for (size_t n = 0; n < NEAREST_MAX && nearest[n] != NULL && used < size; n++)
		used += (size_t)snprintf(out + used, size - used, "%s%s",
		    n == 0                                               ? ""
			: n + 1 == NEAREST_MAX || nearest[n + 1] == NULL ? " or "
									 : ", ",
		    nearest[n]->text);
	return out;
}
