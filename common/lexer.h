/*
 * The words of a configuration: bytes in, tokens out, with their places.
 *
 * The caller makes a lexer over a text that it owns, takes tokens until TOKEN_END, and copies a
 * word out with lexer_word. A lexer is a value: a copy of it is a place to go back to. It
 * allocates nothing, reads nothing but the text, and never fails: what is no token is a
 * TOKEN_BAD that says why, and the next token stands behind it.
 */
#ifndef LASTCALL_LEXER_H
#define LASTCALL_LEXER_H

#include <stdbool.h>
#include <stddef.h>

enum token_kind {
	TOKEN_END,
	TOKEN_WORD,
	TOKEN_SEMICOLON,
	TOKEN_OPEN,
	TOKEN_CLOSE,
	TOKEN_BAD,
};

struct lexer {
	const char *text; /* not owned, need not end with NUL */
	size_t length;
	size_t at; /* of the next byte */
	size_t line_start; /* offset of the first byte of the line that `at` is on */
	unsigned line; /* from 1 */
};

struct token {
	enum token_kind kind;
	const char *text; /* as it stands in the source, quotes included */
	size_t size;
	unsigned line, column; /* from 1, in bytes */
	bool quoted;
	const char *why; /* TOKEN_BAD: what is wrong, constant */
	size_t why_at; /* TOKEN_BAD: offset in text and width of what to blame */
	size_t why_size;
	enum token_kind left; /* TOKEN_BAD of an unclosed quote: OPEN if it swallowed a "{" at the
			       * end of its line, else SEMICOLON; of anything else: WORD */
};

/* Begins at the first byte of text. */
void lexer_init(struct lexer *lexer, const char *text, size_t length);

/* The next token. At the end of the text TOKEN_END, again and again. */
struct token lexer_next(struct lexer *lexer);

/*
 * Writes what a TOKEN_WORD means, without quotes and escapes, and a NUL to out, which has room for
 * token->size + 1 bytes.
 */
void lexer_word(const struct token *token, char *out);

#endif
