/* The loop on poll(2): the POSIX twin of loop_epoll.c. All is done in its arrays; one system call a
 * turn. */
#include "loop.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "clock.h"

const char *const loop_name = "poll";

struct loop {
	size_t count, capacity;
	struct pollfd *polls;
	struct watch **watches; /* of the same place in polls; NULL: taken out during a report */
	size_t holes;
};

struct loop *loop_open(size_t capacity)
{
	struct loop *loop = calloc(1, sizeof *loop);

	if (loop == NULL)
		return NULL;
	loop->capacity = capacity;
	loop->polls = calloc(capacity, sizeof *loop->polls);
	loop->watches = calloc(capacity, sizeof(struct watch *));
	if (loop->polls == NULL || loop->watches == NULL) {
		loop_close(loop);
		return NULL;
	}
	return loop;
}

void loop_close(struct loop *loop)
{
	if (loop == NULL)
		return;
	free(loop->polls);
	free(loop->watches);
	free(loop);
}

/* Closes the holes that forgotten watches left. Only between reports, for it moves entries. */
static void close_holes(struct loop *loop)
{
	size_t kept = 0;

	if (loop->holes == 0)
		return;
	for (size_t i = 0; i < loop->count; i++) {
		if (loop->watches[i] == NULL)
			continue;
		loop->polls[kept] = loop->polls[i];
		loop->watches[kept] = loop->watches[i];
		loop->watches[kept]->place = (unsigned)kept;
		kept++;
	}
	loop->count = kept;
	loop->holes = 0;
}

/* Holes can use up the places within one turn; then there are to be more. */
static int grow(struct loop *loop)
{
	size_t capacity = loop->capacity * 2;
	struct pollfd *polls = realloc(loop->polls, capacity * sizeof *polls);
	struct watch **watches;

	if (polls == NULL)
		return -1;
	loop->polls = polls;
	watches = realloc(loop->watches, capacity * sizeof(struct watch *));
	if (watches == NULL)
		return -1;
	loop->watches = watches;
	loop->capacity = capacity;
	return 0;
}

int loop_watch(struct loop *loop, struct watch *watch, unsigned events)
{
	short want = 0;

	if (events == watch->events)
		return 0;
	if (events == 0) {
		loop_forget(loop, watch);
		return 0;
	}
	if (events & LOOP_READ)
		want |= POLLIN;
	if (events & LOOP_WRITE)
		want |= POLLOUT;
	if (watch->events == 0) {
		if (loop->count == loop->capacity && grow(loop) == -1)
			return -1;
		watch->place = (unsigned)loop->count++;
		loop->watches[watch->place] = watch;
		loop->polls[watch->place] = (struct pollfd){.fd = watch->fd};
	}
	loop->polls[watch->place].events = want;
	watch->events = events;
	return 0;
}

/* What is ready is reported every time. */
int loop_again(struct loop *loop, struct watch *watch)
{
	(void)loop;
	(void)watch;
	return 0;
}

void loop_forget(struct loop *loop, struct watch *watch)
{
	if (watch->events == 0)
		return;
	watch->events = 0;
	loop->watches[watch->place] = NULL;
	loop->polls[watch->place] = (struct pollfd){.fd = -1};
	loop->holes++;
}

/*
 * More descriptors are watched than the limit is by now, for somebody has lowered it: waits for the
 * first of them, which are the process's own and its listeners, and not for long.
 */
static int poll_first(struct loop *loop, int timeout)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur >= loop->count) {
		errno = EINVAL;
		return -1;
	}
	return poll(
	    loop->polls, (nfds_t)limit.rlim_cur, timeout < 0 || timeout > 100 ? 100 : timeout);
}

int loop_wait(struct loop *loop, int64_t timeout_ms, int64_t *now)
{
	int timeout = timeout_ms < 0 ? -1 : timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
	int ready;
	size_t reported;

	close_holes(loop);
	ready = poll(loop->polls, (nfds_t)loop->count, timeout);
	if (ready == -1 && errno == EINVAL)
		ready = poll_first(loop, timeout);
	*now = clock_ms();
	if (ready == -1)
		return errno == EINTR ? 0 : -1;
	reported = loop->count; /* what is added during the report has not been waited for */
	for (size_t i = 0; i < reported && ready > 0; i++) {
		short got = loop->polls[i].revents;
		struct watch *watch = loop->watches[i];
		unsigned events = 0;

		if (got == 0)
			continue;
		ready--;
		if (watch == NULL)
			continue;
		loop->polls[i].revents = 0;
		if (got & (POLLIN | POLLHUP | POLLERR | POLLNVAL))
			events |= LOOP_READ;
		if (got & (POLLOUT | POLLHUP | POLLERR | POLLNVAL))
			events |= LOOP_WRITE;
		if (got & (POLLHUP | POLLERR | POLLNVAL))
			events |= LOOP_HANGUP;
		watch->ready(watch, events);
	}
	return 0;
}
