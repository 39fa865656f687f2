/*
 * The files that an http service serves: one root folder, opened once and looked after, and a cache
 * of small files.
 *
 * The cache is never stale: each request asks the file system (one stat) whether the path still
 * leads to the same file, unchanged in size, mtime and ctime. A file that was changed within the
 * last moments is not kept, because a second change in the same tick of the clock could not be told
 * from the first. The root is followed if it is replaced (a deploy that swaps a link), at most
 * ROOT_CHECK_MS later.
 */
#ifndef LASTCALL_FILE_H
#define LASTCALL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#define ROOT_CHECK_MS 1000
#define FILE_CACHED_MAX 8192 /* bytes of a file that is kept */
#define FILE_CACHE_SLOTS 512
#define FILE_FIELDS_MAX 256

struct root {
	const char *path; /* not owned */
	int fd;
	dev_t device;
	ino_t inode;
	int64_t checked_at; /* ms */
	struct file_cached *cache; /* FILE_CACHE_SLOTS, mapped; NULL until root_start */
};

/* What tells one state of a file from another. */
struct identity {
	dev_t device;
	ino_t inode;
	int64_t size;
	struct timespec modified, changed;
};

/* A file to be sent. Either cached (fd -1, body valid until the next call) or open. */
struct file {
	int fd; /* owned by the caller */
	const char *body; /* NULL unless cached */
	uint64_t size;
	const char
	    *fields; /* Content-Type, Content-Length, Last-Modified, each with its line end */
	size_t fields_length;
	struct identity identity; /* as it was when it was opened */
	char fields_made[FILE_FIELDS_MAX];
};

/* In the master: opens the folder. Returns 0, or -1 with errno (ENOTDIR: not a folder). */
int root_open(struct root *root, const char *path);
void root_close(struct root *root);

/* The same with a folder that another process opened, which is the root's from here on. */
int root_borrow(struct root *root, const char *path, int fd);

/* In a worker: makes its cache, and frees it. Returns 0, or -1 with errno ENOMEM. */
int root_start(struct root *root);
void root_stop(struct root *root);

/*
 * Finds what path (as path_resolve makes it) leads to. now in ms. Returns 0 with *file set (it must
 * then be closed if its fd is not -1), or the status to answer: 301 a folder without its slash, 403
 * not a regular file, not readable, or a link that leads out, 404 nothing there, 503 out of
 * descriptors.
 */
int file_find(struct root *root, const char *path, bool folder, const char *index, int64_t now,
    struct file *file);

/* Whether the bytes of an open file are still what they were when it was opened, by its size and
 * its mtime. */
bool file_is_same(int fd, const struct identity *identity);

#endif
