/*
 * Reads a file of the configuration, whatever it turns out to be: a FIFO must not block the
 * server, a disk image must not fill its memory.
 */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "directive.h"

/* Looks at what is behind fd before anything is read. Returns NULL or what is wrong. */
static const char *examine(int fd, struct config_source *source)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return strerror(errno);
	if (S_ISDIR(st.st_mode))
		return "is a directory";
	if (!S_ISREG(st.st_mode))
		return "is not a regular file";
	if (st.st_size > SOURCE_MAX)
		return "is larger than 1 MiB; this is no configuration";
	source->device = st.st_dev;
	source->inode = st.st_ino;
	return NULL;
}

/* Reads to the end; a file that grows while it is read stays below the limit, too. */
static const char *read_text(int fd, struct config_source *source)
{
	size_t room = 0;

	for (;;) {
		if (source->length == room) {
			if (room > SOURCE_MAX)
				return "is larger than 1 MiB; this is no configuration";
			room = room == 0 ? 4096 : room * 4 > SOURCE_MAX ? SOURCE_MAX + 1 : room * 4;
			char *text = realloc(source->text, room);

			if (text == NULL)
				return strerror(ENOMEM);
			source->text = text;
		}
		ssize_t got = read(fd, source->text + source->length, room - source->length);

		if (got == 0)
			return NULL;
		if (got == -1 && errno != EINTR)
			return strerror(errno);
		if (got > 0)
			source->length += (size_t)got;
	}
}

static const char *clean_text(struct config_source *source)
{
	if (memchr(source->text, '\0', source->length) != NULL)
		return "contains a NUL byte; this is no configuration";
	if (source->length >= 3 && memcmp(source->text, "\xef\xbb\xbf", 3) == 0) {
		source->length -= 3;
		memmove(source->text, source->text + 3, source->length);
	}
	return NULL;
}

/* Sets name and folder. Returns 0, or -1 with errno: no memory, or no current folder. */
static int set_name(struct config_source *source, const char *name)
{
	source->name = strdup(name);
	char *path = directive_path(NULL, name);

	if (source->name == NULL || path == NULL) {
		free(path);
		return -1;
	}
	char *slash = strrchr(path, '/');

	slash[slash == path] = '\0';
	source->folder = path;
	return 0;
}

struct config_source *source_read(const char *name, const char **why)
{
	struct config_source *source = calloc(1, sizeof(*source));
	const char *wrong = NULL;
	int fd = -1;

	if (source == NULL || set_name(source, name) == -1) {
		wrong = strerror(errno);
		goto out;
	}
	fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd == -1) {
		/* ENXIO is how a Unix socket, or a FIFO in the wrong mood, answers open. */
		wrong = errno == ENXIO ? "is not a regular file" : strerror(errno);
		goto out;
	}
	wrong = examine(fd, source);
	if (wrong == NULL)
		wrong = read_text(fd, source);
	if (wrong == NULL)
		wrong = clean_text(source);
out:
	if (fd != -1)
		close(fd);
	if (wrong == NULL)
		return source;
	source_free(source);
	*why = wrong;
	return NULL;
}

struct config_source *source_find(
    const struct config_source *list, const char *name, const char **why)
{
	struct config_source *source;

	while (list != NULL && strcmp(list->name, name) != 0)
		list = list->next;
	if (list == NULL) {
		*why = "is not one of the files that were read before";
		return NULL;
	}
	source = calloc(1, sizeof *source);
	if (source != NULL) {
		source->name = strdup(list->name);
		source->folder = strdup(list->folder);
		source->text = malloc(list->length > 0 ? list->length : 1);
		source->length = list->length;
		source->device = list->device;
		source->inode = list->inode;
	}
	if (source == NULL || source->name == NULL || source->folder == NULL ||
	    source->text == NULL) {
		source_free(source);
		*why = strerror(ENOMEM);
		return NULL;
	}
	memcpy(source->text, list->text, list->length);
	return source;
}

void source_free(struct config_source *source)
{
	if (source == NULL)
		return;
	free(source->name);
	free(source->folder);
	free(source->text);
	free(source);
}
