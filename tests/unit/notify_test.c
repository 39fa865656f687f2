/*
 * What is told to a service manager: each message, in its order also when there was no room for it,
 * and nothing where nobody is.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "notify.h"
#include "unit.h"

#define SURE(condition) CHECK(condition, "%s", "it should")

static struct log quiet = {.fd = -1};

/* A socket to hear with, at an abstract name that only this process has. */
static int hear_at(char *name, size_t size)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	int length = snprintf(name, size, "@lastcall-notify-test-%ld", (long)getpid());

	memcpy(at.sun_path + 1, name + 1, (size_t)length - 1);
	SURE(bind(fd, (void *)&at,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length)) == 0);
	return fd;
}

/* The next message, or "". */
static const char *next(int fd)
{
	static char text[1024];
	ssize_t got = recv(fd, text, sizeof text - 1, 0);

	text[got > 0 ? got : 0] = '\0';
	return text;
}

static bool is_next(int fd, const char *wanted)
{
	const char *text = next(fd);

	if (strcmp(text, wanted) != 0)
		printf("\"%s\" instead of \"%s\"\n", text, wanted);
	return strcmp(text, wanted) == 0;
}

static void test_environment(void)
{
	static const char *const wrong[] = {"relative", "vsock:2:1", "/", "@", "unixsocket", NULL};
	struct notify notify;
	char why[256], path[300];

	unsetenv("NOTIFY_SOCKET");
	setenv("WATCHDOG_USEC", "x", 1);
	SURE(notify_open(&notify, why, sizeof why) == 0 && !notify_listens(&notify));
	SURE(getenv("WATCHDOG_USEC") == NULL);
	/* Nobody listens: nothing is done, and nothing fails. */
	notify_ready(&notify);
	notify_stopping(&notify);
	SURE(notify_step(&notify, &(struct notify_status){0}, true, true, 0) == CLOCK_NEVER);
	SURE(notify_store(&notify, "name", 0) == -1 && errno == ENOTCONN);
	for (size_t i = 0; wrong[i] != NULL; i++) {
		setenv("NOTIFY_SOCKET", wrong[i], 1);
		CHECK(notify_open(&notify, why, sizeof why) == -1, "%s", wrong[i]);
		SURE(!notify_listens(&notify) && getenv("NOTIFY_SOCKET") == NULL);
	}
	memset(path, 'a', sizeof path);
	path[0] = '/';
	path[sizeof path - 1] = '\0';
	setenv("NOTIFY_SOCKET", path, 1);
	SURE(notify_open(&notify, why, sizeof why) == -1);
}

static void test_watchdog(const char *name)
{
	char why[256], self[32];
	struct notify notify;
	const struct {
		const char *usec, *pid;
		int64_t half; /* ms; -1: it is nonsense */
	} rows[] = {
	    {NULL, NULL, 0},
	    {"30000000", NULL, 15000},
	    {"30000000", self, 15000},
	    {"30000000", "1", 0},
	    {"30000000", "", 0},
	    {"2000", self, 1},
	    {"-5", NULL, -1},
	    {"0", NULL, -1},
	    {"1s", NULL, -1},
	    {"99999999999999999999999", NULL, -1},
	};

	snprintf(self, sizeof self, "%ld", (long)getpid());
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int result;

		setenv("NOTIFY_SOCKET", name, 1);
		if (rows[i].usec != NULL)
			setenv("WATCHDOG_USEC", rows[i].usec, 1);
		if (rows[i].pid != NULL)
			setenv("WATCHDOG_PID", rows[i].pid, 1);
		result = notify_open(&notify, why, sizeof why);
		CHECK(result == (rows[i].half < 0 ? -1 : 0), "row %zu", i);
		CHECK(notify.watchdog == (rows[i].half > 0 ? rows[i].half : 0), "row %zu", i);
		CHECK(notify_listens(&notify), "row %zu", i);
		SURE(getenv("WATCHDOG_USEC") == NULL && getenv("WATCHDOG_PID") == NULL);
		notify_close(&notify);
	}
}

