/*
 * exchange: sends each request of a table to a server, exactly as it stands there, and compares the
 * answers byte for byte.
 *
 *	exchange [-b] [-p] ADDRESS TABLE
 *
 *   -b  sends one byte at a time
 *   -p  sends each behind a good request, in the same write: the text before goes first, and the
 *       answer before must come first
 *
 * Every row has a connection of its own. The table is lines (a backslash at the end of one joins
 * the next to it):
 *
 *   text NAME TEXT         a piece of text for what follows
 *   answer NAME TEXT       what a server may be expected to answer
 *   keep ANSWERS REQUEST   after these answers (NAME,NAME…) the connection goes on: a further
 *                          request, which is sent in any case (text probe), gets its own (answer
 *                          probe)
 *   close ANSWERS REQUEST  after these, of which the last one says so, it ends, and a further
 *                          request gets none
 *   half ANSWERS REQUEST   instead of a further request the client shuts its side
 *
 * ANSWERS is - for none; a name after "head:" means the head of that answer alone.
 *
 * In a text \r \n \t \\ \{ \xHH are bytes, {NAME} is another text and {NAME A|B} one in which {1}
 * and {2} are A and B, and {N*TEXT} is TEXT so many times. In an answer {date} is a date as of
 * RFC 9110, 5.6.7, {line} anything up to the end of the line, {length} the length of the body,
 * {connection} the text kept or closed.
 *
 * Prints the rows that failed, with what came, and a count. Exit status: 0 all are right, 1 some
 * are not, 2 usage, or the table has an error.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE 32 /* connections */
#define TEXTS_MAX 200
#define ROWS_MAX 2000
#define LIMIT_MS 60000 /* for one row */
#define SHOWN_MAX 1200 /* bytes of what is printed of a row that failed */

/* What stands in an expected answer for what is not the same each time; no answer has such bytes.
 */
#define ANY_DATE '\001'
#define ANY_LINE '\002'
#define CONNECTION '\003'
#define LENGTH '\004'

/* Bytes that grow. */
struct bytes {
	char *at;
	size_t length, room;
};

struct text {
	char *name, *source;
};

struct row {
	int line; /* in the table */
	char *source;
	struct bytes request, expected;
	bool half;
};

/* A connection that is under way with a row; fd -1: none. */
struct exchange {
	struct row *row;
	int fd;
	size_t sent;
	bool shut;
	struct bytes got;
	int64_t began;
};

static const char *table_name;
static int line_number; /* of the table */
static struct text texts[TEXTS_MAX], answers[TEXTS_MAX];
static size_t texts_count, answers_count;
static struct row rows[ROWS_MAX];
static size_t rows_count, failures;
static bool bytewise, behind;
static struct sockaddr_in address;

