/*
 * Media types: every extension of our table, and files of types, good and bad.
 */
#include "type.h"
#include "unit.h"

#include <stdlib.h>

static const struct {
	const char *name, *type;
} types[] = {
    {"x.7z", "application/x-7z-compressed"},
    {"x.aac", "audio/aac"},
    {"x.apk", "application/vnd.android.package-archive"},
    {"x.apng", "image/apng"},
    {"x.atom", "application/atom+xml"},
    {"x.avi", "video/x-msvideo"},
    {"x.avif", "image/avif"},
    {"x.bin", "application/octet-stream"},
    {"x.bmp", "image/bmp"},
    {"x.bz2", "application/x-bzip2"},
    {"x.c", "text/plain"},
    {"x.conf", "text/plain"},
    {"x.css", "text/css"},
    {"x.csv", "text/csv"},
    {"x.deb", "application/vnd.debian.binary-package"},
    {"x.diff", "text/x-diff"},
    {"x.doc", "application/msword"},
    {"x.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"x.eot", "application/vnd.ms-fontobject"},
    {"x.epub", "application/epub+zip"},
    {"x.flac", "audio/flac"},
    {"x.gif", "image/gif"},
    {"x.gz", "application/gzip"},
    {"x.h", "text/plain"},
    {"x.heic", "image/heic"},
    {"x.htm", "text/html"},
    {"x.html", "text/html"},
    {"x.ico", "image/x-icon"},
    {"x.ics", "text/calendar"},
    {"x.iso", "application/x-iso9660-image"},
    {"x.jar", "application/java-archive"},
    {"x.jpeg", "image/jpeg"},
    {"x.jpg", "image/jpeg"},
    {"x.js", "text/javascript"},
    {"x.json", "application/json"},
    {"x.jsonld", "application/ld+json"},
    {"x.jxl", "image/jxl"},
    {"x.log", "text/plain"},
    {"x.m3u8", "application/vnd.apple.mpegurl"},
    {"x.m4a", "audio/mp4"},
    {"x.m4v", "video/mp4"},
    {"x.map", "application/json"},
    {"x.md", "text/markdown"},
    {"x.mid", "audio/midi"},
    {"x.mjs", "text/javascript"},
    {"x.mkv", "video/x-matroska"},
    {"x.mov", "video/quicktime"},
    {"x.mp3", "audio/mpeg"},
    {"x.mp4", "video/mp4"},
    {"x.mpeg", "video/mpeg"},
    {"x.mpg", "video/mpeg"},
    {"x.odp", "application/vnd.oasis.opendocument.presentation"},
    {"x.ods", "application/vnd.oasis.opendocument.spreadsheet"},
    {"x.odt", "application/vnd.oasis.opendocument.text"},
    {"x.ogg", "audio/ogg"},
    {"x.ogv", "video/ogg"},
    {"x.opus", "audio/ogg"},
    {"x.otf", "font/otf"},
    {"x.patch", "text/x-diff"},
    {"x.pdf", "application/pdf"},
    {"x.png", "image/png"},
    {"x.ppt", "application/vnd.ms-powerpoint"},
    {"x.pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    {"x.ps", "application/postscript"},
    {"x.rar", "application/vnd.rar"},
    {"x.rpm", "application/x-rpm"},
    {"x.rss", "application/rss+xml"},
    {"x.rtf", "application/rtf"},
    {"x.sh", "text/x-shellscript"},
    {"x.svg", "image/svg+xml"},
    {"x.tar", "application/x-tar"},
    {"x.tif", "image/tiff"},
    {"x.tiff", "image/tiff"},
    {"x.toml", "application/toml"},
    {"x.ts", "video/mp2t"},
    {"x.tsv", "text/tab-separated-values"},
    {"x.ttf", "font/ttf"},
    {"x.txt", "text/plain"},
    {"x.vtt", "text/vtt"},
    {"x.wasm", "application/wasm"},
    {"x.wav", "audio/wav"},
    {"x.weba", "audio/webm"},
    {"x.webm", "video/webm"},
    {"x.webmanifest", "application/manifest+json"},
    {"x.webp", "image/webp"},
    {"x.woff", "font/woff"},
    {"x.woff2", "font/woff2"},
    {"x.xhtml", "application/xhtml+xml"},
    {"x.xls", "application/vnd.ms-excel"},
    {"x.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {"x.xml", "text/xml"},
    {"x.xz", "application/x-xz"},
    {"x.yaml", "application/yaml"},
    {"x.yml", "application/yaml"},
    {"x.zip", "application/zip"},
    {"x.zst", "application/zstd"},
    {"INDEX.HTML", "text/html"},
    {"a/b.c/index.Html", "text/html"},
    {"a.tar.gz", "application/gzip"},
    {"", "application/octet-stream"},
    {"README", "application/octet-stream"},
    {"a.html/README", "application/octet-stream"},
    {"a.", "application/octet-stream"},
    {".", "application/octet-stream"},
    {"a.htmlx", "application/octet-stream"},
    {"a.htm ", "application/octet-stream"},
    {"a.webmanifests", "application/octet-stream"},
    {"a.\303\244", "application/octet-stream"},
    {"a.zzz", "application/octet-stream"},
    {"a.000", "application/octet-stream"},
};

static void test_known(void)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		const char *type = type_of(NULL, types[i].name);

		CHECK(strcmp(type, types[i].type) == 0, "%s is %s", types[i].name, type);
	}
	CHECK(type_is_text("text/plain") && !type_is_text("application/json"), "texts");
}

/* Text is parsed in memory that ends where it does. */
static struct types parsed(const char *text)
{
	struct types made;
	char *copy = malloc(strlen(text));

	if (copy == NULL)
		abort();
	memcpy(copy, text, strlen(text));
	CHECK(types_parse(&made, copy, strlen(text)) == 0, "parsed");
	return made;
}

static void is_type(const struct types *made, const char *name, const char *type)
{
	CHECK(strcmp(type_of(made, name), type) == 0, "%s is %s", name, type_of(made, name));
}

static void test_file(void)
{
	struct types made = parsed("# a comment\n\n"
				   "text/x-mine mine MINE2\n"
				   "application/x-none\n"
				   "\timage/x-a\tone  two # three\r\n"
				   "video/first twice\nvideo/second twice\n"
				   "no-type four\nbad/type/five five\nbad/ty<pe six\n"
				   "text/x-html html\n"
				   "text/injected;charset=x seven\n"
				   "x/y a.b c/d ..\n"
				   "text/last last\n");

	is_type(&made, "a.mine", "text/x-mine");
	is_type(&made, "a.Mine2", "text/x-mine");
	is_type(&made, "dir.one/a.TWO", "image/x-a");
	is_type(&made, "a.three", "application/octet-stream");
	is_type(&made, "a.twice", "video/second");
	is_type(&made, "a.four", "application/octet-stream");
	is_type(&made, "a.five", "application/octet-stream");
	is_type(&made, "a.six", "application/octet-stream");
	is_type(&made, "a.seven", "application/octet-stream");
	is_type(&made, "a.last", "text/last");
	is_type(&made, "a.png", "image/png");
	is_type(&made, "a.html", "text/html");
	made.first = true;
	is_type(&made, "a.html", "text/x-html");
	is_type(&made, "a.png", "image/png");
	types_free(&made);
	made = parsed("\n");
	is_type(&made, "a.png", "image/png");
	types_free(&made);
}

static void test_long(void)
{
	char text[600] = "text/";
	struct types made;

	memset(text + 5, 'x', 200);
	strcpy(text + 205, " long\ntext/y ");
	memset(text + 218, 'e', 100);
	strcpy(text + 318, " ok\n");
	made = parsed(text);
	is_type(&made, "a.long", "application/octet-stream");
	is_type(&made, "a.ok", "text/y");
	types_free(&made);
}

static void test_load(void)
{
	struct types made;

	CHECK(types_load(&made, "/nonexistent/types") == -1, "a file that is missing");
	CHECK(types_load(&made, "/dev/null") == -1, "no regular file");
	CHECK(types_load(&made, TYPES_FILE) == 0, "the usual file may be missing");
	types_free(&made);
}

int main(void)
{
	test_known();
	test_file();
	test_long();
	test_load();
	return unit_end();
}
