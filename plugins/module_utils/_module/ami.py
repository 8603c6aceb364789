# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What ami_build does."""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .._engine.ami.files import TrioFiles
from .._engine.ami.trio import Wanted, open_trio
from .._engine.errors import ImageError
from .._engine.extract import PlannedFile
from .._engine.guest.facts import guest_facts
from .._engine.openstack.given import checked
from .._engine.openstack.guest_properties import system_properties
from .._engine.openstack.trio import upload_plan, with_given
from .._engine.packages.plain import stem
from .._engine.produce import verify_source
from .._engine.progress import Progress
from .._engine.source import Request, open_source, source_identity
from .._engine.transfer.provenance import file_identity
from .extraction import Extraction
from .image import request
from .run import Result

_ROLES = ("image", "kernel", "ramdisk")
_ENDINGS = (".qcow2", ".qcow", ".qed", ".raw", ".img", ".vmdk", ".vdi", ".vhd", ".vhdx", ".vpc", ".iso", ".dmg", ".ovf", ".ova")
_CHOICES = ("root", "guest_kernel", "kernel", "ramdisk", "with_ramdisk", "command_line")
_ABOUT_THE_SOURCE = ("src_format", "disk", "system", "configuration", "manifest", "checksum", "max_size", "snapshot", "references")


def build_trio(module: AnsibleModule, progress: Progress) -> Result:
    """ami_build."""
    params = module.params
    name = params["name"] or _name_of(params["src"])
    given = {path: file_identity(path) for path in (params["kernel"], params["ramdisk"]) if path}
    asked = {option: params[option] for option in (*_CHOICES, *_ABOUT_THE_SOURCE)}
    content = {"source": source_identity(params["src"]), "given": given, **asked}
    return _TrioExtraction(module, name, content, checked(params["properties"]), progress).run()


def _name_of(path: str) -> str:
    """What a disk is called: its file's name without the endings, of characters that can be in all programs' names."""
    name = stem(os.path.abspath(path))
    ending = next((ending for ending in _ENDINGS if name.lower().endswith(ending)), "")
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", name[: len(name) - len(ending)]).lstrip("._+-") or "image"


class _TrioExtraction(Extraction[TrioFiles]):
    def __init__(self, module: AnsibleModule, name: str, request: dict[str, t.Any], properties: dict[str, str | None], progress: Progress) -> None:
        super().__init__(module, request, progress, name)
        self.name = name
        self.properties = properties

    @contextlib.contextmanager
    def open(self) -> t.Iterator[TrioFiles]:
        params = self.params
        wanted: Request = request(self.module)
        wanted.any_order = True
        with contextlib.ExitStack() as opened:
            source = opened.enter_context(open_source(wanted, progress=self.progress))
            source.reader.require_readable()
            verify_source(source, params["checksum"], progress=self.progress)
            try:
                trio = open_trio(source, Wanted(**{option: params[option] for option in _CHOICES}), opened)
            except ImageError as error:
                if error.path is None or not os.path.isabs(error.path):  # the disk, or a volume on it
                    error.path = params["src"] if error.path is None else f"{params['src']}!{error.path}"
                raise
            yield TrioFiles(source, trio, self.name)

    def describe(self, contents: TrioFiles, planned: t.Sequence[PlannedFile]) -> Result:
        trio, root = contents.trio, contents.trio.root
        paths = {contents.roles[file.name]: file for file in planned}
        image = paths.get("image")
        signature = root.filesystem.signature if root is not None else None
        return {
            "files": [
                {"name": file.name, "path": file.path, "role": contents.roles[file.name], "length": file.size, "reason": file.reason} for file in planned
            ],
            **{role: paths[role].path if role in paths else None for role in _ROLES},
            "command_line": trio.command_line.text,
            "command_line_changes": trio.command_line.changes,
            "kernel_version": trio.kernel.version,
            "kernel_source": trio.kernel_source,
            "ramdisk_sources": trio.ramdisk_sources,
            "architecture": trio.architecture,
            "root": root
            and signature
            and {
                "volume": root.volume.name,
                "subvolume": root.subvolume,
                "type": signature.type,
                "label": signature.label,
                "uuid": signature.uuid,
                "length": root.filesystem.size,
            },
            "risks": [{"code": risk.code, "level": risk.level, "text": risk.text, "source": risk.source} for risk in trio.risks],
            "upload_plan": upload_plan(
                image.path if image else None,
                paths["kernel"].path,
                paths["ramdisk"].path if "ramdisk" in paths else None,
                self.name,
                command_line=trio.command_line.text,
                architecture=trio.architecture,
                image_size=image.size if image else None,
                properties=system_properties(trio.guest) if trio.guest is not None else None,
            ),
            "guest": guest_facts(trio.guest) if trio.guest is not None else None,
        }

    def shown(self, result: Result) -> Result:
        return {**result, "upload_plan": with_given(result["upload_plan"], self.properties)}
