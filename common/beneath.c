/*
 * The walk that needs no kernel help: each component is opened from the descriptor of the one
 * before, with O_NOFOLLOW, so a link swapped in at any moment is refused and never followed.
 */
#include "beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "descriptor.h"

int beneath_walk(int root, const char *path)
{
	const int folder_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
	char name[NAME_MAX + 1];
	int at = openat(root, ".", folder_flags);

	while (at >= 0 && *path != '\0') {
		size_t length = strcspn(path, "/");
		int next = -1;

		if (length == 0 || length > NAME_MAX) {
			errno = length ? ENAMETOOLONG : ENOENT;
		} else {
			memcpy(name, path, length);
			name[length] = '\0';
			path += length;
			if (*path == '/')
				next = openat(at, name, folder_flags);
			else
				next = openat(at, name,
				    O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
			path += *path == '/';
		}
		fd_close(&at);
		at = next;
	}
	return at;
}

int beneath_follow(int root, const char *path)
{
	return openat(
	    root, path[0] != '\0' ? path : ".", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}
