# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Opening a package of whatever kind, in whatever it is wrapped: what is inside decides, names say nothing."""

from __future__ import annotations

import contextlib
import functools
import os
import posixpath
import typing as t

from ..errors import AmbiguousImage, ImageError, InvalidImage, LimitExceeded, NeedsKernel, printable
from ..formats.detect import Detection, detect
from ..formats.probes.content import PARTITION_TABLES
from ..formats.probes.match import COMPRESSION, DISK, OPTICAL
from ..storage.base import Storage
from ..storage.file import FileStorage
from ..storage.stream import COMPRESSIONS, open_stream
from .container import TAR, Archive, Container, Folder, ignored
from .ovf.envelope import parse_envelope
from .package import ARCHIVE, OVA, OVF, VAGRANT, Package, with_suffix
from .uec_names import KERNEL, matching

_ARCHIVES = ("ova", "vagrant", "tar", "zip")
_MAX_DEPTH = 3
"""packages inside of archives inside of archives"""
_MAX_LOOKED_AT = 1000
"""files of an archive without a descriptor: what each is, is found out by its content"""
_METADATA = "metadata.json"


def open_package(path: str, *, configuration: str | None = None, max_size: int | None = None) -> Package:
    """Open a package: an archive, compressed or not, a descriptor in its folder, or a folder with one descriptor.

    :param configuration: id of the deployment configuration whose hardware is wanted; the package's default when None
    :param max_size: bytes that may come out of a compressed archive, or of each of its members; None: as many as are plausible
    :raises InvalidImage: no package
    :raises AmbiguousImage: more than one descriptor
    :raises ImageError: whatever else is wrong with it
    """
    if os.path.isdir(path):
        return _in_container(path, Folder(path), configuration, [])
    storage = FileStorage(path)
    try:
        found = detect(storage)
        if found.best.format == "ovf" or _is_xml(storage.read_at(0, 64)):
            storage.close()
            # The caller may name the descriptor by a link; what the descriptor names may not be one.
            real = os.path.realpath(path) if os.path.islink(path) else path
            read = functools.partial(parse_envelope, configuration=configuration)
            return Package(path, OVF, Folder(os.path.dirname(real) or "."), os.path.basename(real), read)
        package = package_in(path, storage, found, configuration=configuration, max_size=max_size)
    except BaseException:
        storage.close()
        raise
    if package is None:
        storage.close()
        raise InvalidImage(f"this is {found.best.description}, not a package", path=path)
    return package


