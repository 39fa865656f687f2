/* Listening sockets in the store of the service manager; see store.h. */
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"
#include "descriptor.h"
#include "gate.h"

#define RETRY_MS 20 /* while there is no room: a socket that is not stored yet dies with us */

/* ---- removing ---- */

/* Removes a name, now or when there is room. Returns false where it cannot be done now. */
static bool remove_name(struct store *store, const char *name)
{
	struct store_name *gone;

	if (notify_unstore(store->notify, name) == 0)
		return true;
	gone = errno == EAGAIN ? malloc(sizeof *gone) : NULL;
	if (gone == NULL)
		return false;
	memcpy(gone->name, name, strlen(name) + 1);
	gone->next = store->gone;
	store->gone = gone;
	store->due = true;
	return false;
}

/* Tries again. Returns false where there is no room still. */
static bool remove_gone(struct store *store)
{
	while (store->gone != NULL) {
		struct store_name *gone = store->gone;

		if (notify_unstore(store->notify, gone->name) == -1 && errno == EAGAIN)
			return false;
		store->gone = gone->next;
		free(gone);
	}
	return true;
}

void store_forget(struct store *store, struct listener *listener)
{
	if (listener->stored == NULL)
		return;
	/* While the service manager may have it, it is not ours to gate. */
	if (remove_name(store, listener->stored))
		closing_share(&listener->closing, false);
	free(listener->stored);
	listener->stored = NULL;
}

/* ---- at the start ---- */

/* Notes which of those that came from the store an address of the configuration is for. */
static void mark_wanted(
    const struct activation *activation, const struct listen_config *line, bool wanted[])
{
	struct address resolved[LISTENERS_OF_A_NAME];
	const char *why;
	int count, at;

	if (line->address.form == ADDRESS_FD)
		return;
	count = address_resolve(&line->address, resolved, LISTENERS_OF_A_NAME, &why);
	for (int i = 0; i < count; i++) {
		at = activation_find_stored(activation, &resolved[i], line->address.text);
		if (at >= 0)
			wanted[at] = true;
	}
}

/* Closes one that nobody wants. The store has it for a moment still, so only this frees the
 * address. */
static void drop(struct store *store, struct passed *passed)
{
	enum listener_kind kind =
	    strncmp(passed->text, "unix:", 5) == 0 ? LISTENER_UNIX : LISTENER_TCP;
	int queued = passed->fault == NULL ? gate_queue(passed->fd, kind) : 0;

	log_write(store->log, LOG_WARNING,
	    "a socket from the store, %s (\"%s\"), is not of the configuration: removed and "
	    "closed%s",
	    passed->fault == NULL ? passed->text : "which is none", passed->name,
	    queued > 0 ? ", with connections in its queue" : "");
	remove_name(store, passed->name);
	shutdown(passed->fd, SHUT_RDWR);
	fd_close(&passed->fd);
}

void store_sort(struct store *store, struct activation *activation, const struct config *config)
{
	bool *wanted = calloc(activation->count + 1, sizeof *wanted);
	size_t stored = 0;

	for (size_t i = 0; i < activation->count; i++)
		stored += activation->all[i].stored;
	/* Without memory they stay where they are; they are in the way of nobody but themselves. */
	if (stored > 0 && wanted != NULL) {
		for (const struct listen_config *at = config->listeners; at != NULL; at = at->next)
			mark_wanted(activation, at, wanted);
		for (size_t i = 0; i < activation->count; i++) {
			struct passed *passed = &activation->all[i];

			if (passed->stored && !wanted[i] && passed->fd >= 0)
				drop(store, passed);
		}
	}
	free(wanted);
}

/* ---- what should be, against what is ---- */

void store_adopt(struct store *store, const struct config *config)
{
	if (config->fd_store && !store->wanted && !notify_listens(store->notify))
		log_write(store->log, LOG_NOTICE,
		    "fd-store: no service manager wants to be told anything (NOTIFY_SOCKET), so "
		    "nothing is stored");
	store->wanted = config->fd_store;
	store->due = true;
}

/*
 * Has it stored. It is not gated from before the message on: whoever dies in between leaves a
 * socket that can be served. Returns 0, or -1 with errno.
 */
static int put(struct store *store, struct listener *listener)
{
	char name[ACTIVATION_NAME];
	char *copy = strdup(activation_stored_name(listener->asked, listener->text, name));

	if (copy == NULL)
		return -1;
	closing_share(&listener->closing, true);
	if (notify_store(store->notify, copy, listener->fd) == -1) {
		int error = errno;

		closing_share(&listener->closing, false);
		free(copy);
		errno = error;
		return -1;
	}
	listener->stored = copy;
	/* Nor is it ours to count on. */
	if (listener->counted)
		gate_clear(listener->fd, GATE_FILTER, 0);
	listener->counted = false;
	return 0;
}

int64_t store_step(struct store *store, int64_t now)
{
	bool wanted = store->wanted && notify_listens(store->notify);
	bool room = true;

	if (!store->due)
		return CLOCK_NEVER;
	if (now < store->retry_at)
		return store->retry_at;
	room = remove_gone(store);
	for (size_t i = 0; i < store->listeners->count && room; i++) {
		struct listener *listener = &store->listeners->all[i];

		if (listener->state != LISTENER_OPEN || listener->passed >= 0 ||
		    listener->origin != ORIGIN_CONFIGURATION)
			continue;
		if (wanted && listener->stored == NULL)
			room = put(store, listener) == 0 || errno != EAGAIN;
		else if (!wanted)
			store_forget(store, listener);
	}
	store->due = !room || store->gone != NULL;
	store->retry_at = store->due ? now + RETRY_MS : 0;
	return store->due ? store->retry_at : CLOCK_NEVER;
}

void store_close(struct store *store)
{
	while (store->gone != NULL) {
		struct store_name *gone = store->gone;

		store->gone = gone->next;
		free(gone);
	}
}
