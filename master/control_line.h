/*
 * A line of the control protocol (PROTOCOL): split into words, its options read, and written. Pure:
 * bytes in, struct out; fuzzed.
 *
 * A word is bare, or in double quotes with \" \\ \n \t and \xHH inside. What line_put_word writes
 * line_split reads as the same word.
 */
#ifndef LASTCALL_CONTROL_LINE_H
#define LASTCALL_CONTROL_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "directive.h"

#define CONTROL_LINE_MAX 4096 /* bytes of a line, its end included */
#define LINE_WORDS_MAX 256

struct line {
	size_t count;
	const char *words[LINE_WORDS_MAX]; /* in the text that was split */
};

/* What the options of a request say. */
struct line_options {
	char *folder; /* absolute; NULL: not given. Owned, see line_options_release */
	int64_t ttl, heartbeat; /* ms; 0: not given */
	int64_t grace; /* ms; -1: not given */
	bool now;
};

/*
 * Splits text, which has no line end and no NUL, and room for one byte more than length; it is
 * changed, and the words point into it. Returns 0, or -1 with *why set to a constant sentence.
 */
int line_split(struct line *line, char *text, size_t length, const char **why);

/*
 * Reads the options of a request: those of the words after the first that look like NAME=VALUE, as
 * long as they do, by the rows of a table over struct line_options. Sets *first to the index of the
 * first word that is none. Returns 0, or -1 with why. *options needs no initialisation and is to be
 * released in both cases.
 */
int line_options_read(struct line_options *options, const struct directive *table,
    const struct line *line, size_t *first, char *why, size_t size);
void line_options_release(struct line_options *options);

/* The options of each request that has any; by name, for line_options_read. */
extern const struct directive line_open_options[], line_lease_options[], line_close_options[],
    line_stop_options[];

/* A line that is being written; what does not fit is left out as a whole word. */
struct line_out {
	char text[CONTROL_LINE_MAX];
	size_t length;
};

/* Appends a space where one is needed, then key and value as one word, quoted if it has to be. */
void line_put_word(struct line_out *out, const char *key, const char *value);

/* A number that is negative, as one of a worker's that is beyond all bounds, is INT64_MAX. */
void line_put_number(struct line_out *out, const char *key, int64_t value);

/* Appends text for people: a double quote becomes a single one, and what is neither printable ASCII
 * nor a space, and a backslash, \xHH. */
void line_put_text(struct line_out *out, const char *text);

/* Ends it; there is always room. */
void line_put_end(struct line_out *out);

#endif
