/* Reads the header of the PROXY protocol; see proxy_header.h. */
#include "proxy_header.h"

#include <arpa/inet.h>
#include <string.h>

static const unsigned char begin_v1[] = {'P', 'R', 'O', 'X', 'Y', ' '};
static const unsigned char begin_v2[] = {
    '\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

enum { COMMAND_LOCAL, COMMAND_PROXY };
enum { FAMILY_UNSPEC, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX, FAMILIES };
enum { TRANSPORT_UNSPEC, TRANSPORT_STREAM, TRANSPORT_DGRAM, TRANSPORTS };

/* Bytes of the addresses and ports of each family. */
static const uint8_t address_sizes[FAMILIES] = {0, 12, 36, PROXY_V2_ADDRESSES};

/* ---- version 1 ---- */

/* A part of the line that was not read yet. */
struct rest {
	const char *at, *end;
};

/* Takes the word up to the next space, or to the end of the line. Returns false for an empty or
 * overlong one, or when it does not end as it should. word has room for size bytes with its NUL. */
static bool take_word(struct rest *rest, bool last, char *word, size_t size)
{
	size_t left = (size_t)(rest->end - rest->at);
	const char *space = memchr(rest->at, ' ', left);
	size_t length = space != NULL ? (size_t)(space - rest->at) : left;

	if (length == 0 || length >= size || last != (space == NULL) ||
	    memchr(rest->at, '\0', length) != NULL)
		return false;
	memcpy(word, rest->at, length);
	word[length] = '\0';
	rest->at += length + !last;
	return true;
}

static bool take_port(struct rest *rest, bool last, in_port_t *port)
{
	unsigned value = 0;
	char word[6];

	if (!take_word(rest, last, word, sizeof word) || (word[0] == '0' && word[1] != '\0'))
		return false;
	for (const char *at = word; *at != '\0'; at++) {
		if (*at < '0' || *at > '9')
			return false;
		value = value * 10 + (unsigned)(*at - '0');
	}
	*port = htons((uint16_t)value);
	return value <= 65535;
}

static bool is_unknown(const struct proxy_header *header)
{
	static const char unknown[] = "UNKNOWN";
	size_t length = sizeof unknown - 1, at = sizeof begin_v1;

	return header->have > at + length && memcmp(header->bytes + at, unknown, length) == 0 &&
	    (header->bytes[at + length] == ' ' || header->bytes[at + length] == '\r');
}

/* Reads a whole line that is not UNKNOWN. Returns false for anything but what the protocol says. */
static bool read_line(const struct proxy_header *header, union address_socket *client)
{
	struct rest rest = {
	    .at = (const char *)header->bytes + sizeof begin_v1,
	    .end = (const char *)header->bytes + header->have - 2,
	};
	char protocol[5], source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
	unsigned char unused[16];
	union address_socket read = {.any.sa_family = AF_UNSPEC};
	in_port_t port, unused_port;
	void *address;
	bool six;

	if (!take_word(&rest, false, protocol, sizeof protocol))
		return false;
	six = strcmp(protocol, "TCP6") == 0;
	if (!six && strcmp(protocol, "TCP4") != 0)
		return false;
	read.any.sa_family = six ? AF_INET6 : AF_INET;
	address = six ? (void *)&read.in6.sin6_addr : (void *)&read.in.sin_addr;
	if (!take_word(&rest, false, source, sizeof source) ||
	    !take_word(&rest, false, destination, sizeof destination) ||
	    !take_port(&rest, false, &port) || !take_port(&rest, true, &unused_port) ||
	    inet_pton(read.any.sa_family, source, address) != 1 ||
	    inet_pton(read.any.sa_family, destination, unused) != 1)
		return false;
	*(six ? &read.in6.sin6_port : &read.in.sin_port) = port;
	*client = read;
	return true;
}

static enum proxy_result look_at_line(const struct proxy_header *header)
{
	const unsigned char *last = &header->bytes[header->have - 1];
	union address_socket client;

	if (header->have <= sizeof begin_v1)
		return *last == begin_v1[header->have - 1] ? PROXY_MORE : PROXY_BAD;
	if (*last == '\n' && last[-1] == '\r')
		return is_unknown(header) || read_line(header, &client) ? PROXY_DONE : PROXY_BAD;
	/* Only CR LF ends it. What else stands behind UNKNOWN is to be ignored. */
	if (header->have == PROXY_V1_MAX || (*last == '\n' && !is_unknown(header)))
		return PROXY_BAD;
	return PROXY_MORE;
}

/* ---- version 2 ---- */

static unsigned command_of(const struct proxy_header *header)
{
	return header->bytes[12] & 0x0fu;
}

static unsigned family_of(const struct proxy_header *header)
{
	return header->bytes[13] >> 4;
}

static unsigned transport_of(const struct proxy_header *header)
{
	return header->bytes[13] & 0x0fu;
}

/* Bytes of addresses that are to be read: those of LOCAL are skipped with the rest, whatever family
 * they say they are. */
static size_t addresses_of(const struct proxy_header *header)
{
	return command_of(header) == COMMAND_PROXY ? address_sizes[family_of(header)] : 0;
}

static enum proxy_result look_at_length(struct proxy_header *header)
{
	uint32_t length = (uint32_t)header->bytes[14] << 8 | header->bytes[15];
	size_t addresses = addresses_of(header);

	if (length < addresses)
		return PROXY_BAD;
	header->skip = length - (uint32_t)addresses;
	return length > 0 ? PROXY_MORE : PROXY_DONE;
}

static enum proxy_result look_at_head(struct proxy_header *header)
{
	unsigned char last = header->bytes[header->have - 1];
	bool right = true;

	if (header->have <= sizeof begin_v2)
		right = last == begin_v2[header->have - 1];
	else if (header->have == 13)
		right = last >> 4 == 2 && command_of(header) <= COMMAND_PROXY;
	else if (header->have == 14)
		right = command_of(header) == COMMAND_LOCAL ||
		    (family_of(header) < FAMILIES && transport_of(header) < TRANSPORTS);
	else if (header->have == PROXY_V2_HEAD)
		return look_at_length(header);
	else if (header->have == PROXY_V2_HEAD + addresses_of(header))
		return header->skip > 0 ? PROXY_MORE : PROXY_DONE;
	return right ? PROXY_MORE : PROXY_BAD;
}

/* ---- both ---- */

static bool is_v1(const struct proxy_header *header)
{
	return header->bytes[0] == begin_v1[0];
}

/* Whether what comes next is skipped: all that is kept of it is there. */
static bool skips(const struct proxy_header *header)
{
	return header->skip > 0 && header->have == PROXY_V2_HEAD + addresses_of(header);
}

enum proxy_result proxy_header_feed(
    struct proxy_header *header, const unsigned char *bytes, size_t length, size_t *used)
{
	enum proxy_result result = PROXY_MORE;
	size_t at = 0;

	while (at < length && result == PROXY_MORE) {
		if (skips(header)) {
			size_t n = length - at < header->skip ? length - at : header->skip;

			at += n;
			header->skip -= (uint32_t)n;
			result = header->skip > 0 ? PROXY_MORE : PROXY_DONE;
			continue;
		}
		header->bytes[header->have++] = bytes[at++];
		result = is_v1(header) ? look_at_line(header) : look_at_head(header);
	}
	*used = at;
	return result;
}

/* The first address and the first port of what follows the head; the others are the proxy's end. */
static bool read_addresses(const struct proxy_header *header, union address_socket *client)
{
	const unsigned char *at = header->bytes + PROXY_V2_HEAD;
	union address_socket read = {.any.sa_family = AF_UNSPEC};

	if (command_of(header) != COMMAND_PROXY || transport_of(header) != TRANSPORT_STREAM)
		return false;
	switch (family_of(header)) {
	case FAMILY_INET:
		read.in.sin_family = AF_INET;
		memcpy(&read.in.sin_addr, at, 4);
		memcpy(&read.in.sin_port, at + 8, 2);
		break;
	case FAMILY_INET6:
		read.in6.sin6_family = AF_INET6;
		memcpy(&read.in6.sin6_addr, at, 16);
		memcpy(&read.in6.sin6_port, at + 32, 2);
		break;
	case FAMILY_UNIX:
		read.un.sun_family = AF_UNIX;
		break;
	default:
		return false;
	}
	*client = read;
	return true;
}

bool proxy_header_client(const struct proxy_header *header, union address_socket *client)
{
	if (!is_v1(header))
		return read_addresses(header, client);
	return !is_unknown(header) && read_line(header, client);
}
