# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What image_info, image_verify and image_convert do."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import ImageError, UnsupportedImage
from .._engine.formats.base import Reader, Target
from .._engine.formats.companions import open_present, planned
from .._engine.formats.registry import target
from .._engine.inspect import describe
from .._engine.openstack.upload import upload_facts
from .._engine.profiles import profile, target_for
from .._engine.produce import produce, require_possible, verify_source
from .._engine.source import Request, Source, detect_path, open_source, source_identity
from .._engine.storage.file import FileStorage
from .._engine.storage.sink import Sink
from .._engine.transfer.compare import compare
from .._engine.transfer.digest import digests
from .._engine.transfer.resize import resize, size_for
from .._engine.verify import Expectation, verify
from .destination import Destination
from .run import SOURCE, Result


def describe_image(module: AnsibleModule) -> Result:
    """image_info."""
    with open_source(_request(module)) as source:
        if module.params["checksum"] or module.params["check"]:
            verify_source(source, module.params["checksum"], module.params["manifest"])
        return {"changed": False, **_facts(source, check=module.params["check"], key="image")}


def verify_image(module: AnsibleModule) -> Result:
    """image_verify."""
    params = module.params
    names = ("format", "subformat", "virtual_size", "standalone", "openstack", "checksum", "manifest", "clean")
    expected = Expectation(**{name: params[name] for name in names})
    if params["same_as"] is not None:
        expected.same_as = Request(params["same_as"], references=params["references"], spool_folder=module.tmpdir)
    with open_source(_request(module)) as source:
        checks, difference = verify(source, expected)
        result: Result = {"changed": False, "checks": checks, **_facts(source, check=False, key="image")}
    if difference is not None:
        found = {"aspect": difference.aspect, "expected": difference.expected, "found": difference.found}
        module.fail_json(msg=f"{params['src']}: {difference.reason}", difference=found, **result)
    return {**result, "msg": "the image is as expected"}


def convert_image(module: AnsibleModule) -> Result:
    """image_convert."""
    params = module.params
    wanted = target_for(profile(params["profile"]), params["format"], params["subformat"], params["compress"], _options(params["options"]))
    asked = {key: params[key] for key in (*SOURCE, "virtual_size", "align", "profile", "iso_passthrough", "verify")}
    identity = source_identity(params["src"])
    if os.path.exists(params["dest"]) and os.path.samefile(params["src"], params["dest"]):
        raise UnsupportedImage("src and dest are the same file", path=params["dest"], hint="Write to another file, then move it")
    dest = Destination(module, {**asked, "source": identity, "target": dataclasses.asdict(wanted)})
    result = dest.recall() if identity is not None else None
    if result is None:
        result = _convert(module, dest, wanted)
    if params["checksums"] and not (module.check_mode and result["changed"]):
        result["checksums"] = _checksums(dest.path, params["checksums"], result.get("checksums", {}))
    return dest.finish(result)


def _convert(module: AnsibleModule, dest: Destination, wanted: Target) -> Result:
    params = module.params
    with open_source(_request(module)) as source:
        source.reader.require_readable()
        dest.depends_on = {storage.name for storage in source.reader.followed}
        if params["iso_passthrough"] and source.reader.format == "iso":
            wanted = target("iso")
        else:
            source.reader = resize(source.reader, _size(module, source.reader))
        checks = verify_source(source, params["checksum"], params["manifest"])
        before, reason = _reason_to_write(module, source, dest, wanted)
        result: Result = {
            "src": params["src"],
            "changed": reason is not None,
            "checks": checks,
            "openstack": upload_facts(wanted.format, source.reader.virtual_size, source.package),
            **_facts(source, check=False, key="source"),
        }
        if reason is None:
            result["checks"] = [*checks, f"all {source.reader.virtual_size} bytes that the guest sees are the same as in the source"]
            return {**result, "msg": "dest has this content, format and variant already", "image": before}
        dest.plan(planned(wanted, dest.path, source.reader.virtual_size), [*_files(source), *dest.depends_on])
        if module.check_mode:
            require_possible(source, wanted, os.path.dirname(os.path.abspath(dest.path)))
            image: dict[str, t.Any] = {"format": wanted.format, "subformat": wanted.subformat, "virtual_size": source.reader.virtual_size}
        else:

            def write(sink: Sink) -> None:
                produced = produce(source, wanted, sink, verify_content=params["verify"] == "content")
                result["checks"] = checks + produced.checks

            dest.replace(write)
            image = _describe_dest(dest.path, wanted)
        return {**result, "msg": reason, "image": image, "diff": {"before": before, "after": image}}


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


def _reason_to_write(module: AnsibleModule, source: Source, dest: Destination, wanted: Target) -> tuple[dict[str, t.Any], str | None]:
    """What is at dest (as image_info describes it), and why it has to be written; None when it has not. In rising cost."""
    if not dest.exists:
        return {}, "dest does not exist"
    try:
        with _open_dest(dest.path, wanted) as found:
            image = describe(found)
            if module.params["force"]:
                return image, "force is set"
            reason = _difference(image, wanted, _options(module.params["options"]))
            size = found.reader.virtual_size
            if reason is None and size != source.reader.virtual_size:
                reason = f"dest has a virtual size of {size} bytes, the source one of {source.reader.virtual_size}"
            if reason is None:
                difference = compare(source.reader, found.reader)
                reason = difference.reason if difference else None
            return image, reason
    except ImageError as error:
        return {"readable": False, "unreadable_reason": str(error)}, f"dest cannot be kept: {error.message}"


