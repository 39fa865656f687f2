/*
 * HTTP response heads, written into a buffer. Nothing that a client sent ever gets into one, but
 * for a redirect's target, which is made of a resolved path, escaped, and a query of visible ASCII.
 */
#ifndef LASTCALL_ANSWER_H
#define LASTCALL_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "buffer.h"

/* Room that a buffer must have for a head with an error page or a redirect, without the fields of
 * the service. */
#define ANSWER_HEAD_MAX 4096
#define ANSWER_TARGET_MAX 2900 /* bytes of a redirect's target */

/* What the end of every head depends on. */
struct answer_manner {
	const char *promise; /* the fields that keep the connection, with their line ends
				(answer_promise); NULL: it ends */
	size_t promise_length;
	const char *fields; /* those of the service, each with its line end; may be NULL */
	size_t fields_length;
	bool head; /* the request was HEAD: fields as for GET, and no body */
};

/* Writes the fields that promise ms of keep-alive, in whole seconds, rounded down. Returns their
 * length. */
size_t answer_promise(char *out, size_t size, int64_t ms);

/* "404 Not Found" without the number for those that we send. */
const char *answer_reason(int status);

/* A head with these fields, each with its line end, and the empty line. The body is the caller's to
 * send. */
void answer_head(struct buffer *out, const struct answer_manner *manner, int status,
    const char *fields, size_t length);

/*
 * A status with a small page of its own; fields (each with its line end; NULL: none) are of its
 * head too. Returns the length of the page's body, 0 for HEAD.
 */
size_t answer_status(
    struct buffer *out, const struct answer_manner *manner, int status, const char *fields);

/* What a load balancer asks for: 200 with "ok", or 503 with "stopping"; never to be cached. */
void answer_state(struct buffer *out, const struct answer_manner *manner, bool serves);

/* A redirect to target, an escaped path or URL of at most ANSWER_TARGET_MAX bytes. Returns as
 * answer_status. */
size_t answer_redirect(struct buffer *out, const struct answer_manner *manner, int status,
    const char *target, size_t length);

/* The fields that a status never comes without, or NULL: Allow of 405, Retry-After of 503. */
const char *answer_fields(int status);

#endif
