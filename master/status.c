/* The table and the JSON of `status`; see status.h. */
#include "status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "config.h"
#include "log.h"
#include "remote.h"

#define ROWS_MAX 1000000 /* what a daemon that is none could make us keep */
#define CELL 512

/* A line of the answer: its words one after the other, each with its NUL. */
struct row {
	char *words;
	size_t count;
	struct row *next;
};

struct answer {
	struct row *first, **end;
	size_t count;
};

/* ---- reading ---- */

static int keep(struct answer *answer, const struct reply *reply)
{
	struct row *row = calloc(1, sizeof *row);
	size_t length = 0;
	char *to;

	for (size_t i = 0; i < reply->count; i++)
		length += strlen(reply->words[i]) + 1;
	if (row != NULL)
		row->words = malloc(length);
	if (row == NULL || row->words == NULL) {
		free(row);
		return -1;
	}
	row->count = reply->count;
	to = row->words;
	for (size_t i = 0; i < reply->count; i++) {
		size_t size = strlen(reply->words[i]) + 1;

		memcpy(to, reply->words[i], size);
		to += size;
	}
	*answer->end = row;
	answer->end = &row->next;
	answer->count++;
	return 0;
}

static void release(struct answer *answer)
{
	for (struct row *row = answer->first, *next; row != NULL; row = next) {
		next = row->next;
		free(row->words);
		free(row);
	}
}

/* Reads lines up to `ok`. Returns an exit status, after it said what is wrong. */
static int read_answer(const struct command *command, struct client *client, struct answer *answer)
{
	struct request request = {.length = 0};
	struct reply reply;
	char why[CLIENT_WHY];

	request_word(&request, "status");
	if (request_end(&request) == -1 ||
	    client_send(client, &request, clock_ms() + CLIENT_ANSWER_MS, why, sizeof why) == -1)
		return remote_error(command, "%s", why);
	for (;;) {
		/* Each line has its own time: there may be many. */
		if (client_line(client, &reply, clock_ms() + CLIENT_ANSWER_MS, why, sizeof why) ==
		    -1)
			return remote_error(command, "%s", why);
		if (reply.kind == REPLY_OK)
			return STATUS_DONE;
		if (reply.kind != REPLY_LINE)
			return remote_refused(command, &reply);
		if (answer->count == ROWS_MAX)
			return remote_error(command, "an answer of more than %d lines", ROWS_MAX);
		if (keep(answer, &reply) == -1)
			return remote_error(command, "%s", strerror(ENOMEM));
	}
}

/* The value of a word NAME=VALUE, or "-". */
static const char *value(const struct row *row, const char *name)
{
	const char *word = row->words;
	size_t length = strlen(name);

	for (size_t i = 0; i < row->count; i++, word += strlen(word) + 1) {
		if (strncmp(word, name, length) == 0 && word[length] == '=')
			return word + length + 1;
	}
	return "-";
}

static bool is_number(const char *text)
{
	size_t digits;

	text += *text == '-';
	digits = strspn(text, "0123456789");
	/* JSON knows no number with a zero in front. */
	return digits > 0 && text[digits] == '\0' && (text[0] != '0' || digits == 1);
}

/* ---- for people ---- */

/* "12ms", "5s", "3m 12s", "2h 5m", "4d 3h"; what is no number stays as it is. */
static void write_age(const char *milliseconds, char *out, size_t size)
{
	long long ms = strtoll(milliseconds, NULL, 10), s = ms / 1000;

	if (!is_number(milliseconds))
		snprintf(out, size, "%s", milliseconds);
	else if (ms < 1000)
		snprintf(out, size, "%lldms", ms);
	else if (s < 60)
		snprintf(out, size, "%llds", s);
	else if (s < 3600)
		snprintf(out, size, "%lldm %llds", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, size, "%lldh %lldm", s / 3600, s / 60 % 60);
	else
		snprintf(out, size, "%lldd %lldh", s / 86400, s / 3600 % 24);
}

/* "configuration", "opened by uid 0", "leased by pid 4711, uid 1000", "leased by
 * 127.0.0.1:4711". */
static void write_origin(const struct row *row, char *out, size_t size)
{
	const char *origin = value(row, "origin"), *uid = value(row, "uid"),
		   *pid = value(row, "pid"), *peer = value(row, "peer");
	bool has_uid = strcmp(uid, "-") != 0, has_pid = strcmp(pid, "-") != 0;

	if (strcmp(peer, "-") != 0 && peer[0] != '\0') {
		snprintf(out, size, "%s by %s", origin, peer);
		return;
	}
	snprintf(out, size, "%s%s%s%s%s%s%s", origin, has_uid || has_pid ? " by" : "",
	    has_pid ? " pid " : "", has_pid ? pid : "", has_pid && has_uid ? "," : "",
	    has_uid ? " uid " : "", has_uid ? uid : "");
}

