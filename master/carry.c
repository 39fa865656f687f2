/* Writes and reads what an upgrade carries over; see carry.h. */
#include "carry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "descriptor.h"
#include "system.h"

void carry_wipe(char *bytes, size_t length)
{
	volatile char *at = bytes;

	for (size_t i = 0; i < length; i++)
		at[i] = 0;
	free(bytes);
}

/* ---- leaving ---- */

/* Makes room for more bytes. Returns where they are to be written, or NULL. */
static char *reserve(struct carry_out *out, size_t more)
{
	size_t room = out->room > 0 ? out->room : 4096;
	char *bytes;

	while (room - out->length < more)
		room *= 2;
	if (room > out->room) {
		bytes = malloc(room);
		if (bytes == NULL) {
			out->failed = true;
			return NULL;
		}
		if (out->length > 0)
			memcpy(bytes, out->bytes, out->length);
		carry_wipe(out->bytes, out->length);
		out->bytes = bytes;
		out->room = room;
	}
	return out->bytes + out->length;
}

static void append(struct carry_out *out, const char *text)
{
	size_t length = strlen(text);
	char *at = reserve(out, length);

	if (at == NULL)
		return;
	memcpy(at, text, length);
	out->length += length;
}

void carry_open(struct carry_out *out)
{
	*out = (struct carry_out){.bytes = NULL};
}

void carry_release(struct carry_out *out)
{
	carry_wipe(out->bytes, out->length);
	free(out->fds);
	*out = (struct carry_out){.bytes = NULL};
}

void carry_line(struct carry_out *out, const char *kind)
{
	if (out->length > 0)
		append(out, "\n");
	append(out, kind);
}

static void append_name(struct carry_out *out, const char *name)
{
	append(out, " ");
	append(out, name);
	append(out, "=");
}

void carry_put_number(struct carry_out *out, const char *name, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, number);
	append_name(out, name);
	append(out, text);
}

void carry_put_bytes(struct carry_out *out, const char *name, const void *bytes, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *from = bytes;
	char *at;

	append_name(out, name);
	at = reserve(out, 2 * length);
	for (size_t i = 0; at != NULL && i < length; i++) {
		*at++ = digits[from[i] >> 4];
		*at++ = digits[from[i] & 15];
	}
	out->length += at != NULL ? 2 * length : 0;
}

void carry_put_fd(struct carry_out *out, const char *name, int fd)
{
	if (fd < 0)
		return;
	if (out->fds_count == out->fds_room) {
		size_t room = out->fds_room > 0 ? out->fds_room * 2 : 64;
		int *fds = realloc(out->fds, room * sizeof *fds);

		if (fds == NULL) {
			out->failed = true;
			return;
		}
		out->fds = fds;
		out->fds_room = room;
	}
	out->fds[out->fds_count++] = fd;
	carry_put_number(out, name, (uint64_t)fd);
}

static uint64_t load_number(const void *at, size_t size)
{
	uint64_t number = 0;

	if (size == 1)
		number = *(const uint8_t *)at;
	else if (size == 2)
		number = *(const uint16_t *)at;
	else if (size == 4)
		number = *(const uint32_t *)at;
	else
		memcpy(&number, at, sizeof number);
	return number;
}

static void store_number(void *at, size_t size, uint64_t number)
{
	if (size == 1)
		*(uint8_t *)at = (uint8_t)number;
	else if (size == 2)
		*(uint16_t *)at = (uint16_t)number;
	else if (size == 4)
		*(uint32_t *)at = (uint32_t)number;
	else
		memcpy(at, &number, sizeof number);
}

