/*
 * The configuration: values read, every error with its exact text and place, includes, the command
 * line, and 20,000 mutations of the annotated configuration that must end in errors or none.
 *
 * Works in a folder of its own; `t.conf` there is what a row of a table says.
 */
#include <libgen.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "handover.h"
#include "network.h"
#include "unit.h"

#define HOLDS(condition) CHECK(condition, "it does not hold")

#define MUTATIONS 20000

static void write_file(const char *name, const char *text, size_t length)
{
	unlink(name); /* a new file; truncating the old one makes ext4 write it out (ten times
			 slower) */
	FILE *file = fopen(name, "w");

	CHECK(file != NULL, "%s", name);
	if (file == NULL)
		exit(1);
	fwrite(text, 1, length, file);
	fclose(file);
}

/* Loads a file; *errors is what was reported, to be freed. NULL when there was an error. */
static struct config *load_file(const char *name, char **errors)
{
	size_t size = 0;
	struct diagnostics d = {.out = open_memstream(errors, &size)};
	struct config *config = config_new();
	int result = config_load(config, name, &d);

	CHECK((result == -1) == (diagnostics_end(&d) > 0), "the result agrees with the errors");
	fclose(d.out);
	if (result == 0)
		return config;
	config_free(config);
	return NULL;
}

static struct config *load(const char *text, char **errors)
{
	write_file("t.conf", text, strlen(text));
	return load_file("t.conf", errors);
}

/* The lines of errors that are neither source nor caret. */
static void strip(char *errors)
{
	char *to = errors;

	for (char *line = errors, *end; *line != '\0'; line = end) {
		end = strchr(line, '\n') + 1;
		if (strncmp(line, "t.conf:", 7) != 0)
			continue;
		memmove(to, line + 7, (size_t)(end - line) - 7);
		to += end - line - 7;
	}
	*to = '\0';
}

struct bad {
	const char *text;
	const char *errors; /* without "t.conf:" and the source lines */
};

