/*
 * The `listen` statement: its addresses and its block when it is read, its service when all files
 * are.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_parts.h"
#include "handover.h"
#include "network.h"

#define FIELD(name) offsetof(struct listen_block, name)

const struct directive listen_directives[] = {
    {"proxy-protocol", DIRECTIVE_FLAG, FIELD(proxy_protocol), 0, 0, NULL, NULL, "off"},
    {"from", DIRECTIVE_WORDS, FIELD(from), 0, 0, NULL, NULL, NULL},
    {"proxy-timeout", DIRECTIVE_DURATION, FIELD(proxy_timeout), 3000, 60000, NULL, NULL, "5s"},
    {NULL, DIRECTIVE_FLAG, 0, 0, 0, NULL, NULL, NULL},
};

void listen_block_free(struct listen_block *block)
{
	if (block == NULL)
		return;
	directive_release(listen_directives, block);
	free(block->networks);
	free(block);
}

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

static void add_listener(struct parser *p, const struct word *word, struct reference *reference,
    const struct listen_block *block)
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
	listener->block = block;
	if (reference->first == NULL)
		reference->first = listener;
	reference->count++;
}

/* ---- the block ---- */

/* An empty one, the configuration's. Returns NULL with errno. */
static struct listen_block *add_block(struct config *config, const struct position *at)
{
	struct listen_block **end = &config->blocks, *block = calloc(1, sizeof(*block));

	if (block == NULL)
		return NULL;
	block->at = *at;
	if (directive_defaults(listen_directives, block) == -1) {
		listen_block_free(block);
		return NULL;
	}
	while (*end != NULL)
		end = &(*end)->next;
	*end = block;
	return block;
}

/* Reads the networks of a block. Returns false with the errors in d. */
static bool read_networks(struct parser *p, struct listen_block *block)
{
	const struct directive *row = directive_find(listen_directives, "from");
	int before = p->d->errors;
	size_t count = 0;
	const char *why;

	while (block->from[count] != NULL)
		count++;
	block->networks = calloc(count, sizeof(*block->networks));
	if (block->networks == NULL) {
		config_error(p->config, p->d, &block->at, "%s", strerror(errno));
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		if (network_parse(&block->networks[block->networks_count], block->from[i], &why) ==
		    0)
			block->networks_count++;
		else
			config_error(p->config, p->d,
			    setting_word(p->config, row, block, i, &block->at),
			    "from \"%.100s\": %s", block->from[i], why);
	}
	return p->d->errors == before;
}

/* Whether from names anybody who can come to a Unix socket, or to one that is none. */
static bool lets_in(const struct listen_block *block, bool unix_socket)
{
	for (size_t i = 0; i < block->networks_count; i++) {
		int family = block->networks[i].family;

		if (family == AF_UNSPEC || (family == AF_UNIX) == unix_socket)
			return true;
	}
	return false;
}

/* The block as a whole, and for the addresses that have it. */
static void check_block(
    struct parser *p, struct listen_block *block, const struct reference *reference)
{
	const struct directive *row = directive_find(listen_directives, "from");
	const struct listen_config *listener = reference->first;

	if (block->from == NULL) {
		if (block->proxy_protocol)
			config_error(p->config, p->d, &block->at,
			    "proxy-protocol needs \"from\" with the addresses of the proxies, as "
			    "in "
			    "\"from 10.0.0.0/8 ::1;\": whoever may send a header says where it "
			    "comes "
			    "from");
		return;
	}
	if (config_setting_find(
		p->config, directive_find(listen_directives, "proxy-protocol"), block) == NULL)
		config_error(p->config, p->d, setting_word(p->config, row, block, 0, &block->at),
		    "from says who may send a PROXY header; \"proxy-protocol on;\" is missing");
	if (!read_networks(p, block))
		return;
	for (size_t i = 0; i < reference->count; i++, listener = listener->next) {
		bool unix_socket = listener->address.form == ADDRESS_UNIX;

		/* What a socket that is passed is, is not known yet. */
		if (listener->address.form != ADDRESS_FD && !lets_in(block, unix_socket))
			config_error(p->config, p->d,
			    setting_word(p->config, row, block, 0, &block->at),
			    "from lets nobody in at \"%.280s\": %s", listener->address.text,
			    unix_socket ? "the clients of a Unix socket are \"unix\""
					: "\"unix\" is for Unix sockets");
	}
}

/* ---- the statement ---- */

/* Appends the reference of a statement, whose words it owns from here on. NULL with the error in d.
 */
static struct reference *add_reference(struct parser *p, struct statement *s, size_t service)
{
	struct reference *reference = calloc(1, sizeof(*reference));

	if (reference == NULL) {
		config_error(p->config, p->d, &s->words[0].at, "%s", strerror(errno));
		return NULL;
	}
	reference->statement = *s;
	*s = (struct statement){.words = NULL};
	reference->service = service;
	reference->folder = p->source->folder;
	*p->references->end = reference;
	p->references->end = &reference->next;
	return reference;
}

void parse_listen(struct parser *p, struct statement *s)
{
	size_t arrow = s->bad ? 0 : find_arrow(p, s);
	bool has_block = s->end == TOKEN_OPEN;
	const struct position open = s->end_at;
	struct listen_block *block = NULL;
	struct reference *reference = NULL;
	int before = p->d->errors;

	if (arrow == 1)
		config_error(
		    p->config, p->d, &s->words[1].at, "an address is missing before \"->\"");
	if (arrow > 1 && arrow + 1 == s->count)
		config_error(
		    p->config, p->d, &s->words[arrow].at, "a service is missing after \"->\"");
	if (arrow < 2 || arrow + 1 == s->count) {
		parser_skip_block(p, s);
		return;
	}
	if (has_block && (block = add_block(p->config, &s->words[0].at)) == NULL)
		config_error(p->config, p->d, &s->words[0].at, "%s", strerror(errno));
	if (!has_block || block != NULL)
		reference = add_reference(p, s, arrow + 1);
	if (reference == NULL) {
		parser_skip_block(p, s);
		return;
	}
	for (size_t i = 1; i < arrow; i++)
		add_listener(p, &reference->statement.words[i], reference, block);
	if (block == NULL)
		return;
	parser_block(p, &(struct scope){listen_directives, block, "listen"}, &open);
	if (p->d->errors == before)
		check_block(p, block, reference);
}

/* Gives the listeners of one statement their service. */
static void resolve(struct config *config, struct reference *reference, struct diagnostics *d)
{
	const struct statement *s = &reference->statement;
	struct listen_config *listener = reference->first;
	struct service_config *service = service_resolve(config, s->words + reference->service,
	    s->count - reference->service, reference->folder, d);

	if (service != NULL && service->kind->accepts_itself && listener != NULL &&
	    listener->block != NULL && listener->block->proxy_protocol)
		config_error(config, d, &listener->block->at,
		    "proxy-protocol: the programs of \"%s\" accept by themselves, so nobody takes "
		    "the "
		    "header off before them",
		    service->name);
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
