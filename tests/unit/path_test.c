/*
 * Paths: a table of what each becomes or is refused with, and random ones against realpath() in a
 * tree of the test's own: what resolves is what realpath says, and below the root.
 */
#include "path.h"
#include "unit.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A255 A64 A64 A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *path;
	int status;
	const char *expected; /* NULL where it is refused */
	bool folder;
} paths[] = {
    {"/", 0, "", true},
    {"/a", 0, "a", false},
    {"/a/", 0, "a", true},
    {"/a/b.html", 0, "a/b.html", false},
    {"/a/%62/../c", 0, "a/c", false},
    {"//", 0, "", true},
    {"//a///b", 0, "a/b", false},
    {"/a//", 0, "a", true},
    {"/.", 0, "", true},
    {"/./", 0, "", true},
    {"/./a", 0, "a", false},
    {"/a/.", 0, "a", true},
    {"/a/./b", 0, "a/b", false},
    {"/a/..", 0, "", true},
    {"/a/../", 0, "", true},
    {"/a/b/..", 0, "a", true},
    {"/a/b/../..", 0, "", true},
    {"/a/b/../../c", 0, "c", false},
    {"/a//../b", 0, "b", false},
    {"/a/%2e%2e/b", 0, "b", false},
    {"/a/.%2E/b", 0, "b", false},
    {"/a/%2e/b", 0, "a/b", false},
    {"/a..b", 0, "a..b", false},
    {"/a..", 0, "a..", false},
    {"/%41%7a", 0, "Az", false},
    {"/a%20b", 0, "a b", false},
    {"/%c3%a4", 0, "\303\244", false},
    {"/\303\244", 0, "\303\244", false},
    {"/%25", 0, "%", false},
    {"/%252e%252e/a", 0, "%2e%2e/a", false},
    {"/%252f", 0, "%2f", false},
    {"/%5c..%5ca", 0, "\\..\\a", false},
    {"/a?b", 0, "a?b", false},
    {"/a;b=c", 0, "a;b=c", false},
    {"/a+b", 0, "a+b", false},
    {"/.well-known/acme", 0, ".well-known/acme", false},
    {"/a/%2ewell-known/", 0, "a/.well-known", true},
    {"/" A255, 0, A255, false},
    {"/" A255 "/" A255 "/b", 0, A255 "/" A255 "/b", false},

    {"", 400, NULL, false},
    {"a", 400, NULL, false},
    {"%2fa", 400, NULL, false},
    {"../a", 400, NULL, false},
    {"/..", 400, NULL, false},
    {"/../a", 400, NULL, false},
    {"/%2e%2e/a", 400, NULL, false},
    {"/./..", 400, NULL, false},
    {"//..", 400, NULL, false},
    {"/a/../..", 400, NULL, false},
    {"/a/b/../../../c", 400, NULL, false},
    {"/a/../%2e%2e/%2e%2e/etc/passwd", 400, NULL, false},
    {"/.%%32%65/a", 400, NULL, false},
    {"/%", 400, NULL, false},
    {"/%4", 400, NULL, false},
    {"/%4/a", 400, NULL, false},
    {"/%zz", 400, NULL, false},
    {"/%4g", 400, NULL, false},
    {"/%-1", 400, NULL, false},
    {"/% 1", 400, NULL, false},
    {"/%u0041", 400, NULL, false},
    {"/%00", 400, NULL, false},
    {"/a%00.html", 400, NULL, false},
    {"/a%0d%0ab", 400, NULL, false},
    {"/%1f", 400, NULL, false},
    {"/%7f", 400, NULL, false},
    {"/a\tb", 400, NULL, false},
    {"/a/%2e%2e%00", 400, NULL, false},

    {"/a%2fb", 404, NULL, false},
    {"/a%2F..%2fb", 404, NULL, false},
    {"/..%2f..%2fetc", 404, NULL, false},
    {"/%2f", 404, NULL, false},
    {"/.git/config", 404, NULL, false},
    {"/%2egit", 404, NULL, false},
    {"/a/.htaccess", 404, NULL, false},
    {"/...", 404, NULL, false},
    {"/..a", 404, NULL, false},
    {"/.well-known2", 404, NULL, false},
    {"/.well-know", 404, NULL, false},
    {"/.Well-Known", 404, NULL, false},
    {"/.git/../a", 404, NULL, false},

    {"/" A255 "a", 414, NULL, false},
    {"/a/" A255 "%61", 414, NULL, false},
    {"/" A255 "a/../b", 414, NULL, false},
};

/* Resolves into memory of exactly size bytes, from exactly the path's, for a sanitizer to watch. */
static int resolve(const char *path, char *out, size_t size, bool *folder)
{
	size_t length = strlen(path);
	char *text = malloc(length ? length : 1), *exact = malloc(size ? size : 1);
	int status;

	if (!text || !exact)
		abort();
	memcpy(text, path, length);
	status = path_resolve(text, length, exact, size, folder);
	if (status == 0)
		memcpy(out, exact, strlen(exact) + 1);
	free(text);
	free(exact);
	return status;
}

static void test_table(void)
{
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		char out[PATH_MAX] = "untouched";
		bool folder = !paths[i].folder;
		int status = resolve(paths[i].path, out, sizeof(out), &folder);

		CHECK(status == paths[i].status, "%s: %d, not %d", paths[i].path, status,
		    paths[i].status);
		if (paths[i].expected && status == 0) {
			CHECK(strcmp(out, paths[i].expected) == 0, "%s: %s", paths[i].path, out);
			CHECK(folder == paths[i].folder, "%s: folder %d", paths[i].path, folder);
		}
		if (!paths[i].expected)
			CHECK(!folder == paths[i].folder, "%s: folder changed", paths[i].path);
	}
}

