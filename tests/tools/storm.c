/*
 * storm: sends many signals to a process as fast as it can, in turn those that are named:
 * storm PID COUNT SIGNAL... (TERM, INT, HUP, ...). Ends early when the process is gone, and prints
 * how many it sent.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	int number;
} names[] = {
    {"TERM", SIGTERM},
    {"INT", SIGINT},
    {"QUIT", SIGQUIT},
    {"HUP", SIGHUP},
    {"USR1", SIGUSR1},
    {"USR2", SIGUSR2},
    {"TTIN", SIGTTIN},
    {"TTOU", SIGTTOU},
    {"CHLD", SIGCHLD},
};

static int number_of(const char *name)
{
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(names[i].name, name) == 0)
			return names[i].number;
	fprintf(stderr, "storm: unknown signal \"%s\"\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	int kinds[32], count = 0;
	long sent = 0;

	if (argc < 4 || argc - 3 > 32) {
		fprintf(stderr, "usage: storm PID COUNT SIGNAL...\n");
		return 2;
	}
	pid_t pid = (pid_t)atol(argv[1]);
	long wanted = atol(argv[2]);

	if (pid < 2) {
		fprintf(stderr, "storm: \"%s\" is not a process to be signalled\n", argv[1]);
		return 2;
	}
	for (int i = 3; i < argc; i++)
		kinds[count++] = number_of(argv[i]);
	while (sent < wanted && kill(pid, kinds[sent % count]) == 0)
		sent++;
	if (sent < wanted && errno != ESRCH) {
		fprintf(stderr, "storm: kill: %s\n", strerror(errno));
		return 1;
	}
	printf("sent=%ld\n", sent);
	return 0;
}
