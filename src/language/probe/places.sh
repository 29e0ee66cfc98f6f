# A filesystem whose server is gone stops whoever looks at it: it comes last, so that the rest is told by then.
section mounts
cat /proc/mounts || mount
room() { within 5 df -Pk "$1" | sed -n 2p; }
section room
while read -r _ mount kind _; do
  case $mount in *\\* | /proc* | /sys* | /dev* | /run* | /boot* | /snap/*) continue ;; esac
  case $kind in
    nfs* | lustre | gpfs | beegfs* | ceph* | fuse.* | panfs | wekafs | pvfs2 | orangefs | smb* | cifs | afs | 9p | ext[234] | xfs | btrfs | zfs | overlay | jfs | ufs | f2fs | vast*)
      [ -d "$mount" ] && printf '%s\n' "$(room "$mount")" ;;
  esac
done </proc/mounts
section scratch
tried=:
try() {
  case $tried in *:"$2":*) return ;; esac
  tried=$tried$2:
  d=$2
  # One that is not there yet can be made where the nearest directory above may be written.
  until [ -e "$d" ]; do d=${d%/*}; done
  [ -d "$d" ] && [ -w "$d" ] && [ -x "$d" ] && printf '%s\t%s\t%s\n' "$1" "$2" "$(room "$d")"
}
for name in SCRATCH PSCRATCH CSCRATCH WORK WRKDIR WORKDIR; do
  d=$(value "$name")
  case $d in /?*) try "\$$name" "$d" ;; esac
done
for d in /scratch /fscratch /lustre/scratch /lustre /gpfs/scratch /gpfs /work /data/scratch /beegfs /mnt/scratch; do
  for d in "$d/$u" "$d/users/$u" "$d/user/$u"; do
    [ -d "$d" ] && try 'by its name' "$d"
  done
done
for d in /scratch /fscratch /lustre/scratch /gpfs/scratch /data/scratch /mnt/scratch; do
  [ -d "$d" ] && [ -w "$d" ] && try 'by its name' "$d/$u"
done
try home "$HOME/.local/share"
section quotas
have quota && within 5 quota -w | sed 's/^/quota /'
if have lfs; then
  while read -r _ mount kind _; do
    [ "$kind" = lustre ] && within 5 lfs quota -q -u "$u" "$mount" | sed 's/^/lustre /'
  done </proc/mounts
fi
section end