struct column {
	const char *title;
	const char *name; /* of the value */
	enum { COLUMN_TEXT, COLUMN_NUMBER, COLUMN_AGE, COLUMN_ORIGIN } type;
	size_t width;
};

/* row NULL: the title. */
static void write_cell(const struct row *row, const struct column *column, char *out, size_t size)
{
	char text[CELL];

	if (row == NULL)
		snprintf(text, sizeof text, "%s", column->title);
	else if (column->type == COLUMN_ORIGIN)
		write_origin(row, text, sizeof text);
	else if (column->type == COLUMN_AGE)
		write_age(value(row, column->name), text, sizeof text);
	else
		snprintf(text, sizeof text, "%s", value(row, column->name));
	log_escape(out, size, text, strlen(text));
}

static bool is_line(const struct row *row, const char *word)
{
	return strcmp(row->words, word) == 0;
}

static void measure(const struct row *row, struct column *columns)
{
	char cell[CELL];

	for (struct column *c = columns; c->title != NULL; c++) {
		write_cell(row, c, cell, sizeof cell);
		if (strlen(cell) > c->width)
			c->width = strlen(cell);
	}
}

static void print_row(const struct row *row, const struct column *columns)
{
	char cell[CELL];

	for (const struct column *c = columns; c->title != NULL; c++) {
		bool last = c[1].title == NULL;
		int width = c->type == COLUMN_NUMBER ? (int)c->width : last ? 0 : -(int)c->width;

		write_cell(row, c, cell, sizeof cell);
		printf("%s%*s%s", c == columns ? "" : "  ", width, cell, last ? "\n" : "");
	}
}

/* The lines of one word, below their titles, or those of them that have a value of that name;
 * nothing when there is none. */
static void print_table(
    const struct answer *answer, const char *word, const char *with, struct column *columns)
{
	size_t rows = 0;

	for (const struct row *row = answer->first; row != NULL; row = row->next) {
		if (is_line(row, word) && (with == NULL || strcmp(value(row, with), "-") != 0)) {
			measure(row, columns);
			rows++;
		}
	}
	if (rows == 0)
		return;
	measure(NULL, columns);
	putchar('\n');
	print_row(NULL, columns);
	for (const struct row *row = answer->first; row != NULL; row = row->next) {
		if (is_line(row, word) && (with == NULL || strcmp(value(row, with), "-") != 0))
			print_row(row, columns);
	}
}

/* A part of the first line, if its number is none of the dull ones. */
static void print_if_any(const struct row *server, const char *name, const char *text)
{
	const char *number = value(server, name);

	if (is_number(number) && strcmp(number, "0") != 0)
		printf(", %s %s", number, text);
}

static void print_number(const struct row *server, const char *name, const char *noun)
{
	const char *number = value(server, name);

	printf(", %s %s%s", number, noun, strcmp(number, "1") == 0 ? "" : "s");
}

static void print_number_if_any(const struct row *server, const char *name, const char *noun)
{
	if (is_number(value(server, name)) && strcmp(value(server, name), "0") != 0)
		print_number(server, name, noun);
}

/* "lastcall 0.1.0, pid 4711: serving for 2h 5m, 2 workers, 3 listeners (1 leased), ...". */
static void print_server(const struct row *server)
{
	char age[64], version[CELL], state[CELL];

	write_age(value(server, "uptime-ms"), age, sizeof age);
	log_escape(
	    version, sizeof version, value(server, "version"), strlen(value(server, "version")));
	log_escape(state, sizeof state, value(server, "state"), strlen(value(server, "state")));
	printf("lastcall %s, pid %s: %s, up %s", version, value(server, "pid"), state, age);
	print_number(server, "workers", "worker");
	print_number(server, "listeners", "listener");
	if (strcmp(value(server, "leases"), "0") != 0)
		printf(" (%s leased)", value(server, "leases"));
	print_number(server, "connections", "connection");
	print_if_any(server, "accepted", "in all");
	print_if_any(server, "lost", "lost");
	print_if_any(server, "refused", "refused");
	print_number_if_any(server, "restarts", "restart");
	print_number_if_any(server, "watchdog-kills", "watchdog kill");
	putchar('\n');
}

