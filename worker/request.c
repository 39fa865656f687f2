/*
 * Reads the head of an HTTP/1.x request. A machine that goes over the bytes once, in order; the
 * struct holds where it stands, so a call goes on where the last one ran out of bytes. It must
 * never read a byte past length, and never decide by how much of the head is there.
 *
 *   START ─► METHOD ─► TARGET ─► VERSION ─► LINE_LF ─► NAME ─► SPACE ─► VALUE ─► VALUE_LF ─┐
 *     ▲ │                                              ▲ └─► END_LF ─► COMPLETE            │
 *  START_LF (an empty line before it)                  └────────────────────────────────────┘
 *
 * (AT_ before each; it names what comes next.) Any of them may end in REFUSED. What a line means is
 * judged when its LF is there.
 */
#include "request.h"

#include <arpa/inet.h>
#include <string.h>

#include "octet.h"

enum state {
	AT_START,
	AT_START_LF,
	AT_METHOD,
	AT_TARGET,
	AT_VERSION,
	AT_LINE_LF,
	AT_NAME,
	AT_SPACE,
	AT_VALUE,
	AT_VALUE_LF,
	AT_END_LF,
	COMPLETE,
	REFUSED,
};

/* What must not come twice, or is judged against the rest at the end of the head. */
enum seen {
	SEEN_HOST = 1,
	SEEN_CODING = 2,
	SEEN_CLOSE = 4,
	SEEN_KEEP_ALIVE = 8,
	SEEN_AUTHORITY = 16, /* the target names the host: the field does not count */
};

/* Empty lines that a client may send before the request line (RFC 9112, 2.2); two bytes each. */
#define EMPTY_LINES_MAX 2

static bool is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

static bool is_space(char byte)
{
	return byte == ' ' || byte == '\t';
}

static bool is_hex(char byte)
{
	return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

/* Whether text is word, which is in lower case, without regard to case. */
static bool same_word(const char *text, size_t length, const char *word, size_t word_length)
{
	if (length != word_length)
		return false;
	for (size_t i = 0; i < length; i++) {
		char byte = text[i];
		if (byte >= 'A' && byte <= 'Z')
			byte = (char)(byte + ('a' - 'A'));
		if (byte != word[i])
			return false;
	}
	return true;
}

#define SAME_WORD(text, length, word) same_word(text, length, word, sizeof(word) - 1)

/* Each step returns true to go on with the next state, false when it needs bytes or has refused. */
static bool enter(struct request *request, enum state state)
{
	request->state = (uint8_t)state;
	return true;
}

static bool refuse(struct request *request, uint16_t status)
{
	request->status = status;
	request->state = REFUSED;
	return false;
}

/* ---- Host and target ---- */

static bool port_valid(const char *port, size_t length)
{
	uint32_t number = 0;
	if (length > 5)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!is_digit(port[i]))
			return false;
		number = number * 10 + (uint32_t)(port[i] - '0');
	}
	return number <= 65535;
}

/*
 * The length of "[address]" at the start of text, or 0: no IPv6 address, or one with a zone. Text
 * of targets and values has no NUL, so the copy ends where the address does.
 */
static size_t literal_length(const char *text, size_t length)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr binary;
	const char *end = memchr(text, ']', length);
	size_t inner;

	if (!end)
		return 0;
	inner = (size_t)(end - text) - 1;
	if (inner >= sizeof(address))
		return 0;
	memcpy(address, text + 1, inner);
	address[inner] = 0;
	return inet_pton(AF_INET6, address, &binary) == 1 ? inner + 2 : 0;
}

/* The length of the reg-name (or IPv4 address, which is one) at the start of text, or 0. */
static size_t name_length(const char *text, size_t length)
{
	size_t at = 0;
	while (at < length && octet_is(text[at], HOST_BYTE)) {
		if (text[at] == '%') {
			if (length - at < 3 || !is_hex(text[at + 1]) || !is_hex(text[at + 2]))
				return 0;
			at += 2;
		}
		at++;
	}
	return at;
}

