/* Roots, files and the cache; see file.h. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "date.h"
#include "descriptor.h"
#include "path.h"
#include "system.h"

#define CACHED_PATH_MAX 200
#define SETTLED_SECONDS 2 /* a file changed more lately than this is not kept */

struct file_cached {
	uint32_t hash; /* 0: vacant */
	uint16_t fields_length;
	struct identity identity;
	char path[CACHED_PATH_MAX];
	char fields[FILE_FIELDS_MAX];
	char body[FILE_CACHED_MAX];
};

int root_borrow(struct root *root, const char *path, int fd)
{
	struct stat info;

	if (fstat(fd, &info) == -1)
		return -1;
	*root = (struct root){.path = path, .fd = fd, .device = info.st_dev, .inode = info.st_ino};
	return 0;
}

int root_open(struct root *root, const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);

	if (fd == -1)
		return -1;
	if (root_borrow(root, path, fd) == 0)
		return 0;
	fd_close(&fd);
	return -1;
}

void root_close(struct root *root)
{
	if (root->path == NULL)
		return; /* never opened */
	fd_close(&root->fd);
	root->path = NULL;
}

int root_start(struct root *root)
{
	void *memory = mmap(NULL, FILE_CACHE_SLOTS * sizeof(struct file_cached),
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return -1;
	root->cache = memory;
	return 0;
}

void root_stop(struct root *root)
{
	if (root->cache != NULL)
		munmap(root->cache, FILE_CACHE_SLOTS * sizeof(struct file_cached));
	root->cache = NULL;
}

/*
 * Now and then: does the root's path lead to another folder by now? A path that this user may not
 * follow keeps the folder that the master opened; one that is gone keeps it too, and serves what is
 * left of it: nothing.
 */
static void look_after(struct root *root, int64_t now)
{
	struct stat info;
	struct root fresh;

	if (now - root->checked_at < ROOT_CHECK_MS)
		return;
	root->checked_at = now;
	if (stat(root->path, &info) == -1 ||
	    (info.st_dev == root->device && info.st_ino == root->inode))
		return;
	if (root_open(&fresh, root->path) == -1)
		return;
	fd_close(&root->fd);
	root->fd = fresh.fd;
	root->device = fresh.device;
	root->inode = fresh.inode;
	for (size_t i = 0; i < FILE_CACHE_SLOTS; i++)
		root->cache[i].hash = 0;
}

static struct identity identity_of(const struct stat *info)
{
	return (struct identity){
	    .device = info->st_dev,
	    .inode = info->st_ino,
	    .size = info->st_size,
	    .modified = info->st_mtim,
	    .changed = info->st_ctim,
	};
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_same(const struct stat *info, const struct identity *known)
{
	return info->st_ino == known->inode && info->st_dev == known->device &&
	    info->st_size == known->size && same_time(info->st_mtim, known->modified) &&
	    same_time(info->st_ctim, known->changed);
}

/* FNV-1a; never 0, which is a vacant place. */
static uint32_t hash_of(const char *path)
{
	uint32_t hash = 2166136261u;

	for (; *path != '\0'; path++)
		hash = (hash ^ (unsigned char)*path) * 16777619u;
	return hash | 1u << 31;
}

static struct file_cached *place_of(const struct root *root, uint32_t hash)
{
	return &root->cache[hash % FILE_CACHE_SLOTS];
}

/* Gives the file from the cache if it is there and still true. */
static bool find_cached(const struct root *root, const char *path, struct file *file)
{
	uint32_t hash = hash_of(path);
	struct file_cached *cached = place_of(root, hash);
	struct stat info;

	if (cached->hash != hash || strcmp(cached->path, path) != 0)
		return false;
	/* A link may lead elsewhere by now, even out of the root: then it is another file, and not
	 * this one. */
	if (fstatat(root->fd, path, &info, 0) == -1 || !is_same(&info, &cached->identity)) {
		cached->hash = 0;
		return false;
	}
	file->fd = -1;
	file->body = cached->body;
	file->size = (uint64_t)cached->identity.size;
	file->identity = cached->identity;
	file->fields = cached->fields;
	file->fields_length = cached->fields_length;
	return true;
}

/* Keeps an open file if it is small and at rest. Then it is served from the cache at once. */
static void keep(const struct root *root, const char *path, struct file *file)
{
	uint32_t hash = hash_of(path);
	struct file_cached *cached = place_of(root, hash);
	size_t length = strlen(path);

	if (file->size > FILE_CACHED_MAX || length >= CACHED_PATH_MAX ||
	    time(NULL) - file->identity.changed.tv_sec <= SETTLED_SECONDS ||
	    time(NULL) - file->identity.modified.tv_sec <= SETTLED_SECONDS)
		return;
	cached->hash = 0;
	if (pread(file->fd, cached->body, sizeof cached->body, 0) != (ssize_t)file->size ||
	    !file_is_same(file->fd, &file->identity))
		return;
	memcpy(cached->path, path, length + 1);
	memcpy(cached->fields, file->fields, file->fields_length);
	cached->fields_length = (uint16_t)file->fields_length;
	cached->identity = file->identity;
	cached->hash = hash;
	fd_close(&file->fd);
	file->body = cached->body;
}

static void make_fields(struct file *file, const char *name)
{
	time_t now = time(NULL);
	char date[DATE_LENGTH];
	int n;

	/* Never later than the Date of the answer (RFC 9110, 8.8.2.1); such a file is not kept. */
	date_format(
	    file->identity.modified.tv_sec < now ? file->identity.modified.tv_sec : now, date);
	n = snprintf(file->fields_made, sizeof file->fields_made,
	    "Content-Type: %s\r\nContent-Length: %llu\r\nLast-Modified: %.*s\r\n", path_type(name),
	    (unsigned long long)file->size, DATE_LENGTH, date);
	file->fields = file->fields_made;
	file->fields_length = (size_t)n;
}

static int status_of(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case ENAMETOOLONG:
		return 404;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return 503;
	default: /* EACCES; EXDEV, ELOOP: a link that leads out; ENXIO: a socket */
		return 403;
	}
}

static int open_file(const struct root *root, const char *path, struct file *file)
{
	struct stat info;

	file->fd = system_open_beneath(root->fd, path);
	if (file->fd == -1)
		return status_of(errno);
	if (fstat(file->fd, &info) == -1 || (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))) {
		fd_close(&file->fd);
		return 403;
	}
	if (S_ISDIR(info.st_mode)) {
		fd_close(&file->fd);
		return 301;
	}
	file->body = NULL;
	file->size = (uint64_t)info.st_size;
	file->identity = identity_of(&info);
	make_fields(file, path);
	return 0;
}

