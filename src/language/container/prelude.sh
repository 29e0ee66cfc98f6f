# csync: runs a command in a container. POSIX sh.
#
#   run IMAGE KEY=VALUE ... -- COMMAND    runs a command
#   make IMAGE KEY=VALUE ...              has the image ready, and prints `KIND WHERE`
#
# IMAGE is registry:NAME, apptainer:URL, sif:FILE, docker-archive:FILE or oci-archive:FILE. Keys, in any order and number:
#   workdir=DIR         where the command starts; seen and writable inside
#   bind=DIR            seen and writable inside; also DIR:INSIDE and DIR:INSIDE:ro
#   input=FILE          what lies elsewhere by way of links is seen inside too
#   env=NAME            a variable that goes in; its value is taken from this process's, so that it is on no command line
#   gpus=N cpus=N mem=BYTES
#   of=FILE             what `docker save` wrote of the image: it is made of that, and of no registry
#   runtimes=NAMES      what may run it, the preferred one first
#
# 125 is returned where the container could not be started; else what the command returned.

c_nl='
'

c_say() { printf 'csync: %s\n' "$1" >&2; }

c_die() {
  c_say "$1"
  exit 125
}

c_have() { command -v "$1" >/dev/null 2>&1; }

# Sets c_sum to the SHA-256 of standard input.
c_sha256() {
  c_sum=$(sha256sum 2>/dev/null || shasum -a 256 2>/dev/null || openssl dgst -sha256 -r 2>/dev/null)
  c_sum=${c_sum%% *}
  [ -n "$c_sum" ] || c_die "neither sha256sum, shasum nor openssl is on ${c_host}"
}

# Sets c_socket to where a daemon listens, if this account may use it, and c_denied to where one listens that it may not.
c_daemon() {
  c_socket= c_denied=
  case $1 in
    docker) set -- "${DOCKER_HOST#unix://}" /var/run/docker.sock "${XDG_RUNTIME_DIR:-/nonexistent}/docker.sock" ;;
    podman) set -- "${CONTAINER_HOST#unix://}" "${XDG_RUNTIME_DIR:-/nonexistent}/podman/podman.sock" /run/podman/podman.sock ;;
  esac
  for c_; do
    [ -S "$c_" ] || continue
    if [ -w "$c_" ]; then
      c_socket=$c_
      return
    fi
    c_denied=$c_
  done
  return 1
}

# Sets c_runtime to the first that is here and takes this kind of image.
c_choose() {
  c_why=
  for c_runtime in $c_runtimes; do
    case $c_runtime in
      apptainer | singularity) ! c_have "$c_runtime" || return 0 ;;
      docker | podman)
        case $c_kind in
          sif | apptainer)
            c_why=" that takes $c_image"
            continue
            ;;
        esac
        if c_daemon "$c_runtime" && c_by_itself; then return 0; fi
        if [ -n "$c_socket" ] && ! c_have "$c_runtime"; then
          c_why=" as this task needs it: there is a daemon, and no \`$c_runtime\` command, by which tasks in copies of the directory, and with OCI archives or images compressed by other than gzip, are run"
        elif c_have "$c_runtime"; then
          # Podman needs no daemon, and Docker's may be another machine's.
          [ $c_runtime = docker ] && [ -z "$c_socket" ] || return 0
          case ${DOCKER_HOST:-unix:} in unix:*) ;; *) return 0 ;; esac
          c_why=" that this account may use ($c_runtime is installed, and its socket refuses this account or is not there)"
        elif [ -n "$c_denied" ]; then
          c_why=" that this account may use ($c_denied refuses this account)"
        fi
        ;;
    esac
  done
  c_die "nothing on $c_host runs containers$c_why: looked for $c_runtimes"
}

# --- images -----------------------------------------------------------------------------------------------------------------

# Sets c_digest to what the content of the image's file is called. Read once for every state of the file.
c_of_file() {
  [ -r "$c_name" ] || c_die "there is no image $c_name on $c_host"
  c_sha256 <<END
$(stat -L -c '%n %s %Y %i' -- "$c_name" 2>/dev/null || ls -lLi -- "$c_name")
END
  c_known=$c_images/state-$c_sum
  if ! { read -r c_digest <"$c_known"; } 2>/dev/null || [ -z "$c_digest" ]; then
    c_sha256 <"$c_name"
    c_digest=$c_sum
    printf '%s\n' "$c_digest" >"$c_known.$$" && mv -f "$c_known.$$" "$c_known"
  fi
}

