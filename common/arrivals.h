/*
 * How many handshakes have begun on a port: a filter on each listening socket counts the SYNs that
 * it lets through, in memory that the master reads without a system call.
 *
 * It spares the close of a port the question of gate_handshakes, which takes a millisecond: when as
 * many connections were accepted as SYNs were let through, no handshake is under way. A SYN that
 * was sent twice or came on an accepted connection, a handshake that was given up, a connection
 * that its worker did not live to count: all of these only add to the side of the SYNs, so then
 * that question is asked as before. The count is by port, so it says nothing of a port that two
 * listeners share.
 *
 * The one thing that could add to the other side is a connection made of a SYN cookie that was sent
 * twice. A SYN that another processor is letting through just while the gate is set is counted
 * within less than a microsecond; the counts are read later.
 *
 * Beside it, loaded once and for all, is the gate's own filter: to attach a program that is there
 * costs little, where one that comes with the call (gate.h) is translated for each listener anew.
 *
 * Linux only, and only with the privilege for bpf(2); elsewhere nothing is counted.
 */
#ifndef LASTCALL_ARRIVALS_H
#define LASTCALL_ARRIVALS_H

#include <stdbool.h>
#include <stdint.h>

struct arrivals {
	int map, program; /* -1: nothing is counted */
	int gate; /* drops SYNs, for gate_set; -1: none */
	const uint64_t *counts; /* by port */
};

/* Begins. Where it may not or cannot, nothing is counted; that is no error. */
void arrivals_open(struct arrivals *arrivals);
void arrivals_close(struct arrivals *arrivals);

/* Goes on with map, program and gate, which another program of this process left. */
void arrivals_resume(struct arrivals *arrivals);

/*
 * Has a socket's SYNs counted: one that is bound and does not listen yet, or those that came before
 * would be missing. Returns false if they are not.
 */
bool arrivals_watch(const struct arrivals *arrivals, int fd);

/* SYNs to a port since the beginning. */
uint64_t arrivals_on(const struct arrivals *arrivals, unsigned port);

#endif
