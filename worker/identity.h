/* What tells one state of a file from another. */
#ifndef LASTCALL_IDENTITY_H
#define LASTCALL_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

struct identity {
	dev_t device;
	ino_t inode;
	int64_t size;
	struct timespec modified, changed;
};

static inline struct identity identity_make(const struct stat *info)
{
	return (struct identity){
	    .device = info->st_dev,
	    .inode = info->st_ino,
	    .size = info->st_size,
	    .modified = info->st_mtim,
	    .changed = info->st_ctim,
	};
}

static inline bool identity_same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Whether they are of one file, be its state what it may. */
static inline bool identity_is_of(const struct identity *a, const struct identity *b)
{
	return a->inode == b->inode && a->device == b->device;
}

/*
 * Whether its bytes are the same. Not by ctime: that also moves when a new file is renamed over
 * this one, whose bytes are still those that were opened.
 */
static inline bool identity_same_bytes(const struct identity *a, const struct identity *b)
{
	return identity_is_of(a, b) && a->size == b->size &&
	    identity_same_time(a->modified, b->modified);
}

static inline bool identity_is_same(const struct identity *a, const struct identity *b)
{
	return identity_same_bytes(a, b) && identity_same_time(a->changed, b->changed);
}

#endif
