/* The self-pipe; see signals.h. A handler cannot be given a parameter, so this is global. */
#include "signals.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "descriptor.h"

#define SIGNALS_MAX 65

static volatile sig_atomic_t came[SIGNALS_MAX];
static int pipe_ends[2] = {-1, -1};
static sigset_t caught;

static void handle(int signal)
{
	int saved = errno;

	came[signal] = 1;
	/* A full pipe has its wake byte already. */
	if (write(pipe_ends[1], "", 1) == -1)
		errno = saved;
	errno = saved;
}

int signals_open(const int *list)
{
	/* Not SA_RESTART: a write to a terminal that may not be written raises TTOU, again and
	 * again. */
	struct sigaction action = {.sa_handler = handle};

	if (fd_pipe(pipe_ends) == -1)
		return -1;
	sigemptyset(&caught);
	for (; *list != 0; list++)
		sigaddset(&caught, *list);
	action.sa_mask = caught;
	for (int signal = 1; signal < SIGNALS_MAX; signal++) {
		if (sigismember(&caught, signal) == 1 && sigaction(signal, &action, NULL) == -1)
			return -1;
	}
	/* Whoever started us may have blocked them, and a mask outlives an execve. */
	if (sigprocmask(SIG_UNBLOCK, &caught, NULL) == -1)
		return -1;
	return pipe_ends[0];
}

void signals_clear(void)
{
	char bytes[256];

	while (read(pipe_ends[0], bytes, sizeof bytes) > 0)
		continue;
}

bool signals_take(int signal)
{
	/* Cleared only if it was seen: one that comes in between must not be erased. */
	if (!came[signal])
		return false;
	came[signal] = 0;
	return true;
}

bool signals_came(void)
{
	for (int signal = 1; signal < SIGNALS_MAX; signal++) {
		if (came[signal])
			return true;
	}
	return false;
}

void signals_block(sigset_t *old)
{
	sigprocmask(SIG_BLOCK, &caught, old);
}

void signals_unblock(const sigset_t *old)
{
	sigprocmask(SIG_SETMASK, old, NULL);
}

void signals_detach(const int *ignored)
{
	struct sigaction action = {.sa_handler = SIG_DFL};

	for (int signal = 1; signal < SIGNALS_MAX; signal++) {
		if (sigismember(&caught, signal) == 1)
			sigaction(signal, &action, NULL);
	}
	action.sa_handler = SIG_IGN;
	for (; *ignored != 0; ignored++)
		sigaction(*ignored, &action, NULL);
	fd_close(&pipe_ends[0]);
	fd_close(&pipe_ends[1]);
}
