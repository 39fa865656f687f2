/*
 * Reads the files of a configuration: blocks, services, includes. What stands in `listen` and
 * `control` is read in files of their own.
 *
 * It goes on after every error, so that one run shows them all, and takes care that one slip is
 * one error. Listeners are bound to their services last, for a service may stand below them.
 */
#include "config.h"

#include <errno.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_parts.h"

typedef void keyword_function(struct parser *parser, struct statement *statement);

static keyword_function parse_service, parse_include;

struct keyword {
	const char *name;
	keyword_function *parse;
	size_t words; /* of the whole statement, SIZE_MAX: any number */
};

static const struct keyword keywords[] = {
    {"service", parse_service, 3},
    {"listen", parse_listen, SIZE_MAX},
    {"control", parse_control, 2},
    {"include", parse_include, 2},
    {NULL, NULL, 0},
};

static const struct keyword *keyword_find(const char *name)
{
	const struct keyword *k = keywords;

	while (k->name != NULL && strcmp(k->name, name) != 0)
		k++;
	return k->name != NULL ? k : NULL;
}

static void no_memory(const struct parser *p, const struct position *at)
{
	config_error(p->config, p->d, at, "%s", strerror(ENOMEM));
}

/* Whether a word begins a statement of the block that would follow on these words. */
static bool is_in_block(const struct statement *s, const struct keyword *keyword, const char *word)
{
	const struct directive *table = NULL;

	if (keyword != NULL && keyword->parse == parse_service && s->count == 3) {
		const struct service_kind *kind = service_kind_find(s->words[2].text);

		table = kind != NULL ? kind->directives : NULL;
	} else if (keyword != NULL && keyword->parse == parse_control && s->count == 2) {
		/* `group` stands at the top level too, and means that here. */
		table = directive_find(config_directives, word) == NULL ? control_directives : NULL;
	} else if (keyword != NULL && keyword->parse == parse_listen && s->count >= 4) {
		table = listen_directives; /* which it can have after "listen ADDR -> SERVICE" */
	}
	return directive_find(table, word) != NULL;
}

/* How many words a statement has at most, the name included. */
static size_t words_of(const struct directive *row)
{
	if (row == NULL || directive_takes_words(row))
		return SIZE_MAX;
	return row->type == DIRECTIVE_ROWS ? (size_t)row->max + 1 : 2;
}

/*
 * What a word at the beginning of a line is to the statement before it: the next statement, if the
 * one before is full or the word is the name of one. A word that only looks like it can be quoted.
 */
static enum statement_break judge(const void *context, const struct statement *s, const char *word)
{
	const struct scope *scope = context;
	const struct keyword *keyword =
	    scope->block == NULL ? keyword_find(s->words[0].text) : NULL;
	const struct directive *row = directive_find(scope->table, s->words[0].text);
	size_t full = keyword != NULL ? keyword->words : words_of(row);
	bool begins = keyword_find(word) != NULL || directive_find(scope->table, word) != NULL;
	bool in_block = is_in_block(s, keyword, word);

	if (s->count < full && !begins && !in_block)
		return STATEMENT_GOES_ON;
	return in_block ? STATEMENT_BLOCK_OPEN : STATEMENT_BREAKS;
}

void parser_skip_block(struct parser *p, const struct statement *s)
{
	if (s->end == TOKEN_OPEN && !statement_skip_block(&p->lexer))
		config_error(p->config, p->d, &s->end_at, "this \"{\" is never closed");
}

/* " or "-separated names of the kinds that have that directive. Returns their number. */
static size_t kinds_with(const char *name, char *out, size_t size)
{
	const char *names[33];
	size_t count = 0;

	for (size_t i = 0; service_kinds[i] != NULL && count < 32; i++)
		if (directive_find(service_kinds[i]->directives, name) != NULL)
			names[count++] = service_kinds[i]->name;
	names[count] = NULL;
	diagnostics_list(names, " or ", out, size);
	return count;
}

