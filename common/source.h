/*
 * A file of the configuration as it was read: its text, and what its errors and its relative paths
 * are told from. A source outlives every position that points into it.
 */
#ifndef LASTCALL_SOURCE_H
#define LASTCALL_SOURCE_H

#include <stddef.h>
#include <sys/types.h>

#define SOURCE_MAX (1024 * 1024) /* bytes of one file */

struct config_source {
	char *name; /* as the caller wrote it, and as errors show it */
	char *folder; /* absolute; what relative paths in it start from */
	char *text; /* without byte order mark; not NUL-terminated */
	size_t length;
	dev_t device;
	ino_t inode;
	struct config_source *next;
};

/*
 * Reads a file. Only a regular one of at most SOURCE_MAX bytes without a NUL; never blocks. Returns
 * it, or NULL with *why set to what is wrong with it, without its name ("is a directory"); *why is
 * constant, or valid until the next call of strerror.
 */
struct config_source *source_read(const char *name, const char **why);

/* The same out of a list of sources that were read before, as a copy. */
struct config_source *source_find(
    const struct config_source *list, const char *name, const char **why);

/* Frees it. NULL is allowed. */
void source_free(struct config_source *source);

#endif
