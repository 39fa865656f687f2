/*
 * What the http service is before the first connection: what the master opens for it, and what each
 * worker makes of that, so that nothing is made while serving.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "descriptor.h"
#include "http.h"
#include "log.h"
#include "random.h"

/* What the output buffer must have room for before a request is answered, without the fields of the
 * service: a page or a redirect, or the head of a file. For a kept file respond.c makes more. */
#define ANSWER_MAX (ANSWER_HEAD_MAX + CHALLENGE_MAX)
_Static_assert(ANSWER_MAX >= FILE_HEAD_MAX + PART_HEAD_MAX &&
	ANSWER_MAX + RULE_FIELDS_MAX <= sizeof((struct buffer *)0)->bytes &&
	FILE_HEAD_MAX + RULE_FIELDS_MAX + FILE_JOINED_MAX <= sizeof((struct buffer *)0)->bytes,
    "an answer has no room");

/* ---- in the master: what only it may open ---- */

/*
 * The types that most services have, which are those of TYPES_FILE: read once, not for each port
 * that is opened, and again when the file has changed. Nobody writes to them, so it is a cache of
 * the file and no state.
 */
static struct types *usual_types(void)
{
	static struct types *usual;
	static struct timespec changed;
	static ino_t inode;
	struct stat info = {.st_ino = 0};
	struct types *fresh;

	if (stat(TYPES_FILE, &info) == -1)
		info.st_ino = 0;
	if (usual != NULL && info.st_ino == inode && info.st_ctim.tv_sec == changed.tv_sec &&
	    info.st_ctim.tv_nsec == changed.tv_nsec)
		return types_take(usual);
	fresh = calloc(1, sizeof *fresh);
	if (fresh == NULL)
		return NULL;
	if (types_load(fresh, TYPES_FILE) == -1)
		*fresh = (struct types){.text = NULL}; /* ours are enough */
	if (usual != NULL)
		types_give(usual);
	usual = types_take(fresh);
	changed = info.st_ctim;
	inode = info.st_ino;
	return types_take(usual);
}

static int open_types(struct http_options *http, char *why, size_t size)
{
	struct types *own;

	if (http->types != NULL)
		return 0;
	if (strcmp(http->types_path, TYPES_FILE) == 0) {
		http->types = usual_types();
		if (http->types != NULL)
			return 0;
		snprintf(why, size, "%s", strerror(errno));
		return -1;
	}
	own = calloc(1, sizeof *own);
	if (own == NULL || types_load(own, http->types_path) == -1) {
		snprintf(why, size, "types %s: %s", http->types_path, strerror(errno));
		free(own);
		return -1;
	}
	http->types = types_take(own);
	return 0;
}

static int open_aliases(struct http_options *http, char *why, size_t size)
{
	size_t count = directive_rows(http->aliases);

	if (count == 0)
		return 0;
	http->alias_roots = calloc(count, sizeof *http->alias_roots);
	for (size_t i = 0; http->alias_roots != NULL && i < count; i++) {
		const char *path = http->aliases[i][1];

		if (root_open(&http->alias_roots[i], path) == -1) {
			snprintf(why, size, "alias %s: %s", path, strerror(errno));
			return -1;
		}
	}
	if (http->alias_roots != NULL)
		return 0;
	snprintf(why, size, "%s", strerror(errno));
	return -1;
}

static int open_users(struct http_options *http, char *why, size_t size)
{
	char reason[200];

	if (http->auth_file == NULL)
		return 0;
	http->auth = auth_open(http->auth_file, reason, sizeof reason);
	if (http->auth != NULL)
		return 0;
	snprintf(why, size, "auth-file %s: %s", http->auth_file, reason);
	return -1;
}

static int make_hosts(struct http_options *http, char *why, size_t size)
{
	struct host_row *at;
	size_t count = 0;

	for (char ***row = http->hosts; row != NULL && *row != NULL; row++) {
		for (char **word = *row; word[1] != NULL; word++)
			count++;
	}
	if (count == 0)
		return 0;
	http->host_rows = at = calloc(count, sizeof *at);
	if (at == NULL) {
		snprintf(why, size, "%s", strerror(errno));
		return -1;
	}
	for (char ***row = http->hosts; *row != NULL; row++) {
		const struct service_config *service = http_host_service(http->config, *row);

		for (char **word = *row; word[1] != NULL; word++)
			*at++ = (struct host_row){*word, service->options};
	}
	hosts_sort(http->host_rows, count);
	http->host_rows_count = count;
	return 0;
}

static int open_log(struct http_options *http, char *why, size_t size)
{
	int fd;

	if (http->access_log_path == NULL)
		return 0;
	fd = log_open(http->access_log_path);
	if (fd == -1) {
		snprintf(
		    why, size, "access-log %s: %s", http->access_log_path, log_open_error(errno));
		return -1;
	}
	http->access_fd = fd + 1;
	return 0;
}

void http_release(void *options)
{
	struct http_options *http = options;
	int fd = http->access_fd - 1;

	root_close(&http->root);
	for (size_t i = 0; http->alias_roots != NULL && i < directive_rows(http->aliases); i++)
		root_close(&http->alias_roots[i]);
	free(http->alias_roots);
	http->alias_roots = NULL;
	auth_close(http->auth);
	http->auth = NULL;
	free(http->host_rows);
	http->host_rows = NULL;
	http->host_rows_count = 0;
	if (http->types != NULL)
		types_give(http->types);
	http->types = NULL;
	if (http->access_fd > 0)
		fd_close(&fd);
	http->access_fd = 0;
}

