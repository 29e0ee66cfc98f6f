#!/usr/bin/env bash
# Makes an Apptainer that runs from a folder on Debian bookworm, without installing anything:
#
#   apptainer.sh DIR     prints where the program is, and its version
#
# It is Debian sid's package, with the C library of trixie that it needs. It runs as an ordinary user; `mksquashfs` (squashfs-tools) and
# `newuidmap` (uidmap) are looked for on the machine. 90 MB, about ten seconds.
set -euo pipefail
mkdir -p "$1"
dir=$(readlink -f "$1")
cd "$dir"
mkdir -p apt/{lists/partial,archives/partial} deb app lib
# The mirror that this machine uses already.
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources | head -n 1)
printf 'deb %s trixie main\ndeb %s sid main\n' "$mirror" "$mirror" >apt/sources.list
: >apt/status
apt=(apt-get -qq -o Dir::Etc::sourcelist="$dir/apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$dir/apt/lists"
  -o Dir::Cache::archives="$dir/apt/archives" -o Dir::State::status="$dir/apt/status" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
  -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
[ "$(id -u)" != 0 ] || apt+=(-o APT::Sandbox::User=root)
"${apt[@]}" update
(cd deb && "${apt[@]}" download apptainer libc6/trixie libseccomp2/trixie libsqlite3-0/trixie patchelf/trixie)
dpkg-deb -x deb/apptainer_*.deb app
for package in deb/{libc6,libseccomp2,libsqlite3-0,patchelf}_*.deb; do dpkg-deb -x "$package" lib; done
# Its programs find their own C library, by the linker of that library.
libraries=$(dirname "$(find "$dir/lib/usr/lib" -name 'ld-linux-*.so.*' | head -n 1)")
linker=$(find "$libraries" -name 'ld-linux-*.so.*' | head -n 1)
arch=${libraries##*/}
for program in app/usr/bin/apptainer "app/usr/lib/$arch/apptainer/bin/starter"; do
  "$linker" --library-path "$libraries:/usr/lib/$arch" lib/usr/bin/patchelf \
    --set-interpreter "$linker" --force-rpath --set-rpath "$libraries" "$program"
done
# The package takes itself to be moved to .../usr, its starter to .../usr/lib: both find their configuration and their session's folder.
mkdir -p app/var/lib/apptainer/mnt/session app/usr/lib/lib
ln -sfn ../etc app/usr/etc
ln -sfn ../var app/usr/var
ln -sfn ../../etc app/usr/lib/etc
ln -sfn ../../var app/usr/lib/var
ln -sfn "../$arch" "app/usr/lib/lib/$arch"
rm -rf apt deb
echo "$dir/app/usr/bin/apptainer"
"$dir/app/usr/bin/apptainer" --version
