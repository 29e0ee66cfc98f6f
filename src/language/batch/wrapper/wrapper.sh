#!/bin/sh
# csync's wrapper: runs the members of a submission on a host, and tells about them. POSIX sh, standard tools, Linux's /proc.
#
#   wrapper.sh run SUBMISSION [INDEX]      runs one member; the index comes from the batch system where it is not given
#   wrapper.sh detach SUBMISSION LIMIT     starts all members without a batch system, LIMIT at once, and returns
#   wrapper.sh cancel SUBMISSION [INDEX..] ends members, or all, that were started by `detach`
#   wrapper.sh news                        answers the requests on standard input (see `news` below)
#
# A submission's directory holds `wrapper.sh`, `members` (line INDEX: the name of that member's directory), `news/` (a copy of every
# record, so that one directory tells of all), and the members' directories. A member's holds
#   spec     what to do: lines KEY=VALUE; workdir comes before the files that are relative to it
#   env      variables: lines NAME=VALUE; neither file is ever evaluated
#   job.sh   the command, for `bash -euo pipefail`, where spec has no `arg`
#   stdout stderr
#   status   the record, written by rename: lines KEY=VALUE, the last is `end=1`
# In values a backslash is written `\\` and a line end `\n`.
#
# The job runs in a session of its own. Whatever it does to its shell, its traps or its parent, this shell waits for it, and a
# second one, the guardian, measures it, keeps the walltime, and writes the record when the first was killed.
#
# All names begin with w_: a variable of the environment that was assigned here would reach the job changed.

w_nl='
'

w_die() {
  printf 'csync: %s\n' "$1" >&2
  exit 78
}

# Sets w_e to a value as it stands in a file.
w_escape() {
  w_e=$1
  case $w_e in
    *\\* | *"$w_nl"*)
      w_e=$(printf '%s.\n' "$1" | sed 's/\\/\\\\/g' | awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }')
      w_e=${w_e%.}
      ;;
  esac
}

# Sets w_u to the value that stands in a file.
w_unescape() {
  w_u=$1
  case $w_u in *\\*) w_u=$(printf '%b.' "$1") && w_u=${w_u%.} ;; esac
}

# Sets w_now to the time since 1970.
w_clock() {
  w_now=$(date +%s.%N)
  case $w_now in *[!0-9.]*) w_now=$(date +%s) ;; esac
}

# Sets w_up to whole seconds that only go forward.
w_uptime() {
  read -r w_up w_ </proc/uptime
  w_up=${w_up%%.*}
}

# Sets w_birth to when a process started, in ticks since boot; with its number that names one process. Empty: there is none.
w_born() {
  w_birth=
  { read -r w_ <"/proc/$1/stat"; } 2>/dev/null || return 1
  w_=${w_##*) }
  # shellcheck disable=SC2086
  set -- $w_
  case $1 in Z | X) return 1 ;; esac
  w_birth=${20}
}

# Says whether the process PID that started at BIRTH in BOOT lives.
w_lives() { [ "$3" = "$w_boot" ] && w_born "$1" && [ "$w_birth" = "$2" ]; }

# --- the record -------------------------------------------------------------------------------------------------------------

w_say() {
  w_escape "$2"
  w_text=$w_text$1=$w_e$w_nl
}

# Writes the record. A full disk, or a quota that is used up, may get room again: it is tried for $1 seconds, since what is not
# written is lost; a signal ends that. The first record of all and the copy are written in place, which saves two processes a job:
# whoever reads half of one sees that its end is missing.
w_write() {
  w_tried=0 w_for=1 w_again=
  until w_put; do
    [ $w_tried -lt "$1" ] && [ -z "$w_again" ] && [ -d "$w_dir" ] || return 1
    sleep $w_for
    w_tried=$((w_tried + w_for))
    [ $w_tried -lt 10 ] || w_for=5
  done
  printf '%send=1\n' "$w_text" 2>/dev/null >"$w_sub/news/$w_member"
}

