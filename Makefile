# lastcall: `make run` serves the bundled page, `make check` runs every test. See HACKING.md.
#
#   CC=clang                    another compiler (musl-gcc with LDFLAGS=-static builds a static binary)
#   SAN=address,undefined       sanitizers
#   POSIX=1                     the POSIX twins of everything that is Linux-only (poll for epoll, …)
#   CRYPT=0                     without crypt(3), and so without auth-file
#   PREFIX=/usr/local DESTDIR=  for install

CC ?= cc
ifeq ($(origin CC),default)
CC = cc
endif
PREFIX ?= /usr/local
SAN ?=
POSIX ?=
CRYPT ?= 1
OPT ?= -O2 -g

VERSION := 0.1.0

comma := ,
variant := $(notdir $(firstword $(CC)))$(if $(SAN),-$(subst $(comma),-,$(SAN)))$(if $(POSIX),-posix)$(if $(filter -static,$(LDFLAGS)),-static)
BUILD := build/$(variant)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wwrite-strings -fno-common
ALL_CFLAGS = -std=c11 $(WARN) $(OPT) $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer \
	-fno-sanitize-recover=all) -D_GNU_SOURCE -DVERSION='"$(VERSION)"' $(if $(POSIX),-DPOSIX_TWINS) \
	$(if $(WERROR),-Werror) $(CRYPT_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

# Each of these has a twin; one of the two is built.
LINUX_ONLY := common/loop_epoll.c common/gate_linux.c common/system_linux.c common/arrivals_linux.c
TWINS := common/loop_poll.c common/gate_posix.c common/system_posix.c common/arrivals_posix.c

SOURCES := $(filter-out $(if $(POSIX),$(LINUX_ONLY),$(TWINS)), \
	$(wildcard master/*.c) $(wildcard worker/*.c) $(wildcard common/*.c))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY_OBJECTS := $(filter-out $(BUILD)/master/main.o,$(OBJECTS))

TOOLS := $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(wildcard tests/tools/*.c))
UNITS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/*.c))
BENCHES := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))

all: lastcall

lastcall: $(BUILD)/lastcall
	@ln -sf $< $@

$(BUILD)/lastcall: $(OBJECTS)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CRYPT_LIBS)

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -Icommon -c -o $@ $<

$(BUILD)/tools/%: tests/tools/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -o $@ $< -pthread

$(BUILD)/bench/%: tests/bench/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -o $@ $<

$(BUILD)/unit/%: tests/unit/%.c tests/unit/unit.h $(LIBRARY_OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Icommon -Iworker -Imaster $(ALL_LDFLAGS) -o $@ $< $(LIBRARY_OBJECTS) $(CRYPT_LIBS)

# Rebuilds when the flags change, so that no object of another setting is linked.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' > $@

tools: $(TOOLS) $(UNITS)

# By all processors, unless this make was told of a number.
PROCESSORS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc 2>/dev/null || echo 1))

run:
	$(MAKE) $(PROCESSORS) lastcall
	./lastcall serve -l :$(or $(PORT),8080) conf/public

check:
	scripts/setup check
	$(MAKE) $(PROCESSORS) WERROR=1 lastcall tools
	LASTCALL_BUILD=$(CURDIR)/$(BUILD) scripts/check $(TESTS)

soak: lastcall tools
	scripts/setup check
	LASTCALL_BUILD=$(CURDIR)/$(BUILD) scripts/soak

lint:
	scripts/setup lint
	scripts/lint

benches: $(BENCHES)

bench: lastcall tools benches
	scripts/setup bench
	LASTCALL_BUILD=$(CURDIR)/$(BUILD) scripts/bench

fuzz:
	scripts/setup fuzz
	scripts/fuzz

conformance: lastcall
	scripts/conformance $(H1SPEC)

install: $(BUILD)/lastcall
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man8 \
		$(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/lastcall/public \
		$(DESTDIR)$(PREFIX)/share/doc/lastcall
	install -m 755 $(BUILD)/lastcall $(DESTDIR)$(PREFIX)/bin/lastcall
	sed 's|/usr/local|$(PREFIX)|g' master/lastcall.8 > $(DESTDIR)$(PREFIX)/share/man/man8/lastcall.8
	install -m 644 common/lastcall.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/
	install -m 644 conf/public/* $(DESTDIR)$(PREFIX)/share/lastcall/public/
	for file in lastcall.conf minimal.conf; do \
		sed 's|\./public|$(PREFIX)/share/lastcall/public|' conf/$$file \
			> $(DESTDIR)$(PREFIX)/share/doc/lastcall/$$file; done
	sed 's|/usr/local|$(PREFIX)|g' conf/logrotate > $(DESTDIR)$(PREFIX)/share/doc/lastcall/logrotate
	for file in lastcall.service lastcall.socket; do \
		sed 's|/usr/local|$(PREFIX)|g' conf/$$file > $(DESTDIR)$(PREFIX)/share/doc/lastcall/$$file; done
	install -m 644 README.md master/PROTOCOL conf/haproxy.cfg conf/kubernetes.yaml $(DESTDIR)$(PREFIX)/share/doc/lastcall/

clean:
	rm -rf build lastcall

# crypt(3), for auth-file, where libc offers it: in libc itself, or in the libcrypt that comes beside it. Found out
# once for each way to build.
$(BUILD)/crypt.mk: Makefile
	@mkdir -p $(@D)
	@: > $@; for header in crypt unistd; do for library in '' -lcrypt; do \
		if [ ! -s $@ ] && printf '#define _GNU_SOURCE\n#include <%s.h>\nint main(int c, char **v) { return !crypt(*v, v[c - 1]); }\n' \
			$$header | $(CC) $(LDFLAGS) -x c - -x none $$library -o $@.try 2>/dev/null; then \
			echo "CRYPT_CFLAGS := -DHAVE_CRYPT $$([ $$header = unistd ] || echo -DHAVE_CRYPT_H)" > $@; \
			echo "CRYPT_LIBS := $$library" >> $@; \
		fi; done; done; rm -f $@.try

ifneq ($(CRYPT),0)
ifneq ($(MAKECMDGOALS),clean)
include $(BUILD)/crypt.mk
endif
endif

FORCE:
.PHONY: all tools run check soak lint benches bench fuzz conformance install clean FORCE

-include $(OBJECTS:.o=.d) $(TOOLS:=.d) $(BENCHES:=.d)
