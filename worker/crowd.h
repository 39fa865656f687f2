/*
 * How many connections each client has on a listener, over all workers.
 *
 * A worker writes only its own places in shared memory and reads those of the others, so one that
 * dies leaves nothing to repair. It counts a connection first and looks then, so two workers can
 * both find that there is one too many, and never both that there is room. Where a worker's places
 * are all taken (thousands of clients at a time), the connection is not counted, and let in.
 */
#ifndef LASTCALL_CROWD_H
#define LASTCALL_CROWD_H

#include <stdint.h>

#include "address.h"

struct acceptor;
struct worker;

/* Empties the places of this worker, which another had before. Before its first connection. */
void crowd_clear(struct worker *worker);

/*
 * Counts a connection of that client on that listener in. Returns its place, to be given to
 * crowd_leave, or 0: not counted (a Unix socket, or no place). *count is how many there are now,
 * this one included; 0 if it was not counted.
 */
uint32_t crowd_enter(struct acceptor *acceptor, const union address_socket *peer, uint32_t *count);

/* Counts it out. 0: does nothing. */
void crowd_leave(struct worker *worker, uint32_t place);

#endif
