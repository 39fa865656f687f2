/* The messages to a service manager; see notify.h. */
#include "notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "descriptor.h"

#define EXTEND_MS 15000 /* time that is asked for, */
#define EXTEND_EVERY_MS 5000 /* so often */
#define STATUS_EVERY_MS 1000 /* at most */
#define RETRY_MS 100 /* while the socket is full */
#define LOOK_MS 1000 /* for workers whose hearts beat again */

/* ---- the environment ---- */

/* A number of microseconds in ms, at least 1; or 0. */
static int64_t milliseconds(const char *text)
{
	char *end;
	unsigned long long value;

	if (*text < '0' || *text > '9')
		return 0;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (*end != '\0' || errno != 0 || value == 0 || value > INT64_MAX / 2)
		return 0;
	return value < 1000 ? 1 : (int64_t)(value / 1000);
}

/* Whom to tell. Returns NULL, or what is wrong with it. */
static const char *find_socket(struct notify *notify, const char *name)
{
	size_t length = strlen(name);

	if (name[0] != '/' && name[0] != '@')
		return "it is neither a path nor an abstract socket (\"@…\")";
	if (length < 2 || length >= sizeof notify->to.sun_path)
		return "it is no name of a socket";
	notify->to.sun_family = AF_UNIX;
	memcpy(notify->to.sun_path, name, length + 1);
	notify->length = (socklen_t)sizeof notify->to;
	if (name[0] == '@') {
		notify->to.sun_path[0] = '\0';
		notify->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	}
	return NULL;
}

/* How often to give a sign of life: twice in the time that is allowed. */
static const char *find_watchdog(struct notify *notify, const char *usec, const char *pid)
{
	char ours[32];

	snprintf(ours, sizeof ours, "%ld", (long)getpid());
	if (usec == NULL || (pid != NULL && strcmp(pid, ours) != 0))
		return NULL;
	notify->watchdog = milliseconds(usec) / 2;
	return notify->watchdog == 0 ? "WATCHDOG_USEC is no number of microseconds" : NULL;
}

