/*
 * The `listen` statement: its addresses when it is read, its service when all files are.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_parts.h"

/* The index of the arrow of a `listen`, or 0 with the error in d. */
static size_t find_arrow(struct parser *p, const struct statement *s)
{
	const struct word *last = &s->words[s->count - 1];

	for (size_t i = 1; i < s->count; i++) {
		const struct word *word = &s->words[i];

		if (!word->quoted && strcmp(word->text, "->") == 0)
			return i;
		if (!word->quoted && strcmp(word->text, "=>") == 0) {
			config_error(
			    p->config, p->d, &word->at, "unexpected \"=>\"; did you mean \"->\"?");
			return 0;
		}
		if (!word->quoted && strstr(word->text, "->") != NULL) {
			config_error(p->config, p->d, &word->at, "put spaces around \"->\"");
			return 0;
		}
	}
	if (s->count == 1)
		config_error(p->config, p->d, &last->at,
		    "listen needs an address and a service, as in \"listen 8080 -> site;\"");
	else
		config_error(p->config, p->d, &last->at,
		    "listen needs \"-> SERVICE\" after its addresses, as in \"listen %.40s -> "
		    "site;\"",
		    s->words[1].text);
	return 0;
}

/* Reads an address of the file; a relative Unix path starts from the file's folder. */
static int parse_address(
    struct parser *p, const struct word *word, struct address *address, const char **why)
{
	const char *path = word->text + 5;
	bool relative = strncmp(word->text, "unix:", 5) == 0 && strchr("/@", *path) == NULL;
	char *absolute, *text;
	size_t size;
	int result;

	if (!relative || path[strlen(path) - 1] == '/')
		return address_parse(address, word->text, why);
	absolute = directive_path(p->source->folder, path);
	size = (absolute != NULL ? strlen(absolute) : 0) + sizeof("unix:");
	text = malloc(size);
	if (absolute == NULL || text == NULL) {
		*why = strerror(errno);
		result = -1;
	} else {
		snprintf(text, size, "unix:%s", absolute);
		result = address_parse(address, text, why);
	}
	free(absolute);
	free(text);
	return result;
}

static void add_listener(struct parser *p, const struct word *word, struct reference *reference)
{
	struct listen_config *listener;
	struct address address;
	const char *why;

	if (parse_address(p, word, &address, &why) == -1) {
		config_error(p->config, p->d, &word->at, "address \"%.280s\": %s", word->text, why);
		return;
	}
	listener = listen_add(p->config, word->text, &address, &word->at, p->d);
	if (listener == NULL)
		return;
	if (reference->first == NULL)
		reference->first = listener;
	reference->count++;
}

void parse_listen(struct parser *p, struct statement *s)
{
	size_t arrow = s->bad ? 0 : find_arrow(p, s);
	struct reference *reference;

	if (arrow == 1)
		config_error(
		    p->config, p->d, &s->words[1].at, "an address is missing before \"->\"");
	if (arrow > 1 && arrow + 1 == s->count)
		config_error(
		    p->config, p->d, &s->words[arrow].at, "a service is missing after \"->\"");
	if (arrow > 1 && arrow + 1 < s->count && s->end == TOKEN_OPEN)
		config_error(p->config, p->d, &s->end_at,
		    "listen takes no block; name a service with \"service NAME KIND {\" and listen "
		    "-> NAME");
	parser_skip_block(p, s);
	if (arrow < 2 || arrow + 1 == s->count || s->end == TOKEN_OPEN)
		return;
	reference = calloc(1, sizeof(*reference));
	if (reference == NULL) {
		config_error(p->config, p->d, &s->words[0].at, "%s", strerror(errno));
		return;
	}
	for (size_t i = 1; i < arrow; i++)
		add_listener(p, &s->words[i], reference);
	reference->statement = *s;
	*s = (struct statement){.words = NULL}; /* the reference owns the words now */
	reference->service = arrow + 1;
	reference->folder = p->source->folder;
	*p->references->end = reference;
	p->references->end = &reference->next;
}

/* Gives the listeners of one statement their service. */
static void resolve(struct config *config, struct reference *reference, struct diagnostics *d)
{
	const struct statement *s = &reference->statement;
	struct listen_config *listener = reference->first;
	struct service_config *service = service_resolve(config, s->words + reference->service,
	    s->count - reference->service, reference->folder, d);

	for (size_t i = 0; i < reference->count; i++, listener = listener->next)
		listener->service = service;
}

void reference_resolve(
    struct config *config, struct reference_list *references, struct diagnostics *d)
{
	for (struct reference *r = references->first, *next; r != NULL; r = next) {
		next = r->next;
		resolve(config, r, d);
		statement_release(&r->statement);
		free(r);
	}
	references->first = NULL;
	references->end = &references->first;
}
