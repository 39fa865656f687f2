/*
 * HTTP response heads, written into a buffer. Nothing that a client sent ever gets into one, but
 * for a redirect's target, which is made of a resolved path and escaped.
 */
#ifndef LASTCALL_ANSWER_H
#define LASTCALL_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "buffer.h"

#define ANSWER_HEAD_MAX                                                                            \
	4096 /* room that a buffer must have for a head with an error page or a redirect */

/* What the end of every head depends on. */
struct answer_manner {
	const char *promise; /* the fields that keep the connection, with their line ends
				(answer_promise); NULL: it ends */
	size_t promise_length;
	bool head; /* the request was HEAD: fields as for GET, and no body */
};

/* Writes the fields that promise ms of keep-alive, in whole seconds, rounded down. Returns their
 * length. */
size_t answer_promise(char *out, size_t size, int64_t ms);

/* "404 Not Found" without the number for those that we send. */
const char *answer_reason(int status);

/* 200 with the fields of a file (file.h). The body is the caller's to send. */
void answer_file(struct buffer *out, const struct answer_manner *manner, const char *fields,
    size_t fields_length);

/* 304 for a file of that date. */
void answer_not_modified(struct buffer *out, const struct answer_manner *manner, time_t modified);

/*
 * A status with a small page of its own; 204, the answer to OPTIONS, with none, and the methods
 * that there are. Returns the length of the page's body, 0 for HEAD.
 */
size_t answer_status(struct buffer *out, const struct answer_manner *manner, int status);

/* What a load balancer asks for: 200 with "ok", or 503 with "stopping"; never to be cached. */
void answer_state(struct buffer *out, const struct answer_manner *manner, bool serves);

/*
 * 301 to a folder's path with its slash; path is relative, as path_resolve makes it. Returns the
 * status, which is 414 where the target has no room in a head, and the length of the page's body in
 * *bytes.
 */
int answer_redirect(struct buffer *out, const struct answer_manner *manner, const char *path,
    const char *query, size_t query_length, size_t *bytes);

#endif
