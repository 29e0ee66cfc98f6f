# A cluster that is none: the commands of Slurm that csync uses, over a directory, for the tour and for trying workflows out.
# `cluster.sh COMMAND ARGS...`, which the files of bin/ call. POSIX sh; nothing but coreutils, awk and grep.
#
#   settings     nodes, cores, memory (MiB a node), wait (hundredths of a second in the queue), minute (of walltime, likewise)
#   jobs/ID      what was submitted, a line each: name, directory, script, log, cores, MiB, minutes, dependencies, members
#   pending/ running/ over/   ID.MEMBER: where a member stands; MEMBER is 0 where the job is no array
#   env/ID       the environment that it was submitted from
#   exit/        how its script ended
#   cancel/      what is to be cancelled: ID or ID.MEMBER
#   down/        nodes that are out of service
#
# A record: STATE REASON START END SECONDS EXIT SIGNAL NODE SINCE, where SINCE is when it was taken in, then when it started.
c_dir=${0%/*}
c_nodes=3 c_cores=4 c_memory=8192 c_wait=0 c_minute=6000
if [ -r "$c_dir/settings" ]; then . "$c_dir/settings"; fi

c_die() {
  printf '%s\n' "$1" >&2
  exit 1
}

# Sets c_now to the hundredths of a second since the machine came up.
c_clock() {
  read -r c_now c_ </proc/uptime
  c_now=${c_now%.*}${c_now#*.}
}

c_date() { date -u +%Y-%m-%dT%H:%M:%S; }

# Says whether what starts jobs runs.
c_is_up() {
  c_pid=$(readlink "$c_dir/controller" 2>/dev/null) && grep -qF -- "$c_dir/cluster.sh" "/proc/$c_pid/cmdline" 2>/dev/null
}

c_bring_up() {
  c_is_up && return
  if command -v setsid >/dev/null; then c_=setsid; else c_=nohup; fi
  $c_ /bin/sh "$c_dir/cluster.sh" control </dev/null >>"$c_dir/log" 2>&1 &
}

# --- the commands -----------------------------------------------------------------------------------------------------------

c_sbatch() {
  c_name= c_log=/dev/null c_array= c_cpus=1 c_tasks=1 c_mem= c_each= c_time=60 c_after= c_script=
  for c_; do
    case $c_ in
      --version) echo 'slurm-simulated 22.05.8'; exit ;;
      --job-name=*) c_name=${c_#*=} ;;
      --output=*) c_log=${c_#*=} ;;
      --array=*) c_array=${c_#*=} ;;
      --cpus-per-task=*) c_cpus=${c_#*=} ;;
      --ntasks=*) c_tasks=${c_#*=} ;;
      --mem=*M) c_mem=${c_#*=} c_mem=${c_mem%M} ;;
      --mem-per-cpu=*M) c_each=${c_#*=} c_each=${c_each%M} ;;
      --time=*) c_time=${c_#*=} ;;
      --dependency=afterok:*) c_after=${c_#*:} ;;
      --partition=sim | --parsable | --no-requeue | --export=* | --nodes=1 | --kill-on-invalid-dep=*) ;;
      --partition=*) c_die "sbatch: error: Batch job submission failed: Invalid partition name specified" ;;
      --nodes=* | --gres=* | --gpus=*)
        c_die "sbatch: error: Batch job submission failed: Requested node configuration is not available" ;;
      -*) echo "sbatch: $c_ is not simulated" >&2 ;;
      *) c_script=$c_ ;;
    esac
  done
  c_cpus=$((c_cpus * c_tasks))
  [ -z "$c_each" ] || c_mem=$((c_each * c_cpus))
  [ "$c_cpus" -le "$c_cores" ] && [ "${c_mem:-0}" -le "$c_memory" ] ||
    c_die "sbatch: error: Batch job submission failed: Requested node configuration is not available"
  [ -r "$c_script" ] || c_die "sbatch: error: Unable to open file $c_script"
  c_id=1000
  while ! mkdir "$c_dir/ids/$c_id" 2>/dev/null; do
    [ -d "$c_dir/ids" ] || c_die "sbatch: error: Unable to contact slurm controller (connect failure)"
    [ $c_id != 1000 ] || c_id=$(ls "$c_dir/ids" | sort -n | tail -n 1)
    c_id=$((c_id + 1))
  done
  c_last=${c_array#*-} c_last=${c_last%%%*}
  printf '%s\n' "$c_name" "$PWD" "$c_script" "$c_log" "$c_cpus" "${c_mem:--}" "$c_time" "${c_after:--}" "${c_last:--}" \
    >"$c_dir/jobs/$c_id"
  # What a job gets of the environment that it was submitted from.
  export -p >"$c_dir/env/$c_id"
  c_clock
  c_k=${c_last:+1}
  while [ "${c_k:=0}" -le "${c_last:-0}" ]; do
    echo "PENDING Priority - - 0 0 0 - $c_now" >"$c_dir/pending/$c_id.$c_k"
    c_k=$((c_k + 1))
  done
  c_bring_up
  echo "$c_id"
}

c_squeue() {
  c_some "$c_dir/pending" "$c_dir/running" && c_bring_up
  echo 'JOBID|ARRAY_JOB_ID|STATE|PARTITION|START_TIME|NODELIST|REASON|NAME'
  c_clock
  # A file may be moved on while it is looked at: then it is told of from where it went.
  for c_ in running pending over; do c_list "$c_"; done 2>/dev/null | awk -v now="$c_now" '
    { split($1, id, "."); member = id[2] }
    seen[$1]++ { next }
    # What is over is told of for a minute.
    $2 == "over" && now - $12 > 6000 { next }
    $3 == "PENDING" && member > 0 { waits[id[1]] = waits[id[1]] "," member; why[id[1]] = $4; name[id[1]] = $11; next }
    {
      text = member > 0 ? id[1] "_" member : id[1]
      print text "|" id[1] "|" $3 "|sim|" ($5 == "-" ? "N/A" : $5) "|" ($10 == "-" ? "" : $10) "|" $4 "|" $11
    }
    END { for (job in waits) print job "_[" substr(waits[job], 2) "]|" job "|PENDING|sim|N/A||" why[job] "|" name[job] }'
}

# Prints the records of a directory: ID.MEMBER DIRECTORY RECORD (eight fields), NAME, SINCE.
c_list() {
  for c_file in "$c_dir/$1"/*; do
    c_member=${c_file##*/}
    read -r c_rec <"$c_file" && read -r c_name <"$c_dir/jobs/${c_member%%.*}" || continue
    # shellcheck disable=SC2086
    set -- "$1" $c_rec
    echo "$c_member $1 $2 $3 $4 $5 $6 $7:$8 - $9 $c_name ${10}"
  done
}