@contextlib.contextmanager
def _open_dest(path: str, wanted: Target) -> t.Iterator[Source]:
    """What is at dest, with its further files. Raw has no mark of its own: what is no other image format is taken for it."""
    as_raw = wanted.format == "raw" and detect_path(path).best.reader in (None, "raw")
    with open_source(Request(path, src_format="raw" if as_raw else None)) as found:
        open_present(found.reader)
        try:
            yield found
        finally:
            found.reader.close()


def _files(source: Source) -> list[str]:
    """The files that an image is read from."""
    if source.package is None:
        return [source.path]
    folder = source.path if os.path.isdir(source.path) else os.path.dirname(source.path)
    return [source.path, *(os.path.join(folder, name) for name in source.package.contents())]


def _describe_dest(path: str, wanted: Target) -> dict[str, t.Any]:
    with _open_dest(path, wanted) as found:
        return describe(found)


def _difference(image: dict[str, t.Any], wanted: Target, given: dict[str, t.Any]) -> str | None:
    """In what dest's own description differs from what is wanted; of the creation options, those that were given count."""
    if image["format"] != wanted.format:
        return f"dest is {image['format']}, {wanted.format} wanted"
    if wanted.subformat is not None and image["subformat"] != wanted.subformat:
        return f"dest is {image['format']} {image['subformat']}, {wanted.subformat} wanted"
    if not image["readable"]:
        return f"dest can not stand alone: {image['unreadable_reason']}"
    if image["compressed"] not in (None, wanted.compress):
        return f"dest is {'' if image['compressed'] else 'not '}compressed"
    for option, want in given.items():
        have = _OPTIONS[option](image)
        if want != "undefined" and have is not CANNOT_TELL and _plain(want) != _plain(have):
            return f"dest has {option} {have}, {want} wanted"
    return None


CANNOT_TELL = object()
"""What an image does not show"""


def _zeroed_grain(image: dict[str, t.Any]) -> t.Any:
    version = image["format_specific"].get("version")
    return CANNOT_TELL if version is None else "on" if version == 2 else "off"


def _preallocation(image: dict[str, t.Any]) -> t.Any:
    """A raw file with holes is not preallocated; one without may be, or be full of data."""
    return "off" if image["format"] == "raw" and image["actual_size"] < image["file_size"] else CANNOT_TELL


def _backing(image: dict[str, t.Any]) -> dict[str, t.Any]:
    return next((reference for reference in image["references"] if reference["role"] == "backing"), {})


_OPTIONS: dict[str, t.Callable[[dict[str, t.Any]], t.Any]] = {
    "adapter_type": lambda image: image["format_specific"].get("adapter_type"),
    "backing_file": lambda image: _backing(image).get("name", ""),
    "backing_fmt": lambda image: _backing(image).get("format", ""),
    "block_size": lambda image: image["cluster_size"],
    "cluster_size": lambda image: image["cluster_size"],
    "compat6": lambda image: "on" if image["format_specific"].get("hw_version") == "6" else "off",
    "compat": lambda image: image["format_specific"].get("compat"),
    "compression_type": lambda image: image["format_specific"].get("compression_type"),
    "extended_l2": lambda image: "on" if image["format_specific"].get("extended_l2") else "off",
    "hwversion": lambda image: image["format_specific"].get("hw_version"),
    "lazy_refcounts": lambda image: "on" if image["format_specific"].get("lazy_refcounts") else "off",
    "preallocation": _preallocation,
    "refcount_bits": lambda image: image["format_specific"].get("refcount_bits"),
    "toolsversion": lambda image: image["format_specific"].get("tools_version"),
    "zeroed_grain": _zeroed_grain,
}
"""Where an image's description shows what a creation option has set"""


def _plain(value: t.Any) -> str:
    """``64K`` and 65536 are the same."""
    text = str(value)
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper())
    return str(int(text[:-1]) * factor) if factor and text[:-1].isdigit() else text


def _facts(source: Source, *, check: bool, key: str) -> Result:
    facts: Result = {key: describe(source, check=check)}
    if source.package is not None:
        facts["package"] = source.package.describe()
    return facts


def _request(module: AnsibleModule) -> Request:
    params = module.params
    folder = os.path.dirname(os.path.abspath(params["dest"])) if params.get("dest") else module.tmpdir
    given = {key: params[key] for key in ("src_format", "disk", "max_size", "snapshot", "references")}
    return Request(params["src"], spool_folder=folder, **given)


def _checksums(path: str, algorithms: list[str], known: dict[str, str]) -> dict[str, str]:
    missing = [name for name in algorithms if name not in known]
    if missing:
        storage = FileStorage(path)
        try:
            known = {**known, **digests(storage, missing)}
        finally:
            storage.close()
    return known
