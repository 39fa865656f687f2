/* The command line; see options.h. Options are rows of a table; a value may stand in the next word
 * or after '='. */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "directive.h"
#include "handover.h"

/* How an option's value is taken. */
enum value { VALUE_NONE, VALUE_TEXT, VALUE_NUMBER, VALUE_DESCRIPTOR, VALUE_LISTEN, VALUE_DURATION };

static const struct option {
	const char *letter, *word;
	unsigned takes; /* commands that have it; 0: all */
	enum value value;
	size_t offset;
	int64_t min; /* of a duration, ms */
} table[] = {
    {"-h", "--help", 0, VALUE_NONE, offsetof(struct options, help), 0},
    {"-l", "--listen", TAKES_LISTEN | TAKES_LISTEN_SERVICE, VALUE_LISTEN, 0, 0},
    {"-c", "--config", TAKES_CONFIG, VALUE_TEXT, offsetof(struct options, config_file), 0},
    {"-p", "--pid-file", TAKES_PID_FILE, VALUE_TEXT, offsetof(struct options, pid_file), 0},
    {"-u", "--user", TAKES_RUNNING, VALUE_TEXT, offsetof(struct options, user), 0},
    {"-e", "--error-log", TAKES_RUNNING, VALUE_TEXT, offsetof(struct options, error_log), 0},
    {"-w", "--workers", TAKES_RUNNING, VALUE_NUMBER, offsetof(struct options, workers), 0},
    {"-d", "--detach", TAKES_DETACH, VALUE_NONE, offsetof(struct options, detach), 0},
    {"-s", "--control", TAKES_CLIENT | TAKES_RUNNING, VALUE_TEXT, offsetof(struct options, control),
	0},
    {NULL, "--no-control", TAKES_RUNNING, VALUE_NONE, offsetof(struct options, no_control), 0},
    {NULL, "--token-file", TAKES_CLIENT | TAKES_RUNNING, VALUE_TEXT,
	offsetof(struct options, token_file), 0},
    {NULL, "--ready-fd", TAKES_RUNNING, VALUE_DESCRIPTOR, offsetof(struct options, ready_fd), 0},
    {NULL, "--now", TAKES_NOW, VALUE_NONE, offsetof(struct options, now), 0},
    {NULL, "--json", TAKES_JSON, VALUE_NONE, offsetof(struct options, json), 0},
    {NULL, "--grace", TAKES_GRACE, VALUE_DURATION, offsetof(struct options, grace), 0},
    {NULL, "--ttl", TAKES_LEASE, VALUE_DURATION, offsetof(struct options, ttl), 1},
    {NULL, "--heartbeat", TAKES_LEASE, VALUE_DURATION, offsetof(struct options, heartbeat), 100},
    {NULL, "--private", TAKES_LEASE, VALUE_NONE, offsetof(struct options, alone), 0},
};

static void *at(struct options *options, const struct option *option)
{
	return (char *)options + option->offset;
}

/* Finds the option of a word, which may be "--word=value". */
static const struct option *find(const char *word, unsigned takes)
{
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		const struct option *option = &table[i];
		size_t length = strlen(option->word);

		if (option->takes != 0 && !(option->takes & takes))
			continue;
		if (option->letter != NULL && strcmp(word, option->letter) == 0)
			return option;
		if (strncmp(word, option->word, length) == 0 &&
		    (word[length] == '\0' || word[length] == '='))
			return option;
	}
	return NULL;
}

static int parse_number(const char *text, long min, long max, long *number)
{
	char *end;

	errno = 0;
	*number = strtol(text, &end, 10);
	return errno != 0 || end == text || *end != '\0' || *number < min || *number > max ? -1 : 0;
}

static int set_number(struct options *options, const struct option *option, const char *name,
    const char *value, char *why, size_t size)
{
	/* A descriptor is closed after use: were it 2, the log would go to whatever is opened in
	 * its place. */
	long min = option->value == VALUE_NUMBER ? 1 : STDERR_FILENO + 1;
	long max = option->value == VALUE_NUMBER ? 256 : 1 << 20;
	long number;

	if (parse_number(value, min, max, &number) == -1) {
		snprintf(
		    why, size, "%s: \"%s\" is not a number from %ld to %ld", name, value, min, max);
		return -1;
	}
	if (option->value == VALUE_NUMBER)
		*(long *)at(options, option) = number;
	else
		*(int *)at(options, option) = (int)number;
	return 0;
}

/* Whether the arguments of a service in place are a program with its own options. */
static bool takes_command(const char *service)
{
	const struct service_kind *kind = service_kind_find(service);
	const struct directive *row = NULL;

	if (kind != NULL && kind->argument != NULL)
		row = directive_find(kind->directives, kind->argument);
	return row != NULL && row->type == DIRECTIVE_COMMAND;
}

/* How many words a service has on a command line: up to the next option, or those of a program, up
 * to `--`. */