# Says whether the directory is this run's. A batch system that has lost a node starts its jobs again elsewhere, where the first
# one may run on: the run that began last has the directory, and the other one writes nothing there any more.
w_is_ours() {
  w_whole= w_whose=
  while IFS= read -r w_line; do
    case $w_line in
      host=* | pid=* | birth=* | boot=*) w_whose=$w_whose${w_line#*=}$w_nl ;;
      end=1) w_whole=yes ;;
    esac
  done 2>/dev/null <"$w_dir/status"
  [ -z "$w_whole" ] || [ "$w_whose" = "$w_host$w_nl${w_wrapper:-$$}$w_nl$w_birth$w_nl$w_boot$w_nl" ]
}

# What is in the reserve's place needs neither room nor a new file.
w_put() {
  if [ -e "$w_dir/status" ]; then
    { printf '%send=1\n' "$w_text" >"$w_dir/.status" && mv -f "$w_dir/.status" "$w_dir/status"; } 2>/dev/null && return
    [ -e "$w_dir/.reserve" ] || return 1
    { printf '%send=1\n' "$w_text" >"$w_dir/.reserve" && mv -f "$w_dir/.reserve" "$w_dir/status"; } 2>/dev/null
  else
    printf '%send=1\n' "$w_text" 2>/dev/null >"$w_dir/status"
  fi
}

# What is known at the start, and said again at the end.
w_begin() {
  w_text=
  w_clock
  w_say csync 1
  w_say submission "${w_sub##*/}"
  w_say member "$w_member"
  w_say host "$w_host"
  w_say started "$w_now"
  w_say pid $$
  w_say birth "$w_birth"
  w_say boot "$w_boot"
  w_granted
  w_head=$w_text
  w_say state started
  w_write 5 || w_die "no record can be written to $w_dir: $( (true >>"$w_dir/status") 2>&1)"
  # Room for the last word, should the job fill the disk.
  printf '%8192s' '' 2>/dev/null >"$w_dir/.reserve"
}

# Says what the batch system granted, as its variables have it.
w_granted() {
  w_id=
  if [ -n "${SLURM_JOB_ID:-}" ]; then
    w_id=$SLURM_JOB_ID w_mem=${SLURM_MEM_PER_NODE:-}
    [ -n "$w_mem" ] || w_mem=$((${SLURM_MEM_PER_CPU:-0} * ${SLURM_CPUS_ON_NODE:-1}))
    w_say batch "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
    w_say restarts "${SLURM_RESTART_COUNT:-0}"
    w_say node "${SLURMD_NODENAME:-}" && w_say nodes "${SLURM_JOB_NUM_NODES:-}"
    w_say granted_cpus "${SLURM_CPUS_ON_NODE:-}"
    w_say granted_mem $((w_mem * 1048576))
    w_say granted_gpus "${SLURM_GPUS_ON_NODE:-}"
  elif [ -n "${PBS_JOBID:-}" ]; then
    w_id=${PBS_JOBID%%[.[]*}
    w_say batch "$PBS_JOBID"
    w_say_nodes "${PBS_NODEFILE:-}"
    w_say granted_cpus "${NCPUS:-}"
  elif [ -n "${JOB_ID:-}" ] && [ -n "${SGE_TASK_ID:-}" ]; then
    w_id=$JOB_ID
    [ "$SGE_TASK_ID" = undefined ] && w_say batch "$JOB_ID" || w_say batch "$JOB_ID.$SGE_TASK_ID"
    w_say restarts "${RESTARTED:-0}"
    w_say_nodes "${PE_HOSTFILE:-}"
    w_say granted_cpus "${w_slots:-${NSLOTS:-}}"
  fi
  [ -z "${CUDA_VISIBLE_DEVICES:-}" ] || w_say gpu_ids "$CUDA_VISIBLE_DEVICES"
}

# Says the first node of a list and how many there are: PBS names each once for every process, Grid Engine with its slots (w_slots).
w_say_nodes() {
  w_first= w_slots= w_count=0 w_seen=' '
  while read -r w_ w_rest; do
    case $w_seen in *" $w_ "*) continue ;; esac
    [ -n "$w_first" ] || w_first=$w_ w_slots=${w_rest%% *}
    w_seen="$w_seen$w_ " w_count=$((w_count + 1))
  done 2>/dev/null <"${1:-/dev/null}"
  w_say node "$w_first" && w_say nodes "$w_count"
}

