/* The client commands; see remote.h. */
#include "remote.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"

#define REOPEN_ANSWER_MS 30000 /* what is under way, and then ours, take 5 s each at the most */

/* ---- saying what went wrong ---- */

int remote_error(const struct command *command, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "lastcall: error: %s: ", command->name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return STATUS_FAILED;
}

int remote_refused(const struct command *command, const struct reply *reply)
{
	char text[CLIENT_LINE_MAX];

	if (reply->kind != REPLY_ERROR)
		return remote_error(command, "an unexpected answer: %s",
		    reply_display(reply->words[0], text, sizeof text));
	remote_error(command, "%s", reply_display(reply->text, text, sizeof text));
	return strcmp(reply->words[1], "syntax") == 0 ||
		strcmp(reply->words[1], "configuration") == 0
	    ? STATUS_USAGE
	    : STATUS_FAILED;
}

int remote_status(enum client_result result)
{
	return result == CLIENT_OK     ? STATUS_DONE
	    : result == CLIENT_MISUSED ? STATUS_USAGE
				       : STATUS_FAILED;
}

/* ---- asking ---- */

enum client_result remote_connect(const struct command *command, const struct options *options,
    struct client *client, int64_t deadline, char *why, size_t size)
{
	const struct client_place place = {options->control, options->token_file};
	enum client_result result = client_open(client, &place, deadline, why, size);

	if (result != CLIENT_OK && result != CLIENT_ABSENT)
		remote_error(command, "%s", why);
	return result;
}

int remote_connect_or_fail(
    const struct command *command, const struct options *options, struct client *client)
{
	char why[CLIENT_WHY];
	enum client_result result = remote_connect(
	    command, options, client, clock_ms() + CLIENT_ANSWER_MS, why, sizeof why);

	if (result == CLIENT_ABSENT)
		remote_error(command, "%s", why);
	return remote_status(result);
}

int remote_ask(const struct command *command, struct client *client, struct request *request,
    int64_t deadline, struct reply *reply)
{
	char why[CLIENT_WHY];

	if (request_end(request) == -1)
		return remote_error(command, "it is too long to be asked (%d bytes)", REQUEST_MAX);
	if (client_send(client, request, deadline, why, sizeof why) == -1 ||
	    client_line(client, reply, deadline, why, sizeof why) == -1)
		return remote_error(command, "%s", why);
	return reply->kind == REPLY_OK ? STATUS_DONE : remote_refused(command, reply);
}

int remote_ask_open(const struct command *command, const struct options *options,
    struct client *client, struct request *request, const struct address *address,
    struct reply *reply)
{
	int status;

	request_word(request, address->text);
	for (int i = 0; i < options->count; i++)
		request_word(request, options->words[i]);
	status = remote_ask(command, client, request, clock_ms() + CLIENT_ANSWER_MS, reply);
	if (status == STATUS_DONE && reply->count < 2)
		status = remote_error(command, "an answer without an address");
	return status;
}

int remote_misused_service(const struct command *command, const struct options *options)
{
	if (options->address == NULL)
		return command_misused(command, "an address is missing, and what is served there");
	if (options->count == 0)
		return command_misused(
		    command, "what is to be served there? (ADDR SERVICE [ARG...])");
	return STATUS_DONE;
}

int remote_address(const struct command *command, const char *text, struct address *out)
{
	char shown[REPLY_DISPLAY], why[REPLY_DISPLAY + CLIENT_WHY];
	struct address address;
	const char *wrong;

	reply_display(text, shown, sizeof shown);
	if (address_parse(&address, text, &wrong) == -1) {
		snprintf(why, sizeof why, "address \"%s\": %s", shown, wrong);
		return command_misused(command, why);
	}
	if (address_resolve(&address, out, 1, &wrong) == -1)
		return remote_error(command, "%s: %s", shown, wrong);
	return STATUS_DONE;
}

void remote_add_folder(
    struct request *request, const struct client *client, const struct options *options)
{
	char folder[REQUEST_MAX];

	/* Only what is given in place has a path, and that never over TCP. */
	if (options->count > 1 && !client->remote && getcwd(folder, sizeof folder) != NULL)
		request_option(request, "folder", folder);
}

void remote_add_duration(struct request *request, const char *name, int64_t milliseconds)
{
	char text[32];

	if (milliseconds < 0)
		return;
	snprintf(text, sizeof text, "%lld%s", (long long)milliseconds, milliseconds ? "ms" : "");
	request_option(request, name, text);
}

