/*
 * The listing of a folder, as a page: folders first, then files, by name. Whatever the folder has
 * in it, the page is bounded in memory and in time, and names are text in it and never markup.
 *
 * It is made only where there is no index and `listing` is on. To read a folder allocates (DIR of
 * opendir(3)); nothing else on the way of a request does.
 */
#ifndef LASTCALL_LISTING_H
#define LASTCALL_LISTING_H

#include <stdbool.h>
#include <stddef.h>

#define LISTING_ENTRIES_MAX 10000
#define LISTING_NAMES_MAX ((size_t)1 << 20) /* bytes of all names */
#define LISTING_PAGE_MAX ((size_t)2 << 20) /* bytes of a page */

/* Where a page is made. One for each service and worker, mapped, and touched when first used. */
struct listing;

struct listing *listing_new(void); /* NULL with errno ENOMEM */
void listing_free(struct listing *listing); /* NULL is allowed */

/*
 * Makes the page of an open folder, and closes it. path is the path that it was asked for by, as
 * path_resolve makes it; with dots names that begin with a dot are shown. Returns the page, valid
 * until the next call, with its length, or NULL with errno. What does not fit is left out, and the
 * page says so.
 */
const char *listing_make(
    struct listing *listing, int folder, const char *path, bool dots, size_t *length);

/*
 * Appends text as HTML: markup is escaped, and what is not UTF-8 becomes U+FFFD. Returns the new
 * length, or 0 if it does not fit.
 */
size_t listing_escape(char *out, size_t size, size_t used, const char *text);

#endif
