/*
 * swallow: takes a signal away from a process, as a debugger does that lets go of it at the wrong
 * time.
 *
 *	swallow PID SIGNAL
 *
 * Says "ready" when it watches, and ends when the signal (a number) came and was not delivered.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>

static int fail(const char *what)
{
	fprintf(stderr, "swallow: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	pid_t pid = argc == 3 ? (pid_t)atol(argv[1]) : 0;
	int wanted = argc == 3 ? atoi(argv[2]) : 0, status;

	if (pid <= 0 || wanted <= 0) {
		fprintf(stderr, "usage: swallow PID SIGNAL\n");
		return 2;
	}
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == -1)
		return fail("attach");
	puts("ready");
	fflush(stdout);
	for (;;) {
		if (waitpid(pid, &status, 0) == -1 || !WIFSTOPPED(status))
			return fail("wait");
		if (WSTOPSIG(status) == wanted)
			return ptrace(PTRACE_DETACH, pid, NULL, NULL) == -1 ? fail("detach") : 0;
		if (ptrace(PTRACE_CONT, pid, NULL, (void *)(long)WSTOPSIG(status)) == -1)
			return fail("go on");
	}
}
