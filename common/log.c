/* The error log; see log.h. */
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
_Static_assert(LINE_MAX_BYTES <= LOG_PIPE_MAX, "a line that poll(2) admits comes whole");

static const char *const level_words[] = {"error: ", "warning: ", "", "", "debug: "};

/* Those of syslog(3). */
static const char *const priorities[] = {"<3>", "<4>", "<5>", "<6>", "<7>"};

const char *log_priority(enum log_level level)
{
	return priorities[level];
}

bool log_is_journal(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char named[64];
	struct stat info;

	if (stream == NULL || fstat(fd, &info) == -1)
		return false;
	snprintf(named, sizeof named, "%llu:%llu", (unsigned long long)info.st_dev,
	    (unsigned long long)info.st_ino);
	return strcmp(stream, named) == 0;
}

ssize_t log_put(int fd, const char *bytes, size_t length)
{
	struct pollfd room = {.fd = fd, .events = POLLOUT};
	int tries = 2;
	ssize_t n;

	/* poll(2) says at once yes for a file; for a pipe it says yes when PIPE_BUF bytes fit. */
	if (poll(&room, 1, 0) != 1 || !(room.revents & POLLOUT) || room.revents & POLLERR) {
		errno = EAGAIN;
		return -1;
	}
	do {
		n = write(fd, bytes, length);
	} while (n == -1 && errno == EINTR && --tries > 0);
	return n;
}

/* Returns 0, or -1 when the line did not get through as a whole. */
static int put_line(struct log *log, enum log_level level, const char *message)
{
	char line[LINE_MAX_BYTES], stamp[64] = "";
	ssize_t put;
	int n;

	if (log->stamped) {
		time_t now = time(NULL);
		struct tm parts;

		gmtime_r(&now, &parts);
		n = (int)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ ", &parts);
		snprintf(stamp + n, sizeof stamp - (size_t)n, "[%ld] ", (long)getpid());
	}
	n = snprintf(line, sizeof line, "%s%s%slastcall: %s%s\n", log->torn ? "\n" : "",
	    log->journal ? priorities[level] : "", stamp, level_words[level], message);
	if (n >= (int)sizeof line) {
		n = (int)sizeof line - 1;
		line[n - 1] = '\n';
	}
	put = log_put(log->fd, line, (size_t)n);
	if (put > 0)
		log->torn = put < n;
	return put == n ? 0 : -1;
}

void log_succeed(struct log *log, const struct log *other)
{
	struct stat here, there;

	log->dropped += other->dropped;
	log->dropped_total += other->dropped_total;
	if (other->torn && fstat(log->fd, &here) == 0 && fstat(other->fd, &there) == 0 &&
	    here.st_dev == there.st_dev && here.st_ino == there.st_ino)
		log->torn = true;
}

void log_write(struct log *log, enum log_level level, const char *format, ...)
{
	char message[LINE_MAX_BYTES / 2];
	va_list arguments;
	int saved = errno;

	if (level > log->level || log->fd < 0)
		return;
	va_start(arguments, format);
	vsnprintf(message, sizeof message, format, arguments);
	va_end(arguments);
	for (char *at = message; *at != '\0'; at++) {
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	}
	if (log->dropped > 0) {
		char lost[64];

		snprintf(
		    lost, sizeof lost, "%llu log lines dropped", (unsigned long long)log->dropped);
		if (put_line(log, LOG_WARNING, lost) == 0)
			log->dropped = 0;
	}
	if (put_line(log, level, message) == -1) {
		log->dropped++;
		log->dropped_total++;
	}
	errno = saved;
}

size_t log_escape(char *out, size_t size, const char *bytes, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)bytes[i];
		bool plain = byte > 0x1f && byte < 0x7f && byte != '"' && byte != '\\';

		if (n + (plain ? 1 : 4) >= size)
			break;
		if (plain) {
			out[n++] = (char)byte;
			continue;
		}
		out[n++] = '\\';
		out[n++] = 'x';
		out[n++] = digits[byte >> 4];
		out[n++] = digits[byte & 15];
	}
	if (size > 0)
		out[n] = '\0';
	return n;
}