static const char *nearest_in(const struct scope *scope, const char *word)
{
	const char *names[128];
	size_t count = 0;

	for (const struct directive *row = scope->table;
	     row != NULL && row->name != NULL && count < 120; row++)
		names[count++] = row->name;
	for (const struct keyword *k = keywords; scope->block == NULL && k->name != NULL; k++)
		names[count++] = k->name;
	names[count] = NULL;
	return diagnostics_nearest(word, names);
}

static void unknown_directive(
    struct parser *p, const struct scope *scope, const struct statement *s)
{
	const char *name = s->words[0].text;
	const struct position *at = &s->words[0].at;
	bool top = keyword_find(name) != NULL || directive_find(config_directives, name) != NULL;
	char kinds[256];
	const char *near;

	if (scope->block != NULL && top)
		config_error(p->config, p->d, at,
		    "\"%s\" belongs at the top level, outside of any %s", name, scope->block);
	else if (kinds_with(name, kinds, sizeof(kinds)) > 0)
		config_error(
		    p->config, p->d, at, "\"%s\" belongs in a service of kind %s", name, kinds);
	else if (directive_find(control_directives, name) != NULL)
		config_error(p->config, p->d, at, "\"%s\" belongs in the block of a control", name);
	else if (directive_find(listen_directives, name) != NULL)
		config_error(p->config, p->d, at, "\"%s\" belongs in the block of a listen", name);
	else if ((near = nearest_in(scope, name)) != NULL)
		config_error(p->config, p->d, at,
		    "unknown directive \"%.100s\"; did you mean \"%s\"?", name, near);
	else
		config_error(p->config, p->d, at, "unknown directive \"%.100s\"", name);
}

static void duplicate(
    struct parser *p, const struct statement *s, const struct config_setting *first)
{
	const struct position *at = &s->words[0].at;

	if (first->at.file == at->file)
		config_error(p->config, p->d, at,
		    "duplicate directive \"%s\"; the first is on line %u", s->words[0].text,
		    first->at.line);
	else
		config_error(p->config, p->d, at,
		    "duplicate directive \"%s\"; the first is at %s:%u", s->words[0].text,
		    first->at.file, first->at.line);
}

static void missing_value(struct parser *p, const struct directive *row, const struct position *at)
{
	if (row->type == DIRECTIVE_ROWS)
		config_error(p->config, p->d, at, "%s is written \"%s %s;\"", row->name, row->name,
		    row->keyword);
	else if (row->initial != NULL)
		config_error(p->config, p->d, at, "%s needs a value, such as \"%s\"", row->name,
		    row->initial);
	else
		config_error(p->config, p->d, at, "%s needs a value", row->name);
}

/* Notes where each value was written; the newest is found first, so the first one goes last. */
static void add_settings(struct parser *p, const struct scope *scope, const struct directive *row,
    const struct statement *s)
{
	for (size_t i = s->count - 1; i > 0; i--) {
		if (setting_add(p->config, row, scope->base, &s->words[i].at) == -1) {
			no_memory(p, &s->words[i].at);
			return;
		}
	}
}

/* Writes the words of a statement into the struct of its block. */
static void set_value(struct parser *p, const struct scope *scope, const struct directive *row,
    const struct statement *s)
{
	const char **texts = calloc(s->count, sizeof(*texts));
	const struct position *at = &s->words[1].at;
	char why[DIRECTIVE_WHY];

	if (texts == NULL) {
		no_memory(p, at);
		return;
	}
	for (size_t i = 1; i < s->count; i++)
		texts[i - 1] = s->words[i].text;
	if (directive_set(
		row, scope->base, texts, s->count - 1, p->source->folder, why, sizeof(why)) == -1)
		config_error(p->config, p->d, at, "%s", why);
	else
		add_settings(p, scope, row, s);
	free(texts);
}

