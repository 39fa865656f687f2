/* Ranges; see range.h. */
#include "range.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct reader {
	const char *at, *end;
};

static void skip_space(struct reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
		r->at++;
}

/* A number that is too large for 64 bits is as good as the largest: it is beyond every file. */
static bool read_number(struct reader *r, uint64_t *number)
{
	const char *begin = r->at;

	*number = 0;
	for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
		uint64_t digit = (uint64_t)(*r->at - '0');

		*number = *number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *number * 10 + digit;
	}
	return r->at > begin;
}

static bool read_dash(struct reader *r)
{
	if (r->at == r->end || *r->at != '-')
		return false;
	r->at++;
	return true;
}

/*
 * Reads "first-last", "first-" or "-suffix". Returns false if it is none of these; a part that is
 * beyond the end has length 0.
 */
static bool read_part(struct reader *r, uint64_t size, struct range *part)
{
	uint64_t first, last;
	bool has_first = read_number(r, &first), has_last;

	if (!read_dash(r))
		return false;
	has_last = read_number(r, &last);
	if (!has_first && !has_last)
		return false;
	if (!has_first) {
		part->length = last < size ? last : size;
		part->first = size - part->length;
		return true;
	}
	if (has_last && last < first)
		return false;
	if (!has_last || last >= size)
		last = size - 1;
	*part = (struct range){first, first < size ? last - first + 1 : 0};
	return true;
}

static bool touches(const struct range *a, const struct range *b)
{
	return a->first <= b->first + b->length && b->first <= a->first + a->length;
}

/* Adds a part. Those that it touches become one with it, in the place of the first of them. */
static size_t add_part(struct range *ranges, size_t count, struct range part)
{
	size_t place = count, kept = 0;

	for (bool grew = true; grew;) {
		grew = false;
		for (size_t i = 0; i < count; i++) {
			uint64_t end, other;

			if (ranges[i].length == 0 || !touches(&ranges[i], &part))
				continue;
			end = part.first + part.length;
			other = ranges[i].first + ranges[i].length;
			if (ranges[i].first < part.first)
				part.first = ranges[i].first;
			part.length = (end > other ? end : other) - part.first;
			ranges[i].length = 0;
			if (i < place)
				place = i;
			grew = true;
		}
	}
	ranges[place] = part;
	if (place == count)
		count++;
	for (size_t i = 0; i < count; i++) {
		if (ranges[i].length > 0)
			ranges[kept++] = ranges[i];
	}
	return kept;
}

int range_parse(const char *text, size_t length, uint64_t size, struct range ranges[RANGES_MAX])
{
	struct reader r = {text, text + length};
	size_t count = 0, asked = 0;

	if (length < 6 || strncasecmp(text, "bytes=", 6) != 0 || size == 0)
		return RANGE_IGNORED;
	r.at += 6;
	for (;;) {
		struct range part;

		/* A list may have empty elements (RFC 9110, 5.6.1.2). */
		skip_space(&r);
		if (r.at < r.end && *r.at == ',') {
			r.at++;
			continue;
		}
		if (r.at == r.end)
			break;
		if (asked++ == RANGES_MAX || !read_part(&r, size, &part))
			return RANGE_IGNORED;
		skip_space(&r);
		if (r.at < r.end && *r.at++ != ',')
			return RANGE_IGNORED;
		if (part.length > 0)
			count = add_part(ranges, count, part);
	}
	if (asked == 0)
		return RANGE_IGNORED;
	return count > 0 ? (int)count : RANGE_NOT_SATISFIABLE;
}
