/*
 * Asks the system whether what a configuration names is there: users, groups, folders, tokens. It
 * only looks; what it finds may have changed when the server starts, so nothing may rely on it.
 */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handover.h"

/* Where a value was written, or in whose place the default stands. */
static const struct position *place_of(const struct config *config, const struct directive *row,
    const void *base, const struct position *otherwise)
{
	const struct config_setting *setting = config_setting_find(config, row, base);

	return setting != NULL ? &setting->at : otherwise;
}

/* Reports that a folder is missing or no folder; what is "root" or "folder of pid-file". */
static void check_folder(const struct config *config, const struct position *at, const char *what,
    const char *folder, struct diagnostics *d)
{
	struct stat st;

	if (stat(folder, &st) == -1)
		config_error(config, d, at, "%s \"%s\": %s", what, folder,
		    errno == ENOENT ? "there is no such folder" : strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		config_error(config, d, at, "%s \"%s\": it is not a folder", what, folder);
}

/* The same for the folder that an absolute path is in. */
static void check_parent(const struct config *config, const struct position *at, const char *what,
    const char *path, struct diagnostics *d)
{
	char *folder = strdup(path), *slash = folder != NULL ? strrchr(folder, '/') : NULL;
	struct stat st;

	if (slash == NULL) {
		config_error(config, d, at, "%s", strerror(ENOMEM));
	} else if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		config_error(config, d, at, "%s \"%s\": it is a folder", what, path);
	} else {
		char text[96];

		slash[slash == folder] = '\0';
		snprintf(text, sizeof(text), "folder of %s", what);
		check_folder(config, at, text, folder, d);
	}
	free(folder);
}

static void check_file(const struct config *config, const struct position *at, const char *what,
    const char *path, struct diagnostics *d)
{
	struct stat st;

	if (stat(path, &st) == -1)
		config_error(config, d, at, "%s \"%s\": %s", what, path,
		    errno == ENOENT ? "there is no such file" : strerror(errno));
	else if (!S_ISREG(st.st_mode))
		config_error(config, d, at, "%s \"%s\": it is not a regular file", what, path);
}

static void check_path(const struct config *config, const struct directive *row,
    const struct position *at, const char *path, struct diagnostics *d)
{
	if (row->min == PATH_FOLDER)
		check_folder(config, at, row->name, path, d);
	else if (row->min == PATH_FILE)
		check_file(config, at, row->name, path, d);
	else
		check_parent(config, at, row->name, path, d);
}

/* The paths in the rows of a directive. The settings have the last row first. */
static void check_rows(const struct config *config, const struct directive *row, const void *base,
    const struct position *otherwise, struct diagnostics *d)
{
	const struct config_setting *setting = config_setting_find(config, row, base);
	const struct directive_rows *about = row->choices;
	char ***rows;

	if (about->folder == 0)
		return;

	memcpy(&rows, (const char *)base + row->offset, sizeof(rows));
	for (size_t i = directive_rows(rows); i > 0; i--) {
		const struct position *at = otherwise;

		for (size_t word = 0; rows[i - 1][word] != NULL; word++) {
			if (setting == NULL)
				continue;
			if (word + 1 == about->folder)
				at = &setting->at;
			setting = config_setting_next(setting);
		}
		check_folder(config, at, row->name, rows[i - 1][about->folder - 1], d);
	}
}

/* Every path of a struct is what its directive says. */
static void check_paths(const struct config *config, const struct directive *table,
    const void *base, const struct position *otherwise, struct diagnostics *d)
{
	for (; table != NULL && table->name != NULL; table++) {
		const char *path;

		if (table->type == DIRECTIVE_ROWS)
			check_rows(config, table, base, otherwise, d);
		if (table->type != DIRECTIVE_PATH)
			continue;
		memcpy(&path, (const char *)base + table->offset, sizeof(path));
		if (path == NULL)
			continue;
		check_path(config, table, place_of(config, table, base, otherwise), path, d);
	}
}

