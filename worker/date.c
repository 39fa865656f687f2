/*
 * Dates of HTTP and of the log, written and read by hand: strftime and strptime depend on the
 * locale, and gmtime costs more than the whole head of a response.
 */
#include "date.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define DAY 86400
#define LAST_SECOND INT64_C(253402300799) /* Fri, 31 Dec 9999 23:59:59 GMT */

static const char day_names[] = "SunMonTueWedThuFriSat";
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char *const long_days[] = {
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

/* A moment in UTC. month 1 to 12, weekday 0 (Sunday) to 6. */
struct moment {
	int year, month, day, hour, minute, second, weekday;
};

/*
 * Years are counted from the first of March here, so that the leap day is the last of its year and
 * the months before it have lengths that (153 * month + 2) / 5 sums up; eras are 400 years. The
 * method is Howard Hinnant's days_from_civil.
 */
static int64_t days_from_date(int year, int month, int day)
{
	int64_t shifted = year - (month <= 2);
	int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
	int64_t of_era = shifted - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719468;
}

/* The inverse, for 0 <= when <= LAST_SECOND; unsigned, because dividing that is cheaper. */
static struct moment moment_from_time(int64_t when)
{
	uint32_t day = (uint32_t)(when / DAY), second = (uint32_t)(when % DAY);
	uint32_t shifted = day + 719468, era = shifted / 146097, of_era = shifted % 146097;
	uint32_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	uint32_t of_year = of_era - (365 * year + year / 4 - year / 100);
	uint32_t month = (5 * of_year + 2) / 153;

	return (struct moment){
	    .year = (int)(era * 400 + year + (month >= 10)),
	    .month = (int)(month < 10 ? month + 3 : month - 9),
	    .day = (int)(of_year - (153 * month + 2) / 5 + 1),
	    .hour = (int)(second / 3600),
	    .minute = (int)(second / 60 % 60),
	    .second = (int)(second % 60),
	    .weekday = (int)((day + 4) % 7), /* 1 January 1970 was a Thursday */
	};
}

static struct moment moment_clamped(time_t when)
{
	int64_t clamped = when;
	if (clamped < 0)
		clamped = 0;
	if (clamped > LAST_SECOND)
		clamped = LAST_SECOND;
	return moment_from_time(clamped);
}

static void put_two(char *out, int number)
{
	out[0] = (char)('0' + number / 10);
	out[1] = (char)('0' + number % 10);
}

static void put_clock(char *out, const struct moment *moment)
{
	put_two(out, moment->hour);
	put_two(out + 3, moment->minute);
	put_two(out + 6, moment->second);
	out[2] = out[5] = ':';
}

void date_format(time_t when, char out[DATE_LENGTH])
{
	struct moment moment = moment_clamped(when);

	memcpy(out, "Sun, 01 Jan 1970 00:00:00 GMT", DATE_LENGTH);
	memcpy(out, day_names + 3 * moment.weekday, 3);
	put_two(out + 5, moment.day);
	memcpy(out + 8, month_names + 3 * (moment.month - 1), 3);
	put_two(out + 12, moment.year / 100);
	put_two(out + 14, moment.year % 100);
	put_clock(out + 17, &moment);
}

void date_format_log(time_t when, char out[DATE_LOG_LENGTH])
{
	struct moment moment = moment_clamped(when);

	memcpy(out, "01/Jan/1970:00:00:00 +0000", DATE_LOG_LENGTH);
	put_two(out, moment.day);
	memcpy(out + 3, month_names + 3 * (moment.month - 1), 3);
	put_two(out + 7, moment.year / 100);
	put_two(out + 9, moment.year % 100);
	put_clock(out + 12, &moment);
}

/* Reads count digits (a leading space counts as 0 where space says so); -1: they are none. */
static int get_number(const char *text, int count, bool space)
{
	int number = 0;
	for (int i = 0; i < count; i++) {
		char byte = i == 0 && space && text[0] == ' ' ? '0' : text[i];
		if (byte < '0' || byte > '9')
			return -1;
		number = number * 10 + (byte - '0');
	}
	return number;
}

/* The place of the three bytes at text among names of three bytes each, from 0; -1: none. */
static int get_name(const char *text, const char *names, int count)
{
	for (int i = 0; i < count; i++)
		if (memcmp(text, names + 3 * i, 3) == 0)
			return i;
	return -1;
}

static bool get_clock(const char *text, struct moment *moment)
{
	moment->hour = get_number(text, 2, false);
	moment->minute = get_number(text + 3, 2, false);
	moment->second = get_number(text + 6, 2, false);
	return text[2] == ':' && text[5] == ':';
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool get_fixdate(const char *text, struct moment *moment)
{
	moment->weekday = get_name(text, day_names, 7);
	moment->day = get_number(text + 5, 2, false);
	moment->month = get_name(text + 8, month_names, 12) + 1;
	moment->year = get_number(text + 12, 4, false);
	return memcmp(text + 3, ", ", 2) == 0 && text[7] == ' ' && text[11] == ' ' &&
	    text[16] == ' ' && get_clock(text + 17, moment) && memcmp(text + 25, " GMT", 4) == 0;
}

/* "Sun Nov  6 08:49:37 1994" */
static bool get_asctime(const char *text, struct moment *moment)
{
	moment->weekday = get_name(text, day_names, 7);
	moment->month = get_name(text + 4, month_names, 12) + 1;
	moment->day = get_number(text + 8, 2, true);
	moment->year = get_number(text + 20, 4, false);
	return text[3] == ' ' && text[7] == ' ' && text[10] == ' ' && text[19] == ' ' &&
	    get_clock(text + 11, moment);
}

/* "Sunday, 06-Nov-94 08:49:37 GMT", where the name of the day is what comes before the last 24. */
static bool get_rfc850(const char *text, size_t name_length, time_t now, struct moment *moment)
{
	const char *rest = text + name_length;
	int year = get_number(rest + 9, 2, false), last = moment_clamped(now).year + 50;

	moment->weekday = -1;
	for (int i = 0; i < 7; i++)
		if (strlen(long_days[i]) == name_length &&
		    memcmp(text, long_days[i], name_length) == 0)
			moment->weekday = i;
	moment->day = get_number(rest + 2, 2, false);
	moment->month = get_name(rest + 5, month_names, 12) + 1;
	/* The last year with these two digits that is not over 50 years ahead. */
	moment->year = year < 0 ? -1 : last - (last - year) % 100;
	return memcmp(rest, ", ", 2) == 0 && rest[4] == '-' && rest[8] == '-' && rest[11] == ' ' &&
	    get_clock(rest + 12, moment) && memcmp(rest + 20, " GMT", 4) == 0;
}

static bool moment_valid(const struct moment *moment)
{
	static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int year = moment->year;
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	if (moment->weekday < 0 || year < 0 || moment->month < 1)
		return false;
	if (moment->day < 1 || moment->day > days[moment->month - 1])
		return false;
	if (moment->month == 2 && moment->day == 29 && !leap)
		return false;
	return moment->hour >= 0 && moment->hour < 24 && moment->minute >= 0 &&
	    moment->minute < 60 && moment->second >= 0 && moment->second <= 60;
}

int date_parse(const char *text, size_t length, time_t now, time_t *when)
{
	struct moment moment;
	bool read = false;

	/* RFC 850's form has 30 bytes (Sunday) to 33 (Wednesday), so the length tells the form. */
	if (length == DATE_LENGTH)
		read = get_fixdate(text, &moment);
	else if (length == 24)
		read = get_asctime(text, &moment);
	else if (length >= 30 && length <= 33)
		read = get_rfc850(text, length - 24, now, &moment);
	if (!read || !moment_valid(&moment))
		return -1;
	*when = (time_t)(days_from_date(moment.year, moment.month, moment.day) * DAY +
	    moment.hour * 3600 + moment.minute * 60 + moment.second);
	return 0;
}
