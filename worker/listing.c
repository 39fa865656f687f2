/* Listings; see listing.h. */
#include "listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "descriptor.h"
#include "path.h"

#define ENTRY_MAX 4096 /* bytes of one line of the page, whatever its name is */
#define TAIL_MAX 256 /* bytes that end the page */

struct entry {
	const char *name; /* in names */
	bool folder, plain; /* plain: a regular file, of which size says how large it is */
	int64_t size;
	time_t modified;
};

struct listing {
	struct entry entries[LISTING_ENTRIES_MAX];
	char names[LISTING_NAMES_MAX];
	char page[LISTING_PAGE_MAX];
	size_t count, names_used, page_used;
	bool cut; /* something was left out */
};

struct listing *listing_new(void)
{
	void *memory = mmap(NULL, sizeof(struct listing), PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

void listing_free(struct listing *listing)
{
	if (listing != NULL)
		munmap(listing, sizeof *listing);
}

/* ---- text ---- */

/* The length of the UTF-8 character at text, or 0: it is none (RFC 3629; no surrogates). */
static size_t character_length(const unsigned char *text)
{
	size_t more;
	uint32_t code, least;

	if (text[0] < 0x80)
		return 1;
	if (text[0] >= 0xc2 && text[0] <= 0xdf) {
		more = 1, least = 0x80, code = text[0] & 0x1f;
	} else if ((text[0] & 0xf0) == 0xe0) {
		more = 2, least = 0x800, code = text[0] & 0x0f;
	} else if (text[0] >= 0xf0 && text[0] <= 0xf4) {
		more = 3, least = 0x10000, code = text[0] & 0x07;
	} else {
		return 0;
	}
	for (size_t i = 1; i <= more; i++) {
		if ((text[i] & 0xc0) != 0x80) /* the NUL at the end, too */
			return 0;
		code = code << 6 | (text[i] & 0x3f);
	}
	if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return more + 1;
}

/* What a character is in a page: itself, or a reference. */
static const char *reference_of(const char *text, size_t *length)
{
	static const struct {
		char byte;
		const char *reference;
	} references[] = {
	    {'<', "&lt;"}, {'>', "&gt;"}, {'&', "&amp;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
	*length = character_length((const unsigned char *)text);

	if (*length == 0 || (unsigned char)*text < 0x20 || *text == 0x7f) {
		*length = 1;
		return "\xef\xbf\xbd";
	}
	for (size_t i = 0; i < sizeof references / sizeof *references; i++) {
		if (*text == references[i].byte)
			return references[i].reference;
	}
	return NULL;
}

size_t listing_escape(char *out, size_t size, size_t used, const char *text)
{
	while (*text != '\0') {
		size_t length, put;
		const char *reference = reference_of(text, &length);

		put = reference != NULL ? strlen(reference) : length;
		if (put >= size - used)
			return 0;
		memcpy(out + used, reference != NULL ? reference : text, put);
		used += put;
		text += length;
	}
	out[used] = '\0';
	return used;
}

static void add(struct listing *l, const char *text)
{
	size_t length = strlen(text);

	if (length < sizeof l->page - l->page_used) {
		memcpy(l->page + l->page_used, text, length);
		l->page_used += length;
	}
}

static void add_escaped(struct listing *l, const char *text)
{
	size_t used = listing_escape(l->page, sizeof l->page, l->page_used, text);

	if (used > 0)
		l->page_used = used;
}

/* ---- the folder ---- */

static int compare(const void *a, const void *b)
{
	const struct entry *left = a, *right = b;
	int order;

	if (left->folder != right->folder)
		return left->folder ? -1 : 1;
	order = strcasecmp(left->name, right->name);
	return order != 0 ? order : strcmp(left->name, right->name);
}

/* Whether a request could name it, and may. */
static bool is_shown(const char *name, bool dots)
{
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	if (name[0] == '.' && !dots && strcmp(name, ".well-known") != 0)
		return false;
	for (; *name != '\0'; name++) {
		if ((unsigned char)*name < 0x20 || *name == 0x7f)
			return false;
	}
	return true;
}

/* Adds what is there. A link is shown by its name alone: where it leads is judged when it is asked
 * for. */
static bool add_entry(struct listing *l, int folder, const char *name)
{
	size_t length = strlen(name) + 1;
	struct stat info;

	if (l->count == LISTING_ENTRIES_MAX || length > sizeof l->names - l->names_used)
		return false;
	if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == -1)
		return true; /* gone meanwhile */
	memcpy(l->names + l->names_used, name, length);
	l->entries[l->count++] = (struct entry){
	    .name = l->names + l->names_used,
	    .folder = S_ISDIR(info.st_mode),
	    .plain = S_ISREG(info.st_mode),
	    .size = info.st_size,
	    .modified = info.st_mtime,
	};
	l->names_used += length;
	return true;
}

static int read_folder(struct listing *l, int folder, bool dots)
{
	DIR *stream = fdopendir(folder);
	struct dirent *entry;
	size_t seen = 0;

	if (stream == NULL) {
		fd_close(&folder);
		return -1;
	}
	/* Names that are not shown cost time too. */
	while ((entry = readdir(stream)) != NULL) {
		if (++seen > 2 * LISTING_ENTRIES_MAX) {
			l->cut = true;
			break;
		}
		if (is_shown(entry->d_name, dots) && !add_entry(l, dirfd(stream), entry->d_name)) {
			l->cut = true;
			break;
		}
	}
	closedir(stream);
	qsort(l->entries, l->count, sizeof *l->entries, compare);
	return 0;
}

/* ---- the page ---- */

/* "1.5 MiB", three digits at most before the unit. */
static void size_text(int64_t size, char *out, size_t room)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)size;
	size_t unit = 0;

	for (; value >= 1000 && unit < 6; unit++)
		value /= 1024;
	snprintf(out, room, value < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

static void add_row(struct listing *l, const struct entry *entry)
{
	char href[3 * NAME_MAX + 2], size[32] = "", when[32] = "";
	struct tm moment;

	if (path_escape(href, sizeof href, entry->name, strlen(entry->name)) == 0)
		return;
	if (entry->plain)
		size_text(entry->size, size, sizeof size);
	if (gmtime_r(&entry->modified, &moment) != NULL)
		strftime(when, sizeof when, "%Y-%m-%d %H:%M", &moment);
	/* With "./" a name with a colon is not taken for a scheme. */
	add(l, "<tr><td><a href=\"./");
	add(l, href);
	add(l, entry->folder ? "/\">" : "\">");
	add_escaped(l, entry->name);
	add(l, entry->folder ? "/</a><td>" : "</a><td>");
	add(l, size);
	add(l, "<td>");
	add(l, when);
	add(l, "\n");
}

static void add_top(struct listing *l, const char *path)
{
	add(l,
	    "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">"
	    "<meta name=\"viewport\" content=\"width=device-width\"><title>/");
	add_escaped(l, path);
	add(l,
	    "</title>\n<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:1em "
	    "auto;padding:0 1em}table{width:100%;border-collapse:collapse}td{padding:.3em "
	    ".5em .3em 0;border-top:1px solid #8883;vertical-align:top}"
	    "td:first-child{overflow-wrap:anywhere}td:nth-child(n+2){white-space:nowrap;"
	    "text-align:right;font-variant-numeric:tabular-nums}"
	    "@media(max-width:40em){td:nth-child(3){display:none}}"
	    "@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}a{color:#8bf}}"
	    "</style>\n<h1>/");
	add_escaped(l, path);
	add(l,
	    path[0] != '\0' ? "/</h1>\n<table>\n<tr><td><a href=\"../\">../</a><td><td>\n"
			    : "</h1>\n<table>\n");
}

const char *listing_make(
    struct listing *listing, int folder, const char *path, bool dots, size_t *length)
{
	listing->count = listing->names_used = listing->page_used = 0;
	listing->cut = false;
	if (read_folder(listing, folder, dots) == -1)
		return NULL;
	add_top(listing, path);
	for (size_t i = 0; i < listing->count; i++) {
		if (sizeof listing->page - listing->page_used < ENTRY_MAX + TAIL_MAX) {
			listing->cut = true;
			break;
		}
		add_row(listing, &listing->entries[i]);
	}
	add(listing, "</table>\n");
	if (listing->cut)
		add(listing, "<p>There is more in this folder than this page can show.</p>\n");
	add(listing, "</html>\n");
	*length = listing->page_used;
	return listing->page;
}