static void die(const char *what, const char *which)
{
	fprintf(stderr, "%s:%d: %s: %s\n", table_name ? table_name : "exchange", line_number, what,
	    which);
	exit(2);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void add(struct bytes *bytes, const char *more, size_t length)
{
	if (bytes->length + length + 1 > bytes->room) {
		bytes->room = (bytes->length + length) * 2 + 64;
		bytes->at = realloc(bytes->at, bytes->room);
		if (bytes->at == NULL)
			die(strerror(errno), "memory");
	}
	memcpy(bytes->at + bytes->length, more, length);
	bytes->length += length;
	bytes->at[bytes->length] = '\0';
}

/* ---- texts ---- */

static const char *find(const struct text *all, size_t count, const char *name, size_t length)
{
	for (size_t i = 0; i < count; i++) {
		if (strlen(all[i].name) == length && memcmp(all[i].name, name, length) == 0)
			return all[i].source;
	}
	return NULL;
}

/* What stands for {1} and {2}: pieces of the source of the text that they were given in. */
struct arguments {
	const char *at[2];
	size_t length[2];
};

static void expand(
    struct bytes *out, const char *source, size_t length, const struct arguments *given);

/* "{N*TEXT}", without its braces. */
static void expand_times(
    struct bytes *out, const char *inner, size_t length, const struct arguments *given)
{
	char *star;
	unsigned long times = strtoul(inner, &star, 10);

	if (*star != '*' || times == 0 || times > 1000000)
		die("no such number of times", inner);
	for (star++; times > 0; times--)
		expand(out, star, length - (size_t)(star - inner), given);
}

/* "{NAME}" and "{NAME A|B}", without their braces. */
static void expand_name(
    struct bytes *out, const char *inner, size_t length, const struct arguments *given)
{
	static const char *const marks[] = {"date", "line", "connection", "length"};
	size_t name = 0, bar;
	struct arguments arguments = {{"", ""}, {0, 0}};
	const char *source;

	while (name < length && inner[name] != ' ')
		name++;
	for (size_t i = 0; i < 4; i++) {
		if (name == strlen(marks[i]) && memcmp(inner, marks[i], name) == 0) {
			add(out, (char[]){(char)(ANY_DATE + (char)i)}, 1);
			return;
		}
	}
	if (name == 1 && given != NULL && (*inner == '1' || *inner == '2')) {
		expand(out, given->at[*inner - '1'], given->length[*inner - '1'], NULL);
		return;
	}
	source = find(texts, texts_count, inner, name);
	if (source == NULL)
		die("no such text", inner);
	for (bar = name; bar < length && inner[bar] != '|';)
		bar++;
	if (name < length) {
		arguments.at[0] = inner + name + 1;
		arguments.length[0] = bar - name - 1;
	}
	if (bar < length) {
		arguments.at[1] = inner + bar + 1;
		arguments.length[1] = length - bar - 1;
	}
	expand(out, source, strlen(source), &arguments);
}

/* The byte that an escape at source, behind its backslash, stands for. Returns the escape's length.
 */
static size_t unescape(const char *source, char *byte)
{
	unsigned value;

	if (*source == 'x' && isxdigit((unsigned char)source[1]) &&
	    sscanf(source + 1, "%2x", &value)) {
		*byte = (char)value;
		return 3;
	}
	if (*source == '\0' || strchr("rnt\\{", *source) == NULL)
		die("no such escape", source);
	*byte = (char)(*source == 'r' ? '\r'
		: *source == 'n'      ? '\n'
		: *source == 't'      ? '\t'
				      : *source);
	return 1;
}

static void expand(
    struct bytes *out, const char *source, size_t length, const struct arguments *given)
{
	for (size_t at = 0; at < length;) {
		char byte = source[at++];

		if (byte == '{') {
			const char *inner = source + at, *end = memchr(inner, '}', length - at);

			if (end == NULL)
				die("no end of {", inner);
			at += (size_t)(end - inner) + 1;
			if (isdigit((unsigned char)*inner) && end - inner > 1)
				expand_times(out, inner, (size_t)(end - inner), given);
			else
				expand_name(out, inner, (size_t)(end - inner), given);
			continue;
		}
		if (byte == '\\')
			at += unescape(source + at, &byte);
		add(out, &byte, 1);
	}
}

static void expand_text(struct bytes *out, const char *name)
{
	const char *source = find(texts, texts_count, name, strlen(name));

	if (source == NULL)
		die("no such text", name);
	expand(out, source, strlen(source), NULL);
}

/* ---- what is expected ---- */

static void replace(struct bytes *in, char mark, const char *with, size_t length)
{
	struct bytes out = {NULL, 0, 0};

	for (size_t i = 0; i < in->length; i++) {
		if (in->at[i] == mark)
			add(&out, with, length);
		else
			add(&out, &in->at[i], 1);
	}
	free(in->at);
	*in = out;
}

/* Adds the answer of that name, the last one on its connection or not. */
static void add_answer(struct bytes *out, const char *name, size_t length, bool last)
{
	bool head = length > 5 && memcmp(name, "head:", 5) == 0;
	struct bytes answer = {NULL, 0, 0}, connection = {NULL, 0, 0};
	const char *source, *body;
	char number[24];

	if (head) {
		name += 5;
		length -= 5;
	}
	source = find(answers, answers_count, name, length);
	if (source == NULL)
		die("no such answer", name);
	expand(&answer, source, strlen(source), NULL);
	expand_text(&connection, last ? "closed" : "kept");
	replace(&answer, CONNECTION, connection.at, connection.length);
	body = memmem(answer.at, answer.length, "\r\n\r\n", 4);
	if (body == NULL)
		die("an answer without the end of its head", name);
	body += 4;
	length = answer.length - (size_t)(body - answer.at);
	if (head)
		answer.length -= length;
	replace(&answer, LENGTH, number, (size_t)snprintf(number, sizeof number, "%zu", length));
	add(out, answer.at, answer.length);
	free(answer.at);
	free(connection.at);
}

static void add_answers(struct bytes *out, const char *names, bool closes)
{
	if (strcmp(names, "-") == 0)
		return;
	for (;;) {
		size_t length = strcspn(names, ",");

		add_answer(out, names, length, closes && names[length] == '\0');
		if (names[length] == '\0')
			return;
		names += length + 1;
	}
}

/* Whether 29 bytes are a date: a digit where there must be one, a letter, or that byte. */
static bool is_date(const char *at, size_t length)
{
	static const char form[] = "Aaa, 00 Aaa 0000 00:00:00 GMT";

	if (length < sizeof form - 1)
		return false;
	for (size_t i = 0; form[i] != '\0'; i++) {
		unsigned char byte = (unsigned char)at[i];

		if (i > 25 || strchr(", :", form[i]) != NULL) {
			if (byte != (unsigned char)form[i])
				return false;
		} else if (form[i] == '0' ? !isdigit(byte) : !isalpha(byte)) {
			return false;
		}
	}
	return true;
}

/* Where the two differ, or -1: they do not. */
static ssize_t difference(const struct bytes *expected, const struct bytes *got)
{
	size_t at = 0;

	for (size_t i = 0; i < expected->length; i++) {
		char byte = expected->at[i];

		if (byte == ANY_DATE) {
			if (!is_date(got->at + at, got->length - at))
				return (ssize_t)at;
			at += 29;
		} else if (byte == ANY_LINE) {
			while (at < got->length && got->at[at] != '\r' && got->at[at] != '\n')
				at++;
		} else if (at == got->length || got->at[at++] != byte) {
			return (ssize_t)at;
		}
	}
	return at == got->length ? -1 : (ssize_t)at;
}

/* ---- the table ---- */

/* Cuts a word off *line. Returns it, NULL if there is none. */
static char *cut_word(char **line)
{
	char *word = *line + strspn(*line, " \t");
	size_t length = strcspn(word, " \t");

	if (length == 0)
		return NULL;
	*line = word + length;
	if (**line != '\0')
		*(*line)++ = '\0';
	return word;
}

static void add_text(struct text *all, size_t *count, char *rest)
{
	char *name = cut_word(&rest);

	if (name == NULL || *count == TEXTS_MAX)
		die("no name, or too many", "text");
	if (find(all, *count, name, strlen(name)) != NULL)
		die("twice", name);
	all[(*count)++] = (struct text){strdup(name), strdup(rest + strspn(rest, " \t"))};
}

static void add_row(const char *kind, char *rest)
{
	struct row *row = &rows[rows_count];
	char *names = cut_word(&rest);
	bool closes = strcmp(kind, "close") == 0;

	if (names == NULL || rows_count == ROWS_MAX)
		die("no answers, or too many rows", kind);
	rows_count++;
	*row = (struct row){.line = line_number, .half = strcmp(kind, "half") == 0};
	row->source = strdup(rest);
	if (behind) {
		expand_text(&row->request, "before");
		add_answers(&row->expected, "before", false);
	}
	expand(&row->request, rest, strlen(rest), NULL);
	add_answers(&row->expected, names, closes);
	if (!row->half)
		expand_text(&row->request, "probe");
	if (!row->half && !closes)
		add_answers(&row->expected, "probe", true);
}

static void read_line(char *line)
{
	char *kind = cut_word(&line);

	if (kind == NULL || *kind == '#')
		return;
	if (strcmp(kind, "text") == 0)
		add_text(texts, &texts_count, line);
	else if (strcmp(kind, "answer") == 0)
		add_text(answers, &answers_count, line);
	else if (strcmp(kind, "keep") == 0 || strcmp(kind, "close") == 0 ||
	    strcmp(kind, "half") == 0)
		add_row(kind, line);
	else
		die("no such kind of line", kind);
}

static void read_table(const char *name)
{
	FILE *file = fopen(name, "r");
	struct bytes joined = {NULL, 0, 0};
	char *line = NULL;
	size_t room = 0;
	ssize_t length;

	table_name = name;
	if (file == NULL)
		die(strerror(errno), name);
	while ((length = getline(&line, &room, file)) > 0) {
		line_number++;
		if (line[length - 1] == '\n')
			length--;
		if (length > 0 && line[length - 1] == '\\') {
			add(&joined, line, (size_t)length - 1);
			continue;
		}
		add(&joined, line, (size_t)length);
		read_line(joined.at);
		joined.length = 0;
	}
	free(line);
	free(joined.at);
	fclose(file);
	if (rows_count == 0)
		die("no rows", name);
}

static void set_address(const char *text)
{
	char host[64] = "";
	const char *colon = strrchr(text, ':');

	if (colon == NULL || (size_t)(colon - text) >= sizeof host)
		die("not an address", text);
	memcpy(host, text, (size_t)(colon - text));
	address.sin_family = AF_INET;
	address.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
		die("not an address", text);
}

/* ---- exchanging ---- */

static void show(const char *label, const struct bytes *bytes)
{
	printf("    %s: ", label);
	for (size_t i = 0; i < bytes->length && i < SHOWN_MAX; i++) {
		unsigned char byte = (unsigned char)bytes->at[i];

		if (byte == '\n')
			printf("\\n\n        ");
		else if (byte == '\r')
			printf("\\r");
		else if (byte <= LENGTH && byte > 0)
			printf("{%s}", byte == ANY_DATE ? "date" : "line");
		else if (byte < 0x20 || byte >= 0x7f)
			printf("\\x%02x", byte);
		else
			putchar(byte);
	}
	printf("%s\n", bytes->length > SHOWN_MAX ? " and so on" : "");
}

static void finish(struct exchange *x, const char *end)
{
	ssize_t differs = difference(&x->row->expected, &x->got);

	if (differs >= 0 || *end != '\0') {
		failures++;
		printf("%s:%d: %s%s\n", table_name, x->row->line,
		    differs >= 0 ? "another answer" : "the right answer, but ", end);
		printf("    row: %.200s\n", x->row->source);
		if (differs >= 0)
			printf("    the first difference is at byte %zd\n", differs);
		show("expected", &x->row->expected);
		show("got", &x->got);
	}
	close(x->fd);
	x->fd = -1;
	free(x->got.at);
	x->got = (struct bytes){NULL, 0, 0};
}

static void begin(struct exchange *x, struct row *row)
{
	*x = (struct exchange){.row = row, .began = now_ms()};
	x->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (x->fd == -1 || connect(x->fd, (struct sockaddr *)&address, sizeof address) == -1) {
		fprintf(stderr, "exchange: cannot connect: %s\n", strerror(errno));
		exit(2);
	}
	setsockopt(x->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	fcntl(x->fd, F_SETFL, O_NONBLOCK);
}

static void transmit(struct exchange *x)
{
	const struct bytes *request = &x->row->request;
	size_t length = request->length - x->sent;
	ssize_t sent;

	if (length > 0) {
		sent = send(x->fd, request->at + x->sent, bytewise ? 1 : length, MSG_NOSIGNAL);
		/* The server may have answered and gone: what came says whether that is right. */
		if (sent == -1 && errno != EAGAIN && errno != EINTR)
			x->sent = request->length;
		else if (sent > 0)
			x->sent += (size_t)sent;
	} else if (x->row->half && !x->shut) {
		x->shut = true;
		shutdown(x->fd, SHUT_WR);
	}
}

static void receive(struct exchange *x)
{
	char bytes[65536];
	ssize_t got = recv(x->fd, bytes, sizeof bytes, 0);

	if (got > 0)
		add(&x->got, bytes, (size_t)got);
	else if (got == 0)
		finish(x, "");
	else if (errno != EAGAIN && errno != EINTR)
		finish(x, strerror(errno));
	else if (now_ms() - x->began > LIMIT_MS)
		finish(x, "no end of the connection");
}

static void run(void)
{
	static struct exchange all[AT_ONCE];
	struct pollfd polled[AT_ONCE];
	size_t next = 0, alive;

	for (size_t i = 0; i < AT_ONCE; i++)
		all[i].fd = -1;
	do {
		bool sending = false;

		alive = 0;
		for (size_t i = 0; i < AT_ONCE; i++) {
			if (all[i].fd == -1 && next < rows_count)
				begin(&all[i], &rows[next++]);
			polled[i] = (struct pollfd){.fd = all[i].fd, .events = POLLIN};
			if (all[i].fd == -1)
				continue;
			alive++;
			transmit(&all[i]);
			sending = sending || all[i].sent < all[i].row->request.length ||
			    (all[i].row->half && !all[i].shut);
		}
		/* Lets the server see one byte before the next. */
		if (sending)
			sched_yield();
		poll(polled, AT_ONCE, sending ? 0 : 100);
		for (size_t i = 0; i < AT_ONCE; i++) {
			if (all[i].fd != -1)
				receive(&all[i]);
		}
	} while (alive > 0);
}

int main(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "+bp")) != -1) {
		if (option == 'b')
			bytewise = true;
		else if (option == 'p')
			behind = true;
		else
			exit(2);
	}
	if (argc - optind != 2) {
		fprintf(stderr, "usage: exchange [-b] [-p] ADDRESS TABLE\n");
		exit(2);
	}
	set_address(argv[optind]);
	read_table(argv[optind + 1]);
	run();
	printf("%zu rows, %zu failed\n", rows_count, failures);
	return failures > 0;
}
