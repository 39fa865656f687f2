/*
 * The access log of an http service: a line for each answer, in the common or the combined format.
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

enum access_format { ACCESS_COMMON, ACCESS_COMBINED };

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

/* What a line tells. Pointers may be NULL where there is nothing; lengths are in bytes. */
struct access_entry {
	const char *host; /* of the peer, NUL-terminated, ours */
	int status;
	uint64_t bytes; /* of the body that was sent */
	const char *line, *referer, *agent; /* the client's */
	size_t line_length, referer_length, agent_length;
};

/* Its descriptor leads to a file that was just opened. */
void access_log_opened(struct access_log *log);

/* Adds a line; it is written at the end of the turn, or now when there is no room. */
void access_log_add(
    struct worker *worker, struct access_log *log, const struct access_entry *entry);

/* Writes all lines that were gathered. */
void access_log_flush_all(struct worker *worker);

#endif
