/*
 * The files that an http service serves: one root folder, opened once and looked after, and a cache
 * of small files.
 *
 * The cache is never stale: each request asks the file system (one stat) whether the path still
 * leads to the same file, unchanged in size, mtime and ctime. A file that was changed within the
 * last moments is not kept, because a second change in the same tick of the clock could not be told
 * from the first. The root is followed if it is replaced (a deploy that swaps a link), at most
 * ROOT_CHECK_MS later.
 *
 * It has room for so many bytes and no more. For a new file it forgets those that were not asked
 * for since it last looked; what is being sent stays until that is done, and takes room so long.
 *
 * The fields of an answer that depend only on the file and the configuration are made when it is
 * opened, and kept with it.
 */
#ifndef LASTCALL_FILE_H
#define LASTCALL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "blocks.h"
#include "coding.h"
#include "copies.h"
#include "identity.h"
#include "system.h"

struct types;

#define ROOT_CHECK_MS 1000
#define FILE_CACHED_MAX (256 * 1024) /* bytes of a file that is kept */
#define FILE_JOINED_MAX                                                                            \
	8192 /* bytes of one that is copied behind its head, and sent with others                  \
	      */
#define FILE_CACHE_SLOTS 512
#define FILE_FIELDS_MAX 512

/* How the files of a root are found and described; the same for all roots of a service. */
struct file_manner {
	const char *index; /* the file of a folder */
	const struct types *types; /* NULL: only ours */
	const char *charset; /* of text types; NULL: none is said */
	bool vary; /* answers depend on Accept-Encoding */
	enum system_links links;
	size_t cache; /* bytes that each root keeps at most */
	uint64_t copies; /* and of its larger files */
};

struct root {
	const char *path; /* not owned */
	const struct file_manner *manner; /* not owned; set before root_start */
	int fd;
	dev_t device;
	ino_t inode;
	int64_t checked_at; /* ms */
	struct file_cached *cache; /* FILE_CACHE_SLOTS, mapped; NULL until root_start */
	struct blocks blocks; /* what is in them */
	unsigned hand; /* the slot that is looked at next when room is needed */
	struct copies copies; /* of those that are too large for it */
};

/*
 * The fields of a file, each with its line end, in three groups: its length; what its content is;
 * what tells its state (and that is all of a 304).
 */
struct file_fields {
	uint16_t length;
	uint16_t content_at, state_at; /* where the second and the third group begin */
	uint16_t tag_at, tag_length; /* of the entity tag, with its quotes */
	char text[FILE_FIELDS_MAX];
};

/*
 * A file to be sent. Either kept (fd -1) or open. What is kept is only there until the next call,
 * unless it is held (blocks.h).
 */
struct file {
	int fd; /* owned by the caller */
	bool settled; /* another change would be seen in its identity */
	struct blocks *blocks; /* kept: where */
	block_chain kept; /* 0: it is not, or empty */
	struct copies *copies; /* where it may have a copy; NULL: it may not */
	uint64_t size;
	time_t modified; /* as Last-Modified says it: never later than now */
	const char *type; /* its media type, without a charset; lives as long as the types */
	const struct file_fields *fields;
	struct identity identity; /* as it was when it was opened */
	struct file_fields made;
};

/* What is looked for. */
struct file_wanted {
	const char *path; /* as path_resolve makes it */
	bool folder; /* its index, then */
	enum coding coding; /* the sibling of that coding, or CODING_NONE */
	bool open; /* a descriptor is needed, also for one that is kept */
	uint64_t moment; /* the same number means: nobody has asked since; 0: unknown */
};

#define FILE_FOLDER 1 /* a folder is there, without an index */

/* In the master: opens the folder. Returns 0, or -1 with errno (ENOTDIR: not a folder). */
int root_open(struct root *root, const char *path);
void root_close(struct root *root);

/* The same with a folder that another process opened, which is the root's from here on. */
int root_borrow(struct root *root, const char *path, int fd);

/* In a worker: makes its cache, and frees it. Returns 0, or -1 with errno ENOMEM. */
int root_start(struct root *root);
void root_stop(struct root *root);

/*
 * Finds a file. now in ms. Returns 0 with *file set (it must then be closed if its fd is not -1),
 * FILE_FOLDER, or the status to answer: 301 a folder without its slash, 403 not a regular file, not
 * readable, or a link that leads where it must not, 404 nothing there, 503 out of descriptors.
 */
int file_find(struct root *root, const struct file_wanted *wanted, int64_t now, struct file *file);

/*
 * The Content-Type field of a type with its line end, as it is among the fields. Returns its
 * length.
 */
size_t file_type_field(const struct file_manner *manner, const char *type, char *out, size_t size);

/* Opens a folder, to be read. Returns its descriptor, or -1 with errno. */
int root_open_folder(const struct root *root, const char *path);

/* Whether the bytes of an open file are still what they were when it was opened, by its size and
 * its mtime. */
bool file_is_same(int fd, const struct identity *identity);

#endif
