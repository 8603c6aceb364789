# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Risks of an operating system: what its files say about booting in OpenStack with KVM.

Sources: Nova's libvirt driver (virtio is the default bus of disks and network; the console log is the first serial port);
cloud-init's data sources for OpenStack (``OpenStack``, ``ConfigDrive``); machine-id(5); fstab(5).
"""

from __future__ import annotations

import typing as t

from ..errors import printable
from . import fstab
from .boot.entry import NONE, SYSTEMD_BOOT
from .drivers import MISSING, MODULES, UNKNOWN, Drivers
from .kernels import InstalledKernel
from .osrelease import LINUX
from .risk import ERROR, NOTE, WARNING, Risk
from .roots import GuestVolume
from .system import System, root_modules

_SERIAL = {"aarch64": "ttyAMA0", "ppc64le": "hvc0", "s390x": "ttysclp0"}
_DATASOURCES = ("OpenStack", "ConfigDrive")
_LATE = (MODULES, MISSING)
_OLD_BUSES = ("/dev/sd", "/dev/hd", "/dev/xvd", "/dev/nvme", "/dev/mmcblk")


def system_risks(system: System, volumes: t.Sequence[GuestVolume]) -> t.Iterator[Risk]:
    """The risks of one system, in no order."""
    yield from _kernel(system)
    if system.kernel is not None:
        yield from _drivers(system, system.kernel)
        yield from _architecture(system, system.kernel)
    yield from _command_line(system, volumes)
    yield from _tables(system)
    yield from _layout(system)
    if system.os is None or system.os.type == LINUX:
        yield from _preparation(system)


def _kernel(system: System) -> t.Iterator[Risk]:
    boot = system.boot
    default = boot.default if boot is not None else None
    if not system.kernels and (default is None or default.kernel is None):
        yield Risk("no_kernel", ERROR, "there is no kernel: a container's root file system, or /boot is on another disk", "/boot")
    if system.kernels and (boot is None or boot.loader == NONE or default is None):
        yield Risk("no_boot_entry", WARNING, "no boot loader names a kernel: which one boots by default is not known", boot.source if boot else None)
    if default is None:
        return
    if default.kernel is not None and not system.files.is_file(default.kernel):
        text = f"the default boot entry names the kernel {printable(default.kernel)}, which is not there"
        yield Risk("kernel_missing", ERROR, text, default.source)
    if boot is not None and boot.loader == SYSTEMD_BOOT and default.kernel is not None and system.files.is_file(default.kernel):
        place = system.files.tree.find(default.kernel)
        kind = place.filesystem.signature.type if place is not None else None
        if kind not in (None, "vfat"):
            text = f"systemd-boot reads FAT only, and the kernel lies on {kind}: it cannot be loaded, unless the firmware has a driver for that"
            yield Risk("loader_cannot_read", ERROR, text, default.kernel)
    for path in default.initrds:
        if not system.files.is_file(path):
            yield Risk("initramfs_missing", ERROR, f"the default boot entry names the ramdisk {printable(path)}, which is not there", default.source)
    kernel = system.kernel
    if kernel is None:
        return
    if kernel.kernel.size is not None and kernel.size < kernel.kernel.size - 4096:  # what is appended to be signed may be gone
        text = f"the kernel {kernel.path} has {kernel.size} bytes and should have {kernel.kernel.size}: it is cut off"
        yield Risk("kernel_truncated", ERROR, text, kernel.path)
    if kernel.version is not None and kernel.modules is None:
        yield Risk("no_modules", WARNING, f"the modules of the kernel {kernel.version} are not installed", f"/lib/modules/{kernel.version}")


def _drivers(system: System, kernel: InstalledKernel) -> t.Iterator[Risk]:
    drivers = system.drivers
    if drivers is None:
        return
    source = drivers.sources[-1] if drivers.sources else kernel.path
    bus = [] if system.architecture is not None and system.architecture.value == "s390x" else ["virtio_pci"]
    disk = [module for module in ("virtio_blk", *bus) if drivers.status[module] in _LATE]
    if disk:
        text = f"{' and '.join(disk)} is neither built into the kernel nor in its ramdisk: the root disk is not found on Nova's default bus"
        if drivers.early("virtio_scsi") and "virtio_pci" not in disk:
            yield Risk("no_virtio_blk", WARNING, f"{text}. Set hw_disk_bus=scsi and hw_scsi_model=virtio-scsi, for which it has the driver", source)
        else:
            yield Risk("no_virtio_in_initramfs", ERROR, f"{text}. Add the drivers to the ramdisk ({_rebuild(system)}), or set hw_disk_bus=sata", source)
    elif any(drivers.status[module] == UNKNOWN for module in ("virtio_blk", *bus)):
        yield Risk("virtio_unknown", NOTE, f"whether the kernel finds a virtio disk is not known: {drivers.reason}", source)
    yield from _root_driver(system, drivers, source)
    if drivers.status["virtio_net"] == MISSING and kernel.modules is not None:
        text = "there is no driver for virtio network cards: set hw_vif_model to a card that it knows (e1000)"
        yield Risk("no_virtio_net", WARNING, text, kernel.modules)


def _root_driver(system: System, drivers: Drivers, source: str) -> t.Iterator[Risk]:
    for module in root_modules(system.root):
        if drivers.status[module] in _LATE:
            text = f"{module}, which the root file system needs, is neither built into the kernel nor in its ramdisk"
            yield Risk("no_root_driver", ERROR, f"{text}. Add it to the ramdisk ({_rebuild(system)})", source)


def _rebuild(system: System) -> str:
    if system.files.first("/usr/sbin/update-initramfs") is not None:
        return "/etc/initramfs-tools/modules, update-initramfs -u"
    if system.files.first("/usr/bin/dracut", "/usr/sbin/dracut", "/sbin/dracut") is not None:
        return 'dracut --force --add-drivers "virtio_blk virtio_pci virtio_scsi"'
    return "with the guest's own tool"


def _architecture(system: System, kernel: InstalledKernel) -> t.Iterator[Risk]:
    programs, other = system.architecture, kernel.kernel.architecture
    if programs is None or other is None or programs.value == other:
        return
    text = f"the programs are for {programs.value} ({programs.source}), the kernel {kernel.path} is for {other}"
    runs = (programs.value, other) in (("i686", "x86_64"), ("armv7l", "aarch64"))
    yield Risk("kernel_architecture", NOTE if runs else ERROR, text, kernel.path)


def _command_line(system: System, volumes: t.Sequence[GuestVolume]) -> t.Iterator[Risk]:
    default = system.boot.default if system.boot is not None and system.boot.loader != NONE else None
    if default is None or default.kernel is None:
        return
    consoles = [word[len("console=") :].partition(",")[0] for word in system.options if word.startswith("console=")]
    architecture = system.architecture.value if system.architecture is not None else None
    serial = _SERIAL.get(architecture or "", "ttyS0")
    if serial not in consoles:
        text = f"the kernel's command line has no console={serial}: the instance's console log stays empty"
        yield Risk("no_serial_console", WARNING, text, default.source)
    root = system.option("root")
    if root is None:
        if default.options:
            yield Risk("no_root_option", NOTE, "the kernel's command line has no root=: systemd has to find it by the types of partitions", default.source)
    elif fstab.is_kernel_name(root):
        yield _by_kernel_name("root_by_device", f"the kernel's command line has root={root}", root, default.source, ERROR)
    elif (root.startswith("/dev/") or "=" in root) and root != "gpt-auto" and not any(fstab.matches(root, volume.device) for volume in volumes):
        yield Risk("root_not_found", ERROR, f"the kernel's command line has root={printable(root)}, and no volume of the disk is called so", default.source)
    resume = system.option("resume")
    if resume and not any(fstab.matches(resume, volume.device) for volume in volumes):
        text = f"the kernel's command line has resume={printable(resume)}, which is not on the disk: booting waits for it"
        yield Risk("resume_not_found", WARNING, text, default.source)


def _by_kernel_name(code: str, what: str, device: str, source: str, level: str) -> Risk:
    if device.startswith(_OLD_BUSES):
        return Risk(code, level, f"{what}: on Nova's default bus the disk is called /dev/vda. Use a UUID instead", source)
    return Risk(code, NOTE, f"{what}: this holds as long as the disk is the first one on virtio. A UUID always does", source)


def _tables(system: System) -> t.Iterator[Risk]:
    """What the table of file systems asks for and the disk does not have."""
    for line in system.mounts.fstab:
        is_device = line.spec.startswith("/dev/") or line.spec.partition("=")[0].upper() in ("UUID", "LABEL", "PARTUUID", "PARTLABEL")
        if not is_device or line.type in ("nfs", "nfs4", "cifs"):
            continue
        source = f"{fstab.PATH}:{line.line}"
        optional = any(option in line.options for option in ("nofail", "noauto"))
        if line.line not in system.mounts.found and line.spec.startswith(("/dev/cdrom", "/dev/sr", "/dev/fd")):
            continue
        if line.line not in system.mounts.found:
            text = f"{printable(line.spec)} for {printable(line.path)} is not on the disk"
            if optional:
                yield Risk("fstab_device_missing", NOTE, f"{text}, but need not be there", source)
            elif line.type == "swap":
                yield Risk("fstab_device_missing", WARNING, f"{text}: booting waits for it for 90 seconds", source)
            else:
                yield Risk("fstab_device_missing", ERROR, f"{text}: booting ends in the emergency mode. Remove the line, or add nofail", source)
        elif fstab.is_kernel_name(line.spec):
            level = NOTE if optional else WARNING
            yield _by_kernel_name("fstab_by_device", f"{printable(line.path)} is named {line.spec}", line.spec, source, level)


def _layout(system: System) -> t.Iterator[Risk]:
    if system.root.volume.volume.logical_volume is not None:
        text = "the root file system is a logical volume: it does not grow by itself to the size of the flavour's disk"
        yield Risk("lvm_root", NOTE, text, system.root.volume.name)
    if "/usr" in system.mounts.tree.mounts:
        yield Risk("separate_usr", NOTE, "/usr is a file system of its own: the ramdisk has to mount it", fstab.PATH)


def _preparation(system: System) -> t.Iterator[Risk]:
    found = system.preparation
    if found.cloud_init is None:
        text = "cloud-init is not installed: instances get no SSH keys, host name or user data from OpenStack"
        yield Risk("no_cloud_init", WARNING, text, "/usr/bin/cloud-init")
    elif found.cloud_init_disabled:
        yield Risk("cloud_init_disabled", WARNING, "cloud-init is switched off by a file", "/etc/cloud/cloud-init.disabled")
    elif found.datasources is not None and not any(name in _DATASOURCES for name in found.datasources):
        text = f"cloud-init only asks {', '.join(map(printable, found.datasources[:10])) or 'nothing'}: add OpenStack and ConfigDrive to datasource_list"
        yield Risk("no_openstack_datasource", ERROR, text, found.datasources_source)
    if found.machine_id == "set":
        text = "the machine id is set, so all instances have the same one (and with DHCP maybe the same address): empty the file"
        yield Risk("machine_id_set", WARNING, text, "/etc/machine-id")
    if found.ssh_host_keys:
        text = "there are SSH host keys, so all instances have the same ones: remove them, cloud-init makes new ones"
        yield Risk("ssh_host_keys", WARNING, text, found.ssh_host_keys[0])
    for path in found.network_rules:
        yield Risk("network_by_mac", WARNING, "network cards are named, or set up, by the MAC address of the former machine: remove it", path)
    if found.grow_root is None and system.root.volume.volume.logical_volume is None:
        text = "nothing was found that makes the root partition as large as the flavour's disk (growpart, systemd-repart)"
        yield Risk("no_grow_root", NOTE, text, None)
    if found.guest_agent is None:
        yield Risk("no_guest_agent", NOTE, "QEMU's guest agent is not installed: leave hw_qemu_guest_agent unset", None)
