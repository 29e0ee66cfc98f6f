# shellcheck shell=bash
# Slurm without systemd and root: a controller on login, three nodes; slurmdbd with MariaDB, munge and control groups where asked for.

prepare_slurm() {
  local name db=no auth=none cred=none proctrack=linuxproc task=none memory=OverMemoryKill
  case " $* " in *" db "*) db=yes ;; esac
  case " $* " in *" munge "*) auth=munge cred=munge ;; esac
  # There the kernel alone holds limits.
  case " $* " in *" cgroup "*) proctrack=cgroup task=cgroup memory=NoOverMemoryKill ;; esac
  mkdir -p "$D"/slurm/{etc,bin,profile.d,state,log}
  for name in $SLURM_COMMANDS; do ln -sfn "../all/$name" "$D/slurm/bin/$name"; done
  echo 'PATH=/opt/slurm/bin:$PATH' >"$D/slurm/profile.d/slurm.sh"
  cat >"$D/slurm/etc/slurm.conf" <<C
ClusterName=bed
SlurmctldHost=login
SlurmUser=alice
SlurmdUser=alice
AuthType=auth/$auth
CredType=cred/$cred
ProctrackType=proctrack/$proctrack
TaskPlugin=task/$task
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=$memory
JobCompType=jobcomp/filetxt
JobCompLoc=/run/bed/slurm/log/jobcomp.txt
StateSaveLocation=/run/bed/slurm/state
SlurmdSpoolDir=/run/slurm
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.pid
SlurmctldLogFile=/run/bed/slurm/log/slurmctld.log
SlurmdLogFile=/run/bed/slurm/log/%n.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
SlurmdTimeout=10
KillWait=2
MinJobAge=300
MaxArraySize=1001
MaxJobCount=20000
SlurmdParameters=config_overrides
NodeName=n[1-2] CPUs=2 RealMemory=2000
NodeName=n3 CPUs=2 RealMemory=4000 Feature=bigmem
PartitionName=debug Nodes=n[1-3] Default=YES MaxTime=60 DefaultTime=5 DefMemPerCPU=100
PartitionName=long Nodes=n[2-3] MaxTime=INFINITE DefMemPerCPU=100
C
  [ $db = yes ] || return 0
  printf 'AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=login\n' >>"$D/slurm/etc/slurm.conf"
  cat >"$D/slurm/etc/slurmdbd.conf" <<C
AuthType=auth/$auth
DbdHost=login
SlurmUser=alice
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
PidFile=/run/slurm/slurmdbd.pid
LogFile=/run/bed/slurm/log/slurmdbd.log
C
  chmod 600 "$D/slurm/etc/slurmdbd.conf"
}

# One key for the cluster, and on every host of it a munged, which stands for who asks there.
prepare_munge() {
  mkdir -p "$D/slurm" && head -c 128 /dev/urandom >"$D/slurm/munge.key" && chmod 400 "$D/slurm/munge.key"
}

start_munge() { :; }

# --force: whose directories lie above the key is nobody's concern here.
start_munged() {
  on "$1" bash -c 'mkdir -p /run/munge && munged --force --key-file=/run/bed/slurm/munge.key --socket=/run/munge/munge.socket.2 \
    --pid-file=/run/munge/pid --log-file=/run/munge/log --seed-file=/run/munge/seed 2>/run/munge/warnings' || die "munged on $1"
}

start_slurm() {
  local node host
  case " $* " in *" munge "*) for host in login login2 n1 n2 n3; do start_munged $host; done ;; esac
  case " $* " in *" db "*) start_mariadb && start_slurmdbd ;; esac
  start_slurmctld
  for node in n1 n2 n3; do start_slurmd $node; done
  wait_for "Slurm with three nodes" nodes_idle
}

# -c: from a clean state, since recovering an old one takes Slurm 20 s.
start_slurmctld() { on login slurmctld "${1:--c}" || die slurmctld; }

start_slurmd() { if has_cgroup "$1"; then start_slurmd_with_groups "$1"; else on "$1" slurmd; fi || die "slurmd on $1"; }

nodes_idle() { [ "$(on login sinfo -h -t idle -o %D | head -1)" = 3 ]; }

start_mariadb() {
  on login mariadb-install-db --no-defaults --datadir=/run/bed/slurm/db --auth-root-authentication-method=normal \
    --skip-test-db --skip-name-resolve >"$D/slurm/log/install-db.log" 2>&1 || die "MariaDB's files"
  on login mariadbd --no-defaults --datadir=/run/bed/slurm/db --socket=/run/mysqld/mysqld.sock --skip-networking \
    --innodb-buffer-pool-size=16M --innodb-lock-wait-timeout=900 >"$D/slurm/log/mariadbd.log" 2>&1 </dev/null 4>&- &
  wait_for MariaDB on login mariadb-admin --no-defaults -u root -S /run/mysqld/mysqld.sock ping
}

start_slurmdbd() {
  on login slurmdbd || die slurmdbd
  wait_for slurmdbd on login sacctmgr -n list cluster
}
