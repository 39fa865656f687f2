/*
 * The configuration as a whole: its defaults and limits, its services and listeners, and what one
 * may not say together. Reading the files is config_parse.c, asking the system config_check.c.
 *
 * Nothing here opens a socket, forks or writes; a configuration that is only tested must leave no
 * trace.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_parts.h"
#include "handover.h"

#define FIELD(name) offsetof(struct config, name)

static const char *const log_levels[] = {"error", "warn", "notice", "info", "debug", NULL};

#define SECOND INT64_C(1000)
#define DAY (86400 * SECOND)

const struct directive config_directives[] = {
    {"workers", DIRECTIVE_NUMBER, FIELD(workers), 1, 256, "auto", NULL, "auto"},
    {"user", DIRECTIVE_STRING, FIELD(user), 0, 0, NULL, NULL, NULL},
    {"group", DIRECTIVE_STRING, FIELD(group), 0, 0, NULL, NULL, NULL},
    {"umask", DIRECTIVE_MODE, FIELD(umask), 0, 0777, NULL, NULL, "0022"},
    {"core-limit", DIRECTIVE_SIZE, FIELD(core_limit), 0, DIRECTIVE_NO_LIMIT, "unlimited", NULL,
	"0"},
    {"grace", DIRECTIVE_DURATION, FIELD(grace), 0, DAY, NULL, NULL, "30s"},
    {"drain-delay", DIRECTIVE_DURATION, FIELD(drain_delay), 0, 3600 * SECOND, NULL, NULL, "0"},
    {"settle", DIRECTIVE_DURATION, FIELD(settle), 0, 60 * SECOND, NULL, NULL, "5s"},
    {"retire-grace", DIRECTIVE_DURATION, FIELD(retire_grace), 0, 365 * DAY, "unlimited", NULL,
	"unlimited"},
    {"watchdog", DIRECTIVE_DURATION, FIELD(watchdog), 2 * SECOND, 3600 * SECOND, NULL, NULL, "10s"},
    {"max-connections", DIRECTIVE_NUMBER, FIELD(max_connections), 1, 1000000, "auto", NULL, "auto"},
    {"max-requests", DIRECTIVE_NUMBER, FIELD(max_requests), 0, DIRECTIVE_NO_LIMIT, NULL, NULL, "0"},
    {"max-memory", DIRECTIVE_SIZE, FIELD(max_memory), 1 << 20, DIRECTIVE_NO_LIMIT, "unlimited",
	NULL, "unlimited"},
    {"backlog", DIRECTIVE_NUMBER, FIELD(backlog), 1, 65535, NULL, NULL, "4096"},
    {"max-listeners", DIRECTIVE_NUMBER, FIELD(max_listeners), 1, 16384, "auto", NULL, "auto"},
    {"fd-store", DIRECTIVE_FLAG, FIELD(fd_store), 0, 0, NULL, NULL, "off"},
    {"pid-file", DIRECTIVE_PATH, FIELD(pid_file), 0, 0, NULL, NULL, NULL},
    {"error-log", DIRECTIVE_PATH, FIELD(error_log), 0, 0, NULL, NULL, NULL},
    {"log-level", DIRECTIVE_CHOICE, FIELD(log_level), 0, 0, NULL, log_levels, "notice"},
    {NULL, DIRECTIVE_FLAG, 0, 0, 0, NULL, NULL, NULL},
};

struct config *config_new(void)
{
	struct config *config = calloc(1, sizeof(*config));

	if (config != NULL && directive_defaults(config_directives, config) == -1) {
		config_free(config);
		return NULL;
	}
	return config;
}

void service_free(struct service_config *service)
{
	if (service == NULL)
		return;
	if (service->options != NULL)
		directive_release(service->kind->directives, service->options);
	free(service->options);
	free(service->name);
	free(service);
}

void config_free(struct config *config)
{
	if (config == NULL)
		return;
	for (struct service_config *s = config->services, *next; s != NULL; s = next) {
		next = s->next;
		service_free(s);
	}
	for (struct listen_config *l = config->listeners, *next; l != NULL; l = next) {
		next = l->next;
		free(l);
	}
	for (struct listen_block *b = config->blocks, *next; b != NULL; b = next) {
		next = b->next;
		listen_block_free(b);
	}
	for (struct control_config *c = config->controls, *next; c != NULL; c = next) {
		next = c->next;
		config_free_control(c);
	}
	for (struct config_setting *s = config->settings, *next; s != NULL; s = next) {
		next = s->next;
		free(s);
	}
	for (struct config_source *s = config->sources, *next; s != NULL; s = next) {
		next = s->next;
		source_free(s);
	}
	directive_release(config_directives, config);
	free(config);
}

void config_error(const struct config *config, struct diagnostics *d, const struct position *at,
    const char *format, ...)
{
	const struct config_source *source = config->sources;
	char message[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	/* A position holds the very pointer of its source's name. */
	while (source != NULL && source->name != at->file)
		source = source->next;
	diagnostics_error(d, at, source != NULL ? source->text : NULL,
	    source != NULL ? source->length : 0, "%s", message);
}

