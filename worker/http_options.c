/*
 * The configuration of the http service: its directives, and whether what they say can be.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http.h"

/* What the head of a request may have at most: it leaves room in a buffer to read a body behind. */
#define HEADER_MAX 12288

#define HOSTS_MAX 4096 /* names of one service */
#define DAY_MS INT64_C(86400000)
#define AT(member) .offset = offsetof(struct http_options, member)

static const char *const access_formats[] = {"common", "combined", "json", NULL};
static const char *const links[] = {"inside", "never", "anywhere", NULL};

static const char *check_host(const char *const *words, size_t count)
{
	for (size_t i = 0; i + 1 < count; i++) {
		if (!host_valid(words[i]))
			return "a host is a name or an address without a port, or \"*.\" and a "
			       "name";
	}
	return NULL;
}

static const struct directive_rows header_rows = {.check = rule_check_header};
static const struct directive_rows redirect_rows = {.check = rule_check_redirect};
static const struct directive_rows alias_rows = {.check = rule_check_alias, .folder = 2};
static const struct directive_rows error_page_rows = {.check = rule_check_error_page};
static const struct directive_rows host_rows = {.check = check_host};

const struct directive http_directives[] = {
    {.name = "root", .type = DIRECTIVE_PATH, .min = PATH_FOLDER, AT(root_path)},
    {.name = "index", .type = DIRECTIVE_STRING, AT(index), .initial = "index.html"},
    {.name = "health", .type = DIRECTIVE_STRING, AT(health)},
    {.name = "listing", .type = DIRECTIVE_FLAG, AT(listing), .initial = "off"},
    {.name = "fallback", .type = DIRECTIVE_STRING, AT(fallback)},
    {.name = "precompressed", .type = DIRECTIVE_FLAG, AT(precompressed), .initial = "off"},
    {.name = "dot-files", .type = DIRECTIVE_FLAG, AT(dot_files), .initial = "off"},
    {.name = "links", .type = DIRECTIVE_CHOICE, AT(links), .choices = links, .initial = "inside"},
    {.name = "types", .type = DIRECTIVE_PATH, AT(types_path), .initial = TYPES_FILE},
    {.name = "charset", .type = DIRECTIVE_STRING, AT(charset), .initial = "utf-8"},
    {.name = "header",
	.type = DIRECTIVE_ROWS,
	AT(headers),
	.min = 2,
	.max = 2,
	.keyword = "NAME VALUE",
	.choices = &header_rows},
    {.name = "redirect",
	.type = DIRECTIVE_ROWS,
	AT(redirects),
	.min = 2,
	.max = 3,
	.keyword = "FROM TO [STATUS]",
	.choices = &redirect_rows},
    {.name = "alias",
	.type = DIRECTIVE_ROWS,
	AT(aliases),
	.min = 2,
	.max = 2,
	.keyword = "/PREFIX/ FOLDER",
	.choices = &alias_rows},
    {.name = "error-page",
	.type = DIRECTIVE_ROWS,
	AT(error_pages),
	.min = 2,
	.max = 11,
	.keyword = "STATUS… FILE",
	.choices = &error_page_rows},
    {.name = "host",
	.type = DIRECTIVE_ROWS,
	AT(hosts),
	.min = 2,
	.max = 256,
	.keyword = "NAME… SERVICE",
	.choices = &host_rows},
    {.name = "auth-file", .type = DIRECTIVE_PATH, .min = PATH_FILE, AT(auth_file)},
    {.name = "auth-realm", .type = DIRECTIVE_STRING, AT(auth_realm), .initial = "restricted"},
    {.name = "keepalive",
	.type = DIRECTIVE_DURATION,
	AT(keepalive),
	.min = 0,
	.max = DAY_MS,
	.initial = "5s"},
    {.name = "header-timeout",
	.type = DIRECTIVE_DURATION,
	AT(header_timeout),
	.min = 10,
	.max = DAY_MS,
	.initial = "10s"},
    {.name = "send-timeout",
	.type = DIRECTIVE_DURATION,
	AT(send_timeout),
	.min = 10,
	.max = DAY_MS,
	.initial = "30s"},
    {.name = "max-body",
	.type = DIRECTIVE_SIZE,
	AT(max_body),
	.min = 0,
	.max = INT64_C(1) << 40,
	.initial = "64k"},
    {.name = "max-header",
	.type = DIRECTIVE_SIZE,
	AT(max_header),
	.min = 256,
	.max = HEADER_MAX,
	.initial = "8k"},
    {.name = "min-body-rate",
	.type = DIRECTIVE_SIZE,
	AT(min_body_rate),
	.min = 1,
	.max = INT64_C(1) << 30,
	.initial = "1k"},
    {.name = "file-cache",
	.type = DIRECTIVE_SIZE,
	AT(file_cache),
	.min = 0,
	.max = INT64_C(1) << 34,
	.initial = "8m"},
    {.name = "file-copies",
	.type = DIRECTIVE_SIZE,
	AT(file_copies),
	.min = 0,
	.max = INT64_C(1) << 34,
	.initial = "16m"},
    {.name = "access-log", .type = DIRECTIVE_PATH, AT(access_log_path)},
    {.name = "access-log-format",
	.type = DIRECTIVE_CHOICE,
	AT(access_log_format),
	.choices = access_formats,
	.initial = "common"},
    {.name = NULL},
};

