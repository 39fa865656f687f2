/*
 * From the path of a target to a path below a root. Decoded once, then judged; the order matters
 * (CVE-2021-41773). Pure: no descriptor, no file system.
 */
#ifndef LASTCALL_PATH_H
#define LASTCALL_PATH_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Turns `path` ("/a/%62/../c") into a relative one without leading slash ("a/c"; "" is the root),
 * NUL-terminated, in out. *folder tells whether it named a folder (ended in a slash or in a dot
 * segment).
 *
 * The path is split at '/' first; each segment is decoded once; then judged: "." and "" vanish,
 * ".." drops a segment. Returns 0, or the HTTP status to answer (out is undefined then, *folder
 * unchanged):
 *   400  a malformed escape, an escaped NUL or any byte below 0x20 or 0x7f after decoding, climbing
 *        above the root, no leading slash
 *   404  an escaped slash (no file's name has one), a segment that begins with '.' other than
 *        ".well-known"
 *   414  the result does not fit in size at any point on the way, or a segment is over 255 bytes
 * Of several faults the first in the path decides.
 */
int path_resolve(const char *path, size_t length, char *out, size_t size, bool *folder);

/* The same; with dots also names that begin with a dot are let through. */
int path_resolve_with(
    const char *path, size_t length, char *out, size_t size, bool *folder, bool dots);

/*
 * Escapes a resolved path for a URL: all but unreserved characters and slashes becomes %XX. Returns
 * the length without the NUL, or 0 where it does not fit (out is then undefined) or is empty.
 */
size_t path_escape(char *out, size_t size, const char *path, size_t length);

#endif
