# shellcheck shell=bash
# The hosts: namespaces, files, cables, sshd. Sourced by bed.sh, inside the bed; D is the bed's folder.

declare -A ADDRESS=(
  [laptop]=lan:10.91.0.1 [gate]=lan:10.91.0.2 [station]=lan:10.91.0.3
  [inner]=dmz:10.92.0.2 [grid]=dmz:10.92.0.20 [gridx]=dmz:10.92.0.21 [pbs]=dmz:10.92.0.30 [px1]=dmz:10.92.0.31
  [px2]=dmz:10.92.0.32
  [login]=hpc:10.93.0.10 [login2]=hpc:10.93.0.9 [n1]=hpc:10.93.0.11 [n2]=hpc:10.93.0.12 [n3]=hpc:10.93.0.13
)
# The other foot of the jump hosts.
declare -A BEHIND=([gate]=dmz:10.92.0.1 [inner]=hpc:10.93.0.1)

SLURM_COMMANDS="sacct sacctmgr salloc sattach sbatch sbcast scancel scontrol scrontab sdiag sinfo sprio squeue sreport srun sshare sstat strigger"
SGE_COMMANDS="qacct qalter qconf qdel qhold qhost qlogin qmake_sge qmod qping qquota qrdel qresub qrls qrsh qrstat qrsub qsched qselect qsh qstat qstatus qsub qtcsh"

# Prints the hosts that some parts need.
hosts_of() {
  echo laptop gate station
  case " $* " in *" slurm "*) echo inner login login2 n1 n2 n3 ;; esac
  case " $* " in *" sge "*) echo grid gridx ;; esac
  case " $* " in *" pbs "* | *" openpbs "*) echo pbs ;; esac
  case " $* " in *" moms "*) echo px1 px2 ;; esac
}

# Whose disks a host shares: /home and /mnt/scratch.
center_of() {
  case $1 in
    login | login2 | n?) echo hpc ;;
    grid*) echo grid ;;
    px?) echo pbs ;;
    *) echo "$1" ;;
  esac
}

# Whether a host has a real OpenPBS; also where its own files have come over D.
has_openpbs() { [ -d "$D/pbs/layer" -o -d /run/bed/pbs/layer ] && case $1 in pbs | px?) true ;; *) false ;; esac; }

# Runs a command on a host, as alice.
on() {
  local host=$1 pid more=()
  shift
  read -r _ pid <"$D/h/$host/pid"
  ! has_cgroup "$host" || more=(-C)
  nsenter --preserve-credentials -t "$pid" -U "${more[@]}" -n -u -m -p -- \
    env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin HOME=$HOMES/alice USER=alice LOGNAME=alice LANG=C.UTF-8 TZ=UTC "$@"
}

# Writes what all hosts read: names, accounts, keys, the configuration of ssh and sshd.
write_etc() {
  local host account shell
  mkdir -p "$D"/etc/ssh "$D"/etc/pam.d "$D"/laptop/.ssh
  {
    echo "127.0.0.1 localhost"
    for host in "${!ADDRESS[@]}"; do echo "${ADDRESS[$host]#*:} $host"; done
  } >"$D/etc/hosts"
  # The laptop knows the names of its own network alone: the rest is for the jump hosts to resolve.
  grep -E 'localhost|10\.91\.' "$D/etc/hosts" >"$D/etc/hosts.laptop"
  printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' >"$D/etc/resolv.conf"
  {
    printf 'root:x:0:0::/root:/bin/bash\nsshd:x:102:65534::/run/sshd:/usr/sbin/nologin\n'
    for account in alice noisy quitter slow tcsher fisher coder both certed; do
      shell=/bin/bash
      case $account in tcsher) shell=/bin/tcsh ;; fisher) shell=/usr/bin/fish ;; esac
      [ -x "$shell" ] && echo "$account:x:1000:1000::$HOMES/$account:$shell"
    done
    # Whose database OpenPBS's is.
    echo 'postgres:*:26:26::/run/bed/pbs/openpbs/postgres:/bin/sh'
    echo 'nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin'
  } >"$D/etc/passwd"
  sed "s#:$HOMES/alice:#:$D/laptop:#" "$D/etc/passwd" >"$D/etc/passwd.laptop"
  printf 'root:x:0:\npostgres:x:26:\nalice:x:1000:\nnogroup:x:65534:\n' >"$D/etc/group"
  write_keys
  write_ssh_config
  write_sshd_config
}

