/*
 * Fuzzes what fields of a request say: the input is the lines of fields behind a request line. What
 * the head parser lets through is read by everybody who reads fields. corpus_test replays the
 * corpus.
 *
 * Sources: worker/request.c worker/range.c worker/coding.c worker/condition.c
 * Sources: worker/credentials.c worker/hosts.c worker/date.c
 */
#include "coding.h"
#include "condition.h"
#include "credentials.h"
#include "hosts.h"
#include "range.h"
#include "request.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE "GET / HTTP/1.1\r\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_field(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "fields_fuzz: broken: %s\n", what);
		abort();
	}
}

/* The parts lie in the file, hold something, are as many as there may be, and no two touch. */
static void check_ranges(const char *text, size_t length, uint64_t size)
{
	struct range ranges[RANGES_MAX];
	int count = range_parse(text, length, size, ranges);

	require_field(count >= RANGE_NOT_SATISFIABLE && count <= RANGES_MAX, "a count of parts");
	for (int i = 0; i < count; i++) {
		uint64_t end = ranges[i].first + ranges[i].length;

		require_field(ranges[i].length > 0 && end > ranges[i].first && end <= size,
		    "a part in the file");
		for (int k = 0; k < i; k++)
			require_field(ranges[k].first > end ||
				ranges[i].first > ranges[k].first + ranges[k].length,
			    "parts apart");
	}
}

static void check_codings(const char *text, size_t length)
{
	struct coding_wishes wishes;
	enum coding order[CODING_NONE];
	int count, seen = 0;

	coding_init(&wishes);
	coding_read(&wishes, text, length);
	count = coding_order(&wishes, order);
	require_field(count >= 0 && count <= CODINGS, "a count of codings");
	for (int i = 0; i < count; i++) {
		require_field(order[i] < CODING_NONE && !(seen & 1 << order[i]), "each once");
		seen |= 1 << order[i];
	}
}

static void check_credentials(const char *text, size_t length)
{
	struct credentials credentials;

	if (!credentials_read(&credentials, text, length))
		return;
	require_field(credentials.length <= CREDENTIALS_MAX, "their length");
	require_field(
	    strlen(credentials.text) + 1 + strlen(credentials.password) == credentials.length,
	    "a name and a password and nothing else");
}

static void check_host(const char *text, size_t length)
{
	static char names[][16] = {"*.a.b", "a.b", "[::1]", "x"};
	struct host_row rows[4];
	const char *found;

	for (size_t i = 0; i < 4; i++)
		rows[i] = (struct host_row){names[i], names[i]};
	hosts_sort(rows, 4);
	found = host_find(rows, 4, text, length);
	require_field(found == NULL || found[0] != '*' || length >= 4, "a star stands for a name");
}

static void check_value(const char *text, size_t length)
{
	check_ranges(text, length, 0);
	check_ranges(text, length, 100);
	check_ranges(text, length, UINT64_MAX);
	check_codings(text, length);
	check_credentials(text, length);
	check_host(text, length);
	require_field(!condition_has_tag(text, length, "\"a\"", 3, true) ||
		condition_has_tag(text, length, "\"a\"", 3, false),
	    "what is the same strongly is so weakly");
}

/* Each field that was noted is found again, and its value, in memory of its own, is read by all. */
static void check_fields(const struct request *request, const char *head)
{
	static const struct {
		const char *name;
		unsigned noted;
	} names[] = {{"range", NOTED_RANGE}, {"if-range", NOTED_IF_RANGE},
	    {"if-match", NOTED_IF_MATCH}, {"if-none-match", NOTED_IF_NONE_MATCH},
	    {"if-unmodified-since", NOTED_IF_UNMODIFIED_SINCE},
	    {"accept-encoding", NOTED_ACCEPT_ENCODING}, {"authorization", NOTED_AUTHORIZATION},
	    {"host", 0}};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		uint32_t at = 0, count = 0;
		struct slice value;

		while (request_field(request, head, names[i].name, &at, &value)) {
			char *exact = malloc(value.length ? value.length : 1);

			if (!exact)
				abort();
			require_field(
			    value.at + value.length + 4 <= request->head_length, "in the head");
			memcpy(exact, head + value.at, value.length);
			check_value(exact, value.length);
			free(exact);
			count++;
		}
		if (names[i].noted)
			require_field((count > 0) == ((request->noted & names[i].noted) != 0),
			    "noted and found are one");
		else
			require_field(count == 1, "one host");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct validator validator = {"\"a\"", 3, 784111777};
	size_t length = sizeof(LINE) - 1 + size;
	char *head = malloc(length);
	struct request request;

	if (!head)
		abort();
	memcpy(head, LINE, sizeof(LINE) - 1);
	if (size)
		memcpy(head + sizeof(LINE) - 1, data, size);
	request_init(&request);
	if (request_parse(&request, head, length) == REQUEST_DONE) {
		int judged = condition_judge(&request, head, &validator, 1000000000);

		require_field(judged == CONDITION_HOLDS || judged == CONDITION_NOT_MODIFIED ||
			judged == CONDITION_FAILED,
		    "a verdict");
		condition_range(&request, head, &validator, 1000000000);
		check_fields(&request, head);
	}
	free(head);
	return 0;
}
