/* Rules; see rules.h. */
#include "rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "path.h"

/* ---- header ---- */

/* Those that say how a message is read or what a file is are ours alone. */
static const char *const own_fields[] = {
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Date",
    "ETag",
    "Keep-Alive",
    "Last-Modified",
    "Server",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
};

const char *rule_check_header(const char *const *words, size_t count)
{
	static const char token[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789!#$%&'*+-.^_`|~";

	(void)count;
	if (words[0][0] == '\0' || words[0][strspn(words[0], token)] != '\0')
		return "the name of a field has letters, digits and \"-\"";
	for (size_t i = 0; i < sizeof own_fields / sizeof *own_fields; i++) {
		if (strcasecmp(words[0], own_fields[i]) == 0)
			return "the server sets this field itself";
	}
	for (const char *at = words[1]; *at != '\0'; at++) {
		if (((unsigned char)*at < 0x20 && *at != '\t') || *at == 0x7f)
			return "a value cannot have a control character";
	}
	return NULL;
}

size_t rule_fields(char **const *rows, char *out, size_t size)
{
	size_t used = 0;

	for (; rows != NULL && *rows != NULL; rows++) {
		int n = snprintf(out + used, size - used, "%s: %s\r\n", (*rows)[0], (*rows)[1]);

		if (n < 0 || (size_t)n >= size - used)
			return 0;
		used += (size_t)n;
	}
	return used;
}

/* ---- redirect ---- */

static bool ends_in_star(const char *text)
{
	size_t length = strlen(text);

	return length > 0 && text[length - 1] == '*';
}

static bool is_visible(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text <= 0x20 || *text >= 0x7f)
			return false;
	}
	return true;
}

const char *rule_check_redirect(const char *const *words, size_t count)
{
	const char *from = words[0], *to = words[1];

	if (from[0] != '/')
		return "what is redirected is a path that begins with a slash";
	if (strncmp(to, "http://", 7) != 0 && strncmp(to, "https://", 8) != 0 && to[0] != '/')
		return "the target is a path, or a URL with http:// or https://";
	if (!is_visible(to))
		return "the target must be escaped: no space, no byte outside of ASCII";
	if (strchr(from, '*') != NULL && strchr(from, '*') != from + strlen(from) - 1)
		return "\"*\" can only be the end of a path";
	if (ends_in_star(to) && !ends_in_star(from))
		return "\"*\" at the end of the target needs one at the end of the path";
	/* "https://example.org*" would be example.org.evil.net for whoever asks for it. */
	if (ends_in_star(to) && to[strlen(to) - 2] != '/')
		return "the \"*\" of a target stands behind a slash";
	if (count > 2 && strcmp(words[2], "301") != 0 && strcmp(words[2], "302") != 0 &&
	    strcmp(words[2], "307") != 0 && strcmp(words[2], "308") != 0)
		return "the status of a redirect is 301, 302, 307 or 308";
	return NULL;
}

/* Whether FROM is this path. *rest is what a star stands for. */
static bool is_from(const char *from, const char *path, bool folder, const char **rest)
{
	size_t length = strlen(path), from_length = strlen(++from);

	*rest = "";
	if (from_length > 0 && from[from_length - 1] == '*') {
		if (strncmp(from, path, from_length - 1) == 0) {
			*rest = path + from_length - 1;
			return true;
		}
		/* A folder with its slash is the star with nothing before it. */
		return folder && from_length == length + 2 && from[length] == '/' &&
		    strncmp(from, path, length) == 0;
	}
	if (strncmp(from, path, length) != 0)
		return false;
	return strcmp(from + length, folder && length > 0 ? "/" : "") == 0;
}

/* Appends what fits; 0 says that something did not. */
static size_t append(char *out, size_t size, size_t used, const char *text, size_t length)
{
	if (used == 0 || length >= size - used)
		return 0;
	memcpy(out + used, text, length);
	return used + length;
}