/* Whether text is host[:port], with a host that is not empty; the port may be ("host:"). */
static bool authority_valid(const char *text, size_t length)
{
	size_t host = 0;
	if (length > 0)
		host = text[0] == '[' ? literal_length(text, length) : name_length(text, length);
	if (host == 0)
		return false;
	return host == length ||
	    (text[host] == ':' && port_valid(text + host + 1, length - host - 1));
}

/* Path and query from path_at to the end of the target. */
static void split_path(struct request *request, const char *bytes, uint32_t path_at)
{
	uint32_t end = request->target.at + request->target.length;
	const char *mark = memchr(bytes + path_at, '?', end - path_at);
	uint32_t path_end = mark ? (uint32_t)(mark - bytes) : end;

	request->path = (struct slice){path_at, path_end - path_at};
	if (mark)
		request->query = (struct slice){path_end + 1, end - path_end - 1};
}

/* "http://host/path?query". Returns false if it is none. */
static bool read_absolute(struct request *request, const char *bytes)
{
	const char *text = bytes + request->target.at;
	uint32_t length = request->target.length, scheme, at;

	if (length > 7 && SAME_WORD(text, 7, "http://"))
		scheme = 7;
	else if (length > 8 && SAME_WORD(text, 8, "https://"))
		scheme = 8;
	else
		return false;
	for (at = scheme; at < length && text[at] != '/' && text[at] != '?';)
		at++;
	if (!authority_valid(text + scheme, at - scheme))
		return false;
	request->host = (struct slice){request->target.at + scheme, at - scheme};
	request->seen |= SEEN_AUTHORITY;
	split_path(request, bytes, request->target.at + at);
	if (request->path.length == 0)
		request->path = (struct slice){request->target.at + scheme - 1, 1};
	return true;
}

/* "host:port", where the port must be there. Returns false if it is none. */
static bool read_authority(struct request *request, const char *bytes)
{
	const char *text = bytes + request->target.at;
	uint32_t length = request->target.length;

	if (!authority_valid(text, length) || !memchr(text, ':', length))
		return false;
	if (text[length - 1] == ':' || text[length - 1] == ']')
		return false;
	request->host = request->target;
	request->seen |= SEEN_AUTHORITY;
	return true;
}

/* Which of the four forms (RFC 9112, 3.2) the target is. Returns false if it is none. */
static bool read_form(struct request *request, const char *bytes)
{
	const char *text = bytes + request->target.at;

	if (request->method == METHOD_CONNECT)
		return read_authority(request, bytes);
	if (text[0] == '/') {
		split_path(request, bytes, request->target.at);
		return true;
	}
	if (text[0] == '*' && request->target.length == 1)
		return request->method == METHOD_OPTIONS;
	return read_absolute(request, bytes);
}

/* ---- The request line ---- */

static bool read_start(struct request *request, const char *bytes, uint32_t length)
{
	uint32_t at = request->position;
	if (at == length)
		return false;
	if (bytes[at] == '\r') {
		request->position++;
		return at < 2 * EMPTY_LINES_MAX ? enter(request, AT_START_LF)
						: refuse(request, 400);
	}
	request->line.at = at;
	request->method_text.at = at;
	return enter(request, AT_METHOD);
}

static bool read_lf(struct request *request, const char *bytes, uint32_t length, enum state next)
{
	if (request->position == length)
		return false;
	if (bytes[request->position] != '\n')
		return refuse(request, 400);
	request->position++;
	return enter(request, next);
}

static enum request_method find_method(const char *text, uint32_t length)
{
	static const struct {
		const char *name;
		uint32_t length;
		enum request_method method;
	} methods[] = {
	    {"GET", 3, METHOD_GET},
	    {"HEAD", 4, METHOD_HEAD},
	    {"POST", 4, METHOD_POST},
	    {"PUT", 3, METHOD_PUT},
	    {"DELETE", 6, METHOD_DELETE},
	    {"OPTIONS", 7, METHOD_OPTIONS},
	    {"TRACE", 5, METHOD_TRACE},
	    {"CONNECT", 7, METHOD_CONNECT},
	    {"PATCH", 5, METHOD_PATCH},
	};

	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
		if (length == methods[i].length && memcmp(text, methods[i].name, length) == 0)
			return methods[i].method;
	return METHOD_OTHER;
}

