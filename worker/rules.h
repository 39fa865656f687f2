/*
 * What a service is told about paths, statuses and fields: redirect, alias, error-page, header.
 * Pure: rows of words of the configuration and resolved paths, nothing else. Paths are compared
 * when they are resolved, so there is one spelling of each.
 */
#ifndef LASTCALL_RULES_H
#define LASTCALL_RULES_H

#include <stdbool.h>
#include <stddef.h>

#define RULE_FIELDS_MAX 2048 /* bytes of all fields that `header` adds to an answer */

/* ---- checks of rows, as struct directive has them ---- */

const char *rule_check_header(const char *const *words, size_t count); /* NAME VALUE */
const char *rule_check_redirect(const char *const *words, size_t count); /* FROM TO [STATUS] */
const char *rule_check_alias(const char *const *words, size_t count); /* PREFIX FOLDER */
const char *rule_check_error_page(const char *const *words, size_t count); /* STATUS… FILE */

/* Whether it is the path of a file below a root: "/a/b.html", without a dot segment. */
bool rule_is_file(const char *path);

/* ---- what they say ---- */

/* Writes the lines of all rows of `header`. Returns their length, or 0 if they do not fit. */
size_t rule_fields(char **const *rows, char *out, size_t size);

/*
 * The target of the first redirect whose FROM is the path (relative, as path_resolve makes it, and
 * whether it named a folder). It is escaped; the query goes along unless TO has one. Returns its
 * status with the length in *length, 0: none is meant, or 414: the target does not fit.
 */
int rule_redirect(char **const *rows, const char *path, bool folder, const char *query,
    size_t query_length, char *out, size_t size, size_t *length);

/*
 * The row of the longest prefix that the path begins with, or -1. *rest is the path behind it.
 * "/media" without its slash is meant too: then *rest is NULL.
 */
int rule_alias(char **const *rows, const char *path, bool folder, const char **rest);

/* The file of a status, without its leading slash, or NULL. */
const char *rule_error_page(char **const *rows, int status);

#endif
