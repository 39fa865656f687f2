/*
 * The path of a target becomes a path below a root. Nothing reaches out that was not decoded and
 * judged as a whole segment before; the segment is judged by its decoded bytes, which are never
 * decoded again.
 */
#include "path.h"

#include <string.h>

#define SEGMENT_MAX 255

static int hex_digit(char byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	if (byte >= 'a' && byte <= 'f')
		return byte - 'a' + 10;
	if (byte >= 'A' && byte <= 'F')
		return byte - 'A' + 10;
	return -1;
}

/* The byte at *at, decoded, with *at moved past it; -1: a malformed escape. */
static int decode_byte(const char *path, size_t length, size_t *at)
{
	int high, low;

	if (path[*at] != '%')
		return (unsigned char)path[(*at)++];
	if (length - *at < 3)
		return -1;
	high = hex_digit(path[*at + 1]);
	low = hex_digit(path[*at + 2]);
	if (high < 0 || low < 0)
		return -1;
	*at += 3;
	return high << 4 | low;
}

/*
 * Decodes the segment at *at, to the next slash or the end, into segment, and sets *at to that.
 * Returns 0 with its length in *written, or the status to answer.
 */
static int decode_segment(
    const char *path, size_t length, size_t *at, char segment[SEGMENT_MAX], size_t *written)
{
	size_t used = 0;

	while (*at < length && path[*at] != '/') {
		int byte = decode_byte(path, length, at);
		if (byte < 0x20 || byte == 0x7f)
			return 400;
		if (byte == '/')
			return 404;
		if (used == SEGMENT_MAX)
			return 414;
		segment[used++] = (char)byte;
	}
	*written = used;
	return 0;
}

static bool is_name(const char *segment, size_t length, const char *name)
{
	return length == strlen(name) && memcmp(segment, name, length) == 0;
}

int path_resolve(const char *path, size_t length, char *out, size_t size, bool *folder)
{
	return path_resolve_with(path, length, out, size, folder, false);
}

int path_resolve_with(
    const char *path, size_t length, char *out, size_t size, bool *folder, bool dots)
{
	size_t used = 0, at = 0, written;
	bool ends_in_folder = true;

	if (length == 0 || path[0] != '/')
		return 400;
	if (size == 0)
		return 414;
	while (at < length) {
		char segment[SEGMENT_MAX];
		int status;

		at++; /* the slash before it */
		status = decode_segment(path, length, &at, segment, &written);
		if (status)
			return status;
		ends_in_folder = true;
		if (written == 0 || is_name(segment, written, "."))
			continue;
		if (is_name(segment, written, "..")) {
			if (used == 0)
				return 400;
			while (used > 0 && out[--used] != '/')
				;
			continue;
		}
		if (!dots && segment[0] == '.' && !is_name(segment, written, ".well-known"))
			return 404;
		if (written + (used > 0) >= size - used)
			return 414;
		if (used > 0)
			out[used++] = '/';
		memcpy(out + used, segment, written);
		used += written;
		ends_in_folder = false;
	}
	out[used] = 0;
	*folder = ends_in_folder;
	return 0;
}

size_t path_escape(char *out, size_t size, const char *path, size_t length)
{
	static const char plain[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)path[i];

		if (byte != 0 && strchr(plain, byte) != NULL) {
			if (n + 1 >= size)
				return 0;
			out[n++] = (char)byte;
		} else {
			if (n + 3 >= size)
				return 0;
			out[n++] = '%';
			out[n++] = hex[byte >> 4];
			out[n++] = hex[byte & 15];
		}
	}
	out[n] = '\0';
	return n;
}
