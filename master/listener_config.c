/*
 * The listeners of a configuration: opened at the start, or planned beside those that are there;
 * from sockets that were passed, from the store of a service manager, or bound.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "activation.h"
#include "clock.h"
#include "descriptor.h"
#include "listener.h"

/* ---- the configuration's ---- */

/* Reports an address that cannot be bound, with errno if it got as far: bound is what it stood for,
 * else NULL. */
static void cannot_listen(const struct config *config, const struct listen_config *at,
    const struct address *bound, const char *reason, struct diagnostics *d)
{
	const char *open = "", *text = "", *close = "", *advice = "";

	if (bound != NULL && at->address.form == ADDRESS_NAME) {
		open = " (";
		text = bound->text;
		close = ")";
	}
	if (bound != NULL && errno == EACCES && bound->port > 0 && bound->port < 1024)
		advice = " (a port below 1024 wants root or CAP_NET_BIND_SERVICE)";
	config_error(config, d, &at->at, "cannot listen on %s%s%s%s: %s%s", at->address.text, open,
	    text, close, reason, advice);
}

/* The listener that an address of another configuration is already, or NULL. */
static struct listener *find_kept(const struct listeners *listeners,
    const struct listen_config *wanted, const struct address *address)
{
	char text[ADDRESS_TEXT];

	address_format(
	    &address->socket, address->length, address->form == ADDRESS_ANY, text, sizeof text);
	for (size_t i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->all[i];

		if (listener->state != LISTENER_OPEN || listener->next_service != NULL ||
		    listener->origin != ORIGIN_CONFIGURATION || listener->passed >= 0)
			continue;
		/* A path that is gone, or somebody else's by now, leads nobody here. */
		if (listener->kind == LISTENER_UNIX && !path_socket_is_ours(&listener->path))
			continue;
		/* Port 0 is whatever the kernel chose for the same words. */
		if (address->port == 0 && address->form != ADDRESS_UNIX
			? strcmp(listener->asked, wanted->address.text) == 0
			: strcmp(listener->text, text) == 0)
			return listener;
	}
	return NULL;
}

/* What is made of a configuration's addresses: they are opened at the start, and planned for a
 * reload. */
struct opening {
	struct listeners *listeners;
	const struct config *config;
	struct diagnostics *d;
	int64_t now;
	bool plans;
	size_t count;
};

/* What errno means for an address, where it is one of ours that is in the way. */
static const char *why_not(const struct listeners *listeners, const struct address *address)
{
	const struct listener *ours;
	char text[ADDRESS_TEXT];

	if (errno == ENFILE && !listeners_have_room(listeners))
		return "too many ports that were closed still have connections";
	if (errno != EADDRINUSE)
		return strerror(errno);
	address_format(
	    &address->socket, address->length, address->form == ADDRESS_ANY, text, sizeof text);
	ours = listener_find(listeners, text);
	if (ours != NULL && ours->state == LISTENER_CLOSING)
		return "Address already in use, by a port of this server that is closing; try "
		       "again";
	if (ours != NULL && ours->state == LISTENER_OPEN && ours->origin != ORIGIN_CONFIGURATION)
		return "Address already in use, by a port that a client opened; see status";
	return strerror(EADDRINUSE);
}

/* Whether there may be one more; it is counted. */
static bool may_open(struct opening *opening, const struct listen_config *wanted)
{
	if (opening->count++ < (size_t)opening->config->max_listeners)
		return true;
	config_error(opening->config, opening->d, &wanted->at,
	    "cannot listen on more than %lld addresses (max-listeners)",
	    (long long)opening->config->max_listeners);
	return false;
}

/* It is there: kept, for another configuration. */
static void keep(struct listener *listener, const struct listen_config *wanted)
{
	listener->next_service = wanted->service;
	listener->next_asked = wanted->address.text;
	listener->next_block = wanted->block;
}

/* ---- sockets that were passed ---- */

/* The listener that serves the passed socket, or will; or NULL. */
static struct listener *find_passed(const struct listeners *listeners, int passed)
{
	for (size_t i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->all[i];

		if (listener->passed == passed &&
		    (listener->state == LISTENER_OPEN || listener->state == LISTENER_BOUND))
			return listener;
	}
	return NULL;
}

/* Listens with a copy of one of them. */
static void open_passed(struct opening *opening, const struct listen_config *wanted, int at)
{
	struct listeners *listeners = opening->listeners;
	const struct passed *passed = &listeners->activation->all[at];
	struct listener *listener = find_passed(listeners, at);
	char reason[160];
	int fd;

	if (listener != NULL && opening->plans && listener->state == LISTENER_OPEN &&
	    listener->next_service == NULL) {
		keep(listener, wanted);
		return;
	}
	if (passed->fault != NULL || listener != NULL) {
		snprintf(reason, sizeof reason, "descriptor %d %s%.60s", passed->number,
		    passed->fault != NULL ? passed->fault : "is listened on already, as ",
		    passed->fault != NULL ? "" : listener->asked);
		cannot_listen(opening->config, wanted, NULL, reason, opening->d);
		return;
	}
	fd = fcntl(passed->fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0)
		listener = listener_adopt(listeners, fd, at, wanted->address.text, opening->now);
	if (listener == NULL) {
		cannot_listen(opening->config, wanted, NULL, strerror(errno), opening->d);
		fd_close(&fd);
		return;
	}
	listener->service = wanted->service;
	listener->block = wanted->block;
	if (!opening->plans)
		listener_listen(listeners, listener, 0);
}

