/*
 * What the files of the configuration share with each other and with nobody else: config.c owns
 * these parts, config_parse.c puts them together from files.
 *
 * Every function that fails has reported the error to d, where it takes one.
 */
#ifndef LASTCALL_CONFIG_PARTS_H
#define LASTCALL_CONFIG_PARTS_H

#include "config.h"
#include "handover.h"
#include "source.h"
#include "statement.h"

/* Notes where a directive was written. Returns 0, or -1 with errno ENOMEM. */
int setting_add(struct config *config, const struct directive *directive, const void *base,
    const struct position *at);

/* Where word number i of a directive was written, or otherwise if it was not. */
const struct position *setting_word(const struct config *config, const struct directive *row,
    const void *base, size_t i, const struct position *otherwise);

/* A service with its kind's defaults, not part of a configuration yet. NULL with errno ENOMEM. */
struct service_config *service_new(
    const char *name, const struct service_kind *kind, const struct position *at);
void service_free(struct service_config *service);

/* Hands it to the configuration. Returns 0, or -1: too many; it is then still the caller's. */
int service_append(struct config *config, struct service_config *service, struct diagnostics *d);

/* The named service (never one in place), or NULL. */
struct service_config *service_find(const struct config *config, const char *name);

/* Reports a name that is no service's and no kind's. */
void service_unknown(const struct config *config, const char *name, const struct position *at,
    struct diagnostics *d);

/* "at lastcall.conf:12:8", or "on the command line". Returns out. */
const char *place_text(const struct position *at, char *out, size_t size);

/* Has its kind look at it as a whole. Returns 0 or -1. */
int service_check(
    const struct config *config, const struct service_config *service, struct diagnostics *d);

/* Has the kinds look up the other services that they name, when all files were read. */
void services_link(struct config *config, struct diagnostics *d);

/*
 * The service that words mean: a named one, or a kind given in place with its arguments, which is
 * made and handed to the configuration. A relative path starts from folder (NULL: the current
 * one). Returns it, or NULL with nothing changed.
 */
struct service_config *service_resolve(struct config *config, const struct word *words,
    size_t count, const char *folder, struct diagnostics *d);

/*
 * Appends a listener without its service yet; text is the address as it was written. Returns it,
 * owned by the configuration, or NULL: there is one already, or there are too many.
 */
struct listen_config *listen_add(struct config *config, const char *text,
    const struct address *address, const struct position *at, struct diagnostics *d);

/* A `listen` whose addresses are in the configuration and whose service is still a name. */
struct reference {
	struct statement statement;
	size_t service; /* index of the word of its service */
	const char *folder; /* of its file, which outlives it */
	struct listen_config *first; /* its listeners: the first, and how many from there on */
	size_t count;
	struct reference *next;
};

/* What all files of one config_load share. */
struct reference_list {
	struct reference *first, **end; /* in the order of the files */
	int files; /* read so far */
};

/* One file being read; the innermost is the one that parser functions get. */
struct parser {
	struct config *config;
	struct diagnostics *d;
	struct config_source *source;
	struct lexer lexer;
	struct reference_list *references;
	const struct parser *includer; /* NULL for the first file */
};

/* What the statements of a block may be. */
struct scope {
	const struct directive *table;
	void *base;
	const char *block; /* "service", "control", "listen"; NULL: the top level */
};

/* Reads the statements of a block to its end; open is its brace, NULL for a file. */
void parser_block(struct parser *p, const struct scope *scope, const struct position *open);

/* Goes over the block, if any, of a statement that should have none or was not understood. */
void parser_skip_block(struct parser *p, const struct statement *s);

/*
 * `listen ADDR… -> SERVICE [ARG…];` or the same with a block: adds the listeners and leaves a
 * reference to their service.
 */
void parse_listen(struct parser *p, struct statement *s);

/* Frees the block of a listen. */
void listen_block_free(struct listen_block *block);

/* `control ADDR { … }`, `control ADDR;`, `control off;`. */
void parse_control(struct parser *p, struct statement *s);

/* Looks at the services that control blocks allow, when all files were read. */
void control_check(const struct config *config, struct diagnostics *d);

/* Gives every listener its service, when all files were read. Frees the references. */
void reference_resolve(
    struct config *config, struct reference_list *references, struct diagnostics *d);

#endif