/* ---- when the configuration is read ---- */

static bool is_charset(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.:+";
	size_t length = strlen(name);

	return length <= 40 && strspn(name, allowed) == length;
}

static const char *check_realm(const char *realm)
{
	if (strlen(realm) > 200)
		return "a realm has at most 200 bytes";
	for (; *realm != '\0'; realm++) {
		if (*realm < 0x20 || *realm > 0x7e || *realm == '"' || *realm == '\\')
			return "a realm is printable ASCII without quotes and backslashes";
	}
	return NULL;
}

/* Whether a request can ask for it in these very bytes. */
static bool is_plain_path(const char *path)
{
	if (*path != '/')
		return false;
	for (; *path != '\0'; path++) {
		if (*path <= ' ' || *path > '~' || strchr("?#%\"\\", *path) != NULL)
			return false;
	}
	return true;
}

const char *http_check(const void *options, const char **directive)
{
	const struct http_options *http = options;
	char fields[RULE_FIELDS_MAX];

	*directive = "root";
	if (http->root_path == NULL)
		return "an http service needs a root, the folder that it serves";
	*directive = "index";
	if (http->index[0] == '\0' || strchr(http->index, '/') != NULL)
		return "index is the name of a file, without a slash";
	*directive = "health";
	if (http->health != NULL && !is_plain_path(http->health))
		return "health is a path as in a request, such as /healthz, without \"?\" and "
		       "\"%\"";
	*directive = "fallback";
	if (http->fallback != NULL && !rule_is_file(http->fallback))
		return "the fallback is a file below the root, such as /index.html";
	*directive = "charset";
	if (!is_charset(http->charset))
		return "that is no name of a charset; \"off\" is for none";
	*directive = "header";
	if (http->headers != NULL && rule_fields(http->headers, fields, sizeof fields) == 0)
		return "all fields together have at most 2048 bytes";
	*directive = "auth-realm";
	if (check_realm(http->auth_realm) != NULL)
		return check_realm(http->auth_realm);
	*directive = "auth-file";
	if (http->auth_file != NULL && !auth_available())
		return "this build has no crypt(3) to check passwords with";
	return NULL;
}

struct service_config *http_host_service(const struct config *config, char **row)
{
	size_t last = 0;

	while (row[last + 1] != NULL)
		last++;
	return config_find_service(config, row[last]);
}

/* How often a name is among those of the rows. */
static size_t times_named(char **const *rows, const char *name)
{
	size_t times = 0;

	for (; *rows != NULL; rows++) {
		for (char *const *word = *rows; word[1] != NULL; word++)
			times += strcasecmp(*word, name) == 0;
	}
	return times;
}

/* What is wrong with one row of `host`, or NULL. */
static const char *link_row(
    const struct http_options *http, const struct config *config, char **row)
{
	static char why[192]; /* a message outlives the call, as check's do */
	const struct service_config *service = http_host_service(config, row);

	if (service == NULL) {
		while (row[1] != NULL)
			row++;
		snprintf(why, sizeof why, "there is no service \"%.64s\"", *row);
		return why;
	}
	if (service->kind->directives != http_directives)
		return "the service of a host must be of kind http";
	if (service->options == http)
		return "a service is its own host already";
	for (; row[1] != NULL; row++) {
		if (times_named(http->hosts, *row) > 1) {
			snprintf(why, sizeof why, "the host \"%.100s\" is named twice", *row);
			return why;
		}
	}
	return NULL;
}

const char *http_link(void *options, const struct config *config, const char **directive)
{
	struct http_options *http = options;
	const char *wrong = NULL;
	size_t names = 0;

	*directive = "host";
	http->config = config;
	for (char ***row = http->hosts; row != NULL && *row != NULL; row++) {
		for (char **word = *row; word[1] != NULL; word++)
			names++;
	}
	if (names > HOSTS_MAX)
		return "host has at most 4096 names";
	for (char ***row = http->hosts; row != NULL && *row != NULL && wrong == NULL; row++)
		wrong = link_row(http, config, *row);
	return wrong;
}