static void apply_directive(struct parser *p, const struct scope *scope,
    const struct directive *row, const struct statement *s)
{
	const struct config_setting *first = config_setting_find(p->config, row, scope->base);

	if (s->end == TOKEN_OPEN) {
		config_error(p->config, p->d, &s->end_at, "%s takes no block", row->name);
		parser_skip_block(p, s);
	} else if (first != NULL && row->type != DIRECTIVE_LIST && row->type != DIRECTIVE_ROWS) {
		duplicate(p, s, first);
	} else if (s->count == 1) {
		missing_value(p, row, &s->words[0].at);
	} else if (s->count > 2 && words_of(row) == 2) {
		config_error(p->config, p->d, &s->words[2].at,
		    "unexpected \"%.100s\" after the value of %s; is a \";\" missing?",
		    s->words[2].text, row->name);
	} else {
		set_value(p, scope, row, s);
	}
}

static void apply_statement(struct parser *p, const struct scope *scope, struct statement *s)
{
	const struct keyword *keyword = NULL;
	const struct directive *row = NULL;

	if (s->count == 0) {
		if (!s->bad)
			config_error(p->config, p->d, &s->end_at, "unexpected \"%s\"",
			    s->end == TOKEN_OPEN ? "{" : ";");
		parser_skip_block(p, s);
		return;
	}
	if (scope->block == NULL)
		keyword = keyword_find(s->words[0].text);
	row = directive_find(scope->table, s->words[0].text);
	if (keyword != NULL) {
		keyword->parse(p, s);
	} else if (s->bad) {
		parser_skip_block(p, s);
	} else if (row != NULL) {
		apply_directive(p, scope, row, s);
	} else {
		unknown_directive(p, scope, s);
		parser_skip_block(p, s);
	}
}

void parser_block(struct parser *p, const struct scope *scope, const struct position *open)
{
	for (bool over = false; !over;) {
		struct statement s;

		if (statement_read(&s, &p->lexer, p->source, judge, scope, p->d) == -1) {
			struct position at = {.file = p->source->name};

			no_memory(p, &at);
			p->lexer.at = p->lexer.length; /* ends the blocks around this, too */
			over = true;
		} else if (s.count == 0 && s.end == TOKEN_END) {
			if (open != NULL)
				config_error(p->config, p->d, open, "this \"{\" is never closed");
			over = true;
		} else if (s.count == 0 && s.end == TOKEN_CLOSE) {
			over = open != NULL;
			if (!over)
				config_error(p->config, p->d, &s.end_at,
				    "unexpected \"}\"; no block is open here");
		} else {
			apply_statement(p, scope, &s);
		}
		statement_release(&s);
	}
}

/* Whether a name is allowed and free. Returns false with the error in d. */
static bool check_name(struct parser *p, const struct word *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.-";
	const struct service_config *first = service_find(p->config, name->text);
	size_t length = strlen(name->text);

	if (length == 0 || name->text[strspn(name->text, allowed)] != '\0')
		config_error(p->config, p->d, &name->at,
		    "\"%.100s\" is no name for a service; letters, digits, \"_\", \".\" and \"-\" "
		    "are allowed",
		    name->text);
	else if (length > CONFIG_NAME_MAX)
		config_error(p->config, p->d, &name->at,
		    "the name of a service has at most %d characters", CONFIG_NAME_MAX);
	else if (service_kind_find(name->text) != NULL)
		config_error(p->config, p->d, &name->at,
		    "\"%s\" is the name of a kind; give the service another name", name->text);
	else if (first != NULL && first->at.file == name->at.file)
		config_error(p->config, p->d, &name->at,
		    "service \"%s\" is already defined on line %u", name->text, first->at.line);
	else if (first != NULL)
		config_error(p->config, p->d, &name->at,
		    "service \"%s\" is already defined at %s:%u", name->text, first->at.file,
		    first->at.line);
	else
		return true;
	return false;
}

