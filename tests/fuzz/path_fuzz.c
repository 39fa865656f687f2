/*
 * Fuzzes paths: what resolves has no segment that a file system would climb or hide by, fits, and
 * resolves to itself when escaped again. corpus_test replays the corpus.
 *
 * Sources: worker/path.c worker/type.c
 */
#include "path.h"
#include "type.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_SIZE 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_path(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "path_fuzz: broken: %s\n", what);
		abort();
	}
}

/* Resolves into memory of exactly size bytes; the result is the caller's to free, NULL if refused.
 */
static char *resolve_exactly(
    const char *path, size_t length, size_t size, int *status, bool *folder)
{
	bool before = *folder;
	char *out = malloc(size ? size : 1);

	if (!out)
		abort();
	*status = path_resolve(path, length, out, size, folder);
	require_path(*status == 0 || *status == 400 || *status == 404 || *status == 414,
	    "a status that the header names");
	if (*status == 0)
		return out;
	require_path(*folder == before, "folder unchanged");
	free(out);
	return NULL;
}

static void check_segments(const char *out)
{
	for (const char *at = out; *at;) {
		size_t length = strcspn(at, "/");
		require_path(length > 0 && length <= 255, "the length of a segment");
		require_path(at[0] != '.' || (length == 11 && memcmp(at, ".well-known", 11) == 0),
		    "no segment that begins with a dot");
		for (size_t i = 0; i < length; i++)
			require_path((unsigned char)at[i] >= 0x20 && at[i] != 0x7f, "no control");
		at += length;
		if (*at == '/')
			require_path(*++at != 0, "no slash at the end");
	}
}

/* Every byte escaped but the slashes: what was decoded once must come out as it is. */
static void check_again(const char *out, bool folder)
{
	char escaped[3 * PATH_SIZE + 4], *again, *to = escaped;
	bool folder_again = false;
	int status;

	*to++ = '/';
	for (const char *at = out; *at; at++)
		to += sprintf(to, *at == '/' ? "/" : "%%%02X", (unsigned char)*at);
	if (folder)
		*to++ = '/';
	again = resolve_exactly(escaped, (size_t)(to - escaped), PATH_SIZE, &status, &folder_again);
	require_path(again && strcmp(again, out) == 0, "it resolves to itself");
	require_path(folder_again == folder, "a folder stays one");
	/* Straight to it, it needs its length and the NUL, and not a byte more. */
	free(again);
	again = resolve_exactly(
	    escaped, (size_t)(to - escaped), strlen(out) + 1, &status, &folder_again);
	require_path(again != NULL, "it fits in its own length");
	free(again);
	again =
	    resolve_exactly(escaped, (size_t)(to - escaped), strlen(out), &status, &folder_again);
	require_path(!again && status == 414, "and in no less");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *path = malloc(size + 1), *out, *small;
	bool folder = size & 1;
	int status, small_status;

	if (!path)
		abort();
	if (size)
		memcpy(path, data, size);
	path[size] = 0;
	type_of(NULL, path);
	path = realloc(path, size ? size : 1);
	if (!path)
		abort();

	out = resolve_exactly(path, size, PATH_SIZE, &status, &folder);
	if (out) {
		require_path(path[0] == '/', "a leading slash was there");
		require_path(memchr(out, 0, PATH_SIZE) != NULL, "an end");
		require_path(out[0] != '/', "it is relative");
		require_path(out[0] || folder, "the root is a folder");
		require_path(strlen(out) < size, "no longer than what was sent");
		check_segments(out);
		check_again(out, folder);
	}
	small = resolve_exactly(path, size, size % 17, &small_status, &folder);
	if (small)
		require_path(out && strcmp(small, out) == 0, "the same in less room");
	free(small);
	free(out);
	free(path);
	return 0;
}