# Ends the record, and this process as the batch system is to see it.
w_finish() {
  # Whoever has its number by now is told nothing.
  w_job=
  w_clock
  w_say state ended
  w_say how "$1"
  [ -z "$2" ] || w_say code "$2"
  w_say ended "$w_now"
  # Not `:`: a special builtin whose file cannot be opened ends the shell.
  true 2>/dev/null >"$w_dir/.reserve"
  # A batch job keeps its node meanwhile, what no batch system runs keeps nothing.
  if [ -n "$w_id" ]; then w_write 600; else w_write 86400; fi
  w_code=${2:-1}
  # To Grid Engine 99 means "again, for ever" and 100 "stuck".
  [ -z "${SGE_TASK_ID:-}" ] || case $w_code in 99 | 100) w_code=1 ;; esac
  exit "$w_code"
}

# --- the job ----------------------------------------------------------------------------------------------------------------

# Reads what is to be done; checks inputs and makes room for outputs on the way.
w_read_spec() {
  w_label=$w_member w_workdir=$w_dir w_umask=077 w_stdin=/dev/null w_time= w_grace=10 w_cap= w_check= w_before= w_cg= w_argv=
  w_missing= w_outputs=
  while IFS= read -r w_line; do
    w_unescape "${w_line#*=}"
    case ${w_line%%=*} in
      label) w_label=$w_u ;;
      workdir)
        w_workdir=$w_u
        [ -d "$w_u" ] || mkdir -p -- "$w_u"
        ;;
      umask) w_umask=$w_u ;;
      stdin) w_stdin=$w_u ;;
      time) w_time=$w_u ;;
      grace) w_grace=$w_u ;;
      cap) w_cap=$w_u ;;
      checkpoint) w_check=${w_u%% *} w_before=${w_u##* } ;;
      cgroup) w_cg=$w_u ;;
      arg) w_argv=yes ;;
      input)
        w_path
        [ -e "$w_u" ] || w_missing="${w_missing}missing_input=${w_line#*=}$w_nl"
        ;;
      output)
        w_path
        # A file of an earlier attempt must not pass for this one's.
        if [ -f "$w_u" ] || [ -h "$w_u" ]; then rm -f -- "$w_u"; fi
        w_=${w_u%/*}
        [ -d "$w_" ] || mkdir -p -- "$w_"
        w_outputs="$w_outputs${w_line#*=}$w_nl"
        ;;
    esac
  done <"$w_dir/spec"
}

w_path() {
  case $w_u in /*) ;; *) w_u=$w_workdir/$w_u ;; esac
}

# Becomes the job. What goes wrong before it is one is told in `.spawn`: 126 and 127 may be the job's own.
w_become() {
  # Not before its guardian watches, or is no more: a job may begin with killing its parent.
  exec 7>&- 8>&-
  read -r w_ <&9
  exec 9<&-
  umask "$w_umask"
  cd "$w_workdir" || w_cannot "the directory $w_workdir cannot be entered"
  if [ -e "$w_dir/env" ]; then
    while IFS= read -r w_line; do
      w_unescape "${w_line#*=}"
      case ${w_line%%=*} in
        # No names, and names that are the shell's own: to assign some of them ends it.
        '' | [0-9]* | *[!A-Za-z0-9_]* | _ | IFS | UID | EUID | GROUPS | PPID | LINENO | OPTIND | SHELLOPTS | BASHOPTS | BASH_* | w_*) ;;
        *) export "${w_line%%=*}=$w_u" 2>/dev/null ;;
      esac
    done <"$w_dir/env"
  fi
  # Python keeps what it prints until it has a block of it, and a job that is watched would say nothing. Set and empty: as it likes.
  export PWD="$w_workdir" CSYNC_MEMBER="$w_token" PYTHONUNBUFFERED="${PYTHONUNBUFFERED-1}"
  set --
  if [ -n "$w_argv" ]; then
    while IFS= read -r w_line; do
      case $w_line in arg=*) w_unescape "${w_line#*=}" && set -- "$@" "$w_u" ;; esac
    done <"$w_dir/spec"
    command -v -- "$1" >/dev/null || w_cannot "$1 is not there"
  else
    command -v bash >/dev/null || w_cannot "bash is not there"
    export CSYNC_SCRIPT="$w_dir/job.sh"
    set -- bash -euo pipefail -c '. "$CSYNC_SCRIPT"' "$w_label"
  fi
  [ -r "$w_stdin" ] || w_cannot "$w_stdin cannot be read"
  exec <"$w_stdin"
  [ -n "$w_setsid" ] || exec "$@"
  w_find_attach
  # It asks a daemon, which may hang.
  # shellcheck disable=SC2016
  [ -z "$w_attach" ] || exec setsid /bin/sh -c '
    w_=$1
    shift
    if command -v timeout >/dev/null; then timeout 5 "$w_" -p $$; else "$w_" -p $$; fi </dev/null >/dev/null 2>&1
    exec "$@"' sh "$w_attach" "$@"
  exec setsid "$@"
}

# A PBS without a hook for control groups knows a job by its sessions: it measures, limits and ends what it was told of, else the
# wrapper alone.
w_find_attach() {
  w_attach=
  [ -n "${PBS_JOBCOOKIE:-}" ] || return 0
  w_attach=$(command -v pbs_attach) || w_attach=$(sed -n 's/^PBS_EXEC=//p' /etc/pbs.conf 2>/dev/null | tail -n 1)/bin/pbs_attach
  [ -x "$w_attach" ] || w_attach=/opt/pbs/bin/pbs_attach
  [ -x "$w_attach" ] || w_attach=
}

w_cannot() {
  printf '%s\n' "$1" >"$w_dir/.spawn"
  exit 126
}

# Sends a signal to the job's group; to its first process while that has none yet. No `--`: busybox takes it for a process.
w_send() { kill "-$1" "-$w_job" 2>/dev/null || kill "-$1" "$w_job" 2>/dev/null; }

# A batch system's warning, or its end: told to the job, and remembered, since it tells a timeout from a failure.
w_caught() {
  w_again=yes
  w_uptime
  w_signals="${w_signals}signal=$1 $((w_up - w_began))$w_nl"
  w_send "$1"
  # For the guardian, should this shell be killed next.
  printf '%s' "$w_signals" 2>/dev/null >"$w_dir/.signals"
}

# Copies at most w_cap bytes to a file, and counts the rest. A job does not die of a disk that has no room for what it says: that is
# told by the status 3, since there is no room for a file either.
w_capped() {
  trap '' TERM INT HUP USR1 USR2 XCPU
  w_head=head
  # Else what a job prints is seen when it has printed a lot, or ended, and not at all when all of it was killed.
  ! command -v stdbuf >/dev/null || w_head='stdbuf -o0 head'
  # shellcheck disable=SC2086
  { w_full= && $w_head -c "$w_cap" || w_full=yes; wc -c >"$w_dir/.$1.dropped"; } <"$w_dir/.$1" >"$w_dir/$1" 2>/dev/null
  [ -z "$w_full" ] || exit 3
}

# Sets w_member. Shells read bytes one by one: what stands far down is found by a program.
w_find_member() {
  if [ "$w_index" -gt 200 ]; then
    w_member=$(sed -n "$w_index{p;q;}" members)
    return
  fi
  w_n=0 w_member=
  while [ $w_n -lt "$w_index" ] && IFS= read -r w_member; do w_n=$((w_n + 1)); done <members
  [ $w_n = "$w_index" ] || w_member=
}

# Removes what an earlier attempt, or this one, kept for itself.
w_sweep() {
  for w_ in "$w_dir"/.[a-z]*; do
    case $w_ in
      */.cpu | */.status | */.reserve | */'.[a-z]*') ;;
      *) rm -f "$w_dir/.spawn" "$w_dir/.signals" "$w_dir/.usage" "$w_dir/.walltime" "$w_dir/.gate" "$w_dir/.stdout" "$w_dir/.stderr" "$w_dir"/.*.dropped && return ;;
    esac
  done
}

