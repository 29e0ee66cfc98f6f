# The second half of wrapper.sh: what starts members without a batch system, what ends them and what asks for news.

# --- without a batch system -------------------------------------------------------------------------------------------------

# Starts the crew, once: who asks again is told of the same one.
w_detach() {
  w_sub=$1
  cd "$w_sub" || w_die "there is no directory $w_sub"
  umask 077
  if mkdir crew 2>/dev/null; then
    # Nothing of the login session goes along: not its terminal, not its pipes, not its hang-up.
    # Nor what tells bash to read the login's ~/.bashrc.
    unset SSH_CLIENT SSH2_CLIENT SSH_CONNECTION SSH_TTY SSH_AUTH_SOCK
    if command -v setsid >/dev/null; then w_=setsid; else w_=nohup; fi
    $w_ /bin/sh "$w_sub/wrapper.sh" crew "$w_sub" "$2" </dev/null >crew/log 2>&1 &
  elif [ ! -d crew ]; then
    w_die "the members of $w_sub were not started: $(mkdir crew 2>&1)"
  fi
  # A busy machine takes its time; who gives up too early calls members failed that run all the same.
  w_n=0
  while [ $w_n -lt 300 ]; do
    [ ! -e crew/process ] || { cat crew/process && return 0; }
    [ -d "$w_sub/crew" ] || w_die "$w_sub was removed while its members were started"
    w_n=$((w_n + 1))
    sleep 0.1 2>/dev/null || sleep 1
  done
  w_die "the members of $w_sub were not started: $(cat crew/log)"
}

# Runs the members, w_limit at once: whoever is done hands its token to the next.
w_crew() {
  w_sub=$1 w_limit=$2
  cd "$w_sub" || exit 1
  trap '' HUP
  w_born $$
  printf '%s %s %s\n' $$ "$w_birth" "$w_boot" >crew/.process && mv -f crew/.process crew/process || exit 1
  mkfifo crew/tokens && exec 9<>crew/tokens || exit 1
  w_index=0
  while IFS= read -r w_member <&8; do
    w_index=$((w_index + 1))
    if [ $w_index -gt "$w_limit" ]; then read -r w_ <&9; fi
    [ ! -e cancel ] || break
    {
      /bin/sh "$w_sub/wrapper.sh" run "$w_sub" $w_index 8<&- 9<&- </dev/null >>crew/log 2>&1
      echo >&9
    } &
  done 8<members
  wait
}

# Ends members: marks them, so that they do not start, and tells those that run. Their guardians see to the rest.
w_cancel() {
  w_sub=$1
  shift
  cd "$w_sub" || w_die "there is no directory $w_sub"
  if [ $# = 0 ]; then
    # Not `:`: a special builtin whose file cannot be opened ends the shell.
    true 2>/dev/null >cancel
    set -- status
    for w_ in news/*; do
      [ ! -e "$w_" ] || w_stop "${w_##*/}"
    done
    return 0
  fi
  for w_index in "$@"; do
    w_member=$(sed -n "$w_index{p;q;}" members)
    [ -n "$w_member" ] || continue
    true 2>/dev/null >"$w_member/cancel"
    w_stop "$w_member"
  done
}

# Sends TERM to the wrapper of a member, if it runs here.
w_stop() { ! w_runs "$1/status" || kill -TERM "$w_pid"; }

# Says whether the wrapper that wrote a record runs here; sets w_pid.
w_runs() {
  w_pid= w_birth_= w_boot_= w_state=
  [ -e "$1" ] || return 1
  while IFS= read -r w_line_; do
    case $w_line_ in
      pid=*) w_pid=${w_line_#*=} ;;
      birth=*) w_birth_=${w_line_#*=} ;;
      boot=*) w_boot_=${w_line_#*=} ;;
      state=*) w_state=${w_line_#*=} ;;
    esac
  done <"$1"
  [ "$w_state" = started ] && w_lives "$w_pid" "$w_birth_" "$w_boot_"
}

