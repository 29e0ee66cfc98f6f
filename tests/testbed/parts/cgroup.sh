# shellcheck shell=bash
# Control groups for Slurm's nodes, whose limits the kernel holds: of version 1, which the machine's root alone can make.

CGROUP_KINDS="memory freezer"

# Slurm gives groups to root: a node has one besides alice, who is the machine's.
NODE_USERS=$'0 1 1\n1000 0 1'

# Makes a group for every node in each hierarchy, and becomes the command. The bed's own end takes them with it: everything in it holds
# a pipe's other end, and whoever waits at this one removes them then.
_with_cgroup() {
  local name=csync-bed-$$ kind node
  [ "$(id -u)" = 0 ] || die "cgroup: this needs root"
  for kind in $CGROUP_KINDS; do
    for node in n1 n2 n3; do mkdir -p "/sys/fs/cgroup/$kind/$name/$node" || die "cgroup: no control groups of version 1"; done
  done
  echo "$name" >"$D/cgroup"
  # shellcheck disable=SC2016
  exec 6> >(exec setsid bash -c '
    read -r _
    for ((k = 0; k < 500; k++)); do
      find "$@" -depth -type d -exec rmdir {} \; 2>/dev/null
      ls -d "$@" >/dev/null 2>&1 || break
      sleep 0.02
    done' cgroup $(printf "/sys/fs/cgroup/%s/$name " $CGROUP_KINDS) >/dev/null 2>&1)
  exec "$@"
}

# Whether a host has control groups of its own; also where its own files have come over D.
has_cgroup() { [ -e "$D/cgroup" -o -e /run/bed/cgroup ] && case $1 in n?) true ;; *) false ;; esac; }

# Puts this very shell, and what it starts, into a host's groups.
join_cgroup() {
  local kind name
  read -r name <"$D/cgroup"
  for kind in $CGROUP_KINDS; do echo 0 >"/sys/fs/cgroup/$kind/$name/$1/cgroup.procs" || die "$1: no control group"; done
}

# As alice, since the kernel lets nobody but the machine's root put another's process into a group; with the right to give groups away.
start_slurmd_with_groups() (
  local pid
  read -r _ pid <"$D/h/$1/pid"
  join_cgroup "$1"
  nsenter -S 0 -G 0 -t "$pid" -U -C -n -u -m -p -- setpriv --reuid 1000 --regid 1000 --clear-groups \
    --inh-caps +chown,+dac_override --ambient-caps +chown,+dac_override \
    env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin HOME=$HOMES/alice USER=alice LOGNAME=alice LANG=C.UTF-8 TZ=UTC slurmd
)

prepare_cgroup() {
  mkdir -p "$D/slurm/etc"
  cat >"$D/slurm/etc/cgroup.conf" <<C
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=yes
C
}

start_cgroup() { :; }
