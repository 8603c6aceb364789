# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What image_convert does."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .._engine.device import device_difference, write_device
from .._engine.errors import AccessError, ImageError, UnsupportedImage
from .._engine.formats.base import Reader, Target, whole_sectors
from .._engine.formats.companions import open_present, planned
from .._engine.formats.raw import RawReader
from .._engine.formats.registry import target
from .._engine.inspect import describe
from .._engine.openstack.given import checked, with_given
from .._engine.openstack.upload import upload_facts, written_proposals
from .._engine.packages.container import Folder
from .._engine.produce import produce, require_possible, verify_manifest, verify_source
from .._engine.profiles import profile, target_for
from .._engine.progress import Progress
from .._engine.source import Request, Source, detect_path, open_source, source_identity
from .._engine.storage.device import is_block_device
from .._engine.storage.file import FileStorage
from .._engine.storage.sink import Sink
from .._engine.transfer.compare import compare
from .._engine.transfer.digest import digests
from .._engine.transfer.resize import resize, size_for
from .destination import Destination
from .difference import difference
from .image import facts, request
from .run import SOURCE, Result


def convert_image(module: AnsibleModule, progress: Progress) -> Result:
    """image_convert."""
    params = module.params
    given = checked(params["properties"])
    wanted = target_for(
        profile(params["profile"]), params["format"], params["subformat"], params["compress"], _options(params["options"]), params["compressor"]
    )
    identity = source_identity(params["src"])
    if os.path.exists(params["dest"]) and os.path.samefile(params["src"], params["dest"]):
        raise UnsupportedImage("src and dest are the same file", path=params["dest"], hint="Write to another file, then move it")
    if params["dest_device"] or is_block_device(params["dest"]):
        return _with_given(_convert_to_device(module, wanted, progress), given)
    asked = {key: params[key] for key in (*SOURCE, "virtual_size", "align", "profile", "iso", "verify")}
    dest = Destination(module, {**asked, "source": identity, "target": dataclasses.asdict(wanted)})
    result = dest.recall() if identity is not None else None
    if result is None:
        result = _convert(module, dest, wanted, progress)
    if params["checksums"] and not (module.check_mode and result["changed"]):
        result["checksums"] = _checksums(dest.path, params["checksums"], result.get("checksums", {}), progress)
    return dest.finish(_with_given(result, given))


def _with_given(result: Result, given: t.Mapping[str, str | None]) -> Result:
    return {**result, "openstack": with_given(result["openstack"], given)}


def _convert(module: AnsibleModule, dest: Destination, wanted: Target, progress: Progress) -> Result:
    params = module.params
    with _opened(module, wanted, progress) as (source, wanted, checks):
        dest.depends_on = {storage.name for storage in source.reader.followed}
        if wanted.options.get("backing_file"):
            dest.depends_on.add(os.path.join(os.path.dirname(dest.path), wanted.options["backing_file"]))
        before, reason = _reason_to_write(module, source, dest, wanted, progress)
        result = _result(module, source, wanted, reason, checks)
        if reason is None:
            with _open_dest(module, wanted) as found:
                result["openstack"] = _openstack(module, source, wanted, found.reader)
            result["checks"] = [
                *checks,
                *verify_manifest(source, progress=progress),
                f"all {source.reader.virtual_size} bytes that the guest sees are the same as in the source",
            ]
            return {**result, "msg": "dest has this content, format and variant already", "image": before}
        dest.plan(planned(wanted, dest.path, source.reader.virtual_size), [*_files(source), *dest.depends_on])
        if module.check_mode:
            require_possible(source, wanted, os.path.dirname(os.path.abspath(dest.path)))
            result["checks"] = [*checks, *verify_manifest(source, progress=progress)]
            result["openstack"] = _openstack(module, source, wanted, source.reader)
            image: dict[str, t.Any] = {"format": wanted.format, "subformat": wanted.subformat, "virtual_size": source.reader.virtual_size}
        else:

            def write(sink: Sink) -> None:
                produced = produce(source, wanted, sink, base_folder=params["references"], verify_content=params["verify"] == "content", progress=progress)
                result["checks"] = checks + produced.checks

            dest.replace(write)
            with _open_dest(module, wanted) as found:
                image = describe(found)
                result["openstack"] = _openstack(module, source, wanted, found.reader)
        return {**result, "msg": reason, "image": image, "diff": {"before": before, "after": image}}


