# csync: makes a conda environment of a file, once for its content and for whoever comes at the same moment, and activates it. For
# bash in strict mode without `-u`. micromamba and mamba do as conda does.
#
#   csync_conda file FILE     an environment of a file: environment.yml, or a list as `conda list --explicit` writes it
#   csync_conda name NAME     one that is there, by its name or its directory
#   csync_conda make FILE     has it made, and prints where it is
#
# They lie beside the images that are kept for jobs: below `scratch` on hosts, in ~/.csync/conda here.

csync_conda_die() {
  printf 'csync: %s\n' "$1" >&2
  exit 125
}

# Sets csync_p to the program. Where conda is a function of the shell, CONDA_EXE says what it stands for.
csync_conda_find() {
  for csync_p in "${CONDA_EXE:-}" "${MAMBA_EXE:-}" conda mamba micromamba "$HOME/miniforge3/bin/conda" "$HOME/miniconda3/bin/conda" "$HOME/anaconda3/bin/conda"; do
    [ -n "$csync_p" ] && csync_p=$(type -P -- "$csync_p") && return
  done
  csync_conda_die "neither conda, mamba nor micromamba is on $(uname -n)"
}

# Sets csync_prefix to the environment of a file, which is there then.
csync_conda_make() {
  [ -r "$1" ] || csync_conda_die "there is no $1 on $(uname -n), of which an environment is made"
  csync_sum=$(sha256sum <"$1" 2>/dev/null || shasum -a 256 <"$1")
  csync_dir=${CSYNC_IMAGES:-$HOME/.csync/images}
  csync_dir=${csync_dir%/*}/conda
  csync_prefix=$csync_dir/${csync_sum%% *}-$(uname -m)
  [ ! -e "$csync_prefix/.csync-made" ] || return 0
  csync_conda_find
  mkdir -p -- "$csync_dir" || csync_conda_die "the directory of environments $csync_dir cannot be made on $(uname -n)"
  # The kernel gives the lock back when its holder is killed, and what that left is made anew.
  exec 8>"$csync_prefix.lock" || csync_conda_die "the directory of environments $csync_dir cannot be written to on $(uname -n)"
  if type -P flock >/dev/null && ! flock -n 8; then
    printf 'csync: waits for another job that makes the environment of %s\n' "$1" >&2
    flock 8 || true
  fi
  if [ ! -e "$csync_prefix/.csync-made" ]; then
    rm -rf -- "$csync_prefix"
    csync_file=$1
    if grep -q '^@EXPLICIT' "$1"; then
      # The newest conda takes only what is called so for one.
      csync_file=$csync_prefix.d/explicit.txt
      mkdir -p -- "${csync_file%/*}" && cp -- "$1" "$csync_file"
    fi
    # It cannot be made aside and renamed: its programs know where they lie. Older ones know no `--yes`, but this variable.
    case ${csync_p##*/}:$1 in
      micromamba:* | *:*.txt | *:*.lock) csync_how=(create --quiet --yes --prefix "$csync_prefix" --file "$csync_file") ;;
      *) csync_how=(env create --quiet --prefix "$csync_prefix" --file "$csync_file") ;;
    esac
    if ! CONDA_ALWAYS_YES=true "$csync_p" "${csync_how[@]}" </dev/null >"$csync_prefix.log" 2>&1; then
      csync_said=$(grep -v '^ *$' "$csync_prefix.log" | grep -m 1 -A 4 -i 'error\|notfound\|could not' || tail -n 4 "$csync_prefix.log")
      rm -rf -- "$csync_prefix"
      csync_conda_die "the environment of $1 cannot be made on $(uname -n): $csync_said"
    fi
    printf '%s\n' "$1" >"$csync_prefix/.csync-made" || csync_conda_die "the environment of $1 has no room in $csync_dir"
    rm -rf -- "$csync_prefix.log" "$csync_prefix.d"
  fi
  exec 8>&-
}

csync_conda() {
  case $1 in
    make | file) csync_conda_make "$2" ;;
    name) csync_prefix=$2 ;;
  esac
  if [ "$1" = make ]; then
    printf 'conda %s\n' "$csync_prefix"
    return
  fi
  csync_conda_find
  case ${csync_p##*/} in
    micromamba) eval "$("$csync_p" shell hook --shell bash)" && micromamba activate "$csync_prefix" ;;
    mamba) eval "$("$csync_p" shell hook --shell bash 2>/dev/null || "$csync_p" shell.bash hook)" && mamba activate "$csync_prefix" ;;
    *) eval "$("$csync_p" shell.bash hook)" && conda activate "$csync_prefix" ;;
  esac
}
