/* Roots, files and the cache; see file.h. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "date.h"
#include "descriptor.h"
#include "system.h"
#include "type.h"

#define CACHED_PATH_MAX 200
#define SETTLED_SECONDS 2 /* a file changed more lately than this is not kept */

struct file_cached {
	uint32_t hash; /* 0: vacant */
	enum coding coding; /* of a sibling: the same file asked for by its name is another */
	time_t modified;
	const char *type;
	uint64_t moment; /* when it was last looked at, as in file_wanted */
	struct identity identity;
	struct file_fields fields;
	bool asked; /* for, since the hand last passed */
	block_chain body; /* 0: empty */
	char path[CACHED_PATH_MAX];
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
	copies_open(&root->copies, root->manner->copies);
	return blocks_open(&root->blocks, root->manner->cache);
}

void root_stop(struct root *root)
{
	if (root->cache != NULL)
		munmap(root->cache, FILE_CACHE_SLOTS * sizeof(struct file_cached));
	root->cache = NULL;
	copies_close(&root->copies);
	blocks_close(&root->blocks);
}

/* Takes a file out of the cache. */
static void forget(struct root *root, struct file_cached *cached)
{
	if (cached->hash == 0)
		return;
	chain_give(&root->blocks, cached->body);
	cached->hash = 0;
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
		forget(root, &root->cache[i]);
}

/* Whether it is the file of that identity, unchanged. */
static bool is_same(const struct stat *info, const struct identity *known)
{
	struct identity found = identity_make(info);

	return identity_is_same(&found, known);
}

/* FNV-1a; never 0, which is a vacant place. */
static uint32_t hash_of(const char *path, enum coding coding)
{
	uint32_t hash = 2166136261u ^ (uint32_t)coding;

	for (; *path != '\0'; path++)
		hash = (hash ^ (unsigned char)*path) * 16777619u;
	return hash | 1u << 31;
}

static struct file_cached *place_of(const struct root *root, uint32_t hash)
{
	return &root->cache[hash % FILE_CACHE_SLOTS];
}

/* Gives the file from the cache if it is there and still true. */
static bool find_cached(
    struct root *root, const char *path, enum coding coding, uint64_t moment, struct file *file)
{
	uint32_t hash = hash_of(path, coding);
	struct file_cached *cached = place_of(root, hash);
	struct stat info;

	if (cached->hash != hash || cached->coding != coding || strcmp(cached->path, path) != 0)
		return false;
	/* A link may lead elsewhere by now, even out of the root: then it is another file, and not
	 * this one. What was seen for somebody who had asked no sooner is seen for all. */
	if ((moment == 0 || cached->moment != moment) &&
	    (fstatat(root->fd, path, &info, 0) == -1 || !is_same(&info, &cached->identity))) {
		forget(root, cached);
		return false;
	}
	cached->moment = moment;
	cached->asked = true;
	file->fd = -1;
	file->copies = NULL;
	file->blocks = &root->blocks;
	file->kept = cached->body;
	file->size = (uint64_t)cached->identity.size;
	file->identity = cached->identity;
	file->modified = cached->modified;
	file->type = cached->type;
	file->fields = &cached->fields;
	return true;
}

/* Whether its last change is so long ago that another one would be seen. */
static bool is_settled(const struct identity *identity)
{
	time_t now = time(NULL);

	return now - identity->changed.tv_sec > SETTLED_SECONDS &&
	    now - identity->modified.tv_sec > SETTLED_SECONDS;
}

/* Room among the blocks, at the cost of those that nobody has asked for lately. */
static block_chain make_room(struct root *root, size_t length)
{
	if (length > (size_t)root->blocks.count * BLOCK_SIZE)
		return 0;
	for (int looks = 0;
	     looks < 2 * FILE_CACHE_SLOTS && !blocks_have_room(&root->blocks, length); looks++) {
		struct file_cached *cached = &root->cache[root->hand++ % FILE_CACHE_SLOTS];

		/* What is being sent would leave no room. */
		if (!cached->asked && !chain_is_shared(&root->blocks, cached->body))
			forget(root, cached);
		cached->asked = false;
	}
	return chain_take(&root->blocks, length);
}

