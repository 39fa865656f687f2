/* The table of the commands, and their help; see command.h. */
#include "command.h"

#include <stdio.h>

#include "config.h"
#include "lease.h"
#include "remote.h"
#include "start.h"
#include "status.h"
#include "stop.h"

int command_misused(const struct command *command, const char *why)
{
	fprintf(stderr, "lastcall: error: %s: %s\n", command->name, why);
	fprintf(stderr, "usage: lastcall %s %s\n", command->name, command->usage);
	return STATUS_USAGE;
}

#define RUNNING_HELP                                                                               \
	"  -w, --workers N       how many workers (default: one per CPU)\n"                        \
	"  -u, --user USER       who they run as when started as root (default: nobody)\n"         \
	"  -p, --pid-file FILE   lock FILE and write the pid to it\n"                              \
	"  -e, --error-log FILE  log there instead of to standard error\n"                         \
	"  -s, --control ENDPOINT\n"                                                               \
	"                        take requests there: a path, or ADDR with a --token-file\n"       \
	"      --no-control      take none\n"                                                      \
	"      --token-file FILE what clients of a TCP endpoint have to know\n"                    \
	"      --ready-fd N      write the `listening` and `ready` lines to descriptor N too, "    \
	"then close it\n"

#define ADDRESS_HELP                                                                               \
	"\nADDR: 8080 or *:8080 (IPv6 and IPv4), 0.0.0.0:8080, [::]:8080 (IPv6 only), "            \
	"127.0.0.1:8080, host:8080,\n"                                                             \
	"unix:/path, fd:NAME (passed by a service manager). Port 0, or :0, is the kernel's "       \
	"choice; the line\n"                                                                       \
	"`listening ADDR SERVICE [URL]` tells it.\n"

#define SIGNALS_HELP                                                                               \
	"\nTERM stops without losing a connection; INT the same, twice: at once; QUIT at once; "   \
	"HUP: reload; USR1:\n"                                                                     \
	"open log files anew; USR2: upgrade; TTIN and TTOU: one worker more or fewer.\n"           \
	"Exit status: 0 drained, 3 something was cut, 1 failed, 2 usage or configuration.\n"

#define CLIENT_HELP                                                                                \
	"  -s, --control ENDPOINT\n"                                                               \
	"                        where the daemon is: a path, unix:PATH or HOST:PORT (default: "   \
	"LASTCALL_CONTROL,\n"                                                                      \
	"                        else /run/lastcall/control.sock for root, else "                  \
	"$XDG_RUNTIME_DIR/lastcall/control.sock)\n"                                                \
	"      --token-file FILE the token for a TCP endpoint (default: LASTCALL_TOKEN_FILE)\n"

#define CLIENT_ADDRESS_HELP                                                                        \
	"\nADDR: 8080 or *:8080 (IPv6 and IPv4), 0.0.0.0:8080, [::]:8080 (IPv6 only), "            \
	"127.0.0.1:8080, host:8080,\n"                                                             \
	"unix:/path. Port 0, or :0, is the kernel's choice. Options stand before ADDR. DURATION: " \
	"250ms, 30s, 5m, 2h, 1d.\n"

#define FAILED_HELP "\nExit status: 0 done, 1 failed, 2 usage.\n"

