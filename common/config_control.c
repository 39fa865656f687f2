/*
 * The `control` statement: where clients may ask a running server for ports, and what its block
 * allows them. What a policy means is master/policy.h's; here is only whether it can be one.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_parts.h"
#include "network.h"

#define FIELD(name) offsetof(struct control_config, name)

const struct directive control_directives[] = {
    {"mode", DIRECTIVE_MODE, FIELD(mode), 0, 0777, NULL, NULL, "0600"},
    {"group", DIRECTIVE_STRING, FIELD(group), 0, 0, NULL, NULL, NULL},
    {"token-file", DIRECTIVE_PATH, FIELD(token_file), 0, 0, NULL, NULL, NULL},
    {"allow-services", DIRECTIVE_WORDS, FIELD(allow_services), 0, 0, NULL, NULL, NULL},
    {"allow-ports", DIRECTIVE_WORDS, FIELD(allow_ports), 0, 0, NULL, NULL, NULL},
    {"allow-address", DIRECTIVE_WORDS, FIELD(allow_address), 0, 0, NULL, NULL, NULL},
    {"max-leases", DIRECTIVE_NUMBER, FIELD(max_leases), 1, 16384, "unlimited", NULL, "unlimited"},
    {NULL, DIRECTIVE_FLAG, 0, 0, 0, NULL, NULL, NULL},
};

struct control_config *config_new_control(const struct address *address)
{
	struct control_config *control = calloc(1, sizeof(*control));

	if (control == NULL)
		return NULL;
	control->address = *address;
	if (directive_defaults(control_directives, control) == -1) {
		config_free_control(control);
		return NULL;
	}
	return control;
}

void config_free_control(struct control_config *control)
{
	if (control == NULL)
		return;
	directive_release(control_directives, control);
	free(control);
}

/* A path as clients write it on a command line: one with a slash, or with nothing of an address. */
static bool is_path(const char *text)
{
	if (*text == '[' || strncmp(text, "unix:", 5) == 0 || strstr(text, "://") != NULL)
		return false;
	return strchr(text, '/') != NULL ||
	    (strchr(text, ':') == NULL && text[strspn(text, "0123456789+-")] != '\0');
}

/* A path, below folder if it is relative, as an address. */
static int parse_path(
    struct address *address, const char *path, const char *folder, const char **why)
{
	char *absolute, *text = NULL;
	size_t size;
	int result = -1;

	if (path[0] == '\0' || path[0] == '@' || path[strlen(path) - 1] == '/') {
		*why = path[0] == '\0' ? "the path is missing"
		    : path[0] == '@'   ? "an abstract socket (\"@\") is not supported; write a path"
				       : "the path of a Unix socket cannot end in \"/\"";
		return -1;
	}
	absolute = directive_path(folder, path);
	size = (absolute != NULL ? strlen(absolute) : 0) + sizeof("unix:");
	text = malloc(size);
	if (absolute == NULL || text == NULL) {
		*why = strerror(errno);
	} else {
		snprintf(text, size, "unix:%s", absolute);
		result = address_parse(address, text, why);
	}
	free(absolute);
	free(text);
	return result;
}

int config_control_address(
    struct address *address, const char *text, const char *folder, const char **why)
{
	struct address read;

	if (strncmp(text, "unix:", 5) == 0)
		return parse_path(address, text + 5, folder, why);
	if (is_path(text))
		return parse_path(address, text, folder, why);
	if (address_parse(&read, text, why) == -1)
		return -1;
	if (read.form == ADDRESS_NAME || read.form == ADDRESS_FD) {
		*why = "write a path or a literal address, as in 127.0.0.1:7070; names are not "
		       "looked up here";
		return -1;
	}
	*address = read;
	return 0;
}

const char *config_default_control(char *out, size_t size)
{
	const char *named = getenv("LASTCALL_CONTROL"), *run = getenv("XDG_RUNTIME_DIR");

	if (named != NULL && *named != '\0')
		snprintf(out, size, "%s", named);
	else if (geteuid() == 0)
		snprintf(out, size, "/run/lastcall/control.sock");
	else if (run != NULL && *run == '/')
		snprintf(out, size, "%s/lastcall/control.sock", run);
	else
		return NULL;
	return out;
}

/* ---- what a block may say together ---- */

/* Where word number i of a directive was written, or the endpoint itself. */
static const struct position *word_at(const struct config *config, const struct directive *row,
    const struct control_config *control, size_t i)
{
	return setting_word(config, row, control, i, &control->at);
}

static void check_ports(struct parser *p, const struct control_config *control)
{
	const struct directive *row = directive_find(control_directives, "allow-ports");
	struct port_range range;
	const char *why;

	for (size_t i = 0; control->allow_ports != NULL && control->allow_ports[i] != NULL; i++)
		if (port_range_parse(&range, control->allow_ports[i], &why) == -1)
			config_error(p->config, p->d, word_at(p->config, row, control, i),
			    "allow-ports \"%.100s\": %s", control->allow_ports[i], why);
}

