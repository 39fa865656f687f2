/* What both sides of a launcher's channel know; see launcher.h for the messages. */
#ifndef LASTCALL_LAUNCHER_PARTS_H
#define LASTCALL_LAUNCHER_PARTS_H

#include <stdint.h>

#include "address.h"
#include "launcher.h"

enum launcher_message {
	LAUNCHER_START = 1,
	LAUNCHER_END,
	LAUNCHER_STARTED,
	LAUNCHER_FAILED,
	LAUNCHER_ENDED,
	LAUNCHER_LINE,
	LAUNCHER_DROPPED,
	LAUNCHER_STRAY,
	LAUNCHER_READY,
	LAUNCHER_SAID,
};

/* What every message begins with. START goes on with the client's address, or the names of
 * sockets, FAILED and LINE with text. */
struct launcher_head {
	uint32_t type;
	uint32_t run; /* its number */
	int32_t value; /* errno, pid, status, ms, or how many */
	int32_t pid;
	uint32_t number; /* START: of the connections that this client has */
};

#define LAUNCHER_NAMES_MAX 4096 /* bytes of the names of sockets */
#define LAUNCHER_LINE_MAX 800 /* bytes of a line; a longer one becomes several */

/* The process: owns channel, never returns. */
_Noreturn void launcher_process(int channel, const struct launcher_plan *plan);

#endif
