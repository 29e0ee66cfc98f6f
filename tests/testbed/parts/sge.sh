# shellcheck shell=bash
# Son of Grid Engine: the master on grid, the execution host gridx.

SGE_LIB=/usr/lib/gridengine SGE_SHARE=/usr/share/gridengine

prepare_sge() {
  local root=/run/bed/sge/root name
  mkdir -p "$D"/sge/root/default/common "$D"/sge/spool/qmaster/job_scripts "$D"/sge/spool/execd
  ln -sfn $SGE_SHARE/util "$D/sge/root/util"
  for name in bin lib utilbin; do ln -sfn /var/lib/gridengine/$name "$D/sge/root/$name"; done
  # Debian's commands read this instead of the environment.
  printf 'SGE_ROOT=%s\nSGE_CELL=default\n' $root >"$D/sge/default"
  cat >"$D/sge/root/default/common/bootstrap" <<C
admin_user alice
default_domain none
ignore_fqdn false
spooling_method classic
spooling_lib libspoolc
spooling_params $root/default/common;/run/bed/sge/spool/qmaster
binary_path /usr/sbin
qmaster_spool_dir /run/bed/sge/spool/qmaster
security_mode none
listener_threads 2
worker_threads 2
scheduler_threads 1
C
  echo grid >"$D/sge/root/default/common/act_qmaster"
  # Quick where the defaults are made for large clusters.
  sed -e 's#^execd_spool_dir.*#execd_spool_dir /run/bed/sge/spool/execd#' \
    -e 's/^load_report_time.*/load_report_time 00:00:02/' -e 's/^min_uid.*/min_uid 0/;s/^min_gid.*/min_gid 0/' \
    -e 's/^reporting_params.*/reporting_params accounting=true reporting=false flush_time=00:00:01 joblog=false sharelog=00:00:00/' \
    -e 's/^mailer .*/mailer none/' $SGE_SHARE/default-configuration >"$D/sge/configuration"
  cat >"$D/sge/pe" <<'C'
pe_name smp
slots 999
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $pe_slots
control_slaves FALSE
job_is_first_task TRUE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
C
  printf 'group_name @allhosts\nhostlist gridx\n' >"$D/sge/hostgroup"
  sge_queue >"$D/sge/queue"
}

sge_queue() {
  local name
  cat <<'C'
qname all.q
hostlist @allhosts
seq_no 0
load_thresholds NONE
suspend_thresholds NONE
nsuspend 1
suspend_interval 00:05:00
priority 0
min_cpu_interval 00:00:05
processors UNDEFINED
qtype BATCH INTERACTIVE
ckpt_list NONE
pe_list smp
rerun FALSE
slots 2
tmpdir /tmp
shell /bin/bash
shell_start_mode unix_behavior
notify 00:00:02
initial_state default
C
  for name in prolog epilog starter_method suspend_method resume_method terminate_method owner_list user_lists xuser_lists \
    subordinate_list complex_values projects xprojects calendar; do echo "$name NONE"; done
  for name in rt cpu fsize data stack core rss vmem; do printf 's_%s INFINITY\nh_%s INFINITY\n' $name $name; done
}

start_sge() {
  on grid env SGE_ROOT=/run/bed/sge/root bash -ec '
    lib='$SGE_LIB' share='$SGE_SHARE' sge=/run/bed/sge
    $lib/spoolinit classic libspoolc "$sge/root/default/common;$sge/spool/qmaster" init
    $lib/spooldefaults configuration $sge/configuration
    $lib/spooldefaults complexes $share/util/resources/centry
    $lib/spooldefaults usersets $share/util/resources/usersets
    $lib/spooldefaults managers alice
    $lib/spooldefaults operators alice' >"$D/sge/spool.log" 2>&1 || die "the files of Grid Engine: $D/sge/spool.log"
  start_qmaster
  on grid bash -ec '
    cd /run/bed/sge
    qconf -ah gridx
    qconf -as grid
    qconf -ssconf | sed -e "s/^schedule_interval.*/schedule_interval 0:0:1/" -e "s/^flush_submit_sec.*/flush_submit_sec 1/" \
      -e "s/^flush_finish_sec.*/flush_finish_sec 1/" >scheduler
    qconf -Msconf scheduler
    qconf -Ap pe
    qconf -Ahgrp hostgroup
    qconf -Aq queue' >"$D/sge/qconf.log" 2>&1 || die "qconf: $D/sge/qconf.log"
  start_execd
  wait_for "Grid Engine's execution host" gridx_reports
}

start_qmaster() {
  on grid env SGE_ROOT=/run/bed/sge/root sge_qmaster >>"$D/sge/qmaster.out" 2>&1 </dev/null 4>&- || die sge_qmaster
  wait_for sge_qmaster on grid qconf -sh
}

start_execd() { on gridx env SGE_ROOT=/run/bed/sge/root sge_execd >>"$D/sge/execd.out" 2>&1 </dev/null 4>&- || die sge_execd; }

gridx_reports() { on grid qhost | grep -q '^gridx *lx-amd64'; }
