# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What uec_create and uec_extract do."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import InvalidImage, UnsupportedImage, from_os_error, printable
from .._engine.extract import PlannedFile
from .._engine.limits import KIB
from .._engine.openstack.given import checked
from .._engine.openstack.trio import upload_plan, with_given
from .._engine.packages.uec import Uec, open_uec, source_files
from .._engine.packages.uec_names import IMAGE, KERNEL, names, prefix_of
from .._engine.packages.uec_roles import WHOLE_DISK
from .._engine.progress import Progress
from .._engine.source import Request, source_identity
from .._engine.storage.file import FileStorage
from .._engine.storage.sink import Sink
from .._engine.tarball import Tarball, difference, open_tarball, write
from .._engine.transfer.digest import verify_checksum
from .._engine.transfer.provenance import file_identity
from .destination import Destination
from .extraction import Extraction
from .run import Result

_MAX_KEY = 64 * KIB


def create_tarball(module: AnsibleModule, progress: Progress) -> Result:
    """uec_create."""
    params = module.params
    prefix = prefix_of(params["dest"])
    members = names(params["prefix"] or prefix, style=params["style"], flavour=params["flavour"], ramdisk=params["ramdisk"] is not None)
    mtime = _timestamp(params["timestamp"])
    sources = {"image": params["image"], "kernel": params["kernel"], "ramdisk": params["ramdisk"]}
    identities = {name: source_identity(path) if path else None for name, path in sources.items()}
    for path in filter(None, sources.values()):
        if os.path.exists(params["dest"]) and os.path.samefile(path, params["dest"]):
            raise UnsupportedImage("a source and dest are the same file", path=path, hint="Write to another file")
    dest = Destination(module, {"names": members, "mtime": mtime, **identities})
    result = dest.recall() if identities["image"] is not None else None
    if result is None:
        request = Request(params["image"], spool_folder=os.path.dirname(os.path.abspath(params["dest"])))
        with open_tarball(request, params["kernel"], params["ramdisk"], members, mtime, progress=progress) as tarball:
            result = _create(module, dest, tarball, progress)
    return dest.finish(result)


def _create(module: AnsibleModule, dest: Destination, tarball: Tarball, progress: Progress) -> Result:
    params = module.params
    if not dest.exists:
        reason: str | None = "dest does not exist"
    elif params["force"]:
        reason = "force is set"
    else:
        reason = difference(dest.path, tarball, progress=progress)
    checks = []
    if reason is not None:
        dest.plan([], [path for path in (params["image"], params["kernel"], params["ramdisk"]) if path])
        if not module.check_mode:

            def fill(sink: Sink) -> None:
                checks.extend(write(tarball, sink, progress=progress))

            dest.replace(fill)
    as_it_should_be = {"members": tarball.members}
    before: dict[str, t.Any] = {} if not dest.exists else {"content": reason} if reason else as_it_should_be
    return {
        "changed": reason is not None,
        "msg": reason or "dest is this tarball already",
        "members": tarball.members,
        "checks": checks,
        "diff": {"before": before, "after": as_it_should_be},
    }


def _timestamp(given: int | None) -> int:
    """The time of the members: the option, or what reproducible builds have agreed on, or 1970."""
    if given is not None:
        return given
    text = os.environ.get("SOURCE_DATE_EPOCH", "0")
    if not text.isascii() or not text.isdigit():
        raise InvalidImage(f"SOURCE_DATE_EPOCH is no number of seconds: {printable(text)!r}")
    return int(text)


def extract_tarball(module: AnsibleModule, progress: Progress) -> Result:
    """uec_extract."""
    params = module.params
    if params["creates"] and os.path.exists(params["creates"]):
        return {"changed": False, "msg": f"{params['creates']} exists"}
    identities = {path: file_identity(path) for path in source_files(params["src"])}
    asked = {name: params[name] for name in ("name", "checksum", "max_size")}
    given = checked(params["properties"])
    return _TarballExtraction(module, {"source": identities, **asked}, given, progress).run()


class _TarballExtraction(Extraction[Uec]):
    def __init__(self, module: AnsibleModule, request: dict[str, t.Any], given: dict[str, str | None], progress: Progress) -> None:
        super().__init__(module, request, progress, module.params["name"])
        self.given = given

    @contextlib.contextmanager
    def open(self) -> t.Iterator[Uec]:
        if self.params["checksum"] is not None:
            with contextlib.closing(FileStorage(self.params["src"])) as storage:
                verify_checksum(storage, self.params["checksum"], progress=self.progress)
        key = _read_key(self.params["private_key"]) if self.params["private_key"] else None
        with open_uec(self.params["src"], private_key=key, max_size=self.params["max_size"]) as contents:
            if self.params["name"] is not None:
                contents.rename(self.params["name"])
            yield contents

    def require(self, contents: Uec, planned: t.Sequence[PlannedFile]) -> None:
        contents.trio([file.name for file in planned])

    def describe(self, contents: Uec, planned: t.Sequence[PlannedFile]) -> Result:
        found = {file.name: file for file in contents.files}
        paths = {file.name: file.path for file in planned}
        trio = contents.trio(paths)
        disk = contents.chosen(WHOLE_DISK, paths)
        result: Result = {role: paths[file.name] if file else None for role, file in (*trio.items(), ("disk", disk))}
        image = trio[IMAGE]
        result["upload_plan"] = []
        if image is not None:
            architecture = contents.architecture(trio[KERNEL])
            result["upload_plan"] = upload_plan(
                result["image"], result["kernel"], result["ramdisk"], self.params["name"] or contents.name, architecture=architecture, image_size=image.size
            )
        return {
            **result,
            "files": [
                {
                    "name": file.name,
                    "path": file.path,
                    "length": file.size,
                    "reason": file.reason,
                    "role": found[file.name].role,
                    "description": found[file.name].finding.description,
                }
                for file in planned
            ],
            "tarball": contents.describe(),
        }

    def shown(self, result: Result) -> Result:
        return {**result, "upload_plan": with_given(result["upload_plan"], self.given)}


def _read_key(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_KEY)
    except OSError as error:
        raise from_os_error(error, path, "read the private key") from error