const struct config_setting *config_setting_find(
    const struct config *config, const struct directive *directive, const void *base)
{
	const struct config_setting *s = config->settings;

	while (s != NULL && (s->base != base || (directive != NULL && s->directive != directive)))
		s = s->next;
	return s;
}

const struct position *setting_word(const struct config *config, const struct directive *row,
    const void *base, size_t i, const struct position *otherwise)
{
	const struct config_setting *s = config_setting_find(config, row, base);

	for (; s != NULL && i > 0; i--) {
		s = s->next;
		if (s == NULL || s->directive != row || s->base != base)
			return otherwise;
	}
	return s != NULL ? &s->at : otherwise;
}

const struct config_setting *config_setting_next(const struct config_setting *setting)
{
	const struct config_setting *s = setting->next;

	while (s != NULL && (s->base != setting->base || s->directive != setting->directive))
		s = s->next;
	return s;
}

int setting_add(struct config *config, const struct directive *directive, const void *base,
    const struct position *at)
{
	struct config_setting *setting = malloc(sizeof(*setting));

	if (setting == NULL)
		return -1;
	*setting = (struct config_setting){directive, base, *at, config->settings};
	config->settings = setting;
	return 0;
}

struct service_config *service_find(const struct config *config, const char *name)
{
	struct service_config *s = config->services;

	/* A service in place bears its kind's name, which no named service may have. */
	while (s != NULL && (strcmp(s->name, name) != 0 || strcmp(s->kind->name, name) == 0))
		s = s->next;
	return s;
}

struct service_config *service_new(
    const char *name, const struct service_kind *kind, const struct position *at)
{
	struct service_config *service = calloc(1, sizeof(*service));

	if (service == NULL)
		return NULL;
	service->kind = kind;
	service->at = *at;
	service->name = strdup(name);
	service->options = calloc(1, kind->options_size > 0 ? kind->options_size : 1);
	if (service->name == NULL || service->options == NULL ||
	    directive_defaults(kind->directives, service->options) == -1) {
		service_free(service);
		return NULL;
	}
	return service;
}

int service_append(struct config *config, struct service_config *service, struct diagnostics *d)
{
	struct service_config **end = &config->services;
	unsigned count = 0;

	for (; *end != NULL; end = &(*end)->next)
		count++;
	if (count >= CONFIG_SERVICES_MAX) {
		config_error(config, d, &service->at, "more than %d services", CONFIG_SERVICES_MAX);
		return -1;
	}
	*end = service;
	return 0;
}

/* Errors of the command line say which option they belong to. */
static const char *option_of(const struct position *at)
{
	return at->file == NULL ? "-l: " : "";
}

const char *place_text(const struct position *at, char *out, size_t size)
{
	if (at->file == NULL)
		snprintf(out, size, "on the command line");
	else
		snprintf(out, size, "at %s:%u:%u", at->file, at->line, at->column);
	return out;
}