def _is_xml(start: bytes) -> bool:
    """Whether it is meant to be a descriptor, if only a damaged one."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if start.startswith(mark):
            return start[len(mark) :].decode(encoding, "replace").lstrip().startswith("<")
    return start.lstrip().startswith(b"<")


def package_in(
    path: str, storage: Storage, found: Detection, *, configuration: str | None = None, max_size: int | None = None, layers: t.Sequence[str] = ()
) -> Package | None:
    """The package that an archive, or a compressed archive, is; None when the storage is neither. It closes the storage.

    :param path: for messages
    :param found: what detect() said of the storage
    :param layers: what is around it
    :raises ImageError: as :func:`open_package`; the storage is still open then
    """
    form = found.best.format
    if form in COMPRESSIONS and found.best.category == COMPRESSION:
        stream = open_stream(storage, form)
        stream.limit(max_size, plausible=True)
        inner = detect(stream, tail=False)
        if inner.best.format not in _ARCHIVES:
            return None
        storage, form, layers = stream, inner.best.format, [*layers, form]
    if form not in _ARCHIVES or found.ambiguous:
        return None
    return _in_container(path, Archive(storage, max_size), configuration, layers, max_size)


def _in_container(path: str, container: Container, configuration: str | None, layers: t.Sequence[str], max_size: int | None = None) -> Package:
    descriptors = with_suffix(container, ".ovf")
    if len(descriptors) > 1:
        there = ", ".join(repr(printable(name)) for name in descriptors[:10])
        raise AmbiguousImage(f"{len(descriptors)} OVF descriptors: {there}", path=container.path, hint="A package has one")
    if descriptors:
        kind = OVA if isinstance(container, Archive) and container.kind == TAR else OVF
        return Package(path, kind, container, descriptors[0], functools.partial(parse_envelope, configuration=configuration), layers)
    box = [name for name in container.names() if posixpath.basename(name) == _METADATA and not ignored(name)]
    if len(box) == 1:
        _refuse_configuration(path, configuration)
        from .vagrant import parse_box

        return Package(path, VAGRANT, container, box[0], functools.partial(parse_box, files=dict(_sizes(container)), open_name=container.open), layers)
    if not isinstance(container, Archive):
        raise InvalidImage("is no package: there is no .ovf file in it", path=container.path)
    package = _nested(path, container, configuration, layers, max_size)
    if package is None:
        _refuse_configuration(path, configuration)
        package = _plain(path, container, layers)
    return package


def _refuse_configuration(path: str, configuration: str | None) -> None:
    if configuration is not None:
        raise InvalidImage("deployment configurations are in OVF packages only, and this is none", path=path)


def _nested(path: str, outer: Archive, configuration: str | None, layers: t.Sequence[str], max_size: int | None) -> Package | None:
    """The package that is the only archive in an archive (an OVA in a zip file); None when there is none."""
    found = []
    files = _sizes(outer)
    if len(files) > _MAX_LOOKED_AT:
        raise InvalidImage(f"is no package: none of its {len(files)} files is a descriptor", path=path)
    for name, _size in files:
        storage = outer.open(name)
        inner = detect(storage, tail=not storage.sequential)
        if inner.best.format in (*_ARCHIVES, *COMPRESSIONS):
            found.append((name, storage, inner))
    if len(found) != 1:
        return None
    if len(layers) >= _MAX_DEPTH:
        raise LimitExceeded(f"more than {_MAX_DEPTH} archives inside of each other", path=path)
    name, storage, inner = found[0]
    package = package_in(path, storage, inner, configuration=configuration, max_size=max_size, layers=[*layers, outer.kind])
    if package is not None:
        package.outer = outer
    return package


def _plain(path: str, archive: Archive, layers: t.Sequence[str]) -> Package:
    """An archive that simply has disk images in it."""
    from .plain import envelope_of

    files = _sizes(archive)
    alone = len(files) == 1

    kernel = _kernel(archive, [name for name, _size in files])

    def is_image(name: str) -> bool:
        with contextlib.suppress(ImageError):
            storage = archive.open(name)
            found = detect(storage, tail=not storage.sequential)
            if found.best.format in COMPRESSIONS:
                found = detect(open_stream(storage, found.best.format), tail=False)
            known = found.best.format != "raw" or found.contents or alone
            if kernel is not None:  # beside a kernel lies its root file system, too: that is no disk
                known = found.best.format != "raw" or any(match.format in PARTITION_TABLES for match in found.contents)
            return found.best.category in (DISK, OPTICAL) and bool(known)
        return False

    try:
        envelope = envelope_of(files, is_image, path)
    except InvalidImage:
        if kernel is None:
            raise
        raise NeedsKernel(
            f"is a UEC tarball: its image boots with {printable(kernel)!r} only, and has no disk around it",
            path=path,
            hint="The module uec_extract takes it apart",
        ) from None  # that it is no other package either would only confuse
    return Package(path, ARCHIVE, archive, "", lambda _data, _name: envelope, layers)


def _kernel(archive: Archive, names: t.Iterable[str]) -> str | None:
    """The kernel in a UEC tarball; None: it is none."""
    from ..guest.kernel import identify_kernel

    for name in matching(names, KERNEL):
        with contextlib.suppress(ImageError):
            storage = archive.open(name)
            if identify_kernel(storage) is not None:
                return name
    return None


def _sizes(container: Container) -> list[tuple[str, int]]:
    """The files that can be read, with their sizes."""
    found = []
    for name in container.names():
        if not ignored(name):
            with contextlib.suppress(ImageError):
                found.append((name, container.size(name)))
    return found
