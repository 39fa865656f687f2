/*
 * Turns words into values by the rows of a directive table, and says exactly what is wrong with a
 * word that is none. It knows types, not services: what a value is good for is the service's.
 */
#include "directive.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "diagnostics.h"

/* A suffix of a number and what it multiplies by; the last that divides a value is its unit. */
struct unit {
	const char *suffix;
	int64_t factor;
};

static const struct unit no_units[] = {{"", 1}, {NULL, 0}};
static const struct unit durations[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit sizes[] = {
    {"", 1}, {"k", 1024}, {"m", 1024 * 1024}, {"g", 1024 * 1024 * 1024}, {NULL, 0}};

enum number_result { NUMBER_READ, NUMBER_BAD, NUMBER_NO_UNIT, NUMBER_RANGE };

const struct directive *directive_find(const struct directive *table, const char *name)
{
	for (; table != NULL && table->name != NULL; table++)
		if (strcmp(table->name, name) == 0)
			return table;
	return NULL;
}

static void *value_of(const struct directive *row, void *base)
{
	return (char *)base + row->offset;
}

static const struct unit *units_of(enum directive_type type)
{
	switch (type) {
	case DIRECTIVE_DURATION:
		return durations;
	case DIRECTIVE_SIZE:
		return sizes;
	default:
		return no_units;
	}
}

static const struct unit *find_unit(const struct unit *units, const char *suffix)
{
	for (; units->suffix != NULL; units++)
		if (strcmp(units->suffix, suffix) == 0)
			return units;
	return NULL;
}

/* The suffix of a size may be a capital letter, as people write it; of a duration it may not. */
static const struct unit *read_unit(enum directive_type type, const char *suffix)
{
	char small[2] = {*suffix, '\0'};

	if (type != DIRECTIVE_SIZE || *suffix == '\0' || suffix[1] != '\0')
		return find_unit(units_of(type), suffix);
	if (*small >= 'A' && *small <= 'Z')
		*small = (char)(*small - 'A' + 'a');
	return find_unit(sizes, small);
}

static enum number_result read_number(enum directive_type type, const char *word, int64_t *value)
{
	int base = type == DIRECTIVE_MODE ? 8 : 10;
	bool over = false;
	int64_t read = 0;
	const char *c = word;

	for (; *c >= '0' && *c < '0' + base; c++) {
		if (read > (INT64_MAX - 9) / base)
			over = true;
		else
			read = read * base + (*c - '0');
	}
	if (c == word)
		return NUMBER_BAD;
	if (type == DIRECTIVE_DURATION && *c == '\0' && read != 0)
		return NUMBER_NO_UNIT;
	const struct unit *unit = *c == '\0' ? &no_units[0] : read_unit(type, c);

	if (unit == NULL)
		return NUMBER_BAD;
	if (over || read > INT64_MAX / unit->factor)
		return NUMBER_RANGE;
	*value = read * unit->factor;
	return NUMBER_READ;
}

/* Writes a value as a person would, with the largest unit that divides it. */
static void write_number(enum directive_type type, int64_t value, char *out, size_t size)
{
	const struct unit *unit = units_of(type), *largest = unit;

	if (type == DIRECTIVE_MODE) {
		snprintf(out, size, "%04llo", (unsigned long long)value);
		return;
	}
	for (; unit->suffix != NULL; unit++)
		if (value % unit->factor == 0)
			largest = unit;
	if (value == 0)
		largest = &no_units[0];
	snprintf(out, size, "%lld%s", (long long)(value / largest->factor), largest->suffix);
}

/* "0 to 1d, or unlimited". */
static void write_range(const struct directive *row, char *out, size_t size)
{
	char min[32], max[32];
	const char *joint = row->keyword != NULL ? ", or " : "";
	const char *keyword = row->keyword != NULL ? row->keyword : "";

	write_number(row->type, row->min, min, sizeof(min));
	write_number(row->type, row->max, max, sizeof(max));
	if (row->max == DIRECTIVE_NO_LIMIT)
		snprintf(out, size, "%s or more%s%s", min, joint, keyword);
	else
		snprintf(out, size, "%s to %s%s%s", min, max, joint, keyword);
}

static const char *type_text(enum directive_type type)
{
	switch (type) {
	case DIRECTIVE_DURATION:
		return "a duration such as 250ms, 30s, 5m, 2h or 1d";
	case DIRECTIVE_SIZE:
		return "a size such as 512, 16k, 4m or 1g";
	case DIRECTIVE_MODE:
		return "an octal mode such as 0640";
	default:
		return "a number";
	}
}

static int set_number(
    const struct directive *row, int64_t *value, const char *word, char *why, size_t size)
{
	int64_t number = 0;
	char range[128];

	if (row->keyword != NULL && strcmp(word, row->keyword) == 0) {
		*value = DIRECTIVE_AUTO;
		return 0;
	}
	enum number_result result = read_number(row->type, word, &number);

	write_range(row, range, sizeof(range));
	if (result == NUMBER_READ && number >= row->min && number <= row->max) {
		*value = number;
		return 0;
	}
	if (result == NUMBER_BAD)
		snprintf(why, size, "\"%.80s\" is not %s; %s takes %s", word, type_text(row->type),
		    row->name, range);
	else if (result == NUMBER_NO_UNIT)
		snprintf(why, size, "\"%.80s\" needs a unit: ms, s, m, h or d; %s takes %s", word,
		    row->name, range);
	else
		snprintf(why, size, "%.80s is out of range; %s takes %s", word, row->name, range);
	return -1;
}

static int set_flag(
    const struct directive *row, bool *value, const char *word, char *why, size_t size)
{
	bool on = strcmp(word, "on") == 0;

	if (!on && strcmp(word, "off") != 0) {
		snprintf(
		    why, size, "\"%.80s\" is neither on nor off; %s is a switch", word, row->name);
		return -1;
	}
	*value = on;
	return 0;
}

static int set_choice(
    const struct directive *row, int64_t *value, const char *word, char *why, size_t size)
{
	const char *const *choices = row->choices;
	char list[256];

	for (int64_t i = 0; choices[i] != NULL; i++) {
		if (strcmp(choices[i], word) == 0) {
			*value = i;
			return 0;
		}
	}
	const char *near = diagnostics_nearest(word, choices);

	if (near != NULL)
		snprintf(
		    why, size, "unknown %s \"%.80s\"; did you mean \"%s\"?", row->name, word, near);
	else
		snprintf(why, size, "unknown %s \"%.80s\"; it is one of %s", row->name, word,
		    diagnostics_list(choices, " or ", list, sizeof(list)));
	return -1;
}

static int no_memory(char *why, size_t size)
{
	snprintf(why, size, "%s", strerror(errno));
	return -1;
}

static int set_text(const struct directive *row, char **value, const char *word, const char *folder,
    char *why, size_t size)
{
	if (*word == '\0') {
		snprintf(why, size, "%s cannot be empty", row->name);
		return -1;
	}
	char *text = row->type == DIRECTIVE_PATH ? directive_path(folder, word) : strdup(word);

	if (text == NULL)
		return no_memory(why, size);
	free(*value);
	*value = text;
	return 0;
}

static void free_words(char **words)
{
	for (size_t i = 0; words != NULL && words[i] != NULL; i++)
		free(words[i]);
	free(words);
}

static size_t count_words(char *const *words)
{
	size_t count = 0;

	while (words != NULL && words[count] != NULL)
		count++;
	return count;
}

bool directive_wants_folder(const struct directive *row, const char *word)
{
	return *word != '/' && *word != '\0' &&
	    (row->type == DIRECTIVE_PATH ||
		(row->type == DIRECTIVE_COMMAND && strchr(word, '/') != NULL));
}

/* Where in the words of a command its program is. */
static size_t program_at(const struct directive *row, const char *const *words, size_t count)
{
	return row->max == 1 && count > 1 && *words[0] != '\0' &&
		words[0][strspn(words[0], "0123456789")] == '\0'
	    ? 1
	    : 0;
}

/* Adds copies to the end of a list that has room for them. Returns 0 or -1. */
static int add_words(const struct directive *row, char **list, const char *const *words,
    size_t count, const char *folder)
{
	for (size_t i = 0; i < count; i++) {
		bool path =
		    i == program_at(row, words, count) && directive_wants_folder(row, words[i]);

		list[i] = path ? directive_path(folder, words[i]) : strdup(words[i]);
		if (list[i] == NULL)
			return -1;
	}
	return 0;
}

static int set_words(const struct directive *row, char ***value, const char *const *words,
    size_t count, const char *folder, char *why, size_t size)
{
	size_t before = row->type == DIRECTIVE_LIST ? count_words(*value) : 0;
	char **list = calloc(before + count + 1, sizeof(*list));

	if (row->type == DIRECTIVE_COMMAND && *words[program_at(row, words, count)] == '\0') {
		free(list);
		snprintf(why, size, "the program of %s cannot be empty", row->name);
		return -1;
	}
	if (list == NULL || add_words(row, list + before, words, count, folder) == -1) {
		for (size_t i = before; list != NULL && list[i] != NULL; i++)
			free(list[i]);
		free(list);
		return no_memory(why, size);
	}
	if (before > 0) {
		memcpy(list, *value, before * sizeof(*list));
		free(*value);
	} else {
		free_words(*value);
	}
	*value = list;
	return 0;
}

size_t directive_rows(char **const *rows)
{
	size_t count = 0;

	while (rows != NULL && rows[count] != NULL)
		count++;
	return count;
}

/* Whether the words can be a row. Returns false with why. */
static bool row_fits(const struct directive *row, char **const *rows, const char *const *words,
    size_t count, char *why, size_t size)
{
	const struct directive_rows *about = row->choices;
	const char *wrong = NULL;

	if (count < (size_t)row->min || count > (size_t)row->max) {
		snprintf(why, size, "%s is written \"%s %s;\"", row->name, row->name, row->keyword);
		return false;
	}
	if (directive_rows(rows) >= DIRECTIVE_ROWS_MAX) {
		snprintf(why, size, "%s comes more than %d times", row->name, DIRECTIVE_ROWS_MAX);
		return false;
	}
	if (about->check != NULL)
		wrong = about->check(words, count);
	if (wrong != NULL)
		snprintf(why, size, "%s: %s", row->name, wrong);
	return wrong == NULL;
}

static int add_row(const struct directive *row, char ****value, const char *const *words,
    size_t count, const char *folder, char *why, size_t size)
{
	const struct directive_rows *about = row->choices;
	size_t rows = directive_rows(*value), path = about->folder;
	char **made = NULL, ***more;

	if (!row_fits(row, *value, words, count, why, size))
		return -1;
	if (set_words(row, &made, words, count, folder, why, size) == -1)
		return -1;
	if (path > 0 && path <= count) {
		free(made[path - 1]);
		made[path - 1] = directive_path(folder, words[path - 1]);
	}
	more = realloc(*value, (rows + 2) * sizeof(*more));
	if (more != NULL)
		*value = more;
	if (more == NULL || (path > 0 && path <= count && made[path - 1] == NULL)) {
		no_memory(why, size);
		for (size_t i = 0; i < count; i++)
			free(made[i]);
		free(made);
		if (more != NULL)
			more[rows] = NULL;
		return -1;
	}
	more[rows] = made;
	more[rows + 1] = NULL;
	return 0;
}

int directive_set(const struct directive *row, void *base, const char *const *words, size_t count,
    const char *folder, char *why, size_t size)
{
	void *value = value_of(row, base);

	switch (row->type) {
	case DIRECTIVE_FLAG:
		return set_flag(row, value, words[0], why, size);
	case DIRECTIVE_CHOICE:
		return set_choice(row, value, words[0], why, size);
	case DIRECTIVE_STRING:
	case DIRECTIVE_PATH:
		return set_text(row, value, words[0], folder, why, size);
	case DIRECTIVE_WORDS:
	case DIRECTIVE_LIST:
	case DIRECTIVE_COMMAND:
		return set_words(row, value, words, count, folder, why, size);
	case DIRECTIVE_ROWS:
		return add_row(row, value, words, count, folder, why, size);
	case DIRECTIVE_NUMBER:
	case DIRECTIVE_DURATION:
	case DIRECTIVE_SIZE:
	case DIRECTIVE_MODE:
		break;
	}
	return set_number(row, value, words[0], why, size);
}

static int add_word(const char *word, char *out, size_t size, size_t *used)
{
	size_t length = strlen(word) + 1;

	if (length > size - *used) {
		errno = E2BIG;
		return -1;
	}
	memcpy(out + *used, word, length);
	*used += length;
	return 0;
}

int directive_words(
    const struct directive *row, const void *base, char *out, size_t size, size_t *used)
{
	const void *value = (const char *)base + row->offset;
	char *const *words;
	const char *word;

	*used = 0;
	if (!directive_takes_words(row)) {
		memcpy(&word, value, sizeof word);
		return word == NULL ? 0 : add_word(word, out, size, used);
	}
	memcpy(&words, value, sizeof words);
	for (; words != NULL && *words != NULL; words++) {
		if (add_word(*words, out, size, used) == -1)
			return -1;
	}
	return 0;
}

int directive_defaults(const struct directive *table, void *base)
{
	char why[DIRECTIVE_WHY];

	for (; table != NULL && table->name != NULL; table++)
		if (table->initial != NULL &&
		    directive_set(table, base, &table->initial, 1, NULL, why, sizeof(why)) == -1)
			return -1;
	return 0;
}

void directive_release(const struct directive *table, void *base)
{
	for (; table != NULL && table->name != NULL; table++) {
		void *value = value_of(table, base);

		if (table->type == DIRECTIVE_STRING || table->type == DIRECTIVE_PATH) {
			free(*(char **)value);
			*(char **)value = NULL;
		} else if (directive_takes_words(table)) {
			free_words(*(char ***)value);
			*(char ***)value = NULL;
		} else if (table->type == DIRECTIVE_ROWS) {
			char ***rows = *(char ****)value;

			for (size_t i = 0; rows != NULL && rows[i] != NULL; i++)
				free_words(rows[i]);
			free(rows);
			*(char ****)value = NULL;
		}
	}
}

/* Appends the parts of path to an absolute one, each with a slash before it. */
static size_t append_parts(char *out, size_t used, const char *path)
{
	while (*path != '\0') {
		size_t length = strcspn(path, "/");

		if (length > 0 && (length != 1 || *path != '.')) {
			out[used++] = '/';
			memcpy(out + used, path, length);
			used += length;
		}
		path += length;
		path += *path == '/';
	}
	return used;
}

char *directive_path(const char *folder, const char *path)
{
	char *current = NULL, *made = NULL;
	size_t used = 0;

	if (*path == '/')
		folder = "";
	else if (folder == NULL)
		folder = current = getcwd(NULL, 0);
	if (folder != NULL)
		made = malloc(strlen(folder) + strlen(path) + 4);
	if (made != NULL) {
		used = append_parts(made, used, folder);
		used = append_parts(made, used, path);
		if (used == 0)
			made[used++] = '/';
		made[used] = '\0';
	}
	free(current);
	return made;
}
