/* Conditional requests; see condition.h. */
#include "condition.h"

#include <string.h>

#include "date.h"

static bool is_weak(const char *tag, size_t length)
{
	return length > 2 && tag[0] == 'W' && tag[1] == '/';
}

/* The length of the entity tag at the start of text, or 0: it is none. */
static size_t tag_at(const char *text, size_t length)
{
	size_t at = is_weak(text, length) ? 2 : 0;

	if (at == length || text[at] != '"')
		return 0;
	for (at++; at < length && text[at] != '"'; at++) {
		unsigned char byte = (unsigned char)text[at];

		if (byte <= 0x20 || byte == 0x7f)
			return 0;
	}
	return at < length ? at + 1 : 0;
}

static bool same_tag(const char *a, size_t a_length, const char *b, size_t b_length, bool strong)
{
	bool weak = is_weak(a, a_length) || is_weak(b, b_length);

	if (strong && weak)
		return false;
	if (is_weak(a, a_length)) {
		a += 2;
		a_length -= 2;
	}
	if (is_weak(b, b_length)) {
		b += 2;
		b_length -= 2;
	}
	return a_length == b_length && memcmp(a, b, a_length) == 0;
}

bool condition_has_tag(
    const char *list, size_t length, const char *tag, size_t tag_length, bool strong)
{
	if (length == 1 && list[0] == '*')
		return true;
	while (length > 0) {
		size_t one = tag_at(list, length);

		if (one > 0 && same_tag(list, one, tag, tag_length, strong))
			return true;
		if (one == 0)
			one = 1; /* a comma, a space, or what is no tag */
		list += one;
		length -= one;
	}
	return false;
}

/* The same for all fields of that name. */
static bool any_has_tag(const struct request *request, const char *head, const char *name,
    const struct validator *validator, bool strong)
{
	struct slice value;

	for (uint32_t at = 0; request_field(request, head, name, &at, &value);) {
		if (condition_has_tag(head + value.at, value.length, validator->tag,
			validator->tag_length, strong))
			return true;
	}
	return false;
}

/* The date of the first field of that name; false: it is none, and the field does not count. */
static bool get_date(
    const struct request *request, const char *head, const char *name, time_t now, time_t *when)
{
	struct slice value;
	uint32_t at = 0;

	return request_field(request, head, name, &at, &value) &&
	    date_parse(head + value.at, value.length, now, when) == 0;
}

enum condition condition_judge(
    const struct request *request, const char *head, const struct validator *validator, time_t now)
{
	time_t since;

	if (request->noted & NOTED_IF_MATCH) {
		if (!any_has_tag(request, head, "if-match", validator, true))
			return CONDITION_FAILED;
	} else if (request->noted & NOTED_IF_UNMODIFIED_SINCE) {
		if (get_date(request, head, "if-unmodified-since", now, &since) &&
		    validator->modified > since)
			return CONDITION_FAILED;
	}
	if (request->noted & NOTED_IF_NONE_MATCH) {
		if (any_has_tag(request, head, "if-none-match", validator, false))
			return CONDITION_NOT_MODIFIED;
	} else if (request->if_modified_since.length > 0) {
		if (date_parse(head + request->if_modified_since.at,
			request->if_modified_since.length, now, &since) == 0 &&
		    validator->modified <= since)
			return CONDITION_NOT_MODIFIED;
	}
	return CONDITION_HOLDS;
}

bool condition_range(
    const struct request *request, const char *head, const struct validator *validator, time_t now)
{
	struct slice value;
	uint32_t at = 0;
	time_t when;

	if (!(request->noted & NOTED_IF_RANGE))
		return true;
	if (is_weak(validator->tag, validator->tag_length) ||
	    !request_field(request, head, "if-range", &at, &value))
		return false;
	if (tag_at(head + value.at, value.length) == value.length && value.length > 0)
		return same_tag(
		    head + value.at, value.length, validator->tag, validator->tag_length, true);
	return date_parse(head + value.at, value.length, now, &when) == 0 &&
	    when == validator->modified;
}
