/*
 * Reads the body of a request away. A machine that goes over the framing once, byte by byte, and
 * skips the data.
 *
 *   FIRST_DIGIT ─► DIGITS ─► SIZE_LF ─► DATA ─► DATA_CR ─► DATA_LF ─► FIRST_DIGIT
 *                    │  ▲         └─ size 0 ─► TRAILER ─► END_LF ─► COMPLETE
 *                    ▼  └─ CR                    │ ▲
 *      BEFORE_NAME ─► … AFTER_VALUE              ▼ └── VALUE_LF
 *            (an extension)                     NAME ─► VALUE
 *
 * (AT_ before each; it names what comes next.) A body of a known length is data with nothing around
 * it. Any of them may end in REFUSED.
 */
#include "body.h"

#include <stdbool.h>

#include "octet.h"

enum state {
	AT_LENGTH, /* data of a known length */
	AT_FIRST_DIGIT,
	AT_DIGITS,
	AT_BEFORE_NAME, /* of an extension */
	AT_EXTENSION_NAME,
	AT_AFTER_NAME,
	AT_BEFORE_VALUE,
	AT_EXTENSION_VALUE,
	AT_QUOTED,
	AT_ESCAPED,
	AT_AFTER_QUOTED,
	AT_AFTER_VALUE, /* white space, which only another extension may follow */
	AT_SIZE_LF,
	AT_DATA,
	AT_DATA_CR,
	AT_DATA_LF,
	AT_TRAILER, /* at the beginning of a line */
	AT_NAME,
	AT_VALUE,
	AT_VALUE_LF,
	AT_END_LF,
	COMPLETE,
	REFUSED,
};

/* Each step returns true to go on, false when it has refused. */
static bool enter(struct body *body, enum state state)
{
	body->state = (uint8_t)state;
	return true;
}

static bool refuse(struct body *body, uint16_t status)
{
	body->status = status;
	body->state = REFUSED;
	return false;
}

/* The next state if byte is the one that must come here. */
static bool expect(struct body *body, char byte, char wanted, enum state next)
{
	return byte == wanted ? enter(body, next) : refuse(body, 400);
}

static bool is_space(char byte)
{
	return byte == ' ' || byte == '\t';
}

static int hex_value(char byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	if (byte >= 'a' && byte <= 'f')
		return byte - 'a' + 10;
	if (byte >= 'A' && byte <= 'F')
		return byte - 'A' + 10;
	return -1;
}

/* ---- the size of a chunk, and its extensions ---- */

/* The size is read whole before it is judged, so that what is no number is 400 and not 413. */
static bool end_size(struct body *body)
{
	if (body->left > INT64_MAX)
		return refuse(body, 400);
	if (body->left > body->room)
		return refuse(body, 413);
	body->room -= body->left;
	return true;
}

/* What ends a size or an extension: the end of the line, another extension, or white space before
 * that. */
static bool read_end_of_part(struct body *body, char byte)
{
	if (byte == '\r')
		return enter(body, AT_SIZE_LF);
	if (byte == ';')
		return enter(body, AT_BEFORE_NAME);
	return is_space(byte) ? enter(body, AT_AFTER_VALUE) : refuse(body, 400);
}

static bool read_digit(struct body *body, char byte)
{
	int digit = hex_value(byte);

	if (digit < 0 && body->digits == 0)
		return refuse(body, 400);
	if (digit < 0)
		return read_end_of_part(body, byte) && end_size(body);
	if (body->digits == BODY_DIGITS_MAX)
		return refuse(body, 400);
	body->digits++;
	body->left = body->left << 4 | (uint64_t)digit;
	return enter(body, AT_DIGITS);
}

/* A quoted-string of RFC 9110, 5.6.4: CR and LF are in it no less wrong than elsewhere. */
static bool read_quoted(struct body *body, char byte)
{
	if (byte != '\t' && !octet_is(byte, VALUE_BYTE))
		return refuse(body, 400);
	if (body->state == AT_ESCAPED)
		return enter(body, AT_QUOTED);
	if (byte == '\\')
		return enter(body, AT_ESCAPED);
	return byte == '"' ? enter(body, AT_AFTER_QUOTED) : true;
}

