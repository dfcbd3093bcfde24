#!/usr/bin/env bash
# Brings Godot 4 into a folder, as FOLDER/godot: fetch_godot.sh [FOLDER], build/godot unless said otherwise. Installs nothing.
#
# The release of the Godot project; or, where that cannot be reached but Debian's archive can, the package of Debian's testing distribution
# with all that it needs (550 MB), which runs on the C library that comes along, on any Linux of the same processor.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "${1:-build/godot}")
version=${GODOT_VERSION:-4.6-stable}
releases=${GODOT_RELEASES:-https://github.com/godotengine/godot/releases/download}
suite=${GODOT_SUITE:-testing}
machine=$(uname -m)

if [[ -x $folder/godot ]] && "$folder/godot" --version >/dev/null 2>&1; then
    echo "$folder/godot is here already"
    exit
fi
mkdir -p "$folder"
if [[ -n $(ls -A "$folder") ]]; then
    echo "fetch_godot.sh: $folder holds something, but no Godot that runs; remove it, or name another folder" >&2
    exit 1
fi

from_release() {
    local name=Godot_v${version}_linux.${machine/aarch64/arm64}
    local get=(curl --fail --silent --show-error --location --connect-timeout 10 --max-time 300)
    (
        cd "$folder"
        "${get[@]}" --remote-name "$releases/$version/$name.zip" --remote-name "$releases/$version/SHA512-SUMS.txt" || exit
        sha512sum --check --ignore-missing --status SHA512-SUMS.txt || { echo "$name.zip is not what SHA512-SUMS.txt says" >&2; exit 1; }
        python3 -m zipfile -e "$name.zip" . || exit
        mv "$name" godot && chmod +x godot
        rm "$name.zip" SHA512-SUMS.txt
    )
}

# apt gets lists, a cache and a status of its own: it knows of no installed package, and touches none.
from_debian() {
    command -v apt-get >/dev/null || { echo "there is no apt-get here" >&2; return 1; }
    local apt=$folder/apt mirror
    mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -E '^(URIs:|deb )' | grep -oE '[a-z]+://[^ ]+/debian/?' | head -n 1) ||
        mirror=http://deb.debian.org/debian
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    : >"$apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources.list"
    local get=(apt-get --quiet=2 -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$apt/lists"
        -o Dir::State::Status="$apt/status" -o Dir::Cache="$apt/cache" -o Acquire::Retries=2 -o Debug::NoLocking=1)
    timeout 120 "${get[@]}" update || return
    timeout 400 "${get[@]}" --no-install-recommends --download-only --yes install godot || return
    local package
    for package in "$apt"/cache/archives/*.deb; do dpkg-deb --extract "$package" "$folder/root" || return; done
    rm -rf "$apt"
    local loader libraries
    loader=$(find "$folder/root" -name 'ld-linux-*' | head -n 1)
    libraries=$(find "$folder/root/usr/lib/$machine-linux-gnu" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
    printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' "$loader" "$libraries" "$folder/root/usr/bin/godot" >"$folder/godot"
    chmod +x "$folder/godot"
}

if from_release || from_debian; then
    echo "$folder/godot: $("$folder/godot" --version)"
else
    rm -rf "${folder:?}"
    echo "fetch_godot.sh: neither $releases nor Debian's archive gave a Godot; set GODOT to one that you have" >&2
    exit 1
fi
