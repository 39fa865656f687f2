/*
 * The commands of the command line. Each gets the words after its name and returns the exit status
 * of the program.
 */
#ifndef LASTCALL_COMMAND_H
#define LASTCALL_COMMAND_H

#include "options.h"

struct command {
	const char *name;
	const char *usage; /* after the name */
	const char *summary; /* one line */
	const char *help; /* the options, a line each, and what else there is to know */
	unsigned takes; /* of options.h */
	int (*run)(const struct command *command, const struct options *options);
};

/* Every command; ends with a NULL name. */
extern const struct command commands[];

/* Says what is wrong with the words of a command, and how to get help. Returns STATUS_USAGE. */
int command_misused(const struct command *command, const char *why);

#endif
