# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A guest's facts as plain data. Each of them is an entry that has the ``source`` it is known from."""

from __future__ import annotations

import dataclasses
import typing as t

from .cloud import CLOUD_CFG, NET_RULES
from .boot.entry import BootConfiguration, BootEntry
from .drivers import Drivers
from .guest import Guest
from .kernels import InstalledKernel
from .mounts import MountPoint
from .osrelease import OperatingSystem
from .roots import BIOS_BOOT_TYPE, ESP_TYPES, PREP_TYPES, XBOOTLDR_TYPE, GuestVolume, Root
from .system import System

MAX_ENTRIES = 100
_USE_BY_TYPE = ((ESP_TYPES, "esp"), ((XBOOTLDR_TYPE,), "xbootldr"), ((BIOS_BOOT_TYPE,), "bios_boot"), (PREP_TYPES, "prep"))
_USE_BY_SIGNATURE = {"swap": "swap", "LVM2_member": "lvm", "crypto_LUKS": "luks", "linux_raid_member": "raid"}


def guest_facts(guest: Guest) -> dict[str, t.Any]:
    """All that is known of a guest, ready for JSON.

    :return: ``filesystems`` (every volume), ``systems``, ``firmware``, ``risks`` and ``warnings``; ``os``, ``architecture``, ``hostname``,
        ``kernels``, ``boot``, ``drivers`` and ``preparation`` of the system, each None where it is not known
    """
    system = guest.system
    return {
        "filesystems": [_volume(volume, system) for volume in guest.volumes],
        "systems": [{"root": root.name, "os": _os(os), "source": root.source} for root, os in guest.roots],
        "root": _root(system.root) if system is not None else None,
        "os": _os(guest.os),
        "architecture": system.architecture._asdict() if system is not None and system.architecture is not None else None,
        "hostname": _sourced(system.preparation.hostname, "/etc/hostname") if system is not None else None,
        "firmware": _firmware(guest),
        "kernels": [_kernel(kernel, system) for kernel in system.kernels] if system is not None else [],
        "boot": _boot(system) if system is not None and system.boot is not None else None,
        "drivers": _drivers(system.drivers) if system is not None and system.drivers is not None else None,
        "preparation": _preparation(system) if system is not None else None,
        "risks": [dataclasses.asdict(risk) for risk in guest.risks],
        "warnings": guest.warnings,
    }


def _volume(volume: GuestVolume, system: System | None) -> dict[str, t.Any]:
    signature, partition = volume.signature, volume.volume.partition
    use, source = _use(volume, system)
    return {
        "volume": volume.name,
        "partition": partition.number if partition is not None and volume.volume.logical_volume is None else None,
        "type": signature.type if signature else None,
        "version": signature.version if signature else None,
        "label": signature.label if signature else None,
        "uuid": signature.uuid if signature else None,
        "length": volume.volume.storage.size if volume.volume.storage is not None else None,
        "occupied": volume.filesystem.size if volume.filesystem is not None else signature.size if signature else None,
        "use": use,
        "mounts": [mount._asdict() for mount in _mounts(volume, system)],
        "source": source,
        "problem": volume.problem,
        "warnings": _warnings(volume),
    }


def _warnings(volume: GuestVolume) -> list[str]:
    found = [*volume.volume.warnings, *(volume.signature.warnings if volume.signature else ())]
    if volume.filesystem is not None:
        found += [text for text in volume.filesystem.warnings if text not in found]
    return found


def _mounts(volume: GuestVolume, system: System | None) -> list[MountPoint]:
    return system.mounts.by_volume.get(volume.name, []) if system is not None else []


def _use(volume: GuestVolume, system: System | None) -> tuple[str | None, str | None]:
    """What a volume is for: where it is mounted, or else its role."""
    mounts = _mounts(volume, system)
    if mounts:
        return mounts[0].path, mounts[0].source
    use = next((use for types, use in _USE_BY_TYPE if volume.partition_type in types), None)
    if use is not None:
        return use, "type of the partition"
    use = _USE_BY_SIGNATURE.get(volume.signature.type) if volume.signature else None
    return use, "signature" if use else None


def _root(root: Root) -> dict[str, t.Any]:
    return {"volume": root.volume.name, "subvolume": root.subvolume, "source": root.source}


def _os(os: OperatingSystem | None) -> dict[str, t.Any] | None:
    """By the names of the image properties, where there is one."""
    if os is None:
        return None
    return {
        "os_type": os.type,
        "os_distro": os.distro,
        "os_version": os.version,
        "codename": os.codename,
        "name": os.name,
        "confidence": os.confidence,
        "source": os.source,
    }


def _sourced(value: t.Any, source: str | None) -> dict[str, t.Any] | None:
    return {"value": value, "source": source} if value is not None else None


def _firmware(guest: Guest) -> dict[str, t.Any]:
    found = guest.firmware
    return {"value": found.value, "bios": found.bios, "uefi": found.uefi, "source": found.reasons}


def _kernel(kernel: InstalledKernel, system: System) -> dict[str, t.Any]:
    return {
        "path": kernel.path,
        "version": kernel.version,
        "type": kernel.kernel.type,
        "compression": kernel.kernel.compression,
        "architecture": kernel.kernel.architecture,
        "length": kernel.size,
        "initrds": list(kernel.initrds),
        "modules": kernel.modules,
        "default": kernel is system.kernel,
        "source": kernel.path,
    }


def _boot(system: System) -> dict[str, t.Any]:
    boot: BootConfiguration = t.cast(BootConfiguration, system.boot)
    return {
        "loader": boot.loader,
        "default": _entry(boot.default) if boot.default is not None else None,
        "reason": boot.reason,
        "root": system.option("root"),
        "consoles": [word[len("console=") :] for word in system.options if word.startswith("console=")],
        "entries": [_entry(entry) for entry in boot.entries[:MAX_ENTRIES]],
        "source": boot.source,
        "warnings": boot.warnings,
    }


def _entry(entry: BootEntry) -> dict[str, t.Any]:
    return {
        "title": entry.title,
        "id": entry.id,
        "kernel": entry.kernel,
        "initrds": list(entry.initrds),
        "options": entry.options,
        "line": entry.line,
        "source": entry.source,
    }


def _drivers(drivers: Drivers) -> dict[str, t.Any]:
    # A playbook cannot write the name of a module that begins with a digit after a dot.
    status = {"rtl8139" if module == "8139cp" else module: found for module, found in drivers.status.items()}
    return {**status, "reason": drivers.reason, "source": drivers.sources}


def _preparation(system: System) -> dict[str, t.Any]:
    found = system.preparation
    return {
        "cloud_init": _presence(found.cloud_init, "/usr/bin/cloud-init"),
        "datasources": _sourced(found.datasources, found.datasources_source),
        "admin_user": _sourced(found.admin_user, CLOUD_CFG),
        "guest_agent": _presence(found.guest_agent, "/usr/sbin/qemu-ga"),
        "grow_root": _presence(found.grow_root, "/usr/bin/growpart"),
        "machine_id": _sourced(found.machine_id, "/etc/machine-id"),
        "ssh_host_keys": _sourced(found.ssh_host_keys, "/etc/ssh"),
        "network_rules": _sourced(found.network_rules, NET_RULES),
    }


def _presence(path: str | None, looked_for: str) -> dict[str, t.Any]:
    return {"value": path is not None, "source": path or looked_for}