static int count_words(char *const *words, int left)
{
	bool command = left > 0 && takes_command(words[0]);
	int count = 0;

	while (count < left && (command ? strcmp(words[count], "--") != 0 : words[count][0] != '-'))
		count++;
	return count;
}

/* `-l ADDR`, and with a service its words. Returns how many words it took after the address. */
static int add_listen(struct options *options, const char *address, char *const *rest, int left,
    bool with_service, char *why, size_t size)
{
	int count = 0;

	if (options->listen_count == OPTIONS_LISTEN_MAX) {
		snprintf(why, size, "-l: more than %d addresses; write a configuration",
		    OPTIONS_LISTEN_MAX);
		return -1;
	}
	if (with_service)
		count = count_words(rest, left);
	if (with_service && count == 0) {
		snprintf(why, size, "-l %s: what is to be served there? (-l ADDR SERVICE [ARG...])",
		    address);
		return -1;
	}
	options->listen[options->listen_count++] =
	    (struct options_listen){.address = address, .words = rest, .count = count};
	/* The `--` that ended a program's words is no word of anybody's. */
	return count < left && strcmp(rest[count], "--") == 0 ? count + 1 : count;
}

static int set_duration(
    struct options *options, const struct option *option, const char *value, char *why, size_t size)
{
	const struct directive row = {
	    .name = option->word,
	    .type = DIRECTIVE_DURATION,
	    .offset = option->offset,
	    .min = option->min,
	    .max = DIRECTIVE_NO_LIMIT,
	};

	return directive_set(&row, options, &value, 1, NULL, why, size);
}

/* Writes an option's value; rest are the left words behind it. Returns how many of those belong to
 * it too, or -1 with why. */
static int set_value(struct options *options, const struct option *option, unsigned takes,
    const char *name, const char *value, char *const *rest, int left, char *why, size_t size)
{
	switch (option->value) {
	case VALUE_TEXT:
		*(const char **)at(options, option) = value;
		return 0;
	case VALUE_LISTEN:
		return add_listen(
		    options, value, rest, left, takes & TAKES_LISTEN_SERVICE, why, size);
	case VALUE_DURATION:
		return set_duration(options, option, value, why, size);
	default:
		return set_number(options, option, name, value, why, size);
	}
}

/* ADDR SERVICE [ARG…] [-- COMMAND…], to the end of the words. Returns 0, or -1 with why. */
static int take_service(
    struct options *options, unsigned takes, int argc, char *const *argv, char *why, size_t size)
{
	int i = 0;

	if (argc > 0 && !(takes & TAKES_LEASE && strcmp(argv[0], "--") == 0))
		options->address = argv[i++];
	options->words = argv + i;
	while (i < argc && !(takes & TAKES_LEASE && strcmp(argv[i], "--") == 0)) {
		options->count++;
		i++;
	}
	if (i == argc)
		return 0;
	options->program = argv + i + 1;
	if (options->program[0] != NULL)
		return 0;
	snprintf(why, size, "a command is missing after --");
	return -1;
}

/* A word that is no option. Returns how many words it took beside itself, or -1 with why. */
static int take_word(
    struct options *options, unsigned takes, int argc, char *const *argv, char *why, size_t size)
{
	bool dash = argv[0][0] == '-';

	if (takes & TAKES_SERVICE && (!dash || strcmp(argv[0], "--") == 0)) {
		/* `--` before ADDR ends the options, but that of a lease begins its command. */
		int skipped = dash && !(takes & TAKES_LEASE);

		return take_service(options, takes, argc - skipped, argv + skipped, why, size) == -1
		    ? -1
		    : argc - 1;
	}
	if (!dash && takes & TAKES_FOLDER && options->folder == NULL) {
		options->folder = argv[0];
		return 0;
	}
	if (!dash && takes & TAKES_ADDRESS && options->address == NULL) {
		options->address = argv[0];
		return 0;
	}
	snprintf(why, size, dash ? "unknown option %s" : "unexpected \"%s\"", argv[0]);
	return -1;
}

int options_parse(
    struct options *options, unsigned takes, int argc, char *const *argv, char *why, size_t size)
{
	*options = (struct options){.ready_fd = -1, .grace = -1, .ttl = -1, .heartbeat = -1};
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i],
			   *equals = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
		const struct option *option =
		    word[0] == '-' && word[1] != '\0' ? find(word, takes) : NULL;
		const char *value = NULL;
		int more = 0;

		if (option == NULL) {
			more = take_word(options, takes, argc - i, argv + i, why, size);
		} else if (option->value == VALUE_NONE) {
			if (equals != NULL) {
				snprintf(why, size, "%s takes no value", option->word);
				return -1;
			}
			*(bool *)at(options, option) = true;
		} else {
			value = equals != NULL ? equals + 1 : i + 1 < argc ? argv[++i] : NULL;
			if (value == NULL) {
				snprintf(why, size, "%s wants a value", word);
				return -1;
			}
			more = set_value(options, option, takes, word, value, argv + i + 1,
			    argc - i - 1, why, size);
		}
		if (more == -1)
			return -1;
		i += more;
	}
	return 0;
}