/* A NUL that is sent raw cannot stand in the table. */
static void test_raw_nul(void)
{
	char out[64];
	bool folder;
	CHECK(path_resolve("/a\0b", 4, out, sizeof(out), &folder) == 400, "a NUL went through");
	CHECK(path_resolve("/a\0b", 2, out, sizeof(out), &folder) == 0, "read past the length");
}

/* The result fits with its NUL, or 414; never a byte past size. */
static void test_size(void)
{
	static const struct {
		const char *path;
		size_t needs;
	} sizes[] = {
	    {"/", 1},
	    {"/../", 0},
	    {"/a", 2},
	    {"/abc/", 4},
	    {"/abc/./..", 4},
	    {"/abc/d", 6},
	    {"/abcd/../e", 5},
	};
	char out[64];
	bool folder;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		for (size_t size = 0; size < 16; size++) {
			int expected = size < sizes[i].needs || size == 0 ? 414 : 0;
			int status = resolve(sizes[i].path, out, size, &folder);
			if (sizes[i].needs == 0 && size > 0)
				expected = 400;
			CHECK(status == expected, "%s in %zu: %d", sizes[i].path, size, status);
		}
	}
}

static unsigned long long random_state = 0x9e3779b97f4a7c15;

static unsigned random_below(unsigned limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state >> 33) % limit;
}

/*
 * A path of segments that mostly exist, some of their bytes escaped, and the same decoded (empty
 * where a part has no decoded form that a file could have).
 */
static void random_path(char *path, char *decoded)
{
	static const char *const segments[] = {
	    "a", "b", "c", "d e", "%", "f.html", "..", ".", "", "\303\274", "no", "..", "a", "b"};
	unsigned count = random_below(8);

	*path = *decoded = 0;
	for (unsigned i = 0; i <= count; i++) {
		const char *segment = segments[random_below(sizeof(segments) / sizeof(*segments))];
		path += sprintf(path, "/");
		decoded += sprintf(decoded, "/%s", segment);
		for (; *segment; segment++) {
			if (*segment == '%' || random_below(4) == 0)
				path += sprintf(path, "%%%02x", (unsigned char)*segment);
			else
				path += sprintf(path, "%c", *segment);
		}
	}
}

/*
 * realpath walks what is on disk, path_resolve does not look: "no/.." is a folder for one and
 * missing for the other. So: where both say where it is, they say the same; what realpath finds
 * below the root without leaving it on the way, path_resolve resolves.
 */
static void check_against_realpath(const char *root, unsigned *compared)
{
	char path[512], decoded[512], out[PATH_MAX], full[2 * PATH_MAX + 8];
	char real[PATH_MAX], again[PATH_MAX];
	size_t length = strlen(root);
	bool folder;
	int status;

	random_path(path, decoded);
	status = path_resolve(path, strlen(path), out, sizeof(out), &folder);
	if (status != 0) {
		CHECK(status == 400, "%s: %d", path, status); /* these segments can only climb */
		return;
	}
	snprintf(full, sizeof(full), "%s%s", root, decoded);
	if (!realpath(full, real))
		return;
	(*compared)++;
	CHECK(strncmp(real, root, length) == 0 && (real[length] == '/' || real[length] == 0),
	    "%s leaves the root: %s", path, real);
	snprintf(full, sizeof(full), "%s%s%s", root, *out ? "/" : "", out);
	CHECK(strcmp(full, real) == 0, "%s is %s, realpath says %s", path, full, real);
	CHECK(realpath(full, again) && strcmp(again, real) == 0, "%s", full);
}

static const char *const tree[] = {"a", "a/a", "a/b", "a/b/c", "a/\303\274", "b", "b/a", "b/%",
    "b/%/a", "b/d e", "b/d e/b", "c", "c/a", "c/b", "c/a/b"};
#define TREE (sizeof(tree) / sizeof(*tree))

static void test_realpath(void)
{
	const char *folder = getenv("TMPDIR");
	char made[PATH_MAX - 64], root[PATH_MAX], name[PATH_MAX + 64];
	unsigned compared = 0;
	FILE *file;

	snprintf(made, sizeof(made), "%s/path_test.XXXXXX", folder ? folder : "/tmp");
	if (!mkdtemp(made) || !realpath(made, root)) {
		CHECK(false, "no temporary folder: %s", strerror(errno));
		return;
	}
	for (size_t i = 0; i < TREE; i++) {
		snprintf(name, sizeof(name), "%s/%s", root, tree[i]);
		CHECK(mkdir(name, 0700) == 0, "%s: %s", name, strerror(errno));
	}
	snprintf(name, sizeof(name), "%s/a/f.html", root);
	file = fopen(name, "w");
	CHECK(file && fclose(file) == 0, "%s", name);

	for (int i = 0; i < 100000; i++)
		check_against_realpath(root, &compared);
	CHECK(compared > 10000, "only %u paths were there to compare", compared);

	unlink(name);
	for (size_t i = TREE; i-- > 0;) {
		snprintf(name, sizeof(name), "%s/%s", root, tree[i]);
		rmdir(name);
	}
	CHECK(rmdir(root) == 0, "%s: %s", root, strerror(errno));
}

int main(void)
{
	test_table();
	test_raw_nul();
	test_size();
	test_realpath();
	return unit_end();
}