void remote_print_receipt(FILE *out, const char *address, const struct receipt *receipt)
{
	char shown[REPLY_DISPLAY], programs[RECEIPT_PROGRAMS];

	fprintf(out, "%s: closed in %lld ms: %llu accepted, %llu answered",
	    reply_display(address, shown, sizeof shown), (long long)receipt->milliseconds,
	    (unsigned long long)receipt->accepted, (unsigned long long)receipt->answered);
	if (receipt->left > 0)
		fprintf(out, ", %llu left by themselves", (unsigned long long)receipt->left);
	fprintf(out, ", %llu cut", (unsigned long long)receipt->cut);
	if (receipt->open > 0)
		fprintf(out, ", %llu still served", (unsigned long long)receipt->open);
	fprintf(out, "%s\n", receipt_programs(receipt, programs, sizeof programs));
}

int remote_printed(const struct command *command, int status)
{
	if (fflush(stdout) == EOF || ferror(stdout))
		return remote_error(command, "standard output: %s", strerror(errno));
	return status;
}

/* ---- the commands ---- */

/* Closes a port that nobody would know of. */
static void take_back(struct client *client, const char *address)
{
	struct request request = {.length = 0};
	int64_t deadline = clock_ms() + CLIENT_ANSWER_MS;
	struct reply reply;
	char why[CLIENT_WHY];

	request_word(&request, "close");
	request_word(&request, address);
	if (request_end(&request) == 0 &&
	    client_send(client, &request, deadline, why, sizeof why) == 0)
		client_line(client, &reply, deadline, why, sizeof why);
}

int remote_run_open(const struct command *command, const struct options *options)
{
	struct request request = {.length = 0};
	char shown[REPLY_DISPLAY];
	struct address address;
	struct client client = {.fd = -1};
	struct reply reply;
	int status = remote_misused_service(command, options);

	if (status == STATUS_DONE)
		status = remote_address(command, options->address, &address);
	if (status == STATUS_DONE)
		status = remote_connect_or_fail(command, options, &client);
	if (status != STATUS_DONE)
		return status;
	request_word(&request, "open");
	remote_add_folder(&request, &client, options);
	status = remote_ask_open(command, options, &client, &request, &address, &reply);
	if (status == STATUS_DONE) {
		printf("%s\n", reply_display(reply.words[1], shown, sizeof shown));
		status = remote_printed(command, status);
		if (status != STATUS_DONE)
			take_back(&client, reply.words[1]);
	}
	client_close(&client);
	return status;
}

/* `close` and `cancel`: asks about one ADDR. The caller closes the client. */
static int ask_about(const struct command *command, const struct options *options,
    struct client *client, int64_t grace, int64_t wait_ms, struct reply *reply)
{
	struct request request = {.length = 0};
	struct address address;
	int status;

	if (options->address == NULL)
		return command_misused(command, "which one? an address is missing");
	status = remote_address(command, options->address, &address);
	if (status == STATUS_DONE)
		status = remote_connect_or_fail(command, options, client);
	if (status != STATUS_DONE)
		return status;
	request_word(&request, command->name);
	remote_add_duration(&request, "grace", grace);
	request_word(&request, address.text);
	return remote_ask(command, client, &request,
	    wait_ms == CLOCK_NEVER ? CLOCK_NEVER : clock_ms() + wait_ms, reply);
}

int remote_run_close(const struct command *command, const struct options *options)
{
	struct client client = {.fd = -1};
	struct receipt receipt;
	struct reply reply;
	int status;

	if (options->now && options->grace >= 0)
		return command_misused(command, "either --grace or --now");
	status = ask_about(
	    command, options, &client, options->now ? 0 : options->grace, CLOCK_NEVER, &reply);
	if (status == STATUS_DONE && (reply.count < 2 || reply_receipt(&reply, &receipt) == -1))
		status = remote_error(command, "an answer without a receipt");
	if (status == STATUS_DONE) {
		remote_print_receipt(stdout, reply.words[1], &receipt);
		status = remote_printed(command, receipt.cut > 0 ? STATUS_CUT : STATUS_DONE);
	}
	client_close(&client);
	return status;
}

int remote_run_cancel(const struct command *command, const struct options *options)
{
	struct client client = {.fd = -1};
	struct reply reply;
	int status = ask_about(command, options, &client, -1, CLIENT_ANSWER_MS, &reply);

	client_close(&client);
	return status;
}

