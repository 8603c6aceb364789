# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""From an opened source to a finished image in a sink: verified before, while and after it is written."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t

from .errors import CorruptImage, InvalidImage, SpaceError, UnsafeReference, UnsupportedImage, from_os_error, printable
from .formats.base import Reader, Target
from .formats.detect import detect
from .formats.registry import create_writer, open_reader
from .progress import Progress, silent
from .source import Source
from .storage.file import FileStorage
from .storage.sink import Sink
from .transfer.compare import compare
from .transfer.convert import Survey, convert, survey
from .transfer.digest import verify_checksum


@dataclasses.dataclass
class Produced:
    """What was written."""

    virtual_size: int
    """guest bytes, after padding to the target's unit"""
    content: int
    """guest bytes that were stored"""
    checks: list[str] = dataclasses.field(default_factory=list)
    """what was verified on the way, for a person to read"""


def verify_source(source: Source, checksum: str | None, *, progress: Progress = silent) -> list[str]:
    """Verify the checksum that the user gave, before anything that comes from the source counts.

    :param checksum: of the file as it lies there, ``<algorithm>:<hexadecimal digest>``
    :return: what was verified, for a person to read
    :raises IntegrityFailure: the bytes are not what they have to be
    """
    if checksum is None:
        return []
    storage = FileStorage(source.path)
    try:
        verify_checksum(storage, checksum, progress=progress)
    finally:
        storage.close()
    return [f"the source has the {checksum.partition(':')[0]} checksum that was given"]


def verify_manifest(source: Source, *, progress: Progress = silent) -> list[str]:
    """Compare the package's descriptor and the files that were read with the manifest, by the request's policy.

    What was read in its order was hashed on the way and is not read again: best called when all has been read.

    :return: what was verified, for a person to read
    :raises IntegrityFailure: a digest differs, or the manifest does not list what it has to
    """
    verified = source.package.verify_used(progress=progress) if source.package is not None else None
    return [f"the package's manifest agrees with {len(verified.files)} of its files"] if verified is not None else []


def produce(
    source: Source,
    target: Target,
    sink: Sink,
    *,
    base_folder: str | None = None,
    verify_content: bool = False,
    progress: Progress = silent,
    threads: int | None = None,
) -> Produced:
    """Write ``source`` as ``target`` into ``sink``, then open the result again and check it. The caller commits the sink.

    A package's manifest is compared in the same pass.

    With the creation option ``backing_file`` the result holds only what that image does not have. Its name is relative
    to the folder of ``sink.name``, as in every tool that reads the result.

    :param base_folder: the folder in which the target's backing file, and all that it names itself, have to lie
    :param verify_content: compare every guest byte of the result with the source, too
    :raises UnsupportedImage: the content cannot be read, or the target cannot hold it
    :raises SpaceError: the file system has no room
    :raises CorruptImage: the source contradicts itself, or the result is not what was to be written
    :raises IntegrityFailure: the package's manifest does not agree
    """
    reader = source.reader
    found = require_possible(source, target, os.path.dirname(os.path.abspath(sink.name)))
    with contextlib.ExitStack() as stack:
        base = _open_base(target, sink, base_folder, stack)
        writer = create_writer(target, sink, reader.virtual_size)
        written = convert(reader, writer, base=base, found=found, progress=progress, threads=threads)
        produced = Produced(writer.virtual_size, written)
        produced.checks.append(f"all {reader.format} structures of the source lie inside the file")
        produced.checks += verify_manifest(source, progress=progress)
        _verify(source, target, sink, produced, verify_content, progress, base_folder)
    return produced


def _open_base(target: Target, sink: Sink, folder: str | None, stack: contextlib.ExitStack) -> Reader | None:
    """The image that is to show through the result, or None."""
    name = target.options.get("backing_file")
    if not name:
        return None
    if folder is None:
        raise UnsafeReference(f"the backing file '{printable(name)}' may not be read", path=sink.name, hint="Allow its folder with the option references")
    from .formats.chain import open_backing

    image = sink.reopen()
    stack.callback(image.close)
    base = open_backing(name, target.options["backing_fmt"], image, folder)
    stack.callback(base.close)
    return base