static const struct bad bads[] = {
    /* Directives and values. */
    {"lissten 80;", "1:1: error: unknown directive \"lissten\"; did you mean \"listen\"?\n"},
    {"xyzzy 80;", "1:1: error: unknown directive \"xyzzy\"\n"},
    {"xyzzy { a { b; } c; }\ngrce 1s;",
	"1:1: error: unknown directive \"xyzzy\"\n"
	"2:1: error: unknown directive \"grce\"; did you mean \"grace\"?\n"},
    {"workers many;", "1:9: error: \"many\" is not a number; workers takes 1 to 256, or auto\n"},
    {"workers 0;", "1:9: error: 0 is out of range; workers takes 1 to 256, or auto\n"},
    {"workers 257;", "1:9: error: 257 is out of range; workers takes 1 to 256, or auto\n"},
    {"workers -1;", "1:9: error: \"-1\" is not a number; workers takes 1 to 256, or auto\n"},
    {"workers 1k;", "1:9: error: \"1k\" is not a number; workers takes 1 to 256, or auto\n"},
    {"workers 99999999999999999999;",
	"1:9: error: 99999999999999999999 is out of range; workers takes 1 to 256, or auto\n"},
    {"grace 30;", "1:7: error: \"30\" needs a unit: ms, s, m, h or d; grace takes 0 to 1d\n"},
    {"grace 1.5s;",
	"1:7: error: \"1.5s\" is not a duration such as 250ms, 30s, 5m, 2h or 1d; "
	"grace takes 0 to 1d\n"},
    {"grace 2d;", "1:7: error: 2d is out of range; grace takes 0 to 1d\n"},
    {"settle 61s;", "1:8: error: 61s is out of range; settle takes 0 to 1m\n"},
    {"watchdog 1999ms;", "1:10: error: 1999ms is out of range; watchdog takes 2s to 1h\n"},
    {"umask 8;", "1:7: error: \"8\" is not an octal mode such as 0640; umask takes 0000 to 0777\n"},
    {"umask 1000;", "1:7: error: 1000 is out of range; umask takes 0000 to 0777\n"},
    {"core-limit 3q;",
	"1:12: error: \"3q\" is not a size such as 512, 16k, 4m or 1g; "
	"core-limit takes 0 or more, or unlimited\n"},
    {"core-limit 99999999999999g;",
	"1:12: error: 99999999999999g is out of range; core-limit takes 0 or more, or unlimited\n"},
    {"log-level loud;",
	"1:11: error: unknown log-level \"loud\"; it is one of error, warn, notice, info or "
	"debug\n"},
    {"log-level wran;", "1:11: error: unknown log-level \"wran\"; did you mean \"warn\"?\n"},
    {"user \"\";", "1:6: error: user cannot be empty\n"},
    {"pid-file \"\";", "1:10: error: pid-file cannot be empty\n"},
    {"grace;", "1:1: error: grace needs a value, such as \"30s\"\n"},
    {"user;", "1:1: error: user needs a value\n"},
    {"grace 1s 2s;",
	"1:10: error: unexpected \"2s\" after the value of grace; is a \";\" missing?\n"},
    {"grace 1s;\nsettle 1s;\ngrace 2s;",
	"3:1: error: duplicate directive \"grace\"; the first is on line 1\n"},
    {"grace 1s { a; }\nxx;",
	"1:10: error: grace takes no block\n2:1: error: unknown directive \"xx\"\n"},
    {"root x;", "1:1: error: \"root\" belongs in a service of kind http\n"},
    {"idle 1s;", "1:1: error: \"idle\" belongs in a service of kind echo\n"},

    /* Where a statement ends. */
    {"grace 1s\nsettle 61s;",
	"1:9: error: expected \";\" after \"1s\"\n"
	"2:8: error: 61s is out of range; settle takes 0 to 1m\n"},
    {"grace 1s\nsetle 1s;",
	"1:9: error: expected \";\" after \"1s\"\n"
	"2:1: error: unknown directive \"setle\"; did you mean \"settle\"?\n"},
    {"grace 1s", "1:9: error: expected \";\" after \"1s\"\n"},
    {"grace 1s # end\n", "1:9: error: expected \";\" after \"1s\"\n"},
    {"service a echo { idle 1s }", "1:25: error: expected \";\" after \"1s\"\n"},
    {"service a echo\nidle 1s;\n}\nxx;",
	"1:15: error: expected \"{\" after \"echo\"\n4:1: error: unknown directive \"xx\"\n"},
    {"service a echo\ngrace 1s;", "1:15: error: expected \";\" after \"echo\"\n"},
    {";", "1:1: error: unexpected \";\"\n"},
    {"{ a; }", "1:1: error: unexpected \"{\"\n"},
    {"}\nxx;",
	"1:1: error: unexpected \"}\"; no block is open here\n"
	"2:1: error: unknown directive \"xx\"\n"},
    {"service a echo {\n\tidle 1s;\n", "1:16: error: this \"{\" is never closed\n"},
    {"xx {", "1:1: error: unknown directive \"xx\"\n1:4: error: this \"{\" is never closed\n"},

    /* Words. */
    {"user \"a;\nxx;",
	"1:6: error: this quote is not closed on its line\n2:1: error: unknown directive \"xx\"\n"},
    {"service \"a echo {\n\tidle 1s;\n}\nxx;",
	"1:9: error: this quote is not closed on its line\n4:1: error: unknown directive \"xx\"\n"},
    {"service a echo { idle \"1s; }\nservice b echo {\n idle \"1s } \n}\nxx;",
	"1:23: error: this quote is not closed on its line\n"
	"3:7: error: this quote is not closed on its line\n"
	"5:1: error: unknown directive \"xx\"\n"},
    {"user \"a\\qb\";",
	"1:8: error: unknown escape; in quotes there are \\\" \\\\ \\n \\t and nothing else\n"},
    {"user \"a\"b;", "1:9: error: text right after a quoted word; a space or a \";\" is missing\n"},
    {"user a\"b\";", "1:7: error: a quote in the middle of a word; quote the word as a whole\n"},
    {"user \"", "1:6: error: this quote is not closed on its line\n"},
    {"user \"\\", "1:6: error: this quote is not closed on its line\n"},

    /* Services. */
    {"service;", "1:1: error: service needs a name and a kind, as in \"service site http {\"\n"},
    {"service echo { idle 1s; }",
	"1:1: error: service needs a name and a kind, as in \"service site http {\"\n"},
    {"service a htp { root x; }",
	"1:11: error: unknown kind of service \"htp\"; did you mean \"http\"?\n"},
    {"service a echo b { idle 1s; }",
	"1:16: error: unexpected \"b\"; the options of a service stand in its block\n"},
    {"service a/b echo { }",
	"1:9: error: \"a/b\" is no name for a service; letters, digits, \"_\", \".\" and \"-\" are "
	"allowed\n"},
    {"service http echo;",
	"1:9: error: \"http\" is the name of a kind; give the service another name\n"},
    {"service a echo;\nservice a echo { idle 5; }",
	"2:9: error: service \"a\" is already defined on line 1\n"
	"2:23: error: \"5\" needs a unit: ms, s, m, h or d; idle takes 10ms to 1d\n"},
    {"service a234567890123456789012345678901234567890123456789012345678901234 echo;",
	"1:9: error: the name of a service has at most 63 characters\n"},
    {"service a echo { grace 1s; }",
	"1:18: error: \"grace\" belongs at the top level, outside of any service\n"},
    {"service a echo { listen 80; }",
	"1:18: error: \"listen\" belongs at the top level, outside of any service\n"},
    {"service a echo { root x; }", "1:18: error: \"root\" belongs in a service of kind http\n"},
    {"service a echo { idel 1s; }",
	"1:18: error: unknown directive \"idel\"; did you mean \"idle\"?\n"},
    {"service a echo { idle 1s; idle 1s; }",
	"1:27: error: duplicate directive \"idle\"; the first is on line 1\n"},
    {"service a exec { timeout 1s; }",
	"1:9: error: service \"a\": a command is required, as in \"command git daemon "
	"--inetd;\"\n"},
    {"service a exec { command \"\" x; }", "1:26: error: the program of command cannot be empty\n"},
    {"service a exec { command a; environment A=1; environment =2; }",
	"1:58: error: service \"a\": \"=2\" is not NAME=VALUE\n"},
    {"service a exec { command a; limit cpu 1s cpu 2s; }",
	"1:35: error: service \"a\": limit cpu is given twice\n"},
    {"service a exec { command a; limit cpu 1ms; }",
	"1:35: error: service \"a\": 1ms is out of range; cpu takes 1s to 365d\n"},
    {"service a exec { command a; user; }", "1:29: error: user needs a value\n"},
    {"listen 80 -> exec;",
	"1:14: error: service in place \"exec\": a command is required, as in "
	"\"command git daemon --inetd;\"\n"},

    /* Listeners. */
    {"listen;",
	"1:1: error: listen needs an address and a service, as in \"listen 8080 -> site;\"\n"},
    {"listen 80;",
	"1:8: error: listen needs \"-> SERVICE\" after its addresses, as in "
	"\"listen 80 -> site;\"\n"},
    {"listen -> echo;", "1:8: error: an address is missing before \"->\"\n"},
    {"listen 80 ->;", "1:11: error: a service is missing after \"->\"\n"},
    {"listen 80->echo;", "1:8: error: put spaces around \"->\"\n"},
    {"listen 80 => echo;", "1:11: error: unexpected \"=>\"; did you mean \"->\"?\n"},
    {"listen 80 -> ecoh;", "1:14: error: unknown service \"ecoh\"; did you mean \"echo\"?\n"},
    {"listen 80 -> sit;\nservice site echo;",
	"1:14: error: unknown service \"sit\"; did you mean \"site\"?\n"},
    {"listen 80 -> nothing;", "1:14: error: unknown service \"nothing\"\n"},
    {"listen 80 -> echo x;", "1:19: error: echo takes no argument\n"},
    {"listen 80 -> http a b;", "1:21: error: http takes one argument, root\n"},
    {"service s echo;\nlisten 80 -> s x;",
	"2:16: error: service \"s\" takes no arguments here; its options stand in its block\n"},
    {"listen 80 -> echo { idle 1s; }", "1:21: error: \"idle\" belongs in a service of kind echo\n"},
    {"listen 80 -> echo { proxy-protocol on; }",
	"1:1: error: proxy-protocol needs \"from\" with the addresses of the proxies, as in \"from "
	"10.0.0.0/8 ::1;\": whoever may send a header says where it comes from\n"},
    {"listen 80 -> echo { from ::1; }",
	"1:26: error: from says who may send a PROXY header; \"proxy-protocol on;\" is missing\n"},
    {"listen 80 -> echo { proxy-protocol on; from 10.0.0.0/8 10.0.0.1/8 x; }",
	"1:56: error: from \"10.0.0.1/8\": it has bits set that its prefix leaves out; write the "
	"network's own address\n"
	"1:67: error: from \"x\": it is no address; write one as in 127.0.0.1, 10.0.0.0/8, ::1, "
	"unix or *\n"},
    {"listen 80 unix:/a -> echo { proxy-protocol on; from ::1; }",
	"1:53: error: from lets nobody in at \"unix:/a\": the clients of a Unix socket are "
	"\"unix\"\n"},
    {"listen 80 unix:a -> echo { proxy-protocol on; from unix; }",
	"1:52: error: from lets nobody in at \"80\": \"unix\" is for Unix sockets\n"},
    {"listen 80 -> echo { proxy-protocol on; from *; proxy-timeout 2s; }",
	"1:62: error: 2s is out of range; proxy-timeout takes 3s to 1m\n"},
    {"listen 80 -> echo { proxy-protocol yes; from *; }",
	"1:36: error: \"yes\" is neither on nor off; proxy-protocol is a switch\n"},
    {"listen 80 -> echo { proxy-protocl on; from *; }",
	"1:21: error: unknown directive \"proxy-protocl\"; did you mean \"proxy-protocol\"?\n"},
    {"listen 80 -> echo { grace 1s; }",
	"1:21: error: \"grace\" belongs at the top level, outside of any listen\n"},
    {"listen 80 -> echo\nproxy-protocol on; from *;\n}\nxx;",
	"1:18: error: expected \"{\" after \"echo\"\n4:1: error: unknown directive \"xx\"\n"},
    {"listen 80 -> echo {", "1:19: error: this \"{\" is never closed\n"},
    {"listen 80 -> ecoh { proxy-protocol on; from *; }",
	"1:14: error: unknown service \"ecoh\"; did you mean \"echo\"?\n"},
    {"proxy-protocol on;", "1:1: error: \"proxy-protocol\" belongs in the block of a listen\n"},
    {"drain-delay 2h;", "1:13: error: 2h is out of range; drain-delay takes 0 to 1h\n"},
    {"listen 80 99999 x -> echo;",
	"1:11: error: address \"99999\": the port is above 65535\n"
	"1:17: error: address \"x\": a port is missing, as in localhost:8080\n"},
    {"listen 80 -> echo;\nlisten *:80 -> echo;",
	"2:8: error: address \"*:80\" is already listened on, at t.conf:1:8\n"},
    {"listen 80 127.0.0.1:80 -> echo;",
	"1:11: error: address \"127.0.0.1:80\" overlaps with \"80\", which is already listened on, "
	"at t.conf:1:8\n"},
    {"listen 127.0.0.1:80 -> echo;\nlisten *:80 -> echo;",
	"2:8: error: address \"*:80\" overlaps with \"127.0.0.1:80\", which is already listened "
	"on, "
	"at t.conf:1:8\n"},
    {"listen [::]:80 0.0.0.0:80 *:80 [::1]:80 127.0.0.1:80 127.0.0.1:81 -> echo;",
	"1:27: error: address \"*:80\" overlaps with \"[::]:80\", which is already listened on, at "
	"t.conf:1:8\n"
	"1:32: error: address \"[::1]:80\" overlaps with \"[::]:80\", which is already "
	"listened on, at t.conf:1:8\n"
	"1:41: error: address \"127.0.0.1:80\" overlaps with \"0.0.0.0:80\", which is already "
	"listened on, at t.conf:1:16\n"},
    {"listen unix:a unix:./a -> echo;",
	"1:15: error: address \"unix:./a\" is already listened on, at t.conf:1:8\n"},

    /* Control. */
    {"control;",
	"1:1: error: control needs an address, as in \"control /run/lastcall/control.sock;\", or "
	"off\n"},
    {"control a/b c;",
	"1:13: error: unexpected \"c\"; control takes one address, and the rest stands in its "
	"block\n"},
    {"control localhost:70 { token-file t; }",
	"1:9: error: control \"localhost:70\": write a path or a literal address, as in "
	"127.0.0.1:7070; names are not looked up here\n"},
    {"control a/;", "1:9: error: control \"a/\": the path of a Unix socket cannot end in \"/\"\n"},
    {"control fd:x;",
	"1:9: error: control \"fd:x\": write a path or a literal address, as in 127.0.0.1:7070; "
	"names are not looked up here\n"},
    {"control 127.0.0.1:70000;",
	"1:9: error: control \"127.0.0.1:70000\": the port is above 65535\n"},
    {"control 127.0.0.1:7070;",
	"1:9: error: a control endpoint over TCP needs a token-file: whoever reaches the port "
	"could else open others\n"},
    {"control [::1]:7070 { token-file t; mode 0660; }",
	"1:41: error: mode is for a Unix socket; who may use a TCP endpoint is said by token-file "
	"and allow-address\n"},
    {"control c.sock { token-file t; }",
	"1:29: error: token-file is for a TCP endpoint; who may use a Unix socket is said by mode "
	"and group\n"},
    {"control c.sock;\ncontrol unix:./c.sock;",
	"2:9: error: control \"unix:./c.sock\" is there already, at t.conf:1:9\n"},
    {"control c.sock;\ncontrol off;", "2:9: error: control is on already, at t.conf:1:9\n"},
    {"control off;\ncontrol c.sock;", "2:9: error: control was turned off before\n"},
    {"control off { mode 0600; }", "1:13: error: control off takes no block\n"},
    {"control c.sock {\n allow-ports 80 90-70 0 x 1-2-3 70000;\n}",
	"2:17: error: allow-ports \"90-70\": the range ends before it begins\n"
	"2:23: error: allow-ports \"0\": a port is a number from 1 to 65535\n"
	"2:25: error: allow-ports \"x\": it is no port and no range; write 8080 or 20000-20999\n"
	"2:27: error: allow-ports \"1-2-3\": it is no port and no range; write 8080 or "
	"20000-20999\n"
	"2:33: error: allow-ports \"70000\": it is no port and no range; write 8080 or "
	"20000-20999\n"},
    {"control c.sock {\n allow-address unix 10.0.0.1/8\n ::1/129 host;\n}",
	"2:21: error: allow-address \"10.0.0.1/8\": it has bits set that its prefix leaves out; "
	"write the network's own address\n"
	"3:2: error: allow-address \"::1/129\": after \"/\" comes a number from 0 to 128\n"
	"3:10: error: allow-address \"host\": it is no address; write one as in 127.0.0.1, "
	"10.0.0.0/8, ::1, unix or *\n"},
    {"control c.sock { allow-address 127.0.0.1; }",
	"1:32: error: allow-address lets nobody in: the clients of a Unix socket are \"unix\"\n"},
    {"control c.sock { allow-services site ecoh http; }\nservice site echo;",
	"1:38: error: unknown service \"ecoh\"; did you mean \"echo\"?\n"},
    {"control c.sock { max-leases 0; }",
	"1:29: error: 0 is out of range; max-leases takes 1 to 16384, or unlimited\n"},
    {"control c.sock { mode 1000; }",
	"1:23: error: 1000 is out of range; mode takes 0000 to 0777\n"},
    {"control c.sock { mod 0600; }",
	"1:18: error: unknown directive \"mod\"; did you mean \"mode\"?\n"},
    {"control c.sock { workers 2; }",
	"1:18: error: \"workers\" belongs at the top level, outside of any control\n"},
    {"control c.sock { root x; }", "1:18: error: \"root\" belongs in a service of kind http\n"},
    {"allow-ports 80;", "1:1: error: \"allow-ports\" belongs in the block of a control\n"},
    {"control c.sock\nmode 0600;\n}\nxx;",
	"1:15: error: expected \"{\" after \"c.sock\"\n4:1: error: unknown directive \"xx\"\n"},
    {"control c.sock\ngroup wheel;", "1:15: error: expected \";\" after \"c.sock\"\n"},
    {"control c.sock {\n mode 0600;", "1:16: error: this \"{\" is never closed\n"},
    {"max-listeners 16385;",
	"1:15: error: 16385 is out of range; max-listeners takes 1 to 16384, or auto\n"},

    /* Includes. */
    {"include;", "1:1: error: include takes one path, as in \"include sites/*.conf;\"\n"},
    {"include a b;", "1:11: error: include takes one path, as in \"include sites/*.conf;\"\n"},
    {"include nope;", "1:9: error: include \"nope\": No such file or directory\n"},
    {"include folder;", "1:9: error: include \"folder\": is a directory\n"},
    {"include t.conf;",
	"1:9: error: include \"t.conf\": it is being read already; this would never end\n"},
    {"include ./t.con?;",
	"1:9: error: include \"./t.conf\": it is being read already; this would never end\n"},
    {"service a echo { include x; }",
	"1:18: error: \"include\" belongs at the top level, outside of any service\n"},
};