write_keys() {
  local host keys=$D/laptop/.ssh
  chmod 700 "$keys"
  ssh-keygen -q -t ed25519 -N '' -C alice -f "$keys/id_ed25519" &
  ssh-keygen -q -t ed25519 -N 'open sesame' -C locked -f "$keys/id_locked" &
  ssh-keygen -q -t ed25519 -N '' -C stranger -f "$keys/id_stranger" &
  ssh-keygen -q -t ed25519 -N '' -C authority -f "$D/etc/ssh/authority" &
  for host in "${!ADDRESS[@]}"; do
    mkdir -p "$D/h/$host"
    ssh-keygen -q -t ed25519 -N '' -C "$host" -f "$D/h/$host/hostkey" &
  done
  wait
  ssh-keygen -q -s "$D/etc/ssh/authority" -I alice -n alice,certed "$keys/id_stranger.pub" 2>/dev/null
  mv "$keys/id_stranger-cert.pub" "$keys/id_certed-cert.pub"
  cp "$keys/id_stranger" "$keys/id_certed"
  cp "$keys/id_stranger.pub" "$keys/id_certed.pub"
  cat "$keys/id_ed25519.pub" "$keys/id_locked.pub" >"$D/etc/ssh/authorized_keys"
  for host in "${!ADDRESS[@]}"; do
    printf '%s,%s %s\n' "$host" "${ADDRESS[$host]#*:}" "$(cut -d' ' -f1,2 "$D/h/$host/hostkey.pub")"
  done >"$keys/known_hosts"
  sed -n 's/^station,\([0-9.]*\) /[station]:2222,[\1]:2222 /p' "$keys/known_hosts" >>"$keys/known_hosts.codes"
  cat "$keys/known_hosts.codes" >>"$keys/known_hosts" && rm "$keys/known_hosts.codes"
}

write_ssh_config() {
  local config=$D/laptop/.ssh/config host
  cat >"$config" <<C
Host inner grid gridx pbs pbs-* px1 px2
  ProxyJump gate
Host login login-* login2 n1 n2 n3
  ProxyJump inner
C
  for host in login station; do
    cat >>"$config" <<C
Host $host-*
  HostName $host
  HostKeyAlias $host
Host $host-noisy
  User noisy
Host $host-quitter
  User quitter
Host $host-slow
  User slow
Host $host-tcsh
  User tcsher
Host $host-fish
  User fisher
Host $host-locked
  IdentityFile ~/.ssh/id_locked
  IdentitiesOnly yes
Host $host-cert
  User certed
  IdentityFile ~/.ssh/id_certed
  CertificateFile ~/.ssh/id_certed-cert.pub
  IdentitiesOnly yes
Host $host-stranger
  IdentityFile ~/.ssh/id_stranger
  CertificateFile none
  IdentitiesOnly yes
C
  done
  cat >>"$config" <<C
Host station-code
  User coder
  Port 2222
  HostKeyAlias [station]:2222
  PreferredAuthentications keyboard-interactive
Host station-both
  User both
  Port 2222
  HostKeyAlias [station]:2222
  IdentityFile ~/.ssh/id_locked
  IdentitiesOnly yes
Host *
  User alice
  UserKnownHostsFile ~/.ssh/known_hosts
  StrictHostKeyChecking yes
  ConnectTimeout 10
C
  chmod 600 "$config"
}