/* Reads all of a file into blocks. Returns whether it is what it was when it was opened. */
static bool read_whole(const struct root *root, block_chain body, const struct file *file)
{
	struct iovec pieces[FILE_CACHED_MAX / BLOCK_SIZE];
	int count = chain_pieces(
	    &root->blocks, body, 0, file->size, pieces, (int)(sizeof pieces / sizeof *pieces));

	return readv(file->fd, pieces, count) == (ssize_t)file->size &&
	    file_is_same(file->fd, &file->identity);
}

/* Keeps an open file if it is small and at rest. Then it is served from the cache at once. */
static void keep(struct root *root, const char *path, enum coding coding, struct file *file)
{
	uint32_t hash = hash_of(path, coding);
	struct file_cached *cached = place_of(root, hash);
	size_t length = strlen(path);
	block_chain body = 0;

	if (file->size > FILE_CACHED_MAX || length >= CACHED_PATH_MAX || !file->settled ||
	    root->blocks.count == 0)
		return;
	if (file->size > 0) {
		body = make_room(root, (size_t)file->size);
		if (body == 0)
			return;
		if (!read_whole(root, body, file)) {
			chain_give(&root->blocks, body);
			return;
		}
	}
	forget(root, cached);
	memcpy(cached->path, path, length + 1);
	cached->fields = file->made;
	cached->coding = coding;
	cached->identity = file->identity;
	cached->modified = file->modified;
	cached->type = file->type;
	cached->moment = 0;
	cached->asked = true;
	cached->body = body;
	cached->hash = hash;
	fd_close(&file->fd);
	file->blocks = &root->blocks;
	file->kept = body;
	file->fields = &cached->fields;
}

size_t file_type_field(const struct file_manner *manner, const char *type, char *out, size_t size)
{
	bool text = manner->charset != NULL && type_is_text(type);
	int n = snprintf(out, size, "Content-Type: %s%s%s\r\n", type, text ? "; charset=" : "",
	    text ? manner->charset : "");

	return n < (int)size ? (size_t)n : 0;
}

/*
 * The entity tag: time, size and coding. It is weak as long as a second change in the same tick of
 * the clock could not be told from the first (RFC 9110, 8.8.1). Not the inode, so that several
 * machines with the same files agree.
 */
static size_t add_tag(const struct file *file, enum coding coding, char *out, size_t size)
{
	const struct identity *identity = &file->identity;

	return (size_t)snprintf(out, size, "%s\"%llx.%lx-%llx%s\"", file->settled ? "" : "W/",
	    (unsigned long long)identity->modified.tv_sec, identity->modified.tv_nsec,
	    (unsigned long long)identity->size, coding_names[coding].tag);
}