/* All that were passed under a name. */
static void open_name(struct opening *opening, const struct listen_config *wanted)
{
	const struct activation *activation = opening->listeners->activation;
	int at = -1;
	bool any = false;

	while (activation != NULL &&
	    (at = activation_find(activation, wanted->address.name, (size_t)(at + 1))) >= 0) {
		any = true;
		if (!may_open(opening, wanted))
			return;
		open_passed(opening, wanted, at);
	}
	if (!any)
		cannot_listen(
		    opening->config, wanted, NULL, "no socket of that name was passed", opening->d);
}

/* Takes over the socket that the store has kept for an address. Returns its listener, or NULL: none
 * was, or it cannot be. */
static struct listener *take_stored(
    struct opening *opening, const struct listen_config *wanted, const struct address *address)
{
	struct activation *activation = opening->listeners->activation;
	struct listener *listener;
	struct passed *passed;
	int at = -1;

	if (activation != NULL && !opening->plans)
		at = activation_find_stored(activation, address, wanted->address.text);
	if (at == -1)
		return NULL;
	passed = &activation->all[at];
	listener =
	    listener_adopt(opening->listeners, passed->fd, -1, wanted->address.text, opening->now);
	if (listener == NULL)
		return NULL;
	if (listener_listen(opening->listeners, listener, (int)opening->config->backlog) == -1) {
		/* Its path has come to lead elsewhere just now, or it was shut down. */
		listener->fd = -1;
		listener->path.inode = 0;
		listener_unbind(opening->listeners, listener);
		return NULL;
	}
	passed->fd = -1;
	listener->stored = strdup(passed->name);
	return listener;
}

/* ---- addresses ---- */

static void open_configured(struct opening *opening, const struct listen_config *wanted)
{
	struct listeners *listeners = opening->listeners;
	const struct config *config = opening->config;
	struct address resolved[LISTENERS_OF_A_NAME];
	const char *reason;
	int count;

	if (wanted->address.form == ADDRESS_FD) {
		open_name(opening, wanted);
		return;
	}
	count = address_resolve(&wanted->address, resolved, LISTENERS_OF_A_NAME, &reason);
	if (count == -1)
		cannot_listen(config, wanted, NULL, reason, opening->d);
	for (int i = 0; i < count; i++) {
		struct listener *listener = NULL;

		if (!may_open(opening, wanted))
			return;
		if (opening->plans)
			listener = find_kept(listeners, wanted, &resolved[i]);
		if (listener != NULL) {
			keep(listener, wanted);
			continue;
		}
		listener = take_stored(opening, wanted, &resolved[i]);
		if (listener == NULL && opening->plans)
			listener = listener_bind(listeners, &resolved[i], opening->now);
		else if (listener == NULL)
			listener = listener_open(
			    listeners, &resolved[i], (int)config->backlog, opening->now);
		if (listener == NULL) {
			cannot_listen(config, wanted, &resolved[i],
			    why_not(listeners, &resolved[i]), opening->d);
			continue;
		}
		snprintf(listener->asked, sizeof listener->asked, "%s", wanted->address.text);
		listener->service = wanted->service;
		listener->block = wanted->block;
	}
}

/* All of them, also after errors: what is wrong is to be seen in one run. */
static int open_all_configured(struct opening *opening)
{
	int before = opening->d->errors;

	for (const struct listen_config *at = opening->config->listeners; at != NULL; at = at->next)
		open_configured(opening, at);
	return opening->d->errors == before ? 0 : -1;
}

int listeners_open(
    struct listeners *listeners, const struct config *config, int64_t now, struct diagnostics *d)
{
	struct opening opening = {.listeners = listeners, .config = config, .d = d, .now = now};
	int result;

	listeners->patient = true;
	result = open_all_configured(&opening);
	listeners->patient = false;
	return result;
}

/* ---- those of another configuration ---- */

int listeners_plan(
    struct listeners *listeners, const struct config *next, int64_t now, struct diagnostics *d)
{
	struct opening opening = {
	    .listeners = listeners, .config = next, .d = d, .now = now, .plans = true};

	listeners_plan_ports(listeners, next);
	return open_all_configured(&opening);
}

void listeners_plan_ports(struct listeners *listeners, const struct config *next)
{
	for (size_t i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->all[i];
		struct service_config *same;

		if (listener->state == LISTENER_VACANT || listener->service_is_ours ||
		    listener->origin == ORIGIN_CONFIGURATION)
			continue;
		same = config_find_service(next, listener->service->name);
		if (same != NULL && same->kind == listener->service->kind)
			listener->next_service = same;
	}
}

int listeners_start_planned(struct listeners *listeners, int backlog, char *why, size_t size)
{
	for (size_t i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->all[i];

		if (listener->state != LISTENER_BOUND)
			continue;
		listener->next_service = listener->service;
		listener->next_block = listener->block;
		if (listener_listen(listeners, listener, backlog) == 0)
			continue;
		snprintf(why, size, "cannot listen on %.200s: %s", listener->text, strerror(errno));
		return -1;
	}
	return 0;
}

uint64_t listeners_unplan(struct listeners *listeners)
{
	int queued = 0;

	for (size_t i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->all[i];
		bool begun =
		    listener->service != NULL && listener->next_service == listener->service;

		listener->next_service = NULL;
		listener->next_asked = NULL;
		listener->next_block = NULL;
		if (listener->state == LISTENER_BOUND)
			listener_unbind(listeners, listener);
		else if (begun && listener->state == LISTENER_OPEN) {
			/* It took connections for as long as it took another to fail. */
			closing_gate(&listener->closing, clock_ms());
			queued += closing_force(&listener->closing);
			listener_unlink(listener);
			listener_free(listeners, listener);
		}
	}
	return (uint64_t)queued;
}
