/* lastcall: finds the command and runs it. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "config.h"
#include "diagnostics.h"
#include "handover.h"
#include "loop.h"
#include "options.h"
#include "system.h"

#define COMMANDS_MAX 32

static void print_help(FILE *out)
{
	fprintf(out, "lastcall: a server that answers every connection that it lets in\n\n");
	for (const struct command *command = commands; command->name != NULL; command++)
		fprintf(out, "  lastcall %-6s %s\n  %*s%s\n", command->name, command->usage, 16, "",
		    command->summary);
	fprintf(out, "  lastcall --version\n\nServices:");
	for (size_t i = 0; service_kinds[i] != NULL; i++)
		fprintf(out, "%s %s (%s)", i ? "," : "", service_kinds[i]->name,
		    service_kinds[i]->summary);
	fprintf(out,
	    "\n`lastcall COMMAND --help` tells more; so do lastcall(8) and lastcall.conf(5).\n");
}

static const struct command *find(const char *name)
{
	for (const struct command *command = commands; command->name != NULL; command++) {
		if (strcmp(command->name, name) == 0)
			return command;
	}
	return NULL;
}

static int unknown(const char *name)
{
	const char *names[COMMANDS_MAX];
	const char *nearest;
	size_t n = 0;

	for (const struct command *command = commands; command->name != NULL; command++)
		names[n++] = command->name;
	names[n] = NULL;
	nearest = diagnostics_nearest(name, names);
	fprintf(stderr, "lastcall: error: unknown command \"%s\"", name);
	if (nearest != NULL)
		fprintf(stderr, "; did you mean \"%s\"?", nearest);
	fprintf(stderr, "\nTry `lastcall --help`.\n");
	return STATUS_USAGE;
}

/* A closed descriptor 0, 1 or 2 would become the first socket, and log lines would go to a client.
 */
static void fill_standard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

int main(int argc, char **argv)
{
	const struct command *command;
	struct options options;
	char why[256];

	fill_standard_descriptors();
	if (argc < 2) {
		print_help(stderr);
		return STATUS_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		print_help(stdout);
		return STATUS_DONE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("lastcall %s (%s, %s)\n", VERSION, system_name, loop_name);
		return STATUS_DONE;
	}
	command = find(argv[1]);
	if (command == NULL)
		return unknown(argv[1]);
	if (options_parse(&options, command->takes, argc - 2, argv + 2, why, sizeof why) == -1)
		return command_misused(command, why);
	if (options.help) {
		printf("usage: lastcall %s %s\n\n%s.\n\n%s", command->name, command->usage,
		    command->summary, command->help);
		return STATUS_DONE;
	}
	options.argv = argv;
	return command->run(command, &options);
}