def require_possible(source: Source, target: Target, folder: str) -> Survey:
    """All that can be known before anything is written.

    :param folder: where the result is to lie
    :raises ImageError: as :func:`produce`
    """
    _require_same_kind(source, target)
    found = survey(source.reader)
    _require_space(source.reader, target, folder, found)
    return found


def _require_same_kind(source: Source, target: Target) -> None:
    """Install media stay install media, and a disk does not become one."""
    form = source.reader.format
    if form == "iso" and target.format not in ("iso", "raw"):
        raise UnsupportedImage(
            "an ISO is install media, not a disk: it is uploaded as it is",
            path=source.path,
            hint="Ask for the format iso to copy it",
        )
    if target.format == "iso" and form != "iso":
        raise UnsupportedImage(f"a disk in {form} format does not become an ISO", path=source.path)


def _require_space(reader: Reader, target: Target, folder: str, found: Survey) -> None:
    """Refuse what certainly does not fit into a folder's file system.

    Certain is only what an image format's own tables call data: a raw file's bytes may be zeros, which are left out,
    how far compression shrinks is not known, nor what a backing file has already. All these meet a full disk while writing, and leave nothing behind.

    :raises SpaceError: fewer bytes are free than have to be written
    """
    preallocated = target.options.get("preallocation") in ("falloc", "full")
    if not preallocated and (reader.format in ("raw", "iso") or target.compress or target.options.get("backing_file")):
        return
    try:
        room = os.statvfs(folder)
    except OSError as error:
        raise from_os_error(error, folder, "look at the file system") from error
    free = room.f_bavail * room.f_frsize
    needed = reader.virtual_size if preallocated else found.content
    if needed > free:
        raise SpaceError(f"the result needs {needed} bytes, the file system has {free} free", path=folder, hint="Free some space or choose another folder")


def _verify(source: Source, target: Target, sink: Sink, produced: Produced, verify_content: bool, progress: Progress, base_folder: str | None) -> None:
    with contextlib.ExitStack() as stack:
        storage = sink.reopen()
        stack.callback(storage.close)
        _refuse_nested(source, target, detect(storage))
        result = open_reader(target.format, storage)
        if sink.others:
            from .formats.companions import open_written

            open_written(result, sink)
            stack.callback(result.close)
        elif base_folder is not None and result.references():
            from .formats.chain import follow

            follow(result, storage, base_folder)
            stack.callback(result.close)
        survey(result)
        if result.virtual_size != produced.virtual_size:
            raise CorruptImage(f"the result shows {result.virtual_size} bytes instead of {produced.virtual_size}", path=sink.name)
        produced.checks.append(f"the result was opened again as {target.format}, and its structures are sound")
        if verify_content:
            difference = compare(source.reader, result, progress=progress)
            if difference is not None:
                raise CorruptImage(f"the result is not what was to be written: {difference.reason}", path=sink.name)
            produced.checks.append(f"all {source.reader.virtual_size} bytes that the guest sees are the same as in the source")


def _refuse_nested(source: Source, target: Target, found: t.Any) -> None:
    """A raw disk whose first bytes are another image format's would be opened as that format by the next tool (CVE-2015-5163).

    What was raw before can be such a disk, too: its last sector is filled up with zeros, which may complete a footer.
    """
    if target.format != "raw":
        return
    nested = [match for match in found.matches if match.category == "disk" and match.format != "raw"]
    if nested:
        raise InvalidImage(
            f"the guest's content is itself {nested[0].description}; written as raw, other tools would take it for that",
            path=source.path,
            hint="Convert to another format than raw, or take the inner image out first",
        )
