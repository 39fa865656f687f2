/*
 * Virtual hosts: from the Host of a request to what was configured for it. Pure. A name is only
 * ever looked up, and never becomes part of a path.
 */
#ifndef LASTCALL_HOSTS_H
#define LASTCALL_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

#define HOST_NAME_MAX_LENGTH 255

struct host_row {
	const char *name; /* in lower case; "*.example.org" is every name that ends so */
	void *value;
};

/* Whether it can be looked up: a name or an address without port, or "*." and a name. */
bool host_valid(const char *name);

/* Sorts rows for host_find, and makes their names lower case, which must be writable. */
void hosts_sort(struct host_row *rows, size_t count);

/*
 * The value for the Host of a request, in any case, with its port or without, with a dot at its end
 * or without. The exact name wins, then the longest "*."; NULL: it is none of them.
 */
void *host_find(const struct host_row *rows, size_t count, const char *host, size_t length);

#endif
