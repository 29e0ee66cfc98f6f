# Looks at a host and changes nothing. Before this text stand head.sh, and the functions csync_probe_slurm, csync_probe_pbs,
# csync_probe_sge.
section login
u=$(id -un)
printf 'user=%s\nhome=%s\numask=%s\n' "$u" "$HOME" "$(umask)"
shell=$(within 5 getent passwd "$u" | cut -d: -f7)
[ -n "$shell" ] || shell=$(grep "^$u:" /etc/passwd | cut -d: -f7)
[ -n "$shell" ] || shell=${SHELL:-/bin/sh}
printf 'shell=%s\n' "$shell"

section machine
printf 'hostname=%s\nkernel=%s\narch=%s\n' "$(uname -n)" "$(uname -sr)" "$(uname -m)"
sed -n 's/^PRETTY_NAME=/distribution=/p' /etc/os-release
printf 'cores=%s\n' "$(getconf _NPROCESSORS_ONLN || nproc || grep -c ^processor /proc/cpuinfo)"
printf 'load=%s\n' "$(cut -d ' ' -f 2 /proc/loadavg)"
sed -n 's/^MemTotal: *\([0-9]*\) kB$/memory=\1/p' /proc/meminfo

# What a login shell knows and this one does not: where a site puts its commands, scratch and modules.
section environment
# shellcheck disable=SC2016
ask='for v in PATH SCRATCH PSCRATCH CSCRATCH WORK WRKDIR WORKDIR TMPDIR LMOD_CMD LMOD_VERSION MODULESHOME MODULES_CMD CONDA_EXE MAMBA_EXE SGE_ROOT SGE_CELL SLURM_CONF PBS_CONF_FILE; do eval "printf \"%s=%s=%s\\n\" \"$0\" $v \"\${$v-}\""; done'
case ${shell##*/} in
  sh | bash | dash | zsh | ksh | ksh93 | mksh | ash) ;;
  *) if have bash; then shell=bash; else shell=sh; fi ;;
esac
found=$(within 10 "$shell" -lc "$ask" "$m" | sed -n "s/^$m=//p")
[ -n "$found" ] || found=$(sh -c "$ask" "$m" | sed -n "s/^$m=//p")
printf '%s\n' "$found"
value() { printf '%s\n' "$found" | sed -n "s/^$1=//p" | head -n 1; }

