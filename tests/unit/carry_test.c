/* What an upgrade carries over, as text: what was written is read again, and nothing else is. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "carry.h"
#include "descriptor.h"
#include "system.h"
#include "unit.h"

struct thing {
	int number;
	unsigned char small;
	int64_t large;
	bool flag;
	char text[16];
	unsigned char bytes[4];
	int fd;
};

static const struct carry_field fields[] = {
    CARRY_FIELD(CARRY_NUMBER, struct thing, number),
    CARRY_FIELD(CARRY_NUMBER, struct thing, small),
    CARRY_FIELD(CARRY_NUMBER, struct thing, large),
    CARRY_FIELD(CARRY_NUMBER, struct thing, flag),
    CARRY_FIELD(CARRY_TEXT, struct thing, text),
    CARRY_FIELD(CARRY_BYTES, struct thing, bytes),
    CARRY_FIELD(CARRY_FD, struct thing, fd),
    CARRY_END,
};

/* A descriptor that has the text. */
static int memory_of(const char *text)
{
	int fd;
	char *memory = system_shared_memory(strlen(text) + 1, &fd);

	if (memory != NULL)
		memcpy(memory, text, strlen(text));
	return fd;
}

static void test_round_trip(void)
{
	const struct thing was = {-1, 255, INT64_MIN, true, "a b=c\n\"", {0, 1, 254, 255}, 0};
	struct carry_out out;
	struct carry_in in;
	struct thing is = {0};
	char *bytes;
	size_t length;
	uint64_t number;

	carry_open(&out);
	carry_line(&out, "thing");
	carry_put(&out, fields, &was);
	carry_line(&out, "more");
	carry_put_number(&out, "n", 7);
	carry_put_bytes(&out, "b", "\0x", 2);
	carry_put_fd(&out, "none", -1);
	CHECK(carry_read(&in, carry_finish(&out)) == 0, "%s", in.why);
	CHECK(out.fds_count == 1 && out.fds[0] == 0, "%s", in.why);
	carry_release(&out);

	CHECK(carry_next(&in) && strcmp(in.kind, "thing") == 0, "%s", in.why);
	CHECK(carry_get(&in, fields, &is) == 0, "%s", in.why);
	CHECK(is.number == -1 && is.small == 255 && is.large == INT64_MIN && is.flag, "%s", in.why);
	CHECK(strcmp(is.text, was.text) == 0 && memcmp(is.bytes, was.bytes, 4) == 0 && is.fd == 0,
	    "%s", in.why);
	CHECK(carry_next(&in) && strcmp(in.kind, "more") == 0, "%s", in.why);
	CHECK(carry_has(&in, "n") && !carry_has(&in, "none"), "%s", in.why);
	CHECK(carry_get_number(&in, "n", 7, &number) == 0 && number == 7, "%s", in.why);
	CHECK(carry_get_bytes(&in, "b", &bytes, &length) == 0 && length == 2, "%s", in.why);
	CHECK(bytes != NULL && memcmp(bytes, "\0x", 3) == 0, "%s", in.why);
	free(bytes);
	CHECK(!carry_next(&in) && in.why[0] == '\0', "%s", in.why);
	carry_close(&in);
	fd_set_cloexec(0, false);
}

/* Reads the text as one thing. Returns whether it was understood. */
static bool understood(const char *text)
{
	struct carry_in in;
	struct thing is = {.number = 5, .fd = -1};
	bool good;

	CHECK(carry_read(&in, memory_of(text)) == 0, "%s", in.why);
	good = carry_next(&in) && carry_get(&in, fields, &is) == 0 && !carry_next(&in) &&
	    in.why[0] == '\0';
	carry_close(&in);
	return good;
}

static void test_malformed(void)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
	    {"thing", true},
	    {"thing number=4294967295 small=255 text=6162", true},
	    {"thing text=", true},
	    {"thing number=4294967296", false},
	    {"thing small=256", false},
	    {"thing number=-1", false},
	    {"thing number=", false},
	    {"thing number=99999999999999999999999999", false},
	    {"thing number", false},
	    {"thing  number=1", false},
	    {"thing unknown=1", false},
	    {"thing text=6", false},
	    {"thing text=6g", false},
	    {"thing text=61616161616161616161616161616161", false},
	    {"thing bytes=00", false},
	    {"thing bytes=0001020304", false},
	    {"thing fd=987654", false},
	    {"thing fd=-1", false},
	    {"\nthing", false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		CHECK(understood(rows[i].text) == rows[i].good, "%s", rows[i].text);
}

static void test_missing(void)
{
	struct carry_in in;
	uint64_t number = 3;
	char *bytes;
	size_t length;

	CHECK(carry_read(&in, memory_of("thing a=9")) == 0, "%s", in.why);
	CHECK(carry_next(&in), "%s", in.why);
	CHECK(carry_get_bytes(&in, "b", &bytes, &length) == 0 && bytes == NULL && length == 0, "%s",
	    in.why);
	CHECK(carry_get_number(&in, "a", 8, &number) == -1 && number == 3, "%s", in.why);
	CHECK(strstr(in.why, "malformed \"a\"") != NULL, "%s", in.why);
	CHECK(carry_get_number(&in, "b", 8, &number) == -1, "%s", in.why);
	CHECK(strstr(in.why, "malformed \"a\"") != NULL, "%s", in.why); /* the first one stays */
	carry_close(&in);
	CHECK(carry_read(&in, -1) == -1, "%s", in.why);
	CHECK(carry_read(&in, open("/dev/null", O_RDONLY)) == -1, "%s", in.why);
}

int main(void)
{
	test_round_trip();
	test_malformed();
	test_missing();
	return unit_end();
}