static void test_bad(void)
{
	for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++) {
		char *errors = NULL;
		struct config *config = load(bads[i].text, &errors);

		CHECK(config == NULL, "was read: %s", bads[i].text);
		strip(errors);
		CHECK(
		    strcmp(errors, bads[i].errors) == 0, "%s\n--- says\n%s", bads[i].text, errors);
		config_free(config);
		free(errors);
	}
}

static struct config *load_good(const char *text)
{
	char *errors = NULL;
	struct config *config = load(text, &errors);

	CHECK(config != NULL, "%s\n--- says\n%s", text, errors);
	free(errors);
	return config;
}

static void test_defaults(void)
{
	struct config *config = config_new();

	HOLDS(config->workers == DIRECTIVE_AUTO);
	HOLDS(config->umask == 0022);
	HOLDS(config->core_limit == 0);
	HOLDS(config->grace == 30000 && config->settle == 5000 && config->watchdog == 10000);
	HOLDS(config->max_connections == DIRECTIVE_AUTO && config->max_requests == 0);
	HOLDS(config->backlog == 4096 && config->max_listeners == DIRECTIVE_AUTO);
	HOLDS(config->max_memory == DIRECTIVE_AUTO);
	HOLDS(config->controls == NULL && !config->control_off);
	HOLDS(config->log_level == 2);
	HOLDS(config->user == NULL && config->pid_file == NULL && config->error_log == NULL);
	config_free(config);
	config_free(NULL);
}

