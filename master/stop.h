/*
 * `stop`: by a pid file here, whose lock tells who runs and when he has ended; else by the control
 * endpoint (remote.h).
 */
#ifndef LASTCALL_STOP_H
#define LASTCALL_STOP_H

#include "command.h"

/* The command. Returns the exit status of the program. */
int stop_run(const struct command *command, const struct options *options);

#endif
