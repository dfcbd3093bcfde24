#!/usr/bin/env bash
# Builds the addon and puts it into projects: engines/godot/build.sh [PROJECT...]
#
# The engine (GODOT, else godot4 or godot in PATH, else build/godot/godot) is asked for its own C header. What is made lies in
# addons/ferry/bin; each PROJECT, a folder with a project.godot, gets a copy of addons/ferry, and the engine is told of it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${BUILD:-$root/build}/engine-godot

godot=${GODOT:-$(command -v godot4 || command -v godot || echo "$root/build/godot/godot")}
if ! [[ -x $godot ]]; then
    echo "build.sh: there is no Godot: set GODOT to its path, or get one by tools/fetch_godot.sh" >&2
    exit 1
fi
godot=$(realpath -s "$godot")
for project in "$@"; do
    [[ -f $project/project.godot ]] || { echo "build.sh: $project holds no project.godot" >&2; exit 1; }
done

mkdir -p "$build" "$here/addons/ferry/bin"
exec 9>"$build/lock" && flock 9 # tests may build at the same time
make -s -C "$root" library >&2
if ! [[ $build/gdextension_interface.h -nt $godot ]]; then
    (cd "$build" && timeout 60 "$godot" --headless --quit --dump-gdextension-interface >dump.log 2>&1) || { cat "$build/dump.log" >&2; exit 1; }
fi
library=$here/addons/ferry/bin/ferry_godot.$(uname -m).so
stale=
for file in "$here"/src/*.[ch] "$root/build/libferry.a" "$build/gdextension_interface.h"; do
    if [[ $file -nt $library ]]; then stale=yes; fi
done
if [[ $stale ]]; then
    ${CC:-cc} -std=c99 -O2 -g -Wall -Wextra -Werror -fPIC -fvisibility=hidden -I"$root/include" -isystem "$build" -shared \
        "$here"/src/*.c "$root/build/libferry.a" -Wl,--exclude-libs,ALL -o "$library.new"
    mv "$library.new" "$library" # never half a library under that name
fi

for project in "$@"; do
    if [[ $(realpath "$project") != "$here" ]]; then
        mkdir -p "$project/addons"
        rm -rf "$project/addons/ferry"
        cp -R "$here/addons/ferry" "$project/addons/ferry"
    fi
    # What the editor would note when it scans the project; a game that has never been opened there lacks it.
    list=$project/.godot/extension_list.cfg entry=res://addons/ferry/ferry.gdextension
    mkdir -p "$project/.godot"
    grep -qsxF "$entry" "$list" || echo "$entry" >>"$list"
done
