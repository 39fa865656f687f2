/*
 * The access log of an http service: a line for each answer, in the common or the combined
 * format, or as a JSON object.
 *
 * The master opens the file (as whoever started it); each worker gathers whole lines and writes
 * them at the end of a turn of its loop, so a line is there before the next wait. A disk that is
 * full or a pipe that nobody reads costs lines, which are counted, and never stops the serving. A
 * client's bytes are escaped.
 */
#ifndef LASTCALL_ACCESS_H
#define LASTCALL_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACCESS_LINE_MAX 4096 /* a longer one is cut in its client's parts */

enum access_format { ACCESS_COMMON, ACCESS_COMBINED, ACCESS_JSON };

struct worker;

struct access_log {
	int fd; /* -1: off */
	enum access_format format;
	size_t length; /* of lines */
	bool piped; /* not a file: written in pieces that a pipe takes whole */
	bool torn; /* the last line came only in part: the next one ends it first */
	uint64_t lines_held; /* in lines */
	uint64_t dropped; /* since the last write that got through */
	struct access_log *next; /* with lines to be written */
	char lines[65536];
};

/* Bytes of the client's; length 0 where there is nothing. */
struct access_text {
	const char *bytes;
	size_t length;
};

/* What a line tells. */
struct access_entry {
	const char *peer; /* the address, NUL-terminated, ours */
	const char *user; /* whose credentials were right, NUL-terminated, the client's; or NULL */
	int status;
	uint64_t bytes; /* of the body that was sent */
	int64_t duration; /* us, from the whole request to the last byte; JSON only */
	int minor; /* of HTTP/1.x; -1: the head was not understood */
	struct access_text line, method, target, host, referer, agent;
};

/* Its descriptor leads to a file that was just opened. */
void access_log_opened(struct access_log *log);

/* Adds a line; it is written at the end of the turn, or now when there is no room. */
void access_log_add(
    struct worker *worker, struct access_log *log, const struct access_entry *entry);

/* Writes all lines that were gathered. */
void access_log_flush_all(struct worker *worker);

#endif