static void unknown_kind(struct parser *p, const struct word *word)
{
	const char *names[33];
	size_t count = 0;
	char list[256];

	for (; count < 32 && service_kinds[count] != NULL; count++)
		names[count] = service_kinds[count]->name;
	names[count] = NULL;
	const char *near = diagnostics_nearest(word->text, names);

	if (near != NULL)
		config_error(p->config, p->d, &word->at,
		    "unknown kind of service \"%.100s\"; did you mean \"%s\"?", word->text, near);
	else
		config_error(p->config, p->d, &word->at,
		    "unknown kind of service \"%.100s\"; it is one of %s", word->text,
		    diagnostics_list(names, " or ", list, sizeof(list)));
}

/* The block of a service, and the service as a whole if its block was without errors. */
static void parse_service_block(
    struct parser *p, struct statement *s, struct service_config *service)
{
	struct scope scope = {service->kind->directives, service->options, "service"};
	int before = p->d->errors;

	if (s->end == TOKEN_OPEN)
		parser_block(p, &scope, &s->end_at);
	if (p->d->errors == before)
		service_check(p->config, service, p->d);
}

/* `service NAME KIND { … }`, or `service NAME KIND;` where all has a default. */
static void parse_service(struct parser *p, struct statement *s)
{
	const struct service_kind *kind = s->count > 2 ? service_kind_find(s->words[2].text) : NULL;
	struct service_config *service = NULL;

	if (s->bad) {
		parser_skip_block(p, s);
		return;
	}
	if (s->count < 3)
		config_error(p->config, p->d, &s->words[0].at,
		    "service needs a name and a kind, as in \"service site http {\"");
	else if (kind == NULL)
		unknown_kind(p, &s->words[2]);
	else if (s->count > 3)
		config_error(p->config, p->d, &s->words[3].at,
		    "unexpected \"%.100s\"; the options of a service stand in its block",
		    s->words[3].text);
	if (kind != NULL) {
		/* A wrong name costs one error; the block is read all the same. */
		check_name(p, &s->words[1]);
		service = service_new(s->words[1].text, kind, &s->words[1].at);
		if (service == NULL)
			no_memory(p, &s->words[1].at);
		else if (service_append(p->config, service, p->d) == -1) {
			service_free(service);
			service = NULL;
		}
	}
	if (service != NULL)
		parse_service_block(p, s, service);
	else
		parser_skip_block(p, s);
}

/* How many files are being read, this one included. Returns 0 if source is one of them. */
static int depth_of(const struct parser *p, const struct config_source *source)
{
	int depth = 0;

	for (; p != NULL; p = p->includer, depth++)
		if (p->source->device == source->device && p->source->inode == source->inode)
			return 0;
	return depth;
}

/* Reads one file; at is the include that names it, or the file itself without a line. */
static void parse_file(struct parser *includer, struct config *config, const char *name,
    const struct position *at, struct reference_list *references, struct diagnostics *d)
{
	const struct scope scope = {config_directives, config, NULL};
	struct parser p = {
	    .config = config, .d = d, .references = references, .includer = includer};
	bool first = includer == NULL;
	const char *why = "too many files (at most 1024)";

	/* Counted before it is read: a file that includes itself 80,000 times is read 1024 times.
	 */
	if (references->files < CONFIG_FILES_MAX)
		p.source = config->given != NULL ? source_find(config->given, name, &why)
						 : source_read(name, &why);
	references->files++;
	if (p.source == NULL) {
		if (first)
			config_error(config, d, at, "%s", why);
		else
			config_error(config, d, at, "include \"%.200s\": %s", name, why);
		return;
	}
	int depth = depth_of(includer, p.source);

	if (!first && depth == 0)
		why = "it is being read already; this would never end";
	else if (depth >= CONFIG_DEPTH_MAX)
		why = "too many files that include one another (at most 10)";
	else
		why = NULL;
	if (why != NULL) {
		config_error(config, d, at, "include \"%.200s\": %s", name, why);
		source_free(p.source);
		return;
	}
	p.source->next = config->sources;
	config->sources = p.source;
	lexer_init(&p.lexer, p.source->text, p.source->length);
	parser_block(&p, &scope, NULL);
}