struct listen_config *listen_add(struct config *config, const char *text,
    const struct address *address, const struct position *at, struct diagnostics *d)
{
	struct listen_config **end = &config->listeners, *listener;
	unsigned count = 0;
	char place[512];

	for (; *end != NULL; end = &(*end)->next) {
		count++;
		/* Port 0 is a different address each time. */
		bool chosen = address->form <= ADDRESS_NAME && address->port == 0;

		if (!chosen && address_equal(&(*end)->address, address)) {
			config_error(config, d, at,
			    "%saddress \"%.280s\" is already listened on, %s", option_of(at), text,
			    place_text(&(*end)->at, place, sizeof(place)));
			return NULL;
		}
		if (address_overlaps(&(*end)->address, address)) {
			config_error(config, d, at,
			    "%saddress \"%.280s\" overlaps with \"%.280s\", which is already "
			    "listened on, %s",
			    option_of(at), text, (*end)->address.text,
			    place_text(&(*end)->at, place, sizeof(place)));
			return NULL;
		}
	}
	if (count >= CONFIG_LISTENERS_MAX) {
		config_error(
		    config, d, at, "%smore than %d listeners", option_of(at), CONFIG_LISTENERS_MAX);
		return NULL;
	}
	listener = calloc(1, sizeof(*listener));
	if (listener == NULL) {
		config_error(config, d, at, "%s%s", option_of(at), strerror(errno));
		return NULL;
	}
	listener->address = *address;
	listener->at = *at;
	*end = listener;
	return listener;
}

/* Reports what is wrong with a service, where the directive to blame (or NULL) was written. */
static void blame_service(const struct config *config, const struct service_config *service,
    const char *directive, const char *wrong, struct diagnostics *d)
{
	const struct directive *row =
	    directive != NULL ? directive_find(service->kind->directives, directive) : NULL;
	const struct config_setting *setting =
	    row != NULL ? config_setting_find(config, row, service->options) : NULL;
	const struct position *at = setting != NULL ? &setting->at : &service->at;
	bool in_place = strcmp(service->name, service->kind->name) == 0;

	config_error(config, d, at, "%s%s \"%s\": %s", option_of(at),
	    in_place ? "service in place" : "service", service->name, wrong);
}

void services_link(struct config *config, struct diagnostics *d)
{
	for (struct service_config *s = config->services; s != NULL; s = s->next) {
		const char *blame = NULL, *wrong = NULL;

		if (s->kind->link != NULL)
			wrong = s->kind->link(s->options, config, &blame);
		if (wrong != NULL)
			blame_service(config, s, blame, wrong, d);
	}
}

int service_check(
    const struct config *config, const struct service_config *service, struct diagnostics *d)
{
	const char *blame = NULL;

	if (service->kind->check == NULL)
		return 0;
	const char *wrong = service->kind->check(service->options, &blame);

	if (wrong == NULL)
		return 0;
	blame_service(config, service, blame, wrong, d);
	return -1;
}

void service_unknown(
    const struct config *config, const char *name, const struct position *at, struct diagnostics *d)
{
	const char *names[CONFIG_SERVICES_MAX + 32];
	size_t count = 0;

	for (const struct service_config *s = config->services; s != NULL; s = s->next)
		names[count++] = s->name;
	for (size_t i = 0; service_kinds[i] != NULL && count < CONFIG_SERVICES_MAX + 31; i++)
		names[count++] = service_kinds[i]->name;
	names[count] = NULL;
	const char *near = diagnostics_nearest(name, names);

	if (near != NULL)
		config_error(config, d, at, "%sunknown service \"%.100s\"; did you mean \"%s\"?",
		    option_of(at), name, near);
	else
		config_error(config, d, at, "%sunknown service \"%.100s\"", option_of(at), name);
}