write_sshd_config() {
  cat >"$D/etc/ssh/sshd_config" <<C
Port 22
PidFile none
AuthorizedKeysFile /run/bed/etc/ssh/authorized_keys
TrustedUserCAKeys /run/bed/etc/ssh/authority.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 200
LogLevel VERBOSE
Subsystem sftp internal-sftp
Match User certed
  AuthorizedKeysFile none
Match User coder
  AuthorizedKeysFile none
C
  # One-time codes: PAM asks for one and a program judges it. A code counts once: the program takes its line away.
  cat >"$D/etc/ssh/sshd_config.codes" <<C
Port 2222
PidFile none
AuthorizedKeysFile none
StrictModes no
UsePAM yes
PasswordAuthentication no
PubkeyAuthentication no
KbdInteractiveAuthentication yes
AllowUsers coder both
LogLevel VERBOSE
Match User both
  PubkeyAuthentication yes
  AuthorizedKeysFile /run/bed/etc/ssh/authorized_keys
  AuthenticationMethods publickey,keyboard-interactive
C
  cat >"$D/etc/pam.d/sshd" <<C
auth     required pam_exec.so quiet expose_authtok /run/bed/etc/ssh/code
auth     required pam_permit.so
account  required pam_permit.so
session  required pam_permit.so
C
  printf '%s\n' 111111 222222 333333 >"$D/etc/ssh/codes"
  cat >"$D/etc/ssh/code" <<'C'
#!/bin/sh
code=$(tr -d '\0')
[ -n "$code" ] && grep -qx "$code" /run/bed/etc/ssh/codes || exit 1
sed -i "/^$code\$/d" /run/bed/etc/ssh/codes
C
  chmod 755 "$D/etc/ssh/code"
}

# The homes of a center's accounts.
write_homes() {
  local home=$D/homes/$1 account
  for account in alice noisy quitter slow tcsher fisher coder both certed; do mkdir -p "$home/$account"; done
  echo 'echo "Welcome to $HOSTNAME!"; echo "Your quota is fine." >&2' >"$home/noisy/.bashrc"
  echo 'exit 7' >"$home/quitter/.bashrc"
  echo 'read -t 1 _ <>/run/bed/never' >"$home/slow/.bashrc"
  echo 'echo hello from tcsh' >"$home/tcsher/.cshrc"
}

# What is mounted where on a host, in this order; `mount` makes the directories. DIR may lie below /tmp, which is covered: all that
# comes later comes from /run.
fstab() {
  local host=$1 center hidden= kind
  center=$(center_of "$host")
  echo "bed /run tmpfs mode=755"
  echo "$D /run/bed none bind,x-mount.mkdir"
  [ ! -d "$D.quota/alice" ] || echo "$D.quota/alice /run/quota none bind,x-mount.mkdir"
  ! has_openpbs "$host" || echo "$CSYNC_OPENPBS/opt/pbs /run/openpbs none bind,x-mount.mkdir"
  echo "bed /dev/pts devpts newinstance,ptmxmode=0666,mode=620"
  echo "bed /dev/shm tmpfs mode=1777"
  echo "/run/bed/etc/group /etc/group none bind"
  echo "/run/bed/etc/resolv.conf /etc/resolv.conf none bind,nofail"
  if [ "$host" = laptop ]; then
    echo "/run/bed/etc/hosts.laptop /etc/hosts none bind"
    echo "/run/bed/etc/passwd.laptop /etc/passwd none bind"
  else
    echo "/run/bed/etc/hosts /etc/hosts none bind"
    echo "/run/bed/etc/passwd /etc/passwd none bind"
    echo "/run/bed/homes/$center /home none bind"
    echo "bed /mnt tmpfs mode=755"
    echo "/run/bed/scratch/$center /mnt/scratch none bind,x-mount.mkdir"
    [ ! -d "$D.quota/alice" ] || echo "/run/quota /mnt/quota none bind,x-mount.mkdir"
    echo "bed /mnt/small tmpfs size=1m,x-mount.mkdir"
    echo "bed /mnt/readonly tmpfs ro,x-mount.mkdir"
    echo "/run/bed/h/$host/tmp /tmp none bind"
    echo "/run/bed/h/$host/tmp /var/tmp none bind"
    [ ! -e "$D/etc/pam.d/sshd" ] || echo "/run/bed/etc/pam.d/sshd /etc/pam.d/sshd none bind,nofail"
  fi
  case $host in
    login | n?) hidden=/run/bed/hidden/sge ;;
    grid*) hidden=/run/bed/hidden/slurm ;;
    *) hidden=/run/bed/hidden/sge:/run/bed/hidden/slurm ;;
  esac
  case $host in
    # Slurm's commands, where a login shell finds them alone.
    login2)
      echo "bed /opt tmpfs mode=755"
      echo "/usr/bin /opt/slurm/all none bind,x-mount.mkdir"
      echo "/run/bed/slurm/bin /opt/slurm/bin none bind,x-mount.mkdir"
      echo "/run/bed/slurm/profile.d /etc/profile.d none bind"
      ;;
    pbs | px?)
      echo "bed /opt tmpfs mode=755"
      if has_openpbs "$host"; then
        echo "bed /opt/pbs overlay lowerdir=/run/bed/pbs/layer:/run/openpbs,x-mount.mkdir"
      else
        echo "/run/bed/pbs/bin /opt/pbs/bin none bind,x-mount.mkdir"
      fi
      echo "/run/bed/pbs/profile.d /etc/profile.d none bind"
      ;;
  esac
  [ ! -d "$D/slurm/etc" ] || [ "$center" != hpc ] || echo "/run/bed/slurm/etc /etc/slurm none bind"
  [ ! -e "$D/sge/default" ] || [ "$center" != grid ] || echo "/run/bed/sge/default /etc/default/gridengine none bind"
  # A machine has one /usr, but no host has every batch system.
  echo "bed /usr/bin overlay lowerdir=$hidden:/usr/bin"
  # A node is the root of its groups, as of everything else.
  ! has_cgroup "$host" || for kind in $CGROUP_KINDS; do
    echo "/sys/fs/cgroup/$kind/$(cat "$D/cgroup")/$host /sys/fs/cgroup/$kind none bind"
  done
}

