/*
 * The log files of a worker, when they are opened anew. It cannot open them itself: the master
 * does, and sends each with its path.
 */
#ifndef LASTCALL_LOGS_H
#define LASTCALL_LOGS_H

struct channel_message;
struct worker;

/*
 * A REOPEN: every log of that path goes on in the file that was sent, whose descriptor is taken
 * over. Lines that were gathered before are written to the old one first.
 */
void logs_reopen(struct worker *worker, const struct channel_message *message);

/* An ANSWER: answers; later, in logs_answer_due, if the master does not read now. */
void logs_answer(struct worker *worker, unsigned number);
void logs_answer_due(struct worker *worker);

#endif