def _convert_to_device(module: AnsibleModule, wanted: Target, progress: Progress) -> Result:
    """A device is written in place, and nothing but its content tells whether it has to be."""
    params, path = module.params, module.params["dest"]
    if not is_block_device(path):
        raise AccessError("is not a block device", path=path, hint="Leave dest_device out to write a file")
    if not params["dest_device"]:
        raise AccessError("is a block device", path=path, hint="With dest_device it is overwritten, and what is on it is lost")
    if wanted != target("raw"):
        raise UnsupportedImage("a disk on a block device is raw, without options", path=path, hint="Ask for the format raw")
    if params["backup"]:
        raise UnsupportedImage("there is no backup of a block device", path=path)
    with _opened(module, wanted, progress) as (source, wanted, checks):
        size = whole_sectors(source.reader.virtual_size)
        found = device_difference(source, path, progress=progress)
        reason = "force is set" if params["force"] else found.reason if found else None
        result = _result(module, source, wanted, reason, [*checks, *verify_manifest(source, progress=progress)])
        if reason is not None and not module.check_mode:
            result["checks"] += write_device(source, wanted, path, progress=progress)
        storage = FileStorage(path)
        try:
            written = source.reader if reason is not None and module.check_mode else RawReader(storage)
            result["openstack"] = _openstack(module, source, wanted, written)
        finally:
            storage.close()
    result["image"] = {"format": "raw", "subformat": None, "virtual_size": size}
    if params["checksums"] and not (module.check_mode and result["changed"]):
        result["checksums"] = _checksums(path, params["checksums"], {}, progress, size)
    arguments = module.load_file_common_arguments(params, path=path)
    result["changed"] = module.set_fs_attributes_if_different(arguments, result["changed"])
    return {**result, "msg": reason or "the device has this content already", "dest": path, "files": [path]}


@contextlib.contextmanager
def _opened(module: AnsibleModule, wanted: Target, progress: Progress) -> t.Iterator[tuple[Source, Target, list[str]]]:
    """The source with the size that it is to have, what is to be made of it, and what was verified."""
    params = module.params
    with open_source(request(module), progress=progress) as source:
        source.reader.require_readable()
        if source.reader.format == "iso" and params["iso"] == "keep":
            wanted = target("iso")
        if source.reader.format != "iso" or wanted.format != "iso":
            source.reader = _as_disk(source.reader, params["iso"])
            source.reader = resize(source.reader, _size(module, source.reader), progress=progress)
        yield source, wanted, verify_source(source, params["checksum"], progress=progress)


def _as_disk(reader: Reader, asked: str) -> Reader:
    """The image as a disk. Of an ISO, the bytes that a hybrid has as one.

    :param asked: the option ``iso``
    :raises UnsupportedImage: it does not become one
    :raises CorruptImage: the ISO is cut off
    """
    if reader.format != "iso":
        return reader
    path = reader.storage.name
    if asked != "disk":
        hint = "Ask for the format iso to copy it; or, if it is a hybrid, let it become a disk with the option iso"
        raise UnsupportedImage("an ISO is install media, not a disk: it is uploaded as it is", path=path, hint=hint)
    if not reader.describe().format_specific["boot"]["disk"]:
        raise UnsupportedImage("the ISO is no hybrid: it boots as a CD only, and cannot become a disk", path=path, hint="Ask for the format iso")
    next(reader.extents(), None)  # which says if it is cut off
    return RawReader(reader.storage)


