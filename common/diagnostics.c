/*
 * Writes the errors of a configuration as gcc writes its own, so that editors find the place.
 *
 * What is shown of a file is untrusted text: nothing but printable ASCII reaches the terminal,
 * and a line of a megabyte is cut to what fits around the caret.
 */
#include "diagnostics.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#define LINE_SHOWN 96 /* bytes of a line that are shown at most */
#define LINE_BEFORE 40 /* of them before the caret, when the line is cut */
#define MESSAGE_MAX 1024 /* a longer message is cut */
#define NEAREST_MAX 64 /* a longer word is near to nothing */

/* Columns that a byte takes when it is shown: itself, or \xHH. */
static int shown_width(unsigned char byte)
{
	return byte == '\t' || (byte >= 0x20 && byte < 0x7f) ? 1 : 4;
}

static void show_bytes(FILE *out, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)text[i];

		if (byte == '\t')
			fputc(' ', out);
		else if (shown_width(byte) == 1)
			fputc(byte, out);
		else
			fprintf(out, "\\x%02x", byte);
	}
}

/* Finds line number `line` of the source. Returns false if there are fewer. */
static bool find_line(const char **source, size_t *length, unsigned line)
{
	const char *at = *source, *end = at + *length;

	while (--line > 0) {
		at = memchr(at, '\n', (size_t)(end - at));
		if (at == NULL)
			return false;
		at++;
	}
	const char *newline = memchr(at, '\n', (size_t)(end - at));

	if (newline != NULL)
		end = newline;
	if (end > at && end[-1] == '\r')
		end--;
	*source = at;
	*length = (size_t)(end - at);
	return true;
}

static const char *prefix_of(const struct diagnostics *d)
{
	return d->prefix != NULL ? d->prefix : "";
}

static void show_line(
    const struct diagnostics *d, const struct position *at, const char *line, size_t length)
{
	FILE *out = d->out;
	size_t caret = at->column - 1, start = 0, end = length;

	if (caret > length)
		caret = length;
	if (length > LINE_SHOWN) {
		start = caret > LINE_BEFORE ? caret - LINE_BEFORE : 0;
		end = length - start > LINE_SHOWN ? start + LINE_SHOWN : length;
	}
	fprintf(out, "%s%5u | %s", prefix_of(d), at->line, start > 0 ? "..." : "");
	show_bytes(out, line + start, end - start);
	fprintf(out, "%s\n%s      | ", end < length ? "..." : "", prefix_of(d));

	int indent = start > 0 ? 3 : 0, under = 0;

	for (size_t i = start; i < caret; i++)
		indent += shown_width((unsigned char)line[i]);
	for (size_t i = caret; i < end && i - caret < at->width; i++)
		under += shown_width((unsigned char)line[i]);
	fprintf(out, "%*s^", indent, "");
	while (--under > 0)
		fputc('~', out);
	fputc('\n', out);
}

void diagnostics_error(struct diagnostics *d, const struct position *at, const char *source,
    size_t length, const char *format, ...)
{
	char message[MESSAGE_MAX];
	bool placed = at != NULL && at->file != NULL && at->line > 0;
	va_list arguments;

	if (++d->errors > DIAGNOSTICS_MAX || d->out == NULL)
		return;
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);

	fputs(prefix_of(d), d->out);
	if (at == NULL || at->file == NULL)
		fputs("lastcall", d->out);
	else
		show_bytes(d->out, at->file, strlen(at->file));
	if (placed)
		fprintf(d->out, ":%u:%u", at->line, at->column);
	fputs(": error: ", d->out);
	show_bytes(d->out, message, strlen(message));
	fputc('\n', d->out);
	if (placed && at->column > 0 && source != NULL && find_line(&source, &length, at->line))
		show_line(d, at, source, length);
}

int diagnostics_end(struct diagnostics *d)
{
	int more = d->errors - DIAGNOSTICS_MAX;

	if (more > 0 && d->out != NULL)
		fprintf(d->out, "%s... and %d more error%s\n", prefix_of(d), more,
		    more == 1 ? "" : "s");
	return d->errors;
}

static int lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static int least(int a, int b)
{
	return a < b ? a : b;
}

/*
 * Damerau-Levenshtein distance of two words of at most NEAREST_MAX bytes, ignoring case, where no
 * part is edited twice. Three rows of the table are enough.
 */
static int distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	int rows[3][NEAREST_MAX + 1];

	for (size_t j = 0; j <= b_length; j++)
		rows[0][j] = (int)j;
	for (size_t i = 1; i <= a_length; i++) {
		int *row = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

		row[0] = (int)i;
		for (size_t j = 1; j <= b_length; j++) {
			int same = lower(a[i - 1]) == lower(b[j - 1]);

			row[j] = least(last[j - 1] + !same, least(last[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
			    lower(a[i - 2]) == lower(b[j - 1]))
				row[j] = least(row[j], before[j - 2] + 1);
		}
	}
	return rows[a_length % 3][b_length];
}

const char *diagnostics_nearest(const char *word, const char *const *candidates)
{
	size_t length = strlen(word);
	const char *nearest = NULL;
	int limit = (int)(length / 3);

	if (length > NEAREST_MAX)
		return NULL;
	for (; *candidates != NULL; candidates++) {
		size_t candidate = strlen(*candidates);

		if (candidate > NEAREST_MAX)
			continue;
		int far = distance(word, length, *candidates, candidate);

		if (far <= limit) {
			limit = far - 1; /* only a nearer one replaces it */
			nearest = *candidates;
		}
	}
	return nearest;
}

const char *diagnostics_list(
    const char *const *names, const char *conjunction, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; names[i] != NULL && used < size; i++) {
		const char *before = i == 0 ? "" : names[i + 1] != NULL ? ", " : conjunction;
		int written = snprintf(out + used, size - used, "%s%s", before, names[i]);

		used += (size_t)written;
	}
	return out;
}