static void test_values(const char *folder)
{
	char path[512];
	struct config *config =
	    load_good("\xef\xbb\xbfworkers 3; # a comment\r\n"
		      "user \"a b\\\"\\\\\\n\\t\";\r\ngroup\r\n  wheel;\r\n"
		      "umask 0077;core-limit unlimited;grace 0;settle 250ms;watchdog 1h;\n"
		      "max-connections 64;max-requests 1000000000000;backlog 1;max-memory 1m;\n"
		      "pid-file ./run/../a.pid;error-log /var//log/./x/;log-level debug;");

	if (config == NULL)
		return;
	HOLDS(config->workers == 3);
	CHECK(strcmp(config->user, "a b\"\\\n\t") == 0, "%s", config->user);
	CHECK(strcmp(config->group, "wheel") == 0, "%s", config->group);
	HOLDS(config->umask == 0077);
	HOLDS(config->core_limit == DIRECTIVE_AUTO);
	HOLDS(config->grace == 0 && config->settle == 250 && config->watchdog == 3600000);
	HOLDS(config->max_connections == 64 && config->max_requests == INT64_C(1000000000000));
	HOLDS(config->backlog == 1 && config->max_memory == 1 << 20);
	snprintf(path, sizeof(path), "%s/run/../a.pid", folder);
	CHECK(strcmp(config->pid_file, path) == 0, "%s", config->pid_file);
	CHECK(strcmp(config->error_log, "/var/log/x") == 0, "%s", config->error_log);
	HOLDS(config->log_level == 4);
	config_free(config);

	config = load_good("core-limit 3K;");
	HOLDS(config != NULL && config->core_limit == 3072);
	config_free(config);
	config = load_good("");
	CHECK(config != NULL && config->listeners == NULL, "no listener is no error here");
	config_free(config);
}