w_run() {
  w_sub=$1 w_index=${2:-${SLURM_ARRAY_TASK_ID:-${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-${SGE_TASK_ID:-1}}}}}
  [ "$w_index" != undefined ] || w_index=1
  cd "$w_sub" || w_die "there is no directory $w_sub"
  w_find_member
  w_dir=$w_sub/$w_member
  [ -n "$w_member" ] && [ -r "$w_dir/spec" ] || w_die "submission $w_sub has no member $w_index"
  umask 077
  [ -d news ] || mkdir news 2>/dev/null
  w_sweep
  w_born $$
  w_token=$w_dir:$$:$w_birth
  w_signals= w_job= w_again=
  w_uptime
  w_began=$w_up
  [ ! -e "$w_dir/cancel" ] && [ ! -e "$w_sub/cancel" ] || { w_begin; w_finish cancelled ''; }
  w_begin
  w_text=$w_head
  w_read_spec
  [ -z "$w_missing" ] || { w_text=$w_text$w_missing && w_finish missing-input 66; }
  w_start
  w_wait
  w_end
}

# Starts the job and its guardian.
w_start() {
  # What cannot say anything is not begun.
  if ! { true >"$w_dir/stdout" && true >"$w_dir/stderr" && command times >"$w_dir/.cpu"; } 2>/dev/null; then
    w_text=$w_head
    w_say why "its output cannot be written: $({ true >"$w_dir/stdout" && true >"$w_dir/stderr" && true >"$w_dir/.cpu"; } 2>&1)"
    w_finish spawn 126
  fi
  w_setsid=
  ! command -v setsid >/dev/null || w_setsid=yes
  if [ -n "$w_cap" ] && mkfifo "$w_dir/.gate" "$w_dir/.stdout" "$w_dir/.stderr" 2>/dev/null; then
    w_capped stdout &
    w_readers=$!
    w_capped stderr &
    w_readers="$w_readers $!"
    w_out=$w_dir/.stdout w_err=$w_dir/.stderr
  else
    w_readers= w_out=$w_dir/stdout w_err=$w_dir/stderr
    [ -p "$w_dir/.gate" ] || mkfifo "$w_dir/.gate" 2>/dev/null
  fi
  w_gate=$w_dir/.gate
  [ -p "$w_gate" ] || w_gate=/dev/null
  for w_ in TERM INT HUP USR1 USR2 XCPU; do
    # shellcheck disable=SC2064
    trap "w_caught $w_" "$w_" 2>/dev/null
  done
  w_flow && w_before_io=$w_io
  # Open for both, it opens at once for each. The guardian alone is left with the end that lets the job begin.
  {
    (w_become) >"$w_out" 2>"$w_err" &
    w_job=$!
    w_wrapper=$$
    (w_guardian) </dev/null 2>/dev/null &
    w_guardian=$!
  } 7<>"$w_gate" 8>"$w_gate" 9<"$w_gate"
  [ -n "$w_job" ] || w_die "$w_dir was removed while its job was started"
}