# Makes the layers that hide commands: to an overlay a device 0:0 says that there is no such file.
write_hidden() {
  local name
  mkdir -p "$D/hidden/slurm" "$D/hidden/sge"
  for name in $SLURM_COMMANDS; do echo "$D/hidden/slurm/$name"; done | xargs -I{} -P1 mknod {} c 0 0
  for name in $SGE_COMMANDS; do echo "$D/hidden/sge/$name"; done | xargs -I{} mknod {} c 0 0
}

# The first process of a host. It holds the namespaces and buries the dead; as alice, so that all that ever runs here is hers.
_host() {
  local host=$1 real here
  hostname "$host"
  ip link set lo up
  echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
  trap 'touch "$D/h/$host/failed"' EXIT
  # Its number outside the bed and in it: of this very shell, since `read` is no process.
  read -r real _ <"$D/proc/self/stat"
  read -r here _ </proc/self/stat
  cd / || exit 1
  fstab "$host" >"$D/h/$host/fstab"
  mount -n -a -T "$D/h/$host/fstab" || die "$host: mounts"
  mount -t proc proc /proc || die "$host: /proc"
  mkdir -p /run/sshd /run/slurm /run/mysqld /run/lock
  chmod 755 /run/sshd
  mkdir -m 1777 /run/postgresql
  # shellcheck disable=SC2016
  set -- bash -c '
    echo "$2 $3" >"$1.new" && mv "$1.new" "$1"
    exec <>/run/bed/never >/dev/null
    while :; do read -r _; done' "host $host" "/run/bed/h/$host/pid" "$real" "$here"
  ! has_openpbs "$host" || with_users "$OPENPBS_USERS" "$@"
  ! has_cgroup "$host" || with_users "$NODE_USERS" "$@"
  exec unshare -U --map-user=1000 --map-group=1000 -- "$@"
}

# Starts hosts and plugs them in.
boot_hosts() {
  local host more
  for host in "$@"; do
    mkdir -p "$D/h/$host/tmp"
    chmod 1777 "$D/h/$host/tmp"
    rm -f "$D/h/$host/pid" "$D/h/$host/failed"
    {
      more=()
      ! has_cgroup "$host" || { join_cgroup "$host" && more=(-C); }
      exec unshare -n -u -m -p "${more[@]}" -f -- bash "$ME" _host "$D" "$host"
    } </dev/null >"$D/h/$host/boot.log" 2>&1 4>&- &
  done
  for host in "$@"; do wait_for "host $host" test -e "$D/h/$host/pid" -o -e "$D/h/$host/failed"; done
  for host in "$@"; do [ ! -e "$D/h/$host/failed" ] || die "$host: $(cat "$D/h/$host/boot.log")"; done
  for host in "$@"; do plug "$host" eth0 "${ADDRESS[$host]}" v; done | ip -batch - || die "cables"
  for host in "$@"; do [ -z "${BEHIND[$host]:-}" ] || plug "$host" eth1 "${BEHIND[$host]}" w; done | ip -batch - || die "cables"
  for host in "$@"; do address "$host"; done
}

