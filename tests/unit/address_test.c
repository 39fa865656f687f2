/* Address forms: what is read, what is refused and with which words, and how it is written again.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

#include "address.h"
#include "unit.h"

#define HOLDS(condition) CHECK(condition, "it does not hold")

struct good {
	const char *text;
	enum address_form form;
	unsigned port;
	const char *written; /* by address_format; NULL: nothing to bind yet */
};

static const struct good goods[] = {
    {"8080", ADDRESS_ANY, 8080, "*:8080"},
    {":0", ADDRESS_ANY, 0, "*:0"},
    {"0", ADDRESS_ANY, 0, "*:0"},
    {"*:65535", ADDRESS_ANY, 65535, "*:65535"},
    {"*:0080", ADDRESS_ANY, 80, "*:80"},
    {"0.0.0.0:8080", ADDRESS_INET, 8080, "0.0.0.0:8080"},
    {"127.0.0.1:1", ADDRESS_INET, 1, "127.0.0.1:1"},
    {"[::]:80", ADDRESS_INET, 80, "[::]:80"},
    {"[::1]:80", ADDRESS_INET, 80, "[::1]:80"},
    {"[2001:DB8::0:1]:0", ADDRESS_INET, 0, "[2001:db8::1]:0"},
    {"localhost:8080", ADDRESS_NAME, 8080, NULL},
    {"a-b.example_1.:1", ADDRESS_NAME, 1, NULL},
    {"unix:/run/a.sock", ADDRESS_UNIX, 0, "unix:/run/a.sock"},
    {"unix:/a b", ADDRESS_UNIX, 0, "unix:/a b"},
    {"fd:web", ADDRESS_FD, 0, NULL},
    {"fd:3", ADDRESS_FD, 0, NULL},
};

struct bad {
	const char *text;
	const char *why;
};

static const struct bad bads[] = {
    {"", "it is empty"},
    {":", "the port is missing after \":\""},
    {"*:", "the port is missing after \":\""},
    {"localhost:", "the port is missing after \":\""},
    {"65536", "the port is above 65535"},
    {"*:99999999999999999999", "the port is above 65535"},
    {"-1", "the port is not a number"},
    {"+1", "the port is not a number"},
    {":-1", "the port is not a number"},
    {"1e3", "the port is not a number"},
    {"localhost:1e3", "the port is not a number"},
    {":0x50", "the port is not a number"},
    {": 80", "the port is not a number"},
    {"*", "a port is missing, as in localhost:8080"},
    {"localhost", "a port is missing, as in localhost:8080"},
    {"127.0.0.1", "a port is missing, as in localhost:8080"},
    {"256.0.0.1:80", "not an IPv4 address (four numbers from 0 to 255)"},
    {"1.2.3:80", "not an IPv4 address (four numbers from 0 to 255)"},
    {"80:80", "not an IPv4 address (four numbers from 0 to 255)"},
    {"[::1", "a \"]\" is missing"},
    {"[::1]", "a port is missing, as in [::1]:8080"},
    {"[::1]80", "after \"]\" comes \":\" and a port"},
    {"[::1]:", "the port is missing after \":\""},
    {"[]:80", "not an IPv6 address in the brackets"},
    {"[localhost]:80", "not an IPv6 address in the brackets"},
    {"[1:2:3:4:5:6:7:8:9:1:2:3:4:5:6:7:8:9:1:2:3:4:5:6:7:8:9]:80",
	"not an IPv6 address in the brackets"},
    {"[fe80::1%lo]:80", "an IPv6 address with a zone (\"%\") is not supported"},
    {"[::ffff:1.2.3.4]:80", "write an IPv4 address without brackets"},
    {"::1:80", "put an IPv6 address in brackets, as in [::1]:8080"},
    {"::1", "put an IPv6 address in brackets, as in [::1]:8080"},
    {"a b:80", "not a name of a host; letters, digits, \".\" and \"-\" are allowed"},
    {"-a:80", "not a name of a host; letters, digits, \".\" and \"-\" are allowed"},
    {"http://localhost:80", "this is a URL; write host:port, as in localhost:8080"},
    {"/run/a.sock", "a Unix socket is written unix:/path"},
    {"unix:", "the path is missing after \"unix:\""},
    {"unix:@x", "an abstract socket (\"@\") is not supported; write a path"},
    {"unix:/run/", "the path of a Unix socket cannot end in \"/\""},
    {"fd:", "the name is missing after \"fd:\""},
    {"fd:a:b", "the name of a descriptor is printable ASCII without \":\""},
    {"fd:a b", "the name of a descriptor is printable ASCII without \":\""},
};