c_room() {
  [ -d "$c_images" ] || (umask 077 && mkdir -p -- "$c_images") ||
    c_die "the directory of images $c_images cannot be made on $c_host"
}

# Waits for its turn at making FILE. The kernel gives the lock back when its holder is killed; without `flock` two may make the
# same, which costs time and nothing else.
c_turn() {
  exec 8>"$1.lock" || c_die "the directory of images $c_images cannot be written to on $c_host"
  c_have flock || return 0
  flock -n 8 2>/dev/null && return
  c_say "waits for another job that makes $c_image ready"
  flock 8 2>/dev/null || true
}

# Has FILE made by the command that follows, which is given the name to write to: once, whatever comes at the same moment.
c_once() {
  c_file=$1
  shift
  [ ! -e "$c_file" ] || return 0
  c_turn "$c_file"
  if [ ! -e "$c_file" ]; then
    # Left by one that was killed: nobody else writes while the lock is held.
    rm -f -- "$c_file".part*
    c_part=$c_file.part$$
    if ! "$@" "$c_part" >"$c_part.log" 2>&1 8>&- 6>&-; then
      c_log=$(cat "$c_part.log")
      rm -f -- "$c_part" "$c_part.log"
      c_failed
    fi
    rm -f -- "$c_part.log"
    mv -f -- "$c_part" "$c_file" || c_die "the image cannot be kept as $c_file"
    printf '%s\n' "$c_image" >"${c_file%.*}.name"
  fi
  exec 8>&-
}

# Says why an image could not be had.
c_failed() {
  c_last=$(printf '%s\n' "$c_log" | grep -v '^ *$' | tail -n 2)
  case $c_log in
    *'no space left'* | *'No space left'* | *'quota exceeded'*) c_die "no room for $c_image in $c_images on $c_host: $c_last" ;;
    *nauthorized* | *'authentication required'* | *'denied'*)
      c_die "the registry does not give $c_image without a login, or has no such image: $c_last"
      ;;
    *'manifest unknown'* | *'not found'* | *NAME_UNKNOWN* | *MANIFEST_UNKNOWN*) c_die "there is no image $c_image: $c_last" ;;
    *'no such host'* | *'connection refused'* | *'i/o timeout'* | *'network is unreachable'* | *'no route to host'* | *'Temporary failure'* | *'server misbehaving'*)
      c_die "$c_host cannot reach the registry of $c_image (\`csync images pull\` has it made where there is internet): $c_last"
      ;;
    *) c_die "$c_image cannot be made ready on $c_host: $c_last" ;;
  esac
}

# Sets c_sif to the image as a file that Apptainer and Singularity run.
c_as_sif() {
  case $c_kind in
    sif)
      [ -r "$c_name" ] || c_die "there is no image $c_name on $c_host"
      c_sif=$c_name
      return
      ;;
    registry)
      c_from=docker://$c_name
      c_sha256 <<END
$c_from
END
      ;;
    apptainer)
      c_from=$c_name
      c_sha256 <<END
$c_from
END
      ;;
    *)
      c_room
      c_of_file
      c_sum=$c_digest c_from=$c_kind:$c_name
      ;;
  esac
  c_room
  c_sif=$c_images/$c_sum.sif
  [ "$c_kind$c_of" != registry ] || c_by_digest
  c_once "$c_sif" c_convert
}