# Says whether one of these directories holds something.
c_some() {
  for c_; do
    for c_file in "$c_"/*; do [ ! -e "$c_file" ] || return 0; done
  done
  return 1
}

c_sacct() {
  echo 'JobID|State|ExitCode|DerivedExitCode|Start|End|ElapsedRaw|TotalCPU|MaxRSS|ReqMem|AllocCPUS|NodeList|Reason|JobName'
  for c_ in running over; do c_list "$c_"; done 2>/dev/null | awk '
    { split($1, id, "."); text = id[2] > 0 ? id[1] "_" id[2] : id[1] }
    seen[$1]++ { next }
    { print text "|" $3 "|" $8 "|0:0|" $5 "|" $6 "|" $7 "|00:00:00||0|1|" $10 "|" $4 "|" $11 }'
}

c_scancel() {
  for c_; do
    case $c_ in
      -*) ;;
      *_\[*)
        c_id=${c_%%_*} c_=${c_#*_\[} c_=${c_%]}
        for c_range in $(echo "$c_" | tr , ' '); do
          c_k=${c_range%-*}
          while [ "$c_k" -le "${c_range#*-}" ]; do : >"$c_dir/cancel/$c_id.$c_k" && c_k=$((c_k + 1)); done
        done
        ;;
      *_*) : >"$c_dir/cancel/${c_%_*}.${c_#*_}" ;;
      *) : >"$c_dir/cancel/$c_" ;;
    esac
  done
  c_bring_up
}

c_sinfo() {
  c_all=$((c_nodes * c_cores)) c_used=0
  for c_file in "$c_dir/running"/*; do
    c_member=${c_file##*/}
    c_cpus=$(sed -n 5p "$c_dir/jobs/${c_member%%.*}" 2>/dev/null)
    c_used=$((c_used + ${c_cpus:-0}))
  done
  echo "sim*|up|1-00:00:00|$c_nodes|idle|sim[1-$c_nodes]|$c_cores|$c_memory|(null)|(null)|$c_used/$((c_all - c_used))/0/$c_all"
}

