/*
 * The configuration's listening sockets in the store of the service manager (`fd-store on;`): it
 * keeps a copy of each, and passes them to the next server, whatever has become of this one. So
 * neither a restart nor the death of the master closes a queue.
 *
 * A socket that is stored is not ours alone: it is never gated nor shut down, and its path stays.
 * It becomes ours again, and only then closes by the closing protocol, when it has been removed
 * from the store: a reload does not have it any more, or somebody closes it by hand.
 *
 * What should be stored is compared with what is in store_step.
 */
#ifndef LASTCALL_STORE_H
#define LASTCALL_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "activation.h"
#include "config.h"
#include "listener.h"
#include "log.h"
#include "notify.h"

/* A name in the store that has to be removed. */
struct store_name {
	char name[ACTIVATION_NAME];
	struct store_name *next;
};

struct store {
	/* Set by whoever makes it. */
	struct notify *notify;
	struct log *log;
	struct listeners *listeners;

	bool wanted; /* by the configuration in force */
	bool due; /* what should be is to be compared with what is */
	int64_t retry_at; /* ms: when the service manager may have room again; CLOCK_NEVER */
	struct store_name *gone; /* to be removed, when there is room; owned */
};

/* Removes the sockets that came from the store and that no line of the configuration is for, so
 * that their addresses can be bound. Before the listeners are opened. */
void store_sort(struct store *store, struct activation *activation, const struct config *config);

/* A configuration is in force. */
void store_adopt(struct store *store, const struct config *config);

/* A listener closes for good: it is removed, and is ours alone. Any number of times. */
void store_forget(struct store *store, struct listener *listener);

/* Does what is due. Returns when it wants to be called again. */
int64_t store_step(struct store *store, int64_t now);

void store_close(struct store *store);

#endif
