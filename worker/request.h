/*
 * The head of an HTTP/1.x request: bytes in, struct out. No descriptor, no allocation, resumable,
 * so that it can be tested and fuzzed alone. Strict where RFC 9112 lets a lenient reader be
 * smuggled past.
 *
 * A caller keeps the bytes from the first of the head in one place (they may move as a whole
 * between calls), calls request_parse each time there are more, and request_init for the next head.
 */
#ifndef LASTCALL_REQUEST_H
#define LASTCALL_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUEST_LINE_MAX 8190 /* bytes of the request line without its CRLF, 414 above it */
#define REQUEST_FIELDS_MAX 100 /* header fields, 431 above it */
/* A head longer than the caller's buffer is the caller's 431 (414 while in_line is true). */

/* A piece of the head: offset and length from its first byte. length 0: absent. */
struct slice {
	uint32_t at;
	uint32_t length;
};

enum request_method {
	METHOD_OTHER, /* a valid token that is no method of ours; the method_text slice has it */
	METHOD_GET,
	METHOD_HEAD,
	METHOD_POST,
	METHOD_PUT,
	METHOD_DELETE,
	METHOD_OPTIONS,
	METHOD_TRACE,
	METHOD_CONNECT,
	METHOD_PATCH,
};

/*
 * Fields of which only that they came is noted. Whoever wants their values asks
 * request_field, which reads the lines of the head again.
 */
enum request_noted {
	NOTED_RANGE = 1,
	NOTED_IF_RANGE = 2,
	NOTED_IF_MATCH = 4,
	NOTED_IF_NONE_MATCH = 8, /* If-Modified-Since is void then (RFC 9110, 13.1.3) */
	NOTED_IF_UNMODIFIED_SINCE = 16,
	NOTED_ACCEPT_ENCODING = 32,
	NOTED_AUTHORIZATION = 64,
};

enum request_result {
	REQUEST_MORE, /* the head is not complete; every byte there was has been read */
	REQUEST_DONE, /* complete: head_length is set and every field is valid */
	REQUEST_BAD, /* refused: status is set; answer it and close the connection */
};

struct request {
	/* The reader's own: where it stands. */
	uint32_t position;
	uint8_t state;
	uint8_t seen;
	uint16_t fields;
	uint32_t mark, name_at, name_length;

	/* What it read. Valid after REQUEST_DONE, but for status and in_line. */
	uint16_t status; /* REQUEST_BAD: 400, 414, 431, 501, 505 */
	bool in_line; /* the request line is not complete yet */
	uint8_t minor; /* 0 or 1, of HTTP/1.x (a higher minor version reads as 1) */
	enum request_method method;
	struct slice line; /* the request line without its line end; set once in_line is false */
	struct slice method_text;
	struct slice target; /* as sent: origin-form, absolute-form, "*" or (CONNECT) host:port */
	/*
	 * Of the target, without query. It begins with '/' always, but for "*" and for CONNECT,
	 * where it is absent. For "http://host", which has none, it is the second '/' of its own
	 * "://": the path is "/" then (RFC 9110, 4.2.3), and a slice needs a byte to point at.
	 */
	struct slice path;
	struct slice query; /* without '?', may be absent */
	struct slice host; /* the field (may be empty), or the target's authority, which wins */
	bool keep_alive; /* what the version and Connection say; close wins */
	bool chunked; /* Transfer-Encoding is exactly "chunked" */
	bool has_length; /* Content-Length came */
	uint64_t content_length; /* at most INT64_MAX, so that it fits an off_t */
	bool expects_continue; /* never for HTTP/1.0 (RFC 9110, 10.1.1) */
	uint16_t noted; /* enum request_noted, or'd */
	struct slice if_modified_since; /* of these three the last one counts, if one comes twice */
	struct slice referer;
	struct slice user_agent;
	uint32_t head_length; /* bytes of the whole head with its empty line (and leading CRLFs) */
};

void request_init(struct request *request);

/*
 * Reads on. bytes is the head from its first byte, length how much of it is there by now (what was
 * there at the last call is still the same). Never reads past length; reads no byte a second time
 * after REQUEST_MORE, so a client that sends byte by byte costs linear work. After REQUEST_DONE
 * or REQUEST_BAD it returns the same again until request_init. The result does not depend on how
 * the head was cut into calls; a head is refused at the first byte that makes it wrong, or at the
 * end of the line where a whole line does.
 *
 * Refused with 400:
 *   a CR without LF and an LF without CR; more than two empty lines before the request line
 *   a byte below 0x21 or above 0x7e, or '#', in the target; a target that is none of the forms:
 *     absolute-form is http: or https: only; "*" for OPTIONS only; host:port for CONNECT, always
 *   a malformed version, and none at all (the simple request of HTTP/0.9)
 *   obs-fold; space before the colon; an empty or non-token name; control characters but HT in a
 *     value
 *   Content-Length that is not digits alone, is over INT64_MAX, or comes twice (also if identical)
 *   Transfer-Encoding with Content-Length, in HTTP/1.0, malformed, or "chunked" more than once
 *   Host missing in HTTP/1.1, doubled, or not a host[:port] (empty is valid: RFC 9110, 7.2)
 * 501: a transfer coding other than "chunked". 505: HTTP/0.9, HTTP/2 and above, or another
 * protocol's version ("RTSP/1.0").
 * 414: request line over REQUEST_LINE_MAX. 431: more than REQUEST_FIELDS_MAX fields.
 */
enum request_result request_parse(struct request *request, const char *bytes, size_t length);

/*
 * Goes over the fields of one name in a head that was read (REQUEST_DONE): *at is 0 for the first
 * and is moved on. name is in lower case, without the colon. Returns whether there is one more,
 * with its value, without the space around it, in *value.
 */
bool request_field(const struct request *request, const char *bytes, const char *name, uint32_t *at,
    struct slice *value);

#endif
