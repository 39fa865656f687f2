/*
 * Who may what at a control endpoint: a table of what is allowed, to whom, and what is asked.
 */
#include "policy.h"
#include "unit.h"

#define HOLDS(condition) CHECK(condition, "it does not hold")

static char site[] = "site", echo[] = "echo", range[] = "20000-20002", port[] = "80",
	    overlap[] = "20001-20003", loopback[] = "127.0.0.0/8", loopback6[] = "::1";
static char *services[] = {site, echo, NULL};
static char *ports[] = {range, port, overlap, NULL};
static char *networks[] = {loopback, loopback6, NULL};

static struct control_config plain = {.max_leases = DIRECTIVE_AUTO};
static struct control_config strict = {
    .allow_services = services,
    .allow_ports = ports,
    .allow_address = networks,
    .max_leases = 2,
};

struct row {
	struct control_config *config;
	bool trusted;
	const char *service;
	bool in_place;
	const char *address;
	size_t open;
	enum policy_verdict verdict;
	const char *why; /* NULL: it is allowed */
};

static const struct row rows[] = {
    /* The daemon's own user and root, without rules. */
    {&plain, true, "site", false, "127.0.0.1:0", 999, POLICY_ALLOWS, NULL},
    {&plain, true, "http", true, "*:80", 0, POLICY_ALLOWS, NULL},
    {&plain, true, "echo", false, "unix:/x", 0, POLICY_ALLOWS, NULL},
    /* Everybody else, without rules. */
    {&plain, false, "site", false, "127.0.0.1:0", 0, POLICY_FORBIDS,
	"allow-services names no service here"},
    {&plain, false, "http", true, "127.0.0.1:0", 0, POLICY_DENIES,
	"a service in place is for the daemon's own user and root"},
    /* The rules hold for both. */
    {&strict, true, "site", false, "127.0.0.1:0", 1, POLICY_ALLOWS, NULL},
    {&strict, false, "site", false, "127.0.0.1:0", 1, POLICY_ALLOWS, NULL},
    {&strict, true, "other", false, "127.0.0.1:0", 0, POLICY_FORBIDS,
	"allow-services does not name other"},
    {&strict, false, "other", false, "127.0.0.1:0", 0, POLICY_FORBIDS,
	"allow-services does not name other"},
    {&strict, true, "http", true, "127.0.0.1:0", 0, POLICY_FORBIDS,
	"allow-services does not name http"},
    {&strict, true, "echo", true, "127.0.0.1:0", 0, POLICY_ALLOWS, NULL},
    {&strict, false, "echo", true, "127.0.0.1:0", 0, POLICY_DENIES,
	"a service in place is for the daemon's own user and root"},
    {&strict, true, "echo", false, "127.0.0.1:8080", 0, POLICY_FORBIDS,
	"allow-ports does not have port 8080"},
    {&strict, false, "echo", false, "127.0.0.1:20003", 0, POLICY_ALLOWS, NULL},
    {&strict, false, "echo", false, "127.0.0.1:20004", 0, POLICY_FORBIDS,
	"allow-ports does not have port 20004"},
    {&strict, false, "echo", false, "127.0.0.1:80", 0, POLICY_ALLOWS, NULL},
    {&strict, true, "echo", false, "unix:/x", 0, POLICY_ALLOWS, NULL},
    {&strict, false, "echo", false, "unix:/x", 0, POLICY_DENIES,
	"a Unix socket is for the daemon's own user and root"},
    {&strict, true, "echo", false, "127.0.0.1:0", 2, POLICY_FULL,
	"max-leases of this endpoint is 2, and so many are open"},
    {&strict, false, "echo", false, "127.0.0.1:0", 3, POLICY_FULL,
	"max-leases of this endpoint is 2, and so many are open"},
};

static void test_open(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct row *row = &rows[i];
		struct address address;
		struct policy policy;
		char why[256] = "";
		const char *wrong;

		HOLDS(address_parse(&address, row->address, &wrong) == 0);
		HOLDS(policy_init(&policy, row->config) == 0);
		const struct policy_request request = {
		    .service = row->service,
		    .in_place = row->in_place,
		    .address = &address,
		    .open = row->open,
		};
		enum policy_verdict verdict =
		    policy_open(&policy, row->trusted, &request, why, sizeof(why));

		CHECK(verdict == row->verdict, "row %zu: %d %s", i, verdict, why);
		CHECK(strcmp(why, row->why != NULL ? row->why : "") == 0, "row %zu: %s", i, why);
		policy_release(&policy);
	}
}