int notify_open(struct notify *notify, char *why, size_t size)
{
	const char *name = getenv("NOTIFY_SOCKET"), *wrong = NULL;

	*notify = (struct notify){.fd = -1};
	if (name != NULL && name[0] != '\0') {
		wrong = find_socket(notify, name);
		if (wrong != NULL)
			snprintf(why, size, "NOTIFY_SOCKET \"%.100s\": %s", name, wrong);
	}
	if (notify->length > 0 && wrong == NULL) {
		notify->fd = socket(AF_UNIX, SOCK_DGRAM, 0);
		if (notify->fd == -1 || fd_set_nonblocking(notify->fd) == -1 ||
		    fd_set_cloexec(notify->fd, true) == -1) {
			wrong = strerror(errno);
			snprintf(why, size, "NOTIFY_SOCKET: %s", wrong);
			fd_close(&notify->fd);
		}
	}
	if (notify->fd >= 0) {
		wrong = find_watchdog(notify, getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"));
		if (wrong != NULL)
			snprintf(why, size, "%s", wrong);
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return wrong != NULL ? -1 : 0;
}

void notify_close(struct notify *notify)
{
	fd_close(&notify->fd);
}

bool notify_listens(const struct notify *notify)
{
	return notify->fd >= 0;
}

/* ---- a message ---- */

/* One datagram, with a descriptor unless fd is -1. Returns 0, or -1 with errno. */
static int send_now(const struct notify *notify, const char *text, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.room = {0}};
	struct iovec bytes = {.iov_base = (void *)text, .iov_len = strlen(text)};
	struct msghdr message = {
	    .msg_name = (void *)&notify->to,
	    .msg_namelen = notify->length,
	    .msg_iov = &bytes,
	    .msg_iovlen = 1,
	};
	ssize_t sent;

	if (fd >= 0) {
		struct cmsghdr *header = &control.header;

		message.msg_control = &control;
		message.msg_controllen = sizeof control.room;
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(header), &fd, sizeof fd);
	}
	do {
		sent = sendmsg(notify->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent == -1 && errno == EINTR);
	return sent == -1 ? -1 : 0;
}

/* Whether an error passes by itself. */
static bool is_full(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS || error == ENOMEM ||
	    error == ETOOMANYREFS;
}

/* Tells, and notes whether anybody hears. Returns 0, or -1 with errno. */
static int tell(struct notify *notify, const char *text, int fd)
{
	int error;

	if (send_now(notify, text, fd) == 0) {
		if (notify->silent)
			log_write(notify->log, LOG_NOTICE, "the service manager hears again");
		notify->silent = false;
		return 0;
	}
	error = errno;
	if (is_full(error)) {
		errno = EAGAIN;
		return -1;
	}
	if (!notify->silent)
		log_write(notify->log, LOG_WARNING,
		    "the service manager cannot be told (NOTIFY_SOCKET): %s", strerror(error));
	notify->silent = true;
	errno = error;
	return -1;
}

/* Sends what waits. Returns true when nothing does any more. */
static bool flush(struct notify *notify, int64_t now)
{
	while (notify->kept_count > 0) {
		if (tell(notify, notify->kept[notify->kept_first], -1) == -1 && errno == EAGAIN) {
			notify->retry_at = now + RETRY_MS;
			return false;
		}
		notify->kept_first = (notify->kept_first + 1) % NOTIFY_KEPT;
		notify->kept_count--;
	}
	notify->retry_at = CLOCK_NEVER;
	return true;
}

/* Sends a message, or keeps it, in its turn. */
static void say(struct notify *notify, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct notify *notify, const char *format, ...)
{
	unsigned last = (notify->kept_first + notify->kept_count) % NOTIFY_KEPT;
	va_list arguments;

	if (notify->fd < 0)
		return;
	if (notify->kept_count == NOTIFY_KEPT) {
		/* The oldest says least about what is. */
		notify->kept_first = (notify->kept_first + 1) % NOTIFY_KEPT;
		notify->kept_count--;
	}
	va_start(arguments, format);
	vsnprintf(notify->kept[last], NOTIFY_MESSAGE, format, arguments);
	va_end(arguments);
	notify->kept_count++;
	flush(notify, clock_ms());
}

static void set_state(struct notify *notify, enum notify_state state)
{
	notify->state = state;
	notify->told_stale = true;
	notify->status_at = 0;
	notify->extend_at = 0;
}

/* ---- what is told at once ---- */

void notify_ready(struct notify *notify)
{
	if (notify->state != NOTIFY_STARTING)
		return;
	say(notify, "READY=1\nMAINPID=%ld", (long)getpid());
	set_state(notify, NOTIFY_READY);
}

void notify_reloading(struct notify *notify)
{
	struct timespec t;

	if (notify->state != NOTIFY_READY)
		return;
	clock_gettime(CLOCK_MONOTONIC, &t);
	say(notify, "RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)t.tv_sec * 1000000 + (unsigned long long)t.tv_nsec / 1000);
	set_state(notify, NOTIFY_RELOADING);
}

void notify_reloaded(struct notify *notify, const char *why)
{
	snprintf(notify->failure, sizeof notify->failure, "%s", why != NULL ? why : "");
	for (char *at = notify->failure; *at != '\0'; at++) {
		if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f)
			*at = '?';
	}
	if (notify->state != NOTIFY_RELOADING)
		return;
	if (why != NULL)
		say(notify, "READY=1\nSTATUS=reload failed: %s; going on as before",
		    notify->failure);
	else
		say(notify, "READY=1");
	set_state(notify, NOTIFY_READY);
}

void notify_stopping(struct notify *notify)
{
	if (notify->state == NOTIFY_STOPPING)
		return;
	say(notify, "STOPPING=1");
	set_state(notify, NOTIFY_STOPPING);
}

/* ---- what is told in time ---- */

static void say_status(struct notify *notify, const struct notify_status *status)
{
	say(notify, "STATUS=%s: %zu worker%s, %zu listener%s%s%s", status->state, status->workers,
	    status->workers == 1 ? "" : "s", status->listeners, status->listeners == 1 ? "" : "s",
	    notify->failure[0] != '\0' ? "; the last reload failed: " : "", notify->failure);
	notify->told = *status;
	notify->told_stale = false;
}

/* Returns when there is more to say. */
static int64_t step_status(struct notify *notify, const struct notify_status *status, int64_t now)
{
	if (!notify->told_stale && notify->told.state == status->state &&
	    notify->told.workers == status->workers && notify->told.listeners == status->listeners)
		return CLOCK_NEVER;
	if (now < notify->status_at)
		return notify->status_at;
	say_status(notify, status);
	notify->status_at = now + STATUS_EVERY_MS;
	return CLOCK_NEVER;
}

int64_t notify_step(
    struct notify *notify, const struct notify_status *status, bool moving, bool alive, int64_t now)
{
	int64_t next;
	char text[64];

	if (notify->fd < 0)
		return CLOCK_NEVER;
	if (notify->kept_count > 0 && (now < notify->retry_at || !flush(notify, now)))
		return notify->retry_at;
	next = step_status(notify, status, now);
	if (moving && now >= notify->extend_at) {
		snprintf(text, sizeof text, "EXTEND_TIMEOUT_USEC=%d", EXTEND_MS * 1000);
		tell(notify, text, -1);
		notify->extend_at = now + EXTEND_EVERY_MS;
	}
	if (moving)
		next = clock_earlier(next, notify->extend_at);
	if (notify->watchdog == 0)
		return next;
	if (now >= notify->beat_at) {
		notify->beat_at = now + notify->watchdog;
		if (alive)
			tell(notify, "WATCHDOG=1", -1);
		else
			notify->beat_at = clock_earlier(notify->beat_at, now + LOOK_MS);
	}
	return clock_earlier(next, notify->beat_at);
}

/* ---- the store ---- */

int notify_store(struct notify *notify, const char *name, int fd)
{
	char text[NOTIFY_MESSAGE];

	if (notify->fd < 0) {
		errno = ENOTCONN;
		return -1;
	}
	snprintf(text, sizeof text, "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
	return tell(notify, text, fd);
}

int notify_unstore(struct notify *notify, const char *name)
{
	char text[NOTIFY_MESSAGE];

	if (notify->fd < 0) {
		errno = ENOTCONN;
		return -1;
	}
	snprintf(text, sizeof text, "FDSTOREREMOVE=1\nFDNAME=%s", name);
	return tell(notify, text, -1);
}
