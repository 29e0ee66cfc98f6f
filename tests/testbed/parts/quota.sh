# shellcheck shell=bash
# A file system with a real quota at /mnt/quota of every host: btrfs on a loop device, which the machine's root alone can mount.

# What alice may have there: room for some jobs, not for many.
QUOTA=48M

# Mounts it and becomes the command. A mount namespace of its own: what ends the bed takes the mount with it, and the mount its device.
_with_quota() {
  [ "$(id -u)" = 0 ] || die "quota: this needs root"
  rm -f "$D/quota.img"
  # Beside DIR: whoever may not look below a mount of somebody else's may not bind what is around it.
  mkdir -p "$D.quota" && truncate -s 256M "$D/quota.img" && mkfs.btrfs -q "$D/quota.img" &&
    mount -o loop,noatime "$D/quota.img" "$D.quota" && btrfs -q quota enable "$D.quota" &&
    btrfs -q subvolume create "$D.quota/alice" && btrfs qgroup limit $QUOTA "$D.quota/alice" || die "quota: no file system with a quota"
  exec "$@"
}

prepare_quota() { :; }

start_quota() { :; }
