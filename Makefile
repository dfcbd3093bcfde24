.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PYTHON ?= python3
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
BUILD ?= build
OPTIMISE ?= -O2 -g
WERROR ?= -Werror
ALL_CFLAGS := -std=c99 $(OPTIMISE) -Wall -Wextra $(WERROR) -fvisibility=hidden -Iinclude $(CFLAGS)
VENV := .venv
PY := $(VENV)/bin/python
CLIENTS := .venv-clients
GYMNASIUM := .venv-gymnasium
PARALLEL = $(MAKE) --no-print-directory -j$(JOBS)

export PYTHON
ifneq ($(origin CC),default) # otherwise the extension gets the compiler that Python was built with
export CC
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1

HEADERS := $(wildcard include/*.h csrc/*.h)
CSRC := $(wildcard csrc/*.c)
EXAMPLES := $(patsubst examples/c/%.c,$(BUILD)/examples/%,$(wildcard examples/c/*.c))
BENCHES := $(patsubst bench/c/%.c,$(BUILD)/bench/%,$(filter-out %/inprocess.c,$(wildcard bench/c/*.c))) $(BUILD)/bench/inprocess.so
# How the linker is told the name that a shared library is found by.
SYSTEM := $(shell uname -s)
ifeq ($(SYSTEM),Darwin)
NAMED = -Wl,-install_name,@rpath/$(@F)
else
NAMED = -Wl,-soname,$(@F)
endif
C_TESTS := $(patsubst tests/c/%.c,$(BUILD)/tests/%,$(wildcard tests/c/test_*.c))
# What a test gets that brings a platform of its own: every file but the platform and the one that includes all others.
PORTABLE := $(filter-out csrc/libferry.c csrc/platform_%.c,$(CSRC))

.PHONY: help
help:
	@echo 'make demo    a policy learns to balance a pole that lives in another process'
	@echo 'make test    all tests: C as C99 and C++17, C tests, Python tests'
	@echo 'make test-engines   Godot, LÖVE, C++, Rust, C#: whatever of them is here, and a table of their speeds'
	@echo 'make test-systems   Windows, other processors: what emulators here can run'
	@echo 'make test-clients   Stable-Baselines3, TorchRL, Atari, ViZDoom and others, with Ferry between them'
	@echo 'make test-gymnasium Gymnasium'\''s own tests of vector environments, of Ferry'\''s'
	@echo 'make model   the protocols, every state of their models (Spin)'
	@echo 'make lint    what the linters, formatters and type checkers say'
	@echo 'make format  let the formatters have their way'
	@echo 'make bench   measure, beside floors and peers'
	@echo 'make san     the C tests under address, undefined-behaviour and thread sanitizers'
	@echo 'make coverage   which lines of csrc the C tests run; with MISSING=1 it names the others'
	@echo 'make valgrind  the compiled module under Valgrind'\''s memcheck'
	@echo 'make fuzz FUZZ_SECONDS=60   foreign bytes at random, so long for each target, and how much of the checks they reach'
	@echo 'make fuzz-python   the same for what Python reads (Atheris)'
	@echo 'make campaign   kills, stops and disconnections, at random instants and at every function; CAMPAIGN_KILLS=10000, CAMPAIGN_POINTS=1'
	@echo 'make soak SOAK_SECONDS=1800   full speed for a long time, with constant memory and descriptors'
	@echo 'make install PREFIX=/usr/local   libferry for C and C++ programs: headers, libraries, and what CMake and pkg-config ask for'
	@echo 'make amalgamation   the C library as two files, in build/amalgamation'
	@echo 'make build   the C library, examples, and the Python package in .venv'
	@echo 'make wheel   sdist and wheel, in dist'
	@echo 'make clean   remove build, caches and .venv'

.PHONY: demo
demo: prerequisites
	@$(PARALLEL) $(VENV)/.package $(VENV)/.extra-demo library examples WERROR=
	@$(PY) -m ferry demo

# Many tests wait for processes most of their time. A file's tests go one after the other, since what it makes first serves all of them.
TWO_AT_A_TIME := --numprocesses 2 --dist loadfile

.PHONY: test test-c
test: prerequisites
	@$(PARALLEL) $(VENV)/.package $(VENV)/.extra-demo,test library examples benches c-tests c-checks campaign-programs
	@tools/run_c_tests.sh $(C_TESTS)
	@$(PY) -m pytest $(TWO_AT_A_TIME)
test-c:
	@$(PARALLEL) library examples benches c-tests c-checks
	@tools/run_c_tests.sh $(C_TESTS)

# What is not here is skipped, with the reason; TESTS_REQUIRE='love wine' (or 'all') makes its absence a failure.
.PHONY: test-engines test-systems
test-engines: prerequisites
	@$(PARALLEL) $(VENV)/.package $(VENV)/.extra-demo,test library examples benches
	@$(PY) bench/engines/table.py
	@$(PY) -m pytest tests/engines
test-systems: prerequisites
	@$(PARALLEL) $(VENV)/.package $(VENV)/.extra-test library examples
	@$(PY) -m pytest $(TWO_AT_A_TIME) tests/systems

# Needs Spin (Debian package: spin).
.PHONY: model
model:
	@models/run.sh

# In a .venv of their own, because they weigh gigabytes. TORCH is what pip is told first: TORCH='torch --index-url URL' or
# TORCH=torch==VERSION chooses another build than the newest, such as one without CUDA. CLIENT_TESTS is for pytest: '-k ppo'.
TORCH ?= torch
.PHONY: test-clients
test-clients: prerequisites
	@$(PARALLEL) VENV=$(CLIENTS) $(CLIENTS)/.torch examples
	@$(PARALLEL) VENV=$(CLIENTS) $(CLIENTS)/.package $(CLIENTS)/.extra-clients
	@OMP_NUM_THREADS=1 $(CLIENTS)/bin/python -m pytest -W default --durations=10 tests/clients $(CLIENT_TESTS)

# Gymnasium's own tests of AsyncVectorEnv, with Ferry's class in the place of its; tests/gymnasium/skipped.txt names those left out. They are
# cloned by the tag of the release that is installed, or copied from GYMNASIUM_SOURCE, a checkout of it. GYMNASIUM_TESTS is for pytest.
GYMNASIUM_SOURCE ?=
GYMNASIUM_TESTS ?= tests/vector tests/envs/registration/test_make_vec.py tests/wrappers/vector/test_vectorize_transform.py
.PHONY: test-gymnasium
test-gymnasium: prerequisites
	@$(PARALLEL) VENV=$(GYMNASIUM) $(GYMNASIUM)/.package $(GYMNASIUM)/.extra-gymnasium
	@folder=$$(tools/gymnasium_tests.sh $(GYMNASIUM)/bin/python $(BUILD) $(GYMNASIUM_SOURCE)) && cd "$$folder" && \
	    PYTHONPATH=$(CURDIR)/tests/gymnasium $(CURDIR)/$(GYMNASIUM)/bin/python -m pytest -p conftest -p no:cacheprovider -ra --timeout=120 \
	    $(GYMNASIUM_TESTS)

.PHONY: lint lint-ruff lint-format lint-codespell lint-mypy lint-cython lint-clang
lint: prerequisites $(VENV)/.package $(VENV)/.extra-dev
	@$(MAKE) --no-print-directory --keep-going lint-ruff lint-format lint-codespell lint-mypy lint-cython lint-clang
lint-ruff:
	$(VENV)/bin/ruff check
lint-format:
	$(VENV)/bin/ruff format --check
lint-codespell:
	$(VENV)/bin/codespell
lint-mypy:
	$(VENV)/bin/mypy
lint-cython:
	PATH=$(VENV)/bin:$$PATH cython-lint ferry
lint-clang:
	$(VENV)/bin/clang-format --dry-run -Werror $(C_FORMATTED)

C_FORMATTED = $(wildcard include/*.h csrc/*.[ch] ferry/*.c bench/engines/loops/*.c engines/godot/src/*.[ch] examples/c/*.[ch] bench/c/*.[ch] tests/c/*.[ch] tests/systems/*.[ch] \
    tests/interop/*/*.c tests/fuzz/*.[ch] tests/campaign/*.[ch])

.PHONY: format
format: prerequisites $(VENV)/.package $(VENV)/.extra-dev
	$(VENV)/bin/ruff check --fix-only
	$(VENV)/bin/ruff format
	$(VENV)/bin/clang-format -i $(C_FORMATTED)

.PHONY: bench
bench: prerequisites
	@$(PARALLEL) $(VENV)/.package $(VENV)/.extra-demo,test examples benches
	@$(PARALLEL) $(VENV)/.peers
	@$(PY) bench/run.py

# By clang where it is; nothing is suppressed. The thread sanitizer does not model the one fence, which orders a publication and a look at who
# sleeps, not data; gcc warns of that.
SAN_CC ?= $(if $(shell command -v clang 2>/dev/null),clang,$(CC))
SAN_CXX ?= $(if $(shell command -v clang++ 2>/dev/null),clang++,$(CXX))
SAN_WITH = $(PARALLEL) c-tests CC=$(SAN_CC) CXX=$(SAN_CXX)
.PHONY: san
san: prerequisites
	@$(SAN_WITH) BUILD=build/address OPTIMISE='-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all'
	@$(SAN_WITH) BUILD=build/thread OPTIMISE='-O1 -g -fno-omit-frame-pointer -fsanitize=thread -Wno-unknown-warning-option -Wno-tsan'
	@tools/run_c_tests.sh $(C_TESTS:build/%=build/address/%) $(C_TESTS:build/%=build/thread/%)

# The compiled module under Valgrind, by tests that have both sides in one process, and those of the agent's arrays and of observers: two minutes.
# VALGRIND_TESTS is for pytest.
VALGRIND_TESTS ?= tests/test_backends.py tests/test_core.py tests/test_observer.py \
    -k 'test_backends or observations or views or dtype or refers or changed or refuses or texts_graphs or rows_are'
.PHONY: valgrind
valgrind: prerequisites
	@$(PARALLEL) $(VENV)/.package $(VENV)/.extra-test library examples
	@tools/valgrind.sh $(PY) $(BUILD)/valgrind.log $(VALGRIND_TESTS)

# By gcc's count, of what runs on Linux.
COVERAGE_PERCENT := 95
.PHONY: coverage
coverage: prerequisites
	@mkdir -p build/coverage && find build/coverage -name '*.gcda' -delete
	@$(PARALLEL) c-tests BUILD=build/coverage CC=gcc CXX=g++ OPTIMISE='-O0 -g --coverage -DFERRY_COVERAGE'
	@tools/run_c_tests.sh $(C_TESTS:build/%=build/coverage/%)
	@$(PYTHON) tools/coverage.py build/coverage --least $(COVERAGE_PERCENT) $(if $(MISSING),--missing)

.PHONY: build
build: prerequisites
	@$(PARALLEL) $(VENV)/.package library examples benches

.PHONY: wheel
wheel: prerequisites $(VENV)/.made
	rm -rf dist
	$(PY) -m pip install --quiet 'build>=1.2'
	$(PY) -m build

.PHONY: clean
clean:
	rm -rf build dist $(VENV) $(CLIENTS) $(GYMNASIUM) *.egg-info .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f ferry/_core*.so
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: prerequisites
prerequisites:
	@tools/prerequisites.sh

# ---- C -------------------------------------------------------------------------------------------------------------------------

.PHONY: library examples benches c-tests c-checks
library: $(BUILD)/libferry.a $(BUILD)/libferry.so $(if $(filter Linux,$(SYSTEM)),$(BUILD)/launcher)
examples: $(EXAMPLES)
benches: $(BENCHES)
c-tests: $(C_TESTS)

$(BUILD)/libferry.o: $(CSRC) $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fPIC -c -o $@ csrc/libferry.c

$(BUILD)/libferry.a: $(BUILD)/libferry.o
	$(AR) rcs $@ $<

$(BUILD)/libferry.so: $(BUILD)/libferry.o
	$(CC) $(ALL_CFLAGS) -shared $(NAMED) -o $@ $< $(LDFLAGS)

$(BUILD)/launcher: ferry/launcher.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -D_GNU_SOURCE -o $@ $< $(LDFLAGS)

$(BUILD)/examples/%: examples/c/%.c $(BUILD)/libferry.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $< $(BUILD)/libferry.a $(LDFLAGS) -lm -pthread

$(BUILD)/bench/%: bench/c/%.c $(wildcard bench/c/*.h) $(BUILD)/libferry.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $< $(BUILD)/libferry.a $(LDFLAGS) -lm -pthread

$(BUILD)/bench/inprocess.so: bench/c/inprocess.c bench/c/work.h examples/c/pole.c $(BUILD)/libferry.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fPIC -shared -o $@ $< $(BUILD)/libferry.a $(LDFLAGS) -lm

TEST_CFLAGS := -D_GNU_SOURCE -Icsrc
$(BUILD)/tests/%: tests/c/%.c $(wildcard tests/c/*.h) $(BUILD)/libferry.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(TEST_CFLAGS) -o $@ $< $(BUILD)/libferry.a $(LDFLAGS) -lm -pthread

FAKE_LDFLAGS := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free
$(BUILD)/tests/test_fake_%: tests/c/test_fake_%.c tests/c/fake_platform.c $(wildcard tests/c/*.h) $(CSRC) $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(TEST_CFLAGS) -o $@ $< tests/c/fake_platform.c $(PORTABLE) $(FAKE_LDFLAGS) $(LDFLAGS) -lm -pthread

# They are between the library and its platform.
$(BUILD)/tests/test_fake_moments: private LDFLAGS += -Wl,--wrap=ferry__platform_poll,--wrap=ferry__platform_sleep
$(BUILD)/tests/test_fake_wakeups: private LDFLAGS += -Wl,--wrap=ferry__platform_sleep

# It loads and unloads the shared library too.
$(BUILD)/tests/test_reopen: $(BUILD)/libferry.so
$(BUILD)/tests/test_reopen: private LDFLAGS += -ldl

# Each file alone, as C99 and as C++17, by each compiler that is here; and the public header as C99 and C++11.
COMPILERS ?= gcc clang
CHECK_CFLAGS := -O2 -Wall -Wextra -Wpedantic -Werror -Iinclude
define check # compiler, language, standard of the sources, standard of the header
c-checks: $(patsubst csrc/%.c,$(BUILD)/check/$(1)-$(3)/%.o,$(CSRC)) $(BUILD)/check/$(1)-$(4)/libferry.h.o
$(BUILD)/check/$(1)-$(3)/%.o: csrc/%.c $(CSRC) $(HEADERS)
	@mkdir -p $$(@D)
	@$(1) -x $(2) -std=$(3) $(CHECK_CFLAGS) -c -o $$@ $$<
$(BUILD)/check/$(1)-$(4)/libferry.h.o: include/libferry.h
	@mkdir -p $$(@D)
	@echo '#include <libferry.h>' | $(1) -x $(2) -std=$(4) $(CHECK_CFLAGS) -c -o $$@ -

endef
ifneq ($(filter c-checks,$(MAKECMDGOALS)),)
compiles = $(shell echo | $(1) -x $(2) -fsyntax-only - 2>/dev/null && echo yes)
$(foreach compiler,$(COMPILERS),\
    $(if $(call compiles,$(compiler),c),$(eval $(call check,$(compiler),c,c99,c99)),$(info $(compiler) is not here: no C check with it))\
    $(if $(call compiles,$(compiler),c++),$(eval $(call check,$(compiler),c++,c++17,c++11)),$(info $(compiler) has no C++ here: no C++ check with it)))
endif

# ---- Fuzzing: tests/fuzz/README.md ------------------------------------------------------------------------------------------------

# By clang alone. The library is built twice: under the sanitizers, and to count what is reached. Noting all that is compared would take most of
# the time, and the targets see to it that the words that must be equal are.
FUZZ_CC ?= clang
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_TARGETS := $(filter-out fuzz_platform,$(FUZZ_TARGETS))
FUZZ_CFLAGS := -std=c99 -O2 -g -Wall -Wextra -Werror -Iinclude
FUZZ_CHECKED := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-coverage=trace-cmp -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZ_COUNTED := -fsanitize=fuzzer-no-link -fprofile-instr-generate -fcoverage-mapping
FUZZ_OBJECTS := $(patsubst csrc/%.c,%.o,$(PORTABLE)) fuzz_platform.o

.PHONY: fuzz fuzz-checked fuzz-counted fuzz-corpus
fuzz:
	@$(PARALLEL) fuzz-checked fuzz-counted
	@tools/fuzz.sh $(BUILD)/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)
fuzz-checked: $(FUZZ_TARGETS:%=$(BUILD)/fuzz/checked/%) $(BUILD)/fuzz/checked/make_corpus
fuzz-counted: $(FUZZ_TARGETS:%=$(BUILD)/fuzz/counted/%)
fuzz-corpus: $(BUILD)/fuzz/checked/make_corpus $(VENV)/.package
	$< tests/fuzz/corpus
	$(PY) tests/fuzz/make_python_corpus.py tests/fuzz/corpus

define fuzz_with # folder, flags of objects, of programs
$(BUILD)/fuzz/$(1)/%.o: csrc/%.c $(HEADERS)
	@mkdir -p $$(@D)
	$(FUZZ_CC) $(FUZZ_CFLAGS) $(2) -c -o $$@ $$<
$(BUILD)/fuzz/$(1)/%.o: tests/fuzz/%.c tests/fuzz/fuzz.h $(HEADERS)
	@mkdir -p $$(@D)
	$(FUZZ_CC) $(FUZZ_CFLAGS) $(2) -c -o $$@ $$<
$(FUZZ_TARGETS:%=$(BUILD)/fuzz/$(1)/%): $(BUILD)/fuzz/$(1)/%: $(BUILD)/fuzz/$(1)/%.o $(FUZZ_OBJECTS:%=$(BUILD)/fuzz/$(1)/%)
	$(FUZZ_CC) -g $(2) $(3) -o $$@ $$^
endef
$(eval $(call fuzz_with,checked,$(FUZZ_CHECKED),-fsanitize=fuzzer))
$(eval $(call fuzz_with,counted,$(FUZZ_COUNTED),-fsanitize=fuzzer))
$(BUILD)/fuzz/checked/make_corpus: $(BUILD)/fuzz/checked/make_corpus.o $(FUZZ_OBJECTS:%=$(BUILD)/fuzz/checked/%)
	$(FUZZ_CC) -g -fsanitize=address,undefined -o $@ $^

# What of Python reads foreign bytes, by Atheris, which has its own clang in it.
FUZZ_PYTHON_TARGETS := $(patsubst tests/fuzz/%.py,%,$(wildcard tests/fuzz/fuzz_*.py))
.PHONY: fuzz-python
fuzz-python: prerequisites
	@$(PARALLEL) $(VENV)/.package $(VENV)/.extra-fuzz
	@tools/fuzz_python.sh $(PY) $(BUILD)/fuzz $(FUZZ_SECONDS) $(FUZZ_PYTHON_TARGETS)

# ---- Faults on purpose ------------------------------------------------------------------------------------------------------------

# The same program twice: with the library as it is, to kill at random instants, and with one that calls at every function's beginning and end.
# Addresses are the same in each process, and nm's.
# CAMPAIGN_POINTS=200 makes one attempt in 200.
CAMPAIGN_KILLS ?= 10000
CAMPAIGN_SEED ?= 1
CAMPAIGN_POINTS ?= 1
SOAK_SECONDS ?= 1800
CAMPAIGN := $(BUILD)/campaign/campaign $(BUILD)/campaign/campaign_points
.PHONY: campaign soak campaign-programs
campaign: prerequisites
	@$(PARALLEL) $(VENV)/.package campaign-programs
	@TMPDIR=$$(mktemp -d /tmp/ferry-XXXXXX) && export TMPDIR && trap 'rm -rf "$$TMPDIR"' EXIT && trap 'exit 130' INT TERM && \
	    $(BUILD)/campaign/campaign --kills $(CAMPAIGN_KILLS) --seed $(CAMPAIGN_SEED) && \
	    $(BUILD)/campaign/campaign_points --points $(CAMPAIGN_POINTS) --seed $(CAMPAIGN_SEED) && \
	    $(PY) bench/death.py --times 50
soak: prerequisites
	@$(PARALLEL) $(VENV)/.package $(VENV)/.extra-test campaign-programs
	@$(PY) tests/campaign/soak.py --seconds $(SOAK_SECONDS)
campaign-programs: $(CAMPAIGN) $(BUILD)/campaign/soak_player
$(BUILD)/campaign/campaign: $(BUILD)/libferry.a
$(BUILD)/campaign/campaign_points: $(BUILD)/campaign/libferry.o
$(BUILD)/campaign/campaign_points: private LDFLAGS += -no-pie
$(BUILD)/campaign/soak_player: $(BUILD)/libferry.a tests/campaign/soak_player.c
$(CAMPAIGN): tests/campaign/campaign.c tests/campaign/points.c
$(CAMPAIGN) $(BUILD)/campaign/soak_player: tests/campaign/game.c $(wildcard tests/campaign/*.h) tests/c/check.h
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -D_GNU_SOURCE -o $@ $(filter %.c,$^) $(filter %.a %.o,$^) $(LDFLAGS)
$(BUILD)/campaign/libferry.o: $(CSRC) $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fno-pie -finstrument-functions -c -o $@ csrc/libferry.c

# ---- C++: libferry.hpp, with its example and test ---------------------------------------------------------------------------------

# Built where there is a C++ compiler. Without contraction, so that the pole here equals the one in C on every processor.
ALL_CXXFLAGS := -std=c++17 $(OPTIMISE) -Wall -Wextra -Wpedantic $(WERROR) -fno-exceptions -fno-rtti -ffp-contract=off -fvisibility=hidden \
    -Iinclude $(CXXFLAGS)
C_FORMATTED += $(wildcard include/*.hpp examples/cpp/*.cpp tests/cpp/*.cpp tests/interop/*/*.cpp)
ifneq ($(shell command -v $(CXX) 2>/dev/null),)
examples: $(patsubst examples/cpp/%.cpp,$(BUILD)/examples/cpp/%,$(wildcard examples/cpp/*.cpp))
CPP_TESTS := $(patsubst tests/cpp/%.cpp,$(BUILD)/tests/cpp/%,$(wildcard tests/cpp/test_*.cpp))
C_TESTS += $(CPP_TESTS)
c-tests: $(CPP_TESTS)
endif

$(BUILD)/examples/cpp/%: examples/cpp/%.cpp include/libferry.hpp $(BUILD)/libferry.a
	@mkdir -p $(@D)
	$(CXX) $(ALL_CXXFLAGS) -o $@ $< $(BUILD)/libferry.a $(LDFLAGS)

$(BUILD)/tests/cpp/%: tests/cpp/%.cpp include/libferry.hpp tests/c/check.h $(BUILD)/libferry.a
	@mkdir -p $(@D)
	$(CXX) $(ALL_CXXFLAGS) -D_GNU_SOURCE -o $@ $< $(BUILD)/libferry.a $(LDFLAGS)

# ---- For native programs: an installation, and the library as two files --------------------------------------------------------------

PREFIX ?= /usr/local
VERSION = $(shell awk '/define FERRY_VERSION_(MAJOR|MINOR|PATCH) / {printf "%s%s", dot, $$3; dot = "."}' include/libferry.h)
INSTALLED := $(BUILD)/libferry.a $(BUILD)/libferry.so $(wildcard include/* packaging/*)

# Like the part of a Python package that C and C++ programs build with; the places in it are relative, so that it can be moved.
define install_to # folder
	@install -d -m 755 '$(1)/include' '$(1)/lib' '$(1)/lib/cmake' '$(1)/lib/cmake/ferry' '$(1)/lib/pkgconfig'
	@install -m 644 include/libferry.h include/libferry.hpp '$(1)/include'
	@install -m 644 $(BUILD)/libferry.a '$(1)/lib'
	@install -m 755 $(BUILD)/libferry.so '$(1)/lib'
	@install -m 644 packaging/*.cmake '$(1)/lib/cmake/ferry'
	@sed 's/@VERSION@/$(VERSION)/' packaging/ferry.pc.in > '$(1)/lib/pkgconfig/ferry.pc' && chmod 644 '$(1)/lib/pkgconfig/ferry.pc'
endef

.PHONY: install
install: $(INSTALLED)
	$(call install_to,$(DESTDIR)$(PREFIX))

# The same for who builds with a checkout.
library: $(BUILD)/prefix/lib/pkgconfig/ferry.pc
$(BUILD)/prefix/lib/pkgconfig/ferry.pc: $(INSTALLED)
	$(call install_to,$(BUILD)/prefix)

AMALGAMATION := $(BUILD)/amalgamation

.PHONY: amalgamation
amalgamation: $(AMALGAMATION)/libferry.c

$(AMALGAMATION)/libferry.c: tools/amalgamate.py LICENSE $(CSRC) $(HEADERS)
	@$(PYTHON) tools/amalgamate.py $(@D)

# ---- Python ----------------------------------------------------------------------------------------------------------------------

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet 'setuptools>=77' 'cython>=3.1' 'numpy>=2.0'
	@touch $@

$(VENV)/.torch: $(VENV)/.made
	$(PY) -m pip install --quiet $(TORCH)
	@touch $@

# The package in place, its extension compiled, and what it needs at run time.
$(VENV)/.package: $(VENV)/.made pyproject.toml setup.py $(wildcard ferry/*.pyx ferry/*.pxd ferry/*.pxi) $(CSRC) $(HEADERS)
	$(PY) -m pip install --quiet --no-build-isolation --editable .
	@touch $@

# What is measured beside Ferry; one that does not install here is skipped.
PEERS := envpool pyzmq rlay
$(VENV)/.peers: | $(VENV)/.package
	@for peer in $(PEERS); do $(PY) -m pip install --quiet $$peer || echo "$$peer does not install here, and will be skipped"; done
	@touch $@

# The extras of pyproject.toml: demo, test, clients, gymnasium, dev, with commas between several.
$(VENV)/.extra-%: pyproject.toml | $(VENV)/.package
	$(PY) -m pip install --quiet 'ferry-fast[$*]'
	@touch $@
