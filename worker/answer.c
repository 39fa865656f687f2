/* Response heads; see answer.h. */
#include "answer.h"

#include <stdio.h>
#include <string.h>

#include "date.h"

#define STATUS(number, reason)                                                                     \
	{                                                                                          \
		number, reason, "HTTP/1.1 " #number " " reason "\r\n",                             \
		    sizeof("HTTP/1.1 " #number " " reason "\r\n") - 1                              \
	}

/* The frequent ones first. */
static const struct status {
	int status;
	const char *reason, *line;
	size_t length;
} statuses[] = {
    STATUS(200, "OK"), STATUS(304, "Not Modified"), STATUS(206, "Partial Content"),
    STATUS(404, "Not Found"), STATUS(204, "No Content"), STATUS(301, "Moved Permanently"),
    STATUS(302, "Found"), STATUS(307, "Temporary Redirect"), STATUS(308, "Permanent Redirect"),
    STATUS(400, "Bad Request"), STATUS(401, "Unauthorized"), STATUS(403, "Forbidden"),
    STATUS(405, "Method Not Allowed"), STATUS(408, "Request Timeout"),
    STATUS(412, "Precondition Failed"), STATUS(413, "Content Too Large"),
    STATUS(414, "URI Too Long"), STATUS(416, "Range Not Satisfiable"),
    STATUS(417, "Expectation Failed"), STATUS(431, "Request Header Fields Too Large"),
    STATUS(501, "Not Implemented"), STATUS(503, "Service Unavailable"),
    STATUS(505, "HTTP Version Not Supported"),
    STATUS(500, "Internal Server Error"), /* the last: what is none of these */
};

static const struct status *find_status(int status)
{
	const struct status *at = statuses,
			    *last = statuses + sizeof statuses / sizeof *statuses - 1;

	while (at < last && at->status != status)
		at++;
	return at;
}

const char *answer_reason(int status)
{
	return find_status(status)->reason;
}

/* What fits is added; ANSWER_HEAD_MAX makes sure that it does. */
#define ADD(out, literal) buffer_add(out, literal, sizeof(literal) - 1)

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
	buffer_add(out, field, sizeof field - 1);
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
		buffer_add(out, manner->promise, manner->promise_length);
	else
		ADD(out, "Connection: close\r\n");
	ADD(out, "\r\n");
}

void answer_head(struct buffer *out, const struct answer_manner *manner, int status,
    const char *fields, size_t length)
{
	const struct status *row = find_status(status);

	buffer_add(out, row->line, row->length);
	add_common(out);
	buffer_add(out, fields, length);
	if (manner->fields_length > 0)
		buffer_add(out, manner->fields, manner->fields_length);
	add_end(out, manner);
}

const char *answer_fields(int status)
{
	if (status == 405)
		return "Allow: GET, HEAD, OPTIONS\r\n";
	return status == 503 ? "Retry-After: 1\r\n" : NULL;
}

/* The page that goes with a status, and its head with more fields. */
static size_t add_page(struct buffer *out, const struct answer_manner *manner, int status,
    const char *fields, size_t fields_length)
{
	const struct status *row = find_status(status);
	char page[512], about[ANSWER_TARGET_MAX + 160];
	int length = snprintf(page, sizeof page,
	    "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">"
	    "<meta name=\"viewport\" content=\"width=device-width\"><title>%d %s</title>\n"
	    "<body style=\"font:16px/1.5 system-ui,sans-serif;margin:15vh "
	    "auto;max-width:30em;padding:0 1em\">\n"
	    "<h1>%d %s</h1>\n</body></html>\n",
	    row->status, row->reason, row->status, row->reason);
	int n = snprintf(about, sizeof about,
	    "Content-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n%.*s", length,
	    (int)fields_length, fields);

	answer_head(out, manner, status, about, (size_t)n < sizeof about ? (size_t)n : 0);
	if (manner->head)
		return 0;
	buffer_add(out, page, (size_t)length);
	return (size_t)length;
}

size_t answer_status(
    struct buffer *out, const struct answer_manner *manner, int status, const char *fields)
{
	if (fields == NULL)
		fields = answer_fields(status);
	if (fields == NULL)
		fields = "";
	return add_page(out, manner, status, fields, strlen(fields));
}

void answer_state(struct buffer *out, const struct answer_manner *manner, bool serves)
{
	static const char ok[] = "Content-Type: text/plain; charset=utf-8\r\n"
				 "Cache-Control: no-store\r\nContent-Length: 3\r\n";
	static const char stopping[] = "Content-Type: text/plain; charset=utf-8\r\n"
				       "Cache-Control: no-store\r\nContent-Length: 9\r\n";

	if (serves)
		answer_head(out, manner, 200, ok, sizeof ok - 1);
	else
		answer_head(out, manner, 503, stopping, sizeof stopping - 1);
	if (!manner->head && serves)
		ADD(out, "ok\n");
	else if (!manner->head)
		ADD(out, "stopping\n");
}

size_t answer_redirect(struct buffer *out, const struct answer_manner *manner, int status,
    const char *target, size_t length)
{
	char field[ANSWER_TARGET_MAX + 32];
	int n = snprintf(field, sizeof field, "Location: %.*s\r\n", (int)length, target);

	return add_page(out, manner, status, field, (size_t)n);
}