# Becomes the guardian, in a session of its own: batch systems that kill a job's group or session kill the wrapper alone, and its
# job, which has its own session too, would run on.
w_guardian() {
  # Closed by `exec`: what is closed for one command, some shells keep a copy of.
  exec >&8 7>&- 8>&- 9<&-
  if [ -n "$w_setsid" ]; then
    export w_sub w_member w_dir w_job w_wrapper w_birth w_began w_token w_head w_time w_grace w_check w_before w_cg w_id
    exec setsid /bin/sh "$w_sub/wrapper.sh" guard
  fi
  w_guard
}

# Waits for the job. A signal ends `wait` early, with a status that is not the job's.
w_wait() {
  w_code=
  while :; do
    w_again=
    wait "$w_job"
    w_=$?
    # Reaped in the moment of the signal: the status was the job's after all.
    [ "$w_" = 127 ] && [ -n "$w_code" ] && break
    w_code=$w_
    [ -n "$w_again" ] || break
  done
  # Not as itself: a special builtin whose file cannot be opened ends the shell.
  command times 2>/dev/null >>"$w_dir/.cpu"
  w_flow && w_after_io=$w_io
}

# Sets w_io to the bytes that this shell, and the children that it waited for with theirs, have read and written so far: what a job
# did is the difference around it. Not every kernel counts them.
w_flow() {
  w_io=
  { { read -r w_ w_io && read -r w_ w_n; } <"/proc/$$/io"; } 2>/dev/null || return 0
  w_io="$w_io $w_n"
}

