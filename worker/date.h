/*
 * HTTP dates (RFC 9110, 5.6.7). Pure.
 */
#ifndef LASTCALL_DATE_H
#define LASTCALL_DATE_H

#include <stddef.h>
#include <time.h>

#define DATE_LENGTH 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

/* Writes DATE_LENGTH bytes and no NUL. Times before 1970 and after 9999 are clamped. */
void date_format(time_t when, char out[DATE_LENGTH]);

/*
 * Reads an IMF-fixdate, and the two obsolete forms that a recipient must accept (RFC 850 with its
 * two-digit year read as at most 50 years after the year of now, and asctime). The name of the day
 * must be one, and is not compared with the date; second 60 is a leap second, read as the second
 * after it. Returns 0 with *when set, or -1: not a date (then the field is ignored).
 */
int date_parse(const char *text, size_t length, time_t now, time_t *when);

/*
 * Writes the date of the common log format, "10/Oct/2000:13:55:36 +0000" (26 bytes) and no NUL.
 * Clamped as date_format does.
 */
#define DATE_LOG_LENGTH 26
void date_format_log(time_t when, char out[DATE_LOG_LENGTH]);

#endif
