/*
 * What fields of a request say: accepted codings, conditions, credentials, hosts.
 */
#include "coding.h"
#include "condition.h"
#include "credentials.h"
#include "hosts.h"
#include "unit.h"

#include <stdlib.h>

/* ---- Accept-Encoding ---- */

static const struct {
	const char *field, *order; /* by the letters b, z and g */
} codings[] = {
    {"", ""},
    {"gzip", "g"},
    {"gzip, deflate, br, zstd", "bzg"},
    {"gzip, br", "bg"},
    {"br;q=0.5, gzip;q=0.8", "gb"},
    {"br;q=0, gzip", "g"},
    {"*", "bzg"},
    {"*;q=0", ""},
    {"gzip, *;q=0", "g"},
    {"*, br;q=0", "zg"},
    {"identity", ""},
    {"identity, gzip;q=0.5", ""},
    {"identity;q=0.4, gzip;q=0.5", "g"},
    {"identity;q=0", ""},
    {"x-gzip", "g"},
    {"GZIP", "g"},
    {" gzip ; q=1.000 ,\tbr ; Q=0.001", "gb"},
    {"gzip;q=1.001", ""},
    {"gzip;q=2", ""},
    {"gzip;q=", ""},
    {"gzip;q=0.1234", ""},
    {"gzip;level=5", ""},
    {"gzipped", ""},
    {",,gzip,,", "g"},
};

static void test_codings(void)
{
	for (size_t i = 0; i < sizeof(codings) / sizeof(*codings); i++) {
		struct coding_wishes wishes;
		enum coding order[CODING_NONE];
		char text[4] = "";
		int count;

		coding_init(&wishes);
		coding_read(&wishes, codings[i].field, strlen(codings[i].field));
		count = coding_order(&wishes, order);
		for (int k = 0; k < count; k++)
			text[k] = "bzg"[order[k]];
		CHECK(strcmp(text, codings[i].order) == 0, "\"%s\": %s", codings[i].field, text);
	}
}

/* ---- conditions ---- */

#define MODIFIED 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */
#define THEN "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"

static const struct {
	const char *fields;
	bool weak; /* the file's tag is W/"a", not "a" */
	int judged;
	bool range;
} conditions[] = {
    {"", false, 0, true},
    {"If-Match: \"a\"\r\n", false, 0, true},
    {"If-Match: \"b\"\r\n", false, 412, true},
    {"If-Match: \"b\", \"a\"\r\n", false, 0, true},
    {"If-Match: \"b\"\r\nIf-Match: \"a\"\r\n", false, 0, true},
    {"If-Match: *\r\n", false, 0, true},
    {"If-Match: *\r\n", true, 0, true},
    {"If-Match: W/\"a\"\r\n", false, 412, true},
    {"If-Match: \"a\"\r\n", true, 412, true},
    {"If-Match: W/\"a\"\r\n", true, 412, true},
    {"If-Match: a\r\n", false, 412, true},
    {"If-Match: \"a\r\n", false, 412, true},
    {"If-Match:\r\n", false, 412, true},
    {"If-Match: \"x,\"a\"\r\n", false, 412, true},
    {"If-None-Match: \"a\"\r\n", false, 304, true},
    {"If-None-Match: W/\"a\"\r\n", false, 304, true},
    {"If-None-Match: \"a\"\r\n", true, 304, true},
    {"If-None-Match: \"b\"\r\n", false, 0, true},
    {"If-None-Match: \"b\", W/\"c\" , \"a\"\r\n", false, 304, true},
    {"If-None-Match: \"b\"\r\nif-none-MATCH:\t\"a\" \r\n", false, 304, true},
    {"If-None-Match: *\r\n", false, 304, true},
    {"If-None-Match: \"*\"\r\n", false, 0, true},
    {"If-Modified-Since: " THEN "\r\n", false, 304, true},
    {"If-Modified-Since: " AFTER "\r\n", false, 304, true},
    {"If-Modified-Since: " BEFORE "\r\n", false, 0, true},
    {"If-Modified-Since: never\r\n", false, 0, true},
    {"If-Modified-Since: " THEN "\r\nIf-None-Match: \"b\"\r\n", false, 0, true},
    {"If-Modified-Since: " BEFORE "\r\nIf-None-Match: \"a\"\r\n", false, 304, true},
    {"If-Unmodified-Since: " THEN "\r\n", false, 0, true},
    {"If-Unmodified-Since: " AFTER "\r\n", false, 0, true},
    {"If-Unmodified-Since: " BEFORE "\r\n", false, 412, true},
    {"If-Unmodified-Since: never\r\n", false, 0, true},
    {"If-Unmodified-Since: " BEFORE "\r\nIf-Match: \"a\"\r\n", false, 0, true},
    {"If-Unmodified-Since: " THEN "\r\nIf-Match: \"b\"\r\n", false, 412, true},
    /* What failed first decides: 412 before 304. */
    {"If-Match: \"b\"\r\nIf-None-Match: \"a\"\r\n", false, 412, true},
    {"If-Match: \"a\"\r\nIf-None-Match: \"a\"\r\n", false, 304, true},
    {"If-Unmodified-Since: " BEFORE "\r\nIf-Modified-Since: " THEN "\r\n", false, 412, true},
    {"If-Range: \"a\"\r\n", false, 0, true},
    {"If-Range: \"b\"\r\n", false, 0, false},
    {"If-Range: W/\"a\"\r\n", false, 0, false},
    {"If-Range: \"a\"\r\n", true, 0, false},
    {"If-Range: \"a\", \"b\"\r\n", false, 0, false},
    {"If-Range: " THEN "\r\n", false, 0, true},
    {"If-Range: " THEN "\r\n", true, 0, false},
    {"If-Range: " AFTER "\r\n", false, 0, false},
    {"If-Range: " BEFORE "\r\n", false, 0, false},
    {"If-Range:\r\n", false, 0, false},
    {"X-If-Range: \"b\"\r\nIf-Rang: \"b\"\r\nIf-Ranges: \"b\"\r\n", false, 0, true},
};

