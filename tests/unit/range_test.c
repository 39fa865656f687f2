/*
 * Ranges: a table of fields for a file of 100 bytes, and random ones against a map of bytes.
 */
#include "range.h"
#include "unit.h"

#include <stdlib.h>

static const struct {
	const char *field;
	int count;
	struct range ranges[4];
} fields[] = {
    {"bytes=0-0", 1, {{0, 1}}},
    {"bytes=0-99", 1, {{0, 100}}},
    {"bytes=0-", 1, {{0, 100}}},
    {"bytes=10-19", 1, {{10, 10}}},
    {"bytes=99-", 1, {{99, 1}}},
    {"bytes=90-1000", 1, {{90, 10}}},
    {"bytes=0-18446744073709551615", 1, {{0, 100}}},
    {"bytes=0-99999999999999999999999999", 1, {{0, 100}}},
    {"bytes=-1", 1, {{99, 1}}},
    {"bytes=-100", 1, {{0, 100}}},
    {"bytes=-99999999999999999999999999", 1, {{0, 100}}},
    {"BYTES=1-2", 1, {{1, 2}}},
    {"bytes= 1-2 ", 1, {{1, 2}}},
    {"bytes=,1-2,,", 1, {{1, 2}}},
    {"bytes=0-0,2-2", 2, {{0, 1}, {2, 1}}},
    {"bytes=50-59 , 0-9\t,-5", 3, {{50, 10}, {0, 10}, {95, 5}}},
    {"bytes=0-9,5-14", 1, {{0, 15}}},
    {"bytes=0-9,10-19", 1, {{0, 20}}},
    {"bytes=50-59,0-9,5-55", 1, {{0, 60}}},
    {"bytes=50-59,20-29,0-9,5-21", 2, {{50, 10}, {0, 30}}},
    {"bytes=0-0,0-0,0-0", 1, {{0, 1}}},
    {"bytes=0-0,200-300", 1, {{0, 1}}},
    {"bytes=0-0,2-2,4-4,6-6", 4, {{0, 1}, {2, 1}, {4, 1}, {6, 1}}},

    {"bytes=100-", RANGE_NOT_SATISFIABLE, {{0, 0}}},
    {"bytes=100-200", RANGE_NOT_SATISFIABLE, {{0, 0}}},
    {"bytes=99999999999999999999-", RANGE_NOT_SATISFIABLE, {{0, 0}}},
    {"bytes=-0", RANGE_NOT_SATISFIABLE, {{0, 0}}},
    {"bytes=100-,200-,-0", RANGE_NOT_SATISFIABLE, {{0, 0}}},

    {"", RANGE_IGNORED, {{0, 0}}},
    {"bytes", RANGE_IGNORED, {{0, 0}}},
    {"bytes=", RANGE_IGNORED, {{0, 0}}},
    {"bytes=,", RANGE_IGNORED, {{0, 0}}},
    {"bytes=-", RANGE_IGNORED, {{0, 0}}},
    {"bytes=5", RANGE_IGNORED, {{0, 0}}},
    {"bytes=5-4", RANGE_IGNORED, {{0, 0}}},
    {"bytes=0-0,5-4", RANGE_IGNORED, {{0, 0}}},
    {"bytes=a-b", RANGE_IGNORED, {{0, 0}}},
    {"bytes=0x0-1", RANGE_IGNORED, {{0, 0}}},
    {"bytes=+1-2", RANGE_IGNORED, {{0, 0}}},
    {"bytes=--1", RANGE_IGNORED, {{0, 0}}},
    {"bytes=1-2-3", RANGE_IGNORED, {{0, 0}}},
    {"bytes=1-2;3-4", RANGE_IGNORED, {{0, 0}}},
    {"bytes=1 -2", RANGE_IGNORED, {{0, 0}}},
    {"bytes 1-2", RANGE_IGNORED, {{0, 0}}},
    {"bytes =1-2", RANGE_IGNORED, {{0, 0}}},
    {"lines=1-2", RANGE_IGNORED, {{0, 0}}},
    {"none", RANGE_IGNORED, {{0, 0}}},
};

static int parse(const char *field, uint64_t size, struct range *ranges)
{
	char *exact = malloc(strlen(field) + 1);
	int count;

	if (exact == NULL)
		abort();
	memcpy(exact, field, strlen(field));
	exact = realloc(exact, strlen(field) > 0 ? strlen(field) : 1);
	count = range_parse(exact, strlen(field), size, ranges);
	free(exact);
	return count;
}

static void test_table(void)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		struct range ranges[RANGES_MAX];
		int count = parse(fields[i].field, 100, ranges);

		CHECK(count == fields[i].count, "%s: %d", fields[i].field, count);
		for (int k = 0; k < count && k < 4; k++)
			CHECK(ranges[k].first == fields[i].ranges[k].first &&
				ranges[k].length == fields[i].ranges[k].length,
			    "%s: part %d", fields[i].field, k);
	}
}

static void test_bounds(void)
{
	struct range ranges[RANGES_MAX];
	char field[1000] = "bytes=";

	CHECK(parse("bytes=0-", 0, ranges) == RANGE_IGNORED, "of nothing");
	CHECK(parse("bytes=-5", 0, ranges) == RANGE_IGNORED, "of nothing");
	CHECK(parse("bytes=0-", UINT64_MAX, ranges) == 1 && ranges[0].length == UINT64_MAX,
	    "of the largest");
	for (int i = 0; i < RANGES_MAX; i++)
		sprintf(field + strlen(field), "%d-%d,", i * 2, i * 2);
	CHECK(parse(field, 100, ranges) == RANGES_MAX, "as many as there may be");
	strcat(field, "99-99");
	CHECK(parse(field, 100, ranges) == RANGE_IGNORED, "one more");
}

/* The parts cover what was asked for and nothing else, and no byte twice. */
static void test_random(void)
{
	unsigned seed = 1;

	for (int round = 0; round < 20000; round++) {
		char field[400] = "bytes=";
		unsigned char asked[64] = {0}, got[64] = {0};
		struct range ranges[RANGES_MAX];
		int parts, count;

		seed = seed * 1103515245u + 12345u;
		parts = 1 + (int)(seed >> 16) % RANGES_MAX;
		for (int i = 0; i < parts; i++) {
			int first, last;

			seed = seed * 1103515245u + 12345u;
			first = (int)(seed >> 16) % 64;
			seed = seed * 1103515245u + 12345u;
			last = first + (int)(seed >> 16) % 8;
			sprintf(field + strlen(field), "%s%d-%d", i > 0 ? "," : "", first, last);
			for (int at = first; at <= last && at < 64; at++)
				asked[at] = 1;
		}
		count = range_parse(field, strlen(field), 64, ranges);
		CHECK(count > 0, "%s", field);
		for (int i = 0; i < count; i++) {
			CHECK(ranges[i].length > 0 && ranges[i].first + ranges[i].length <= 64,
			    "%s", field);
			for (uint64_t at = 0; at < ranges[i].length; at++)
				got[ranges[i].first + at]++;
		}
		CHECK(memcmp(asked, got, sizeof asked) == 0, "%s", field);
	}
}

int main(void)
{
	test_table();
	test_bounds();
	test_random();
	return unit_end();
}