/* Whether a folder is there. A root that was removed is still open, and is not there. */
static bool is_folder(const struct root *root, const char *path)
{
	int fd = system_open_beneath(root->fd, path);
	struct stat info;
	bool is = fd >= 0 && fstat(fd, &info) == 0 && S_ISDIR(info.st_mode) && info.st_nlink > 0;

	fd_close(&fd);
	return is;
}

int file_find(struct root *root, const char *path, bool folder, const char *index, int64_t now,
    struct file *file)
{
	char joined[PATH_MAX];
	const char *wanted = path;
	int status;

	file->fd = -1;
	look_after(root, now);
	if (folder) {
		int n = snprintf(joined, sizeof joined, "%s%s%s", path, path[0] ? "/" : "", index);

		if (n >= (int)sizeof joined)
			return 404;
		wanted = joined;
	}
	if (find_cached(root, wanted, file))
		return 0;
	status = open_file(root, wanted, file);
	if (status == 0)
		keep(root, wanted, file);
	if (folder && status == 404 && is_folder(root, path))
		return 403; /* it is there, but has no index to show */
	return folder && status == 301 ? 403 : status;
}

bool file_is_same(int fd, const struct identity *identity)
{
	struct stat info;

	/* Not ctime: it also moves when a new file is renamed over this one, whose bytes are still
	 * those that are sent. */
	return fstat(fd, &info) == 0 && info.st_size == identity->size &&
	    same_time(info.st_mtim, identity->modified);
}