/* Without allow-ports a port below 1024 is for the trusted. */
static void test_low_ports(void)
{
	struct control_config config = {.allow_services = services, .max_leases = DIRECTIVE_AUTO};
	struct address low, high;
	struct policy policy;
	char why[256];
	const char *wrong;

	HOLDS(address_parse(&low, "127.0.0.1:1023", &wrong) == 0);
	HOLDS(address_parse(&high, "127.0.0.1:1024", &wrong) == 0);
	HOLDS(policy_init(&policy, &config) == 0);
	struct policy_request request = {.service = "echo", .address = &low};

	HOLDS(policy_open(&policy, false, &request, why, sizeof(why)) == POLICY_FORBIDS);
	CHECK(strcmp(why, "port 1023 is below 1024, and allow-ports does not name it") == 0, "%s",
	    why);
	HOLDS(policy_open(&policy, true, &request, why, sizeof(why)) == POLICY_ALLOWS);
	request.address = &high;
	HOLDS(policy_open(&policy, false, &request, why, sizeof(why)) == POLICY_ALLOWS);
	policy_release(&policy);
}

static void test_chosen_ports(void)
{
	static const unsigned expected[] = {80, 20000, 20001, 20002, 20003, 0};
	struct policy policy;
	unsigned last = 0;

	HOLDS(policy_init(&policy, &strict) == 0);
	for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++) {
		last = policy_port(&policy, last);
		CHECK(last == expected[i], "%u instead of %u", last, expected[i]);
	}
	HOLDS(policy_port(&policy, 65535) == 0);
	policy_release(&policy);
	HOLDS(policy_init(&policy, &plain) == 0);
	HOLDS(policy_port(&policy, 0) == 0);
	policy_release(&policy);
}

static void test_admits(void)
{
	union address_socket local = {.any = {.sa_family = AF_UNIX}};
	union address_socket here = {
	    .in = {.sin_family = AF_INET, .sin_addr = {htonl(0x7f000001)}}};
	union address_socket other = {
	    .in = {.sin_family = AF_INET, .sin_addr = {htonl(0x0a000001)}}};
	struct policy policy;

	HOLDS(policy_init(&policy, &strict) == 0);
	HOLDS(policy_admits(&policy, &here) && !policy_admits(&policy, &other) &&
	    !policy_admits(&policy, &local));
	policy_release(&policy);
	HOLDS(policy_init(&policy, &plain) == 0);
	HOLDS(policy_admits(&policy, &here) && policy_admits(&policy, &other) &&
	    policy_admits(&policy, &local));
	policy_release(&policy);
}

static void test_trust(void)
{
	HOLDS(policy_trusts(&(struct owner){.known = true, .uid = 0}, 7));
	HOLDS(policy_trusts(&(struct owner){.known = true, .uid = 7}, 7));
	HOLDS(!policy_trusts(&(struct owner){.known = true, .uid = 8}, 7));
	HOLDS(!policy_trusts(&(struct owner){.known = false, .uid = 0}, 7));
	HOLDS(!policy_trusts(&(struct owner){.known = false, .uid = 0, .peer = "127.0.0.1:1"}, 0));
}

static void test_close(void)
{
	const struct owner seven = {.endpoint = 0, .known = true, .uid = 7};
	const struct owner eight = {.endpoint = 0, .known = true, .uid = 8};
	const struct owner remote = {.endpoint = 1, .peer = "127.0.0.1:1"};
	const struct owner again = {.endpoint = 1, .peer = "127.0.0.1:2"};
	const struct owner elsewhere = {.endpoint = 2, .peer = "127.0.0.1:1"};
	const struct owner unknown = {.endpoint = 0};
	struct listener configured = {.origin = ORIGIN_CONFIGURATION, .owner = {.endpoint = -1}};
	struct listener opened = {.origin = ORIGIN_OPENED, .owner = seven};
	struct listener remotely = {.origin = ORIGIN_LEASED, .owner = remote};
	struct listener nobodys = {.origin = ORIGIN_OPENED, .owner = unknown};
	char why[256];

	HOLDS(policy_close(&seven, false, &opened, why, sizeof(why)) == POLICY_ALLOWS);
	HOLDS(policy_close(&eight, false, &opened, why, sizeof(why)) == POLICY_NOT_YOURS);
	HOLDS(policy_close(&eight, true, &opened, why, sizeof(why)) == POLICY_ALLOWS);
	HOLDS(policy_close(&remote, false, &opened, why, sizeof(why)) == POLICY_NOT_YOURS);
	HOLDS(policy_close(&unknown, false, &opened, why, sizeof(why)) == POLICY_NOT_YOURS);
	HOLDS(policy_close(&again, false, &remotely, why, sizeof(why)) == POLICY_ALLOWS);
	HOLDS(policy_close(&elsewhere, false, &remotely, why, sizeof(why)) == POLICY_NOT_YOURS);
	HOLDS(policy_close(&seven, false, &remotely, why, sizeof(why)) == POLICY_NOT_YOURS);
	HOLDS(policy_close(&unknown, false, &nobodys, why, sizeof(why)) == POLICY_NOT_YOURS);
	HOLDS(policy_close(&seven, false, &configured, why, sizeof(why)) == POLICY_DENIES);
	HOLDS(policy_close(&remote, false, &configured, why, sizeof(why)) == POLICY_DENIES);
	HOLDS(policy_close(&seven, true, &configured, why, sizeof(why)) == POLICY_ALLOWS);
}

int main(void)
{
	test_open();
	test_low_ports();
	test_chosen_ports();
	test_admits();
	test_trust();
	test_close();
	return unit_end();
}
