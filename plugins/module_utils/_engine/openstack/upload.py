# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What an upload to Glance has to say about an image, as far as image, package and guest tell it."""

from __future__ import annotations

import typing as t

from ..errors import ImageError
from ..formats.registry import lookup
from ..limits import GIB
from .combined import combine
from .properties import hardware_proposals
from .proposals import Proposals, applied
from .vmware import for_vmware

if t.TYPE_CHECKING:  # pragma: no cover
    from ..formats.base import Reader, Target
    from ..guest.guest import Guest
    from ..source import Source


def image_proposals(source: Source, guest: Guest | None) -> Proposals:
    """The properties that follow from where an image comes from and what is installed on it.

    A disk of a package from which its system does not boot has none: Nova takes the machine from the image that an instance boots from.

    :param guest: what is installed; None: that is not known
    """
    hardware = _hardware(source)
    if guest is None or not _boots(source):
        return hardware
    from .guest_properties import GuestProposals

    return combine(hardware, GuestProposals(guest))


def written_proposals(source: Source, reader: Reader, target: Target, *, vmware: bool = False) -> Proposals:
    """The same of an image that was made of the source. A guest that cannot be read only costs a note.

    :param reader: what was made; or the source, when nothing was
    :param vmware: whether it is for a cloud on VMware
    """
    from ..guest.guest import guest_on

    guest = reason = None
    if not _boots(source):
        return Proposals()
    if reader.storage.sequential:
        reason = "what is installed is not known yet: the image is compressed, and is looked into when it is written"
    else:
        try:
            guest = guest_on(reader)
        except ImageError as error:
            reason = f"what is installed could not be read: {error.message}"
    proposals = image_proposals(source, guest)
    if reason is not None:
        proposals.note("guest_not_read", reason)
    return for_vmware(proposals, _hardware(source, qemu=False), target) if vmware else proposals


def _boots(source: Source) -> bool:
    """Whether a machine boots from the disk, as far as the package that it may be in says."""
    return source.disk is None or source.disk.boot


def _hardware(source: Source, *, qemu: bool = True) -> Proposals:
    if source.package is None or source.system is None or not _boots(source):
        return Proposals()
    proposals = hardware_proposals(source.system, source.package.disks(source.system), source.package.writer, qemu=qemu)
    proposals.min_ram = source.system.memory_mib
    return proposals


def upload_facts(format_name: str, virtual_size: int, proposals: Proposals) -> dict[str, t.Any]:
    """The arguments of an image's creation, in the words of Glance and of ``openstack.cloud.image``.

    :param format_name: format of the file that is uploaded
    :param virtual_size: guest bytes
    :return: disk_format, container_format, min_disk (GiB), min_ram (MiB, None if not known), properties, all that was proposed with its
        source and confidence, and notes on what no property says
    """
    return {
        "disk_format": lookup(format_name).disk_format,
        "container_format": "bare",
        "min_disk": -(-virtual_size // GIB),
        "min_ram": proposals.min_ram,
        "properties": applied(proposals.found),
        "proposals": dict(sorted(proposals.found.items())),
        "notes": proposals.notes,
    }