c_scontrol() {
  case $* in
    'show config') printf '%s\n' 'AccountingStorageType   = simulated' 'MaxArraySize            = 1001' ;;
    '-o show partitions')
      echo "PartitionName=sim AllowAccounts=ALL Default=YES DefaultTime=01:00:00 MaxTime=1-00:00:00 MaxNodes=1 State=UP TotalNodes=$c_nodes"
      ;;
    update*)
      c_node= c_state=
      for c_; do
        case $c_ in
          [Nn]ode[Nn]ame=*) c_node=${c_#*=} ;;
          [Ss]tate=*) c_state=$(echo "${c_#*=}" | tr '[:lower:]' '[:upper:]') ;;
        esac
      done
      case $c_state in
        DOWN) : >"$c_dir/down/$c_node" ;;
        RESUME) rm -f "$c_dir/down/$c_node" ;;
        *) c_die "scontrol: only State=DOWN and State=RESUME are simulated" ;;
      esac
      ;;
    *) c_die "scontrol: this is not simulated: $*" ;;
  esac
}

# --- what starts the jobs ---------------------------------------------------------------------------------------------------

c_control() {
  until ln -s $$ "$c_dir/controller" 2>/dev/null; do
    if c_is_up || [ ! -d "$c_dir/pending" ]; then exit 0; fi
    rm -f "$c_dir/controller"
  done
  find "$c_dir/over" "$c_dir/exit" -type f -mtime +7 -exec rm -f {} + 2>/dev/null
  c_idle=0 c_turn=0
  while [ "$(readlink "$c_dir/controller")" = $$ ]; do
    c_turn=$((c_turn + 1)) c_idle=$((c_idle + 1))
    c_clock
    c_take_cancels
    c_watch
    c_begin
    if [ $c_idle -gt 100 ]; then
      rm -f "$c_dir/controller"
      # What was submitted in this moment is ours: its sbatch saw us.
      if ! c_some "$c_dir/pending" "$c_dir/running" || ! ln -s $$ "$c_dir/controller"; then exit 0; fi
    fi
    sleep 0.1 2>/dev/null || sleep 1
  done
  # Somebody else took over, or the directory is gone.
  [ -d "$c_dir/pending" ] || c_kill KILL ""
}

# Reads the record of a member.
c_read() { { read -r c_state c_reason c_start c_end c_secs c_exit c_signal c_node c_since <"$1"; } 2>/dev/null; }

# Reads what was submitted.
c_job() {
  {
    read -r c_name && read -r c_cwd && read -r c_script && read -r c_log && read -r c_cpus && read -r c_mem &&
      read -r c_time && read -r c_after && read -r c_last
  } <"$c_dir/jobs/$1"
}

# Keeps how a member ended: member, directory that it is in, state, reason, exit, signal.
c_over() {
  c_clock
  c_ran=0 c_when=$(c_date)
  [ "$2" = pending ] && c_start=$c_when || c_ran=$(((c_now - c_since) / 100))
  echo "$3 $4 $c_start $c_when $c_ran $5 $6 $c_node $c_now" >"$c_dir/$2/.$1" &&
    mv "$c_dir/$2/.$1" "$c_dir/over/$1" && rm -f "$c_dir/$2/$1" "$c_dir/oom/$1" "$c_dir/term/$1"
}

c_take_cancels() {
  for c_file in "$c_dir/cancel"/*; do
    [ -e "$c_file" ] || continue
    c_what=${c_file##*/}
    case $c_what in *.*) ;; *) c_what="$c_what.*" ;; esac
    for c_ in "$c_dir/pending"/$c_what; do
      [ ! -e "$c_" ] || { c_read "$c_" && c_over "${c_##*/}" pending CANCELLED None 0 0; }
    done
    for c_ in "$c_dir/running"/$c_what; do
      [ ! -e "$c_" ] || [ -e "$c_dir/term/${c_##*/}" ] || c_end "${c_##*/}" CANCELLED
    done
    rm -f "$c_file"
  done
}

