# shellcheck shell=bash
# A real OpenPBS (CSYNC_OPENPBS, made by openpbs.sh) in the place of its stand-in: server, scheduler, router, one execution daemon and
# the database, all on pbs; with the part `moms` a node of two cores on each of px1 and px2 besides. Its daemons are that host's root and the database a third user of its, as they are at a site: the
# host's user namespace has several (with_users), jobs run as alice.

OPENPBS_USERS=$'0 1 1\n26 2 1\n1000 0 1\n65534 3 1'

prepare_openpbs() {
  local home=$D/pbs/openpbs dir
  [ -x "${CSYNC_OPENPBS:-}/opt/pbs/sbin/pbs_mom" ] || die "CSYNC_OPENPBS names no OpenPBS (made by tests/run --openpbs SOURCE)"
  mkdir -p "$D"/pbs/{profile.d,root,layer/etc,layer/home}
  # The machine's would make the host's root alice, whose file it is there.
  install -m 755 /usr/bin/su "$D/pbs/root/su"
  # A machine's directories belong to nobody in there: what root writes lies in one that all may write to.
  mkdir -p -m 1777 "$home" "$D/pbs/px1" "$D/pbs/px2"
  echo 'PATH=$PATH:/opt/pbs/bin' >"$D/pbs/profile.d/pbs.sh"
  cat >"$D/pbs/layer/etc/pbs.conf" <<C
PBS_EXEC=/opt/pbs
PBS_HOME=/run/bed/pbs/openpbs/home
PBS_SERVER=pbs
PBS_START_SERVER=1
PBS_START_SCHED=1
PBS_START_COMM=1
PBS_START_MOM=1
PBS_CORE_LIMIT=0
PBS_SCP=/usr/bin/scp
C
  # How PBS_HOME is laid out: pbs_postinstall does it, and registers services besides.
  for dir in server_logs spool server_priv/{accounting,jobs,users,hooks/tmp} sched_logs sched_priv comm_logs aux checkpoint mom_logs \
    mom_priv/{jobs,hooks/tmp} undelivered; do echo "$dir"; done >"$home/layout"
}

# Runs a command on pbs as its root.
root_on_pbs() { root_on pbs "$@"; }

# Runs a command on one of its hosts as that one's root.
root_on() {
  local host=$1 pid home=openpbs
  shift
  read -r _ pid <"$D/h/$host/pid"
  [ "$host" = pbs ] || home=$host
  nsenter -S 0 -G 0 -t "$pid" -U -n -u -m -p -- env -i PATH=/run/bed/pbs/root:/opt/pbs/bin:/opt/pbs/sbin:/usr/bin:/bin:/usr/sbin:/sbin \
    PBS_CONF_FILE=/opt/pbs/etc/pbs.conf PBS_HOME=/run/bed/pbs/$home/home HOME=/root USER=root LOGNAME=root LANG=C.UTF-8 TZ=UTC "$@"
}

