/*
 * Fuzzes request lines of the control protocol: words lie in the text, and what is written of them
 * is read as the same words; options, networks and ranges of ports take any word. corpus_test
 * replays the corpus.
 *
 * Sources: master/control_line.c common/network.c common/directive.c common/diagnostics.c
 */
#include "control_line.h"
#include "network.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_line(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "control_line_fuzz: broken: %s\n", what);
		abort();
	}
}

/* Writes every word; *all is false when one was left out. */
static void write_line_words(const struct line *line, struct line_out *out, bool *all)
{
	*all = true;
	out->length = 0;
	for (size_t i = 0; i < line->count; i++) {
		size_t before = out->length;

		line_put_word(out, "", line->words[i]);
		*all = *all && out->length > before;
		require_line(out->length < sizeof(out->text), "there is room for an end");
	}
	for (size_t i = 0; i < out->length; i++)
		require_line(out->text[i] >= 0x20 && out->text[i] < 0x7f, "printable ASCII");
}

static void check_line_again(const struct line *line)
{
	static struct line_out out;
	static struct line again;
	const char *why;
	bool all;

	write_line_words(line, &out, &all);
	if (!all)
		return;
	require_line(line_split(&again, out.text, out.length, &why) == 0, "it is read again");
	require_line(again.count == line->count, "as many words");
	for (size_t i = 0; i < line->count; i++)
		require_line(strcmp(line->words[i], again.words[i]) == 0, "the same words");
}

static void check_line_text(const char *word)
{
	static struct line_out out;

	out.length = 0;
	line_put_text(&out, word);
	line_put_text(&out, word);
	line_put_end(&out);
	require_line(out.length <= CONTROL_LINE_MAX, "a text fits a line");
	for (size_t i = 0; i + 1 < out.length; i++)
		require_line(out.text[i] >= 0x20 && out.text[i] < 0x7f && out.text[i] != '"',
		    "a text is printable");
}

static void check_line_options(const struct line *line)
{
	static const struct directive *const tables[] = {
	    line_open_options, line_lease_options, line_close_options, line_stop_options};

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
		struct line_options options;
		char why[DIRECTIVE_WHY] = "";
		size_t first = SIZE_MAX;

		if (line_options_read(&options, tables[i], line, &first, why, sizeof(why)) == 0) {
			require_line(first >= 1 && (first <= line->count || line->count == 0),
			    "the first word that is none");
			require_line(!options.folder || options.folder[0] == '/', "absolute");
			require_line(options.ttl >= 0 && options.heartbeat >= 0, "no negative");
		} else {
			require_line(why[0] != '\0', "why");
		}
		line_options_release(&options);
	}
}

static void check_line_policy(const char *word)
{
	union address_socket four = {.in = {.sin_family = AF_INET}};
	union address_socket six = {.in6 = {.sin6_family = AF_INET6}};
	struct port_range range;
	struct network network;
	const char *why = NULL;

	memset(&four.in.sin_addr, 0x5a, sizeof(four.in.sin_addr));
	if (port_range_parse(&range, word, &why) == 0)
		require_line(range.first >= 1 && range.first <= range.last && range.last <= 65535,
		    "a range of ports");
	else
		require_line(why != NULL, "why it is no range");
	if (network_parse(&network, word, &why) == -1)
		return;
	require_line(network.bits <= (network.family == AF_INET6 ? 128 : 32), "the prefix");
	if (network.family != AF_UNSPEC)
		require_line(!network_has(&network, &four) || !network_has(&network, &six),
		    "a network of one family");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct line line;
	const char *why = NULL;
	char *text;

	if (size > CONTROL_LINE_MAX - 1)
		size = CONTROL_LINE_MAX - 1;
	for (size_t i = 0; i < size; i++)
		if (data[i] == '\0' || data[i] == '\n')
			size = i;
	text = malloc(size + 1);
	if (!text)
		abort();
	memcpy(text, data, size);
	if (line_split(&line, text, size, &why) == -1) {
		require_line(why != NULL, "why");
		free(text);
		return 0;
	}
	for (size_t i = 0; i < line.count; i++) {
		require_line(line.words[i] >= text && line.words[i] <= text + size, "in the text");
		require_line(
		    memchr(line.words[i], '\0', (size_t)(text + size + 1 - line.words[i])) != NULL,
		    "an end in the text");
		check_line_text(line.words[i]);
		check_line_policy(line.words[i]);
	}
	check_line_options(&line);
	check_line_again(&line);
	free(text);
	return 0;
}
