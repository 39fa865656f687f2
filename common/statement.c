/*
 * Gathers the words of a statement and decides where it ends, also where its end was forgotten.
 * It knows nothing of what statements mean; the judge that the caller passes does.
 */
#include "statement.h"

#include <stdlib.h>

static struct position position_of(const struct config_source *source, const struct token *token)
{
	return (struct position){
	    .file = source->name,
	    .line = token->line,
	    .column = token->column,
	    .width = token->size > 0 ? (unsigned)token->size : 1,
	};
}

static int add_word(
    struct statement *s, const struct config_source *source, const struct token *token)
{
	if (s->count == s->room) {
		size_t room = s->room > 0 ? s->room * 2 : 8;
		struct word *words = realloc(s->words, room * sizeof(*words));

		if (words == NULL)
			return -1;
		s->words = words;
		s->room = room;
	}
	struct word *word = &s->words[s->count];

	word->text = malloc(token->size + 1);
	if (word->text == NULL)
		return -1;
	lexer_word(token, word->text);
	word->quoted = token->quoted;
	word->at = position_of(source, token);
	s->count++;
	return 0;
}

/* Ends a statement whose ";" or "{" is missing, and blames the point after its last word. */
static void end_early(struct statement *s, const struct config_source *source, enum token_kind end,
    const char *expected, struct diagnostics *d)
{
	const struct word *last = &s->words[s->count - 1];

	s->end = end;
	s->end_at = last->at;
	s->end_at.column += last->at.width;
	s->end_at.width = 1;
	diagnostics_error(d, &s->end_at, source->text, source->length,
	    "expected %s after \"%.100s\"", expected, last->text);
}

static void bad_word(struct statement *s, const struct config_source *source,
    const struct token *token, struct diagnostics *d)
{
	struct position at = position_of(source, token);

	at.column += (unsigned)token->why_at;
	at.width = (unsigned)token->why_size;
	diagnostics_error(d, &at, source->text, source->length, "%s", token->why);
	s->bad = true;
}

/*
 * Asks the judge about the word that was just added, if it begins a line. Returns true if the
 * statement ended before it; the word is then taken out again.
 */
static bool ended_before(struct statement *s, const struct config_source *source,
    statement_judge *judge, const void *context, struct diagnostics *d)
{
	if (s->count < 2)
		return false;
	struct word *word = &s->words[s->count - 1];

	if (word->quoted || word->at.line == word[-1].at.line)
		return false;
	s->count--;
	enum statement_break verdict = judge(context, s, word->text);

	if (verdict == STATEMENT_GOES_ON) {
		s->count++;
		return false;
	}
	free(word->text);
	if (verdict == STATEMENT_BREAKS)
		end_early(s, source, TOKEN_SEMICOLON, "\";\"", d);
	else
		end_early(s, source, TOKEN_OPEN, "\"{\"", d);
	return true;
}

int statement_read(struct statement *s, struct lexer *lexer, const struct config_source *source,
    statement_judge *judge, const void *context, struct diagnostics *d)
{
	*s = (struct statement){.end = TOKEN_END};
	for (;;) {
		struct lexer before = *lexer;
		struct token token = lexer_next(lexer);

		switch (token.kind) {
		case TOKEN_WORD:
			if (add_word(s, source, &token) == -1)
				return -1;
			if (!ended_before(s, source, judge, context, d))
				continue;
			*lexer = before;
			return 0;
		case TOKEN_BAD:
			/* An unclosed quote ends the statement with what it swallowed. */
			bad_word(s, source, &token, d);
			if (token.left == TOKEN_WORD)
				continue;
			s->end = token.left;
			s->end_at = position_of(source, &token);
			return 0;
		case TOKEN_SEMICOLON:
		case TOKEN_OPEN:
			s->end = token.kind;
			s->end_at = position_of(source, &token);
			return 0;
		case TOKEN_CLOSE:
		case TOKEN_END:
			if (s->count == 0) {
				s->end = token.kind;
				s->end_at = position_of(source, &token);
				return 0;
			}
			*lexer = before;
			if (s->bad)
				s->end = TOKEN_SEMICOLON;
			else
				end_early(s, source, TOKEN_SEMICOLON, "\";\"", d);
			return 0;
		}
	}
}

bool statement_skip_block(struct lexer *lexer)
{
	for (unsigned depth = 1; depth > 0;) {
		switch (lexer_next(lexer).kind) {
		case TOKEN_OPEN:
			depth++;
			break;
		case TOKEN_CLOSE:
			depth--;
			break;
		case TOKEN_END:
			return false;
		default:
			break;
		}
	}
	return true;
}

void statement_release(struct statement *statement)
{
	for (size_t i = 0; i < statement->count; i++)
		free(statement->words[i].text);
	free(statement->words);
	*statement = (struct statement){.words = NULL};
}