# Prints what makes a cable from a host to a network's bridge, for `ip -batch`.
plug() {
  local host=$1 device=$2 bridge=${3%:*} end=$4-$1 pid mac
  read -r _ pid <"$D/h/$host/pid"
  # The same card after every boot: neighbours remember it.
  printf -v mac '02:00:%02x:%02x:%02x:%02x' ${3//[a-z.:]/ }
  echo "link add $end type veth peer name $device address $mac netns $pid"
  echo "link set $end master $bridge up"
}

address() {
  local host=$1 pid
  read -r _ pid <"$D/h/$host/pid"
  {
    echo "addr add ${ADDRESS[$host]#*:}/24 dev eth0"
    echo "link set eth0 up"
    [ -z "${BEHIND[$host]:-}" ] || printf 'addr add %s/24 dev eth1\nlink set eth1 up\n' "${BEHIND[$host]#*:}"
  } | nsenter -t "$pid" -n -- ip -batch - || die "addresses of $host"
}

start_sshd() {
  local host=$1
  on "$host" /usr/sbin/sshd -f /run/bed/etc/ssh/sshd_config -h "/run/bed/h/$host/hostkey" -E "/run/bed/h/$host/sshd.log" || die "sshd on $host"
  [ "$host" != station ] ||
    on station /usr/sbin/sshd -f /run/bed/etc/ssh/sshd_config.codes -h /run/bed/h/station/hostkey -E /run/bed/h/station/sshd-codes.log
  wait_for "sshd on $host" on "$host" bash -c 'exec 3<>/dev/tcp/127.0.0.1/22'
}

# Whether a part only adds something to another, which looks for it among its arguments.
is_more() { case $1 in db | moms) true ;; *) false ;; esac; }

_init() {
  local life=$1 hosts host bridge stat pids=() part begin=${EPOCHREALTIME/./}
  shift
  mount --make-rprivate / || die "mount namespace"
  # The machine's own /proc stays where every first process of a host can look up its number outside.
  mkdir -p "$D/proc" "$D/h"
  mount --rbind /proc "$D/proc" && mount -t proc proc /proc || die "/proc"
  read -r -a stat <"$D/proc/self/stat"
  echo "${stat[0]} ${stat[21]}" >"$D/pid"
  read -r -a hosts <<<"$(hosts_of "$@" | tr '\n' ' ')"
  write_etc &
  write_hidden &
  for host in "${hosts[@]}"; do center_of "$host"; done | sort -u | while read -r center; do
    mkdir -p "$D/scratch/$center"
    write_homes "$center"
  done
  for part in "$@"; do is_more "$part" || "prepare_$part" "$@"; done
  for bridge in lan dmz hpc; do printf 'link add %s type bridge forward_delay 0\nlink set %s up\n' $bridge $bridge; done | ip -batch - || die "bridges"
  wait
  lap "$begin" files
  boot_hosts "${hosts[@]}"
  lap "$begin" "${#hosts[@]} hosts"
  for host in "${hosts[@]}"; do
    [ "$host" = laptop ] || start_sshd "$host" &
    pids+=($!)
  done
  for part in "$@"; do
    is_more "$part" || { "start_$part" "$@" && lap "$begin" "$part"; } &
    pids+=($!)
  done
  for part in "${pids[@]}"; do wait "$part" || die "something did not start"; done
  lap "$begin" total
  touch "$D/ready"
  echo ready >&4
  # From here on it only holds everything together, until its input ends or nobody needs it.
  if [ "$life" = --shared ]; then
    while needed; do :; done
    rm -f "$D/ready"
  else
    while read -r _; do :; done
  fi
}

# Waits until nobody holds a lock on DIR/users, and some seconds more for somebody who comes. Else nobody can come any more: the
# lock is held until this process, and with it the bed, has ended.
needed() {
  local before
  exec 5>>"$D/users"
  flock -x 5
  before=$(stat -c %Y "$D/users")
  flock -u 5
  pause 10
  flock -x -n 5 || return 0
  [ "$(stat -c %Y "$D/users")" != "$before" ]
}

# Prints when something was done.
lap() { printf '%-12s %5d ms\n' "$2" $(((${EPOCHREALTIME/./} - $1) / 1000)); }