static void check_networks(struct parser *p, const struct control_config *control)
{
	const struct directive *row = directive_find(control_directives, "allow-address");
	const union address_socket local = {.any = {.sa_family = AF_UNIX}};
	bool somebody = control->allow_address == NULL || control->address.form != ADDRESS_UNIX;
	int before = p->d->errors;
	struct network network;
	const char *why;

	for (size_t i = 0; control->allow_address != NULL && control->allow_address[i] != NULL;
	     i++) {
		if (network_parse(&network, control->allow_address[i], &why) == -1)
			config_error(p->config, p->d, word_at(p->config, row, control, i),
			    "allow-address \"%.100s\": %s", control->allow_address[i], why);
		else if (network_has(&network, &local))
			somebody = true;
	}
	if (!somebody && p->d->errors == before)
		config_error(p->config, p->d, word_at(p->config, row, control, 0),
		    "allow-address lets nobody in: the clients of a Unix socket are \"unix\"");
}

/* An endpoint as a whole; the services that it allows may be defined later. */
static void check_block(struct parser *p, const struct control_config *control)
{
	bool unix_socket = control->address.form == ADDRESS_UNIX;
	const struct directive *row = directive_find(control_directives, "group");
	const struct config_setting *setting =
	    control->group != NULL ? config_setting_find(p->config, row, control) : NULL;

	check_ports(p, control);
	check_networks(p, control);
	if (!unix_socket && control->token_file == NULL)
		config_error(p->config, p->d, &control->at,
		    "a control endpoint over TCP needs a token-file: whoever reaches the port "
		    "could else open others");
	if (!unix_socket && setting == NULL) {
		row = directive_find(control_directives, "mode");
		setting = config_setting_find(p->config, row, control);
	}
	if (!unix_socket && setting != NULL)
		config_error(p->config, p->d, &setting->at,
		    "%s is for a Unix socket; who may use a TCP endpoint is said by token-file and "
		    "allow-address",
		    row->name);
	row = directive_find(control_directives, "token-file");
	if (unix_socket && control->token_file != NULL)
		config_error(p->config, p->d, word_at(p->config, row, control, 0),
		    "token-file is for a TCP endpoint; who may use a Unix socket is said by mode "
		    "and group");
}

void control_check(const struct config *config, struct diagnostics *d)
{
	const struct directive *row = directive_find(control_directives, "allow-services");

	for (const struct control_config *c = config->controls; c != NULL; c = c->next) {
		for (size_t i = 0; c->allow_services != NULL && c->allow_services[i] != NULL; i++) {
			const char *name = c->allow_services[i];

			if (service_find(config, name) == NULL && service_kind_find(name) == NULL)
				service_unknown(config, name, word_at(config, row, c, i), d);
		}
	}
}

/* ---- the statement ---- */

/* `control off;`. */
static void parse_off(struct parser *p, const struct statement *s)
{
	const struct position *at = &s->words[1].at;
	char place[512];

	if (s->end == TOKEN_OPEN)
		config_error(p->config, p->d, &s->end_at, "control off takes no block");
	else if (p->config->controls != NULL)
		config_error(p->config, p->d, at, "control is on already, %s",
		    place_text(&p->config->controls->at, place, sizeof(place)));
	else
		p->config->control_off = true;
	parser_skip_block(p, s);
}

/* Appends an endpoint. Returns it, owned by the configuration, or NULL with the error in d. */
static struct control_config *add_control(struct parser *p, const struct word *word)
{
	struct control_config **end = &p->config->controls, *control;
	struct address address;
	unsigned count = 0;
	const char *why;
	char place[512];

	if (config_control_address(&address, word->text, p->source->folder, &why) == -1) {
		config_error(p->config, p->d, &word->at, "control \"%.280s\": %s", word->text, why);
		return NULL;
	}
	if (p->config->control_off) {
		config_error(p->config, p->d, &word->at, "control was turned off before");
		return NULL;
	}
	for (; *end != NULL; end = &(*end)->next, count++) {
		if (address_equal(&(*end)->address, &address)) {
			config_error(p->config, p->d, &word->at,
			    "control \"%.280s\" is there already, %s", word->text,
			    place_text(&(*end)->at, place, sizeof(place)));
			return NULL;
		}
	}
	if (count >= CONFIG_CONTROLS_MAX) {
		config_error(p->config, p->d, &word->at, "more than %d control endpoints",
		    CONFIG_CONTROLS_MAX);
		return NULL;
	}
	control = config_new_control(&address);
	if (control == NULL) {
		config_error(p->config, p->d, &word->at, "%s", strerror(errno));
		return NULL;
	}
	control->at = word->at;
	*end = control;
	return control;
}

void parse_control(struct parser *p, struct statement *s)
{
	struct control_config *control = NULL;
	int before = p->d->errors;

	if (s->bad) {
		parser_skip_block(p, s);
		return;
	}
	if (s->count == 2 && !s->words[1].quoted && strcmp(s->words[1].text, "off") == 0) {
		parse_off(p, s);
		return;
	}
	if (s->count < 2)
		config_error(p->config, p->d, &s->words[0].at,
		    "control needs an address, as in \"control /run/lastcall/control.sock;\", or "
		    "off");
	else if (s->count > 2)
		config_error(p->config, p->d, &s->words[2].at,
		    "unexpected \"%.100s\"; control takes one address, and the rest stands in its "
		    "block",
		    s->words[2].text);
	else
		control = add_control(p, &s->words[1]);
	if (control == NULL) {
		parser_skip_block(p, s);
		return;
	}
	struct scope scope = {control_directives, control, "control"};

	if (s->end == TOKEN_OPEN)
		parser_block(p, &scope, &s->end_at);
	if (p->d->errors == before)
		check_block(p, control);
}
