#!/usr/bin/env bash
# Builds an OpenPBS for the test bed, without installing anything on the machine:
#
#   openpbs.sh SOURCE DIR     SOURCE: an unpacked source tree (it is copied), or a git directory of it; DIR: what is made
#   openpbs.sh packages       prints the Debian packages that this needs
#
# A host of the bed sees DIR/opt/pbs as its /opt/pbs. Some three minutes on two cores.
set -euo pipefail
# Other compilers and Pythons of the machine stay out of it.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
if [ "${1:-}" = packages ]; then
  echo gcc g++ make libtool autoconf automake pkg-config perl swig libhwloc-dev libedit-dev libical-dev libncurses-dev libx11-dev \
    libxt-dev libxext-dev libxft-dev libexpat1-dev libssl-dev libcjson-dev zlib1g-dev postgresql postgresql-contrib \
    postgresql-server-dev-all python3-dev tcl-dev tk-dev
  exit 0
fi
[ $# = 2 ] || { sed -n '2,/^#   openpbs.sh packages/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
source=$(readlink -f "$1")
mkdir -p "$2"
dir=$(readlink -f "$2")
work=$(mktemp -d "$dir/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
if [ -e "$source/HEAD" ]; then
  git --git-dir="$source" archive HEAD | tar -x -C "$work"
else
  cp -a "$source/." "$work"
fi
cd "$work"
# All of its files would have to be of root's and below directories of root's: the bed's are not.
{
  ./autogen.sh
  ./configure --prefix=/opt/pbs --with-pbs-conf-file=/opt/pbs/etc/pbs.conf --with-pbs-server-home=/opt/pbs/home \
    --disable-security PYTHON=/usr/bin/python3 CFLAGS='-O1' CXXFLAGS='-O1'
  make -j"$(nproc)"
  make install DESTDIR="$work/made"
} >"$dir/build.log" 2>&1 || { tail -n 5 "$dir/build.log" >&2; echo "openpbs.sh: it could not be built: $dir/build.log" >&2; exit 1; }
rm -rf "$dir/opt"
mv "$work/made/opt" "$dir/opt"
LD_LIBRARY_PATH=$dir/opt/pbs/lib "$dir/opt/pbs/bin/qstat" --version