# Makes the image anew where its registry has another one under its name by now. What is made is kept by its digest, and is made once
# whatever it is called; the name is a link to it. The registry is asked now and then, and not by every job.
c_by_digest() {
  ! c_asked || return 0
  exec 6>"$c_images/$c_sum.asked.lock" || c_die "the directory of images $c_images cannot be written to on $c_host"
  if c_have flock && ! flock -n 6 2>/dev/null; then
    c_say "waits for another job that makes $c_image ready"
    flock 6 2>/dev/null || true
  fi
  if ! c_asked; then
    c_ask
    c_was=
    { read -r c_was <"$c_images/$c_sum.digest"; } 2>/dev/null || true
    if [ -n "$c_at" ] && { [ ! -e "$c_sif" ] || [ "$c_at" != "$c_was" ]; }; then
      c_whole=$c_images/${c_at#*:}.image c_from=docker://$c_place@$c_at
      c_once "$c_whole" c_convert
      ln -f -- "$c_whole" "$c_sif.new" 2>/dev/null || mv -f -- "$c_whole" "$c_sif.new"
      mv -f -- "$c_sif.new" "$c_sif" || c_die "the image cannot be kept as $c_sif"
      printf '%s\n' "$c_image" >"$c_images/$c_sum.name"
      printf '%s\n' "$c_at" >"$c_images/$c_sum.digest"
      # What it was goes, unless another name has it; who runs it keeps it.
      [ -z "$c_was" ] || [ "$c_was" = "$c_at" ] ||
        find "$c_images/${c_was#*:}.image" -links 1 -exec rm -f {} + 2>/dev/null || true
      c_from=docker://$c_name
    fi
    : >"$c_images/$c_sum.asked"
  fi
  exec 6>&-
}

# Whether the image is there, and is not to be asked for again yet. One that did not come from its registry is what it is.
c_asked() {
  [ -e "$c_sif" ] || return 1
  [ -e "$c_images/$c_sum.digest" ] || return 0
  [ -n "$(find "$c_images/$c_sum.asked" -mmin "-${CSYNC_IMAGES_ASK:-10}" 2>/dev/null)" ]
}

# Sets c_at to the digest that a registry has under the image's name, and c_place to the name without its tag; c_at to nothing where
# the registry does not say: it cannot be reached, wants a login, or nothing here can ask it.
c_ask() {
  c_at= c_place=$c_name c_tag=latest
  case $c_name in *@*) return 0 ;; esac
  c_have curl || return 0
  case ${c_name##*/} in *:*) c_tag=${c_name##*:} c_place=${c_name%:*} ;; esac
  c_registry=${c_place%%/*} c_path=${c_place#*/}
  case $c_place in */*) ;; *) c_registry=docker.io c_path=library/$c_place ;; esac
  case $c_registry in
    docker.io | index.docker.io) c_registry=registry-1.docker.io ;;
    *.* | *:* | localhost) ;;
    *) c_registry=registry-1.docker.io c_path=$c_place ;;
  esac
  [ "$c_registry $c_path" != "registry-1.docker.io ${c_path#*/}" ] || c_path=library/$c_path
  c_scheme=https
  [ -z "${APPTAINER_NOHTTPS:-${SINGULARITY_NOHTTPS:-}}" ] || c_scheme=http
  c_head=$(c_manifest) || return 0
  case $c_head in
    *[Bb]earer*realm=*)
      c_realm=$(printf '%s' "$c_head" | sed -n 's/.*realm="\([^"]*\)".*/\1/p' | head -n 1)
      c_service=$(printf '%s' "$c_head" | sed -n 's/.*service="\([^"]*\)".*/\1/p' | head -n 1)
      case $c_realm in https://* | "$c_scheme"://*) ;; *) return 0 ;; esac
      c_token=$(curl -s -m 10 -G --data-urlencode "service=$c_service" --data-urlencode "scope=repository:$c_path:pull" -- "$c_realm" |
        tr ',{}' '\n\n\n' | sed -n 's/^ *"\(access_\)\{0,1\}token" *: *"\([^"]*\)".*/\2/p' | head -n 1)
      [ -n "$c_token" ] || return 0
      c_head=$(c_manifest -H "Authorization: Bearer $c_token") || return 0
      ;;
  esac
  c_at=$(printf '%s\n' "$c_head" | tr -d '\r' | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: *\(sha256:[0-9a-f]\{64\}\)$/\1/p' | tail -n 1)
}

c_manifest() {
  curl -s -I --connect-timeout 3 -m 10 "$@" \
    -H 'Accept: application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json' \
    -- "$c_scheme://$c_registry/v2/$c_path/manifests/$c_tag"
}

c_convert() {
  case $c_kind in
    # Which says why, where a registry cannot be reached; `build` does not.
    registry | apptainer)
      if [ -n "$c_of" ]; then "$c_runtime" build "$1" "docker-archive:$c_of"; else "$c_runtime" pull "$1" "$c_from"; fi
      ;;
    *) "$c_runtime" build "$1" "$c_from" ;;
  esac
}

