/*
 * Replays every file of the fuzzers' corpora through their harnesses, which abort when an invariant
 * is broken; so what fuzzing found once stays found where there is no fuzzer. Run from the source
 * folder, or with LASTCALL_SOURCE naming it.
 */
#define LLVMFuzzerTestOneInput fuzz_request
#include "../fuzz/request_fuzz.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_body
#include "../fuzz/body_fuzz.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_path
#include "../fuzz/path_fuzz.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_fields
#include "../fuzz/fields_fuzz.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_control_line
#include "../fuzz/control_line_fuzz.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_proxy_header
#include "../fuzz/proxy_header_fuzz.c"
#undef LLVMFuzzerTestOneInput

#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>

#define INPUT_MAX (1 << 20)

/* Room that ends where the input does, so that a sanitizer sees a byte read past it. */
static void replay_file(const char *name, int (*harness)(const uint8_t *, size_t))
{
	FILE *file = fopen(name, "rb");
	uint8_t *bytes = malloc(INPUT_MAX), *exact;
	size_t size;

	CHECK(file && bytes, "%s: %s", name, strerror(errno));
	if (!file || !bytes) {
		free(bytes);
		return;
	}
	size = fread(bytes, 1, INPUT_MAX, file);
	CHECK(!ferror(file) && size < INPUT_MAX, "%s: cannot be read, or too large", name);
	fclose(file);
	exact = realloc(bytes, size ? size : 1);
	if (!exact)
		abort();
	fflush(stdout);
	CHECK(harness(exact, size) == 0, "%s", name);
	free(exact);
}

static void replay(const char *target, int (*harness)(const uint8_t *, size_t))
{
	const char *source = getenv("LASTCALL_SOURCE");
	char folder[PATH_MAX], name[PATH_MAX + NAME_MAX + 2];
	struct dirent *entry;
	int files = 0;
	DIR *listing;

	snprintf(folder, sizeof(folder), "%s/tests/fuzz/corpus/%s", source ? source : ".", target);
	listing = opendir(folder);
	CHECK(listing, "%s: %s", folder, strerror(errno));
	while (listing && (entry = readdir(listing))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", folder, entry->d_name);
		replay_file(name, harness);
		files++;
	}
	if (listing)
		closedir(listing);
	CHECK(files >= 20, "%s has %d files", folder, files);
}

int main(void)
{
	replay("request", fuzz_request);
	replay("body", fuzz_body);
	replay("path", fuzz_path);
	replay("fields", fuzz_fields);
	replay("control_line", fuzz_control_line);
	replay("proxy_header", fuzz_proxy_header);
	return unit_end();
}