static void test_conditions(void)
{
	for (size_t i = 0; i < sizeof(conditions) / sizeof(*conditions); i++) {
		struct validator validator = {
		    conditions[i].weak ? "W/\"a\"" : "\"a\"", conditions[i].weak ? 5 : 3, MODIFIED};
		struct request request;
		char head[512];

		snprintf(head, sizeof(head), "\r\nGET / HTTP/1.1\r\nHost: x\r\n%s\r\n",
		    conditions[i].fields);
		request_init(&request);
		CHECK(request_parse(&request, head, strlen(head)) == REQUEST_DONE, "%s",
		    conditions[i].fields);
		int judged = condition_judge(&request, head, &validator, 1000000000);

		CHECK(judged == conditions[i].judged, "%s: %d", conditions[i].fields, judged);
		CHECK(
		    condition_range(&request, head, &validator, 1000000000) == conditions[i].range,
		    "%s", conditions[i].fields);
	}
}

/* ---- credentials ---- */

static const struct {
	const char *field, *name, *password; /* name NULL: refused */
} credentials[] = {
    {"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"},
    {"basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", "Aladdin", "open sesame"},
    {"BASIC   QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"},
    {"Basic Og==", "", ""},
    {"Basic YTpiOmM=", "a", "b:c"},
    {"Basic w6Q6w7Y=", "\303\244", "\303\266"},
    {"Basic", NULL, NULL},
    {"Basic ", NULL, NULL},
    {"Basic =", NULL, NULL},
    {"Basic YQ==", NULL, NULL}, /* no colon */
    {"Basic YTpi!", NULL, NULL},
    {"Basic YTpiY", NULL, NULL},
    {"Basic YTpi YTpi", NULL, NULL},
    {"Basic YTpi\tYTpi", NULL, NULL},
    {"Basic YToAYg==", NULL, NULL}, /* a NUL */
    {"Basic YQo6Yg==", NULL, NULL}, /* a line feed */
    {"BasicYTpi", NULL, NULL},
    {"Bearer YTpi", NULL, NULL},
    {"", NULL, NULL},
};

