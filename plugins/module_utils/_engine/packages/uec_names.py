# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What the files of a UEC tarball are called. The programs that read one go by names alone.

Sources: devstack's upload_image (functions), cloud-utils' cloud-publish-tarball, Ubuntu's and cirros' tarballs.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import typing as t

from ..errors import InvalidImage, printable

UBUNTU, CIRROS, EC2 = "ubuntu", "cirros", "ec2"

KERNEL, RAMDISK, IMAGE = "kernel", "ramdisk", "image"
GLOBS: dict[str, tuple[str, ...]] = {
    KERNEL: ("*-vmlinuz*", "aki-*/image"),
    RAMDISK: ("*-initrd*", "ari-*/image"),
    IMAGE: ("*.img", "ami-*/image"),
}
"""devstack's shell patterns: the first file that exists counts"""

_ENDINGS = (".tar.gz", ".tgz")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*", re.ASCII)


def prefix_of(path: str) -> str:
    """What a tarball is called without its ending, as its files are.

    :raises InvalidImage: it does not have the ending by which programs know a tarball
    """
    name = posixpath.basename(path)
    for ending in _ENDINGS:
        if name.endswith(ending) and name != ending:
            return name[: -len(ending)].removesuffix("-uec")
    raise InvalidImage("a UEC tarball is known by its ending", path=path, hint=f"Let the name end with {' or '.join(_ENDINGS)}")


def names(prefix: str, *, style: str, flavour: str | None, ramdisk: bool) -> dict[str, str]:
    """The names of the files in a tarball, by their roles, in the order of the tarball.

    :param style: ``ubuntu`` (``<prefix>.img``), ``cirros`` (``<prefix>-blank.img``) or ``ec2`` (``ami-<prefix>/image``)
    :param flavour: what the names of kernel and ramdisk end with, as ``virtual``
    :param ramdisk: whether there is one
    :raises InvalidImage: with these names, a program would take another file for the kernel, the ramdisk or the image
    """
    for part in (prefix, flavour):
        if part is not None and not _PLAIN.fullmatch(part):
            raise InvalidImage(f"{printable(part)!r} cannot be a part of a file's name that shells take", hint="Letters, digits and . _ + - are possible")
    if style == EC2:
        found = {KERNEL: f"aki-{prefix}/image", RAMDISK: f"ari-{prefix}/image", IMAGE: f"ami-{prefix}/image"}
    else:
        suffix = f"-{flavour}" if flavour else ""
        image = f"{prefix}-blank.img" if style == CIRROS else f"{prefix}.img"
        found = {KERNEL: f"{prefix}-vmlinuz{suffix}", RAMDISK: f"{prefix}-initrd{suffix}", IMAGE: image}
    if not ramdisk:
        del found[RAMDISK]
    for role in GLOBS:
        taken = matching(found.values(), role)
        if taken != [name for name in (found.get(role),) if name]:
            raise InvalidImage(f"programs would take {printable(', '.join(taken))!r} for the {role}", hint="Choose another prefix or flavour")
    return found


def matching(there: t.Iterable[str], role: str) -> list[str]:
    """The names that devstack's patterns for a role fit, in its order."""
    return [name for pattern in GLOBS[role] for name in sorted(there) if _fits(name, pattern)]


def _fits(name: str, pattern: str) -> bool:
    """As the shell does: a star fits no slash, and no dot at the beginning."""
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(fnmatch.fnmatchcase(part, one) and not part.startswith(".") for part, one in zip(parts, patterns))