static void test_messages(int fd, const char *name)
{
	const struct notify_status two = {"serving", 2, 1};
	struct notify notify;
	char why[256], wanted[64];

	setenv("NOTIFY_SOCKET", name, 1);
	SURE(notify_open(&notify, why, sizeof why) == 0);
	notify.log = &quiet;
	notify_reloading(&notify);
	CHECK(is_next(fd, ""), "it is not ready yet");
	snprintf(wanted, sizeof wanted, "READY=1\nMAINPID=%ld", (long)getpid());
	notify_ready(&notify);
	notify_ready(&notify);
	SURE(is_next(fd, wanted));
	SURE(notify_step(&notify, &two, false, true, 1000) == CLOCK_NEVER);
	SURE(is_next(fd, "STATUS=serving: 2 workers, 1 listener"));
	SURE(notify_step(&notify, &two, false, true, 9000) == CLOCK_NEVER);
	CHECK(is_next(fd, ""), "nothing has changed");
	notify_reloading(&notify);
	SURE(strncmp(next(fd), "RELOADING=1\nMONOTONIC_USEC=", 27) == 0);
	notify_reloaded(&notify, "bad\nREADY=0 \xff");
	SURE(is_next(fd, "READY=1\nSTATUS=reload failed: bad?READY=0 ?; going on as before"));
	notify_step(&notify, &two, false, true, 10000);
	SURE(is_next(
	    fd, "STATUS=serving: 2 workers, 1 listener; the last reload failed: bad?READY=0 ?"));
	/* One a second. */
	SURE(notify_step(&notify, &(struct notify_status){"serving", 1, 1}, false, true, 10500) ==
	    11000);
	SURE(is_next(fd, ""));
	notify_reloading(&notify);
	next(fd);
	notify_stopping(&notify);
	notify_reloaded(&notify, NULL);
	notify_ready(&notify);
	SURE(is_next(fd, "STOPPING=1"));
	CHECK(is_next(fd, ""), "it is never ready again");
	SURE(notify_step(&notify, &(struct notify_status){"draining", 1, 0}, true, true, 20000) ==
	    25000);
	SURE(is_next(fd, "STATUS=draining: 1 worker, 0 listeners"));
	SURE(is_next(fd, "EXTEND_TIMEOUT_USEC=15000000"));
	notify_close(&notify);
}

/* Fills the socket; what is said then comes later, in its order. */
static void test_full(int fd, const char *name)
{
	struct notify notify;
	char why[256], last[1024] = "";
	int64_t again;

	setenv("NOTIFY_SOCKET", name, 1);
	SURE(notify_open(&notify, why, sizeof why) == 0);
	notify.log = &quiet;
	while (notify_store(&notify, "x", 0) == 0)
		continue;
	SURE(errno == EAGAIN && notify_unstore(&notify, "x") == -1 && errno == EAGAIN);
	notify_ready(&notify);
	for (int i = 0; i < 100; i++) {
		notify_reloading(&notify);
		notify_reloaded(&notify, NULL);
	}
	notify_stopping(&notify);
	again =
	    notify_step(&notify, &(struct notify_status){"draining", 1, 1}, true, true, clock_ms());
	SURE(again != CLOCK_NEVER && again <= clock_ms() + 100);
	while (strncmp(next(fd), "FDSTORE", 7) == 0)
		continue;
	/* Each READY after its RELOADING, and the end last. */
	for (int i = 0; i < 100 && strcmp(last, "STOPPING=1") != 0; i++) {
		const char *text = next(fd);

		if (text[0] == '\0') {
			notify_step(&notify, &(struct notify_status){"draining", 1, 1}, false, true,
			    again += 1000);
			continue;
		}
		if (strncmp(last, "RELOADING", 9) == 0)
			CHECK(strcmp(text, "READY=1") == 0, "%s after %s", text, last);
		snprintf(last, sizeof last, "%s", text);
	}
	CHECK(strcmp(last, "STOPPING=1") == 0, "%s", last);
	CHECK(notify.kept_count == 0, "%u", notify.kept_count);
	notify_close(&notify);
}

int main(void)
{
	char name[64];
	int fd = hear_at(name, sizeof name);

	test_environment();
	test_watchdog(name);
	test_messages(fd, name);
	test_full(fd, name);
	close(fd);
	return unit_end();
}
