#!/bin/sh
# First process of the VM, from the initial RAM file system: mounts the root image with a writable layer over it and hands over
# to the agent. Each stage is told on the console, so the host can see how far a boot came; a failed one powers the machine off.
b=/bin/busybox

stage() {
  read -r up _ < /proc/uptime
  echo "$1 $up" >> /run/bulkhead/stages
  echo "bulkhead: $1 $up"
}
fail() {
  echo "bulkhead: failed: $1"
  echo o > /proc/sysrq-trigger
  $b sleep 60
}

$b mount -t proc -o nosuid,nodev,noexec proc /proc
$b mount -t sysfs -o nosuid,nodev,noexec sys /sys
$b mount -t devtmpfs -o nosuid,noexec dev /dev
$b mount -t tmpfs -o nosuid,nodev,mode=0755 run /run
$b mkdir -m 0700 /run/bulkhead
stage kernel

load() {
  for wanted in "$@"; do
    while read -r module; do
      [ -e "/sys/module/$module" ] || $b insmod "/modules/$module.ko" || echo "bulkhead: module $module could not be loaded"
    done < "/modules/$wanted.order"
  done
}
# Disks on a bus of their own are found through the PCI bus, or else through ACPI.
[ -e /sys/bus/pci/devices/0000:00:00.0 ] && load virtio_pci || load virtio_mmio
load virtio_blk
# What file systems and packet filters depend on looks for it once, when it is loaded itself.
[ -e /modules/crc32c_generic.order ] && load crc32c_generic
(load virtio_rng fuse nft_tproxy) &
load squashfs overlay

# The disk appears when its driver has looked for it.
tries=0
until [ -b /dev/vda ]; do
  tries=$((tries + 1))
  [ $tries -gt 600 ] && fail 'no root disk'
  $b sleep 0.05
done
$b mkdir /lower /scratch /new
$b mount -t squashfs -o ro,nodev,nosuid /dev/vda /lower || fail 'root image cannot be mounted'
# What the system itself writes is kept in memory: little, for sessions write on a disk of their own, which the agent prepares. Without one
# they write here too, and it is full before a session's memory is: a full disk is an error a program can report.
if [ -b /dev/vdb ]; then [ -e /modules/ext4.order ] && load ext4; [ -e /modules/quota_v2.order ] && load quota_v2; fi
$b mount -t tmpfs -o nodev,nosuid,mode=0755,size=35% scratch /scratch
$b mkdir -p /scratch/upper /scratch/work
$b mount -t overlay -o nodev,nosuid,lowerdir=/lower,upperdir=/scratch/upper,workdir=/scratch/work root /new || fail 'root cannot be mounted'
stage root
$b cp -r /agent /run/bulkhead/code
$b mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup /sys/fs/cgroup
$b mkdir -p /dev/pts /dev/shm
$b mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
$b mount -t tmpfs -o nosuid,nodev,noexec,mode=1777 shm /dev/shm
for port in /sys/class/virtio-ports/*; do
  [ -e "$port/name" ] || continue
  read -r name < "$port/name"
  [ -n "$name" ] || continue
  $b mkdir -p /dev/virtio-ports
  $b chmod 0600 "/dev/${port##*/}"
  $b ln -sf "../${port##*/}" "/dev/virtio-ports/$name"
done

wait
stage modules
# Nothing loaded later, no namespaces for the unprivileged, no memory of other processes, no kernel addresses.
{
  echo 1 > /proc/sys/kernel/modules_disabled
  echo 0 > /proc/sys/user/max_user_namespaces
  echo 2 > /proc/sys/kernel/kptr_restrict
  echo 1 > /proc/sys/kernel/dmesg_restrict
  echo 1 > /proc/sys/kernel/unprivileged_bpf_disabled
  echo 2 > /proc/sys/kernel/yama/ptrace_scope
  echo 3 > /proc/sys/kernel/perf_event_paranoid
  echo 0 > /proc/sys/vm/unprivileged_userfaultfd
  echo '|/bin/false' > /proc/sys/kernel/core_pattern
  echo 0 > /proc/sys/kernel/sysrq
  # Counted for the whole machine, so that one session could use up what all need. What each takes is counted as its memory as well, which
  # is bounded for each. Of processes there are the control groups' bounds.
  echo 9223372036854775807 > /proc/sys/fs/file-max
  echo 1073741824 > /proc/sys/fs/aio-max-nr
  echo 16384 > /proc/sys/kernel/threads-max
  # An agent that is out of memory is worse than a command that is told so early.
  echo 16384 > /proc/sys/vm/min_free_kbytes
} 2> /dev/null

for dir in proc sys dev run; do $b mount --move "/$dir" "/new/$dir"; done

# The shell stays the first process: it reaps orphans and starts the agent again should it die.
exec $b switch_root /new /bin/sh -c '
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 UV_THREADPOOL_SIZE=16 NODE_DISABLE_COLORS=1
cd /
while :; do
  /usr/local/bin/node --disable-warning=ExperimentalWarning /run/bulkhead/code/agent/main.js < /dev/null
  echo "bulkhead: agent ended with $?"
  sleep 0.5
done
'