/*
 * The path of an include as errors show it: below the folder of the file that includes, as that
 * file's name was written. With escape, what a pattern would take for itself is escaped in the
 * folder.
 */
static char *include_path(const struct parser *p, const char *word, bool escape)
{
	const char *name = p->source->name, *slash = strrchr(name, '/');
	size_t folder = *word == '/' || slash == NULL ? 0 : (size_t)(slash - name) + 1;
	char *path = malloc(2 * folder + strlen(word) + 1), *out = path;

	if (path == NULL)
		return NULL;
	for (size_t i = 0; i < folder; i++) {
		if (escape && strchr("*?[]\\", name[i]) != NULL)
			*out++ = '\\';
		*out++ = name[i];
	}
	memcpy(out, word, strlen(word) + 1);
	return path;
}

/* The same among sources that are given instead of files. */
static void include_given(struct parser *p, const char *path, const struct position *at)
{
	const char *last = "", *next;

	do {
		next = NULL;
		for (const struct config_source *s = p->config->given; s != NULL; s = s->next) {
			if (fnmatch(path, s->name, FNM_PATHNAME | FNM_PERIOD) == 0 &&
			    strcmp(s->name, last) > 0 &&
			    (next == NULL || strcmp(s->name, next) < 0))
				next = s->name;
		}
		if (next != NULL)
			parse_file(p, p->config, next, at, p->references, p->d);
		last = next;
	} while (next != NULL);
}

/* Reads every file that a pattern matches, in the order of their names; none is no error. */
static void include_pattern(struct parser *p, const char *path, const struct position *at)
{
	glob_t found;
	int result;

	if (p->config->given != NULL) {
		include_given(p, path, at);
		return;
	}
	result = glob(path, GLOB_ERR, NULL, &found);
	if (result == GLOB_NOSPACE)
		no_memory(p, at);
	else if (result == GLOB_ABORTED)
		config_error(p->config, p->d, at, "include \"%.200s\": %s", path, strerror(errno));
	for (size_t i = 0; result == 0 && i < found.gl_pathc; i++)
		parse_file(p, p->config, found.gl_pathv[i], at, p->references, p->d);
	globfree(&found);
}

/* `include PATH;` */
static void parse_include(struct parser *p, struct statement *s)
{
	const struct position *at = &s->words[s->count > 1 ? 1 : 0].at;

	if (s->bad) {
		parser_skip_block(p, s);
		return;
	}
	if (s->count != 2 || s->end == TOKEN_OPEN || *s->words[1].text == '\0') {
		config_error(p->config, p->d, s->count > 2 ? &s->words[2].at : at,
		    "include takes one path, as in \"include sites/*.conf;\"");
		parser_skip_block(p, s);
		return;
	}
	bool pattern = strpbrk(s->words[1].text, "*?[") != NULL;
	char *path = include_path(p, s->words[1].text, pattern);

	if (path == NULL)
		no_memory(p, at);
	else if (pattern)
		include_pattern(p, path, at);
	else
		parse_file(p, p->config, path, at, p->references, p->d);
	free(path);
}

int config_load(struct config *config, const char *path, struct diagnostics *d)
{
	const struct position at = {.file = path, .line = 0};
	struct reference_list references = {.first = NULL};
	int before = d->errors;

	references.end = &references.first;
	parse_file(NULL, config, path, &at, &references, d);
	reference_resolve(config, &references, d);
	control_check(config, d);
	services_link(config, d);
	return d->errors == before ? 0 : -1;
}
