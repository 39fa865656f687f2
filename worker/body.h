/*
 * The body of a request, read away: of a length that was told, or chunked. Bytes in, struct out. No
 * descriptor, no allocation, resumable, so that it can be tested and fuzzed alone. As strict as the
 * reader of heads: where the body ends is where the next request begins, and two readers that
 * differ about it are what smuggling is made of.
 *
 * A caller begins with one of the two inits, gives the bytes that came behind the head to body_read
 * as they come, each once, and goes on with what the last call has not used.
 */
#ifndef LASTCALL_BODY_H
#define LASTCALL_BODY_H

#include <stddef.h>
#include <stdint.h>

/* Of a chunked body. All of the data is limited by the caller. */
#define BODY_DIGITS_MAX 16 /* of the size of a chunk, zeros before it too; 400 above it */
#define BODY_EXTENSIONS_MAX 4096 /* bytes of all chunk extensions; 413 above it */
#define BODY_TRAILER_MAX 8192 /* bytes of the trailer section with its line ends; 431 above it */
#define BODY_TRAILER_FIELDS_MAX 100 /* 431 above it */

enum body_result {
	BODY_MORE, /* every byte that was given belongs to the body, and it goes on */
	BODY_DONE, /* it ends within them */
	BODY_BAD, /* refused: status is set; answer it and close the connection */
};

struct body {
	uint64_t
	    left; /* of the data, or of the chunk (of which it is the size while that is read) */
	uint64_t room; /* chunked: how much more data there may be */
	uint16_t extensions, trailer; /* bytes so far */
	uint16_t status; /* BODY_BAD: 400, 413, 431 */
	uint8_t digits, fields, state;
};

/* A body of that many bytes (Content-Length). */
void body_init_length(struct body *body, uint64_t length);

/* A chunked body (RFC 9112, 7.1) with at most max bytes of data. */
void body_init_chunked(struct body *body, uint64_t max);

/*
 * Reads on. Never reads past length. *used is set to how many of these bytes were the body's: all
 * of them after BODY_MORE, those up to its end after BODY_DONE. What comes of a body does not
 * depend on how it was cut into calls; it is refused at the first byte that makes it wrong. After
 * BODY_DONE or BODY_BAD it returns the same again, and uses nothing.
 *
 * Trailer fields are checked like those of a head and thrown away: none of them can change what the
 * head said (RFC 9110, 6.5.1).
 *
 * Refused with 400:
 *   a CR without LF and an LF without CR, anywhere but in the data
 *   a size that is not hexadecimal digits alone, has more than BODY_DIGITS_MAX of them, or is over
 *     INT64_MAX
 *   an extension that is not ;name, ;name=token or ;name="text" (white space around ';' and '=' is
 *     allowed: RFC 9112, 7.1.1), or has control characters
 *   data that is not followed by CRLF
 *   in the trailer section what is refused in a head: obs-fold; space before the colon; an empty or
 *     non-token name; control characters but HT in a value
 * 413: more data than max, as soon as the size of a chunk says so; extensions over their limit.
 * 431: trailers over theirs.
 */
enum body_result body_read(struct body *body, const char *bytes, size_t length, size_t *used);

#endif