/*
 * Goes over the bytes of a class from position on. Returns false when the bytes ran out or the line
 * is too long for us. The limit is looked at before the byte that ended the run, so that a line
 * that comes in pieces is refused with the status it would get whole.
 */
static bool skip_in_line(
    struct request *request, const char *bytes, uint32_t length, enum octet_class class)
{
	uint32_t at = request->position;
	while (at < length && octet_is(bytes[at], class))
		at++;
	request->position = at;
	if (at - request->line.at > REQUEST_LINE_MAX)
		return refuse(request, 414);
	return at < length;
}

static bool read_method(struct request *request, const char *bytes, uint32_t length)
{
	struct slice *method = &request->method_text;

	if (!skip_in_line(request, bytes, length, TOKEN_BYTE))
		return false;
	method->length = request->position - method->at;
	if (bytes[request->position] != ' ' || method->length == 0)
		return refuse(request, 400);
	request->method = find_method(bytes + method->at, method->length);
	request->position++;
	request->target.at = request->position;
	return enter(request, AT_TARGET);
}

static bool read_target(struct request *request, const char *bytes, uint32_t length)
{
	struct slice *target = &request->target;

	if (!skip_in_line(request, bytes, length, TARGET_BYTE))
		return false;
	target->length = request->position - target->at;
	if (bytes[request->position] != ' ' || target->length == 0)
		return refuse(request, 400);
	request->position++;
	request->mark = request->position;
	return enter(request, AT_VERSION);
}

static bool read_version(struct request *request, const char *bytes, uint32_t length)
{
	if (!skip_in_line(request, bytes, length, TARGET_BYTE))
		return false;
	if (bytes[request->position] != '\r')
		return refuse(request, 400);
	request->line.length = request->position - request->line.at;
	request->position++;
	return enter(request, AT_LINE_LF);
}

/* The status for a version, 0 for HTTP/1.x, whose minor version it sets. */
static uint16_t read_protocol(struct request *request, const char *text, size_t length)
{
	const char *slash;
	if (length == 8 && memcmp(text, "HTTP/1.", 7) == 0 && is_digit(text[7])) {
		request->minor = text[7] != '0';
		return 0;
	}
	slash = memchr(text, '/', length);
	if (!slash || slash == text || length - (size_t)(slash - text) != 4)
		return 400;
	return is_digit(slash[1]) && slash[2] == '.' && is_digit(slash[3]) ? 505 : 400;
}

/* The version comes before the form of the target, so that the preface of HTTP/2 is a 505. */
static bool read_line_lf(struct request *request, const char *bytes, uint32_t length)
{
	uint32_t version = request->mark;
	uint16_t status;

	if (!read_lf(request, bytes, length, AT_NAME))
		return false;
	request->in_line = false;
	status = read_protocol(request, bytes + version, request->position - 2 - version);
	if (status)
		return refuse(request, status);
	if (!read_form(request, bytes))
		return refuse(request, 400);
	request->name_at = request->position;
	return true;
}

/* ---- The fields ---- */

/* Each of these reads the value of a field and returns 0, or the status to refuse the head with. */
static uint16_t read_host(struct request *request, const char *bytes, struct slice value)
{
	if (request->seen & SEEN_HOST)
		return 400;
	request->seen |= SEEN_HOST;
	if (value.length > 0 && !authority_valid(bytes + value.at, value.length))
		return 400;
	if (!(request->seen & SEEN_AUTHORITY))
		request->host = value;
	return 0;
}