def _result(module: AnsibleModule, source: Source, wanted: Target, reason: str | None, checks: list[str]) -> Result:
    return {
        "src": module.params["src"],
        "changed": reason is not None,
        "checks": checks,
        **facts(source, check=False, key="source"),
    }


def _openstack(module: AnsibleModule, source: Source, wanted: Target, reader: Reader) -> dict[str, t.Any]:
    """What an upload has to say, without the properties that the user gives.

    :param reader: what is looked into: the finished image or, in check mode, the source
    """
    return upload_facts(wanted.format, source.reader.virtual_size, written_proposals(source, reader, wanted, vmware=module.params["profile"] == "esxi"))


def _size(module: AnsibleModule, reader: Reader) -> int:
    """What size the disk is to have, in bytes, by the options and the platform."""
    params = module.params
    platform = profile(params["profile"])
    align = platform.align if params["align"] is None else params["align"]
    if align % platform.align:
        raise UnsupportedImage(f"the profile {platform.name} needs a size in multiples of {platform.align} bytes, which {align} is not")
    return size_for(reader.virtual_size, virtual_size=params["virtual_size"], align=align, minimum=platform.minimum)


def _options(given: dict[str, t.Any]) -> dict[str, str]:
    """Creation options as text; YAML's booleans as qemu-img says them."""
    return {key: {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value) for key, value in given.items()}


def _reason_to_write(module: AnsibleModule, source: Source, dest: Destination, wanted: Target, progress: Progress) -> tuple[dict[str, t.Any], str | None]:
    """What is at dest (as image_info describes it), and why it has to be written; None when it has not. In rising cost."""
    if not dest.exists:
        return {}, "dest does not exist"
    try:
        with _open_dest(module, wanted) as found:
            image = describe(found)
            if module.params["force"]:
                return image, "force is set"
            reason = difference(image, wanted, _options(module.params["options"]))
            size = found.reader.virtual_size
            grown = wanted.options.get("force_size") == "off" and size > source.reader.virtual_size  # to what its geometry covers
            if reason is None and size != source.reader.virtual_size and not grown:
                reason = f"dest has a virtual size of {size} bytes, the source one of {source.reader.virtual_size}"
            if reason is None:
                other = compare(source.reader, found.reader, progress=progress)
                reason = other.reason if other else None
            return image, reason
    except ImageError as error:
        return {"readable": False, "unreadable_reason": str(error)}, f"dest cannot be kept: {error.message}"


@contextlib.contextmanager
def _open_dest(module: AnsibleModule, wanted: Target) -> t.Iterator[Source]:
    """What is at dest, with its further files. Raw has no mark of its own: what is no other image format is taken for it."""
    path = module.params["dest"]
    as_raw = wanted.format == "raw" and detect_path(path).best.reader in (None, "raw")
    folder = module.params["references"] if wanted.options.get("backing_file") else None
    with open_source(Request(path, src_format="raw" if as_raw else None, references=folder)) as found:
        if folder is None:
            open_present(found.reader)
        try:
            if wanted.format == "raw" and found.reader.format == "iso" and module.params["iso"] == "disk":
                found.reader = RawReader(found.reader.storage)
            yield found
        finally:
            found.reader.close()


def _files(source: Source) -> list[str]:
    """The files that an image is read from."""
    files = [source.path]
    if source.package is not None and isinstance(source.package.container, Folder):
        files += [os.path.join(source.package.container.path, name) for name in source.package.contents()]
    return files


def _checksums(path: str, algorithms: list[str], known: dict[str, str], progress: Progress, size: int | None = None) -> dict[str, str]:
    """Those of a file, or of the first ``size`` bytes of a device."""
    missing = [name for name in algorithms if name not in known]
    if missing:
        storage = FileStorage(path)
        try:
            known = {**known, **digests(storage if size is None else storage.window(0, size, path), missing, progress=progress)}
        finally:
            storage.close()
    return known
