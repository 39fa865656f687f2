/* Credentials; see credentials.h. */
#include "credentials.h"

#include <string.h>
#include <strings.h>

static int base64_digit(char byte)
{
	if (byte >= 'A' && byte <= 'Z')
		return byte - 'A';
	if (byte >= 'a' && byte <= 'z')
		return byte - 'a' + 26;
	if (byte >= '0' && byte <= '9')
		return byte - '0' + 52;
	if (byte == '+')
		return 62;
	return byte == '/' ? 63 : -1;
}

/* Decodes text into out. Returns the length, or 0: it is not base64, is empty or does not fit. */
static size_t decode(char *out, size_t size, const char *text, size_t length)
{
	size_t used = 0;
	uint32_t bits = 0;
	int held = 0;

	while (length > 0 && text[length - 1] == '=')
		length--;
	if (length % 4 == 1)
		return 0;
	for (size_t i = 0; i < length; i++) {
		int digit = base64_digit(text[i]);

		if (digit < 0)
			return 0;
		bits = bits << 6 | (uint32_t)digit;
		held += 6;
		if (held < 8)
			continue;
		held -= 8;
		if (used == size)
			return 0;
		out[used++] = (char)(bits >> held);
	}
	return used;
}

bool credentials_read(struct credentials *credentials, const char *value, size_t length)
{
	size_t at = 5;
	char *colon;

	if (length < 7 || strncasecmp(value, "basic", 5) != 0 || value[5] != ' ')
		return false;
	while (at < length && value[at] == ' ')
		at++;
	length = decode(credentials->text, CREDENTIALS_MAX, value + at, length - at);
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)credentials->text[i];

		if (byte < 0x20 || byte == 0x7f)
			return false;
	}
	colon = length > 0 ? memchr(credentials->text, ':', length) : NULL;
	if (colon == NULL)
		return false;
	credentials->text[length] = '\0';
	*colon = '\0';
	credentials->password = colon + 1;
	credentials->length = length;
	return true;
}

/* ---- SipHash-2-4, of Aumasson and Bernstein ---- */

struct sip {
	uint64_t v0, v1, v2, v3;
};

static uint64_t turn(uint64_t value, int bits)
{
	return value << bits | value >> (64 - bits);
}

static void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = turn(s->v1, 13) ^ s->v0;
	s->v3 = turn(s->v3, 16) ^ s->v2;
	s->v0 = turn(s->v0, 32) + s->v3;
	s->v2 += s->v1;
	s->v1 = turn(s->v1, 17) ^ s->v2;
	s->v3 = turn(s->v3, 21) ^ s->v0;
	s->v2 = turn(s->v2, 32);
}

static void sip_word(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

/* Up to eight bytes, the first one the lowest. */
static uint64_t word_at(const unsigned char *bytes, size_t length)
{
	uint64_t word = 0;

	for (size_t i = 0; i < length && i < 8; i++)
		word |= (uint64_t)bytes[i] << (8 * i);
	return word;
}

uint64_t sip_hash(const struct sip_key *key, const void *bytes, size_t length)
{
	const unsigned char *at = bytes;
	size_t left = length;
	struct sip s = {
	    key->k0 ^ UINT64_C(0x736f6d6570736575),
	    key->k1 ^ UINT64_C(0x646f72616e646f6d),
	    key->k0 ^ UINT64_C(0x6c7967656e657261),
	    key->k1 ^ UINT64_C(0x7465646279746573),
	};

	for (; left >= 8; at += 8, left -= 8)
		sip_word(&s, word_at(at, 8));
	sip_word(&s, word_at(at, left) | (uint64_t)length << 56);
	s.v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

bool same_secret(const char *known, const char *said)
{
	size_t length = strlen(known), said_length = strlen(said);
	volatile unsigned char differs = length != said_length;

	for (size_t i = 0; i < length; i++)
		differs |= (unsigned char)known[i] ^
		    (unsigned char)said[said_length > 0 ? i % said_length : 0];
	return differs == 0;
}