/* Sets what the arguments of a service in place say. Returns 0, or -1 with the error in d. */
static int set_argument(struct config *config, struct service_config *service,
    const struct word *words, size_t count, const char *folder, struct diagnostics *d)
{
	const struct service_kind *kind = service->kind;
	const struct directive *row =
	    kind->argument != NULL ? directive_find(kind->directives, kind->argument) : NULL;
	const char **texts;
	char why[DIRECTIVE_WHY];

	if (row == NULL || (count > 1 && !directive_takes_words(row))) {
		const struct word *extra = &words[row == NULL ? 0 : 1];

		config_error(config, d, &extra->at,
		    row == NULL ? "%s%s takes no argument" : "%s%s takes one argument, %s",
		    option_of(&extra->at), kind->name, row == NULL ? "" : row->name);
		return -1;
	}
	texts = calloc(count, sizeof(*texts));
	if (texts == NULL) {
		config_error(config, d, &words[0].at, "%s", strerror(errno));
		return -1;
	}
	for (size_t i = 0; i < count; i++)
		texts[i] = words[i].text;
	int result = directive_set(row, service->options, texts, count, folder, why, sizeof(why));

	free(texts);
	if (result == 0) {
		result = setting_add(config, row, service->options, &words[0].at);
		if (result == -1)
			snprintf(why, sizeof(why), "%s", strerror(errno));
	}
	if (result == -1)
		config_error(config, d, &words[0].at, "%s%s", option_of(&words[0].at), why);
	return result;
}

/* Takes back the settings of a service that is given up; they are the newest. */
static void drop_settings(struct config *config, const void *base)
{
	while (config->settings != NULL && config->settings->base == base) {
		struct config_setting *setting = config->settings;

		config->settings = setting->next;
		free(setting);
	}
}

/* The service in place of that kind that has no arguments, if there is one. */
static struct service_config *plain_service(
    const struct config *config, const struct service_kind *kind)
{
	struct service_config *s = config->services;

	while (s != NULL &&
	    (s->kind != kind || strcmp(s->name, kind->name) != 0 ||
		config_setting_find(config, NULL, s->options) != NULL))
		s = s->next;
	return s;
}

struct service_config *service_resolve(struct config *config, const struct word *words,
    size_t count, const char *folder, struct diagnostics *d)
{
	struct service_config *named = service_find(config, words[0].text);
	const struct service_kind *kind = service_kind_find(words[0].text);

	if (named != NULL && count > 1) {
		config_error(config, d, &words[1].at,
		    "%sservice \"%s\" takes no arguments here; its options stand in its block",
		    option_of(&words[1].at), named->name);
		return NULL;
	}
	if (named == NULL && kind == NULL)
		service_unknown(config, words[0].text, &words[0].at, d);
	if (named != NULL || kind == NULL)
		return named;
	struct service_config *service = count == 1 ? plain_service(config, kind) : NULL;

	if (service != NULL)
		return service;
	service = service_new(kind->name, kind, &words[0].at);
	if (service == NULL) {
		config_error(config, d, &words[0].at, "%s", strerror(errno));
		return NULL;
	}
	if ((count == 1 || set_argument(config, service, words + 1, count - 1, folder, d) == 0) &&
	    service_check(config, service, d) == 0 && service_append(config, service, d) == 0)
		return service;
	drop_settings(config, service->options);
	service_free(service);
	return NULL;
}

/* Takes the last listener out again. */
static void drop_listener(struct config *config, struct listen_config *listener)
{
	struct listen_config **link = &config->listeners;

	while (*link != listener)
		link = &(*link)->next;
	*link = listener->next;
	free(listener);
}

int config_add_listener(struct config *config, const char *address, int count, char *const *words,
    struct diagnostics *d)
{
	const struct position at = {.file = NULL, .line = 0, .column = 0, .width = 1};
	struct address parsed;
	const char *why;

	if (address_parse(&parsed, address, &why) == -1) {
		config_error(config, d, &at, "-l: address \"%.280s\": %s", address, why);
		return -1;
	}
	if (count < 1) {
		config_error(
		    config, d, &at, "-l: address \"%.280s\": a service is missing", address);
		return -1;
	}
	struct listen_config *listener = listen_add(config, address, &parsed, &at, d);

	if (listener == NULL)
		return -1;
	struct word *texts = calloc((size_t)count, sizeof(*texts));

	if (texts == NULL)
		config_error(config, d, &at, "-l: %s", strerror(errno));
	for (int i = 0; texts != NULL && i < count; i++)
		texts[i] = (struct word){.text = words[i], .at = at};
	if (texts != NULL)
		listener->service = service_resolve(config, texts, (size_t)count, NULL, d);
	free(texts);
	if (listener->service != NULL)
		return 0;
	drop_listener(config, listener);
	return -1;
}