/* What the service itself knows to look for. */
static void check_service(const struct config *config, const struct service_config *service,
    const struct account *workers, struct diagnostics *d)
{
	const struct directive *row = NULL;
	const char *blame = NULL, *wrong = NULL;

	check_paths(config, service->kind->directives, service->options, &service->at, d);
	if (service->kind->look != NULL)
		wrong = service->kind->look(service->options, workers, &blame);
	if (wrong == NULL)
		return;
	if (blame != NULL)
		row = directive_find(service->kind->directives, blame);
	config_error(config, d, place_of(config, row, service->options, &service->at), "%s", wrong);
}

static void check_account(const struct config *config, const char *what, const char *name,
    bool exists, const struct position *at, struct diagnostics *d)
{
	int failed = errno;

	if (exists)
		return;
	/* ENOENT and the like are what some libraries say for "not found" (getpwnam(3)). */
	bool absent = failed == 0 || failed == ENOENT || failed == ESRCH || failed == EPERM;

	config_error(config, d, at, "%s \"%.100s\": %s", what, name,
	    absent ? "there is none of that name" : strerror(failed));
}

/* A group that is written into a struct by the rows of table. */
static void check_group(const struct config *config, const struct directive *table,
    const void *base, const char *name, const struct position *otherwise, struct diagnostics *d)
{
	const struct directive *row = directive_find(table, "group");

	if (name == NULL)
		return;
	errno = 0;
	check_account(config, "group", name, getgrnam(name) != NULL,
	    place_of(config, row, base, otherwise), d);
}

/* A token that everybody can read is none. */
static void check_token(
    const struct config *config, const struct control_config *control, struct diagnostics *d)
{
	const struct directive *row = directive_find(control_directives, "token-file");
	const struct position *at = place_of(config, row, control, &control->at);
	const char *path = control->token_file, *wrong = NULL;
	struct stat st;

	if (path == NULL)
		return;
	if (stat(path, &st) == -1)
		wrong = errno == ENOENT ? "there is no such file" : strerror(errno);
	else if (!S_ISREG(st.st_mode))
		wrong = "it is not a regular file";
	else if (st.st_mode & S_IROTH)
		wrong = "everybody may read it; take that away, as with chmod o-r";
	else if (st.st_size == 0)
		wrong = "it is empty";
	if (wrong != NULL)
		config_error(config, d, at, "token-file \"%s\": %s", path, wrong);
}

static void check_control(
    const struct config *config, const struct control_config *control, struct diagnostics *d)
{
	if (control->address.form == ADDRESS_UNIX)
		check_parent(
		    config, &control->at, "control", control->address.socket.un.sun_path, d);
	check_group(config, control_directives, control, control->group, &control->at, d);
	check_token(config, control, d);
}

int config_check_system(const struct config *config, struct diagnostics *d)
{
	const struct position nowhere = {.file = NULL, .width = 1};
	struct account workers;
	int before = d->errors;
	char unsaid[128];
	bool changes = geteuid() == 0 &&
	    account_of_workers(&workers, config->user, config->group, unsaid, sizeof unsaid) == 0;

	if (config->user != NULL) {
		const struct directive *row = directive_find(config_directives, "user");

		errno = 0;
		check_account(config, "user", config->user, getpwnam(config->user) != NULL,
		    place_of(config, row, config, &nowhere), d);
	}
	check_group(config, config_directives, config, config->group, &nowhere, d);
	check_paths(config, config_directives, config, &nowhere, d);
	for (const struct service_config *s = config->services; s != NULL; s = s->next)
		check_service(config, s, changes ? &workers : NULL, d);
	for (const struct listen_config *l = config->listeners; l != NULL; l = l->next) {
		if (l->address.form == ADDRESS_UNIX)
			check_parent(config, &l->at, "socket", l->address.socket.un.sun_path, d);
	}
	for (const struct control_config *c = config->controls; c != NULL; c = c->next)
		check_control(config, c, d);
	return d->errors == before ? 0 : -1;
}
