#!/bin/sh
# A testpmd that starts the port and forwards nothing, and a second one that gets its VFIO descriptors over a socket and
# forwards. Runs in a mount namespace that may be changed. What the second says is the output.
set -e
cd "$(dirname "$0")"
mkdir huge
mount -t hugetlbfs -o pagesize=2M nodev "$PWD/huge"
testpmd="stdbuf -oL dpdk-testpmd --huge-dir=$PWD/huge --file-prefix=pinfold-$$ --iova-mode=va -l 0,1"
mkfifo orders
$testpmd --proc-type=primary -m 64 -- -i --total-num-mbufs=4096 --num-procs=1 --proc-id=0 <orders >primary 2>&1 &
exec 3>orders
until grep -q "Checking link statuses" primary; do
    kill -0 $! || { cat primary; exit 1; }
    sleep 0.1
done
{ echo "start tx_first"; sleep 2; echo stop; echo quit; } |
    $testpmd --proc-type=secondary -- -i --num-procs=1 --proc-id=0 2>&1
echo quit >&3
wait $!
umount huge
rm -r "/var/run/dpdk/pinfold-$$"
