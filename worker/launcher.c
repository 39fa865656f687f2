/* The worker's side of launchers; see launcher.h. */
#include "launcher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "descriptor.h"
#include "launcher_parts.h"
#include "log.h"
#include "system.h"
#include "worker.h"

#define SEND_BUFFER (1024 * 1024)
#define MESSAGES_MAX 256 /* in one go */
#define READY_MS 10000 /* by then it is who it is to be */
#define SERVING_READY_MS 2000 /* the same, while others are not served */
#define REAP_MS 5 /* between two looks for the death of one that has closed */

union rights {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(CHILD_SOCKETS * sizeof(int))];
};

/* ---- the process ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static struct launcher *launcher_new(const struct launcher_plan *plan)
{
	struct launcher *launcher = calloc(1, sizeof *launcher);
	void *runs;

	if (launcher == NULL)
		return NULL;
	runs = mmap(NULL, plan->capacity * sizeof *launcher->runs, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (runs == MAP_FAILED) {
		free(launcher);
		return NULL;
	}
	launcher->runs = runs;
	launcher->capacity = plan->capacity;
	launcher->watch.fd = -1;
	log_escape(launcher->name, sizeof launcher->name, base_name(plan->options->command[0]),
	    strlen(base_name(plan->options->command[0])));
	return launcher;
}

static void launcher_free(struct launcher *launcher)
{
	fd_close(&launcher->watch.fd);
	munmap(launcher->runs, launcher->capacity * sizeof *launcher->runs);
	free(launcher);
}

/* Waits for READY, at most so long. Returns whether it came. */
static bool is_ready(const struct launcher *launcher, int64_t ms)
{
	struct pollfd waiting = {.fd = launcher->watch.fd, .events = POLLIN};
	struct launcher_head head = {.type = 0};
	int64_t end = clock_ms() + ms, left = ms;
	ssize_t got = -1;

	while (left > 0 && poll(&waiting, 1, (int)left) == -1 && errno == EINTR)
		left = end - clock_ms();
	got = recv(launcher->watch.fd, &head, sizeof head, MSG_DONTWAIT);
	return got == (ssize_t)sizeof head && head.type == LAUNCHER_READY;
}

struct launcher *launcher_open(const struct launcher_plan *plan)
{
	struct launcher *launcher = launcher_new(plan);
	int ends[2], error, size = SEND_BUFFER;

	if (launcher == NULL)
		return NULL;
	if (fd_pair(ends, SOCK_SEQPACKET) == -1) {
		launcher_free(launcher);
		return NULL;
	}
	/* As far as the system lets us; what does not fit waits. */
	setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	launcher->watch.fd = ends[0];
	launcher->pid = fork();
	if (launcher->pid == 0)
		launcher_process(ends[1], plan);
	error = errno;
	fd_close(&ends[1]);
	/* Until it says so it has copies of our connections: one that we closed meanwhile would not
	 * end, and would stay in the loop. */
	if (launcher->pid > 0 &&
	    is_ready(launcher, plan->account != NULL ? READY_MS : SERVING_READY_MS))
		return launcher;
	if (launcher->pid > 0) {
		kill(launcher->pid, SIGKILL);
		while (waitpid(launcher->pid, NULL, 0) == -1 && errno == EINTR)
			continue;
		error = plan->account != NULL ? EPERM : EAGAIN;
	}
	launcher_free(launcher);
	errno = error;
	return NULL;
}

/* ---- runs ---- */

static uint32_t number_of(const struct launcher *launcher, const struct launcher_run *run)
{
	return (uint32_t)(run - launcher->runs);
}

static void run_free(struct launcher *launcher, struct launcher_run *run)
{
	launcher->ends_due -= run->end_due;
	*run = (struct launcher_run){.next = launcher->vacant};
	launcher->vacant = run;
	launcher->running--;
}

static struct launcher_run *run_take(struct launcher *launcher)
{
	struct launcher_run *run = launcher->vacant;

	if (run != NULL)
		launcher->vacant = run->next;
	else if (launcher->touched < launcher->capacity)
		run = &launcher->runs[launcher->touched++];
	if (run == NULL)
		return NULL;
	*run = (struct launcher_run){.next = run}; /* itself: in use */
	launcher->running++;
	return run;
}

static void want_room(struct launcher *launcher)
{
	loop_watch(launcher->worker->loop, &launcher->watch, LOOP_READ | LOOP_WRITE);
}