section batch
here=$PATH
there=$(value PATH)
PATH=$here:$there:/opt/slurm/bin:/usr/local/slurm/bin:/cm/shared/apps/slurm/current/bin:/opt/pbs/bin:/opt/pbs/default/bin
root=$(value SGE_ROOT)
exec_prefix=$(sed -n 's/^PBS_EXEC=//p' /etc/pbs.conf)
[ -z "$exec_prefix" ] || PATH=$PATH:$exec_prefix/bin
[ -z "$root" ] || PATH=$PATH:$(printf '%s\n' "$root"/bin/*/ | head -n 1)
export PATH
# What commands of the batch system need to find their master.
needs=
for name in SGE_ROOT SGE_CELL SLURM_CONF PBS_CONF_FILE; do
  v=$(value "$name")
  [ -z "$v" ] && continue
  eval "[ -n \"\${$name-}\" ]" && continue
  needs="$needs $name"
  export "$name=$v"
done
flavour=none
if have sbatch && have squeue; then
  flavour=slurm command=sbatch
  # Client commands without a cluster: somebody installed the package, nothing more.
  case $(within 25 sbatch --version 2>&1) in
    *'configuration source'*) flavour=none; echo unconfigured=slurm ;;
  esac
fi
if [ "$flavour" = none ] && have qsub && have qstat; then
  command=qsub
  case $(within 10 qstat --version 2>&1) in
    *pbs_version*) flavour=pbs ;;
    *) case $(within 10 qstat -help 2>&1 | head -n 1) in
         *'unable to read qmaster name'* | *SGE_ROOT*) flavour=none; echo unconfigured=sge ;;
         *GE\ * | *SGE* | *UGE*) flavour=sge ;;
         *) flavour=unknown ;;
       esac ;;
  esac
fi
printf 'flavour=%s\n' "$flavour"
for name in $needs; do printf 'needs %s=%s\n' "$name" "$(value "$name")"; done
if [ "$flavour" != none ]; then
  at=$(command -v "$command")
  printf 'at=%s\n' "$at"
  (PATH=$here; have "$command") || printf 'bin=%s\n' "${at%/*}"
fi
section offers
case $flavour in
  slurm) csync_probe_slurm ;;
  pbs) csync_probe_pbs ;;
  sge) csync_probe_sge ;;
esac

section containers
for program in apptainer singularity docker podman; do
  have "$program" || continue
  printf '%s=%s\n' "$program" "$(within 10 "$program" --version | head -n 1)"
  # The daemon answers only those who may use it; it says itself whether it can hold limits.
  case $program in
    docker)
      within 10 docker version --format '{{.Server.Version}}' >/dev/null && echo docker-usable=yes || echo docker-usable=no
      info=$(within 10 docker info --format '{{.MemoryLimit}} {{.PidsLimit}} {{range $name, $it := .Runtimes}}{{$name}} {{end}}')
      case $info in 'true true '*) echo docker-limits=yes ;; 'true false '* | 'false '*) echo docker-limits=no ;; esac
      ;;
    podman)
      info=$(within 10 podman info --format '{{.Host.CgroupControllers}} {{.Host.Security.Rootless}} {{.Host.CgroupsVersion}}')
      # Without the second version of control groups a rootless one takes limits and does not hold them.
      case $info in
        *'] true v1') echo podman-limits=no ;;
        *memory*pids*'] '*) echo podman-limits=yes ;;
        '['*) echo podman-limits=no ;;
      esac
      ;;
    *) echo "$program-limits=no" ;;
  esac
  [ ! -e /dev/nvidiactl ] && [ ! -e /dev/kfd ] && continue
  case $program in
    docker | podman)
      if have nvidia-ctk || have nvidia-container-cli || [ -e /dev/kfd ]; then echo "$program-gpus=yes"; else echo "$program-gpus=no"; fi
      ;;
    *) echo "$program-gpus=yes" ;;
  esac
done
# A daemon needs no command of its own here.
if ! have docker && [ -S /var/run/docker.sock ] && [ -w /var/run/docker.sock ]; then
  said=$(within 10 curl -s --unix-socket /var/run/docker.sock http://docker/version | tr ',{' '\n\n' | sed -n 's/^"Version":"\(.*\)"$/\1/p' | tail -n 1)
  [ -z "$said" ] || printf 'docker=%s\ndocker-usable=yes\n' "$said"
fi

section modules
for file in /usr/share/lmod/lmod/init/sh /opt/apps/lmod/lmod/init/sh /usr/share/modules/init/sh /usr/share/Modules/init/sh /etc/profile.d/lmod.sh /etc/profile.d/modules.sh; do
  if [ -r "$file" ]; then printf 'init=%s\n' "$file"; break; fi
done

section conda
for program in "$(value CONDA_EXE)" "$(value MAMBA_EXE)" conda mamba micromamba "$HOME/miniforge3/bin/conda" "$HOME/miniconda3/bin/conda" "$HOME/anaconda3/bin/conda"; do
  [ -n "$program" ] && have "$program" || continue
  printf '%s=%s\n' "$(command -v "$program")" "$(within 10 "$program" --version | head -n 1)"
  break
done

section tools
for program in rsync tar python3 git sftp curl; do
  have "$program" || continue
  case $program in
    sftp) version=yes ;;
    *) version=$(within 5 "$program" --version 2>&1 | head -n 1) ;;
  esac
  printf '%s=%s\n' "$program" "$version"
done