static void test_listen_blocks(void)
{
	struct config *config =
	    load_good("listen 80 81 -> echo {\n  proxy-protocol on; from 10.0.0.0/8 ::1;\n"
		      "  proxy-timeout 3s; }\n"
		      "listen 82 -> echo { }\nlisten 83 -> echo;\n"
		      "listen 84 -> echo { proxy-protocol off; from *; }");
	const struct listen_config *l;

	if (config == NULL)
		return;
	l = config->listeners;
	HOLDS(l->block != NULL && l->block == l->next->block && l->block == config->blocks);
	HOLDS(l->block->proxy_protocol && l->block->proxy_timeout == 3000);
	HOLDS(l->block->networks_count == 2 && l->block->networks[1].bits == 128);
	l = l->next->next;
	HOLDS(l->block != NULL && !l->block->proxy_protocol && l->block->proxy_timeout == 5000);
	l = l->next;
	HOLDS(l->block == NULL);
	HOLDS(l->next->block != NULL && !l->next->block->proxy_protocol);
	config_free(config);
}

static void test_services(const char *folder)
{
	char path[512];
	struct config *config = load_good("listen 80 unix:a.sock\n  -> site; # defined below\n"
					  "listen 81 -> echo; listen 82 83 -> echo;\n"
					  "listen 127.0.0.1:84 :0 :0 -> http ./public;\n"
					  "service site http { root sub; }\nservice all echo;");
	const struct service_config *s;
	const struct listen_config *l;
	int listeners = 0;

	if (config == NULL)
		return;
	s = config->services;
	HOLDS(strcmp(s->name, "site") == 0 && strcmp(s->kind->name, "http") == 0);
	HOLDS(s->at.line == 5 && s->at.column == 9 && s->at.width == 4);
	HOLDS(strcmp(s->next->name, "all") == 0);
	const struct service_config *echo = s->next->next;

	HOLDS(strcmp(echo->name, "echo") == 0 && strcmp(echo->kind->name, "echo") == 0);
	CHECK(strcmp(echo->next->name, "http") == 0 && echo->next->next == NULL,
	    "a service in place without arguments is shared");
	l = config->listeners;
	HOLDS(l->service == s && l->next->service == s);
	snprintf(path, sizeof(path), "unix:%s/a.sock", folder);
	CHECK(strcmp(l->next->address.text, path) == 0, "%s", l->next->address.text);
	HOLDS(l->next->next->service == echo && l->next->next->next->service == echo);
	for (; l != NULL; l = l->next, listeners++)
		HOLDS(l->service != NULL);
	CHECK(listeners == 8, "%d", listeners);

	const struct directive *root = directive_find(s->kind->directives, "root");
	const char *value;

	memcpy(&value, (const char *)s->options + root->offset, sizeof(value));
	snprintf(path, sizeof(path), "%s/sub", folder);
	CHECK(strcmp(value, path) == 0, "%s", value);
	HOLDS(config_setting_find(config, root, s->options)->at.column == 26);
	config_free(config);
}

static void test_control(const char *folder)
{
	char path[512], text[256];
	const char *why;
	struct address address;
	const struct control_config *c;
	struct config *config = load_good("control run/c.sock;\n"
					  "control *:7070 { token-file ./t; max-leases 16;\n"
					  " allow-services site echo; allow-ports 80 20000-20999;\n"
					  " allow-address 127.0.0.1 10.0.0.0/8; }\n"
					  "control \"unix:a b\" { mode 0660; group wheel;\n"
					  " allow-address * ; }\n"
					  "service site echo; max-listeners 7;");

	if (config == NULL)
		return;
	HOLDS(config->max_listeners == 7 && !config->control_off);
	c = config->controls;
	snprintf(path, sizeof(path), "unix:%s/run/c.sock", folder);
	CHECK(strcmp(c->address.text, path) == 0, "%s", c->address.text);
	HOLDS(c->mode == 0600 && c->max_leases == DIRECTIVE_AUTO && !c->soft);
	HOLDS(c->allow_ports == NULL && c->allow_services == NULL && c->allow_address == NULL);
	HOLDS(c->at.line == 1 && c->at.column == 9);
	c = c->next;
	HOLDS(c->address.form == ADDRESS_ANY && c->address.port == 7070 && c->max_leases == 16);
	snprintf(path, sizeof(path), "%s/t", folder);
	HOLDS(strcmp(c->token_file, path) == 0);
	HOLDS(strcmp(c->allow_services[1], "echo") == 0 && c->allow_services[2] == NULL);
	HOLDS(strcmp(c->allow_ports[1], "20000-20999") == 0);
	HOLDS(strcmp(c->allow_address[1], "10.0.0.0/8") == 0);
	c = c->next;
	snprintf(path, sizeof(path), "unix:%s/a b", folder);
	CHECK(strcmp(c->address.text, path) == 0, "%s", c->address.text);
	HOLDS(c->mode == 0660 && strcmp(c->group, "wheel") == 0 && c->next == NULL);
	config_free(config);

	config = load_good("control off;");
	HOLDS(config != NULL && config->control_off && config->controls == NULL);
	config_free(config);

	snprintf(text, sizeof(text), "%0200d/x", 0);
	HOLDS(config_control_address(&address, text, NULL, &why) == -1);
	HOLDS(config_control_address(&address, "8080", NULL, &why) == 0 &&
	    address.form == ADDRESS_ANY);
	HOLDS(config_control_address(&address, "name", "/run", &why) == 0 &&
	    strcmp(address.text, "unix:/run/name") == 0);
	HOLDS(config_control_address(&address, "http://x/", NULL, &why) == -1);
}