# Whether csync is here and there is a daemon for it to speak to: then no other program is needed.
c_by_itself() { [ -n "${CSYNC_PROGRAM:-}" ] && [ -n "$c_socket" ]; }

# Whether the daemon has the image.
c_has() {
  if c_by_itself; then "$CSYNC_PROGRAM" box has "$c_socket" "$c_reference"; else "$c_runtime" image inspect "$c_reference"; fi >/dev/null 2>&1
}

# Sets c_reference to what the daemon calls the image, which is there then.
c_as_reference() {
  case $c_kind in
    registry)
      c_reference=$c_name
      # It looks for itself, and pulls.
      [ "$c_what" = make ] || ! c_by_itself || return 0
      # Was there once: where somebody removed it, the runtime pulls it again.
      c_known=$c_images/$c_runtime/$c_name
      [ ! -d "$c_known" ] || return 0
      c_room
      (umask 077 && mkdir -p -- "$c_images/$c_runtime")
      c_turn "$c_images/$c_runtime"
      if ! c_has; then
        c_log=$("$c_runtime" pull "$c_reference" 2>&1 8>&-) || c_failed
      fi
      mkdir -p -- "$c_known"
      exec 8>&-
      ;;
    *)
      c_room
      c_of_file
      c_once "$c_images/$c_digest.$c_runtime" c_load
      read -r c_reference <"$c_images/$c_digest.$c_runtime"
      # Somebody removed it.
      if ! c_has; then
        rm -f -- "$c_images/$c_digest.$c_runtime"
        c_once "$c_images/$c_digest.$c_runtime" c_load
      fi
      ;;
  esac
}

c_load() {
  if c_by_itself; then "$CSYNC_PROGRAM" box load "$c_socket" "$c_name" >"$1"; else "$c_runtime" load -i "$c_name" >"$1"; fi || return 1
  c_=$(sed -n 's/^Loaded image[^:]*: *//p' "$1" | head -n 1)
  printf '%s\n' "$c_" >"$1"
  [ -n "$c_" ]
}

# --- what is seen inside -----------------------------------------------------------------------------------------------------

# Adds a directory, unless it is within one that is seen already.
c_see() {
  c_seen "$1" || c_binds="$c_binds$1$c_nl"
}

