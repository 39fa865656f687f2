/*
 * Conditional requests (RFC 9110, 13): whether a GET or HEAD of a file that is there goes on. Pure.
 */
#ifndef LASTCALL_CONDITION_H
#define LASTCALL_CONDITION_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "request.h"

/* What tells one state of a file from another. */
struct validator {
	const char *tag; /* the entity tag with its quotes, and W/ where it is weak */
	size_t tag_length;
	time_t modified; /* what Last-Modified says */
};

enum condition {
	CONDITION_HOLDS = 0, /* answer it */
	CONDITION_NOT_MODIFIED = 304,
	CONDITION_FAILED = 412,
};

/*
 * The order is that of RFC 9110, 13.2.2: If-Match, else If-Unmodified-Since, then If-None-Match,
 * else If-Modified-Since. head is what request_parse has read; now tells the century of a date with
 * two digits.
 */
enum condition condition_judge(
    const struct request *request, const char *head, const struct validator *validator, time_t now);

/*
 * Whether If-Range lets a Range field count: there is none, or it names exactly this state. A weak
 * tag never does, and a date only where the tag is strong.
 */
bool condition_range(
    const struct request *request, const char *head, const struct validator *validator, time_t now);

/* Whether the list of a field has the tag, or is "*". strong: a weak tag never matches. */
bool condition_has_tag(
    const char *list, size_t length, const char *tag, size_t tag_length, bool strong);

#endif