static uint16_t read_connection(struct request *request, const char *bytes, struct slice value)
{
	const char *at = bytes + value.at, *end = at + value.length;

	while (at < end) {
		const char *word = at;
		while (at < end && octet_is(*at, TOKEN_BYTE))
			at++;
		if (SAME_WORD(word, (size_t)(at - word), "close"))
			request->seen |= SEEN_CLOSE;
		else if (SAME_WORD(word, (size_t)(at - word), "keep-alive"))
			request->seen |= SEEN_KEEP_ALIVE;
		while (at < end && !octet_is(*at, TOKEN_BYTE))
			at++;
	}
	return 0;
}

static uint16_t read_length(struct request *request, const char *bytes, struct slice value)
{
	uint64_t number = 0;

	if (request->has_length || (request->seen & SEEN_CODING) || value.length == 0)
		return 400;
	for (uint32_t at = value.at; at < value.at + value.length; at++) {
		if (!is_digit(bytes[at]))
			return 400;
		uint64_t digit = (uint64_t)(bytes[at] - '0');
		if (number > (INT64_MAX - digit) / 10)
			return 400;
		number = number * 10 + digit;
	}
	request->has_length = true;
	request->content_length = number;
	return 0;
}

/*
 * "chunked" once, alone. A list is read only to tell what is unknown (501) from what is wrong
 * (400); empty elements and parameters of "chunked" are wrong, because readers differ about them.
 */
static uint16_t read_coding(struct request *request, const char *bytes, struct slice value)
{
	const char *at = bytes + value.at, *end = at + value.length;

	request->seen |= SEEN_CODING;
	if (request->minor == 0 || request->has_length)
		return 400;
	for (;;) {
		const char *word = at;
		while (at < end && octet_is(*at, TOKEN_BYTE))
			at++;
		if (at == word)
			return 400;
		if (!SAME_WORD(word, (size_t)(at - word), "chunked"))
			return 501;
		if (request->chunked)
			return 400;
		request->chunked = true;
		while (at < end && (*at == ' ' || *at == '\t'))
			at++;
		if (at == end)
			return 0;
		if (*at++ != ',')
			return 400;
		while (at < end && (*at == ' ' || *at == '\t'))
			at++;
	}
}

/* Other expectations than this one may be ignored (RFC 9110, 10.1.1). */
static uint16_t read_expect(struct request *request, const char *bytes, struct slice value)
{
	const char *at = bytes + value.at, *end = at + value.length;

	while (at < end) {
		const char *word = at;
		while (at < end && octet_is(*at, TOKEN_BYTE))
			at++;
		if (SAME_WORD(word, (size_t)(at - word), "100-continue"))
			request->expects_continue = request->minor > 0;
		while (at < end && !octet_is(*at, TOKEN_BYTE))
			at++;
	}
	return 0;
}

static uint16_t read_since(struct request *request, const char *bytes, struct slice value)
{
	(void)bytes;
	request->if_modified_since = value;
	return 0;
}

static uint16_t read_referer(struct request *request, const char *bytes, struct slice value)
{
	(void)bytes;
	request->referer = value;
	return 0;
}

static uint16_t read_agent(struct request *request, const char *bytes, struct slice value)
{
	(void)bytes;
	request->user_agent = value;
	return 0;
}

/*
 * The fields that are read, each in a slot of its own (a compiler warns of an initializer given
 * twice), so one comparison tells. The factors were searched for, so that no two names share one.
 */
#define FIELD_SLOT(first, last, length)                                                            \
	((4 * (unsigned)(first) + 6 * (unsigned)(last) + 7 * (unsigned)(length)) & 31)