# Sets w_ to `alive` where what starts the members of a submission runs, or one of them; else to `dead`, or `rebooted`.
w_crew_state() {
  w_state_=dead
  if { read -r w_pid w_birth_ w_boot_ <"$1/crew/process"; } 2>/dev/null; then
    [ "$w_boot_" = "$w_boot" ] || w_state_=rebooted
    ! w_lives "$w_pid" "$w_birth_" "$w_boot_" || w_state_=alive
  fi
  if [ $w_state_ = dead ]; then
    w_started=$(cd "$1" 2>/dev/null && grep -ls '^state=started' news/*)
    for w_ in $w_started; do ! w_runs "$1/$w_" || w_state_=alive; done
  fi
  w_=$w_state_
}

# --- news -------------------------------------------------------------------------------------------------------------------

# Answers requests, a line each, in their order; paths are escaped and come last:
#   stamp PATH              makes a file, to ask from later on; first of all, so that nothing falls between two answers
#   since PATH              the records asked for next are those written after that file; all of them, when it is not there
#   records SUBMISSION      prints records, with nothing in between: each begins with `csync=1` and ends with `end=1`
#   record MEMBER           prints a member's record, whatever its age: MEMBER is its directory
#   alive PID BIRTH BOOT PATH   prints `alive PATH` or `dead PATH`
#   crew SUBMISSION         prints `crew alive|dead|rebooted SUBMISSION`: whether anything of what `detach` started runs
#   tail FROM LIMIT PATH    prints `tail SIZE FROM LENGTH PATH`, LENGTH bytes and a line end; SIZE `-`: no such file
# The last line is `done`. No process is started for each of many records.
w_news() {
  w_since= w_list=
  while IFS= read -r w_line; do
    w_word=${w_line%% *} w_rest=${w_line#* }
    # Neighbours are asked for together.
    [ "$w_word" = records ] || [ -z "$w_list" ] || w_records
    case $w_word in
      # Without room, what was written since an older one comes: more than is asked for.
      stamp) w_unescape "$w_rest" && true 2>/dev/null >"$w_u" ;;
      since) w_unescape "$w_rest" && w_since=$w_u && { [ -e "$w_since" ] || w_since=; } ;;
      records) w_list="$w_list$w_rest$w_nl" ;;
      record) w_unescape "$w_rest" && cat -- "$w_u/status" 2>/dev/null ;;
      alive)
        # shellcheck disable=SC2086
        set -- $w_rest
        if w_lives "$1" "$2" "$3"; then w_=alive; else w_=dead; fi
        printf '%s %s\n' $w_ "${w_rest#"$1 $2 $3 "}"
        ;;
      crew)
        w_unescape "$w_rest"
        w_crew_state "$w_u"
        printf 'crew %s %s\n' "$w_" "$w_rest"
        ;;
      tail) w_tail "${w_rest%% *}" "${w_rest#* }" ;;
    esac
  done
  [ -z "$w_list" ] || w_records
  echo 'done'
}

w_records() {
  set --
  while IFS= read -r w_line_; do
    [ -n "$w_line_" ] || continue
    w_unescape "$w_line_/news"
    [ ! -d "$w_u" ] || set -- "$@" "$w_u"
  done <<END
$w_list
END
  w_list=
  [ $# -gt 0 ] || return 0
  find "$@" -type f ! -name '.*' ${w_since:+-newer "$w_since"} -exec cat {} + 2>/dev/null
}

w_tail() {
  w_from=$1 w_limit=${2%% *}
  w_unescape "${2#* }"
  # Not through a link that somebody put there.
  w_size=$([ ! -h "$w_u" ] && wc -c 2>/dev/null <"$w_u") || { printf 'tail - 0 0 %s\n\n' "${2#* }" && return; }
  w_size=$((w_size))
  w_length=$((w_size - w_from))
  [ $w_length -le "$w_limit" ] || w_length=$w_limit
  [ $w_length -gt 0 ] || w_length=0
  printf 'tail %s %s %s %s\n' $w_size "$w_from" $w_length "${2#* }"
  [ $w_length = 0 ] || tail -c "+$((w_from + 1))" -- "$w_u" | head -c $w_length
  echo
}

# ----------------------------------------------------------------------------------------------------------------------------

{ read -r w_boot </proc/sys/kernel/random/boot_id; } 2>/dev/null || w_boot=-
{ read -r w_host </proc/sys/kernel/hostname; } 2>/dev/null || w_host=$(uname -n)
case ${1:-} in
  run)
    w_run "$2" "${3:-}"
    ;;
  # With the variables of the wrapper that it guards.
  guard) w_guard ;;
  detach) w_detach "$2" "$3" ;;
  crew) w_crew "$2" "$3" ;;
  cancel)
    shift
    w_cancel "$@"
    ;;
  news) w_news ;;
  *) w_die "wrapper.sh run|detach|cancel|news, not ${1:-nothing}" ;;
esac
