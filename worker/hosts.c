/* Virtual hosts; see hosts.h. */
#include "hosts.h"

#include <stdlib.h>
#include <string.h>

static char lower(char byte)
{
	return byte >= 'A' && byte <= 'Z' ? (char)(byte + ('a' - 'A')) : byte;
}

bool host_valid(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-._~";
	size_t length = strlen(name);

	if (length == 0 || length > HOST_NAME_MAX_LENGTH)
		return false;
	if (name[0] == '[')
		return name[length - 1] == ']' &&
		    strspn(name + 1, "0123456789abcdefABCDEF:.") == length - 2;
	if (strncmp(name, "*.", 2) == 0)
		name += 2;
	length = strlen(name);
	return length > 0 && strspn(name, allowed) == length && name[0] != '.' &&
	    name[length - 1] != '.';
}

static int compare(const void *a, const void *b)
{
	const struct host_row *left = a, *right = b;

	return strcmp(left->name, right->name);
}

void hosts_sort(struct host_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (char *at = (char *)rows[i].name; *at != '\0'; at++)
			*at = lower(*at);
	}
	if (count > 0)
		qsort(rows, count, sizeof *rows, compare);
}

static void *look_up(const struct host_row *rows, size_t count, const char *name)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, rows[middle].name);

		if (order == 0)
			return rows[middle].value;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* The length of the host without its port and without the dot at its end. */
static size_t bare_length(const char *host, size_t length)
{
	const char *colon;

	if (length > 0 && host[0] == '[') {
		const char *end = memchr(host, ']', length);

		return end != NULL ? (size_t)(end - host) + 1 : length;
	}
	colon = memchr(host, ':', length);
	if (colon != NULL)
		length = (size_t)(colon - host);
	return length > 1 && host[length - 1] == '.' ? length - 1 : length;
}

void *host_find(const struct host_row *rows, size_t count, const char *host, size_t length)
{
	/* A place before it, for the star of a name that begins with a dot. */
	char text[HOST_NAME_MAX_LENGTH + 2], *name = text + 1;
	void *value;

	length = bare_length(host, length);
	if (count == 0 || length == 0 || length > HOST_NAME_MAX_LENGTH)
		return NULL;
	for (size_t i = 0; i < length; i++)
		name[i] = lower(host[i]);
	name[length] = '\0';
	value = look_up(rows, count, name);
	for (size_t i = 0; value == NULL && i < length; i++) {
		if (name[i] != '.')
			continue;
		name[(ptrdiff_t)i - 1] = '*';
		value = look_up(rows, count, name + i - 1);
	}
	return value;
}
