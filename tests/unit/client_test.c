/*
 * The client's side of the control protocol: what is sent for a word, what becomes of a line that
 * comes, whatever it is; what is shown of it; and what a command is told of its port.
 */
#include "client.h"
#include "program.h"
#include "unit.h"

#include <stdlib.h>

static const struct {
	const char *word, *sent;
} words[] = {
    {"echo", "echo"},
    {"*:8080", "*:8080"},
    {"[::1]:80", "[::1]:80"},
    {"--inetd", "--inetd"},
    {"a=b", "a=b"},
    {"", "\"\""},
    {"a b", "\"a b\""},
    {"a\"b", "\"a\\\"b\""},
    {"a\\b", "\"a\\\\b\""},
    {"a\nb\tc", "\"a\\nb\\tc\""},
    {"a;b", "\"a;b\""},
    {"{", "\"{\""},
    {"#", "\"#\""},
    {"\303\244", "\"\303\244\""},
};

static void test_words(void)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		struct request request = {.length = 0};
		struct reply reply;
		char expected[64];

		request_word(&request, "open");
		request_word(&request, words[i].word);
		snprintf(expected, sizeof expected, "open %s\n", words[i].sent);
		CHECK(request_end(&request) == 0 && strcmp(request.line, expected) == 0, "%s",
		    request.line);
		/* And it is read as what it was. */
		request.line[request.length - 1] = '\0';
		reply_parse(&reply, request.line);
		CHECK(reply.count == 2 && strcmp(reply.words[1], words[i].word) == 0, "%s",
		    words[i].word);
	}
}

static void test_options(void)
{
	struct request request = {.length = 0};

	request_word(&request, "lease");
	request_option(&request, "folder", "/srv/my site");
	request_option(&request, "ttl", "5s");
	request_option(&request, "heartbeat", NULL);
	request_end(&request);
	CHECK(strcmp(request.line, "lease \"folder=/srv/my site\" ttl=5s\n") == 0, "%s",
	    request.line);
}

static void test_too_long(void)
{
	char word[REQUEST_MAX + 1];

	for (size_t length = REQUEST_MAX - 8; length < REQUEST_MAX; length++) {
		struct request request = {.length = 0};
		int result;

		memset(word, 'x', length);
		word[length] = '\0';
		request_word(&request, "a");
		request_word(&request, word);
		result = request_end(&request);
		CHECK(
		    result == -1 || (request.length == length + 3 && request.length < REQUEST_MAX),
		    "%zu", length);
		CHECK(result == (length + 3 < REQUEST_MAX ? 0 : -1), "%zu", length);
	}
}

static const struct {
	const char *line;
	enum reply_kind kind;
	size_t count;
	const char *last; /* word; of an error its text */
} lines[] = {
    {"ok", REPLY_OK, 1, "ok"},
    {"ok 127.0.0.1:80", REPLY_OK, 2, "127.0.0.1:80"},
    {"  ok \t x  ", REPLY_OK, 2, "x"},
    {"ok \"unix:/tmp/a b\"", REPLY_OK, 2, "unix:/tmp/a b"},
    {"ok \"\\x41\\\"\\\\\\n\\t\"", REPLY_OK, 2, "A\"\\\n\t"},
    {"ok \"\"", REPLY_OK, 2, ""},
    {"okay", REPLY_LINE, 1, "okay"},
    {"closed *:80 reason=ttl", REPLY_CLOSED, 3, "reason=ttl"},
    {"closed", REPLY_LINE, 1, "closed"},
    {"listener \"address=a b\" pid=1", REPLY_LINE, 3, "pid=1"},
    {"error in-use it is taken, \"x", REPLY_ERROR, 2, "it is taken, \"x"},
    {"error in-use", REPLY_ERROR, 2, "in-use"},
    {"error", REPLY_ERROR, 2, ""},
    {"errors", REPLY_LINE, 1, "errors"},
    {"", REPLY_BAD, 0, NULL},
    {" \t", REPLY_BAD, 0, NULL},
    {"ok \"", REPLY_BAD, 0, NULL},
    {"ok \"a", REPLY_BAD, 0, NULL},
    {"ok \"a\"b", REPLY_BAD, 0, NULL},
    {"ok \"\\", REPLY_BAD, 0, NULL},
    {"ok \"\\q\"", REPLY_BAD, 0, NULL},
    {"ok \"\\x4\"", REPLY_BAD, 0, NULL},
    {"ok \"\\x00\"", REPLY_BAD, 0, NULL},
};