# Asks a member to end, and notes what it will have been.
c_end() {
  c_clock
  echo "$2 $c_now" >"$c_dir/term/$1"
  c_kill TERM "$1"
}

# Signals what runs of a member, or of all.
c_kill() {
  c_find "$2"
  # shellcheck disable=SC2086
  [ -z "$c_pids" ] || kill -s "$1" $c_pids 2>/dev/null
}

# Sets c_pids to the processes of a member, or of all.
c_find() {
  c_pids=
  for c_ in $(grep -slF -- "CSYNC_SIMULATED=$c_dir:$1${1:+;}" /proc/[0-9]*/environ); do
    c_=${c_#/proc/} c_pids="$c_pids ${c_%/environ}"
  done
}

# Looks at what runs: over, too long, too much memory, its node gone. Sets the free cores of the nodes.
c_watch() {
  c_k=1
  while [ $c_k -le "$c_nodes" ]; do
    eval "c_free_$c_k=$c_cores"
    [ ! -e "$c_dir/down/sim$c_k" ] || eval "c_free_$c_k=0"
    c_k=$((c_k + 1))
  done
  for c_file in "$c_dir/running"/*; do
    c_member=${c_file##*/}
    c_read "$c_file" && c_job "${c_member%.*}" || continue
    c_idle=0
    eval "c_free_${c_node#sim}=\$((c_free_${c_node#sim} - c_cpus))"
    c_watch_one
  done
}

c_watch_one() {
  if [ -e "$c_dir/exit/$c_member" ]; then
    c_ended
  elif [ -e "$c_dir/down/$c_node" ]; then
    c_kill KILL "$c_member"
    c_over "$c_member" running NODE_FAIL None 0 0
  elif [ -e "$c_dir/term/$c_member" ]; then
    read -r c_ c_when <"$c_dir/term/$c_member"
    [ $((c_now - c_when)) -lt 200 ] || c_kill KILL "$c_member"
    [ $((c_now - c_when)) -lt 400 ] || c_over "$c_member" running "$c_" None 0 15
  elif [ $((c_now - c_since)) -ge $((c_time * c_minute)) ]; then
    c_end "$c_member" TIMEOUT
  elif [ $((c_turn % 3)) = 0 ]; then
    c_weigh
  fi
}

c_ended() {
  read -r c_exit <"$c_dir/exit/$c_member"
  c_signal=0
  [ "$c_exit" -le 128 ] || c_signal=$((c_exit - 128)) c_exit=0
  c_state=COMPLETED
  [ "$c_exit$c_signal" = 00 ] || c_state=FAILED
  [ ! -e "$c_dir/oom/$c_member" ] || c_state=OUT_OF_MEMORY
  [ ! -e "$c_dir/term/$c_member" ] || read -r c_state c_ <"$c_dir/term/$c_member"
  c_over "$c_member" running "$c_state" None "$c_exit" "$c_signal"
  rm -f "$c_dir/exit/$c_member"
}

# Kills the largest process of a member that has more memory than it asked for, as a kernel does.
c_weigh() {
  c_find "$c_member"
  if [ -z "$c_pids" ] && [ $((c_now - c_since)) -gt 500 ] && [ ! -e "$c_dir/exit/$c_member" ]; then
    c_over "$c_member" running NODE_FAIL None 0 0
    return
  fi
  [ "$c_mem" != - ] || return 0
  c_all=0 c_most=0 c_largest=
  for c_ in $c_pids; do
    c_kb=$(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$c_/status" 2>/dev/null)
    c_all=$((c_all + ${c_kb:-0}))
    [ "${c_kb:-0}" -le $c_most ] || c_most=$c_kb c_largest=$c_
  done
  if [ $c_all -gt $((c_mem * 1024)) ]; then
    : >"$c_dir/oom/$c_member"
    kill -s KILL "$c_largest"
  fi
}

# Starts what waited long enough, where there is room.
c_begin() {
  for c_file in "$c_dir/pending"/*; do
    c_member=${c_file##*/}
    c_read "$c_file" && c_job "${c_member%.*}" || continue
    c_idle=0
    [ $((c_now - c_since)) -ge "$c_wait" ] || continue
    c_after_ok
    case $c_ in
      never) c_over "$c_member" pending CANCELLED DependencyNeverSatisfied 0 0 ;;
      wait) [ "$c_reason" = Dependency ] || c_say Dependency ;;
      *) c_place || { [ "$c_reason" = Resources ] || c_say Resources; } ;;
    esac
  done
}