void carry_put(struct carry_out *out, const struct carry_field *fields, const void *object)
{
	for (; fields->name != NULL; fields++) {
		const char *at = (const char *)object + fields->offset;

		if (fields->type == CARRY_NUMBER)
			carry_put_number(out, fields->name, load_number(at, fields->size));
		else if (fields->type == CARRY_TEXT)
			carry_put_bytes(out, fields->name, at, strnlen(at, fields->size));
		else if (fields->type == CARRY_BYTES)
			carry_put_bytes(out, fields->name, at, fields->size);
		else
			carry_put_fd(out, fields->name, *(const int *)(const void *)at);
	}
}

int carry_finish(struct carry_out *out)
{
	void *memory;
	int fd;

	if (out->failed) {
		errno = ENOMEM;
		return -1;
	}
	memory = system_shared_memory(out->length + 1, &fd);
	if (memory == NULL)
		return -1;
	memcpy(memory, out->bytes, out->length);
	munmap(memory, out->length + 1);
	return fd;
}

int carry_keep(const struct carry_out *out, int more, bool keep)
{
	int result = more < 0 ? 0 : fd_set_cloexec(more, !keep);

	for (size_t i = 0; i < out->fds_count; i++) {
		if (fd_set_cloexec(out->fds[i], !keep) == -1)
			result = -1;
	}
	return result;
}

/* ---- reading ---- */

int carry_read(struct carry_in *in, int fd)
{
	struct stat info;
	void *memory = MAP_FAILED;

	*in = (struct carry_in){.bytes = NULL};
	if (fstat(fd, &info) == 0 && info.st_size > 0 && info.st_size < PTRDIFF_MAX)
		memory = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
	fd_close(&fd);
	if (memory == MAP_FAILED)
		return -1;
	in->bytes = malloc((size_t)info.st_size + 1);
	if (in->bytes != NULL) {
		memcpy(in->bytes, memory, (size_t)info.st_size);
		in->bytes[info.st_size] = '\0';
	}
	munmap(memory, (size_t)info.st_size);
	in->next = in->bytes;
	in->length = in->bytes != NULL ? (size_t)info.st_size : 0;
	return in->bytes != NULL ? 0 : -1;
}

void carry_close(struct carry_in *in)
{
	carry_wipe(in->bytes, in->length);
	in->bytes = in->next = NULL;
	in->length = in->count = 0;
}

int carry_wrong(struct carry_in *in, const char *format, ...)
{
	va_list arguments;

	if (in->why[0] != '\0')
		return -1;
	va_start(arguments, format);
	vsnprintf(in->why, sizeof in->why, format, arguments);
	va_end(arguments);
	return -1;
}

/* Whether everything of the line was taken. */
static bool is_exhausted(struct carry_in *in)
{
	for (size_t i = 0; i < in->count; i++) {
		if (!in->values[i].taken) {
			carry_wrong(in,
			    "the %.40s has a \"%.40s\", which this version does not know", in->kind,
			    in->values[i].name);
			return false;
		}
	}
	return true;
}

bool carry_next(struct carry_in *in)
{
	char *word, *line = in->next;

	if (in->why[0] != '\0' || !is_exhausted(in) || line == NULL || *line == '\0')
		return false;
	in->next = strchr(line, '\n');
	if (in->next != NULL)
		*in->next++ = '\0';
	in->kind = line;
	in->count = 0;
	for (word = strchr(line, ' '); word != NULL; word = strchr(word, ' ')) {
		char *value;

		*word++ = '\0';
		value = strchr(word, '=');
		if (value == NULL || in->count == CARRY_VALUES_MAX) {
			carry_wrong(in, "its lines are malformed");
			return false;
		}
		*value++ = '\0';
		in->values[in->count++] = (struct carry_value){word, value, false};
		word = value;
	}
	return true;
}

bool carry_has(const struct carry_in *in, const char *name)
{
	for (size_t i = 0; i < in->count; i++) {
		if (strcmp(in->values[i].name, name) == 0)
			return true;
	}
	return false;
}

static const char *take(struct carry_in *in, const char *name)
{
	for (size_t i = 0; i < in->count; i++) {
		if (strcmp(in->values[i].name, name) == 0) {
			in->values[i].taken = true;
			return in->values[i].text;
		}
	}
	return NULL;
}