start_openpbs() {
  # shellcheck disable=SC2016
  root_on_pbs bash -ec '
    cd /run/bed/pbs/openpbs
    mkdir home && cd home
    xargs mkdir -p <../layout
    chmod 1777 spool undelivered
    chmod 751 mom_priv mom_priv/jobs
    install -d -o 26 -g 26 ../postgres
    echo PATH=/bin:/usr/bin >pbs_environment
    echo TZ=UTC >>pbs_environment
    cp -p /opt/pbs/lib*/python/altair/pbs_hooks/* server_priv/hooks/
    rm -f server_priv/hooks/PBS_xeon_phi_provision.*
    printf postgres >server_priv/db_user
    # In order, and with places kept for the first ones: then it says when those who wait begin.
    sed "s/^strict_ordering:.*ALL/strict_ordering: true ALL/" /opt/pbs/etc/pbs_sched_config >sched_priv/sched_config
    cp /opt/pbs/etc/pbs_dedicated sched_priv/dedicated_time
    cp /opt/pbs/etc/pbs_holidays sched_priv/holidays
    cp /opt/pbs/etc/pbs_resource_group sched_priv/resource_group
    printf "\$logevent 0x1ff\n\$clienthost pbs\n\$usecp *:/ /\n\$enforce mem\n" >mom_priv/config
    # What pbs_db_utility does, without its waits of seconds.
    install -d -m 700 -o 26 -g 26 datastore
    as() { setpriv --reuid 26 --regid 26 --clear-groups env HOME=/run/bed/pbs/openpbs/postgres "$@"; }
    bin=$(pg_config --bindir)
    as "$bin/initdb" -N -D datastore -U postgres -E SQL_ASCII --locale=C --auth=trust
    printf "port = 15007\nfsync = off\nlisten_addresses = \x27*\x27\n" >>datastore/postgresql.conf
    echo "host all all 0.0.0.0/0 trust" >>datastore/pg_hba.conf
    as "$bin/pg_ctl" -D datastore -w -l ../postgres/log start
    as "$bin/createdb" -p 15007 pbs_datastore
    as "$bin/psql" -q -p 15007 -d pbs_datastore -U postgres -f - </opt/pbs/libexec/pbs_db_schema.sql
  ' >"$D/pbs/database.log" 2>&1 </dev/null 4>&- || die "the database of OpenPBS: $D/pbs/database.log"
  root_on_pbs pbs_comm >"$D/pbs/comm.log" 2>&1 </dev/null 4>&- || die "pbs_comm: $D/pbs/comm.log"
  start_openpbs_server -t create
  start_pbs_mom pbs
  root_on_pbs qmgr >"$D/pbs/qmgr.log" 2>&1 4>&- <<'C' || die "qmgr: $D/pbs/qmgr.log"
create queue workq
set queue workq queue_type = Execution
set queue workq enabled = True
set queue workq started = True
create queue small
set queue small queue_type = Execution
set queue small resources_max.walltime = 00:30:00
set queue small enabled = True
set queue small started = True
create queue closed
set queue closed queue_type = Execution
set queue closed enabled = False
set queue closed started = True
set server default_queue = workq
set server job_history_enable = True
set server flatuid = True
set server scheduler_iteration = 2
set server node_fail_requeue = 5
set server backfill_depth = 10
create node pbs
set node pbs resources_available.ncpus = 4
set node pbs resources_available.mem = 8gb
C
  root_on_pbs pbs_sched >"$D/pbs/sched.log" 2>&1 </dev/null 4>&- || die "pbs_sched: $D/pbs/sched.log"
  root_on_pbs qmgr -c 'set server scheduling = True' >>"$D/pbs/qmgr.log" 2>&1 </dev/null || die "qmgr: $D/pbs/qmgr.log"
  wait_for "OpenPBS's node" openpbs_node_is_free pbs
  case " $* " in *" moms "*) start_moms ;; esac
}

start_openpbs_server() {
  root_on_pbs pbs_server "$@" >"$D/pbs/server.log" 2>&1 </dev/null 4>&- || die "pbs_server: $D/pbs/server.log"
  wait_for pbs_server root_on_pbs qstat -B
}

start_pbs_mom() { root_on "$1" pbs_mom >"$D/pbs/mom-$1.log" 2>&1 </dev/null 4>&- || die "pbs_mom: $D/pbs/mom-$1.log"; }

openpbs_node_is_free() { root_on_pbs pbsnodes "$1" | grep -q 'state = free'; }

start_moms() {
  local host
  for host in px1 px2; do
    # shellcheck disable=SC2016
    root_on "$host" bash -ec '
      mkdir "$PBS_HOME" && cd "$PBS_HOME"
      xargs mkdir -p </run/bed/pbs/openpbs/layout
      chmod 1777 spool undelivered
      chmod 751 mom_priv mom_priv/jobs
      cp /run/bed/pbs/openpbs/home/pbs_environment .
      cp /run/bed/pbs/openpbs/home/mom_priv/config mom_priv' >"$D/pbs/mom-$host.log" 2>&1 </dev/null 4>&- || die "$host: $D/pbs/mom-$host.log"
    start_pbs_mom "$host"
    _manage create node "$host"
    _manage set node "$host" resources_available.ncpus = 2
    _manage set node "$host" resources_available.mem = 4gb
  done
  for host in px1 px2; do wait_for "OpenPBS's node $host" openpbs_node_is_free "$host"; done
}
