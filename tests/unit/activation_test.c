/*
 * Sockets that came with the start: what the environment says of them, how they are found, and the
 * names under which ours are stored.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "activation.h"
#include "unit.h"

#define SURE(condition) CHECK(condition, "%s", "it should")

#define FIRST 60

/* A listening socket at that descriptor. Returns its port. */
static unsigned listen_at(int fd)
{
	union address_socket at = {.in = {.sin_family = AF_INET}};
	socklen_t length = sizeof at;
	int made = socket(AF_INET, SOCK_STREAM, 0);

	at.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	SURE(bind(made, &at.any, sizeof at.in) == 0 && listen(made, 1) == 0);
	SURE(getsockname(made, &at.any, &length) == 0 && dup2(made, fd) == fd);
	close(made);
	return address_port(&at);
}

/* What is nonsense takes nothing, and what is another's is left alone. */
static void test_refused(void)
{
	static const struct {
		const char *pid, *count;
		int error; /* 0: nothing is wrong, and nothing is there */
	} rows[] = {
	    {NULL, NULL, 0},
	    {"42", NULL, 0},
	    {NULL, "1", 0},
	    {"43", "1", 0},
	    {"42", "0", 0},
	    {"042x", "1", EINVAL},
	    {"", "1", EINVAL},
	    {"-42", "1", EINVAL},
	    {" 42", "1", EINVAL},
	    {"99999999999999999999", "1", EINVAL},
	    {"42", "", EINVAL},
	    {"42", "-1", EINVAL},
	    {"42", "1 ", EINVAL},
	    {"42", "16385", EINVAL},
	    {"42", "4294967297", EINVAL},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct activation activation;
		int result;

		errno = 0;
		result = activation_read(&activation, 42, rows[i].pid, rows[i].count, "web", FIRST);
		CHECK(result == (rows[i].error ? -1 : 0), "row %zu", i);
		CHECK(result == 0 || errno == rows[i].error, "row %zu", i);
		CHECK(activation.count == 0, "row %zu", i);
		activation_close(&activation);
	}
}

static void test_passed(void)
{
	struct activation activation;
	unsigned port = listen_at(FIRST);

	listen_at(FIRST + 1);
	dup2(STDIN_FILENO, FIRST + 2);
	close(FIRST + 3);
	listen_at(FIRST + 4);
	SURE(activation_read(&activation, 42, "42", "5", "web::61:web", FIRST) == 0);
	SURE(activation.count == 5);
	SURE(strcmp(activation.all[0].name, "web") == 0);
	SURE(strcmp(activation.all[1].name, "unknown") == 0);
	CHECK(strcmp(activation.all[4].name, "unknown") == 0, "%s", activation.all[4].name);
	SURE(activation.all[0].fault == NULL && activation.all[2].fault != NULL);
	SURE(activation.all[3].fd == -1 && activation.all[3].fault != NULL);
	SURE(fcntl(FIRST, F_GETFD) & FD_CLOEXEC && fcntl(FIRST, F_GETFL) & O_NONBLOCK);
	SURE(strtoul(strchr(activation.all[0].text, ':') + 1, NULL, 10) == port);
	/* By name, more than one; a number only where it is no name. */
	SURE(activation_find(&activation, "web", 0) == 0);
	SURE(activation_find(&activation, "web", 1) == 3);
	SURE(activation_find(&activation, "web", 4) == -1);
	SURE(activation_find(&activation, "60", 0) == 0);
	SURE(activation_find(&activation, "60", 1) == -1);
	CHECK(activation_find(&activation, "61", 0) == 2, "it is the name of another");
	SURE(activation_find(&activation, "61", 3) == -1);
	SURE(activation_find(&activation, "3", 0) == -1);
	SURE(activation_find(&activation, "we", 0) == -1);
	activation_close(&activation);
	SURE(fcntl(FIRST, F_GETFD) == -1);
	activation_close(&activation);
}

static void test_stored(void)
{
	struct activation activation;
	struct address address;
	unsigned port = listen_at(FIRST);
	char name[ACTIVATION_NAME], text[64], zero[] = "127.0.0.1:0";
	const char *why;

	snprintf(text, sizeof text, "127.0.0.1:%u", port);
	activation_stored_name(zero, text, name);
	SURE(activation_is_stored_name(name) && !activation_is_stored_name("listen.socket"));
	SURE(activation_read(&activation, 42, "42", "1", name, FIRST) == 0);
	SURE(activation.all[0].stored);
	CHECK(activation_find(&activation, name, 0) == -1, "no line asks for it by name");
	/* As it is bound, whatever the words; with port 0, by the same words only. */
	SURE(address_parse(&address, text, &why) == 0);
	SURE(activation_find_stored(&activation, &address, "other words") == 0);
	SURE(address_parse(&address, zero, &why) == 0);
	SURE(activation_find_stored(&activation, &address, zero) == 0);
	SURE(activation_find_stored(&activation, &address, "localhost:0") == -1);
	SURE(address_parse(&address, "127.0.0.1:1", &why) == 0);
	SURE(activation_find_stored(&activation, &address, "127.0.0.1:1") == -1);
	activation_close(&activation);
}

/* A name has at most 255 printable characters and no colon, and tells all listeners apart. */
static void test_names(void)
{
	char words[ADDRESS_TEXT], names[8][ACTIVATION_NAME];
	size_t count = 0;

	memset(words, 'a', sizeof words);
	words[sizeof words - 1] = '\0';
	activation_stored_name("8080", "*:8080", names[count++]);
	activation_stored_name("*:8080", "*:8080", names[count++]);
	activation_stored_name("[::1]:80", "[::1]:80", names[count++]);
	activation_stored_name("unix:/a=b,c%\xc3\xa4 d", "unix:/a=b,c%\xc3\xa4 d", names[count++]);
	activation_stored_name("unix:/a:b", "unix:/a:b", names[count++]);
	activation_stored_name(words, "127.0.0.1:80", names[count++]);
	activation_stored_name(words, "127.0.0.1:81", names[count++]);
	activation_stored_name(words + 150, words + 150, names[count++]);
	CHECK(strcmp(names[0], "listen=8080,*=8080") == 0, "%s", names[0]);
	CHECK(strcmp(names[1], "listen=*=8080") == 0, "%s", names[1]);
	CHECK(strcmp(names[3], "listen=unix=/a%3Db%2Cc%25%C3%A4%20d") == 0, "%s", names[3]);
	for (size_t i = 0; i < count; i++) {
		SURE(strlen(names[i]) < ACTIVATION_NAME && strchr(names[i], ':') == NULL);
		for (const char *c = names[i]; *c != '\0'; c++)
			CHECK(*c > ' ' && *c < 0x7f, "%s", names[i]);
		for (size_t j = 0; j < i; j++)
			CHECK(strcmp(names[i], names[j]) != 0, "%s", names[i]);
	}
}

static void test_environment(void)
{
	struct activation activation;

	setenv("LISTEN_PID", "1", 1);
	setenv("LISTEN_FDS", "1", 1);
	setenv("LISTEN_FDNAMES", "web", 1);
	SURE(activation_take(&activation) == 0 && activation.count == 0);
	SURE(getenv("LISTEN_PID") == NULL && getenv("LISTEN_FDS") == NULL);
	SURE(getenv("LISTEN_FDNAMES") == NULL);
}

int main(void)
{
	test_refused();
	test_passed();
	test_stored();
	test_names();
	test_environment();
	return unit_end();
}
