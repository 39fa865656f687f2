/*
 * HTTP dates: known ones in all three forms, what is no date, and the way there and back against
 * the C library's own calendar.
 */
#include "date.h"
#include "unit.h"

#include <stdint.h>
#include <stdlib.h>

/* 29 July 2026 in the afternoon: the now that two-digit years are read from. */
#define NOW 1785331800

static const struct {
	const char *text;
	int64_t when;
} dates[] = {
    {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
    {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
    {"Sun Nov  6 08:49:37 1994", 784111777},
    {"Sun Nov 06 08:49:37 1994", 784111777},
    {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
    {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
    {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
    {"Sat, 01 Jan 0000 00:00:00 GMT", -62167219200},
    {"Tue, 29 Feb 2000 12:00:00 GMT", 951825600},
    {"Thu, 29 Feb 2024 23:59:59 GMT", 1709251199},
    {"Mon, 01 Mar 2100 00:00:00 GMT", 4107542400},
    {"Tue, 19 Jan 2038 03:14:08 GMT", 2147483648},
    {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800},
    {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777}, /* it was a Sunday, and that is not judged */
    {"Thursday, 01-Jan-70 00:00:00 GMT", 3155760000}, /* 2070 */
    {"Saturday, 01-Aug-26 00:00:00 GMT", 1785542400},
    {"Wednesday, 01-Jan-76 00:00:00 GMT", 3345062400}, /* 2076, 50 years ahead */
    {"Saturday, 01-Jan-77 00:00:00 GMT", 220924800}, /* 1977 */
    {"Thursday, 29-Feb-96 00:00:00 GMT", 825552000},
    {"Fri Feb 29 00:00:00 2008", 1204243200},
};

static const char *const malformed[] = {
    "",
    "0",
    "784111777",
    "Sun, 06 Nov 1994 08:49:37",
    "Sun, 06 Nov 1994 08:49:37 UTC",
    "Sun, 06 Nov 1994 08:49:37 gmt",
    "Sun, 06 Nov 1994 08:49:37 GMT ",
    " Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 +000",
    "sun, 06 Nov 1994 08:49:37 GMT",
    "Sux, 06 Nov 1994 08:49:37 GMT",
    "unM, 06 Nov 1994 08:49:37 GMT",
    "Sun; 06 Nov 1994 08:49:37 GMT",
    "Sun,  6 Nov 1994 08:49:37 GMT",
    "Sun, 6 Nov 1994 08:49:37 GMT",
    "Sun, 06 nov 1994 08:49:37 GMT",
    "Sun, 06 ovD 1994 08:49:37 GMT",
    "Sun, 06-Nov-1994 08:49:37 GMT",
    "Sun, 06 Nov 94 08:49:37 GMT",
    "Sun, 06 Nov -994 08:49:37 GMT",
    "Sun, 06 Nov 1994 8:49:37 GMT",
    "Sun, 06 Nov 1994 24:00:00 GMT",
    "Sun, 06 Nov 1994 08:60:37 GMT",
    "Sun, 06 Nov 1994 08:49:61 GMT",
    "Sun, 06 Nov 1994 08-49-37 GMT",
    "Sun, 06 Nov 1994 08:4a:37 GMT",
    "Sun, 00 Nov 1994 08:49:37 GMT",
    "Sun, 31 Nov 1994 08:49:37 GMT",
    "Sun, 32 Jan 1994 08:49:37 GMT",
    "Sun, 29 Feb 2023 08:49:37 GMT",
    "Sun, 29 Feb 2100 08:49:37 GMT",
    "Sun, 30 Feb 2024 08:49:37 GMT",
    "Sunday, 06-Nov-1994 08:49:37 GMT",
    "Sunday, 06 Nov 94 08:49:37 GMT",
    "Sunday, 06-Nov-9x 08:49:37 GMT",
    "Sunday; 06-Nov-94 08:49:37 GMT",
    "Sundax, 06-Nov-94 08:49:37 GMT",
    "Monday, 06-Nov-94 08:49:37 UTC",
    "Monday , 06-Nov-94 08:49:37 GMT",
    "Sunday, 29-Feb-95 08:49:37 GMT",
    "Sun Nov 6 08:49:37 1994",
    "Sun Nov  6 08:49:37 199x",
    "Sun Nov 6  08:49:37 1994",
    "Sun Nov 31 08:49:37 1994",
    "Sun Nov  0 08:49:37 1994",
    "Sun  ov  6 08:49:37 1994",
    "Sun,Nov  6 08:49:37 1994",
};

/* Parses from memory of exactly its length, for a sanitizer to see a byte read past it. */
static int parse(const char *text, size_t length, time_t now, time_t *when)
{
	char *exact = malloc(length ? length : 1);
	int result;

	if (!exact)
		abort();
	memcpy(exact, text, length);
	result = date_parse(exact, length, now, when);
	free(exact);
	return result;
}

static void test_known(void)
{
	for (size_t i = 0; i < sizeof(dates) / sizeof(*dates); i++) {
		time_t when = 12345;
		int result = parse(dates[i].text, strlen(dates[i].text), NOW, &when);
		CHECK(result == 0 && when == dates[i].when, "%s: %d, %lld", dates[i].text, result,
		    (long long)when);
		/* No beginning of a date is one. */
		for (size_t length = 0; length < strlen(dates[i].text); length++)
			CHECK(parse(dates[i].text, length, NOW, &when) == -1, "%.*s", (int)length,
			    dates[i].text);
	}
}

static void test_malformed(void)
{
	for (size_t i = 0; i < sizeof(malformed) / sizeof(*malformed); i++) {
		time_t when = 12345;
		int result = parse(malformed[i], strlen(malformed[i]), NOW, &when);
		CHECK(result == -1 && when == 12345, "%s: %d, %lld", malformed[i], result,
		    (long long)when);
	}
}

/* Every year from 1970 on, two digits of it read in that year and around it give the year again. */
static void test_two_digits(void)
{
	for (int year = 1970; year < 2200; year++) {
		for (int ahead = -49; ahead <= 50; ahead++) {
			struct tm now = {.tm_year = year - 1900, .tm_mon = 6, .tm_mday = 1};
			struct tm then = {
			    .tm_year = year + ahead - 1900, .tm_mon = 2, .tm_mday = 3};
			time_t when = 0;
			char text[64];

			snprintf(text, sizeof(text), "Monday, 03-Mar-%02d 00:00:00 GMT",
			    (year + ahead) % 100);
			CHECK(parse(text, strlen(text), timegm(&now), &when) == 0 &&
				when == timegm(&then),
			    "%s in %d: %lld", text, year, (long long)when);
		}
	}
}

static void check_round_trip(time_t when)
{
	static const char *const forms[] = {
	    "%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"};
	char text[64], written[DATE_LENGTH], logged[DATE_LOG_LENGTH];
	struct tm tm;
	time_t back = -1;

	gmtime_r(&when, &tm);
	date_format(when, written);
	strftime(text, sizeof(text), forms[0], &tm);
	CHECK(strlen(text) == DATE_LENGTH && memcmp(text, written, DATE_LENGTH) == 0,
	    "%s, not %.*s", text, DATE_LENGTH, written);
	for (size_t i = 0; i < 3; i++) {
		strftime(text, sizeof(text), forms[i], &tm);
		CHECK(date_parse(text, strlen(text), when, &back) == 0 && back == when, "%s: %lld",
		    text, (long long)back);
	}
	date_format_log(when, logged);
	strftime(text, sizeof(text), "%d/%b/%Y:%H:%M:%S +0000", &tm);
	CHECK(memcmp(text, logged, DATE_LOG_LENGTH) == 0, "%s, not %.*s", text, DATE_LOG_LENGTH,
	    logged);
}

static void test_round_trip(void)
{
	/* Each day to the year 2500 at another time of day, then strides to the end of the year
	 * 9999. */
	for (int64_t day = 0; day < 193600; day++)
		check_round_trip((time_t)(day * 86400 + day * 7919 % 86400));
	for (int64_t when = 0; when <= 253402300799; when += 7654321)
		check_round_trip((time_t)when);
	check_round_trip(253402300799);
}

static void test_clamped(void)
{
	static const struct {
		int64_t when;
		const char *text, *logged;
	} ends[] = {
	    {-1, "Thu, 01 Jan 1970 00:00:00 GMT", "01/Jan/1970:00:00:00 +0000"},
	    {INT64_MIN, "Thu, 01 Jan 1970 00:00:00 GMT", "01/Jan/1970:00:00:00 +0000"},
	    {253402300800, "Fri, 31 Dec 9999 23:59:59 GMT", "31/Dec/9999:23:59:59 +0000"},
	    {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT", "31/Dec/9999:23:59:59 +0000"},
	};
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		char written[DATE_LENGTH], logged[DATE_LOG_LENGTH];
		time_t when;
		date_format((time_t)ends[i].when, written);
		date_format_log((time_t)ends[i].when, logged);
		CHECK(
		    memcmp(written, ends[i].text, DATE_LENGTH) == 0, "%.*s", DATE_LENGTH, written);
		CHECK(memcmp(logged, ends[i].logged, DATE_LOG_LENGTH) == 0, "%.*s", DATE_LOG_LENGTH,
		    logged);
		/* A clock gone wrong must not make RFC 850's year overflow. */
		CHECK(date_parse(
			  "Sunday, 06-Nov-94 08:49:37 GMT", 30, (time_t)ends[i].when, &when) == 0,
		    "with now %lld", (long long)ends[i].when);
	}
}

int main(void)
{
	test_known();
	test_malformed();
	test_two_digits();
	test_round_trip();
	test_clamped();
	return unit_end();
}