int rule_redirect(char **const *rows, const char *path, bool folder, const char *query,
    size_t query_length, char *out, size_t size, size_t *length)
{
	for (; rows != NULL && *rows != NULL; rows++) {
		const char *to = (*rows)[1], *rest;
		size_t used = strlen(to) - (ends_in_star(to) ? 1 : 0), rest_length;

		if (!is_from((*rows)[0], path, folder, &rest))
			continue;
		if (used >= size)
			return 414;
		memcpy(out, to, used);
		/* Two slashes at the beginning would be another host. */
		if (used > 0 && out[used - 1] == '/' && *rest == '/')
			rest++;
		rest_length = ends_in_star(to) ? strlen(rest) : 0;
		if (rest_length > 0) {
			size_t escaped = path_escape(out + used, size - used, rest, rest_length);

			used = escaped > 0 ? used + escaped : 0;
			if (folder)
				used = append(out, size, used, "/", 1);
		}
		if (query_length > 0 && strchr(to, '?') == NULL) {
			used = append(out, size, used, "?", 1);
			used = append(out, size, used, query, query_length);
		}
		*length = used;
		if (used == 0)
			return 414;
		return (*rows)[2] != NULL ? atoi((*rows)[2]) : 302;
	}
	return 0;
}

/* ---- alias ---- */

const char *rule_check_alias(const char *const *words, size_t count)
{
	size_t length = strlen(words[0]);

	(void)count;
	if (length < 3 || words[0][0] != '/' || words[0][length - 1] != '/')
		return "what is mapped to a folder is a path between slashes, such as /media/";
	if (strstr(words[0], "//") != NULL || strstr(words[0], "/./") != NULL ||
	    strstr(words[0], "/../") != NULL)
		return "no request has such a path when it is resolved";
	if (words[1][0] == '\0')
		return "the folder cannot be empty";
	return NULL;
}

int rule_alias(char **const *rows, const char *path, bool folder, const char **rest)
{
	size_t length = strlen(path), longest = 0;
	int found = -1;

	for (int i = 0; rows != NULL && rows[i] != NULL; i++) {
		const char *prefix = rows[i][0] + 1;
		size_t prefix_length = strlen(prefix);

		if (prefix_length <= longest)
			continue;
		if (strncmp(path, prefix, prefix_length) == 0)
			*rest = path + prefix_length;
		else if (length + 1 == prefix_length && strncmp(path, prefix, length) == 0)
			*rest = folder ? path + length : NULL;
		else
			continue;
		longest = prefix_length;
		found = i;
	}
	return found;
}

/* ---- error-page ---- */

bool rule_is_file(const char *path)
{
	size_t length = strlen(path);

	return length > 1 && path[0] == '/' && path[length - 1] != '/' &&
	    strstr(path, "//") == NULL && strstr(path, "/./") == NULL &&
	    strstr(path, "/../") == NULL;
}

const char *rule_check_error_page(const char *const *words, size_t count)
{
	static const char *const statuses[] = {
	    "400", "401", "403", "404", "405", "412", "414", "416", "501", "503"};

	for (size_t i = 0; i + 1 < count; i++) {
		size_t known = 0;

		while (known < sizeof statuses / sizeof *statuses &&
		    strcmp(words[i], statuses[known]) != 0)
			known++;
		if (known == sizeof statuses / sizeof *statuses)
			return "a status is one of 400, 401, 403, 404, 405, 412, 414, 416, 501 and "
			       "503";
	}
	if (!rule_is_file(words[count - 1]))
		return "the page is a file below the root, such as /404.html";
	return NULL;
}

const char *rule_error_page(char **const *rows, int status)
{
	char text[12];

	snprintf(text, sizeof text, "%d", status);
	for (; rows != NULL && *rows != NULL; rows++) {
		size_t i = 0;
		bool meant = false;

		for (; (*rows)[i + 1] != NULL; i++)
			meant = meant || strcmp((*rows)[i], text) == 0;
		if (meant)
			return (*rows)[i] + 1;
	}
	return NULL;
}