w_end() {
  kill -VTALRM "$w_guardian" 2>/dev/null
  wait "$w_guardian" 2>/dev/null
  w_end_left
  w_is_ours || exit 1
  w_unwritten=
  set -- stdout stderr
  for w_ in $w_readers; do
    wait "$w_" 2>/dev/null
    [ $? != 3 ] || w_unwritten=${w_unwritten}unwritten=$1$w_nl
    shift
  done
  w_text=$w_head$w_signals$w_unwritten
  [ "$w_left" = 0 ] || w_say left "$w_left"
  w_measured
  w_how=exit
  if [ -e "$w_dir/.spawn" ]; then
    w_how=spawn
    w_say why "$(cat "$w_dir/.spawn")"
  elif [ -e "$w_dir/.walltime" ]; then
    w_how=walltime
  elif [ -e "$w_dir/cancel" ] || [ -e "$w_sub/cancel" ]; then
    w_how=cancelled
  else
    w_check_outputs
  fi
  for w_ in stdout stderr; do
    [ ! -s "$w_dir/.$w_.dropped" ] || { read -r w_n <"$w_dir/.$w_.dropped" && [ "$w_n" = 0 ] || w_say "${w_}_dropped" "$w_n"; }
  done
  w_sweep
  w_finish "$w_how" "$w_code"
}

# What is not there of the outputs, and whether what was made for them to lie in is gone: that explains a failure too.
w_check_outputs() {
  [ -n "$w_outputs" ] || return 0
  w_gone=
  while IFS= read -r w_line; do
    [ -n "$w_line" ] || continue
    w_unescape "$w_line"
    w_path
    [ ! -e "$w_u" ] || continue
    [ "$w_code" != 0 ] || w_text="${w_text}missing_output=$w_line$w_nl" w_how=missing-output
    [ -n "$w_gone" ] || [ -d "${w_u%/*}" ] || w_gone=${w_u%/*}
  done <<END
$w_outputs
END
  [ -z "$w_gone" ] || w_say gone_dir "$w_gone"
}

# Ends what the job left behind: of its session, or with its mark in the environment, wherever it went.
w_end_left() {
  w_left=0
  # Nearly always there is nobody: one process finds that out, where it sees behind zero bytes, which busybox's does not.
  if ! kill -0 "-$w_job" 2>/dev/null; then
    w_=$(printf '\000CSYNC_MEMBER=%s' "$w_token" | grep -slF -- "CSYNC_MEMBER=$w_token" - /proc/[0-9]*/environ 2>/dev/null)
    case $w_ in '('*')') return 0 ;; esac
  fi
  w_find_left
  # shellcheck disable=SC2086
  set -- $w_pids
  w_left=$#
  [ $# -gt 0 ] || return 0
  kill -TERM "$@" 2>/dev/null
  for w_try in 1 2 3 4 5 6 7 8 9 10; do
    sleep 0.2 2>/dev/null || sleep 1
    w_find_left
    [ -n "$w_pids" ] || return 0
    # shellcheck disable=SC2086
    [ "$w_try" -lt 5 ] || kill -KILL $w_pids 2>/dev/null
  done
}

w_find_left() {
  w_pids=$(
    {
      cat /proc/[0-9]*/stat
      head -c 2097152 /proc/[0-9]*/environ | tr '\000' '\n' | w_mark=$w_token awk '
        /^==> \/proc\/[0-9]+\/environ <==$/ { split($0, f, "/"); pid = f[3]; next }
        $0 == "CSYNC_MEMBER=" ENVIRON["w_mark"] { print "@", pid }'
    } 2>/dev/null | awk -v sid="$w_job" '
      /^@ / { marked[$2] = 1; next }
      /^[0-9]+ \(/ {
        pid = $1
        sub(/^.*\) /, "")
        if ($1 != "Z" && $1 != "X") { lives[pid] = 1; if ($4 == sid || $3 == sid) marked[pid] = 1 }
      }
      END { for (pid in marked) if (pid in lives) print pid }'
  )
}

# --- the guardian -----------------------------------------------------------------------------------------------------------

