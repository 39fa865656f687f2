/*
 * One statement of a configuration: `word… ;` or the words before a `{`.
 *
 * This is where a forgotten `;`, `{` or quote is noticed, reported and stepped over, so that one
 * slip is one error and the statements behind it are still read.
 */
#ifndef LASTCALL_STATEMENT_H
#define LASTCALL_STATEMENT_H

#include <stdbool.h>
#include <stddef.h>

#include "diagnostics.h"
#include "lexer.h"
#include "source.h"

struct word {
	char *text; /* owned by the statement */
	bool quoted;
	struct position at;
};

struct statement {
	struct word *words;
	size_t count, room;
	enum token_kind
	    end; /* SEMICOLON, or OPEN: a block follows; with no words also CLOSE, END */
	struct position end_at;
	bool bad; /* an error in a word was reported: do not look at the rest */
};

/* What a word that begins a new line means for the statement before it. */
enum statement_break {
	STATEMENT_GOES_ON,
	STATEMENT_BREAKS, /* it begins another: a ";" is missing */
	STATEMENT_BLOCK_OPEN, /* it stands in a block whose "{" is missing */
};

/* Asked about every bare word that is the first of its line within a statement. */
typedef enum statement_break statement_judge(
    const void *context, const struct statement *so_far, const char *word);

/*
 * Reads the next statement; errors go to d. Returns 0, or -1 with errno ENOMEM. *statement needs no
 * initialisation, and is to be released in both cases.
 */
int statement_read(struct statement *statement, struct lexer *lexer,
    const struct config_source *source, statement_judge *judge, const void *context,
    struct diagnostics *d);

/* Goes behind the `}` of a block whose `{` was the last token. Returns false if there is none. */
bool statement_skip_block(struct lexer *lexer);

/* Frees the words. */
void statement_release(struct statement *statement);

#endif