/* FILE_FIELDS_MAX has room for all of them at their longest. */
static void make_fields(const struct file_manner *manner, enum coding coding, struct file *file)
{
	struct file_fields *f = &file->made;
	char *text = f->text;
	char date[DATE_LENGTH];
	size_t n, room = sizeof f->text;

	n = (size_t)snprintf(
	    text, room, "Content-Length: %llu\r\n", (unsigned long long)file->size);
	f->content_at = (uint16_t)n;
	n += file_type_field(manner, file->type, text + n, room - n);
	if (coding != CODING_NONE)
		n += (size_t)snprintf(
		    text + n, room - n, "Content-Encoding: %s\r\n", coding_names[coding].field);
	f->state_at = (uint16_t)n;
	date_format(file->modified, date);
	n += (size_t)snprintf(text + n, room - n,
	    "Accept-Ranges: bytes\r\nLast-Modified: %.*s\r\nETag: ", DATE_LENGTH, date);
	f->tag_at = (uint16_t)n;
	n += add_tag(file, coding, text + n, room - n);
	f->tag_length = (uint16_t)(n - f->tag_at);
	n += (size_t)snprintf(
	    text + n, room - n, "\r\n%s", manner->vary ? "Vary: Accept-Encoding\r\n" : "");
	f->length = (uint16_t)n;
	file->fields = f;
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

/* name is what its type is told by. */
static int open_file(
    struct root *root, const char *path, const char *name, enum coding coding, struct file *file)
{
	time_t now = time(NULL);
	struct stat info;

	file->fd = system_open_beneath(root->fd, path, root->manner->links);
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
	file->blocks = NULL;
	file->kept = 0;
	file->size = (uint64_t)info.st_size;
	file->identity = identity_make(&info);
	file->settled = is_settled(&file->identity);
	file->copies = file->settled && file->size > FILE_CACHED_MAX ? &root->copies : NULL;
	/* Never later than the Date of the answer (RFC 9110, 8.8.2.1); such a file is not kept. */
	file->modified = info.st_mtim.tv_sec < now ? info.st_mtim.tv_sec : now;
	file->type = type_of(root->manner->types, name);
	make_fields(root->manner, coding, file);
	return 0;
}

int root_open_folder(const struct root *root, const char *path)
{
	int fd = system_open_beneath(root->fd, path, root->manner->links);
	struct stat info;

	if (fd == -1)
		return -1;
	/* A root that was removed is still open, and is not there. */
	if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode) && info.st_nlink > 0)
		return fd;
	fd_close(&fd);
	errno = ENOENT;
	return -1;
}

/* Whether a folder is there; also one that may be entered and not read. */
static bool is_folder(const struct root *root, const char *path)
{
	int fd = root_open_folder(root, path);
	bool is = fd >= 0 || errno == EACCES;

	fd_close(&fd);
	return is;
}

/* The path of what is wanted, with the index of a folder and the suffix of a sibling. Returns the
 * length of the path without that suffix, or 0: it does not fit. */
static size_t full_path(
    const struct root *root, const struct file_wanted *wanted, char out[PATH_MAX])
{
	const char *index = wanted->folder ? root->manner->index : "";
	const char *slash = wanted->folder && wanted->path[0] != '\0' ? "/" : "";
	int n = snprintf(out, PATH_MAX, "%s%s%s", wanted->path, slash, index);
	size_t suffix = strlen(coding_names[wanted->coding].suffix);

	if (n <= 0 || (size_t)n + suffix >= PATH_MAX)
		return 0;
	memcpy(out + n, coding_names[wanted->coding].suffix, suffix + 1);
	return (size_t)n;
}

int file_find(struct root *root, const struct file_wanted *wanted, int64_t now, struct file *file)
{
	const char *path = wanted->path, *name = wanted->path;
	char full[PATH_MAX], plain[PATH_MAX];
	int status;

	file->fd = -1;
	look_after(root, now);
	if (wanted->folder || wanted->coding != CODING_NONE) {
		size_t length = full_path(root, wanted, full);

		if (length == 0)
			return 404;
		path = name = full;
		if (wanted->coding != CODING_NONE) {
			memcpy(plain, full, length);
			plain[length] = '\0';
			name = plain;
		}
	}
	if (!wanted->open && find_cached(root, path, wanted->coding, wanted->moment, file))
		return 0;
	status = open_file(root, path, name, wanted->coding, file);
	if (status == 0 && !wanted->open)
		keep(root, path, wanted->coding, file);
	if (wanted->folder && status == 404 && is_folder(root, wanted->path))
		return FILE_FOLDER;
	return wanted->folder && status == 301 ? 403 : status;
}

bool file_is_same(int fd, const struct identity *identity)
{
	struct identity found;
	struct stat info;

	if (fstat(fd, &info) == -1)
		return false;
	found = identity_make(&info);
	return identity_same_bytes(&found, identity);
}
