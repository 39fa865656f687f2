/*
 * Services for ports that are opened while the server runs: those that the configuration defines,
 * and those in place that are part of no configuration.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config_parts.h"

/* Sets what the arguments say. Returns 0, or -1 with why. */
static int set_words(struct service_config *service, const char *const *words, size_t count,
    const char *folder, char *why, size_t size)
{
	const struct service_kind *kind = service->kind;
	const struct directive *row =
	    kind->argument != NULL ? directive_find(kind->directives, kind->argument) : NULL;

	if (row == NULL) {
		snprintf(why, size, "%s takes no argument", kind->name);
		return -1;
	}
	if (count > 1 && !directive_takes_words(row)) {
		snprintf(why, size, "%s takes one argument, %s", kind->name, row->name);
		return -1;
	}
	if (folder == NULL && directive_wants_folder(row, words[0])) {
		snprintf(why, size,
		    "%s \"%.200s\" is relative, and there is no folder to start from", row->name,
		    words[0]);
		return -1;
	}
	return directive_set(row, service->options, words, count, folder, why, size);
}

struct service_config *config_make_service(const struct service_kind *kind,
    const char *const *words, size_t count, const char *folder, char *why, size_t size)
{
	const struct position nowhere = {.file = NULL, .width = 1};
	struct service_config *service = service_new(kind->name, kind, &nowhere);
	const char *blame = NULL, *wrong = NULL;

	if (service == NULL) {
		snprintf(why, size, "%s", strerror(errno));
		return NULL;
	}
	if (count > 0 && set_words(service, words, count, folder, why, size) == -1) {
		service_free(service);
		return NULL;
	}
	if (kind->check != NULL)
		wrong = kind->check(service->options, &blame);
	if (wrong != NULL) {
		snprintf(why, size, "%s: %s", kind->name, wrong);
		service_free(service);
		return NULL;
	}
	return service;
}

void config_free_service(struct service_config *service)
{
	service_free(service);
}

struct service_config *config_find_service(const struct config *config, const char *name)
{
	return service_find(config, name);
}