const struct command commands[] = {
    {
	.name = "serve",
	.usage = "[-l ADDR]... [-w N] [-p FILE] [DIR]",
	.summary = "serve a folder over HTTP, without a configuration",
	.help = "  -l, --listen ADDR     listen there (default: *:8080); may be given more than "
		"once\n" RUNNING_HELP "  -h, --help            this\n"
		"\nDIR is the folder, by default the current one.\n" ADDRESS_HELP SIGNALS_HELP,
	.takes = TAKES_LISTEN | TAKES_RUNNING | TAKES_PID_FILE | TAKES_FOLDER,
	.run = start_run_serve,
    },
    {
	.name = "run",
	.usage = "[-c FILE] [-l ADDR SERVICE [ARG]]... [-d] [-w N] [-p FILE]",
	.summary = "run the daemon, in the foreground",
	.help = "  -c, --config FILE     the configuration (default: " DEFAULT_CONFIG
		", unless there is a -l)\n"
		"  -l, --listen ADDR SERVICE [ARG]\n"
		"                        serve this there too; SERVICE is one of the "
		"configuration, or `echo`, or\n"
		"                        `http DIR`, or `exec PROGRAM ARG...`, or "
		"`app [N] PROGRAM ARG...`, which go on\n"
		"                        to `--` or the end; may be given more than once\n"
		"  -d, --detach          go to the background once it is ready\n" RUNNING_HELP
		"  -h, --help            this\n" ADDRESS_HELP SIGNALS_HELP,
	.takes =
	    TAKES_LISTEN_SERVICE | TAKES_CONFIG | TAKES_RUNNING | TAKES_PID_FILE | TAKES_DETACH,
	.run = start_run_run,
    },
    {
	.name = "check",
	.usage = "[-c FILE]",
	.summary = "test a configuration, and start nothing",
	.help = "  -c, --config FILE     the configuration (default: " DEFAULT_CONFIG ")\n"
		"  -h, --help            this\n"
		"\nExit status: 0 it is good, 2 it is not; what is wrong is on standard error, all "
		"of it.\n",
	.takes = TAKES_CONFIG,
	.run = start_run_check,
    },
    {
	.name = "open",
	.usage = "[-s ENDPOINT] ADDR SERVICE [ARG...]",
	.summary = "open a port of a running daemon",
	.help = CLIENT_HELP
	"  -h, --help            this\n"
	"\nPrints the address bound, and nothing else; the port takes connections by then. What "
	"stands behind ADDR is\n"
	"the service: one of the daemon's configuration, a kind (`echo`), or for its own user and "
	"root a kind with its\n"
	"arguments (`http DIR`, `exec PROGRAM ARG...`, `app [N] PROGRAM "
	"ARG...`).\n" CLIENT_ADDRESS_HELP FAILED_HELP,
	.takes = TAKES_CLIENT | TAKES_SERVICE,
	.run = remote_run_open,
    },
    {
	.name = "close",
	.usage = "[-s ENDPOINT] [--grace DURATION | --now] ADDR",
	.summary = "close a port without losing a connection",
	.help = CLIENT_HELP
	"      --grace DURATION  wait for connections that are still served, so long; then cut\n"
	"      --now             cut at once what is still served\n"
	"  -h, --help            this\n"
	"\nReturns when the address can be bound again, and prints the receipt. Connections that "
	"are open then are\n"
	"served on. DURATION: 250ms, 30s, 5m, 2h, 1d.\n"
	"\nExit status: 0 closed, 3 something was cut, 1 failed or no such port, 2 usage.\n",
	.takes = TAKES_CLIENT | TAKES_GRACE | TAKES_NOW | TAKES_ADDRESS,
	.run = remote_run_close,
    },
    {
	.name = "cancel",
	.usage = "[-s ENDPOINT] ADDR",
	.summary = "take back a close that still waits",
	.help = CLIENT_HELP "  -h, --help            this\n"
			    "\nThe port is open as before.\n" FAILED_HELP,
	.takes = TAKES_CLIENT | TAKES_ADDRESS,
	.run = remote_run_cancel,
    },
    {
	.name = "lease",
	.usage = "[-s ENDPOINT | --private] [--ttl DURATION] [--heartbeat DURATION] ADDR SERVICE "
		 "[ARG...] [-- COMMAND...]",
	.summary = "have a port for as long as this, or COMMAND, runs",
	.help = CLIENT_HELP
	"      --ttl DURATION    at most so long\n"
	"      --heartbeat DURATION\n"
	"                        the daemon closes the port when this was silent for so long\n"
	"      --private         start a daemon for this lease alone; so is done for a COMMAND "
	"where none is running\n"
	"                        and no ENDPOINT was named\n"
	"  -h, --help            this\n"
	"\nWith COMMAND: runs it with LASTCALL_ADDR, LASTCALL_HOST, LASTCALL_PORT and "
	"LASTCALL_URL set, closes the port\n"
	"when it ends, and exits with its status: 128+N if signal N killed it, 127 if there is no "
	"such command, 126 if it\n"
	"cannot be run, 125 if lastcall could not get the port. TERM, HUP, USR1 and USR2 are "
	"passed "
	"on.\n"
	"\nWithout: prints the address, and closes the port at the end of standard input or at a "
	"signal.\n" CLIENT_ADDRESS_HELP
	"\nExit status: 0 closed (or the ttl was over), 3 something was cut, 1 failed or closed by "
	"somebody else, 2 usage.\n",
	.takes = TAKES_CLIENT | TAKES_LEASE | TAKES_SERVICE,
	.run = lease_run,
    },
    {
	.name = "status",
	.usage = "[-s ENDPOINT] [--json]",
	.summary = "show the listeners and workers of a running daemon",
	.help = CLIENT_HELP "      --json            for programs\n"
			    "  -h, --help            this\n" FAILED_HELP,
	.takes = TAKES_CLIENT | TAKES_JSON,
	.run = status_run,
    },
    {
	.name = "ping",
	.usage = "[-s ENDPOINT]",
	.summary = "ask whether a daemon answers",
	.help = CLIENT_HELP "  -h, --help            this\n"
			    "\nExit status: 0 it does, 1 it does not, 2 usage.\n",
	.takes = TAKES_CLIENT,
	.run = remote_run_ping,
    },
    {
	.name = "reload",
	.usage = "[-s ENDPOINT]",
	.summary = "put a changed configuration in force, without losing a connection",
	.help = CLIENT_HELP
	"  -h, --help            this\n"
	"\nReturns when new workers serve, and those of before take nobody new. If anything is "
	"wrong, the daemon goes on\n"
	"as before, and what is wrong is printed.\n"
	"\nExit status: 0 in force, 2 the configuration is wrong (or usage), 1 it could not be "
	"applied.\n",
	.takes = TAKES_CLIENT,
	.run = remote_run_renewal,
    },
    {
	.name = "upgrade",
	.usage = "[-s ENDPOINT]",
	.summary = "go on in the program on disk, without losing a connection",
	.help = CLIENT_HELP
	"  -h, --help            this\n"
	"\nThe daemon keeps its pid, its ports, its leases and its clients. First a child "
	"rehearses "
	"it; if that shows anything\n"
	"wrong, the daemon goes on as before, and what is wrong is printed. Then it reads its "
	"configuration again, as\n"
	"`reload` does, and new workers of the new program take over.\n"
	"\nExit status: 0 done, 2 the configuration is wrong (or usage), 1 it could not be "
	"done.\n",
	.takes = TAKES_CLIENT,
	.run = remote_run_renewal,
    },
    {
	.name = "reopen",
	.usage = "[-s ENDPOINT]",
	.summary = "have a running daemon open its log files anew, after they were renamed",
	.help = CLIENT_HELP
	"  -h, --help            this\n"
	"\nReturns when nothing is written to the renamed files any more. A file that cannot be "
	"opened is printed; its old one\n"
	"goes on.\n" FAILED_HELP,
	.takes = TAKES_CLIENT,
	.run = remote_run_reopen,
    },
    {
	.name = "workers",
	.usage = "[-s ENDPOINT] N",
	.summary = "have a running daemon use N workers, until it is reloaded",
	.help = CLIENT_HELP "  -h, --help            this\n"
			    "\nReturns at once, before a new one serves or one too many has ended; "
			    "`lastcall status` shows who does.\n" FAILED_HELP,
	.takes = TAKES_CLIENT | TAKES_ADDRESS,
	.run = remote_run_workers,
    },
    {
	.name = "stop",
	.usage = "[-s ENDPOINT | -p FILE | -c FILE] [--now]",
	.summary = "last call: stop a running daemon and wait for it",
	.help = CLIENT_HELP
	"  -p, --pid-file FILE   or the pid file of the one to stop\n"
	"  -c, --config FILE     or the configuration that names its pid-file\n"
	"      --now             do not wait for who is in: cut (QUIT instead of TERM)\n"
	"  -h, --help            this\n"
	"\nPrints the receipt. Exit status: 0 drained, 3 something was cut, 1 failed or "
	"none is running.\n",
	.takes = TAKES_CLIENT | TAKES_CONFIG | TAKES_PID_FILE | TAKES_NOW,
	.run = stop_run,
    },
    {.name = NULL},
};
