/*
 * A bell: rung from any process, heard by the one that it belongs to. Any number of rings may be
 * heard as one.
 *
 * Who shares a bell is not trusted: a worker can change the flags of what it shares with the
 * master, so no call here relies on O_NONBLOCK.
 */
#ifndef LASTCALL_BELL_H
#define LASTCALL_BELL_H

/* Makes one: rope to ring, ear to wait on until it is readable. Returns 0, or -1 with errno. */
int bell_open(int *rope, int *ear);

/* Never blocks, and cannot fail in a way that matters: a bell that is full of rings is heard. */
void bell_ring(int rope);

/* Forgets the rings so far. */
void bell_hush(int ear);

#endif
