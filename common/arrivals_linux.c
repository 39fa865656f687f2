/*
 * Counts SYNs with a filter of bpf(2); see arrivals.h. The program is a dozen instructions, and
 * they and the structures of the call are declared here, because a build with musl has no <linux/…>
 * headers. Sources: bpf(2), socket(7) for SO_ATTACH_BPF, the kernel's
 * Documentation/bpf/standardization/instruction-set.rst.
 */
#include "arrivals.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "descriptor.h"

#define PORTS 65536

#ifndef SO_ATTACH_BPF
#define SO_ATTACH_BPF 50
#endif

/* linux/bpf.h. */
#define MAP_CREATE 0
#define PROGRAM_LOAD 5
#define MAP_ARRAY 2
#define MAP_MAPPABLE (1u << 10) /* BPF_F_MMAPABLE */
#define SOCKET_FILTER 1

struct map_wish {
	uint32_t type, key_size, value_size, entries, flags;
};
struct program_wish {
	uint32_t type, count;
	uint64_t instructions, license;
	uint32_t log_level, log_size;
	uint64_t log;
	uint32_t kernel, flags;
};
struct instruction {
	uint8_t code;
	uint8_t registers; /* target in the low half, source in the high one */
	int16_t offset;
	int32_t operand;
};
#define REGISTERS(target, source) (uint8_t)((target) | (source) << 4)

static int make_map(void)
{
	struct map_wish wish = {MAP_ARRAY, sizeof(uint32_t), sizeof(uint64_t), PORTS, MAP_MAPPABLE};

	return (int)syscall(SYS_bpf, MAP_CREATE, &wish, sizeof wish);
}

static int load(const struct instruction *steps, size_t size)
{
	struct program_wish wish = {
	    .type = SOCKET_FILTER,
	    .count = (uint32_t)(size / sizeof *steps),
	    .instructions = (uint64_t)(uintptr_t)steps,
	    .license = (uint64_t)(uintptr_t) "", /* it calls nothing that asks for one */
	};

	return (int)syscall(SYS_bpf, PROGRAM_LOAD, &wish, sizeof wish);
}

/* Drops a SYN without ACK, and lets every other packet through whole. */
static int load_gate(void)
{
	const struct instruction steps[] = {
	    {0xbf, REGISTERS(6, 1), 0, 0}, /* r6 = r1: where the load below looks for the packet */
	    {0x30, 0, 0, 13}, /* r0 = byte 13 of the TCP header: its flags */
	    {0x54, REGISTERS(0, 0), 0, 0x12}, /* r0 &= SYN | ACK */
	    {0x55, REGISTERS(0, 0), 2, 0x02}, /* not SYN alone: to the end */
	    {0xb4, REGISTERS(0, 0), 0, 0}, /* drop it */
	    {0x95, 0, 0, 0},
	    {0xb4, REGISTERS(0, 0), 0, -1}, /* keep it whole */
	    {0x95, 0, 0, 0},
	};

	return load(steps, sizeof steps);
}

/* Counts a SYN without ACK in the map, by its target port, and lets every packet through whole. */
static int load_program(int map)
{
	const struct instruction steps[] = {
	    {0xbf, REGISTERS(6, 1), 0, 0}, /* r6 = r1: where the loads below look for the packet */
	    {0x30, 0, 0, 13}, /* r0 = byte 13 of the TCP header: its flags */
	    {0x54, REGISTERS(0, 0), 0, 0x12}, /* r0 &= SYN | ACK */
	    {0x55, REGISTERS(0, 0), 10, 0x02}, /* not SYN alone: to the end */
	    {0x28, 0, 0, 2}, /* r0 = half word 2: the target port */
	    {0x63, REGISTERS(10, 0), -4, 0}, /* on the stack, */
	    {0xbf, REGISTERS(2, 10), 0, 0}, /* r2 = its place there */
	    {0x07, REGISTERS(2, 0), 0, -4},
	    {0x18, REGISTERS(1, 1), 0, map}, /* r1 = the map, in two parts */
	    {0, 0, 0, 0},
	    {0x85, 0, 0, 1}, /* r0 = map_lookup(r1, r2) */
	    {0x15, REGISTERS(0, 0), 2, 0}, /* none: to the end */
	    {0xb7, REGISTERS(1, 0), 0, 1}, /* r1 = 1 */
	    {0xdb, REGISTERS(0, 1), 0, 0}, /* *r0 += r1, on all processors */
	    {0xb4, REGISTERS(0, 0), 0, -1}, /* keep it whole */
	    {0x95, 0, 0, 0},
	};

	return load(steps, sizeof steps);
}

/* Returns false when there is nothing to map, or it cannot be. */
static bool map_counts(struct arrivals *arrivals)
{
	void *memory = MAP_FAILED;

	if (arrivals->map >= 0)
		memory =
		    mmap(NULL, PORTS * sizeof(uint64_t), PROT_READ, MAP_SHARED, arrivals->map, 0);
	if (memory == MAP_FAILED)
		return false;
	arrivals->counts = memory;
	return true;
}

void arrivals_resume(struct arrivals *arrivals)
{
	if (!map_counts(arrivals))
		arrivals_close(arrivals);
}

void arrivals_open(struct arrivals *arrivals)
{
	*arrivals = (struct arrivals){.map = make_map(), .program = -1, .gate = -1};
	if (map_counts(arrivals))
		arrivals->program = load_program(arrivals->map);
	if (arrivals->program == -1)
		arrivals_close(arrivals);
	else
		arrivals->gate = load_gate();
}

void arrivals_close(struct arrivals *arrivals)
{
	if (arrivals->counts != NULL)
		munmap((void *)(uintptr_t)arrivals->counts, PORTS * sizeof(uint64_t));
	arrivals->counts = NULL;
	fd_close(&arrivals->program);
	fd_close(&arrivals->gate);
	fd_close(&arrivals->map);
}

bool arrivals_watch(const struct arrivals *arrivals, int fd)
{
	return arrivals->program >= 0 &&
	    setsockopt(
		fd, SOL_SOCKET, SO_ATTACH_BPF, &arrivals->program, sizeof arrivals->program) == 0;
}

uint64_t arrivals_on(const struct arrivals *arrivals, unsigned port)
{
	const volatile uint64_t *counts = arrivals->counts;

	return counts != NULL ? counts[port % PORTS] : 0;
}
