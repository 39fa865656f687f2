/* Who may what at a control endpoint; see policy.h and "Who may do what" in PROTOCOL. */
#include "policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t count_words(char *const *words)
{
	size_t count = 0;

	while (words != NULL && words[count] != NULL)
		count++;
	return count;
}

int policy_init(struct policy *policy, const struct control_config *config)
{
	size_t ports = count_words(config->allow_ports);
	size_t networks = count_words(config->allow_address);
	const char *why;

	*policy = (struct policy){
	    .config = config,
	    .ports = calloc(ports + 1, sizeof *policy->ports),
	    .networks = calloc(networks + 1, sizeof *policy->networks),
	};
	if (policy->ports == NULL || policy->networks == NULL) {
		policy_release(policy);
		return -1;
	}
	for (size_t i = 0; i < ports; i++)
		if (port_range_parse(
			&policy->ports[policy->ports_count], config->allow_ports[i], &why) == 0)
			policy->ports_count++;
	for (size_t i = 0; i < networks; i++)
		if (network_parse(&policy->networks[policy->networks_count],
			config->allow_address[i], &why) == 0)
			policy->networks_count++;
	return 0;
}

void policy_release(struct policy *policy)
{
	free(policy->ports);
	free(policy->networks);
	*policy = (struct policy){0};
}

bool policy_trusts(const struct owner *client, uid_t own)
{
	return client->known && (client->uid == own || client->uid == 0);
}

bool policy_admits(const struct policy *policy, const union address_socket *peer)
{
	if (policy->config->allow_address == NULL)
		return true;
	for (size_t i = 0; i < policy->networks_count; i++)
		if (network_has(&policy->networks[i], peer))
			return true;
	return false;
}

bool policy_names(const struct policy *policy, const char *service)
{
	char *const *names = policy->config->allow_services;

	for (size_t i = 0; names != NULL && names[i] != NULL; i++)
		if (strcmp(names[i], service) == 0)
			return true;
	return false;
}

static bool has_port(const struct policy *policy, unsigned port)
{
	for (size_t i = 0; i < policy->ports_count; i++)
		if (port >= policy->ports[i].first && port <= policy->ports[i].last)
			return true;
	return false;
}

unsigned policy_port(const struct policy *policy, unsigned after)
{
	unsigned least = 0;

	for (size_t i = 0; i < policy->ports_count; i++) {
		const struct port_range *range = &policy->ports[i];
		unsigned port = range->first > after ? range->first : after + 1;

		if (port <= range->last && (least == 0 || port < least))
			least = port;
	}
	return least;
}

/* ---- the rules of open, in the order in which they are named ---- */

typedef enum policy_verdict rule(const struct policy *policy, bool trusted,
    const struct policy_request *request, char *why, size_t size);

static enum policy_verdict rule_in_place(const struct policy *policy, bool trusted,
    const struct policy_request *request, char *why, size_t size)
{
	(void)policy;
	if (!request->in_place || trusted)
		return POLICY_ALLOWS;
	snprintf(why, size, "a service in place is for the daemon's own user and root");
	return POLICY_DENIES;
}

static enum policy_verdict rule_services(const struct policy *policy, bool trusted,
    const struct policy_request *request, char *why, size_t size)
{
	bool given = policy->config->allow_services != NULL;

	if ((trusted && !given) || policy_names(policy, request->service))
		return POLICY_ALLOWS;
	if (given)
		snprintf(why, size, "allow-services does not name %.64s", request->service);
	else
		snprintf(why, size, "allow-services names no service here");
	return POLICY_FORBIDS;
}

static enum policy_verdict rule_unix(const struct policy *policy, bool trusted,
    const struct policy_request *request, char *why, size_t size)
{
	(void)policy;
	if (request->address->form != ADDRESS_UNIX || trusted)
		return POLICY_ALLOWS;
	snprintf(why, size, "a Unix socket is for the daemon's own user and root");
	return POLICY_DENIES;
}

static enum policy_verdict rule_ports(const struct policy *policy, bool trusted,
    const struct policy_request *request, char *why, size_t size)
{
	unsigned port = request->address->port;
	bool given = policy->config->allow_ports != NULL;

	/* Port 0 is chosen among those that are allowed. */
	if (request->address->form == ADDRESS_UNIX || port == 0)
		return POLICY_ALLOWS;
	if (given ? has_port(policy, port) : trusted || port >= 1024)
		return POLICY_ALLOWS;
	snprintf(why, size,
	    given ? "allow-ports does not have port %u"
		  : "port %u is below 1024, and allow-ports does not name it",
	    port);
	return POLICY_FORBIDS;
}

static enum policy_verdict rule_leases(const struct policy *policy, bool trusted,
    const struct policy_request *request, char *why, size_t size)
{
	int64_t most = policy->config->max_leases;

	(void)trusted;
	if (most == DIRECTIVE_AUTO || request->open < (size_t)most)
		return POLICY_ALLOWS;
	snprintf(why, size, "max-leases of this endpoint is %lld, and so many are open",
	    (long long)most);
	return POLICY_FULL;
}

enum policy_verdict policy_open(const struct policy *policy, bool trusted,
    const struct policy_request *request, char *why, size_t size)
{
	static rule *const rules[] = {
	    rule_in_place, rule_services, rule_unix, rule_ports, rule_leases};
	enum policy_verdict verdict = POLICY_ALLOWS;

	for (size_t i = 0; i < sizeof rules / sizeof *rules && verdict == POLICY_ALLOWS; i++)
		verdict = rules[i](policy, trusted, request, why, size);
	return verdict;
}

/* ---- close ---- */

enum policy_verdict policy_close(const struct owner *client, bool trusted,
    const struct listener *listener, char *why, size_t size)
{
	const struct owner *owner = &listener->owner;

	if (trusted)
		return POLICY_ALLOWS;
	if (listener->origin == ORIGIN_CONFIGURATION) {
		snprintf(why, size,
		    "a port of the configuration is closed by the daemon's own user and root");
		return POLICY_DENIES;
	}
	if (client->known ? owner->known && owner->uid == client->uid
			  : client->peer[0] != '\0' && owner->peer[0] != '\0' &&
		    owner->endpoint == client->endpoint)
		return POLICY_ALLOWS;
	snprintf(why, size, "somebody else opened it");
	return POLICY_NOT_YOURS;
}
