/* What an upgrade carries over of what a service manager passed, keeps and is told; see
 * carry_parts.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "activation.h"
#include "carry_parts.h"
#include "descriptor.h"
#include "notify.h"
#include "scoreboard.h"
#include "store.h"

#define OF_NOTIFY(type, member) CARRY_FIELD(type, struct notify, member)

static const struct carry_field notify_fields[] = {
    OF_NOTIFY(CARRY_FD, fd),
    OF_NOTIFY(CARRY_BYTES, to),
    OF_NOTIFY(CARRY_NUMBER, length),
    OF_NOTIFY(CARRY_NUMBER, state),
    OF_NOTIFY(CARRY_NUMBER, watchdog),
    OF_NOTIFY(CARRY_NUMBER, beat_at),
    OF_NOTIFY(CARRY_NUMBER, extend_at),
    OF_NOTIFY(CARRY_NUMBER, status_at),
    OF_NOTIFY(CARRY_NUMBER, retry_at),
    OF_NOTIFY(CARRY_NUMBER, silent),
    OF_NOTIFY(CARRY_TEXT, failure),
    OF_NOTIFY(CARRY_BYTES, kept),
    OF_NOTIFY(CARRY_NUMBER, kept_first),
    OF_NOTIFY(CARRY_NUMBER, kept_count),
    CARRY_END,
};

#define OF_PASSED(type, member) CARRY_FIELD(type, struct passed, member)

static const struct carry_field passed_fields[] = {
    OF_PASSED(CARRY_FD, fd),
    OF_PASSED(CARRY_NUMBER, number),
    OF_PASSED(CARRY_TEXT, name),
    OF_PASSED(CARRY_NUMBER, stored),
    OF_PASSED(CARRY_TEXT, text),
    CARRY_END,
};

void manager_leave(struct carry_out *out, const struct parts *parts)
{
	const struct activation *activation = parts->activation;

	carry_line(out, "manager");
	carry_put_number(out, "passed", activation->count);
	carry_put_number(out, "wanted", parts->store->wanted);
	carry_put(out, notify_fields, parts->notify);
	for (size_t i = 0; i < activation->count; i++) {
		const struct passed *passed = &activation->all[i];

		carry_line(out, "passed");
		carry_put_number(out, "index", i);
		carry_put(out, passed_fields, passed);
		if (passed->fault != NULL)
			carry_put_bytes(out, "fault", passed->fault, strlen(passed->fault));
	}
	for (const struct store_name *at = parts->store->gone; at != NULL; at = at->next) {
		carry_line(out, "gone");
		carry_put_bytes(out, "name", at->name, strlen(at->name));
	}
}

int manager_resume(struct carry_in *in, const struct parts *parts)
{
	struct notify *notify = parts->notify;
	uint64_t count, wanted;

	if (parts->activation->count > 0 ||
	    carry_get_number(in, "passed", SCOREBOARD_LISTENERS, &count) == -1 ||
	    carry_get_number(in, "wanted", 1, &wanted) == -1 ||
	    carry_get(in, notify_fields, notify) == -1)
		return -1;
	if (notify->state > NOTIFY_STOPPING || notify->kept_first >= NOTIFY_KEPT ||
	    notify->kept_count > NOTIFY_KEPT || notify->length > sizeof notify->to)
		return carry_wrong(in, "what a service manager is told makes no sense");
	for (size_t i = 0; i < NOTIFY_KEPT; i++)
		notify->kept[i][NOTIFY_MESSAGE - 1] = '\0';
	notify->told_stale = true;
	if (parts->rehearses)
		notify_close(notify); /* a copy: nobody but the server itself speaks for it */
	parts->store->wanted = wanted;
	parts->store->due = true;
	parts->activation->all = calloc(count > 0 ? count : 1, sizeof *parts->activation->all);
	if (parts->activation->all == NULL)
		return carry_wrong(in, "%s", strerror(errno));
	for (size_t i = 0; i < count; i++)
		parts->activation->all[i].fd = -1;
	parts->activation->count = count;
	return 0;
}

int passed_resume(struct carry_in *in, const struct parts *parts)
{
	struct passed *passed;
	uint64_t index;
	size_t length;
	char *fault;

	if (carry_get_number(in, "index", SCOREBOARD_LISTENERS, &index) == -1)
		return -1;
	if (index >= parts->activation->count)
		return carry_wrong(in, "a socket that was passed has no place");
	passed = &parts->activation->all[index];
	if (carry_get(in, passed_fields, passed) == -1 ||
	    carry_get_bytes(in, "fault", &fault, &length) == -1)
		return -1;
	passed->fault = fault; /* for as long as the process lives */
	return 0;
}

int gone_resume(struct carry_in *in, const struct parts *parts)
{
	struct store_name *gone = calloc(1, sizeof *gone);
	const struct carry_field field[] = {
	    CARRY_FIELD(CARRY_TEXT, struct store_name, name), CARRY_END};

	if (gone == NULL)
		return carry_wrong(in, "%s", strerror(errno));
	gone->next = parts->store->gone;
	parts->store->gone = gone;
	return carry_get(in, field, gone);
}