# Measures the job now and then, more rarely the longer it runs; keeps the walltime; ends what must end.
w_guard() {
  trap '' TERM INT HUP USR1 USR2 XCPU PIPE
  # Nobody else sends this one. It ends the guardian in its first moments too, before this line.
  trap 'kill -KILL "$!" 2>/dev/null; exit 0' VTALRM
  # Lets the job begin.
  echo
  exec >/dev/null
  w_peak=0 w_user=0 w_sys=0 w_seen_io='0 0' w_tick=0 w_kill= w_checked= w_page= w_gone=0
  while :; do
    w_uptime
    w_ran=$((w_up - w_began))
    w_pause
    sleep "$w_for" 2>/dev/null &
    wait "$!" || sleep 1
    w_tick=$((w_tick + 1))
    # Most jobs of a large array are over before anything is asked for.
    if [ -z "$w_page" ]; then
      w_page=$(getconf PAGESIZE 2>/dev/null) || w_page=4096
      w_hertz=$(getconf CLK_TCK 2>/dev/null) || w_hertz=100
    fi
    w_sample
    [ "$w_orphan" = 0 ] || w_inherit
    w_uptime
    w_ran=$((w_up - w_began))
    w_keep_time
  done
}

# Sets w_for to the time until the next look.
w_pause() {
  if [ $w_tick -lt 5 ]; then
    w_for=0.2
  else
    w_for=$((1 + w_ran / 20))
    [ $w_for -le 10 ] || w_for=10
    for w_ in ${w_time:+$((w_time - w_ran))} ${w_kill:+$((w_kill - w_ran))} ${w_time:+${w_before:+$((w_time - w_before - w_ran))}}; do
      [ "$w_" -le 0 ] || [ "$w_" -ge $w_for ] || w_for=$w_
    done
  fi
}

