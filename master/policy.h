/*
 * Who may what at a control endpoint: a function of its configuration, of who the client is, and
 * of what is asked. Pure; nothing is opened or looked up here.
 *
 * A client is trusted when the kernel says that it is the daemon's own user or root: on a Unix
 * endpoint only. Whoever is not may do what the policy names, and no more.
 */
#ifndef LASTCALL_POLICY_H
#define LASTCALL_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "address.h"
#include "config.h"
#include "listener.h"
#include "network.h"

/* What a block of the configuration says, read. */
struct policy {
	const struct control_config *config;
	struct port_range *ports;
	size_t ports_count; /* 0: any */
	struct network *networks;
	size_t networks_count; /* 0: any */
};

enum policy_verdict {
	POLICY_ALLOWS,
	POLICY_DENIES, /* it is for the daemon's own user and root */
	POLICY_FORBIDS, /* a rule of the endpoint does; why names it */
	POLICY_NOT_YOURS, /* somebody else opened it */
	POLICY_FULL, /* max-leases */
};

/* What is asked of open and lease. */
struct policy_request {
	const char *service; /* its name, or that of its kind */
	bool in_place; /* a kind with arguments */
	const struct address *address;
	size_t open; /* what the endpoint has open by then */
};

/*
 * Reads what the block says; it was checked before, so what is malformed is left out. Returns 0, or
 * -1 with errno ENOMEM. config outlives it.
 */
int policy_init(struct policy *policy, const struct control_config *config);
void policy_release(struct policy *policy);

/* Whether it is the daemon's own user (own) or root, as the kernel says. */
bool policy_trusts(const struct owner *client, uid_t own);

/* Whether a client of that address may come in. */
bool policy_admits(const struct policy *policy, const union address_socket *peer);

/* Whether a client may open that. why (of size bytes) is a sentence that names the rule. */
enum policy_verdict policy_open(const struct policy *policy, bool trusted,
    const struct policy_request *request, char *why, size_t size);

/* Whether it may close, or take back the close of, what owner opened. */
enum policy_verdict policy_close(const struct owner *client, bool trusted,
    const struct listener *listener, char *why, size_t size);

/* Whether allow-services names it. Without allow-services it names nothing. */
bool policy_names(const struct policy *policy, const char *service);

/* The first port above `after` that allow-ports has, where port 0 was asked for; 0: there is none.
 */
unsigned policy_port(const struct policy *policy, unsigned after);

#endif