static const struct known_field {
	const char *name;
	uint32_t length;
	/* Either reads the value, or it is noted that the field came (enum request_noted). */
	uint16_t (*read)(struct request *request, const char *bytes, struct slice value);
	uint16_t noted;
} known_fields[32] = {
    [FIELD_SLOT('h', 't', 4)] = {"host", 4, read_host, 0},
    [FIELD_SLOT('e', 't', 6)] = {"expect", 6, read_expect, 0},
    [FIELD_SLOT('r', 'r', 7)] = {"referer", 7, read_referer, 0},
    [FIELD_SLOT('c', 'n', 10)] = {"connection", 10, read_connection, 0},
    [FIELD_SLOT('u', 't', 10)] = {"user-agent", 10, read_agent, 0},
    [FIELD_SLOT('c', 'h', 14)] = {"content-length", 14, read_length, 0},
    [FIELD_SLOT('t', 'g', 17)] = {"transfer-encoding", 17, read_coding, 0},
    [FIELD_SLOT('i', 'e', 17)] = {"if-modified-since", 17, read_since, 0},
    [FIELD_SLOT('r', 'e', 5)] = {"range", 5, NULL, NOTED_RANGE},
    [FIELD_SLOT('i', 'e', 8)] = {"if-range", 8, NULL, NOTED_IF_RANGE},
    [FIELD_SLOT('i', 'h', 8)] = {"if-match", 8, NULL, NOTED_IF_MATCH},
    [FIELD_SLOT('i', 'h', 13)] = {"if-none-match", 13, NULL, NOTED_IF_NONE_MATCH},
    [FIELD_SLOT('i', 'e', 19)] = {"if-unmodified-since", 19, NULL, NOTED_IF_UNMODIFIED_SINCE},
    [FIELD_SLOT('a', 'g', 15)] = {"accept-encoding", 15, NULL, NOTED_ACCEPT_ENCODING},
    [FIELD_SLOT('a', 'n', 13)] = {"authorization", 13, NULL, NOTED_AUTHORIZATION},
};

static uint16_t read_field(struct request *request, const char *bytes, struct slice value)
{
	const char *name = bytes + request->name_at;
	uint32_t length = request->name_length;
	/* The bit makes a letter a small one; what is none then finds a name that it is not. */
	const struct known_field *field =
	    &known_fields[FIELD_SLOT(name[0] | 0x20, name[length - 1] | 0x20, length)];

	if (field->length != length || !same_word(name, length, field->name, length))
		return 0;
	request->noted |= field->noted;
	return field->read != NULL ? field->read(request, bytes, value) : 0;
}

static bool read_name(struct request *request, const char *bytes, uint32_t length)
{
	uint32_t at = request->position;
	while (at < length && octet_is(bytes[at], TOKEN_BYTE))
		at++;
	request->position = at;
	if (at == length)
		return false;
	request->name_length = at - request->name_at;
	request->position = at + 1;
	if (request->name_length == 0)
		return bytes[at] == '\r' ? enter(request, AT_END_LF) : refuse(request, 400);
	if (bytes[at] != ':')
		return refuse(request, 400);
	if (request->fields == REQUEST_FIELDS_MAX)
		return refuse(request, 431);
	request->fields++;
	return enter(request, AT_SPACE);
}

static bool read_space(struct request *request, const char *bytes, uint32_t length)
{
	uint32_t at = request->position;
	while (at < length && (bytes[at] == ' ' || bytes[at] == '\t'))
		at++;
	request->position = request->mark = at;
	return at < length && enter(request, AT_VALUE);
}

/* Where the first byte is, from at on, that is a control character (HT too); length if none is. */
static uint32_t find_control(const char *bytes, uint32_t at, uint32_t length)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = ones * 0x80;
	uint64_t word, rubout;

	/*
	 * Eight at a time: a byte below 0x20 borrows into its high bit, as does a byte that is 0
	 * once 0x7f is taken out of it. A borrow may run on into a neighbour, so this says only
	 * that one of the eight is a control character, never which.
	 */
	while (length - at >= sizeof(word)) {
		memcpy(&word, bytes + at, sizeof(word));
		rubout = word ^ ones * 0x7f;
		if ((((word - ones * 0x20) & ~word) | ((rubout - ones) & ~rubout)) & high)
			break;
		at += sizeof(word);
	}
	while (at < length && octet_is(bytes[at], VALUE_BYTE))
		at++;
	return at;
}

