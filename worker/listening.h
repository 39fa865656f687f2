/*
 * The service of a listener as a worker comes by it: one of the configuration, which lives as long
 * as the worker, or one that was made for a port that a client asked for, which is started with its
 * acceptor and freed with it.
 */
#ifndef LASTCALL_LISTENING_H
#define LASTCALL_LISTENING_H

#include <stdbool.h>

#include "channel.h"
#include "handover.h"

struct worker;

/*
 * A LISTEN came: takes over its descriptors, makes its service or finds it, and adds an acceptor.
 * What goes wrong is logged, and the master told that the listener is not held.
 */
void listening_begin(struct worker *worker, const struct channel_message *message);

/* Starts the service of a listener if it is its own. Returns false if it cannot be; it is logged.
 */
bool listening_start(struct worker *worker, const struct handover_listener *listener);

/* Frees the service of a listener if it is its own. No connection uses it any more. */
void listening_end(const struct handover_listener *listener);

#endif
