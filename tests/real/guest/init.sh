#!/bin/busybox sh
# The guest's first program. What it is to do stands on the kernel's command line: do=disk:NAME or
# do=frames:PORT:PORT:COUNT. Every line that the test waits for begins with "guest:".
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec >/dev/ttyS0 2>&1 </dev/null

fail() {
    echo "guest: FAILED: $*"
    dmesg | tail -30
    poweroff -f
}

# wait_for FILE: for what a driver makes in its own time.
wait_for() {
    for _ in $(seq 100); do
        [ -e "$1" ] && return
        usleep 100000
    done
    fail "there is no $1"
}

# write_disk NAME PARTITION: a partition table, a filesystem and files, and the sums of the files.
write_disk() {
    printf 'n\np\n1\n2048\n\nw\n' | fdisk "/dev/$1" >/tmp/fdisk 2>&1 || fail "fdisk: $(cat /tmp/fdisk)"
    wait_for "$2"
    mke2fs "$2" >/tmp/mke2fs 2>&1 || fail "mke2fs: $(cat /tmp/mke2fs)"
    mount -t ext4 "$2" /mnt || fail "mount"
    dd if=/dev/urandom of=/mnt/random bs=64k count=64 2>/dev/null || fail "dd"
    mkdir /mnt/many
    for i in $(seq 100); do echo "$i" >"/mnt/many/$i"; done
    cp /bin/busybox /mnt/busybox
    (cd /mnt && sha256sum random busybox many/* >sums) || fail "sha256sum"
    umount /mnt || fail "umount"
    echo "guest: wrote"
}

# read_disk PARTITION: the sums agree after a restart, and a program runs from the disk.
read_disk() {
    mount -t ext4 "$1" /mnt || fail "mount after the restart"
    (cd /mnt && sha256sum -c sums >/tmp/sums) || fail "$(grep -v OK /tmp/sums)"
    [ "$(grep -c OK /tmp/sums)" = 102 ] || fail "only $(grep -c OK /tmp/sums) files"
    [ "$(/mnt/busybox echo ran)" = ran ] || fail "a program on the disk does not run"
    umount /mnt
    echo "guest: read back the same"
}

disk() {
    wait_for "/dev/$1"
    case $1 in *[0-9]) partition=/dev/${1}p1 ;; *) partition=/dev/${1}1 ;; esac
    if [ -e "$partition" ]; then
        read_disk "$partition"
        grep -E 'nvme|virtio' /proc/interrupts
        for device in /sys/bus/pci/devices/*; do
            [ -e "$device/aer_dev_fatal" ] && echo "guest: $(cat "$device/class") reports errors"
        done
        echo "guest: done"
        poweroff -f
    fi
    write_disk "$1" "$partition"
    reboot -f
}

frames() {
    for port in "$1" "$2"; do
        wait_for "/sys/class/net/$port"
        ifconfig "$port" up || fail "$port does not come up"
    done
    /bin/frames "$1" "$2" "$3" || fail "frames"
    grep virtio /proc/interrupts
    echo "guest: done"
    poweroff -f
}

for module in $(cat /modules/list); do insmod "/modules/$module" || fail "insmod $module"; done
what=$(sed -n 's/.*do=\([^ ]*\).*/\1/p' /proc/cmdline)
echo "guest: up, $(uname -r), to do $what"
IFS=:
set -- $what
unset IFS
case $1 in
    disk) disk "$2" ;;
    frames) frames "$2" "$3" "$4" ;;
    *) fail "'$what' means nothing" ;;
esac
