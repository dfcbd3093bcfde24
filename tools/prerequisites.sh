#!/bin/sh
# Names everything that the build needs and this machine lacks, with the Debian package that brings it. Silent when all is there.
# PYTHON and CC choose others than python3 and cc.
python=${PYTHON:-python3}
cc=${CC:-cc}
missing= packages=

lacks() {
    missing="$missing
  - $1 (Debian package: $2)"
    packages="$packages $2"
}

if ! found=$("$python" -c 'import platform; print(platform.python_version())' 2>/dev/null); then
    lacks "$python, 3.10 or newer" python3
    lacks "Python's venv module" python3-venv
    lacks "Python.h, the headers of $python" python3-dev
elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    lacks "$python, 3.10 or newer: here it is $found; set PYTHON to a newer one, or install it" python3
else
    "$python" -c 'import ensurepip, venv' 2>/dev/null || lacks "Python's venv module" python3-venv
    "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
        lacks "Python.h, the headers of $python" python3-dev
fi
if ! command -v "$cc" >/dev/null; then
    lacks "a C compiler ($cc)" gcc
    lacks "the headers of the C library" libc6-dev
elif ! echo '#include <stdio.h>' | "$cc" -E - >/dev/null 2>&1; then
    lacks "the headers of the C library" libc6-dev
fi
command -v make >/dev/null || lacks make make

if [ -n "$missing" ]; then
    printf 'Ferry cannot be built here yet. Missing:%s\nOn Debian and Ubuntu: apt-get install%s\n' "$missing" "$packages" >&2
    exit 1
fi
