/*
 * The errors of a configuration, gathered so that one run shows them all, in gcc's form:
 *
 *   lastcall.conf:14:5: error: unknown directive "lissten"; did you mean "listen"?
 *      14 |     lissten 80;
 *         |     ^~~~~~~
 *
 * At most DIAGNOSTICS_MAX are written; the rest are counted ("... and 7 more errors"). Bytes that
 * are not printable ASCII are written as \xHH, a tab in the shown line as one space, and a long
 * line is cut around the caret.
 */
#ifndef LASTCALL_DIAGNOSTICS_H
#define LASTCALL_DIAGNOSTICS_H

#include <stddef.h>
#include <stdio.h>

#define DIAGNOSTICS_MAX 20

/*
 * A place in a configuration. file NULL means the command line ("lastcall: error: …"); line 0
 * means the file as a whole ("lastcall.conf: error: is a directory").
 */
struct position {
	const char *file; /* owned by the configuration that it is part of */
	unsigned line; /* from 1 */
	unsigned column; /* from 1, in bytes */
	unsigned width; /* bytes to underline, at least 1 */
};

struct diagnostics {
	FILE *out; /* not owned; NULL: only count */
	const char *prefix; /* of each line; NULL: none */
	int errors;
};

/*
 * Writes one error at a place. source is the text of the whole file (length bytes), from which the
 * line is shown, or NULL to show none. The message says what is wrong and where it helps what to
 * do; no full stop.
 */
void diagnostics_error(struct diagnostics *d, const struct position *at, const char *source,
    size_t length, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Writes the count of what was not shown, if any. Returns the number of errors in all. */
int diagnostics_end(struct diagnostics *d);

/*
 * The candidate nearest to word (Damerau-Levenshtein, at most a third of its length, ignoring
 * case), or NULL when none is near. candidates ends with NULL.
 */
const char *diagnostics_nearest(const char *word, const char *const *candidates);

/*
 * Writes names (ending with NULL) as a list, "error, warn or debug" with the conjunction " or ".
 * Cut if it does not fit, always NUL-terminated. Returns out.
 */
const char *diagnostics_list(
    const char *const *names, const char *conjunction, char *out, size_t size);

#endif
