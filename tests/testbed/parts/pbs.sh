# shellcheck shell=bash
# The stand-in for PBS (pbs/pbs.py): its commands lie in /opt/pbs/bin, which a login shell finds alone.

prepare_pbs() {
  local name
  mkdir -p "$D"/pbs/{bin,server,profile.d,spool}
  cp "$HERE/pbs/pbs.py" "$D/pbs/pbs.py"
  chmod 755 "$D/pbs/pbs.py"
  for name in qsub qstat qdel qselect pbsnodes; do ln -sfn /run/bed/pbs/pbs.py "$D/pbs/bin/$name"; done
  # A name of its own for the process: it is stopped and frozen by that.
  ln -sfn /usr/bin/python3 "$D/pbs/pbs_server"
  ln -sfn /run/bed/pbs/pbs.py "$D/pbs/server/pbs_server"
  echo 'PATH=/opt/pbs/bin:$PATH' >"$D/pbs/profile.d/pbs.sh"
}

start_pbs() { start_pbs_server; }

start_pbs_server() {
  on pbs setsid /run/bed/pbs/pbs_server /run/bed/pbs/server/pbs_server >>"$D/pbs/server.log" 2>&1 </dev/null 4>&- &
  wait_for "the stand-in for PBS" on pbs /opt/pbs/bin/qstat -B -f
}
