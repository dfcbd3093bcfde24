#!/bin/sh
# Puts the tests of the Gymnasium release that a Python has into a folder, and prints its name: gymnasium_tests.sh PYTHON FOLDER [CHECKOUT]
# Gymnasium's sdist lacks them, so that they are cloned by the release's tag, or copied from a checkout of that tag. The folder gets no package
# gymnasium beside the tests: they are to find the one that is installed.
set -eu
version=$("$1" -c 'import importlib.metadata as m; print(m.version("gymnasium"))')
folder=$2/gymnasium-$version
if [ ! -d "$folder/tests/vector" ]; then
    rm -rf "$folder" "$folder.new"
    if [ -n "${3:-}" ]; then
        mkdir -p "$folder.new"
        cp -R "$3/tests" "$3/pyproject.toml" "$folder.new"
    else
        git -c advice.detachedHead=false clone --quiet --depth 1 --filter=blob:none --sparse --branch "v$version" \
            https://github.com/Farama-Foundation/Gymnasium "$folder.new" >&2 || {
            echo "Without a network, set GYMNASIUM_SOURCE to a checkout of Gymnasium's tag v$version." >&2
            exit 1
        }
        git -C "$folder.new" sparse-checkout set tests >&2
    fi
    mv "$folder.new" "$folder"
fi
echo "$folder"