# Says why a member waits.
c_say() {
  echo "PENDING $1 - - 0 0 0 - $c_since" >"$c_dir/pending/.$c_member" && mv "$c_dir/pending/.$c_member" "$c_file"
}

# Sets c_ to what becomes of a member by what it comes after: ok, wait or never.
c_after_ok() {
  c_=ok
  [ "$c_after" != - ] || return 0
  for c_id in $(echo "$c_after" | tr : ' '); do
    for c_one in "$c_dir/pending/$c_id".* "$c_dir/running/$c_id".*; do
      [ ! -e "$c_one" ] || { c_=wait && return; }
    done
    for c_one in "$c_dir/over/$c_id".*; do
      read -r c_word c_rest <"$c_one" || { c_=never && return; }
      [ "$c_word" = COMPLETED ] || { c_=never && return; }
    done 2>/dev/null
  done
}

# Starts a member on the first node with room for it.
c_place() {
  c_k=1
  while [ $c_k -le "$c_nodes" ]; do
    eval "c_free=\$c_free_$c_k"
    if [ "$c_free" -ge "$c_cpus" ]; then
      eval "c_free_$c_k=$((c_free - c_cpus))"
      c_clock
      echo "RUNNING None $(c_date) - 0 0 0 sim$c_k $c_now" >"$c_dir/running/.$c_member" &&
        mv "$c_dir/running/.$c_member" "$c_dir/running/$c_member" && rm -f "$c_file"
      if command -v setsid >/dev/null; then c_=setsid; else c_=; fi
      $c_ /bin/sh "$c_dir/cluster.sh" run "$c_member" "sim$c_k" </dev/null &
      return 0
    fi
    c_k=$((c_k + 1))
  done
  return 1
}

# Runs a member's script, and notes how it ended.
c_run() {
  c_member=$1 c_id=${1%.*} c_k=${1#*.}
  c_job "$c_id" || exit 1
  (
    . "$c_dir/env/$c_id"
    CSYNC_SIMULATED="$c_dir:$c_member;"
    SLURM_JOB_ID=$c_id SLURM_JOB_NAME=$c_name SLURM_JOB_NODELIST=$2 SLURMD_NODENAME=$2 SLURM_CPUS_ON_NODE=$c_cpus
    SLURM_JOB_PARTITION=sim SLURM_SUBMIT_DIR=$c_cwd
    export CSYNC_SIMULATED SLURM_JOB_ID SLURM_JOB_NAME SLURM_JOB_NODELIST SLURMD_NODENAME SLURM_CPUS_ON_NODE
    export SLURM_JOB_PARTITION SLURM_SUBMIT_DIR
    [ "$c_mem" = - ] || { SLURM_MEM_PER_NODE=$c_mem && export SLURM_MEM_PER_NODE; }
    if [ "$c_last" != - ]; then
      SLURM_ARRAY_JOB_ID=$c_id SLURM_ARRAY_TASK_ID=$c_k
      export SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID
    fi
    cd "$c_cwd" || exit 1
    exec /bin/sh "$c_script" >"$(printf '%s\n' "$c_log" | sed "s/%a/$c_k/g; s/%%/%/g")" 2>&1
  )
  echo $? >"$c_dir/exit/.$c_member" && mv "$c_dir/exit/.$c_member" "$c_dir/exit/$c_member"
}

# Ends everything.
c_stop() {
  rm -f "$c_dir/controller"
  c_find ""
  # shellcheck disable=SC2086
  [ -z "$c_pids" ] || kill -s KILL $c_pids 2>/dev/null
}

# ----------------------------------------------------------------------------------------------------------------------------

c_command=${1:-}
[ $# = 0 ] || shift
case $c_command in
  sbatch) c_sbatch "$@" ;;
  squeue) c_squeue ;;
  sacct) c_sacct ;;
  scancel) c_scancel "$@" ;;
  sinfo) c_sinfo ;;
  scontrol) c_scontrol "$@" ;;
  # Nothing is accounted to anybody.
  sacctmgr) ;;
  control) c_control ;;
  run) c_run "$@" ;;
  stop) c_stop ;;
  *) c_die "this is not simulated: $c_command" ;;
esac