static int malformed(struct carry_in *in, const char *name)
{
	return carry_wrong(in, "the %.40s has a malformed \"%.40s\"", in->kind, name);
}

static int parse_number(
    struct carry_in *in, const char *name, const char *text, uint64_t most, uint64_t *number)
{
	uint64_t value = 0;

	if (*text == '\0')
		return malformed(in, name);
	for (; *text != '\0'; text++) {
		unsigned digit = (unsigned)(*text - '0');

		if (digit > 9 || value > (UINT64_MAX - digit) / 10)
			return malformed(in, name);
		value = value * 10 + digit;
	}
	if (value > most)
		return malformed(in, name);
	*number = value;
	return 0;
}

int carry_get_number(struct carry_in *in, const char *name, uint64_t most, uint64_t *number)
{
	const char *text = take(in, name);

	if (text == NULL)
		return carry_wrong(in, "the %.40s has no \"%.40s\"", in->kind, name);
	return parse_number(in, name, text, most, number);
}

static int digit_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Writes what hex says to out, which has room for half of its length. */
static int parse_bytes(struct carry_in *in, const char *name, const char *hex, char *out)
{
	for (; *hex != '\0'; hex += 2) {
		int high = digit_of(hex[0]), low = high < 0 ? -1 : digit_of(hex[1]);

		if (low < 0)
			return malformed(in, name);
		*out++ = (char)(high << 4 | low);
	}
	return 0;
}

int carry_get_bytes(struct carry_in *in, const char *name, char **bytes, size_t *length)
{
	const char *hex = take(in, name);

	*bytes = NULL;
	*length = 0;
	if (hex == NULL)
		return 0;
	*bytes = calloc(1, strlen(hex) / 2 + 1);
	if (*bytes == NULL)
		return carry_wrong(in, "%s", strerror(errno));
	*length = strlen(hex) / 2;
	if (strlen(hex) % 2 == 0 && parse_bytes(in, name, hex, *bytes) == 0)
		return 0;
	free(*bytes);
	*bytes = NULL;
	*length = 0;
	return malformed(in, name);
}

int carry_get_fd(struct carry_in *in, const char *name, int *fd)
{
	const char *text = take(in, name);
	uint64_t number;

	if (text == NULL)
		return 0;
	if (parse_number(in, name, text, INT32_MAX, &number) == -1)
		return -1;
	if (fd_set_cloexec((int)number, true) == -1)
		return carry_wrong(
		    in, "the %.40s has a \"%.40s\" that is not open", in->kind, name);
	*fd = (int)number;
	return 0;
}

static int get_field(struct carry_in *in, const struct carry_field *field, char *at)
{
	uint64_t number,
	    most = field->size >= 8 ? UINT64_MAX : (UINT64_C(1) << 8 * field->size) - 1;
	const char *text;
	size_t length;

	if (field->type == CARRY_FD)
		return carry_get_fd(in, field->name, (int *)(void *)at);
	text = take(in, field->name);
	if (text == NULL)
		return 0;
	if (field->type == CARRY_NUMBER) {
		if (parse_number(in, field->name, text, most, &number) == -1)
			return -1;
		store_number(at, field->size, number);
		return 0;
	}
	length = strlen(text);
	if (length % 2 != 0 || length / 2 > field->size ||
	    (field->type == CARRY_BYTES && length / 2 != field->size) ||
	    (field->type == CARRY_TEXT && length / 2 == field->size))
		return malformed(in, field->name);
	memset(at, 0, field->size);
	return parse_bytes(in, field->name, text, at);
}

int carry_get(struct carry_in *in, const struct carry_field *fields, void *object)
{
	for (; fields->name != NULL; fields++) {
		if (get_field(in, fields, (char *)object + fields->offset) == -1)
			return -1;
	}
	return 0;
}
