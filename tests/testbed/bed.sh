#!/usr/bin/env bash
# A small computing center on one machine, as an ordinary user: real sshd, Slurm and Grid Engine in one user namespace.
#
#   bed.sh up [--tied|--shared] DIR [PART...]   brings it up; PARTs: slurm db munge cgroup sge pbs openpbs moms quota
#                                          (default: slurm sge pbs); db adds slurmdbd to slurm, munge authentication; cgroup, for
#                                          root alone, control groups that hold its nodes' limits (task/cgroup); quota, for root alone,
#                                          a file system with a quota, /mnt/quota on every host; openpbs,
#                                          for root alone, a real one in the place of pbs; moms adds two more nodes to it
#   bed.sh run [--home HOME] DIR HOST CMD...   runs a command on a host, as the user alice; on the laptop with another home
#   bed.sh cut|heal DIR HOST           takes a host's cable out, puts it back
#   bed.sh delay DIR HOST MS           lengthens the round trip to a host (0: no longer)
#   bed.sh loss DIR HOST PERCENT       loses that share of the packets from and to a host (0: none)
#   bed.sh stop-part|start-part DIR NAME   ends and starts what NAME stands for: sshd-HOST, slurmctld, slurmdbd, slurmd-n1,
#                                          munged-HOST, qmaster, execd, pbs, mom (of pbs), mom-HOST
#   bed.sh freeze|thaw DIR NAME        stops it without ending it, and lets it go on
#   bed.sh manage DIR WORD...          says this to OpenPBS's qmgr
#   bed.sh crash|boot DIR HOST         takes the power off a host, switches it on again
#   bed.sh logins DIR HOST             counts the SSH connections that a host has had from other hosts
#   bed.sh down DIR                    ends it
#
#   laptop ---+--- gate ---+--- inner ---+--- login login2      Slurm: `login2` has its commands outside the plain PATH
#    (lan)    |    (dmz)   |    (hpc)    +--- n1 n2 n3
#             +--- station +--- grid gridx                      Grid Engine: master, execution host
#                          +--- pbs                             a stand-in for PBS, or OpenPBS, outside the plain PATH
#                          +--- px1 px2                         more nodes of OpenPBS
#
# Every host has its own network, hostname, processes, /home, /tmp, /run and /mnt/scratch, and an OpenSSH sshd on port 22. There
# are no routes: whoever is not on a host's own network is reached through the jump hosts or not at all. The laptop alone sees the
# machine's own files, so that the program under test is there; its home is DIR/laptop.
#
# The accounts differ in what their shells do: alice (bash, nothing special), noisy (.bashrc prints), quitter (.bashrc exits),
# slow (.bashrc takes a second), tcsher, fisher (login shells, where installed), coder (a one-time code, on port 2222), both (a
# key and then a code, likewise), certed (a certificate alone). They are one user of this machine.
#
# Nothing is written outside DIR. All of it hangs on one process, the first of its process namespace: when that ends, by `down` or
# in any other way, everything ends with it. With --tied it ends as soon as the standard input of `up` does: whoever holds the
# other end of that pipe cannot die without the bed. With --shared it ends some seconds after the last lock (flock, shared) on
# DIR/users is gone: whoever dies lets go of a lock.
set -u
PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ME=$(readlink -f "${BASH_SOURCE[0]}")
HERE=${ME%/*}
HOMES=/home

die() {
  echo "bed.sh: $*" >&2
  exit 1
}

usage() { sed -n '2,/^#$/{/^#$/!p;};/^#   bed.sh/p' "$ME" | sed 's/^# \{0,1\}//' | awk '!seen[$0]++'; }

# Waits until a command succeeds; fails after 30 s and says what did not come.
wait_for() {
  local what=$1 k
  shift
  for ((k = 0; k < 1500; k++)); do
    "$@" >/dev/null 2>&1 && return 0
    pause 0.02
  done
  die "$what did not come in time (logs: $D)"
}

# Sleeps without a process of its own.
pause() { read -r -t "$1" _ <>"$D/never" || true; }

alive() {
  local pid start stat
  read -r pid start 2>/dev/null <"$D/pid" || return 1
  read -r -a stat 2>/dev/null <"/proc/$pid/stat" && [ "${stat[21]}" = "$start" ]
}

# Runs this script's own command inside the bed, as its root.
inside() {
  local pid
  alive || die "no bed is up in $D"
  read -r pid _ <"$D/pid"
  exec nsenter --preserve-credentials -t "$pid" -U -n -m -p -- bash "$ME" "_$1" "$D" "${@:2}"
}

# Becomes a command in a user namespace with several users, by a map of lines `number there, number here, count`. A part that stays
# behind writes it down, and needs the right to.
with_users() {
  local map=$1 pid=$BASHPID old
  shift
  old=$(readlink /proc/self/ns/user)
  {
    until [ "$(readlink "/proc/$pid/ns/user")" != "$old" ]; do pause 0.01; done
    # In one write each.
    cat <<<"$map" >"/proc/$pid/uid_map" && cat <<<"$map" >"/proc/$pid/gid_map" || kill -9 "$pid"
  } &
  # shellcheck disable=SC2016
  exec unshare -U -- bash -c 'until read -r _ </proc/self/gid_map; do :; done; exec "$@"' /dev/null "$@"
}

# For a bed whose hosts have more users than one.
_with_users() { with_users "0 $(id -u) 1"$'\n1 100001 65535' "$@"; }

up() {
  local life=--free begin=${EPOCHREALTIME/./} as_root=() users=(unshare -U --map-root-user)
  case $1 in --*) life=$1 && shift ;; esac
  D=$1
  shift
  [ $# -gt 0 ] || set -- slurm sge pbs
  mkdir -p "$D" && D=$(readlink -f "$D") || exit 1
  ! alive || die "a bed is up in $D already"
  rm -rf "$D"/{etc,h,hidden,homes,laptop,pbs,scratch,sge,slurm} "$D"/{news,never,ready,pid} || exit 1
  mkfifo "$D/news" "$D/never" || exit 1
  # What root alone may do comes before there is a user namespace.
  case " $* " in *" quota "*) as_root+=(unshare -m -- bash "$ME" _with_quota "$D") ;; esac
  case " $* " in *" cgroup "*) as_root+=(bash "$ME" _with_cgroup "$D") ;; esac
  # Its own session: what a terminal sends to `up` does not reach the bed. Untied, its input never ends.
  if [ "$life" = --tied ]; then exec 3<&0; else exec 3<>"$D/never"; fi
  case " $* " in *" openpbs "* | *" cgroup "*) users=(bash "$ME" _with_users "$D" unshare) ;; esac
  exec setsid "${as_root[@]}" "${users[@]}" -m -n -p -f -- bash "$ME" _init "$D" "$life" "$@" <&3 >"$D/up.log" 2>&1 4>"$D/news" &
  exec 3<&-
  # A line comes when all is up; an end when there is nobody left who could write one.
  read -r _ <"$D/news"
  [ -e "$D/ready" ] || { cat "$D/up.log" >&2; die "the bed did not come up: $D/up.log"; }
  printf 'ready in %d ms\n' $(((${EPOCHREALTIME/./} - begin) / 1000))
}

down() {
  local pid
  alive || return 0
  read -r pid _ <"$D/pid"
  kill -9 "$pid"
  while [ -e "/proc/$pid" ]; do pause 0.01; done
  rm -f "$D/pid" "$D/ready"
}

# Enters the bed's user namespace first, for the right to enter the host's others, and becomes alice last of all. The command dies
# with the process that this one becomes, its parent.
run() {
  local other= host home=$HOMES/alice where=$HOMES/alice pid far
  [ "$1" != --home ] || { other=$2 && shift 2; }
  D=$(readlink -f "$1") host=$2
  shift 2
  alive || die "no bed is up in $D"
  read -r pid _ <"$D/pid"
  read -r far _ 2>/dev/null <"$D/h/$host/pid" || die "no host $host in $D"
  [ "$host" != laptop ] || { home=${other:-$D/laptop} where=$PWD; }
  set -- setpriv --pdeathsig KILL \
    env -i -C "$where" PATH=/usr/local/bin:/usr/bin:/bin HOME="$home" USER=alice LOGNAME=alice LANG=C.UTF-8 TZ=UTC "$@"
  if [ -z "$other" ]; then
    set -- nsenter --preserve-credentials -t "$far" -U -n -u -m -p -- "$@"
  else
    # ssh believes in no HOME, but in the table of accounts.
    # Whole at once: others on the laptop are reading it.
    sed "s#:$D/laptop:#:$other:#" "$D/etc/passwd.laptop" >"$other/.passwd.$$" && mv "$other/.passwd.$$" "$other/.passwd"
    set -- nsenter --preserve-credentials -t "$far" -n -u -m -p -- unshare -m -- bash -c '
      mount -n --bind "$0" /etc/passwd && exec nsenter --preserve-credentials -t 1 -U -- "$@"' "$other/.passwd" "$@"
  fi
  exec nsenter --preserve-credentials -t "$pid" -U -- "$@"
}

logins() {
  local n
  n=$(grep -c '^Connection from 10\.' "$D/h/$1/sshd.log")
  echo "${n:-0}"
}

[ $# -ge 2 ] || { usage >&2 && exit 2; }
command=$1
shift
case $command in
  up | run) "$command" "$@" ;;
  down | logins)
    D=$(readlink -f "$1")
    shift
    "$command" "$@"
    ;;
  cut | heal | delay | loss | stop-part | start-part | freeze | thaw | manage | crash | boot)
    D=$(readlink -f "$1")
    shift
    inside "$command" "$@"
    ;;
  _*)
    D=$1
    shift
    for part in "$HERE"/parts/*.sh; do
      # shellcheck source=/dev/null
      . "$part"
    done
    "$command" "$@"
    ;;
  *) usage >&2 && exit 2 ;;
esac
