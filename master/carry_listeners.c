/* What an upgrade carries over of the listeners; see carry_parts.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "activation.h"
#include "carry_parts.h"
#include "channel.h"
#include "descriptor.h"
#include "handover.h"
#include "listener.h"
#include "ports.h"
#include "reload.h"

static const struct carry_field listeners_fields[] = {
    CARRY_FIELD(CARRY_BYTES, struct listeners, living),
    CARRY_FIELD(CARRY_NUMBER, struct listeners, let_go),
    CARRY_FIELD(CARRY_FD, struct listeners, arrivals.map),
    CARRY_FIELD(CARRY_FD, struct listeners, arrivals.program),
    CARRY_FIELD(CARRY_FD, struct listeners, arrivals.gate),
    CARRY_END,
};

#define OF_LISTENER(type, member) CARRY_FIELD(type, struct listener, member)

static const struct carry_field listener_fields[] = {
    OF_LISTENER(CARRY_NUMBER, state),
    OF_LISTENER(CARRY_FD, fd),
    OF_LISTENER(CARRY_NUMBER, kind),
    OF_LISTENER(CARRY_NUMBER, passed),
    OF_LISTENER(CARRY_NUMBER, origin),
    OF_LISTENER(CARRY_NUMBER, service_is_ours),
    OF_LISTENER(CARRY_BYTES, bound),
    OF_LISTENER(CARRY_TEXT, text),
    OF_LISTENER(CARRY_TEXT, asked),
    OF_LISTENER(CARRY_BYTES, path.at),
    OF_LISTENER(CARRY_NUMBER, path.device),
    OF_LISTENER(CARRY_NUMBER, path.inode),
    OF_LISTENER(CARRY_NUMBER, owner.endpoint),
    OF_LISTENER(CARRY_NUMBER, owner.known),
    OF_LISTENER(CARRY_NUMBER, owner.uid),
    OF_LISTENER(CARRY_NUMBER, owner.pid),
    OF_LISTENER(CARRY_TEXT, owner.peer),
    OF_LISTENER(CARRY_NUMBER, opened),
    OF_LISTENER(CARRY_NUMBER, closing.state),
    OF_LISTENER(CARRY_NUMBER, closing.ours),
    OF_LISTENER(CARRY_NUMBER, closing.foreign),
    OF_LISTENER(CARRY_NUMBER, closing.yield_ends),
    OF_LISTENER(CARRY_NUMBER, closing.way),
    OF_LISTENER(CARRY_NUMBER, closing.ever_gated),
    OF_LISTENER(CARRY_NUMBER, closing.cutting),
    OF_LISTENER(CARRY_NUMBER, closing.begun),
    OF_LISTENER(CARRY_NUMBER, closing.settle),
    OF_LISTENER(CARRY_NUMBER, closing.quiet_since),
    OF_LISTENER(CARRY_NUMBER, closing.look_at),
    OF_LISTENER(CARRY_NUMBER, closing.handshakes_left),
    OF_LISTENER(CARRY_BYTES, holders),
    OF_LISTENER(CARRY_NUMBER, past.accepted),
    OF_LISTENER(CARRY_NUMBER, past.answered),
    OF_LISTENER(CARRY_NUMBER, past.queued),
    OF_LISTENER(CARRY_NUMBER, past.left),
    OF_LISTENER(CARRY_NUMBER, past.cut),
    OF_LISTENER(CARRY_NUMBER, past.open),
    OF_LISTENER(CARRY_NUMBER, past.programs_done),
    OF_LISTENER(CARRY_NUMBER, past.programs_failed),
    OF_LISTENER(CARRY_NUMBER, past.programs_killed),
    OF_LISTENER(CARRY_NUMBER, arrivals_before),
    OF_LISTENER(CARRY_NUMBER, ttl_ends),
    OF_LISTENER(CARRY_NUMBER, grace_ends),
    OF_LISTENER(CARRY_NUMBER, released),
    OF_LISTENER(CARRY_NUMBER, told),
    OF_LISTENER(CARRY_NUMBER, why_closed),
    OF_LISTENER(CARRY_NUMBER, nudge_at),
    OF_LISTENER(CARRY_NUMBER, cut),
    CARRY_END,
};

/* ---- services that are a port's own ---- */