int remote_run_ping(const struct command *command, const struct options *options)
{
	struct request request = {.length = 0};
	struct client client = {.fd = -1};
	struct reply reply;
	int status = remote_connect_or_fail(command, options, &client);

	if (status != STATUS_DONE)
		return status;
	request_word(&request, "ping");
	status = remote_ask(command, &client, &request, clock_ms() + CLIENT_ANSWER_MS, &reply);
	client_close(&client);
	return status;
}

/* As the master's own receipt, with which a stop by pid file ends. */
static void print_stop(const struct receipt *receipt)
{
	char programs[RECEIPT_PROGRAMS];

	printf("lastcall: drained in %lld ms: %llu answered, %llu of them from the queue",
	    (long long)receipt->milliseconds, (unsigned long long)receipt->answered,
	    (unsigned long long)receipt->queued);
	if (receipt->left > 0)
		printf(", %llu left by themselves", (unsigned long long)receipt->left);
	printf(", %llu cut%s\n", (unsigned long long)receipt->cut,
	    receipt_programs(receipt, programs, sizeof programs));
}

/* A line of what is wrong, as it is. */
static void print_diagnostic(const struct reply *reply)
{
	char text[REPLY_DISPLAY];

	fprintf(stderr, "%s\n",
	    reply->count > 1 ? reply_display(reply->words[1], text, sizeof text) : "");
}

/* Sends the command's name, and prints what is wrong before the answer, which comes until the
 * deadline. */
static int run_word(const struct command *command, const struct options *options, int64_t deadline)
{
	struct request request = {.length = 0};
	struct client client = {.fd = -1};
	struct reply reply;
	char why[CLIENT_WHY];
	int status = remote_connect_or_fail(command, options, &client), more;

	if (status != STATUS_DONE)
		return status;
	request_word(&request, command->name);
	if (request_end(&request) == -1 ||
	    client_send(&client, &request, deadline, why, sizeof why) == -1) {
		client_close(&client);
		return remote_error(command, "%s", why);
	}
	while ((more = client_line(&client, &reply, deadline, why, sizeof why)) == 0 &&
	    reply.kind == REPLY_LINE && strcmp(reply.words[0], "diagnostic") == 0)
		print_diagnostic(&reply);
	if (more == -1)
		status = remote_error(command, "%s", why);
	else if (reply.kind != REPLY_OK)
		status = remote_refused(command, &reply);
	client_close(&client);
	return status;
}

int remote_run_renewal(const struct command *command, const struct options *options)
{
	return run_word(command, options, CLOCK_NEVER);
}

int remote_run_reopen(const struct command *command, const struct options *options)
{
	/* A master that hangs does not keep a script that rotates logs. */
	return run_word(command, options, clock_ms() + REOPEN_ANSWER_MS);
}

int remote_run_workers(const struct command *command, const struct options *options)
{
	struct request request = {.length = 0};
	struct client client = {.fd = -1};
	struct reply reply;
	int status;

	if (options->address == NULL)
		return command_misused(command, "how many? a number is missing");
	status = remote_connect_or_fail(command, options, &client);
	if (status != STATUS_DONE)
		return status;
	request_word(&request, "workers");
	request_word(&request, options->address);
	status = remote_ask(command, &client, &request, clock_ms() + CLIENT_ANSWER_MS, &reply);
	client_close(&client);
	return status;
}

int remote_run_stop(const struct command *command, const struct options *options)
{
	struct request request = {.length = 0};
	struct client client = {.fd = -1};
	struct receipt receipt;
	struct reply reply;
	char why[CLIENT_WHY];
	int status = remote_connect_or_fail(command, options, &client);

	if (status != STATUS_DONE)
		return status;
	request_word(&request, "stop");
	if (options->now)
		request_option(&request, "now", "on");
	status = remote_ask(command, &client, &request, CLOCK_NEVER, &reply);
	if (status == STATUS_DONE && reply_receipt(&reply, &receipt) == -1)
		status = remote_error(command, "an answer without a receipt");
	if (status == STATUS_DONE) {
		print_stop(&receipt);
		status = remote_printed(command, receipt.cut > 0 ? STATUS_CUT : STATUS_DONE);
		/* Its endpoint is gone when the connection ends. */
		client_line(&client, &reply, clock_ms() + CLIENT_ANSWER_MS, why, sizeof why);
	}
	client_close(&client);
	return status;
}
