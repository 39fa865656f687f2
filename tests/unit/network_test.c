/*
 * Networks and ranges of ports: what is one, what is none and why, and who is in it.
 */
#include <arpa/inet.h>

#include "network.h"
#include "unit.h"

/* Who is in a network; NULL ends. "unix" is a client of a Unix socket. */
struct good {
	const char *text;
	const char *in[4], *out[4];
};

static const struct good goods[] = {
    {"*", {"127.0.0.1", "::1", "unix"}, {NULL}},
    {"unix", {"unix"}, {"127.0.0.1", "::1"}},
    {"127.0.0.1", {"127.0.0.1", "::ffff:127.0.0.1"}, {"127.0.0.2", "::1", "unix"}},
    {"10.0.0.0/8", {"10.255.1.2", "10.0.0.0"}, {"11.0.0.0", "9.255.255.255", "::a00:0"}},
    {"10.128.0.0/9", {"10.128.0.1", "10.255.0.1"}, {"10.127.255.255"}},
    {"192.168.1.252/30", {"192.168.1.253"}, {"192.168.1.251", "192.168.2.253"}},
    {"0.0.0.0/0", {"1.2.3.4"}, {"::1", "unix"}},
    {"::1", {"::1"}, {"::2", "0.0.0.1"}},
    {"fd00::/8", {"fd12:3456::1"}, {"fc00::1", "fe00::1"}},
    {"2001:db8::8000/113", {"2001:db8::ffff"}, {"2001:db8::7fff", "2001:db8::1:8000"}},
    {"::/0", {"::1"}, {"127.0.0.1", "::ffff:127.0.0.1"}},
};

static union address_socket client(const char *text)
{
	union address_socket made = {.any = {.sa_family = AF_UNIX}};

	if (inet_pton(AF_INET, text, &made.in.sin_addr) == 1)
		made.in.sin_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &made.in6.sin6_addr) == 1)
		made.in6.sin6_family = AF_INET6;
	return made;
}

static void test_networks(void)
{
	for (size_t i = 0; i < sizeof(goods) / sizeof(*goods); i++) {
		struct network network;
		const char *why = "";

		CHECK(network_parse(&network, goods[i].text, &why) == 0, "%s: %s", goods[i].text,
		    why);
		for (size_t c = 0; c < 4 && goods[i].in[c] != NULL; c++) {
			union address_socket address = client(goods[i].in[c]);

			CHECK(network_has(&network, &address), "%s has %s", goods[i].text,
			    goods[i].in[c]);
		}
		for (size_t c = 0; c < 4 && goods[i].out[c] != NULL; c++) {
			union address_socket address = client(goods[i].out[c]);

			CHECK(!network_has(&network, &address), "%s has not %s", goods[i].text,
			    goods[i].out[c]);
		}
	}
}

static void test_bad_networks(void)
{
	static const char *const bads[] = {"", "localhost", "127.0.0.1:80", "[::1]", "10.0.0.0/33",
	    "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0.0/08888888888888888888", "::/129",
	    "10.0.0.1/8", "fd00::1/64", "0.0.0.1/0", "/8", "unix/8", "*/0", "1.2.3", "fe80::1%lo",
	    "1111:2222:3333:4444:5555:6666:7777:8888:9999:0000:1111"};

	for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++) {
		struct network network = {.family = -7};
		const char *why = NULL;

		CHECK(network_parse(&network, bads[i], &why) == -1, "%s", bads[i]);
		CHECK(network.family == -7 && why != NULL, "%s", bads[i]);
	}
}

static void test_ports(void)
{
	static const struct {
		const char *text;
		unsigned first, last; /* 0: it is none */
	} ranges[] = {
	    {"80", 80, 80},
	    {"20000-20999", 20000, 20999},
	    {"1-65535", 1, 65535},
	    {"7-7", 7, 7},
	    {"", 0, 0},
	    {"0", 0, 0},
	    {"0-80", 0, 0},
	    {"65536", 0, 0},
	    {"80-70", 0, 0},
	    {"80-", 0, 0},
	    {"-80", 0, 0},
	    {"-", 0, 0},
	    {"1-2-3", 0, 0},
	    {"+1", 0, 0},
	    {" 1", 0, 0},
	    {"http", 0, 0},
	    {"99999999999999999999", 0, 0},
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
		struct port_range range = {7777, 0};
		const char *why = NULL;
		bool good = ranges[i].first > 0;
		int result = port_range_parse(&range, ranges[i].text, &why);

		CHECK(result == (good ? 0 : -1), "%s", ranges[i].text);
		CHECK(
		    range.first == (good ? ranges[i].first : 7777) && range.last == ranges[i].last,
		    "%s: %u-%u", ranges[i].text, range.first, range.last);
		CHECK(good || why != NULL, "%s", ranges[i].text);
	}
}

int main(void)
{
	test_networks();
	test_bad_networks();
	test_ports();
	return unit_end();
}