static void test_lines(void)
{
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		/* Of its own size, so that a sanitizer sees a read beyond it. */
		char *line = strdup(lines[i].line);
		struct reply reply;

		reply_parse(&reply, line);
		CHECK(reply.kind == lines[i].kind, "%s: %d", lines[i].line, (int)reply.kind);
		if (reply.kind == REPLY_ERROR)
			CHECK(strcmp(reply.text, lines[i].last) == 0, "%s", reply.text);
		else if (reply.kind != REPLY_BAD)
			CHECK(reply.count == lines[i].count &&
				strcmp(reply.words[reply.count - 1], lines[i].last) == 0,
			    "%s", lines[i].line);
		free(line);
	}
}

static void test_many_words(void)
{
	char line[REPLY_WORDS_MAX * 2 + 8] = "";
	struct reply reply;

	for (int i = 0; i < REPLY_WORDS_MAX; i++)
		memcpy(line + i * 2, "a ", 3);
	reply_parse(&reply, line);
	CHECK(reply.kind == REPLY_LINE && reply.count == REPLY_WORDS_MAX, "%zu", reply.count);
	for (int i = 0; i <= REPLY_WORDS_MAX; i++)
		memcpy(line + i * 2, "a ", 3);
	reply_parse(&reply, line);
	CHECK(reply.kind == REPLY_BAD, "%zu", reply.count);
}

/* Whatever comes: nothing is read or written beyond it. */
static void test_noise(void)
{
	static const char bytes[] = "ok error\"\\xnt= \t\303\2440a\033";

	for (int round = 0; round < 100000; round++) {
		size_t length = (size_t)(rand() % 24);
		char *line = malloc(length + 1), shown[16];
		struct receipt receipt;
		struct reply reply;

		for (size_t i = 0; i < length; i++)
			line[i] = bytes[(size_t)rand() % (sizeof bytes - 1)];
		line[length] = '\0';
		reply_parse(&reply, line);
		for (size_t i = 0; reply.kind != REPLY_BAD && i < reply.count; i++) {
			reply_display(reply.words[i], shown, sizeof shown);
			if (strpbrk(shown, "\033\n\t") != NULL)
				CHECK(false, "%s", reply.words[i]);
		}
		reply_receipt(&reply, &receipt);
		free(line);
	}
	CHECK(true, "it came through");
}

static void test_receipt(void)
{
	char line[] = "ok *:80 milliseconds=3 accepted=12 answered=9 queued=1 left=2 open=0 cut=1";
	char none[] = "ok *:80";
	struct receipt receipt;
	struct reply reply;

	reply_parse(&reply, line);
	CHECK(reply_receipt(&reply, &receipt) == 0, "there is one");
	CHECK(receipt.milliseconds == 3 && receipt.accepted == 12 && receipt.answered == 9 &&
		receipt.queued == 1 && receipt.left == 2 && receipt.open == 0 && receipt.cut == 1,
	    "its numbers");
	reply_parse(&reply, none);
	CHECK(reply_receipt(&reply, &receipt) == -1, "there is none");
}

static const struct {
	const char *text, *shown;
} displays[] = {
    {"plain \303\244", "plain \303\244"},
    {"a\nb", "a\\x0ab"},
    {"\033[31m", "\\x1b[31m"},
    {"\302\233x", "\\xc2\\x9bx"},
    {"\302\251", "\302\251"},
    {"\233x\303", "\\x9bx\\xc3"},
    {"\177", "\\x7f"},
};

