/*
 * The lines that clients and a master exchange (PROTOCOL), from the client's side: a request
 * written word by word, an answer taken apart again. Nothing is sent or allocated here, and what
 * comes is not believed: too many words and bad quotes are errors, and nothing reaches a terminal
 * raw.
 */
#ifndef LASTCALL_REPLY_H
#define LASTCALL_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ports.h"

#define REQUEST_MAX 4096 /* bytes of a line, its end included */
#define REPLY_WORDS_MAX 64
#define REPLY_DISPLAY 1024 /* room for every text that is shown, escaped */

/* ---- a request ---- */

struct request {
	char line[REQUEST_MAX];
	size_t length;
	bool too_long; /* something did not fit: do not send it */
};

/* Adds a word, quoted where it has to be. The first one makes the request. */
void request_word(struct request *request, const char *word);

/* Adds the option NAME=VALUE as one word; nothing when value is NULL. */
void request_option(struct request *request, const char *name, const char *value);

/* Ends the line. Returns 0, or -1 when it is too long. */
int request_end(struct request *request);

/* ---- an answer ---- */

enum reply_kind {
	REPLY_OK,
	REPLY_ERROR, /* words[1] is the code, text the rest of the line */
	REPLY_CLOSED, /* a lease was closed: words[1] is its address */
	REPLY_LINE, /* any other line: words[0] says which */
	REPLY_BAD, /* no line of the protocol; text is what is wrong with it */
};

struct reply {
	enum reply_kind kind;
	const char *words[REPLY_WORDS_MAX];
	size_t count;
	const char *text;
};

/* Takes a line (without its end) apart, in place: reply points into it. */
void reply_parse(struct reply *reply, char *line);

/* The value of the word NAME=VALUE, or NULL. */
const char *reply_value(const struct reply *reply, const char *name);

/* Reads the words of a RECEIPT; those that are missing are 0. Returns 0, or -1 when none is there.
 */
int reply_receipt(const struct reply *reply, struct receipt *receipt);

/* The length of the UTF-8 sequence that text begins with, or 0 when that is none. */
size_t reply_utf8(const unsigned char *text);

/*
 * Writes what a person may see of a text: control characters, also those that UTF-8 has in two
 * bytes, and what is no UTF-8, become \xHH. Always NUL-terminated; returns out.
 */
const char *reply_display(const char *text, char *out, size_t size);

#endif