/* A service that is made while the server runs. */
static void test_made(void)
{
	const struct service_kind *http = service_kind_find("http"),
				  *echo = service_kind_find("echo");
	const char *relative = "site", *absolute = "/srv/a", *two[] = {"/a", "/b"};
	struct service_config *service;
	char why[256] = "";

	service = config_make_service(http, &relative, 1, "/srv", why, sizeof(why));
	CHECK(service != NULL && strcmp(service->name, "http") == 0, "%s", why);
	config_free_service(service);
	service = config_make_service(http, &absolute, 1, NULL, why, sizeof(why));
	CHECK(service != NULL, "%s", why);
	config_free_service(service);
	service = config_make_service(echo, NULL, 0, NULL, why, sizeof(why));
	CHECK(service != NULL && service->next == NULL, "%s", why);
	config_free_service(service);
	HOLDS(config_make_service(http, &relative, 1, NULL, why, sizeof(why)) == NULL);
	CHECK(strcmp(why, "root \"site\" is relative, and there is no folder to start from") == 0,
	    "%s", why);
	HOLDS(config_make_service(http, two, 2, NULL, why, sizeof(why)) == NULL);
	CHECK(strcmp(why, "http takes one argument, root") == 0, "%s", why);
	HOLDS(config_make_service(http, NULL, 0, NULL, why, sizeof(why)) == NULL);
	CHECK(strncmp(why, "http: ", 6) == 0 && strstr(why, "root") != NULL, "%s", why);
	HOLDS(config_make_service(echo, two, 1, NULL, why, sizeof(why)) == NULL);
	CHECK(strcmp(why, "echo takes no argument") == 0, "%s", why);

	/* A program with a slash is a path, one without is a name. */
	const struct service_kind *exec = service_kind_find("exec");
	const char *path[] = {"./bin/a", "./b"}, *name[] = {"a", "./b"};
	const struct directive *command = directive_find(exec->directives, "command");
	char words[64];
	size_t used;

	HOLDS(config_make_service(exec, path, 2, NULL, why, sizeof(why)) == NULL);
	CHECK(strstr(why, "is relative") != NULL, "%s", why);
	service = config_make_service(exec, path, 2, "/srv", why, sizeof(why));
	HOLDS(directive_words(command, service->options, words, sizeof(words), &used) == 0);
	HOLDS(used == 15 && memcmp(words, "/srv/bin/a\0./b", 15) == 0);
	config_free_service(service);
	service = config_make_service(exec, name, 2, NULL, why, sizeof(why));
	HOLDS(directive_words(command, service->options, words, sizeof(words), &used) == 0);
	HOLDS(used == 6 && memcmp(words, "a\0./b", 6) == 0);
	config_free_service(service);

	struct config *config = load_good("service site echo; listen 80 -> echo;");

	HOLDS(config != NULL && config_find_service(config, "site") == config->services);
	HOLDS(config_find_service(config, "echo") == NULL);
	config_free(config);
}

static void test_default_control(void)
{
	char path[64];

	setenv("LASTCALL_CONTROL", "/tmp/x", 1);
	CHECK(strcmp(config_default_control(path, sizeof(path)), "/tmp/x") == 0, "%s", path);
	unsetenv("LASTCALL_CONTROL");
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	config_default_control(path, sizeof(path));
	CHECK(strcmp(path,
		  geteuid() == 0 ? "/run/lastcall/control.sock"
				 : "/run/user/7/lastcall/control.sock") == 0,
	    "%s", path);
	unsetenv("XDG_RUNTIME_DIR");
	HOLDS(geteuid() == 0 || config_default_control(path, sizeof(path)) == NULL);
}

static void test_required(void)
{
	static const char *const texts[] = {
	    "service site http { }", "service site http;", "listen 80 -> http;"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		char *errors = NULL;
		struct config *config = load(texts[i], &errors);

		CHECK(config == NULL, "%s", texts[i]);
		CHECK(strstr(errors, "root") != NULL, "%s", errors);
		config_free(config);
		free(errors);
	}
}

static void test_include(void)
{
	static const char inner[] = "service b http { root ./here; }\ninclude deeper/c;\n";
	char *errors = NULL;
	char name[16], text[64];

	write_file("folder/b.conf", inner, strlen(inner));
	mkdir("folder/deeper", 0700);
	write_file("folder/deeper/c", "listen 81 -> b;", 15);
	struct config *config = load_good("include folder/[b].conf;\ninclude folder/none*;\n");

	if (config != NULL) {
		const struct directive *root =
		    directive_find(config->services->kind->directives, "root");
		const char *value;

		memcpy(
		    &value, (const char *)config->services->options + root->offset, sizeof(value));
		CHECK(strstr(value, "/folder/here") != NULL, "%s", value);
		HOLDS(strcmp(config->services->at.file, "folder/b.conf") == 0);
		HOLDS(strcmp(config->listeners->at.file, "folder/deeper/c") == 0);
	}
	config_free(config);

	config = load("include folder/b.conf;\nservice b echo;\ngrace 1s;\ninclude d0;", &errors);
	CHECK(config == NULL && strstr(errors, "already defined at folder/b.conf:1"), "%s", errors);
	free(errors);

	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		snprintf(text, sizeof(text), i == 11 ? "grace 1s;" : "include d%d;", i + 1);
		write_file(name, text, strlen(text));
	}
	config = load_file("d2", &errors);
	CHECK(config != NULL && config->grace == 1000, "ten deep: %s", errors);
	config_free(config);
	free(errors);
	config = load_file("d1", &errors);
	CHECK(config == NULL &&
		strncmp(errors, "d10:1:9: error: include \"d11\": too many files", 45) == 0,
	    "eleven deep: %s", errors);
	free(errors);
}

static void check_file_error(const char *name, const char *expected)
{
	char *errors = NULL;
	struct config *config = load_file(name, &errors);

	CHECK(config == NULL && strcmp(errors, expected) == 0, "%s", errors);
	config_free(config);
	free(errors);
}

