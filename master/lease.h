/*
 * `lastcall lease`: a port for as long as this command runs, or the command behind `--`.
 *
 *   HELD ──the command ended, end of input, a signal──► RELEASING ──receipt──► OVER
 *     └────── closed by the server, or it is gone ─────────────────────────────┘
 *
 * HELD  With a command: TERM and HUP are passed on to it, and a port that the server closes is no
 * reason to end it. Without one: whatever ends the lease ends this. RELEASING  The port is closed
 * without losing a connection; a signal does not wait for the receipt.
 */
#ifndef LASTCALL_LEASE_H
#define LASTCALL_LEASE_H

#include "command.h"

int lease_run(const struct command *command, const struct options *options);

#endif
