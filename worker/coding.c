/* Content codings; see coding.h. */
#include "coding.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

const struct coding_names coding_names[CODING_NONE + 1] = {
    [CODING_BR] = {"br", ".br", "-br"},
    [CODING_ZSTD] = {"zstd", ".zst", "-zst"},
    [CODING_GZIP] = {"gzip", ".gz", "-gz"},
    [CODING_NONE] = {NULL, "", ""},
};

void coding_init(struct coding_wishes *wishes)
{
	for (int i = 0; i <= CODINGS; i++)
		wishes->quality[i] = -1;
	wishes->any = -1;
}

static bool is_word(const char *text, size_t length, const char *word)
{
	return length == strlen(word) && strncasecmp(text, word, length) == 0;
}

/* The length of text without the space at its ends; *text is moved past that before it. */
static size_t trim(const char **text, size_t length)
{
	while (length > 0 && (**text == ' ' || **text == '\t')) {
		(*text)++;
		length--;
	}
	while (length > 0 && ((*text)[length - 1] == ' ' || (*text)[length - 1] == '\t'))
		length--;
	return length;
}

/* "q=0.5" in thousandths (RFC 9110, 12.4.2); what is none is 0. */
static int read_weight(const char *text, size_t length)
{
	int weight, unit = 100;

	length = trim(&text, length);
	if (length < 3 || length > 7 || (text[0] != 'q' && text[0] != 'Q') || text[1] != '=')
		return 0;
	if (text[2] != '0' && text[2] != '1')
		return 0;
	weight = text[2] == '1' ? 1000 : 0;
	if (length > 3 && text[3] != '.')
		return 0;
	for (size_t i = 4; i < length; i++, unit /= 10) {
		if (text[i] < '0' || text[i] > '9')
			return 0;
		weight += (text[i] - '0') * unit;
	}
	return weight <= 1000 ? weight : 0;
}

static void read_element(struct coding_wishes *wishes, const char *text, size_t length)
{
	const char *semicolon = memchr(text, ';', length);
	size_t name = semicolon != NULL ? (size_t)(semicolon - text) : length;
	int weight = 1000;

	if (semicolon != NULL)
		weight = read_weight(semicolon + 1, length - name - 1);
	name = trim(&text, name);
	if (is_word(text, name, "*"))
		wishes->any = weight;
	else if (is_word(text, name, "identity"))
		wishes->quality[CODING_NONE] = weight;
	else if (is_word(text, name, "x-gzip"))
		wishes->quality[CODING_GZIP] = weight;
	for (int i = 0; i < CODINGS; i++) {
		if (is_word(text, name, coding_names[i].field))
			wishes->quality[i] = weight;
	}
}

void coding_read(struct coding_wishes *wishes, const char *text, size_t length)
{
	for (size_t at = 0; at < length;) {
		const char *comma = memchr(text + at, ',', length - at);
		size_t stop = comma != NULL ? (size_t)(comma - text) : length;

		read_element(wishes, text + at, stop - at);
		at = stop + 1;
	}
}

int coding_order(const struct coding_wishes *wishes, enum coding order[CODING_NONE])
{
	int quality[CODING_NONE] = {0}, count = 0;

	for (int i = 0; i < CODINGS; i++) {
		int q = wishes->quality[i] >= 0 ? wishes->quality[i] : wishes->any, at = count;

		if (q <= 0 || q < wishes->quality[CODING_NONE])
			continue;
		for (; at > 0 && quality[at - 1] < q; at--) {
			quality[at] = quality[at - 1];
			order[at] = order[at - 1];
		}
		quality[at] = q;
		order[at] = (enum coding)i;
		count++;
	}
	return count;
}