static void test_credentials(void)
{
	char field[2000] = "Basic ";
	struct credentials read;

	for (size_t i = 0; i < sizeof(credentials) / sizeof(*credentials); i++) {
		bool good =
		    credentials_read(&read, credentials[i].field, strlen(credentials[i].field));

		CHECK(good == (credentials[i].name != NULL), "%s", credentials[i].field);
		if (!good || credentials[i].name == NULL)
			continue;
		CHECK(strcmp(read.text, credentials[i].name) == 0, "%s", read.text);
		CHECK(strcmp(read.password, credentials[i].password) == 0, "%s", read.password);
	}
	for (size_t i = 6; i < 1900; i += 4)
		memcpy(field + i, "Ojo6", 5);
	CHECK(!credentials_read(&read, field, strlen(field)), "too long");
	CHECK(credentials_read(&read, field, 6 + 680) && read.length == 510, "nearly so");
	CHECK(same_secret("abc", "abc") && same_secret("", ""), "equal");
	CHECK(!same_secret("abc", "abd") && !same_secret("abc", "ab") &&
		!same_secret("abc", "abcd") && !same_secret("abc", "") && !same_secret("", "a"),
	    "not equal");
}

/* The test vectors of the paper: key 00 01 … 0f, input 00 01 …. */
static void test_sip(void)
{
	const struct sip_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
	unsigned char bytes[15];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)i;
	CHECK(sip_hash(&key, bytes, 0) == UINT64_C(0x726fdb47dd0e0e31), "of nothing");
	CHECK(sip_hash(&key, bytes, 1) == UINT64_C(0x74f839c593dc67fd), "of one byte");
	CHECK(sip_hash(&key, bytes, 8) == UINT64_C(0x93f5f5799a932462), "of eight");
	CHECK(sip_hash(&key, bytes, 15) == UINT64_C(0xa129ca6149be45e5), "of fifteen");
}

/* ---- hosts ---- */

static const struct {
	const char *host, *found;
} hosts[] = {
    {"example.org", "apex"},
    {"EXAMPLE.org", "apex"},
    {"example.org:8080", "apex"},
    {"example.org.", "apex"},
    {"example.org.:80", "apex"},
    {"example.org:", "apex"},
    {"www.example.org", "www"},
    {"a.example.org", "star"},
    {"a.b.example.org", "star"},
    {"x.deep.example.org", "deep"},
    {"deep.example.org", "star"},
    {"[::1]:80", "six"},
    {"[::1]", "six"},
    {"127.0.0.1", "four"},
    {"xexample.org", NULL},
    {".example.org", "star"},
    {"*.example.org", "star"},
    {"example.com", NULL},
    {"org", NULL},
    {"", NULL},
    {".", NULL},
    {":80", NULL},
    {"..", NULL},
};

static void test_hosts(void)
{
	static char names[][32] = {"Example.org", "www.example.org", "*.example.org",
	    "*.deep.example.org", "[::1]", "127.0.0.1"};
	static char values[][8] = {"apex", "www", "star", "deep", "six", "four"};
	struct host_row rows[6];
	char wide[600];

	for (size_t i = 0; i < 6; i++)
		rows[i] = (struct host_row){names[i], values[i]};
	hosts_sort(rows, 6);
	for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++) {
		const char *found = host_find(rows, 6, hosts[i].host, strlen(hosts[i].host));

		CHECK((found == NULL) == (hosts[i].found == NULL), "%s", hosts[i].host);
		if (found != NULL && hosts[i].found != NULL)
			CHECK(strcmp(found, hosts[i].found) == 0, "%s: %s", hosts[i].host, found);
	}
	memset(wide, 'a', sizeof(wide));
	CHECK(host_find(rows, 6, wide, sizeof(wide)) == NULL, "too long");
	memcpy(wide + 255 - 12, ".example.org", 12);
	CHECK(host_find(rows, 6, wide, 255) != NULL, "as long as one may be");
	CHECK(host_find(NULL, 0, "a", 1) == NULL, "no rows");
	CHECK(host_valid("a") && host_valid("*.a.b") && host_valid("[::1]"), "valid");
	CHECK(!host_valid("") && !host_valid("*") && !host_valid("*.") && !host_valid("a:80") &&
		!host_valid("a.*") && !host_valid("*a.b") && !host_valid("a/b") &&
		!host_valid(".a") && !host_valid("a.") && !host_valid("[x]"),
	    "not valid");
}

int main(void)
{
	test_codings();
	test_conditions();
	test_credentials();
	test_sip();
	test_hosts();
	return unit_end();
}