/* Its words and what it has open, as a worker is told them. */
static void leave_own(struct carry_out *out, const struct service_config *service)
{
	const struct service_kind *kind = service->kind;
	char words[CHANNEL_WORDS_MAX];
	int fds[CHANNEL_FDS_MAX], count = 0;
	size_t size = 0;

	carry_put_bytes(out, "service", kind->name, strlen(kind->name));
	if (kind->argument != NULL &&
	    directive_words(directive_find(kind->directives, kind->argument), service->options,
		words, sizeof words, &size) == -1)
		size = 0; /* it was opened with them, so they fit */
	carry_put_bytes(out, "words", words, size);
	if (kind->lend != NULL)
		count = kind->lend(service->options, fds, CHANNEL_FDS_MAX);
	carry_put_number(out, "lent", (uint64_t)count);
	for (int i = 0; i < count; i++) {
		char name[] = "lent0";

		name[4] = (char)('0' + i);
		carry_put_fd(out, name, fds[i]);
	}
}

/* Makes it of its words. Returns it, or NULL with why. */
static struct service_config *make_own(
    struct carry_in *in, const struct service_kind *kind, const char *bytes, size_t size)
{
	const char *words[CHANNEL_WORDS_MAX / 2];
	struct service_config *service;
	size_t count = 0;
	char why[200];

	for (size_t at = 0; at < size && count < CHANNEL_WORDS_MAX / 2;) {
		words[count] = bytes + at;
		at += strlen(words[count++]) + 1;
	}
	service = config_make_service(kind, words, count, "/", why, sizeof why);
	if (service == NULL)
		carry_wrong(in, "%s", why);
	return service;
}

static int resume_own(struct carry_in *in, struct service_config **service)
{
	const struct service_kind *kind = NULL;
	int fds[CHANNEL_FDS_MAX];
	char *name, *words = NULL;
	size_t length;
	uint64_t count = 0;

	carry_get_bytes(in, "service", &name, &length);
	if (name != NULL)
		kind = service_kind_find(name);
	if (kind == NULL)
		carry_wrong(in, "this version has no service \"%.40s\"", name != NULL ? name : "");
	free(name);
	if (kind == NULL || carry_get_number(in, "lent", CHANNEL_FDS_MAX, &count) == -1 ||
	    carry_get_bytes(in, "words", &words, &length) == -1)
		return -1;
	for (uint64_t i = 0; i < count; i++) {
		char lent[] = "lent0";

		fds[i] = -1;
		lent[4] = (char)('0' + i);
		if (carry_get_fd(in, lent, &fds[i]) == -1)
			break;
	}
	*service = in->why[0] == '\0' ? make_own(in, kind, words, length) : NULL;
	free(words);
	if (*service == NULL)
		return -1;
	if (kind->borrow != NULL ? kind->borrow((*service)->options, fds, (int)count) == 0
				 : count == 0)
		return 0;
	return carry_wrong(in, "what the service \"%s\" has open is not what it wants", kind->name);
}

/* ---- blocks ---- */

/* The block of a listener, by its place in the configuration that has its service; 0: none. */
static uint64_t block_number(const struct parts *parts, const struct listener *listener)
{
	const struct config *config = config_having(parts, listener->service);
	uint64_t number = 1;

	if (listener->block == NULL || config == NULL)
		return 0;
	for (const struct listen_block *at = config->blocks; at != NULL && at != listener->block;
	     at = at->next)
		number++;
	return number;
}

static int resume_block(struct carry_in *in, const struct parts *parts, struct listener *listener)
{
	const struct config *config = config_having(parts, listener->service);
	const struct listen_block *block = config != NULL ? config->blocks : NULL;
	uint64_t number = 0;

	if (carry_get_number(in, "block", UINT64_MAX, &number) == -1)
		return -1;
	while (block != NULL && number > 1) {
		block = block->next;
		number--;
	}
	if (number > 0 && block == NULL)
		return carry_wrong(in, "the listener %.100s lost its block", listener->text);
	listener->block = number > 0 ? block : NULL;
	return 0;
}

/* ---- leaving ---- */

static void leave_one(
    struct carry_out *out, const struct parts *parts, const struct listener *listener)
{
	unsigned port = address_port(&listener->bound);
	bool counted =
	    listener->counted && parts->listeners->uses[port].mixed == listener->mixed_before;

	carry_line(out, "listener");
	carry_put_number(out, "index", listener->index);
	carry_put(out, listener_fields, listener);
	carry_put_number(out, "counted", counted);
	if (listener->stored != NULL)
		carry_put_bytes(out, "stored", listener->stored, strlen(listener->stored));
	carry_put_number(out, "block", block_number(parts, listener));
	if (listener->service_is_ours)
		leave_own(out, listener->service);
	else
		service_leave(out, parts, listener->service);
}