c_seen() {
  IFS=$c_nl
  for c_dir in $c_binds; do
    case $c_dir in *:*) continue ;; esac
    case $1/ in "$c_dir"/*) unset IFS && return 0 ;; esac
  done
  unset IFS
  return 1
}

# Adds what a file's name leads to by way of links: the file itself and, where a directory on its way is one, that directory.
c_follow() {
  if [ -h "$1" ]; then
    c_real=$(readlink -f -- "$1") || return 0
    [ -e "$c_real" ] || return 0
    c_seen "$c_real" || c_binds="$c_binds$c_real:$c_real:ro$c_nl"
  fi
  c_parent=${1%/*}
  [ "$c_parent" != "$c_last_parent" ] || return 0
  c_last_parent=$c_parent
  c_seen "$1" || c_binds="$c_binds$1:$1:ro$c_nl"
  c_real=$(cd -P -- "$c_parent/" 2>/dev/null && pwd -P) || return 0
  [ "$c_real" = "$c_parent" ] || c_seen "$c_real" || c_binds="$c_binds$c_real:$c_real:ro$c_nl"
}

c_options() {
  c_kind=${c_image%%:*} c_name=${c_image#*:}
  # As people write it.
  case $c_kind in
    registry) c_image=docker://$c_name ;;
    sif | apptainer) c_image=$c_name ;;
  esac
  c_workdir=$PWD c_binds= c_inputs= c_env= c_gpus=0 c_cpus= c_mem= c_of=
  c_runtimes='apptainer singularity docker podman' c_last_parent= c_taken=1
  case $c_name in '~/'*) c_name=$HOME/${c_name#'~/'} ;; esac
  for c_; do
    c_taken=$((c_taken + 1))
    case $c_ in
      --) return ;;
      workdir=*) c_workdir=${c_#*=} && c_see "$c_workdir" ;;
      bind=*:*) c_binds="$c_binds${c_#*=}$c_nl" ;;
      bind=*) c_see "${c_#*=}" ;;
      input=*) c_follow "${c_#*=}" ;;
      env=*) c_env="$c_env ${c_#*=}" ;;
      gpus=*) c_gpus=${c_#*=} ;;
      cpus=*) c_cpus=${c_#*=} ;;
      mem=*) c_mem=${c_#*=} ;;
      of=*) c_of=${c_#*=} ;;
      runtimes=*) c_runtimes=${c_#*=} ;;
    esac
  done
}

# Whose GPUs were granted and are here.
c_gpus_of() {
  [ "$c_gpus" != 0 ] || return 0
  if [ -e /dev/nvidiactl ] || c_have nvidia-smi; then echo nvidia; fi
  if [ -e /dev/kfd ] || c_have rocm-smi; then echo amd; fi
}

# Names of the variables that go in: those that were declared, csync's own, by which what runs inside is found again, and what
# the batch system granted.
c_variables() {
  for c_ in $c_env CSYNC_RUN CSYNC_TASK CSYNC_JOB CSYNC_STATE_ID CSYNC_MEMBER CUDA_VISIBLE_DEVICES HIP_VISIBLE_DEVICES \
    ROCR_VISIBLE_DEVICES OMP_NUM_THREADS SLURM_JOB_ID SLURM_ARRAY_TASK_ID SLURM_CPUS_PER_TASK PBS_JOBID PBS_ARRAY_INDEX JOB_ID \
    SGE_TASK_ID NSLOTS LANG TZ; do
    eval "[ -z \"\${$c_+set}\" ]" || printf '%s\n' "$c_"
  done
}

# --- the runtimes -------------------------------------------------------------------------------------------------------------

# Runs a command as a child, passing signals on, and returns what it returned.
c_child() {
  exec 7<&0
  "$@" <&7 7<&- 9>&- &
  c_pid=$!
  exec 7<&-
  for c_ in TERM INT HUP USR1 USR2 XCPU; do
    # shellcheck disable=SC2064
    trap "c_again=yes; kill -$c_ $c_pid 2>/dev/null" $c_ 2>/dev/null
  done
  c_code=
  while :; do
    c_again=
    wait $c_pid
    c_=$?
    # Reaped in the moment of the signal: the status was the command's after all.
    [ $c_ = 127 ] && [ -n "$c_code" ] && break
    c_code=$c_
    [ -n "$c_again" ] || break
  done
}

c_apptainer() {
  c_as_sif
  case $c_runtime in apptainer) c_prefix=APPTAINERENV_ ;; *) c_prefix=SINGULARITYENV_ ;; esac
  for c_ in $(c_variables); do
    eval "export $c_prefix$c_=\"\$$c_\""
  done
  # Room for temporary files as outside: without this it is 64 MiB of memory.
  c_tmp=$(mktemp -d "${TMPDIR:-/tmp}/csync-XXXXXX") || c_die "no directory for temporary files can be made in ${TMPDIR:-/tmp} on $c_host"
  set -- "$c_sif" "$@"
  case $(c_gpus_of) in
    *amd*) set -- --rocm "$@" ;;
  esac
  case $(c_gpus_of) in
    *nvidia*) set -- --nv "$@" ;;
  esac
  # A home below what is temporary cannot be mounted beside what is shown of it.
  case ${HOME:-/} in /tmp/* | /var/tmp/*) set -- --no-home "$@" ;; esac
  IFS=$c_nl
  set -f
  for c_ in $c_binds; do
    set -- --bind "$c_" "$@"
  done
  unset IFS
  set +f
  c_child "$c_runtime" -q exec --contain --cleanenv --workdir "$c_tmp" --pwd "$c_workdir" "$@"
  rm -rf -- "$c_tmp" 2>/dev/null || { chmod -R u+w -- "$c_tmp" && rm -rf -- "$c_tmp"; } 2>/dev/null
  exit "$c_code"
}

# By csync itself, which speaks to the daemon and needs no other program. No process was started until here.
c_box() {
  for c_ in $c_env; do
    set -- "env=$c_" "$@"
  done
  IFS=$c_nl
  set -f
  for c_ in $c_binds; do
    set -- "bind=$c_" "$@"
  done
  unset IFS
  set +f
  [ "$c_gpus" = 0 ] || set -- "gpus_of=$(c_gpus_of)" "$@"
  exec "$CSYNC_PROGRAM" box run "$c_socket" "$c_reference" "gpus=$c_gpus" "cpus=$c_cpus" "mem=$c_mem" \
    "workdir=$c_workdir" "$@"
}

# Sets who the command is inside. In a rootless Podman root is who started it, and others are who they are if it is told.
c_whom() {
  c_user=$(id -u):$(id -g) c_keep=
  [ $c_runtime = docker ] || [ "$c_user" = 0:0 ] || c_keep=yes
}

# Has the container removed when this process is killed: its client dies with it, the container would not. Whoever does that is in
# no session, below no job and of none, and waits on a pipe that ends with this process.
c_guard() {
  c_tmp=$(mktemp -d "${TMPDIR:-/tmp}/csync-XXXXXX") && mkfifo "$c_tmp/end" || c_die "no directory for temporary files can be made on $c_host"
  # Both ends, before there is anybody else: who waits has its own from the start, however soon this process is over.
  exec 9<>"$c_tmp/end" 8<"$c_tmp/end"
  c_own=
  ! c_have setsid || c_own=setsid
  # shellcheck disable=SC2016
  (env -u CSYNC_MEMBER CSYNC_DETACHED=1 $c_own /bin/sh -c '
    read -r over
    rm -rf "$1"
    [ "$over" != over ] || exit 0
    for try in 1 2 3; do
      "$2" rm -f "$3" </dev/null && exit
      sleep 1
    done' sh "$c_tmp" "$c_runtime" "$c_box" <&8 >/dev/null 2>&1 7<&- 8<&- 9>&- &)
  exec 8<&-
}

c_docker() {
  c_as_reference
  if c_by_itself; then c_box -- "$@"; fi
  set -- "$c_reference" "$@"
  for c_ in $(c_variables); do
    set -- --env "$c_" "$@"
  done
  IFS=$c_nl
  set -f
  for c_ in $c_binds; do
    case $c_ in
      *:*) set -- --volume "$c_" "$@" ;;
      *) set -- --volume "$c_:$c_" "$@" ;;
    esac
  done
  unset IFS
  set +f
  case $(c_gpus_of) in
    '') ;;
    # Those that were granted; NVIDIA's come by its own hook, others by their devices.
    *nvidia*) if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then set -- --gpus "\"device=$CUDA_VISIBLE_DEVICES\"" "$@"; else set -- --gpus all "$@"; fi ;;
    *) set -- --device /dev/kfd --device /dev/dri "$@" ;;
  esac
  [ -z "$c_mem" ] || set -- --memory "$c_mem" --memory-swap "$c_mem" "$@"
  [ -z "$c_cpus" ] || set -- --cpus "$c_cpus" "$@"
  c_whom
  [ -z "$c_keep" ] || set -- --userns keep-id "$@"
  set -- --user "$c_user" "$@"
  c_box=csync-job-$$
  case ${CSYNC_JOB:--} in *[!0-9.]*) ;; *) c_box=csync-$CSYNC_JOB-$$ ;; esac
  set -- --label "csync.job=${CSYNC_JOB:-}" --label "csync.state=${CSYNC_STATE_ID:-}" --env HOME=/tmp "$@"
  c_guard
  c_child "$c_runtime" run --rm --init --interactive --entrypoint '' --name "$c_box" --workdir "$c_workdir" "$@"
  [ "$c_code" -lt 128 ] || "$c_runtime" rm -f "$c_box" >/dev/null 2>&1
  echo over >&9
  exit "$c_code"
}

# ----------------------------------------------------------------------------------------------------------------------------

{ read -r c_host </proc/sys/kernel/hostname; } 2>/dev/null || c_host=$(uname -n)
c_images=${CSYNC_IMAGES:-${HOME:-/tmp}/.csync/images}
c_what=$1 c_image=$2
shift 2
c_options "$@"
# The command alone is left.
[ $c_taken -le $# ] && shift $((c_taken - 1)) || set --
c_choose
case $c_what-$c_runtime in
  run-apptainer | run-singularity) c_apptainer "$@" ;;
  run-*) c_docker "$@" ;;
  make-apptainer | make-singularity) c_as_sif && printf 'sif %s\n' "$c_sif" ;;
  make-*) c_as_reference && printf '%s %s\n' "$c_runtime" "$c_reference" ;;
esac
