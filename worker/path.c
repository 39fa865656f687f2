/*
 * The path of a target becomes a path below a root, and a file's name its type. Nothing reaches out
 * that was not decoded and judged as a whole segment before; the segment is judged by its decoded
 * bytes, which are never decoded again.
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
		if (segment[0] == '.' && !is_name(segment, written, ".well-known"))
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

#define EXTENSION_MAX 11
#define TEXT(type) type "; charset=utf-8"

/* Sorted by extension, in lower case; path_test looks each of them up. */
static const struct {
	char extension[EXTENSION_MAX + 1];
	const char *type;
} types[] = {
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
    {"c", TEXT("text/plain")},
    {"conf", TEXT("text/plain")},
    {"css", TEXT("text/css")},
    {"csv", TEXT("text/csv")},
    {"deb", "application/vnd.debian.binary-package"},
    {"diff", TEXT("text/x-diff")},
    {"doc", "application/msword"},
    {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"eot", "application/vnd.ms-fontobject"},
    {"epub", "application/epub+zip"},
    {"flac", "audio/flac"},
    {"gif", "image/gif"},
    {"gz", "application/gzip"},
    {"h", TEXT("text/plain")},
    {"heic", "image/heic"},
    {"htm", TEXT("text/html")},
    {"html", TEXT("text/html")},
    {"ico", "image/x-icon"},
    {"ics", TEXT("text/calendar")},
    {"iso", "application/x-iso9660-image"},
    {"jar", "application/java-archive"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", TEXT("text/javascript")},
    {"json", "application/json"},
    {"jsonld", "application/ld+json"},
    {"jxl", "image/jxl"},
    {"log", TEXT("text/plain")},
    {"m3u8", "application/vnd.apple.mpegurl"},
    {"m4a", "audio/mp4"},
    {"m4v", "video/mp4"},
    {"map", "application/json"},
    {"md", TEXT("text/markdown")},
    {"mid", "audio/midi"},
    {"mjs", TEXT("text/javascript")},
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
    {"patch", TEXT("text/x-diff")},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"ppt", "application/vnd.ms-powerpoint"},
    {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    {"ps", "application/postscript"},
    {"rar", "application/vnd.rar"},
    {"rpm", "application/x-rpm"},
    {"rss", "application/rss+xml"},
    {"rtf", "application/rtf"},
    {"sh", TEXT("text/x-shellscript")},
    {"svg", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"toml", "application/toml"},
    {"ts", "video/mp2t"},
    {"tsv", TEXT("text/tab-separated-values")},
    {"ttf", "font/ttf"},
    {"txt", TEXT("text/plain")},
    {"vtt", TEXT("text/vtt")},
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
    {"xml", TEXT("text/xml")},
    {"xz", "application/x-xz"},
    {"yaml", "application/yaml"},
    {"yml", "application/yaml"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
};

const char *path_type(const char *name)
{
	const char *slash = strrchr(name, '/'), *dot = strrchr(slash ? slash : name, '.');
	size_t low = 0, high = sizeof(types) / sizeof(*types), length;
	char extension[EXTENSION_MAX + 1];

	if (!dot || strlen(dot + 1) > EXTENSION_MAX)
		return "application/octet-stream";
	length = strlen(dot + 1);
	for (size_t i = 0; i <= length; i++) {
		char byte = dot[1 + i];
		extension[i] = byte >= 'A' && byte <= 'Z' ? (char)(byte + ('a' - 'A')) : byte;
	}
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(extension, types[middle].extension);
		if (order == 0)
			return types[middle].type;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return "application/octet-stream";
}
