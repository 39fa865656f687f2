/*
 * A program as a service runs it: what it is given (arguments, environment, limits), and the start.
 *
 * The start is vfork(2) and execve(2), so that its cost does not grow with the memory of whoever
 * starts it, and the error of execve comes back without a pipe. A program gets three descriptors,
 * an environment made of what was configured and nothing else, default signals, and a process group
 * of its own.
 */
#ifndef LASTCALL_CHILD_H
#define LASTCALL_CHILD_H

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "account.h"

#define CHILD_LIMITS 6 /* kinds of limits, child.c names them */
#define CHILD_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define CHILD_VARIABLES 16 /* that may be added at each start */

#define CHILD_SOCKETS 64 /* listening sockets that a program can be given */

/* The descriptors that a program gets. All stay the caller's. */
struct child_descriptors {
	int input, output; /* its 0 and 1 */
	int errors; /* its 2 */
	const int *sockets; /* its 3, 4, …, */
	size_t sockets_count; /* of which there are so many: 0, or LISTEN_PID is told too */
};

/* What a configuration says of a program; the words are the configuration's, ending with NULL. */
struct child_options {
	char **command;
	char **environment; /* "NAME=VALUE"; NULL: none */
	char **pass; /* names of variables that lastcall itself has; NULL: none */
	char **limits; /* "cpu", "10s", "memory", "1g", …; NULL: none */
	char *directory; /* NULL: that of lastcall */
	int64_t umask; /* DIRECTIVE_AUTO: that of lastcall */
};

/* Who a program runs as, if not as its worker. */
struct child_user {
	char *name; /* of the configuration; NULL: as the worker */
	struct account account; /* made by child_user_prepare */
	bool changes; /* it takes root to become it, so its launcher is born before that is given up
		       */
};

/* The same made ready, so that a start allocates nothing. */
struct child_program {
	char path[PATH_MAX]; /* of the program, found */
	char *const *command;
	const char *directory;
	int64_t umask;
	int64_t limits[CHILD_LIMITS]; /* -1: as it is */
	char **variables; /* the fixed ones, room for CHILD_VARIABLES, and NULL */
	size_t fixed;
	char listen_pid[32]; /* "LISTEN_PID=…", which the child itself writes */
	const int *ignored; /* signals that we ignore and it must not; ends with 0 */
};

/*
 * Looks at the options as a whole. Returns NULL, or static text that says what is wrong, and
 * *directive set to the name of that one.
 */
const char *child_check(const struct child_options *options, const char **directive);

/*
 * Looks whether the user is known, and whether it may enter the folder and execute the program.
 * workers: who they become, or NULL: they stay who we are. As child_check.
 */
const char *child_look(const struct child_options *options, const struct child_user *user,
    const struct account *workers, const char **directive);

/* The same in the master, before there are workers; and finds out who the user is, and whether we
 * may become it. Returns 0, or -1 with why. */
int child_user_prepare(struct child_user *user, const struct child_options *options,
    const struct account *workers, char *why, size_t size);

/* Makes it ready, but for its path. The options outlive it. Returns 0, or -1 with errno ENOMEM. */
int child_prepare(struct child_program *program, const struct child_options *options);

/* Finds its path. Returns 0, or -1 with errno. */
int child_find(struct child_program *program, const struct child_options *options);

/*
 * Starts it with those descriptors. variables (count of them, less than CHILD_VARIABLES) are added
 * to its environment. Returns its pid, or -1 with errno of vfork, setrlimit, chdir or execve, and
 * *what said what failed.
 */
pid_t child_start(struct child_program *program, const struct child_descriptors *descriptors,
    char *const *variables, size_t count, const char **what);

#endif