static void test_good(void)
{
	for (size_t i = 0; i < sizeof(goods) / sizeof(*goods); i++) {
		const struct good *g = &goods[i];
		struct address address;
		const char *why = "";
		char text[ADDRESS_TEXT];
		int result = address_parse(&address, g->text, &why);

		CHECK(result == 0, "\"%s\": %s", g->text, why);
		if (result != 0)
			continue;
		CHECK(address.form == g->form, "\"%s\"", g->text);
		CHECK(address.port == g->port, "\"%s\"", g->text);
		CHECK(strcmp(address.text, g->text) == 0, "\"%s\": %s", g->text, address.text);
		CHECK((address.length == 0) == (g->written == NULL), "\"%s\"", g->text);
		if (g->written == NULL)
			continue;
		CHECK(address_port(&address.socket) == g->port, "\"%s\"", g->text);
		address_format(
		    &address.socket, address.length, g->form == ADDRESS_ANY, text, sizeof(text));
		CHECK(strcmp(text, g->written) == 0, "\"%s\": %s", g->text, text);
	}
}

static void test_bad(void)
{
	for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++) {
		struct address address, before;
		const char *why = "";

		memset(&address, 0x55, sizeof(address));
		before = address;
		int result = address_parse(&address, bads[i].text, &why);

		CHECK(result == -1, "\"%s\" was read", bads[i].text);
		CHECK(strcmp(why, bads[i].why) == 0, "\"%s\": %s", bads[i].text, why);
		CHECK(memcmp(&address, &before, sizeof(address)) == 0, "\"%s\"", bads[i].text);
	}
}

static void test_unix_paths(void)
{
	struct address address;
	const char *why = "";
	char text[300];
	size_t limit = sizeof(address.socket.un.sun_path) - 1;

	snprintf(text, sizeof(text), "unix:/%0*d", (int)limit - 1, 0);
	CHECK(address_parse(&address, text, &why) == 0, "%s", why);
	snprintf(text, sizeof(text), "unix:/%0*d", (int)limit, 0);
	CHECK(address_parse(&address, text, &why) == -1, "one byte too long");
	CHECK(strncmp(why, "the path is too long", 20) == 0, "%s", why);
	snprintf(text, sizeof(text), "%0*d:80", 290, 0);
	CHECK(address_parse(&address, text, &why) == -1, "longer than the text");

	HOLDS(chdir("/") == 0);
	CHECK(address_parse(&address, "unix:a.sock", &why) == 0, "%s", why);
	CHECK(strcmp(address.text, "unix:/a.sock") == 0, "%s", address.text);
	HOLDS(chdir("/usr") == 0);
	CHECK(address_parse(&address, "unix:./a.sock", &why) == 0, "%s", why);
	CHECK(strcmp(address.socket.un.sun_path, "/usr/a.sock") == 0, "%s", address.text);
}

static void test_equal(void)
{
	static const struct {
		const char *a, *b;
		bool equal;
	} pairs[] = {
	    {"8080", "*:8080", true},
	    {"8080", "8081", false},
	    {"*:80", "0.0.0.0:80", false},
	    {"0.0.0.0:80", "[::]:80", false},
	    {"[::1]:80", "[0::1]:80", true},
	    {"127.0.0.1:80", "127.0.0.2:80", false},
	    {"localhost:80", "LOCALHOST:80", true},
	    {"unix:/a", "unix:/a", true},
	    {"unix:/a", "unix:/b", false},
	    {"fd:a", "fd:a", true},
	    {"fd:a", "fd:A", false},
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		struct address a, b;
		const char *why;

		CHECK(address_parse(&a, pairs[i].a, &why) == 0, "%s", pairs[i].a);
		CHECK(address_parse(&b, pairs[i].b, &why) == 0, "%s", pairs[i].b);
		CHECK(address_equal(&a, &b) == pairs[i].equal, "%s and %s", pairs[i].a, pairs[i].b);
	}
}

