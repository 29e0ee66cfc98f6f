# What stands before all that looks at a host: POSIX sh; every external program that could hang is given a few seconds.
# Before this text stands m=MARK.
LC_ALL=C; LANG=C; export LC_ALL LANG
exec 2>/dev/null </dev/null

section() { printf '\n%s %s\n' "$m" "$1"; }
have() { command -v "$1" >/dev/null; }

# within SECONDS PROGRAM [ARGUMENT...]
if timeout 1 true; then
  within() { timeout "$@"; }
else
  within() {
    s=$1; shift
    "$@" & p=$!
    # None of them holds a pipe open, nor says there that somebody was ended.
    (sleep "$s"; kill "$p") >/dev/null 2>&1 & w=$!
    wait "$p" 2>/dev/null; s=$?
    kill "$w" 2>/dev/null
    return "$s"
  }
fi
