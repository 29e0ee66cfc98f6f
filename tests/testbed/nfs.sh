#!/bin/sh
# Runs a script on a machine whose /home is a real NFS mount: a Linux kernel as an ordinary process (user-mode-linux), which serves
# a directory to itself over the loopback and mounts it. Nothing of it touches the kernel that this runs on.
#
#   nfs.sh probe               whether such a kernel runs here
#   nfs.sh run DIR SCRIPT      DIR is an empty directory; SCRIPT finds the mount in $NFS. Prints what SCRIPT does; its exit code
#
# Needs user-mode-linux, kmod, nfs-kernel-server, nfs-common (Debian's; no service of them need run). Files are those of this
# machine, read as whoever calls this.
set -eu

boot() {
  dir=$1 seconds=$2 most=$3
  TMPDIR=$dir timeout "$seconds" linux.uml "mem=$most" root=/dev/root rootfstype=hostfs rootflags=/ rw init="$dir/init" \
    con=null con0=null,fd:1 quiet uml_dir="$dir" umid=kernel </dev/null >"$dir/console" 2>"$dir/boot"
}

case ${1:-} in
  probe)
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    printf '#!/bin/sh\necho it runs\nexec busybox poweroff -f\n' >"$dir/init"
    chmod +x "$dir/init"
    boot "$dir" 20 64M || true
    grep -q 'it runs' "$dir/console"
    ;;
  run)
    dir=$2
    mkdir "$dir/local" "$dir/served" "$dir/nfs"
    cat >"$dir/init" <<INIT
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
{
  mount -t proc proc /proc
  mount -t tmpfs none /run
  mount -t tmpfs none /var/lib/nfs
  mount -t tmpfs none $dir/local
  mount -t tmpfs none $dir/served
  mkdir -p /var/lib/nfs/rpc_pipefs /var/lib/nfs/v4recovery
  touch /var/lib/nfs/etab /var/lib/nfs/rmtab
  hostname one.example
  ip link set lo up
  for module in sunrpc lockd nfsd nfs nfsv4; do modprobe -d $dir/modules \$module; done
  mount -t nfsd none /proc/fs/nfsd
  mount -t rpc_pipefs none /var/lib/nfs/rpc_pipefs
  exportfs -i -o rw,no_subtree_check,no_root_squash,fsid=0,insecure 127.0.0.1:$dir/served
  rpc.mountd --no-udp -N 3
  rpc.nfsd -N 3 -V 4.2 4
  mount -t nfs4 -o vers=4.2 127.0.0.1:/ $dir/nfs
} >$dir/setup 2>&1
export NFS=$dir/nfs XDG_RUNTIME_DIR=$dir/local HOME=$dir/nfs
cd $dir/nfs && sh $dir/script >$dir/out 2>&1
echo \$? >$dir/code
exec busybox poweroff -f
INIT
    chmod +x "$dir/init"
    cp "$3" "$dir/script"
    mkdir -p "$dir/modules/lib"
    ln -s /usr/lib/uml/modules "$dir/modules/lib/modules"
    boot "$dir" 240 1G || true
    [ -e "$dir/code" ] || { cat "$dir/boot" "$dir/console" "$dir/setup" >&2; exit 125; }
    cat "$dir/out"
    exit "$(cat "$dir/code")"
    ;;
  *)
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
