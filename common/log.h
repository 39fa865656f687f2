/*
 * The error log: whole lines to standard error or a file, a level each, never in the way of
 * serving.
 *
 * A line that cannot be written at once (a full disk, a pipe that nobody reads) is dropped and
 * counted; the next line that gets through says how many were. A caller of the log never sees an
 * error of it.
 */
#ifndef LASTCALL_LOG_H
#define LASTCALL_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

struct log {
	int fd; /* not owned unless the caller says so elsewhere */
	enum log_level level; /* lines above it are not written */
	bool stamped; /* a file's lines begin with date and pid */
	bool journal; /* a journal's lines begin with <N>, their level (sd-daemon(3)) */
	bool torn; /* the last line came only in part: the next one ends it first */
	uint64_t dropped; /* since the last line that got through */
	uint64_t dropped_total;
};

/*
 * Opens a log for appending, as a descriptor that never blocks; log_open.c tells which links are
 * followed. Returns the descriptor, or -1 with errno (ELOOP: a link that somebody else may have
 * made; EMLINK: a file in a folder of somebody else's that has another name, or was renamed
 * meanwhile; ENXIO: a pipe that nobody reads).
 */
int log_open(const char *path);

/* Why log_open failed, in words. */
const char *log_open_error(int number);

/*
 * Has fd, a log that is open, lead to the file that log_open opened anew, which stays the
 * caller's. Returns 1, or 0: it leads there already, and nothing was done; or -1 with errno.
 */
int log_redirect(int fd, int anew);

/* Whether a descriptor leads to the journal of systemd: JOURNAL_STREAM names its device and inode.
 */
bool log_is_journal(int fd);

/* The <N> of a level, for who writes a line to the journal without a log. */
const char *log_priority(enum log_level level);

/* Writes "lastcall: …" and a line end. A control character in the message becomes "?". */
void log_write(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Has a log, already open, go on in the place of another, which is still open: tells of the lines
 * that the other one dropped, and, if both lead to the same file, ends a line that came only in
 * part.
 */
void log_succeed(struct log *log, const struct log *other);

/*
 * Writes bytes to a file, or to a pipe, socket or terminal that has room; never blocks, as long as
 * length is at most LOG_PIPE_MAX for what is not a file. Returns how many were written, which on a
 * full disk can be a part, or -1 with errno (EAGAIN: no room).
 */
ssize_t log_put(int fd, const char *bytes, size_t length);
#define LOG_PIPE_MAX 4096

/*
 * Escapes bytes that come from a client: all but printable ASCII, and quote and backslash, become
 * \xHH. Writes at most size - 1 bytes and a NUL, and only whole escapes. Returns the length.
 */
size_t log_escape(char *out, size_t size, const char *bytes, size_t length);

#endif
