/* Reads networks and ranges of ports, and compares addresses with them. */
#include "network.h"

#include <arpa/inet.h>
#include <string.h>

/* Reads decimal digits up to end, at most limit. Returns false for anything else. */
static bool read_number(const char *text, const char *end, unsigned limit, unsigned *out)
{
	unsigned value = 0;

	if (text == end)
		return false;
	for (; text < end; text++) {
		if (*text < '0' || *text > '9')
			return false;
		value = value * 10 + (unsigned)(*text - '0');
		if (value > limit)
			return false;
	}
	*out = value;
	return true;
}

/* Whether every bit of the address behind the prefix is 0. */
static bool ends_with_prefix(const struct network *network)
{
	for (unsigned bit = network->bits; bit < 128; bit++)
		if (network->prefix[bit / 8] & 0x80u >> bit % 8)
			return false;
	return true;
}

static const char *parse_address(struct network *network, const char *text)
{
	const char *slash = strchr(text, '/');
	char host[INET6_ADDRSTRLEN] = "";
	size_t length = slash != NULL ? (size_t)(slash - text) : strlen(text);
	unsigned most;

	if (length >= sizeof(host))
		return "it is too long for an address";
	memcpy(host, text, length);
	if (inet_pton(AF_INET, host, network->prefix) == 1) {
		network->family = AF_INET;
		most = 32;
	} else if (inet_pton(AF_INET6, host, network->prefix) == 1) {
		network->family = AF_INET6;
		most = 128;
	} else {
		return "it is no address; write one as in 127.0.0.1, 10.0.0.0/8, ::1, unix or *";
	}
	network->bits = most;
	if (slash != NULL && !read_number(slash + 1, text + strlen(text), most, &network->bits))
		return most == 32 ? "after \"/\" comes a number from 0 to 32"
				  : "after \"/\" comes a number from 0 to 128";
	if (!ends_with_prefix(network))
		return "it has bits set that its prefix leaves out; write the network's own "
		       "address";
	return NULL;
}

int network_parse(struct network *out, const char *text, const char **why)
{
	struct network read = {.family = AF_UNSPEC};
	const char *wrong = NULL;

	if (*text == '\0')
		wrong = "it is empty";
	else if (strcmp(text, "unix") == 0)
		read.family = AF_UNIX;
	else if (strcmp(text, "*") != 0)
		wrong = parse_address(&read, text);
	if (wrong != NULL) {
		*why = wrong;
		return -1;
	}
	*out = read;
	return 0;
}

bool network_has(const struct network *network, const union address_socket *address)
{
	int family = address->any.sa_family;
	const unsigned char *bytes = address->in6.sin6_addr.s6_addr;
	unsigned whole = network->bits / 8, rest = network->bits % 8;

	if (network->family == AF_UNSPEC)
		return true;
	if (family == AF_INET) {
		bytes = (const unsigned char *)&address->in.sin_addr;
	} else if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr)) {
		family = AF_INET;
		bytes += 12;
	}
	if (family != network->family)
		return false;
	if (family == AF_UNIX)
		return true;
	if (memcmp(bytes, network->prefix, whole) != 0)
		return false;
	return rest == 0 ||
	    ((bytes[whole] ^ network->prefix[whole]) & (0xff00u >> rest) & 0xff) == 0;
}

int port_range_parse(struct port_range *out, const char *text, const char **why)
{
	const char *end = text + strlen(text), *dash = strchr(text, '-');
	struct port_range read = {0};

	if (!read_number(text, dash != NULL ? dash : end, 65535, &read.first) ||
	    (dash != NULL && !read_number(dash + 1, end, 65535, &read.last))) {
		*why = "it is no port and no range; write 8080 or 20000-20999";
		return -1;
	}
	if (dash == NULL)
		read.last = read.first;
	if (read.first == 0) {
		*why = "a port is a number from 1 to 65535";
		return -1;
	}
	if (read.last < read.first) {
		*why = "the range ends before it begins";
		return -1;
	}
	*out = read;
	return 0;
}