void listeners_leave(struct carry_out *out, const struct parts *parts)
{
	const struct listeners *listeners = parts->listeners;

	carry_line(out, "listeners");
	carry_put_number(out, "capacity", listeners->capacity);
	carry_put(out, listeners_fields, listeners);
	for (size_t i = 0; i < listeners->count; i++) {
		if (listeners->all[i].state != LISTENER_VACANT)
			leave_one(out, parts, &listeners->all[i]);
	}
}

/* ---- resuming ---- */

int listeners_resume(struct carry_in *in, const struct parts *parts)
{
	struct listeners *listeners = parts->listeners;
	uint64_t capacity;

	if (carry_get_number(in, "capacity", SCOREBOARD_LISTENERS, &capacity) == -1)
		return -1;
	if (listeners_make(listeners, (size_t)capacity, parts->scoreboard) == -1)
		return carry_wrong(in, "%s", strerror(errno));
	listeners->arrivals = (struct arrivals){.map = -1, .program = -1, .gate = -1};
	listeners->activation = parts->activation;
	if (carry_get(in, listeners_fields, listeners) == -1)
		return -1;
	arrivals_resume(&listeners->arrivals);
	return 0;
}

/* Whether its numbers are what they can be. */
static bool makes_sense(const struct listener *listener, const struct activation *activation)
{
	return listener->state > LISTENER_VACANT && listener->state <= LISTENER_CLOSED &&
	    listener->kind <= LISTENER_UNIX && listener->origin <= ORIGIN_LEASED &&
	    listener->closing.state <= CLOSING_RELEASED && listener->closing.way <= GATE_SHUTDOWN &&
	    listener->why_closed >= 0 && listener->why_closed <= CLOSE_RELOAD &&
	    listener->passed < (int)activation->count &&
	    (listener->fd >= 0 ||
		(listener->state != LISTENER_OPEN && listener->state != LISTENER_CLOSING));
}

/* Whether its descriptor is the socket that it says. */
static bool is_its_socket(const struct listener *listener)
{
	union address_socket bound = {.any = {.sa_family = AF_UNSPEC}};
	socklen_t length = sizeof bound;
	char text[ADDRESS_TEXT];

	if (listener->state != LISTENER_OPEN && listener->state != LISTENER_CLOSING)
		return true; /* shut down, or none */
	if (getsockname(listener->fd, &bound.any, &length) == -1)
		return false;
	address_format(&bound, length, strncmp(listener->text, "*:", 2) == 0, text, sizeof text);
	return strcmp(text, listener->text) == 0;
}

int listener_resume(struct carry_in *in, const struct parts *parts)
{
	struct listeners *listeners = parts->listeners;
	struct listener read = {.fd = -1, .passed = -1, .path = {.fd = -1, .lock = -1}}, *listener;
	size_t length;
	uint64_t place, counted;

	if (listeners->all == NULL ||
	    carry_get_number(in, "index", listeners->capacity - 1, &place) == -1 ||
	    carry_get_number(in, "counted", 1, &counted) == -1 ||
	    carry_get(in, listener_fields, &read) == -1 ||
	    carry_get_bytes(in, "stored", &read.stored, &length) == -1)
		return carry_wrong(in, "a listener comes too early");
	listener = &listeners->all[place];
	if (listener->state != LISTENER_VACANT || !makes_sense(&read, parts->activation) ||
	    !is_its_socket(&read))
		return carry_wrong(in, "the listener %.100s makes no sense", read.text);
	if ((read.service_is_ours ? resume_own(in, &read.service)
				  : service_resume(in, parts, &read.service)) == -1 ||
	    resume_block(in, parts, &read) == -1)
		return -1;
	read.index = (unsigned)place;
	read.counted = counted;
	if (read.kind == LISTENER_UNIX)
		read.path.fd = read.fd;
	*listener = read;
	listener_enter(listeners, listener);
	if (listener->state == LISTENER_CLOSING) {
		listener->next_closing = parts->ports->closing;
		parts->ports->closing = listener;
	} else if (listener->state == LISTENER_FINISHING) {
		listener->next_closing = parts->ports->finishing;
		parts->ports->finishing = listener;
	}
	return 0;
}

int listeners_resumed(struct carry_in *in, const struct parts *parts)
{
	if (parts->listeners->all == NULL)
		return carry_wrong(in, "there are no listeners");
	listeners_entered(parts->listeners);
	parts->ports->next_ttl = 0; /* to be looked at */
	return 0;
}