/* The states from AT_BEFORE_NAME to AT_AFTER_VALUE: a byte that is not of the size. */
static bool read_extension(struct body *body, char byte)
{
	bool token = octet_is(byte, TOKEN_BYTE);

	switch ((enum state)body->state) {
	case AT_BEFORE_NAME:
		return is_space(byte) ||
		    (token ? enter(body, AT_EXTENSION_NAME) : refuse(body, 400));
	case AT_EXTENSION_NAME:
		if (token)
			return true;
		if (byte == '=')
			return enter(body, AT_BEFORE_VALUE);
		return is_space(byte) ? enter(body, AT_AFTER_NAME) : read_end_of_part(body, byte);
	case AT_AFTER_NAME:
		if (byte == '=')
			return enter(body, AT_BEFORE_VALUE);
		return is_space(byte) || expect(body, byte, ';', AT_BEFORE_NAME);
	case AT_BEFORE_VALUE:
		if (is_space(byte))
			return true;
		return token ? enter(body, AT_EXTENSION_VALUE) : expect(body, byte, '"', AT_QUOTED);
	case AT_EXTENSION_VALUE:
		return token || read_end_of_part(body, byte);
	case AT_QUOTED:
	case AT_ESCAPED:
		return read_quoted(body, byte);
	case AT_AFTER_QUOTED:
		return read_end_of_part(body, byte);
	default: /* AT_AFTER_VALUE */
		return is_space(byte) || expect(body, byte, ';', AT_BEFORE_NAME);
	}
}

/* ---- the trailer section ---- */

static bool read_trailer(struct body *body, char byte)
{
	if (++body->trailer > BODY_TRAILER_MAX)
		return refuse(body, 431);
	switch ((enum state)body->state) {
	case AT_TRAILER:
		if (byte == '\r')
			return enter(body, AT_END_LF);
		if (!octet_is(byte, TOKEN_BYTE))
			return refuse(body, 400);
		if (body->fields == BODY_TRAILER_FIELDS_MAX)
			return refuse(body, 431);
		body->fields++;
		return enter(body, AT_NAME);
	case AT_NAME:
		return octet_is(byte, TOKEN_BYTE) || expect(body, byte, ':', AT_VALUE);
	case AT_VALUE:
		return byte == '\t' || octet_is(byte, VALUE_BYTE) ||
		    expect(body, byte, '\r', AT_VALUE_LF);
	case AT_VALUE_LF:
		return expect(body, byte, '\n', AT_TRAILER);
	default: /* AT_END_LF */
		return expect(body, byte, '\n', COMPLETE);
	}
}

/* ---- all of it ---- */

/* Goes on by one byte that is not data. */
static bool step(struct body *body, char byte)
{
	switch ((enum state)body->state) {
	case AT_FIRST_DIGIT:
	case AT_DIGITS:
		return read_digit(body, byte);
	case AT_BEFORE_NAME:
	case AT_EXTENSION_NAME:
	case AT_AFTER_NAME:
	case AT_BEFORE_VALUE:
	case AT_EXTENSION_VALUE:
	case AT_QUOTED:
	case AT_ESCAPED:
	case AT_AFTER_QUOTED:
	case AT_AFTER_VALUE:
		/* Counted with white space and ';', but for the ';' that told that one comes. */
		if (++body->extensions > BODY_EXTENSIONS_MAX)
			return refuse(body, 413);
		return read_extension(body, byte);
	case AT_SIZE_LF:
		body->digits = 0;
		return expect(body, byte, '\n', body->left > 0 ? AT_DATA : AT_TRAILER);
	case AT_DATA_CR:
		return expect(body, byte, '\r', AT_DATA_LF);
	case AT_DATA_LF:
		return expect(body, byte, '\n', AT_FIRST_DIGIT);
	case AT_TRAILER:
	case AT_NAME:
	case AT_VALUE:
	case AT_VALUE_LF:
	case AT_END_LF:
		return read_trailer(body, byte);
	case AT_LENGTH:
	case AT_DATA:
	case COMPLETE:
	case REFUSED:
		break;
	}
	return false;
}

/* Skips what there is of the data. Returns how much that was. */
static size_t skip(struct body *body, size_t length)
{
	size_t skipped = body->left < length ? (size_t)body->left : length;

	body->left -= skipped;
	if (body->left == 0)
		body->state = body->state == AT_LENGTH ? COMPLETE : AT_DATA_CR;
	return skipped;
}

void body_init_length(struct body *body, uint64_t length)
{
	*body = (struct body){.left = length, .state = length > 0 ? AT_LENGTH : COMPLETE};
}

void body_init_chunked(struct body *body, uint64_t max)
{
	*body = (struct body){.room = max, .state = AT_FIRST_DIGIT};
}

enum body_result body_read(struct body *body, const char *bytes, size_t length, size_t *used)
{
	size_t at = 0;

	while (at < length && body->state < COMPLETE) {
		if (body->state == AT_LENGTH || body->state == AT_DATA)
			at += skip(body, length - at);
		else if (step(body, bytes[at]))
			at++;
	}
	*used = at;
	if (body->state == COMPLETE)
		return BODY_DONE;
	return body->state == REFUSED ? BODY_BAD : BODY_MORE;
}