static void test_overlaps(void)
{
	static const struct {
		const char *a, *b;
		bool overlaps;
	} pairs[] = {
	    {"*:80", "127.0.0.1:80", true},
	    {"*:80", "0.0.0.0:80", true},
	    {"*:80", "[::]:80", true},
	    {"*:80", "[::1]:80", true},
	    {"*:80", "localhost:80", true},
	    {"*:80", "127.0.0.1:81", false},
	    {"*:0", "127.0.0.1:0", false},
	    {"*:80", "unix:/a", false},
	    {"*:80", "fd:a", false},
	    {"0.0.0.0:80", "127.0.0.1:80", true},
	    {"0.0.0.0:80", "[::]:80", false},
	    {"0.0.0.0:80", "[::1]:80", false},
	    {"0.0.0.0:80", "localhost:80", false},
	    {"[::]:80", "[::1]:80", true},
	    {"[::]:80", "127.0.0.1:80", false},
	    {"[::1]:80", "127.0.0.1:80", false},
	    {"127.0.0.1:80", "127.0.0.2:80", false},
	    {"unix:/a", "unix:/b", false},
	    {"fd:a", "fd:b", false},
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		struct address a, b;
		const char *why;

		CHECK(address_parse(&a, pairs[i].a, &why) == 0, "%s", pairs[i].a);
		CHECK(address_parse(&b, pairs[i].b, &why) == 0, "%s", pairs[i].b);
		CHECK(address_overlaps(&a, &b) == pairs[i].overlaps, "%s and %s", pairs[i].a,
		    pairs[i].b);
		CHECK(address_overlaps(&b, &a) == pairs[i].overlaps, "%s and %s", pairs[i].b,
		    pairs[i].a);
		CHECK(!address_overlaps(&a, &a), "%s: the same is no overlap", pairs[i].a);
	}
}

static void test_resolve(void)
{
	struct address address, out[8];
	const char *why = "";

	HOLDS(address_parse(&address, "127.0.0.1:80", &why) == 0);
	HOLDS(address_resolve(&address, out, 8, &why) == 1);
	CHECK(address_equal(&address, &out[0]), "%s", out[0].text);
	HOLDS(address_parse(&address, "localhost:80", &why) == 0);
	int count = address_resolve(&address, out, 8, &why);

	CHECK(count >= 1, "%s", why);
	for (int i = 0; i < count; i++) {
		CHECK(out[i].form == ADDRESS_INET && out[i].length > 0, "%s", out[i].text);
		CHECK(out[i].port == 80 && address_port(&out[i].socket) == 80, "%s", out[i].text);
	}
	HOLDS(address_parse(&address, "localhost:0", &why) == 0);
	CHECK(address_resolve(&address, out, 8, &why) == 1, "port 0: only the first");
	HOLDS(address_parse(&address, "no-such-name.invalid:80", &why) == 0);
	HOLDS(address_resolve(&address, out, 8, &why) == -1);
	HOLDS(*why != '\0');
}

static void test_format(void)
{
	union address_socket s;
	char text[ADDRESS_TEXT];
	char small[8];

	memset(&s, 0, sizeof(s));
	s.in6.sin6_family = AF_INET6;
	s.in6.sin6_port = htons(80);
	inet_pton(AF_INET6, "::ffff:192.0.2.1", &s.in6.sin6_addr);
	address_format(&s, sizeof(s.in6), true, text, sizeof(text));
	CHECK(strcmp(text, "192.0.2.1:80") == 0, "%s", text);
	CHECK(strcmp(address_host(&s, text, sizeof(text)), "192.0.2.1") == 0, "%s", text);
	address_format(&s, sizeof(s.in6), true, small, sizeof(small));
	CHECK(strcmp(small, "192.0.2") == 0, "%s", small);
	s.in6.sin6_addr = in6addr_any;
	address_format(&s, sizeof(s.in6), true, text, sizeof(text));
	CHECK(strcmp(text, "*:80") == 0, "%s", text);
	address_format(&s, sizeof(s.in6), false, text, sizeof(text));
	CHECK(strcmp(text, "[::]:80") == 0, "%s", text);
	CHECK(strcmp(address_host(&s, text, sizeof(text)), "::") == 0, "%s", text);

	memset(&s, 0, sizeof(s));
	s.un.sun_family = AF_UNIX;
	address_format(&s, offsetof(struct sockaddr_un, sun_path), false, text, sizeof(text));
	CHECK(strcmp(text, "unix:") == 0, "an unnamed peer: %s", text);
	CHECK(strcmp(address_host(&s, text, sizeof(text)), "unix:") == 0, "%s", text);
	HOLDS(address_port(&s) == 0);
	memset(s.un.sun_path, 'x', sizeof(s.un.sun_path)); /* no NUL at all */
	address_format(&s, sizeof(s.un), false, text, sizeof(text));
	CHECK(strlen(text) == 5 + sizeof(s.un.sun_path), "%s", text);
	memcpy(s.un.sun_path, "\0abc", 5);
	address_format(&s, offsetof(struct sockaddr_un, sun_path) + 4, false, text, sizeof(text));
	CHECK(strcmp(text, "unix:@abc") == 0, "%s", text);
	address_format(&s, 0, false, text, sizeof(text));
	CHECK(strcmp(text, "unknown") == 0, "%s", text);
}

int main(void)
{
	test_good();
	test_bad();
	test_unix_paths();
	test_equal();
	test_overlaps();
	test_resolve();
	test_format();
	return unit_end();
}
