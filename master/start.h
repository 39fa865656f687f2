/*
 * From the words of the command line to a server: `serve`, `run`, and `check`, which stops before
 * there is one.
 */
#ifndef LASTCALL_START_H
#define LASTCALL_START_H

#include "command.h"

#define DEFAULT_CONFIG "/etc/lastcall/lastcall.conf"

/* The commands. Each returns the exit status of the program. */
int start_run_serve(const struct command *command, const struct options *options);
int start_run_run(const struct command *command, const struct options *options);
int start_run_check(const struct command *command, const struct options *options);

#endif
