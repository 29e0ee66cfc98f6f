# shellcheck shell=bash
# What can go wrong, on purpose.

_cut() { ip link set "v-$1" down; }

_heal() { ip link set "v-$1" up; }

_delay() { wire "$1" "$2" "$(cat "$D/h/$1/loss" 2>/dev/null || echo 0)"; }

_loss() { wire "$1" "$(cat "$D/h/$1/delay" 2>/dev/null || echo 0)" "$2"; }

# Puts a program into a host's cable that holds every frame back for half of MS and loses PERCENT of them; with 0 and 0 it is
# taken out again. Connections live on.
wire() {
  local host=$1 ms=$2 percent=$3 bridge=${ADDRESS[$1]%:*} pid
  case $ms$percent in *[!0-9.]*) die "delay and loss are numbers" ;; esac
  if pid=$(cat "$D/h/$host/wire.pid" 2>/dev/null); then
    kill -9 "$pid" 2>/dev/null
    rm -f "$D/h/$host/wire.pid"
    ip link del "x-$host" 2>/dev/null
  fi
  echo "$ms" >"$D/h/$host/delay"
  echo "$percent" >"$D/h/$host/loss"
  if [ "$ms" = 0 ] && [ "$percent" = 0 ]; then
    ip link set "v-$host" master "$bridge"
    return
  fi
  ip link set "v-$host" nomaster
  ip -batch - <<C || die "the cable of $host"
link add x-$host type veth peer name y-$host
link set x-$host up
link set y-$host master $bridge up
C
  rm -f "$D/h/$host/wire.ready"
  mkfifo "$D/h/$host/wire.ready"
  setsid python3 "$HERE/wire.py" "v-$host" "x-$host" "$ms" "$percent" >"$D/h/$host/wire.ready" 2>"$D/h/$host/wire.log" </dev/null &
  echo $! >"$D/h/$host/wire.pid"
  read -r _ <"$D/h/$host/wire.ready" || die "wire.py: $(cat "$D/h/$host/wire.log")"
}

# Which host a part runs on, and the name of its processes.
where_is() {
  case $1 in
    sshd-*) echo "${1#*-} sshd" ;;
    slurmd-*) echo "${1#*-} slurmd" ;;
    munged-*) echo "${1#*-} munged" ;;
    slurmctld | slurmdbd) echo "login $1" ;;
    qmaster) echo "grid sge_qmaster" ;;
    execd) echo "gridx sge_execd" ;;
    pbs) if is_openpbs; then echo "pbs pbs_server.bin"; else echo "pbs pbs_server"; fi ;;
    mom) echo "pbs pbs_mom" ;;
    mom-*) echo "${1#*-} pbs_mom" ;;
    *) die "no part is called $1" ;;
  esac
}

is_openpbs() { [ -d "$D/pbs/layer" ]; }

# Runs a command on a host as whoever the daemons there belong to.
as_owner() { if has_openpbs "$1"; then root_on "$@"; else on "$@"; fi; }

signal_part() {
  local host name
  read -r host name <<<"$(where_is "$2")"
  [ -n "$host" ] || exit 1
  as_owner "$host" pkill "-$1" -x "$name" || die "$2 does not run"
}

# What an administrator says to OpenPBS.
_manage() { root_on_pbs qmgr -c "$*" || die "qmgr: $*"; }

_freeze() { signal_part STOP "$1"; }

_thaw() { signal_part CONT "$1"; }

# A batch system ends in order, and writes down what it knows; `crash` is for the other way. sshd ends with all its sessions, and an
# execution daemon of OpenPBS as one whose node is lost.
_stop-part() {
  local host name
  read -r host name <<<"$(where_is "$1")"
  case $name in sshd | pbs_mom) signal_part KILL "$1" ;; *) signal_part TERM "$1" ;; esac
  while on "$host" pgrep -x "$name" >/dev/null; do pause 0.01; done
}

_start-part() {
  local host name
  read -r host name <<<"$(where_is "$1")"
  case $name in
    sshd) start_sshd "$host" ;;
    slurmd) start_slurmd "$host" ;;
    munged) start_munged "$host" ;;
    # Its state is what it is started for again: -R would take the nodes' too, from the configuration they are new.
    slurmctld) start_slurmctld -i ;;
    slurmdbd) start_slurmdbd ;;
    sge_qmaster) start_qmaster ;;
    sge_execd) start_execd ;;
    pbs_server) start_pbs_server ;;
    pbs_server.bin) start_openpbs_server ;;
    pbs_mom) start_pbs_mom "$host" ;;
  esac
}

# The host's first process takes all others with it, and its network too.
_crash() {
  local pid
  read -r _ pid <"$D/h/$1/pid" || die "no host $1"
  kill -9 "$pid"
  while [ -e "/proc/$pid" ]; do pause 0.01; done
  rm -f "$D/h/$1/pid"
  while [ -e "/sys/class/net/v-$1" ]; do pause 0.01; done
}

_boot() {
  [ ! -e "$D/h/$1/pid" ] || die "$1 is up"
  boot_hosts "$1"
  start_sshd "$1"
  case $1 in
    login) start_slurmctld -i ;;
    n?) start_slurmd "$1" ;;
    grid) start_qmaster ;;
    gridx) start_execd ;;
    pbs) is_openpbs || start_pbs_server ;;
    px?) start_pbs_mom "$1" ;;
  esac
}
