#!/usr/bin/env bash
# Brings Godot 4 into a folder, as FOLDER/godot: fetch_godot.sh [FOLDER], build/godot unless said otherwise. Installs nothing.
#
# It is Debian's own package of its testing distribution, from the archive that apt uses here, with all that it needs (550 MB): it runs on
# the C library that comes along, on any Linux of the same processor. Whoever has another Godot sets GODOT to it instead.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "${1:-build/godot}")
suite=${GODOT_SUITE:-testing}

fail() {
    echo "fetch_godot.sh: $1; set GODOT to a Godot 4 that you have" >&2
    exit 1
}

if [[ -x $folder/godot ]] && "$folder/godot" --version >/dev/null 2>&1; then
    echo "$folder/godot is here already"
    exit
fi
command -v apt-get >/dev/null || fail "there is no apt-get here"
archive=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | sed -nE 's,^(URIs:|deb ).*\b([a-z]+://[^ ]+/debian/?)( .*)?$,\2,p' | sed -n 1p) || true
[[ -n $archive ]] || fail "apt uses no archive of Debian's here"
mkdir -p "$folder"
[[ -z $(ls -A "$folder") ]] || fail "$folder holds something, but no Godot that runs; remove it, or name another folder"
trap '[[ $? -eq 0 ]] || rm -rf "${folder:?}"' EXIT

# apt gets lists, a cache and a status of its own: it knows of no installed package, and touches none.
apt=$folder/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
: >"$apt/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $suite main" >"$apt/sources.list"
get=(apt-get --quiet=2 -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$apt/lists"
    -o Dir::State::Status="$apt/status" -o Dir::Cache="$apt/cache" -o Acquire::Retries=2 -o Debug::NoLocking=1)
timeout 120 "${get[@]}" update || fail "the archive's list of packages did not come"
timeout 400 "${get[@]}" --no-install-recommends --download-only --yes install godot || fail "the archive has no Godot that can be had"
for package in "$apt"/cache/archives/*.deb; do dpkg-deb --extract "$package" "$folder/root"; done
rm -rf "$apt"

loader=$(find "$folder/root" -name 'ld-linux-*' | head -n 1)
libraries=$(find "$folder/root/usr/lib/$(uname -m)-linux-gnu" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' "$loader" "$libraries" "$folder/root/usr/bin/godot" >"$folder/godot"
chmod +x "$folder/godot"
echo "$folder/godot: $("$folder/godot" --version)"
