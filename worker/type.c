/* Media types; see type.h. */
#include "type.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNKNOWN "application/octet-stream"
#define FILE_MAX ((off_t)1 << 20)
#define EXTENSION_MAX 11 /* of our table */

/* Sorted by extension, in lower case; type_test looks each of them up. */
static const struct {
	char extension[EXTENSION_MAX + 1];
	const char *type;
} known[] = {
    {"7z", "application/x-7z-compressed"},
    {"aac", "audio/aac"},
    {"apk", "application/vnd.android.package-archive"},
    {"apng", "image/apng"},
    {"atom", "application/atom+xml"},
    {"avi", "video/x-msvideo"},
    {"avif", "image/avif"},
    {"bin", "application/octet-stream"},
    {"bmp", "image/bmp"},
    {"bz2", "application/x-bzip2"},
    {"c", "text/plain"},
    {"conf", "text/plain"},
    {"css", "text/css"},
    {"csv", "text/csv"},
    {"deb", "application/vnd.debian.binary-package"},
    {"diff", "text/x-diff"},
    {"doc", "application/msword"},
    {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"eot", "application/vnd.ms-fontobject"},
    {"epub", "application/epub+zip"},
    {"flac", "audio/flac"},
    {"gif", "image/gif"},
    {"gz", "application/gzip"},
    {"h", "text/plain"},
    {"heic", "image/heic"},
    {"htm", "text/html"},
    {"html", "text/html"},
    {"ico", "image/x-icon"},
    {"ics", "text/calendar"},
    {"iso", "application/x-iso9660-image"},
    {"jar", "application/java-archive"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript"},
    {"json", "application/json"},
    {"jsonld", "application/ld+json"},
    {"jxl", "image/jxl"},
    {"log", "text/plain"},
    {"m3u8", "application/vnd.apple.mpegurl"},
    {"m4a", "audio/mp4"},
    {"m4v", "video/mp4"},
    {"map", "application/json"},
    {"md", "text/markdown"},
    {"mid", "audio/midi"},
    {"mjs", "text/javascript"},
    {"mkv", "video/x-matroska"},
    {"mov", "video/quicktime"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"mpeg", "video/mpeg"},
    {"mpg", "video/mpeg"},
    {"odp", "application/vnd.oasis.opendocument.presentation"},
    {"ods", "application/vnd.oasis.opendocument.spreadsheet"},
    {"odt", "application/vnd.oasis.opendocument.text"},
    {"ogg", "audio/ogg"},
    {"ogv", "video/ogg"},
    {"opus", "audio/ogg"},
    {"otf", "font/otf"},
    {"patch", "text/x-diff"},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"ppt", "application/vnd.ms-powerpoint"},
    {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    {"ps", "application/postscript"},
    {"rar", "application/vnd.rar"},
    {"rpm", "application/x-rpm"},
    {"rss", "application/rss+xml"},
    {"rtf", "application/rtf"},
    {"sh", "text/x-shellscript"},
    {"svg", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"toml", "application/toml"},
    {"ts", "video/mp2t"},
    {"tsv", "text/tab-separated-values"},
    {"ttf", "font/ttf"},
    {"txt", "text/plain"},
    {"vtt", "text/vtt"},
    {"wasm", "application/wasm"},
    {"wav", "audio/wav"},
    {"weba", "audio/webm"},
    {"webm", "video/webm"},
    {"webmanifest", "application/manifest+json"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xhtml", "application/xhtml+xml"},
    {"xls", "application/vnd.ms-excel"},
    {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {"xml", "text/xml"},
    {"xz", "application/x-xz"},
    {"yaml", "application/yaml"},
    {"yml", "application/yaml"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
};

static const char *find_known(const char *extension)
{
	size_t low = 0, high = sizeof(known) / sizeof(*known);

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(extension, known[middle].extension);

		if (order == 0)
			return known[middle].type;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const struct type_row *left = a, *right = b;
	int order = strcmp(left->extension, right->extension);

	/* Of the same extension the one that comes last in the text is to be the first. */
	if (order == 0)
		order = left->extension > right->extension ? -1 : 1;
	return order;
}

static const char *find_loaded(const struct types *types, const char *extension)
{
	size_t low = 0, high = types != NULL ? types->count : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(extension, types->rows[middle].extension);

		if (order == 0)
			return types->rows[middle].type;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

const char *type_of(const struct types *types, const char *name)
{
	const char *slash = strrchr(name, '/'), *dot = strrchr(slash ? slash : name, '.');
	char extension[TYPE_EXTENSION_MAX + 1];
	const char *type = NULL;
	size_t length = dot != NULL ? strlen(dot + 1) : 0;

	if (dot == NULL || length > TYPE_EXTENSION_MAX)
		return UNKNOWN;
	for (size_t i = 0; i <= length; i++) {
		char byte = dot[1 + i];
		extension[i] = byte >= 'A' && byte <= 'Z' ? (char)(byte + ('a' - 'A')) : byte;
	}
	if (types != NULL && types->first)
		type = find_loaded(types, extension);
	if (type == NULL && length <= EXTENSION_MAX)
		type = find_known(extension);
	if (type == NULL)
		type = find_loaded(types, extension);
	return type != NULL ? type : UNKNOWN;
}

bool type_is_text(const char *type)
{
	return strncmp(type, "text/", 5) == 0;
}

/* ---- a file of types ---- */

/* "type/subtype" of the characters that names of types have (RFC 6838, 4.2). */
static bool is_type(const char *word)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789!#$&-^_.+";
	size_t first = strspn(word, allowed), second;

	if (first == 0 || word[first] != '/')
		return false;
	second = strspn(word + first + 1, allowed);
	return second > 0 && word[first + 1 + second] == '\0' && first + second < TYPE_MAX;
}

/* Makes it lower case. Returns whether it can be an extension. */
static bool is_extension(char *word)
{
	size_t length = strlen(word);

	if (length == 0 || length > TYPE_EXTENSION_MAX || strpbrk(word, "./") != NULL)
		return false;
	for (; *word != '\0'; word++) {
		if (*word >= 'A' && *word <= 'Z')
			*word = (char)(*word + ('a' - 'A'));
	}
	return true;
}

/* The next word of the line at *at, ended by a NUL, or NULL. */
static char *next_word(char **at)
{
	char *word = *at + strspn(*at, " \t\r\v\f");
	size_t length = strcspn(word, " \t\r\v\f");

	if (length == 0)
		return NULL;
	*at = word + length + (word[length] != '\0');
	word[length] = '\0';
	return word;
}

static int add_row(struct types *types, size_t *room, const char *extension, const char *type)
{
	if (types->count == *room) {
		size_t more = *room > 0 ? *room * 2 : 256;
		struct type_row *rows = realloc(types->rows, more * sizeof *rows);

		if (rows == NULL)
			return -1;
		types->rows = rows;
		*room = more;
	}
	types->rows[types->count++] = (struct type_row){extension, type};
	return 0;
}

static int parse_line(struct types *types, size_t *room, char *line)
{
	const char *type;
	char *word;

	line[strcspn(line, "#")] = '\0';
	type = next_word(&line);
	if (type == NULL || !is_type(type))
		return 0;
	while ((word = next_word(&line)) != NULL) {
		if (is_extension(word) && add_row(types, room, word, type) == -1)
			return -1;
	}
	return 0;
}

static void drop_doubles(struct types *types)
{
	size_t kept = 0;

	for (size_t i = 0; i < types->count; i++) {
		if (kept == 0 ||
		    strcmp(types->rows[kept - 1].extension, types->rows[i].extension) != 0)
			types->rows[kept++] = types->rows[i];
	}
	types->count = kept;
}

int types_parse(struct types *types, char *text, size_t length)
{
	size_t room = 0;

	*types = (struct types){.text = NULL};
	for (size_t at = 0; at < length;) {
		const char *end = memchr(text + at, '\n', length - at);
		size_t stop = end != NULL ? (size_t)(end - text) : length - 1;

		text[stop] = '\0';
		if (parse_line(types, &room, text + at) == -1) {
			free(types->rows);
			types->rows = NULL;
			types->count = 0;
			return -1;
		}
		at = stop + 1;
	}
	if (types->count > 0)
		qsort(types->rows, types->count, sizeof *types->rows, compare);
	drop_doubles(types);
	types->text = text;
	return 0;
}

static char *read_whole(int fd, size_t *length)
{
	struct stat info;
	char *text;
	ssize_t got;

	if (fstat(fd, &info) == -1)
		return NULL;
	if (!S_ISREG(info.st_mode) || info.st_size > FILE_MAX) {
		errno = S_ISREG(info.st_mode) ? EFBIG : EINVAL;
		return NULL;
	}
	text = malloc((size_t)info.st_size + 1);
	if (text == NULL)
		return NULL;
	got = read(fd, text, (size_t)info.st_size);
	if (got == -1) {
		free(text);
		return NULL;
	}
	text[got] = '\n';
	*length = (size_t)got + 1;
	return text;
}

int types_load(struct types *types, const char *path)
{
	bool usual = strcmp(path, TYPES_FILE) == 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text;
	size_t length = 0;

	*types = (struct types){.text = NULL};
	if (fd == -1)
		return usual && errno == ENOENT ? 0 : -1;
	text = read_whole(fd, &length);
	close(fd);
	if (text == NULL)
		return -1;
	if (types_parse(types, text, length) == -1) {
		free(text);
		return -1;
	}
	types->first = !usual;
	return 0;
}

void types_free(struct types *types)
{
	free(types->text);
	free(types->rows);
	*types = (struct types){.text = NULL};
}

struct types *types_take(struct types *types)
{
	types->users++;
	return types;
}

void types_give(struct types *types)
{
	if (--types->users > 0)
		return;
	types_free(types);
	free(types);
}
