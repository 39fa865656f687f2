/* Response heads; see answer.h. */
#include "answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "date.h"

static const struct {
	int status;
	const char *reason;
} reasons[] = {
    {200, "OK"},
    {204, "No Content"},
    {301, "Moved Permanently"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {431, "Request Header Fields Too Large"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

const char *answer_reason(int status)
{
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
		if (reasons[i].status == status)
			return reasons[i].reason;
	}
	return "Internal Server Error";
}

/* What fits is added; ANSWER_HEAD_MAX makes sure that it does. */
static void add(struct buffer *out, const char *bytes, size_t length)
{
	if (length > buffer_room(out))
		length = buffer_room(out);
	memcpy(out->bytes + out->end, bytes, length);
	out->end += (uint32_t)length;
}

#define ADD(out, literal) add(out, literal, sizeof(literal) - 1)

static void add_format(struct buffer *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add_format(struct buffer *out, const char *format, ...)
{
	char text[512];
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	add(out, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
}

/* The Date field; written anew once a second. The two statics are a cache of the clock, no state.
 */
static void add_date(struct buffer *out)
{
	static time_t of;
	static char field[] = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
	time_t now = time(NULL);

	if (now != of) {
		date_format(now, field + 6);
		of = now;
	}
	add(out, field, sizeof field - 1);
}

static void add_common(struct buffer *out)
{
	ADD(out, "Server: lastcall\r\n");
	add_date(out);
}

size_t answer_promise(char *out, size_t size, int64_t ms)
{
	int n = snprintf(out, size, "Connection: keep-alive\r\nKeep-Alive: timeout=%lld\r\n",
	    (long long)(ms / 1000));

	return n < (int)size ? (size_t)n : 0;
}

static void add_end(struct buffer *out, const struct answer_manner *manner)
{
	if (manner->promise != NULL)
		add(out, manner->promise, manner->promise_length);
	else
		ADD(out, "Connection: close\r\n");
	ADD(out, "\r\n");
}

void answer_file(struct buffer *out, const struct answer_manner *manner, const char *fields,
    size_t fields_length)
{
	ADD(out, "HTTP/1.1 200 OK\r\n");
	add_common(out);
	add(out, fields, fields_length);
	add_end(out, manner);
}

void answer_not_modified(struct buffer *out, const struct answer_manner *manner, time_t modified)
{
	time_t now = time(NULL);
	char date[DATE_LENGTH];

	date_format(modified < now ? modified : now, date);
	ADD(out, "HTTP/1.1 304 Not Modified\r\n");
	add_common(out);
	add_format(out, "Last-Modified: %.*s\r\n", DATE_LENGTH, date);
	add_end(out, manner);
}

/* The page that goes with a status, and its head with extra fields (each with its line end). */
static size_t add_page(struct buffer *out, const struct answer_manner *manner, int status,
    const char *extra, size_t extra_length)
{
	const char *reason = answer_reason(status);
	char page[512];
	int length = snprintf(page, sizeof page,
	    "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">"
	    "<meta name=\"viewport\" content=\"width=device-width\"><title>%d %s</title>\n"
	    "<body style=\"font:16px/1.5 system-ui,sans-serif;margin:15vh "
	    "auto;max-width:30em;padding:0 1em\">\n"
	    "<h1>%d %s</h1>\n</body></html>\n",
	    status, reason, status, reason);

	add_format(out, "HTTP/1.1 %d %s\r\n", status, reason);
	add_common(out);
	add_format(out, "Content-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n", length);
	add(out, extra, extra_length);
	add_end(out, manner);
	if (manner->head)
		return 0;
	add(out, page, (size_t)length);
	return (size_t)length;
}

size_t answer_status(struct buffer *out, const struct answer_manner *manner, int status)
{
	static const char allow[] = "Allow: GET, HEAD, OPTIONS\r\n", retry[] = "Retry-After: 1\r\n";

	if (status == 204) {
		ADD(out, "HTTP/1.1 204 No Content\r\n");
		add_common(out);
		ADD(out, allow);
		add_end(out, manner);
		return 0;
	}
	if (status == 405)
		return add_page(out, manner, status, allow, sizeof allow - 1);
	if (status == 503)
		return add_page(out, manner, status, retry, sizeof retry - 1);
	return add_page(out, manner, status, "", 0);
}

void answer_state(struct buffer *out, const struct answer_manner *manner, bool serves)
{
	int status = serves ? 200 : 503;
	const char *text = serves ? "ok\n" : "stopping\n";

	add_format(out, "HTTP/1.1 %d %s\r\n", status, answer_reason(status));
	add_common(out);
	add_format(out,
	    "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"
	    "Content-Length: %zu\r\n",
	    strlen(text));
	add_end(out, manner);
	if (!manner->head)
		add(out, text, strlen(text));
}

int answer_redirect(struct buffer *out, const struct answer_manner *manner, const char *path,
    const char *query, size_t query_length, size_t *bytes)
{
	static const char plain[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
	char field[ANSWER_HEAD_MAX - 1024];
	size_t n = (size_t)snprintf(field, sizeof field, "Location: /"), last = sizeof field - 4;

	for (; *path != '\0' && n + 3 < last; path++) {
		if (strchr(plain, *path) != NULL)
			field[n++] = *path;
		else
			n += (size_t)snprintf(field + n, 4, "%%%02X", (unsigned char)*path);
	}
	/* A target that does not fit cannot be redirected to. */
	if (*path != '\0' || n + query_length + 2 >= last) {
		*bytes = answer_status(out, manner, 414);
		return 414;
	}
	field[n++] = '/';
	if (query_length > 0) {
		field[n++] = '?';
		/* The parser let through only visible ASCII. */
		memcpy(field + n, query, query_length);
		n += query_length;
	}
	memcpy(field + n, "\r\n", 2);
	*bytes = add_page(out, manner, 301, field, n + 2);
	return 301;
}
