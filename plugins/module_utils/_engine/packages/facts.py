# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A package as one dictionary: safe for JSON and for logs."""

from __future__ import annotations

import typing as t

from ..errors import printable
from .codes import ERRORS
from .disks import PackageDisk
from .model import System
from .ovf.hardware import Drive

if t.TYPE_CHECKING:  # pragma: no cover
    from .package import Package

_MAX_VALUE = 256
"""characters of a property's value; licence texts and scripts are longer"""


def package_facts(package: Package) -> dict[str, t.Any]:
    """Everything that is known of a package without reading its disks. No passwords, no control characters."""
    envelope = package.envelope
    facts = {
        "path": package.path,
        "kind": package.kind,
        "layers": package.layers,
        "name": package.name,
        "descriptor": package.descriptor or None,
        "writer": package.writer,
        "ovf_version": package.ovf_version,
        "signed": package.certificate_file is not None,
        "signature": _signature(package),
        "manifest": _manifest(package),
        "configuration": envelope.configuration,
        "configurations": [{"id": item.id, "label": item.label, "default": item.default} for item in envelope.configurations],
        "networks": envelope.networks,
        "systems": [_system(package, system) for system in package.systems],
        "files": [
            {
                "href": located.file.href,
                "file": located.name,
                "pieces": list(located.names) if len(located.names) > 1 else [],
                "declared_size": located.file.size,
                "compression": located.file.compression or None,
            }
            for located in package.located
        ],
        "settings": [
            {
                "scope": item.scope or None,
                "key": item.key,
                "type": item.type,
                "label": item.label,
                "value": None if item.value is None else item.value[:_MAX_VALUE],
                "password": item.password,
                "user_configurable": item.user_configurable,
            }
            for item in envelope.properties
        ],
        "warnings": [{**warning._asdict(), "severity": "error" if warning.code in ERRORS else "note"} for warning in package.warnings],
    }
    return t.cast("dict[str, t.Any]", _plain(facts))


def _manifest(package: Package) -> dict[str, t.Any] | None:
    """None when the package has none; ``verified`` is False until verify_manifest() has run."""
    if package.manifest_file is None:
        return None
    verified = package.verified
    return {
        "file": package.manifest_file,
        "verified": verified is not None,
        "algorithms": verified.algorithms if verified else [],
        "files": verified.files if verified else [],
        "missing": verified.missing if verified else [],
        "unlisted": verified.unlisted if verified else [],
    }


def _signature(package: Package) -> dict[str, t.Any] | None:
    """Whose signature it is, and whether it is one; None when there is none that can be understood."""
    if package.signature is None or package.verification is None:
        return None
    return {**package.signature.facts(), **package.verification._asdict()}


def _system(package: Package, system: System) -> dict[str, t.Any]:
    guest = system.os
    return {
        "id": system.id,
        "name": system.name,
        "collection": system.collection,
        "cpus": system.hardware.cpus,
        "cpu_sockets": system.hardware.cpu_sockets,
        "cpu_cores": system.hardware.cpu_cores,
        "cpu_threads": system.hardware.cpu_threads,
        "memory_mib": system.memory_mib,
        "hardware_version": system.hardware_version,
        "firmware": system.firmware,
        "secure_boot": system.secure_boot,
        "chipset": system.chipset,
        "tpm": system.hardware.tpm,
        "tpm_version": system.hardware.tpm_version,
        "os": guest._asdict(),
        "networks": [{"models": adapter.models, "network": adapter.network, "mac": adapter.mac} for adapter in system.hardware.adapters],
        "disks": [_disk(disk) for disk in package.disks(system)],
        "removable_drives": [_removable(package, drive) for drive in system.hardware.removable],
        "min_ram": system.memory_mib,
    }


def _disk(disk: PackageDisk) -> dict[str, t.Any]:
    return {
        "disk_id": disk.disk_id,
        "file": disk.file or None,
        "href": disk.href or None,
        "capacity": disk.capacity,
        "virtual_size": disk.virtual_size,
        "format": disk.image_format,
        "subformat": disk.subformat,
        "declared_format": disk.format or None,
        "compression": disk.compression or None,
        "parent": disk.parent or None,
        "bus": disk.bus,
        "controller": disk.controller,
        "address": disk.address,
        "boot": disk.boot,
        "problem": str(disk.problem) if disk.problem else None,
    }


def _removable(package: Package, drive: Drive) -> dict[str, t.Any]:
    """A drive for CDs, DVDs or floppy disks, and the file of the package that is in it."""
    return {
        "device": drive.device,
        "href": package.envelope.medium(drive),
        "bus": drive.controller.bus if drive.controller else None,
        "address": drive.address,
    }


def _plain(value: t.Any) -> t.Any:
    """Texts from the package without control characters and lone surrogates; depth is that of the literals above."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