static void test_files(void)
{
	static char big[1024 * 1024 + 1];

	memset(big, '\n', sizeof(big));
	write_file("big", big, sizeof(big));
	write_file("nul", "grace 1s;\0", 10);
	mkfifo("fifo", 0600);
	check_file_error("missing", "missing: error: No such file or directory\n");
	check_file_error("folder", "folder: error: is a directory\n");
	check_file_error("fifo", "fifo: error: is not a regular file\n");
	check_file_error("/dev/zero", "/dev/zero: error: is not a regular file\n");
	check_file_error("nul", "nul: error: contains a NUL byte; this is no configuration\n");
	check_file_error("big", "big: error: is larger than 1 MiB; this is no configuration\n");
	write_file("big", big, sizeof(big) - 1);
	char *errors = NULL;
	struct config *config = load_file("big", &errors);

	CHECK(config != NULL, "exactly 1 MiB: %s", errors);
	config_free(config);
	free(errors);
}

struct option {
	const char *address;
	const char *words[4];
	const char *errors; /* NULL: it is added */
};

static void test_command_line(void)
{
	static const struct option options[] = {
	    {"x", {"echo"},
		"lastcall: error: -l: address \"x\": a port is missing, as in "
		"localhost:8080\n"},
	    {"81", {NULL}, "lastcall: error: -l: address \"81\": a service is missing\n"},
	    {"80", {"echo"},
		"lastcall: error: -l: address \"80\" is already listened on, at t.conf:1:8\n"},
	    {"[::1]:80", {"echo"},
		"lastcall: error: -l: address \"[::1]:80\" overlaps with \"80\", which is "
		"already listened on, at t.conf:1:8\n"},
	    {"81", {"sit"},
		"lastcall: error: -l: unknown service \"sit\"; did you mean \"site\"?\n"},
	    {"81", {"site", "x"},
		"lastcall: error: -l: service \"site\" takes no arguments here; its "
		"options stand in its block\n"},
	    {"81", {"echo", "x"}, "lastcall: error: -l: echo takes no argument\n"},
	    {"81", {"http", "a", "b"}, "lastcall: error: -l: http takes one argument, root\n"},
	    {"81", {"http", ""}, "lastcall: error: -l: root cannot be empty\n"},
	    {"82", {"site"}, NULL},
	    {"83", {"http", "."}, NULL},
	    {"84", {"echo"}, NULL},
	    {"84", {"echo"},
		"lastcall: error: -l: address \"84\" is already listened on, on the "
		"command line\n"},
	};
	struct config *config = load_good("listen 80 -> site; service site echo;");
	int listeners = 0, services = 0;

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		const struct option *o = &options[i];
		char *errors = NULL, *words[4];
		size_t size = 0;
		int count = 0;
		struct diagnostics d = {.out = open_memstream(&errors, &size)};

		for (; o->words[count] != NULL; count++)
			words[count] = strdup(o->words[count]);
		int result = config_add_listener(config, o->address, count, words, &d);

		fclose(d.out);
		CHECK(result == (o->errors == NULL ? 0 : -1), "row %zu", i);
		CHECK(strcmp(errors, o->errors != NULL ? o->errors : "") == 0, "%s", errors);
		free(errors);
		while (count > 0)
			free(words[--count]);
	}
	for (const struct listen_config *l = config->listeners; l != NULL; l = l->next)
		listeners++;
	for (const struct service_config *s = config->services; s != NULL; s = s->next)
		services++;
	CHECK(listeners == 4 && services == 3, "%d listeners, %d services", listeners, services);
	config_free(config);
}

static void check_system(const char *text, const char *expected)
{
	char *errors = NULL;
	size_t size = 0;
	struct diagnostics d = {.out = open_memstream(&errors, &size)};
	struct config *config = load_good(text);

	HOLDS(config_check_system(config, &d) == (*expected == '\0' ? 0 : -1));
	fclose(d.out);
	strip(errors);
	CHECK(strcmp(errors, expected) == 0, "%s", errors);
	free(errors);
	config_free(config);
}

static void test_system(const char *folder)
{
	char expected[2048];

	check_system("user root; pid-file a.pid; error-log ./e;\n"
		     "service s http { root .; access-log folder/a; } listen unix:s -> s;",
	    "");
	check_system("user no-such-user; group no-such-group;",
	    "1:6: error: user \"no-such-user\": there is none of that name\n"
	    "1:26: error: group \"no-such-group\": there is none of that name\n");
	snprintf(expected, sizeof(expected),
	    "1:10: error: folder of pid-file \"%s/no\": there is no such folder\n"
	    "1:26: error: error-log \"%s/folder\": it is a folder\n"
	    "2:23: error: root \"%s/t.conf\": it is not a folder\n"
	    "2:42: error: folder of access-log \"%s/no\": there is no such folder\n"
	    "3:19: error: root \"%s/no\": there is no such folder\n"
	    "3:30: error: folder of socket \"%s/no\": there is no such folder\n",
	    folder, folder, folder, folder, folder, folder);
	check_system("pid-file no/a; error-log folder;\n"
		     "service s http { root t.conf; access-log no/a; }\n"
		     "listen 80 -> http no; listen unix:no/s -> s;",
	    expected);

	write_file("token", "secret\n", 7);
	write_file("open-token", "secret\n", 7);
	write_file("empty-token", "", 0);
	chmod("token", 0640);
	chmod("open-token", 0644);
	chmod("empty-token", 0600);
	snprintf(expected, sizeof(expected),
	    "1:9: error: folder of control \"%s/no\": there is no such folder\n"
	    "2:21: error: group \"no-such-group\": there is none of that name\n"
	    "3:34: error: token-file \"%s/no\": there is no such file\n"
	    "4:34: error: token-file \"%s/folder\": it is not a regular file\n"
	    "5:34: error: token-file \"%s/open-token\": everybody may read it; take that away, as "
	    "with chmod o-r\n"
	    "6:34: error: token-file \"%s/empty-token\": it is empty\n",
	    folder, folder, folder, folder, folder);
	check_system("control no/c.sock;\n"
		     "control c.s { group no-such-group; }\n"
		     "control 127.0.0.1:1 { token-file no; }\n"
		     "control 127.0.0.1:2 { token-file folder; }\n"
		     "control 127.0.0.1:3 { token-file open-token; }\n"
		     "control 127.0.0.1:4 { token-file empty-token; }\n"
		     "control 127.0.0.1:5 { token-file token; }",
	    expected);
}

