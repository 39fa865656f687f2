/*
 * What the files of the master itself share: master.c starts it, runs its loop and stops it,
 * resume.c goes on with what another program of the same process has left.
 */
#ifndef LASTCALL_MASTER_PARTS_H
#define LASTCALL_MASTER_PARTS_H

#include "activation.h"
#include "control.h"
#include "listener.h"
#include "log.h"
#include "loop.h"
#include "master.h"
#include "notify.h"
#include "pidfile.h"
#include "pool.h"
#include "ports.h"
#include "privilege.h"
#include "reload.h"
#include "reopen.h"
#include "scoreboard.h"
#include "store.h"
#include "upgrade.h"

#define CUT_MS 1000 /* from the order to end to SIGKILL */

enum master_state {
	MASTER_STARTING,
	MASTER_SERVING,
	MASTER_DELAYING,
	MASTER_CLOSING,
	MASTER_DRAINING,
	MASTER_CUTTING,
	MASTER_DONE
};

struct master {
	struct announce announce;
	enum master_state state;
	struct log log;
	struct loop *loop;
	struct watch signals;
	struct watch lifeline; /* announce.lifeline, while it is watched */
	struct scoreboard scoreboard;
	struct listeners listeners;
	struct privilege privilege;
	struct pool pool;
	struct ports ports;
	struct control control;
	struct pidfile pidfile;
	struct activation activation;
	struct notify notify;
	struct store store;
	struct reload reload; /* has the configuration in force */
	const struct invocation *invocation; /* NULL: it is not upgraded */
	struct upgrade upgrade;
	struct reopen reopen;

	int64_t stop_begun; /* ms */
	int64_t deadline; /* of the state at hand: drain-delay, grace, or SIGKILL; CLOCK_NEVER */
	bool failed; /* it stops because it cannot serve */
	bool interrupted; /* INT came once */
	bool killed; /* SIGKILL was sent to who was left */
	int rehearsal_result; /* where a rehearsal tells what it came to; -1 */
};

/* Everything that is not open yet; announce and source as in master.h. */
void master_init(struct master *master, struct config *config, const struct announce *announce,
    const struct source_of_config *source);

/* Opens the loop, and hears signals and the end of the lifeline from here on. Returns 0, or -1 with
 * errno. */
int master_hear(struct master *master);

/* The parts get to know each other: after master_hear. */
void master_connect(struct master *master);

/* The one setter of its state. */
void master_set_state(struct master *master, enum master_state state);

/* Says why it does not start, where the person who started it looks: on standard error. Returns
 * status. */
int master_refuse(const char *why, int status);

/* Serves to the end, and says what the stop did. Returns the exit status. */
int master_serve(struct master *master);

#endif
