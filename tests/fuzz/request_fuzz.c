/*
 * Fuzzes the head parser: whatever comes, slices lie within the head, what was promised of each
 * holds, and the same bytes cut anywhere give the same result. corpus_test replays the corpus.
 *
 * Sources: worker/request.c worker/octet.c
 */
#include "request.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_head(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "request_fuzz: broken: %s\n", what);
		abort();
	}
}

/* Parses the first `there` bytes from memory that ends with them, so that reading on is seen. */
static enum request_result parse_exactly(struct request *request, const uint8_t *data, size_t there)
{
	char *bytes = malloc(there ? there : 1);
	enum request_result result;

	if (!bytes)
		abort();
	if (there)
		memcpy(bytes, data, there);
	result = request_parse(request, bytes, there);
	if (result == REQUEST_MORE)
		require_head(request->position == there, "every byte was read");
	free(bytes);
	return result;
}

static void check_slice(const struct request *request, struct slice slice)
{
	if (slice.length == 0)
		return;
	require_head(slice.at < request->head_length, "a slice begins within the head");
	require_head(slice.length <= request->head_length - slice.at, "a slice ends within it");
}

static void check_refused(const struct request *request)
{
	static const uint16_t statuses[] = {400, 414, 431, 501, 505};
	bool known = false;

	for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
		known = known || request->status == statuses[i];
	require_head(known, "a status that the header names");
	require_head(request->status != 414 || request->in_line, "414 in the line only");
}

static void check_done(const struct request *request, const char *bytes, size_t size)
{
	const struct slice slices[] = {request->line, request->method_text, request->target,
	    request->path, request->query, request->host, request->if_modified_since,
	    request->referer, request->user_agent};
	struct slice target = request->target, path = request->path;

	for (size_t i = 0; i < sizeof(slices) / sizeof(*slices); i++)
		check_slice(request, slices[i]);
	require_head(request->status == 0 && !request->in_line, "no status");
	require_head(request->head_length <= size, "no longer than what came");
	require_head(memcmp(bytes + request->head_length - 4, "\r\n\r\n", 4) == 0, "an empty line");
	require_head(request->line.length <= REQUEST_LINE_MAX, "a line within its limit");
	require_head(request->fields <= REQUEST_FIELDS_MAX, "fields within their limit");
	require_head(request->method_text.length > 0 && target.length > 0, "method and target");
	require_head(!memchr(bytes, 0, request->head_length), "no NUL");
	if (path.length == 0)
		require_head(
		    request->method == METHOD_CONNECT || bytes[target.at] == '*', "a path");
	else
		require_head(bytes[path.at] == '/', "a path from the root");
	require_head(path.length == 0 || path.at >= target.at, "the path is of the target");
	require_head(!request->chunked || !request->has_length, "one way to tell the end");
	require_head(!request->chunked || request->minor == 1, "no coding in HTTP/1.0");
	require_head(request->content_length <= INT64_MAX, "a length that fits");
	require_head(request->minor <= 1, "a minor version");
}

static bool same_slice(struct slice one, struct slice other)
{
	return one.at == other.at && one.length == other.length;
}

/* All that a caller may look at; after a refusal that is the status and whether it was in the line.
 */
static bool same_outcome(
    enum request_result result, const struct request *one, const struct request *other)
{
	if (one->in_line != other->in_line || one->status != other->status)
		return false;
	if (result != REQUEST_DONE)
		return true;
	return one->minor == other->minor && one->method == other->method &&
	    same_slice(one->line, other->line) &&
	    same_slice(one->method_text, other->method_text) &&
	    same_slice(one->target, other->target) && same_slice(one->path, other->path) &&
	    same_slice(one->query, other->query) && same_slice(one->host, other->host) &&
	    one->keep_alive == other->keep_alive && one->chunked == other->chunked &&
	    one->has_length == other->has_length && one->content_length == other->content_length &&
	    one->expects_continue == other->expects_continue &&
	    same_slice(one->if_modified_since, other->if_modified_since) &&
	    same_slice(one->referer, other->referer) &&
	    same_slice(one->user_agent, other->user_agent) &&
	    one->head_length == other->head_length;
}

/* Feeds the bytes in steps: of one, or of lengths that the bytes themselves choose. */
static void check_in_pieces(const uint8_t *data, size_t size, const struct request *whole,
    enum request_result expected, bool single)
{
	struct request request;
	enum request_result result;
	size_t there = 0;

	request_init(&request);
	for (;;) {
		/* Exact copies of every length would be most of the work. */
		result = single ? request_parse(&request, (const char *)data, there)
				: parse_exactly(&request, data, there);
		if (there == size)
			break;
		there += single ? 1 : 1 + (data[there] * 7u + there) % 61;
		if (there > size)
			there = size;
	}
	require_head(result == expected, "the same result in pieces");
	require_head(same_outcome(result, &request, whole), "the same outcome in pieces");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct request request;
	enum request_result result;

	request_init(&request);
	result = parse_exactly(&request, data, size);
	if (result == REQUEST_BAD)
		check_refused(&request);
	if (result == REQUEST_DONE)
		check_done(&request, (const char *)data, size);
	check_in_pieces(data, size, &request, result, false);
	if (size <= 512)
		check_in_pieces(data, size, &request, result, true);
	return 0;
}