/* A small generator of our own, so that a failure can be repeated anywhere. */
static unsigned random_below(unsigned limit)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)((state >> 33) % limit);
}

/* Changes a few places of text: a byte, a piece left out, a piece twice. Returns the new length. */
static size_t mutate(char *text, size_t length, size_t room)
{
	static const char bytes[] = ";{}\"\\# \n\r\t->:/*[]0a\xff\x01";

	for (unsigned i = 1 + random_below(6); i > 0 && length > 64; i--) {
		size_t at = random_below((unsigned)length - 32), piece = random_below(32);

		switch (random_below(4)) {
		case 0:
			text[at] = bytes[random_below(sizeof(bytes))]; /* NUL among them */
			break;
		case 1:
			text[at] = (char)random_below(256);
			break;
		case 2:
			memmove(text + at, text + at + piece, length - at - piece);
			length -= piece;
			break;
		default:
			if (length + piece > room)
				break;
			memmove(text + at + piece, text + at, length - at);
			length += piece;
		}
	}
	return length;
}

/* Takes comments and their newlines out, for they would swallow most mutations. */
static size_t without_comments(char *text, size_t length)
{
	size_t to = 0;
	bool comment = false;

	for (size_t i = 0; i < length; i++) {
		/* Commented statements are kept. */
		comment = comment ? text[i] != '\n'
				  : text[i] == '#' && i + 1 < length && text[i + 1] == ' ';
		if (!comment && text[i] != '#')
			text[to++] = text[i];
	}
	return to;
}

static void test_mutations(const char *annotated)
{
	static char original[32768], mutated[65536];
	FILE *file = fopen(annotated, "r"), *null = fopen("/dev/null", "w");
	int good = 0;

	CHECK(file != NULL, "%s", annotated);
	if (file == NULL || null == NULL)
		return;
	size_t length = fread(original, 1, sizeof(original), file);

	fclose(file);
	length = without_comments(original, length);
	/* What it includes: without mutations it is good. */
	mkdir("sites", 0755);
	write_file("sites/empty.conf", "\n", 1);
	for (int i = 0; i < MUTATIONS; i++) {
		struct diagnostics d = {.out = null};
		struct config *config = config_new();

		memcpy(mutated, original, length);
		write_file("m.conf", mutated, mutate(mutated, length, sizeof(mutated)));
		if (config_load(config, "m.conf", &d) == 0) {
			good++;
			config_check_system(config, &d);
		}
		diagnostics_end(&d);
		config_free(config);
	}
	fclose(null);
	CHECK(good > 0 && good < MUTATIONS, "%d of %d were good", good, MUTATIONS);
}

/* Every row of a table stands in the annotated configuration, with its default if it has one. */
static void check_rows(const struct directive *row, const char *text)
{
	for (; row->name != NULL; row++) {
		const char *at = text;
		char wanted[128];

		snprintf(wanted, sizeof(wanted), "%s %s%s", row->name,
		    row->initial != NULL ? row->initial : "", row->initial != NULL ? ";" : "");
		/* As a statement, if only in a comment, and not within a sentence. */
		while ((at = strstr(at + 1, wanted)) != NULL)
			if (strchr("\n\t#", at[-1]) != NULL)
				break;
		CHECK(at != NULL, "there is no \"%s\"", wanted);
	}
}

static void test_complete(const char *annotated)
{
	static char text[32768];
	FILE *file = fopen(annotated, "r");

	CHECK(file != NULL, "%s", annotated);
	if (file == NULL)
		return;
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	check_rows(config_directives, text);
	check_rows(control_directives, text);
	check_rows(listen_directives, text);
	for (size_t i = 0; service_kinds[i] != NULL; i++)
		check_rows(service_kinds[i]->directives, text);
}

/* The configurations that are delivered: beside the sources, three folders above the test. */
static void find_delivered(const char *self, const char *name, char *path, size_t size)
{
	char folder[512];

	snprintf(folder, sizeof(folder), "%s", self);
	char *resolved = realpath(dirname(folder), NULL);

	snprintf(path, size, "%s/../../../conf/%s", resolved != NULL ? resolved : ".", name);
	free(resolved);
	if (access(path, R_OK) == -1) {
		resolved = realpath("conf", NULL);
		snprintf(path, size, "%s/%s", resolved != NULL ? resolved : "conf", name);
		free(resolved);
	}
}

static void test_delivered(const char *path, bool annotated)
{
	char *errors = NULL;
	struct config *config = load_file(path, &errors);

	CHECK(config != NULL && config->listeners != NULL, "%s", errors);
	free(errors);
	/* The annotated one shows every default: it says the same as an empty one. */
	struct config *empty = load_good("");

	for (const struct directive *row = config_directives; annotated && row->name != NULL;
	     row++) {
		size_t size = row->type == DIRECTIVE_STRING || row->type == DIRECTIVE_PATH
		    ? sizeof(char *)
		    : sizeof(int64_t);

		CHECK(memcmp((char *)config + row->offset, (char *)empty + row->offset, size) == 0,
		    "%s", row->name);
	}
	config_free(empty);
	config_free(config);
}

int main(int argc, char **argv)
{
	char folder[] = "/tmp/lastcall-config-XXXXXX", annotated[1024], minimal[1024], command[64];

	(void)argc;
	find_delivered(argv[0], "lastcall.conf", annotated, sizeof(annotated));
	find_delivered(argv[0], "minimal.conf", minimal, sizeof(minimal));
	if (mkdtemp(folder) == NULL || chdir(folder) == -1 || mkdir("folder", 0700) == -1)
		return 1;
	test_defaults();
	test_bad();
	test_values(folder);
	test_listen_blocks();
	test_services(folder);
	test_control(folder);
	test_made();
	test_default_control();
	test_required();
	test_include();
	test_files();
	test_command_line();
	test_system(folder);
	test_delivered(annotated, true);
	test_complete(annotated);
	test_delivered(minimal, false);
	test_mutations(annotated);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	CHECK(chdir("/") == 0 && system(command) == 0, "%s", command);
	return unit_end();
}