static int send_message(struct launcher *launcher, const struct launcher_head *head,
    const void *more, size_t size, const int *fds, size_t fds_count)
{
	struct iovec parts[] = {
	    {(void *)(uintptr_t)head, sizeof *head},
	    {(void *)(uintptr_t)more, size},
	};
	union rights rights;
	struct msghdr packet = {.msg_iov = parts, .msg_iovlen = size > 0 ? 2 : 1};

	if (fds_count > 0) {
		struct cmsghdr *message;

		memset(&rights, 0, sizeof rights);
		packet.msg_control = rights.bytes;
		packet.msg_controllen = CMSG_SPACE(fds_count * sizeof *fds);
		message = CMSG_FIRSTHDR(&packet);
		message->cmsg_level = SOL_SOCKET;
		message->cmsg_type = SCM_RIGHTS;
		message->cmsg_len = CMSG_LEN(fds_count * sizeof *fds);
		memcpy(CMSG_DATA(message), fds, fds_count * sizeof *fds);
	}
	if (sendmsg(launcher->watch.fd, &packet, MSG_NOSIGNAL | MSG_DONTWAIT) != -1)
		return 0;
	if (errno == ECONNRESET)
		errno = EPIPE;
	return -1;
}

/* START, with what goes on behind its head. Returns as launcher_start. */
static struct launcher_run *start(struct launcher *launcher, void *owner,
    struct launcher_head *head, const void *more, size_t size, const int *fds, size_t fds_count)
{
	struct launcher_run *run = NULL;

	errno = EPIPE;
	if (launcher->gone || launcher->leaving)
		return NULL;
	run = run_take(launcher);
	if (run == NULL) {
		errno = EAGAIN;
		return NULL;
	}
	run->owner = owner;
	head->run = number_of(launcher, run);
	if (send_message(launcher, head, more, size, fds, fds_count) == 0)
		return run;
	run_free(launcher, run);
	if (errno == EAGAIN)
		want_room(launcher);
	return NULL;
}

struct launcher_run *launcher_start(struct launcher *launcher, void *owner, int connection,
    const union address_socket *peer, uint32_t number)
{
	struct launcher_head head = {.type = LAUNCHER_START, .number = number};

	return start(launcher, owner, &head, peer, sizeof *peer, &connection, 1);
}

struct launcher_run *launcher_start_instance(
    struct launcher *launcher, void *owner, const int *sockets, size_t count, const char *names)
{
	struct launcher_head head = {.type = LAUNCHER_START, .number = (uint32_t)count};

	return start(launcher, owner, &head, names, strlen(names), sockets, count);
}

static void send_end(struct launcher *launcher, struct launcher_run *run)
{
	const struct launcher_head head = {
	    .type = LAUNCHER_END,
	    .run = number_of(launcher, run),
	    .value = run->end_ms,
	};
	bool due = !launcher->gone && send_message(launcher, &head, NULL, 0, NULL, 0) == -1 &&
	    errno != EPIPE;

	if (due)
		want_room(launcher);
	launcher->ends_due += due;
	launcher->ends_due -= run->end_due;
	run->end_due = due;
}

void launcher_end(struct launcher *launcher, struct launcher_run *run, int64_t delay)
{
	run->end_ms = delay > INT32_MAX ? INT32_MAX : (int32_t)delay;
	send_end(launcher, run);
}

/* ---- what it says ---- */

/* The run that a message is about, or NULL: it says nonsense. */
static struct launcher_run *run_of(struct launcher *launcher, uint32_t number)
{
	struct launcher_run *run = number < launcher->touched ? &launcher->runs[number] : NULL;

	return run != NULL && run->next == run ? run : NULL;
}

static void log_line(const struct launcher *launcher, int pid, const char *text, size_t length)
{
	char escaped[960];
	const size_t sure = (sizeof escaped - 1) / 4; /* bytes that fit, whatever they are */

	while (length > 0) {
		size_t part = length;

		if (log_escape(escaped, sizeof escaped, text, part) + 4 >= sizeof escaped) {
			/* Perhaps not all of it. */
			part = part < sure ? part : sure;
			log_escape(escaped, sizeof escaped, text, part);
		}
		log_write(
		    launcher->worker->log, LOG_NOTICE, "%s[%d]: %s", launcher->name, pid, escaped);
		text += part;
		length -= part;
	}
}

static void heed(
    struct launcher *launcher, const struct launcher_head *head, const char *text, size_t length)
{
	struct launcher_run *run;
	void *owner;

	switch (head->type) {
	case LAUNCHER_LINE:
		log_line(launcher, head->pid, text, length);
		return;
	case LAUNCHER_DROPPED:
		log_write(launcher->worker->log, LOG_WARNING,
		    "%s[%d]: lines of its standard error dropped: %d", launcher->name, head->pid,
		    head->value);
		return;
	case LAUNCHER_STRAY:
		log_write(launcher->worker->log, LOG_WARNING,
		    "%s: left process %d behind, which has left its group and goes on",
		    launcher->name, head->pid);
		return;
	default:
		break;
	}
	run = run_of(launcher, head->run);
	if (run == NULL)
		return;
	owner = run->owner;
	if (head->type == LAUNCHER_STARTED)
		run->pid = head->value;
	if (head->type == LAUNCHER_STARTED && owner != NULL)
		launcher->events->started(owner, head->value);
	if (head->type == LAUNCHER_SAID && owner != NULL && launcher->events->said_ready != NULL)
		launcher->events->said_ready(owner);
	if (head->type == LAUNCHER_FAILED) {
		run_free(launcher, run);
		if (owner != NULL)
			launcher->events->failed(owner, head->value, text);
	} else if (head->type == LAUNCHER_ENDED) {
		run_free(launcher, run);
		launcher->events->ended(launcher->worker, owner, head->value);
	}
}

