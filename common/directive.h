/*
 * What a configuration may say, as tables: one row per directive, written into a struct by offset.
 * The same rows serve the file, `check`, defaults and the documentation of limits.
 */
#ifndef LASTCALL_DIRECTIVE_H
#define LASTCALL_DIRECTIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum directive_type {
	DIRECTIVE_FLAG, /* on | off -> bool */
	DIRECTIVE_NUMBER, /* 64 -> int64_t */
	DIRECTIVE_DURATION, /* 250ms 30s 5m 2h 1d; bare 0 allowed -> int64_t, milliseconds */
	DIRECTIVE_SIZE, /* 512 16k 4m 1g (powers of 1024) -> int64_t, bytes */
	DIRECTIVE_MODE, /* octal, 0022 -> int64_t */
	DIRECTIVE_STRING, /* one word, not empty -> char *, owned by the configuration */
	DIRECTIVE_PATH, /* one word; relative to the file's folder (to the current one when
			 * it came from the command line) -> char *, owned, absolute */
	DIRECTIVE_CHOICE, /* one of choices -> int64_t, its index */
	DIRECTIVE_WORDS, /* all words to the semicolon -> char **, NULL-terminated, owned */
	DIRECTIVE_LIST, /* the same, and each further statement adds its words */
	DIRECTIVE_COMMAND, /* WORDS whose first is a program: a path, relative as a PATH is, if
			    * there is a slash in it, else a name to be looked for */
	DIRECTIVE_ROWS, /* a statement that may come again, each a row of min to max words ->
			 * char ***, NULL-terminated rows of NULL-terminated words, owned */
};

/* What is asked of the file system about a path, when a configuration is checked. */
enum directive_path {
	PATH_NEW, /* the folder that it is in is there */
	PATH_FILE, /* it is a regular file */
	PATH_FOLDER, /* it is a folder */
};

#define DIRECTIVE_ROWS_MAX 256 /* of one directive */

#define DIRECTIVE_AUTO -1 /* what `auto` and `unlimited` are stored as */
#define DIRECTIVE_NO_LIMIT INT64_MAX

/* What else there is to know of ROWS. */
struct directive_rows {
	unsigned folder; /* which word is the path of a folder, from 1; 0: none */
	/* Looks at the words of one row. Returns NULL, or a constant text that says what is wrong.
	 * May be NULL. */
	const char *(*check)(const char *const *words, size_t count);
};

struct directive {
	const char *name; /* NULL ends a table */
	enum directive_type type;
	size_t offset; /* of the value in the struct that the table belongs to */
	/* Of NUMBER, DURATION, SIZE, MODE, inclusive; how many words a ROWS has; of PATH min is an
	 * enum directive_path; of COMMAND max is 1 where a number may stand before the program. */
	int64_t min, max;
	const char *keyword; /* "auto" or "unlimited" where that is allowed, else NULL; of ROWS its
			      * words as a person is told them, "NAME VALUE" */
	/* CHOICE: a NULL-terminated array of const char *; ROWS: a struct directive_rows. */
	const void *choices;
	const char *initial; /* default as a person would write it; NULL: zero, none */
};

#define DIRECTIVE_WHY 512 /* enough for every message of directive_set */

/* The row of that name, or NULL. table may be NULL: an empty one. */
const struct directive *directive_find(const struct directive *table, const char *name);

/* Whether it takes any number of words, and is a char **. */
static inline bool directive_takes_words(const struct directive *row)
{
	return row->type >= DIRECTIVE_WORDS && row->type != DIRECTIVE_ROWS;
}

/* Whether a word is a path that starts from a folder which has to be known. */
bool directive_wants_folder(const struct directive *row, const char *word);

/* How many rows of words a ROWS holds; rows may be NULL. */
size_t directive_rows(char **const *rows);

/*
 * Writes what words say into the struct at base: one word, or count of them where it takes any
 * number. folder is what a relative PATH starts from, NULL for the current folder. What stood there
 * before is freed, but the words of a LIST, which are added to, and the rows of a ROWS, of which
 * they become one more.
 * Returns 0, or -1 with why set to a message that names the directive ("2d is out of range; grace
 * takes 0 to 1d"); the struct is then unchanged.
 */
int directive_set(const struct directive *row, void *base, const char *const *words, size_t count,
    const char *folder, char *why, size_t size);

/*
 * The words that give a text or words their value, each with its NUL, in out; *used is their
 * size, 0 for a value that is not set. Returns 0, or -1 with errno E2BIG.
 */
int directive_words(
    const struct directive *row, const void *base, char *out, size_t size, size_t *used);

/* Writes the default of every row to a zeroed struct. Returns 0, or -1 with errno ENOMEM. */
int directive_defaults(const struct directive *table, void *base);

/* Frees every value that is owned, not the struct. */
void directive_release(const struct directive *table, void *base);

/*
 * An absolute path: path itself, or below folder (NULL: the current one), without "." and doubled
 * or trailing slashes. ".." and symbolic links stay as they are. Returns memory of the caller's, or
 * NULL with errno ENOMEM or of getcwd(3).
 */
char *directive_path(const char *folder, const char *path);

#endif