int http_prepare(void *options, const struct account *workers, char *why, size_t size)
{
	struct http_options *http = options;

	(void)workers;
	if (root_open(&http->root, http->root_path) == -1) {
		snprintf(why, size, "root %s: %s", http->root_path, strerror(errno));
		return -1;
	}
	if (open_types(http, why, size) == -1 || open_aliases(http, why, size) == -1 ||
	    open_users(http, why, size) == -1 || make_hosts(http, why, size) == -1)
		return -1;
	return open_log(http, why, size);
}

int http_lend(const void *options, int *fds, int max)
{
	const struct http_options *http = options;
	int count = 0;

	if (max < 2)
		return 0;
	fds[count++] = http->root.fd;
	if (http->access_fd > 0)
		fds[count++] = http->access_fd - 1;
	return count;
}

int http_borrow(void *options, const int *fds, int count)
{
	struct http_options *http = options;

	if (count != 1 + (http->access_log_path != NULL) ||
	    root_borrow(&http->root, http->root_path, fds[0]) == -1)
		return -1;
	if (count == 2)
		http->access_fd = fds[1] + 1;
	return 0;
}

int http_logs(const void *options, struct service_log *logs, int max)
{
	const struct http_options *http = options;

	if (http->access_log_path == NULL || max < 1)
		return 0;
	logs[0] = (struct service_log){http->access_log_path, http->access_fd - 1};
	return 1;
}

/* ---- in a worker ---- */

void http_reopened(void *options)
{
	struct http_options *http = options;

	if (http->access_log != NULL)
		access_log_opened(http->access_log);
}

static int start_root(
    struct http_options *http, struct root *root, const char *what, char *why, size_t size)
{
	root->manner = &http->manner;
	if (root_start(root) == -1) {
		snprintf(why, size, "%s", strerror(errno));
		return -1;
	}
	if (faccessat(root->fd, ".", X_OK, AT_EACCESS) == 0)
		return 0;
	snprintf(why, size, "%s %s: %s for the user that workers run as", what, root->path,
	    strerror(errno));
	return -1;
}

static int start_log(struct http_options *http)
{
	if (http->access_fd == 0)
		return 0;
	http->access_log = calloc(1, sizeof *http->access_log);
	if (http->access_log == NULL)
		return -1;
	http->access_log->fd = http->access_fd - 1;
	http->access_log->format = (enum access_format)http->access_log_format;
	access_log_opened(http->access_log);
	return 0;
}

static int start_roots(struct http_options *http, char *why, size_t size)
{
	http->manner = (struct file_manner){
	    .index = http->index,
	    .types = http->types,
	    .charset = strcmp(http->charset, "off") != 0 ? http->charset : NULL,
	    .vary = http->precompressed,
	    .links = (enum system_links)http->links,
	    .cache = (size_t)http->file_cache,
	    .copies = (uint64_t)http->file_copies,
	};
	if (start_root(http, &http->root, "root", why, size) == -1)
		return -1;
	for (size_t i = 0; i < directive_rows(http->aliases); i++) {
		if (start_root(http, &http->alias_roots[i], "alias", why, size) == -1)
			return -1;
	}
	return 0;
}

static int start_fields(struct http_options *http)
{
	if (http->headers == NULL)
		return 0;
	http->fields = malloc(RULE_FIELDS_MAX);
	if (http->fields == NULL)
		return -1;
	http->fields_length = rule_fields(http->headers, http->fields, RULE_FIELDS_MAX);
	return 0;
}

static int start_auth(struct http_options *http)
{
	if (http->auth == NULL)
		return 0;
	http->challenge = malloc(CHALLENGE_MAX);
	if (http->challenge == NULL)
		return -1;
	snprintf(http->challenge, CHALLENGE_MAX,
	    "WWW-Authenticate: Basic realm=\"%s\", charset=\"UTF-8\"\r\n", http->auth_realm);
	return auth_start(http->auth);
}

/* Those that hosts lead to, which may be of no listener of their own. */
static int start_hosts(struct worker *worker, struct http_options *http, char *why, size_t size)
{
	for (size_t i = 0; i < http->host_rows_count; i++) {
		struct http_options *host = http->host_rows[i].value;

		if (http_start(worker, host, why, size) == -1)
			return -1;
		if (host->room > http->room)
			http->room = host->room;
		http->timed = http->timed || host->timed;
	}
	return 0;
}

int http_start(struct worker *worker, void *options, char *why, size_t size)
{
	struct http_options *http = options;

	if (http->started)
		return 0;
	http->started = true; /* before its hosts, of which it can be one */
	http->promise_length = answer_promise(http->promise, sizeof http->promise, http->keepalive);
	http->timed = http->access_fd > 0 && http->access_log_format == ACCESS_JSON;
	if (open_types(http, why, size) == -1 || start_roots(http, why, size) == -1)
		return -1;
	if (worker->boundary == 0 && random_bytes(&worker->boundary, sizeof worker->boundary) == -1)
		goto fail;
	if (start_log(http) == -1 || start_fields(http) == -1 || start_auth(http) == -1)
		goto fail;
	http->listing_room = http->listing ? listing_new() : NULL;
	if (http->listing && http->listing_room == NULL)
		goto fail;
	http->room = ANSWER_MAX + http->fields_length;
	return start_hosts(worker, http, why, size);
fail:
	snprintf(why, size, "%s", strerror(errno));
	return -1;
}

void http_stop(void *options)
{
	struct http_options *http = options;

	root_stop(&http->root);
	for (size_t i = 0; http->alias_roots != NULL && i < directive_rows(http->aliases); i++)
		root_stop(&http->alias_roots[i]);
	listing_free(http->listing_room);
	http->listing_room = NULL;
	free(http->fields);
	http->fields = NULL;
	free(http->challenge);
	http->challenge = NULL;
	free(http->access_log);
	http->access_log = NULL;
	http->started = false;
}
