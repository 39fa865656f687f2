/*
 * `lastcall status`: what a daemon says of itself, as a table for people or as JSON for programs.
 *
 * All of it is read before anything is printed: a daemon closes a client that reads slowly, and
 * whoever reads our output may (a pager).
 */
#ifndef LASTCALL_STATUS_H
#define LASTCALL_STATUS_H

#include "command.h"

int status_run(const struct command *command, const struct options *options);

#endif