static void print_tables(const struct answer *answer)
{
	struct column listeners[] = {
	    {"ADDRESS", "address", COLUMN_TEXT, 0},
	    {"SERVICE", "service", COLUMN_TEXT, 0},
	    {"STATE", "state", COLUMN_TEXT, 0},
	    {"NOW", "connections", COLUMN_NUMBER, 0},
	    {"IN ALL", "accepted", COLUMN_NUMBER, 0},
	    {"CUT", "cut", COLUMN_NUMBER, 0},
	    {"AGE", "age-ms", COLUMN_AGE, 0},
	    {"TTL", "ttl-ms", COLUMN_AGE, 0},
	    {"ORIGIN", "origin", COLUMN_ORIGIN, 0},
	    {NULL, NULL, COLUMN_TEXT, 0},
	};
	struct column instances[] = {
	    {"ADDRESS", "address", COLUMN_TEXT, 0},
	    {"INSTANCES", "instances", COLUMN_NUMBER, 0},
	    {"READY", "ready", COLUMN_NUMBER, 0},
	    {NULL, NULL, COLUMN_TEXT, 0},
	};
	struct column workers[] = {
	    {"WORKER", "slot", COLUMN_NUMBER, 0},
	    {"PID", "pid", COLUMN_NUMBER, 0},
	    {"GENERATION", "generation", COLUMN_NUMBER, 0},
	    {"STATE", "state", COLUMN_TEXT, 0},
	    {"NOW", "connections", COLUMN_NUMBER, 0},
	    {"IN ALL", "accepted", COLUMN_NUMBER, 0},
	    {"REQUESTS", "requests", COLUMN_NUMBER, 0},
	    {"RESTARTS", "restarts", COLUMN_NUMBER, 0},
	    {"AGE", "age-ms", COLUMN_AGE, 0},
	    {NULL, NULL, COLUMN_TEXT, 0},
	};

	for (const struct row *row = answer->first; row != NULL; row = row->next) {
		if (is_line(row, "server"))
			print_server(row);
	}
	print_table(answer, "listener", NULL, listeners);
	print_table(answer, "listener", "instances", instances);
	print_table(answer, "worker", NULL, workers);
}

/* ---- for programs ---- */

static void print_string(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	putchar('"');
	while (*at != '\0') {
		size_t length = reply_utf8(at);

		if (*at == '"' || *at == '\\')
			printf("\\%c", *at);
		else if (length == 0)
			printf("\\ufffd");
		else if (*at < 0x20 || *at == 0x7f)
			printf("\\u%04x", *at);
		else
			printf("%.*s", (int)length, (const char *)at);
		at += length > 0 ? length : 1;
	}
	putchar('"');
}

/* What stays a string though it has the look of a number, or of nothing at all. */
static bool is_text(const char *name, size_t length)
{
	static const char *const texts[] = {"service", "address", "version"};

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		if (strlen(texts[i]) == length && strncmp(name, texts[i], length) == 0)
			return true;
	}
	return false;
}

/* One word as `"age_ms": 12`: with underscores, which languages take for part of a name. */
static void print_member(const char *word, const char *equals)
{
	putchar('"');
	for (const char *c = word; c < equals; c++)
		putchar(*c == '-'                                          ? '_'
			: *c > ' ' && *c < 0x7f && *c != '"' && *c != '\\' ? *c
									   : '?');
	printf("\":");
	if (is_text(word, (size_t)(equals - word)))
		print_string(equals + 1);
	else if (strcmp(equals + 1, "-") == 0)
		printf("null");
	else if (is_number(equals + 1))
		printf("%s", equals + 1);
	else
		print_string(equals + 1);
}

static void print_object(const struct row *row)
{
	const char *word = row->words, *separator = "";

	putchar('{');
	for (size_t i = 0; i < row->count; i++, word += strlen(word) + 1) {
		const char *equals = strchr(word, '=');

		if (equals == NULL)
			continue;
		printf("%s", separator);
		print_member(word, equals);
		separator = ",";
	}
	putchar('}');
}

static void print_array(const struct answer *answer, const char *word)
{
	const char *separator = "\n";

	putchar('[');
	for (const struct row *row = answer->first; row != NULL; row = row->next) {
		if (!is_line(row, word))
			continue;
		printf("%s", separator);
		print_object(row);
		separator = ",\n";
	}
	putchar(']');
}

static void print_json(const struct answer *answer)
{
	const struct row *server = answer->first;

	while (server != NULL && !is_line(server, "server"))
		server = server->next;
	printf("{\"server\":");
	if (server != NULL)
		print_object(server);
	else
		printf("null");
	printf(",\n\"listeners\":");
	print_array(answer, "listener");
	printf(",\n\"workers\":");
	print_array(answer, "worker");
	printf("}\n");
}

/* ---- the command ---- */

int status_run(const struct command *command, const struct options *options)
{
	struct answer answer = {.first = NULL};
	struct client client = {.fd = -1};
	int status = remote_connect_or_fail(command, options, &client);

	answer.end = &answer.first;
	if (status == STATUS_DONE)
		status = read_answer(command, &client, &answer);
	client_close(&client);
	if (status == STATUS_DONE) {
		if (options->json)
			print_json(&answer);
		else
			print_tables(&answer);
		status = remote_printed(command, status);
	}
	release(&answer);
	return status;
}