static void test_display(void)
{
	char shown[64];

	for (size_t i = 0; i < sizeof displays / sizeof *displays; i++)
		CHECK(strcmp(reply_display(displays[i].text, shown, sizeof shown),
			  displays[i].shown) == 0,
		    "%s", shown);
	CHECK(strcmp(reply_display("ab\n", shown, 5), "ab") == 0, "%s", shown);
}

static const struct {
	const char *text;
	enum address_form form;
} endpoints[] = {
    {"/run/x", ADDRESS_UNIX},
    {"run/x", ADDRESS_UNIX},
    {"x", ADDRESS_UNIX},
    {"unix:/run/x", ADDRESS_UNIX},
    {"127.0.0.1:7070", ADDRESS_INET},
    {"[::1]:7070", ADDRESS_INET},
    {"host:7070", ADDRESS_NAME},
    {":7070", ADDRESS_ANY},
    {"7070", ADDRESS_ANY},
};

static void test_endpoints(void)
{
	struct address address;
	const char *why;

	for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++)
		CHECK(client_endpoint(&address, endpoints[i].text, &why) == 0 &&
			address.form == endpoints[i].form,
		    "%s", endpoints[i].text);
	CHECK(client_endpoint(&address, "http://x:80", &why) == -1, "a URL");
	CHECK(client_endpoint(&address, "127.0.0.1:x", &why) == -1, "no port");
}

static const struct {
	const char *bound, *url;
	const char *remote; /* where the endpoint is, over TCP; NULL: a Unix socket */
	const char *address, *host, *port, *told;
} ports[] = {
    {"127.0.0.1:80", "http://127.0.0.1:80/", NULL, "127.0.0.1:80", "127.0.0.1", "80",
	"http://127.0.0.1:80/"},
    {"[::1]:80", "http://[::1]:80/", NULL, "[::1]:80", "::1", "80", "http://[::1]:80/"},
    {"*:80", "http://localhost:80/", NULL, "127.0.0.1:80", "127.0.0.1", "80",
	"http://127.0.0.1:80/"},
    {"0.0.0.0:80", "http://localhost:80/a", NULL, "127.0.0.1:80", "127.0.0.1", "80",
	"http://127.0.0.1:80/a"},
    {"[::]:80", NULL, NULL, "[::1]:80", "::1", "80", ""},
    {"unix:/run/x y", NULL, NULL, "unix:/run/x y", "", "", ""},
    {"*:80", "http://localhost:80/", "192.0.2.7:7070", "192.0.2.7:80", "192.0.2.7", "80",
	"http://192.0.2.7:80/"},
    {"*:80", NULL, "[2001:db8::1]:7070", "[2001:db8::1]:80", "2001:db8::1", "80", ""},
    {"0.0.0.0:80", NULL, "192.0.2.7:7070", "192.0.2.7:80", "192.0.2.7", "80", ""},
    {"[::]:80", NULL, "192.0.2.7:7070", "[::1]:80", "::1", "80", ""},
    {"127.0.0.1:80", NULL, "192.0.2.7:7070", "127.0.0.1:80", "127.0.0.1", "80", ""},
};

static void test_ports(void)
{
	for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
		struct client client = {.fd = -1};
		struct program_port port;
		struct address address;
		const char *why;

		if (ports[i].remote != NULL) {
			CHECK(address_parse(&address, ports[i].remote, &why) == 0, "%s", why);
			client.remote = true;
			client.peer = address.socket;
		}
		program_port_of(&port, &client, ports[i].bound, ports[i].url);
		CHECK(strcmp(port.address, ports[i].address) == 0, "%s", port.address);
		CHECK(strcmp(port.host, ports[i].host) == 0, "%s", port.host);
		CHECK(strcmp(port.port, ports[i].port) == 0, "%s", port.port);
		CHECK(strcmp(port.url, ports[i].told) == 0, "%s", port.url);
	}
}

int main(void)
{
	test_words();
	test_options();
	test_too_long();
	test_lines();
	test_many_words();
	test_noise();
	test_receipt();
	test_display();
	test_endpoints();
	test_ports();
	return unit_end();
}