static bool read_value(struct request *request, const char *bytes, uint32_t length)
{
	uint32_t at = find_control(bytes, request->position, length);

	while (at < length && bytes[at] == '\t')
		at = find_control(bytes, at + 1, length);
	request->position = at;
	if (at == length)
		return false;
	request->position = at + 1;
	return bytes[at] == '\r' ? enter(request, AT_VALUE_LF) : refuse(request, 400);
}

static bool read_value_lf(struct request *request, const char *bytes, uint32_t length)
{
	struct slice value = {request->mark, 0};
	uint32_t end;
	uint16_t status;

	if (!read_lf(request, bytes, length, AT_NAME))
		return false;
	end = request->position - 2;
	while (end > value.at && (bytes[end - 1] == ' ' || bytes[end - 1] == '\t'))
		end--;
	value.length = end - value.at;
	status = read_field(request, bytes, value);
	if (status)
		return refuse(request, status);
	request->name_at = request->position;
	return true;
}

static bool read_end_lf(struct request *request, const char *bytes, uint32_t length)
{
	if (!read_lf(request, bytes, length, COMPLETE))
		return false;
	if (request->minor > 0 && !(request->seen & SEEN_HOST))
		return refuse(request, 400);
	request->keep_alive = !(request->seen & SEEN_CLOSE) &&
	    (request->minor > 0 || (request->seen & SEEN_KEEP_ALIVE));
	request->head_length = request->position;
	return true;
}

void request_init(struct request *request)
{
	*request = (struct request){.state = AT_START, .in_line = true};
}

static bool step(struct request *request, const char *bytes, uint32_t length)
{
	switch ((enum state)request->state) {
	case AT_START:
		return read_start(request, bytes, length);
	case AT_START_LF:
		return read_lf(request, bytes, length, AT_START);
	case AT_METHOD:
		return read_method(request, bytes, length);
	case AT_TARGET:
		return read_target(request, bytes, length);
	case AT_VERSION:
		return read_version(request, bytes, length);
	case AT_LINE_LF:
		return read_line_lf(request, bytes, length);
	case AT_NAME:
		return read_name(request, bytes, length);
	case AT_SPACE:
		return read_space(request, bytes, length);
	case AT_VALUE:
		return read_value(request, bytes, length);
	case AT_VALUE_LF:
		return read_value_lf(request, bytes, length);
	case AT_END_LF:
		return read_end_lf(request, bytes, length);
	case COMPLETE:
	case REFUSED:
		break;
	}
	return false;
}

enum request_result request_parse(struct request *request, const char *bytes, size_t length)
{
	/* Offsets are 32 bits wide; a head of that length is over every caller's limit. */
	uint32_t there = length < UINT32_MAX ? (uint32_t)length : UINT32_MAX;

	while (step(request, bytes, there))
		;
	if (request->state == COMPLETE)
		return REQUEST_DONE;
	return request->state == REFUSED ? REQUEST_BAD : REQUEST_MORE;
}

/* The lines were judged when they were read: each ends in CRLF and, but for the first, has a colon.
 */
bool request_field(const struct request *request, const char *bytes, const char *name, uint32_t *at,
    struct slice *value)
{
	uint32_t length = (uint32_t)strlen(name), end = request->head_length - 2, line;

	if (*at == 0)
		*at = request->line.at + request->line.length + 2;
	while (*at < end) {
		const char *lf = memchr(bytes + *at, '\n', end - *at);
		uint32_t stop = lf != NULL ? (uint32_t)(lf - bytes) - 1 : end;

		line = *at;
		*at = stop + 2;
		if (stop - line <= length || bytes[line + length] != ':' ||
		    !same_word(bytes + line, length, name, length))
			continue;
		for (line += length + 1; line < stop && is_space(bytes[line]);)
			line++;
		while (stop > line && is_space(bytes[stop - 1]))
			stop--;
		*value = (struct slice){line, stop - line};
		return true;
	}
	return false;
}