/* It has closed: whatever ran, nobody will tell of it any more. */
static void became_gone(struct launcher *launcher)
{
	struct worker *worker = launcher->worker;

	loop_watch(worker->loop, &launcher->watch, 0);
	fd_close(&launcher->watch.fd);
	launcher->gone = true;
	if (!launcher->leaving)
		log_write(worker->log, LOG_ERROR,
		    "%s: the process (pid %ld) that starts its programs has ended, programs lost: "
		    "%zu",
		    launcher->name, (long)launcher->pid, launcher->running);
	for (size_t i = 0; i < launcher->touched; i++) {
		struct launcher_run *run = &launcher->runs[i];
		void *owner = run->owner;

		if (run->next != run)
			continue;
		/* The program is killed by the kernel; this is for what it has beside it, as far as
		 * it is of our user. */
		if (run->pid > 1)
			kill(-run->pid, SIGKILL);
		run_free(launcher, run);
		launcher->events->ended(worker, owner, -1);
	}
	launcher->events->writable(launcher);
}

static void send_ends_due(struct launcher *launcher)
{
	for (size_t i = 0; i < launcher->touched && launcher->ends_due > 0; i++) {
		if (launcher->runs[i].end_due) {
			send_end(launcher, &launcher->runs[i]);
			if (launcher->runs[i].end_due)
				return;
		}
	}
	if (launcher->leaving && launcher->ends_due == 0)
		shutdown(launcher->watch.fd, SHUT_WR);
}

static void launcher_ready(struct watch *watch, unsigned events)
{
	struct launcher *launcher = container_of(watch, struct launcher, watch);
	char text[LAUNCHER_LINE_MAX + 1];

	for (int i = 0; i < MESSAGES_MAX && !launcher->gone; i++) {
		struct launcher_head head;
		struct iovec parts[] = {{&head, sizeof head}, {text, sizeof text - 1}};
		struct msghdr packet = {.msg_iov = parts, .msg_iovlen = 2};
		ssize_t got = recvmsg(watch->fd, &packet, MSG_DONTWAIT);

		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1 && errno == EAGAIN)
			break;
		if (got < (ssize_t)sizeof head) {
			became_gone(launcher);
			return;
		}
		text[(size_t)got - sizeof head] = '\0';
		heed(launcher, &head, text, (size_t)got - sizeof head);
	}
	if (!(events & LOOP_WRITE) || launcher->gone)
		return;
	loop_watch(launcher->worker->loop, watch, LOOP_READ);
	send_ends_due(launcher);
	launcher->events->writable(launcher);
}

int launcher_attach(
    struct launcher *launcher, struct worker *worker, const struct launcher_events *events)
{
	launcher->worker = worker;
	launcher->events = events;
	launcher->watch.ready = launcher_ready;
	launcher->next = worker->launchers;
	worker->launchers = launcher;
	if (loop_watch(worker->loop, &launcher->watch, LOOP_READ) == 0)
		return 0;
	/* It ends when its channel does, and is reaped. */
	launcher->gone = true;
	fd_close(&launcher->watch.fd);
	return -1;
}

/* ---- the end ---- */

void launcher_leave(struct launcher *launcher)
{
	if (launcher->leaving)
		return;
	launcher->leaving = true;
	if (!launcher->gone && launcher->ends_due == 0)
		shutdown(launcher->watch.fd, SHUT_WR);
}

int64_t launchers_sweep(struct worker *worker)
{
	struct launcher **link = &worker->launchers;
	int64_t next = CLOCK_NEVER;

	while (*link != NULL) {
		struct launcher *launcher = *link;

		if (launcher->gone && launcher->pid > 0 &&
		    waitpid(launcher->pid, NULL, WNOHANG) == launcher->pid)
			launcher->pid = 0;
		if (launcher->gone && launcher->pid > 0)
			next = worker->now + REAP_MS;
		if (launcher->gone && launcher->pid == 0 && launcher->leaving) {
			*link = launcher->next;
			launcher_free(launcher);
		} else {
			link = &launcher->next;
		}
	}
	return next;
}

bool launchers_linger(struct worker *worker, int64_t *next)
{
	for (struct launcher *at = worker->launchers; at != NULL; at = at->next) {
		/* What still runs was told to end, and its status counts. */
		if (at->running == 0)
			launcher_leave(at);
	}
	*next = clock_earlier(*next, launchers_sweep(worker));
	return worker->launchers != NULL;
}
