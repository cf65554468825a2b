#!/bin/bash
# A small machine with a systemd of its own, for the time of one test: called as the
# first process of fresh pid, mount, uts, ipc, net and cgroup namespaces. Nothing in
# here can be seen or met outside of them.
#
#   machine.sh <shared directory> <python> <python's prefix> <site-packages> <repository>
set -euo pipefail
shared=$1 python=$2 prefix=$3 packages=$4 repository=$5

mount -t proc proc /proc
# systemd would tune the kernel, which has no namespace.
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup

# The host's files, with a layer on top that takes all writing.
mount -t tmpfs tmpfs /mnt
mkdir /mnt/{dev,etc,work,run,out,python,packages,source}
for from in "$shared=out" "$prefix=python" "$packages=packages" "$repository=source"; do
    mount --bind "${from%=*}" "/mnt/${from##*=}"
done
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/etc,workdir=/mnt/work /etc
for device in null zero full random urandom tty; do
    touch "/mnt/dev/$device"
    mount --bind "/dev/$device" "/mnt/dev/$device"
done
mkdir /mnt/dev/{shm,pts}
mount -t devpts -o newinstance,ptmxmode=0666 devpts /mnt/dev/pts
ln -s pts/ptmx /mnt/dev/ptmx
mount --rbind /mnt/dev /dev
mount -t tmpfs tmpfs /run

# The service is found where the unit looks for it, Python where no Protect* hides it.
mount -t tmpfs tmpfs /opt
mkdir -p /opt/{python,packages,source,aims-server/bin}
for to in python packages source; do mount --bind "/mnt/$to" "/opt/$to"; done
# A copy of the program, so that an upgrade can be played.
mount -t tmpfs tmpfs /opt/source/aims_server
cp -r /mnt/source/aims_server/. /opt/source/aims_server/
mkdir -p /run/out
mount --bind /mnt/out /run/out
[[ $prefix == /usr ]] || python=/opt/python/bin/${python##*/}
cat >/opt/aims-server/bin/aims-server <<END
#!/bin/sh
# A Python with a shared library has written down where it was installed.
export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/packages:/opt/source
exec $python -m aims_server "\$@"
END
chmod -R a+rX /opt/aims-server
chmod a+x /opt/aims-server/bin/aims-server

# Of the distribution's units only the empty shells of those that ours refer to.
units=/usr/lib/systemd/system
for directory in $units /etc/systemd/system /usr/lib/systemd/*-generators; do
    mount -t tmpfs tmpfs "$directory"
done
for target in sysinit basic sockets multi-user shutdown network nss-lookup umount; do
    printf '[Unit]\nDefaultDependencies=no\n' >$units/$target.target
done
cp "$repository"/systemd/aims-server.* /etc/systemd/system/
mkdir -p /etc/systemd/system/aims-server.service.d /etc/aims-server
mount -t tmpfs -o mode=755 tmpfs /etc/aims-server  # whatever the host has there
cat >/etc/systemd/system/aims-server.service.d/test.conf <<END
[Service]
# Read by visit.py, before it wants a journal. And nobody waits 20 s in a test.
StandardOutput=append:/run/out/service.log
StandardError=inherit
WatchdogSec=6
END
# A journal in memory, for the runbooks; begun when visit.py wants it.
cat >$units/systemd-journald.service <<END
[Unit]
DefaultDependencies=no
Requires=systemd-journald.socket
[Service]
Type=notify
ExecStart=/usr/lib/systemd/systemd-journald
END
cat >$units/systemd-journald.socket <<END
[Unit]
DefaultDependencies=no
[Socket]
ListenStream=/run/systemd/journal/stdout
ListenDatagram=/run/systemd/journal/socket
PassCredentials=yes
END
cat >$units/boot.target <<END
[Unit]
DefaultDependencies=no
Wants=visit.service
END
cat >$units/visit.service <<END
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
Environment=PYTHONPATH=/opt/packages:/opt/source
StandardOutput=append:/run/out/visit.log
StandardError=inherit
ExecStart=$python /opt/source/tests/operations/visit.py /run/out/facts.json
ExecStopPost=/bin/touch /run/out/done
END

# As any container: without the rights that reach past it.
exec env -i container=test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set=-sys_time,-sys_boot,-sys_module,-sys_rawio,-syslog,-mac_admin,-mac_override \
    /usr/lib/systemd/systemd --system --unit=boot.target --log-target=null --show-status=no
