/* The loop on epoll(7). One system call a turn, and one for each change of what is asked for. */
#include "loop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "clock.h"
#include "descriptor.h"

#ifndef EPOLLEXCLUSIVE
#define EPOLLEXCLUSIVE (1u << 28)
#endif

#define BATCH 256

const char *const loop_name = "epoll";

struct loop {
	int fd;
	int at, count; /* of batch: what is being reported; 0 outside loop_wait */
	struct epoll_event batch[BATCH];
};

struct loop *loop_open(size_t capacity)
{
	struct loop *loop = calloc(1, sizeof *loop);

	(void)capacity;
	if (loop == NULL)
		return NULL;
	loop->fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->fd == -1) {
		free(loop);
		return NULL;
	}
	return loop;
}

void loop_close(struct loop *loop)
{
	if (loop == NULL)
		return;
	fd_close(&loop->fd);
	free(loop);
}

/* A watch that is out of the set must not be reported from the batch at hand. */
static void drop_pending(struct loop *loop, const struct watch *watch)
{
	for (int i = loop->at; i < loop->count; i++) {
		if (loop->batch[i].data.ptr == watch)
			loop->batch[i].data.ptr = NULL;
	}
}

static int control(struct loop *loop, struct watch *watch, int how, unsigned events)
{
	struct epoll_event want = {.data.ptr = watch};

	if (events & LOOP_READ)
		want.events |= EPOLLIN;
	if (events & LOOP_WRITE)
		want.events |= EPOLLOUT;
	if (events & LOOP_EXCLUSIVE)
		want.events |= EPOLLEXCLUSIVE;
	if (events & LOOP_EDGE)
		want.events |= EPOLLET | EPOLLRDHUP | EPOLLPRI;
	return epoll_ctl(loop->fd, how, watch->fd, &want);
}

int loop_watch(struct loop *loop, struct watch *watch, unsigned events)
{
	int how = watch->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

	if (events == watch->events)
		return 0;
	if (events == 0)
		how = EPOLL_CTL_DEL;
	if (control(loop, watch, how, events) == -1)
		return -1;
	watch->events = events;
	if (events == 0)
		drop_pending(loop, watch);
	return 0;
}

int loop_again(struct loop *loop, struct watch *watch)
{
	return control(loop, watch, EPOLL_CTL_MOD, watch->events);
}

void loop_forget(struct loop *loop, struct watch *watch)
{
	/* Closing the last copy of a descriptor takes it out of the set. */
	if (watch->events == 0)
		return;
	watch->events = 0;
	drop_pending(loop, watch);
}

int loop_wait(struct loop *loop, int64_t timeout_ms, int64_t *now)
{
	int timeout = timeout_ms < 0 ? -1 : timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
	int count = epoll_wait(loop->fd, loop->batch, BATCH, timeout);

	*now = clock_ms();
	if (count == -1)
		return errno == EINTR ? 0 : -1;
	loop->count = count;
	for (loop->at = 0; loop->at < loop->count;) {
		struct epoll_event *event = &loop->batch[loop->at++];
		struct watch *watch = event->data.ptr;
		unsigned events = 0;

		if (watch == NULL)
			continue;
		if (event->events & (EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR))
			events |= LOOP_READ;
		if (event->events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
			events |= LOOP_WRITE;
		if (event->events & (EPOLLHUP | EPOLLERR))
			events |= LOOP_HANGUP;
		if (event->events & (EPOLLRDHUP | EPOLLPRI))
			events |= LOOP_MARK;
		watch->ready(watch, events);
	}
	loop->at = loop->count = 0;
	return 0;
}
