/*
 * Signals as a readable descriptor. The handler sets its flag and writes one wake byte; all else
 * happens in the loop, where signals_take tells what came since the last call. Any number of the
 * same are one.
 */
#ifndef LASTCALL_SIGNALS_H
#define LASTCALL_SIGNALS_H

#include <stdbool.h>
#include <signal.h>

/*
 * Begins to catch the signals of the list (ends with 0). There is one set of handlers in a process.
 * Returns the descriptor to wait on, or -1 with errno.
 */
int signals_open(const int *list);

/* Forgets the wake bytes: call it once after the descriptor was readable, before signals_take. */
void signals_clear(void);

/* Whether the signal came since the last call with it. */
bool signals_take(int signal);

/* Whether any came that was not taken yet. */
bool signals_came(void);

/* Blocks every signal that is caught, for a fork; signals_unblock gives the old mask back. */
void signals_block(sigset_t *old);
void signals_unblock(const sigset_t *old);

/*
 * In a child: closes the descriptor, ignores each signal of the list (ends with 0), and sets those
 * that the parent caught and that are not in it to their defaults. Call it before signals_unblock.
 */
void signals_detach(const int *ignored);

#endif
