/* The command line; see options.h. Options are rows of a table; a value may stand in the next word
 * or after '='. */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How an option's value is taken. */
enum value { VALUE_NONE, VALUE_TEXT, VALUE_NUMBER, VALUE_DESCRIPTOR, VALUE_LISTEN };

static const struct option {
	const char *letter, *word;
	unsigned takes; /* commands that have it; 0: all */
	enum value value;
	size_t offset;
} table[] = {
    {"-h", "--help", 0, VALUE_NONE, offsetof(struct options, help)},
    {"-l", "--listen", TAKES_LISTEN | TAKES_LISTEN_SERVICE, VALUE_LISTEN, 0},
    {"-c", "--config", TAKES_CONFIG, VALUE_TEXT, offsetof(struct options, config_file)},
    {"-p", "--pid-file", TAKES_PID_FILE, VALUE_TEXT, offsetof(struct options, pid_file)},
    {"-u", "--user", TAKES_RUNNING, VALUE_TEXT, offsetof(struct options, user)},
    {"-e", "--error-log", TAKES_RUNNING, VALUE_TEXT, offsetof(struct options, error_log)},
    {"-w", "--workers", TAKES_RUNNING, VALUE_NUMBER, offsetof(struct options, workers)},
    {"-d", "--detach", TAKES_DETACH, VALUE_NONE, offsetof(struct options, detach)},
    {NULL, "--ready-fd", TAKES_RUNNING, VALUE_DESCRIPTOR, offsetof(struct options, ready_fd)},
    {NULL, "--now", TAKES_NOW, VALUE_NONE, offsetof(struct options, now)},
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

/* `-l ADDR`, and with a service all words up to the next option. Returns how many words it took
 * after the address. */
static int add_listen(struct options *options, const char *address, char *const *rest, int left,
    bool with_service, char *why, size_t size)
{
	int count = 0;

	if (options->listen_count == OPTIONS_LISTEN_MAX) {
		snprintf(why, size, "-l: more than %d addresses; write a configuration",
		    OPTIONS_LISTEN_MAX);
		return -1;
	}
	while (with_service && count < left && rest[count][0] != '-')
		count++;
	if (with_service && count == 0) {
		snprintf(why, size, "-l %s: what is to be served there? (-l ADDR SERVICE [ARG...])",
		    address);
		return -1;
	}
	options->listen[options->listen_count++] =
	    (struct options_listen){.address = address, .words = rest, .count = count};
	return count;
}

int options_parse(
    struct options *options, unsigned takes, int argc, char *const *argv, char *why, size_t size)
{
	*options = (struct options){.ready_fd = -1};
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i],
			   *equals = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
		const struct option *option =
		    word[0] == '-' && word[1] != '\0' ? find(word, takes) : NULL;
		const char *value = NULL;
		int more = 0;

		if (option == NULL) {
			if (word[0] != '-' && (takes & TAKES_FOLDER) && options->folder == NULL) {
				options->folder = word;
				continue;
			}
			snprintf(why, size,
			    word[0] == '-' ? "unknown option %s" : "unexpected \"%s\"", word);
			return -1;
		}
		if (option->value == VALUE_NONE) {
			if (equals != NULL) {
				snprintf(why, size, "%s takes no value", option->word);
				return -1;
			}
			*(bool *)at(options, option) = true;
			continue;
		}
		value = equals != NULL ? equals + 1 : i + 1 < argc ? argv[++i] : NULL;
		if (value == NULL) {
			snprintf(why, size, "%s wants a value", word);
			return -1;
		}
		if (option->value == VALUE_TEXT)
			*(const char **)at(options, option) = value;
		else if (option->value == VALUE_LISTEN)
			more = add_listen(options, value, argv + i + 1, argc - i - 1,
			    takes & TAKES_LISTEN_SERVICE, why, size);
		else
			more = set_number(options, option, word, value, why, size);
		if (more == -1)
			return -1;
		i += more;
	}
	return 0;
}
