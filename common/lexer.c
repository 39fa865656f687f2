/*
 * Cuts the text of a configuration into words, `;`, `{` and `}`, and keeps count of lines.
 *
 * A quoted word never spans lines: a quote that is not closed ends with its line, so that one
 * forgotten quote costs one statement and not the rest of the file.
 */
#include "lexer.h"

void lexer_init(struct lexer *lexer, const char *text, size_t length)
{
	*lexer = (struct lexer){.text = text, .length = length, .line = 1};
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

/* Whether a bare word goes on with c. */
static bool is_bare(char c)
{
	return !is_blank(c) && c != ';' && c != '{' && c != '}' && c != '#';
}

/* Goes over white space and comments to the next token. */
static void skip_blank(struct lexer *lexer)
{
	bool comment = false;

	for (; lexer->at < lexer->length; lexer->at++) {
		char c = lexer->text[lexer->at];

		if (c == '\n') {
			comment = false;
			lexer->line++;
			lexer->line_start = lexer->at + 1;
		} else if (c == '#') {
			comment = true;
		} else if (!comment && !is_blank(c)) {
			return;
		}
	}
}

static void blame(struct token *token, const char *why, size_t at, size_t size)
{
	if (token->kind == TOKEN_BAD)
		return;
	token->kind = TOKEN_BAD;
	token->why = why;
	token->why_at = at;
	token->why_size = size;
}

/* Takes the bytes of a bare word. Returns their number. */
static size_t take_bare(struct lexer *lexer, struct token *token)
{
	size_t start = lexer->at;

	while (lexer->at < lexer->length && is_bare(lexer->text[lexer->at])) {
		if (lexer->text[lexer->at] == '"')
			blame(token, "a quote in the middle of a word; quote the word as a whole",
			    (size_t)(lexer->text + lexer->at - token->text), 1);
		lexer->at++;
	}
	return lexer->at - start;
}

/*
 * Decides what an unclosed quote, which runs to the end of its line, was meant to leave outside: a
 * "{" at the end, so that its block is read; a "; }", so that the block around it ends.
 */
static void give_back(struct lexer *lexer, struct token *token)
{
	size_t size = token->size, last;

	while (size > 1 && is_blank(token->text[size - 1]))
		size--;
	last = size - 1;
	token->left = last > 0 && token->text[last] == '{' ? TOKEN_OPEN : TOKEN_SEMICOLON;
	if (last == 0 || token->text[last] != '}')
		return;
	while (size > 2 && is_blank(token->text[size - 2]))
		size--;
	if (size > 2 && token->text[size - 2] == ';')
		lexer->at -= token->size - last; /* the "}" comes next */
}

/* Takes a quoted word; the lexer stands at its first quote. */
static void take_quoted(struct lexer *lexer, struct token *token)
{
	const char *text = lexer->text;
	size_t start = lexer->at++;

	token->quoted = true;
	while (lexer->at < lexer->length && text[lexer->at] != '"' && text[lexer->at] != '\n') {
		size_t left = lexer->length - lexer->at;

		if (text[lexer->at++] != '\\' || left < 2 || text[lexer->at] == '\n')
			continue;
		switch (text[lexer->at]) {
		case '"':
		case '\\':
		case 'n':
		case 't':
			break;
		default:
			blame(token,
			    "unknown escape; in quotes there are \\\" \\\\ \\n \\t and nothing "
			    "else",
			    lexer->at - 1 - start, 2);
		}
		lexer->at++;
	}
	token->size = lexer->at - start;
	if (lexer->at == lexer->length || text[lexer->at] == '\n') {
		token->kind = TOKEN_WORD; /* that the quote is open matters more than an escape */
		blame(token, "this quote is not closed on its line", 0, 1);
		give_back(lexer, token);
		return;
	}
	lexer->at++;
	size_t more = take_bare(lexer, token);

	if (more > 0)
		blame(token, "text right after a quoted word; a space or a \";\" is missing",
		    token->size + 1, more);
	token->size = lexer->at - start;
}

struct token lexer_next(struct lexer *lexer)
{
	skip_blank(lexer);
	struct token token = {
	    .kind = TOKEN_END,
	    .text = lexer->text + lexer->at,
	    .line = lexer->line,
	    .column = (unsigned)(lexer->at - lexer->line_start + 1),
	    .left = TOKEN_WORD,
	};

	if (lexer->at == lexer->length)
		return token;
	switch (token.text[0]) {
	case ';':
		token.kind = TOKEN_SEMICOLON;
		break;
	case '{':
		token.kind = TOKEN_OPEN;
		break;
	case '}':
		token.kind = TOKEN_CLOSE;
		break;
	case '"':
		token.kind = TOKEN_WORD;
		take_quoted(lexer, &token);
		return token;
	default:
		token.kind = TOKEN_WORD;
		token.size = take_bare(lexer, &token);
		return token;
	}
	token.size = 1;
	lexer->at++;
	return token;
}

void lexer_word(const struct token *token, char *out)
{
	const char *from = token->text, *end = token->text + token->size;

	if (token->quoted) {
		from++;
		end--;
	}
	while (from < end) {
		if (token->quoted && *from == '\\' && from + 1 < end) {
			from++;
			*out++ = *from == 'n' ? '\n' : *from == 't' ? '\t' : *from;
			from++;
		} else {
			*out++ = *from++;
		}
	}
	*out = '\0';
}