# Looks at all processes once: those of the job's session, its group, and all that descend from it.
w_sample() {
  w_line=$(cat /proc/[0-9]*/stat 2>/dev/null | awk -v job="$w_job" -v wrapper="$w_wrapper" -v birth="$w_birth" -v io="$w_seen_io" '
    /^[0-9]+ \(/ {
      pid = $1
      sub(/^.*\) /, "")
      if (pid == wrapper && $20 == birth && $1 != "Z") watched = 1
      parent[pid] = $2
      if (pid == job || $3 == job || $4 == job) mine[pid] = 1
      user[pid] = $12 + $14; sys[pid] = $13 + $15; rss[pid] = $22
      order[++n] = pid
    }
    END {
      do { more = 0; for (i = 1; i <= n; i++) { p = order[i]; if (!(p in mine) && parent[p] in mine) { mine[p] = 1; more = 1 } } } while (more)
      for (p in mine) {
        if (!(p in parent)) continue
        u += user[p]; s += sys[p]; pages += rss[p]
        file = "/proc/" p "/io"
        while ((getline line < file) > 0) { if (line ~ /^[rw]char:/) { split(line, f, /[ \t]+/); if (line ~ /^r/) got += f[2]; else put += f[2] } }
        close(file)
        file = "/proc/" p "/status"
        while ((getline line < file) > 0) if (line ~ /^VmHWM:/) { split(line, f, /[ \t]+/); if (f[2] > high) high = f[2] }
        close(file)
      }
      # Some shells count to 2^31 alone.
      split(io, f, " ")
      if (got + put < f[1] + f[2]) { got = f[1]; put = f[2] }
      printf "%d %d %d %d %d %.0f %.0f\n", !watched, u, s, pages, high, got, put
    }')
  # shellcheck disable=SC2086
  set -- $w_line
  w_orphan=${1:-0}
  [ "${2:-0}" -le $w_user ] || w_user=$2
  [ "${3:-0}" -le $w_sys ] || w_sys=$3
  w_kb=$((${4:-0} * w_page / 1024))
  [ "${5:-0}" -le $w_kb ] || w_kb=$5
  [ $w_kb -le $w_peak ] || w_peak=$w_kb
  w_seen_io="${6:-0} ${7:-0}"
  printf '%s %s %s %s %s\n' $w_peak $w_user $w_sys "$w_hertz" "$w_seen_io" >"$w_dir/.usage"
}

w_keep_time() {
  if [ -n "$w_before" ] && [ -n "$w_time" ] && [ -z "$w_checked" ] && [ $w_ran -ge $((w_time - w_before)) ]; then
    w_checked=yes
    w_send "$w_check"
  fi
  if [ -z "$w_kill" ]; then
    if [ -n "$w_time" ] && [ $w_ran -ge "$w_time" ]; then
      true 2>/dev/null >"$w_dir/.walltime"
    elif [ -e "$w_dir/cancel" ] || [ -e "$w_sub/cancel" ] || ! w_is_ours; then
      :
    elif [ ! -d "$w_dir" ] && [ -d "${w_sub%/*}" ]; then
      # Taken away with all that csync knew of it: whoever did that may have it run elsewhere. Not at the first look, since file
      # systems of clusters hesitate.
      w_gone=$((w_gone + 1))
      [ $w_gone -ge 3 ] || return
    else
      w_gone=0
      return
    fi
    w_send TERM
    w_kill=$((w_ran + w_grace))
  elif [ $w_ran -ge $w_kill ]; then
    w_send KILL
  fi
}

# The wrapper was killed: its job must not run on unseen, nor its end be unknown.
w_inherit() {
  w_end_left
  w_is_ours || exit 0
  w_text=$w_head
  [ ! -s "$w_dir/.signals" ] || w_text=$w_text$(cat "$w_dir/.signals")$w_nl
  w_say left "$w_left"
  w_measured
  w_finish wrapper-killed ''
}

# Says what was measured.
w_measured() {
  w_uptime
  { read -r w_self && read -r w_before_ && read -r w_self && read -r w_after_; } <"$w_dir/.cpu" 2>/dev/null &&
    w_say cpu "$w_before_ $w_after_"
  if { read -r w_peak w_user w_sys w_hertz w_seen_io <"$w_dir/.usage"; } 2>/dev/null; then
    w_say proc_peak $((w_peak * 1024))
    w_say proc_cpu "$w_user $w_sys $w_hertz"
    w_say proc_io "$w_seen_io"
  fi
  [ -z "${w_before_io:-}" ] || [ -z "${w_after_io:-}" ] || w_say io "$w_before_io $w_after_io"
  w_cgroup
}

# Says what the control group of this job counted, where it has one of its own: its path names the batch job.
w_cgroup() {
  if [ -z "$w_cg" ] && [ -n "$w_id" ]; then
    while IFS=: read -r w_ w_kind w_cgpath; do
      # Slurm's and PBS's own names: a short id is a part of many a path, and the group of the whole machine is nobody's job.
      case $w_cgpath/ in
        *"/job_$w_id/"* | *"/jobid/$w_id."* | *"/jobid/$w_id/"*) ;;
        *) continue ;;
      esac
      case $w_kind in
        '') w_cg=${w_cg:-/sys/fs/cgroup${w_cgpath%/task_*}} ;;
        *memory*) w_cg=/sys/fs/cgroup/memory${w_cgpath%/task_*} ;;
      esac
    done </proc/self/cgroup
  fi
  [ -n "$w_cg" ] || return 0
  # Version 1 counts in the very group that lost the process: Slurm has one for each task.
  w_kills=
  for w_ in "$w_cg/memory.events" "$w_cg/memory.oom_control" "$w_cg"/task_*/memory.oom_control; do
    [ ! -r "$w_" ] || while read -r w_kind w_n; do
      [ "$w_kind" != oom_kill ] || w_kills=$((${w_kills:-0} + w_n))
    done <"$w_"
  done
  [ -z "$w_kills" ] || w_say oom_kills "$w_kills"
  # Beside this very process something else looked at the node, in the same group, with some tens of megabytes: a small peak may be its
  # own, unless memory ran out or no sample tells of the job.
  w_least=0
  if [ "${w_kills:-0}" = 0 ] && [ "${w_peak:-0}" != 0 ] && { read -r w_by <"$w_sub/looked/by"; } 2>/dev/null; then
    [ "$w_by" != "$w_wrapper $(uname -n)" ] || w_least=134217728
  fi
  for w_ in memory.peak memory.max_usage_in_bytes; do
    if { read -r w_n <"$w_cg/$w_"; } 2>/dev/null && [ "$w_n" -ge $w_least ]; then w_say cgroup_peak "$w_n"; fi
  done
  # What devices saw, where nobody counted what was called.
  if [ -z "${w_after_io:-}" ] && [ -r "$w_cg/io.stat" ]; then
    w_say device_io "$(awk '
      { for (i = 2; i <= NF; i++) if (split($i, f, "=") == 2) { if (f[1] == "rbytes") got += f[2]; if (f[1] == "wbytes") put += f[2] } }
      END { printf "%.0f %.0f", got, put }' "$w_cg/io.stat")"
  fi
}

