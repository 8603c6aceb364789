# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What image_report does."""

from __future__ import annotations

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import InvalidImage, from_os_error
from .._engine.progress import Progress
from .._engine.report.page import Report, page
from .._engine.report.subject import look, look_at_prepared
from .._engine.source import source_identity
from .._engine.storage.sink import Sink
from .._engine.transfer.provenance import file_identity
from .destination import Destination
from .image import request
from .run import SOURCE, Result

_LAYOUT = 1
"""Counted up when the same facts give another page, so that older records do not count any more"""
_ENTRY = ("name", "filename", "disk_format", "container_format", "min_disk", "properties")
_MAX_PAGE = 16 << 20


def write_report(module: AnsibleModule, progress: Progress) -> Result:
    """image_report."""
    params = module.params
    prepared = _stable(params["prepared"])
    files = [entry["filename"] for entry in prepared["upload_plan"]]
    asked = {key: params[key] for key in (*SOURCE, "name", "problem", "upload")}
    identity = source_identity(params["src"])
    dest = Destination(module, {**asked, "layout": _LAYOUT, "source": identity, "prepared": prepared, "files": [file_identity(path) for path in files]})
    result = dest.recall() if identity is not None else None
    if result is None:
        result = _write(module, dest, prepared, progress)
    return dest.finish(result)


def _write(module: AnsibleModule, dest: Destination, prepared: dict[str, t.Any], progress: Progress) -> Result:
    if module.check_mode and not all(os.path.exists(entry["filename"]) for entry in prepared["upload_plan"]):
        return {"changed": True, "msg": "what the page tells of is not written yet"}
    report = _report(module, prepared, progress)
    dest.depends_on = {path for subject in (report.came_in, *report.came_out) for path in subject.others}
    text = page(report).encode("utf-8")
    if not dest.exists:
        reason: str | None = "dest does not exist"
    elif module.params["force"]:
        reason = "force is set"
    else:
        reason = None if _content(dest.path) == text else "there is something else to tell"
    if reason is not None:
        dest.plan([], [module.params["src"], *(entry["filename"] for entry in prepared["upload_plan"])])
        if not module.check_mode:

            def fill(sink: Sink) -> None:
                sink.write_at(0, text)

            dest.replace(fill)
    return {"changed": reason is not None, "msg": reason or "dest is this page already", "accepted": report.accepted}


def _report(module: AnsibleModule, prepared: dict[str, t.Any], progress: Progress) -> Report:
    """Look at all files."""
    params, plan = module.params, prepared["upload_plan"]
    upload = params["upload"] or {}
    wanted = request(module, manifest="ignore" if plan else None)  # what was prepared was verified then
    wanted.any_order = not plan
    came_in = look(wanted, upload, guest=not plan, checksum=None if plan else params["checksum"], progress=progress)
    cloud = {key: upload[key] for key in ("release", "profile") if key in upload}
    came_out = [look_at_prepared(entry, cloud, guest=True, progress=progress) for entry in plan]
    name = params["name"] or prepared["name"] or os.path.basename(params["src"].rstrip("/"))
    if params["problem"] and params["problem"] not in came_in.problems:
        came_in.problems = [params["problem"], *(text for text in came_in.problems if text not in params["problem"])]
    if not plan:
        return Report(name, came_in, checks=came_in.checks, proposals=came_in.proposals)
    notes = [note["message"] for note in prepared["notes"]]
    return Report(name, came_in, came_out, prepared["checks"], notes, prepared["proposals"])


def _stable(prepared: dict[str, t.Any]) -> dict[str, t.Any]:
    """What the page tells of a role's result: what is the same again when a second run of the role has nothing to do.

    :raises InvalidImage: it is no result of such a role
    """
    plan = prepared.get("upload_plan", [prepared] if "filename" in prepared else [])
    if prepared and not (isinstance(plan, list) and plan):
        raise InvalidImage("prepared is not the result of a role that prepares images: it has no upload_plan")
    for entry in plan:
        missing = [key for key in _ENTRY if not isinstance(entry, dict) or key not in entry]
        if missing or not isinstance(entry["properties"], dict):
            raise InvalidImage(f"prepared is not the result of a role that prepares images: an upload has no {(missing or ['properties'])[0]}")
    known = (*_ENTRY, "min_ram", "checksums", "depends")
    return {
        "name": prepared.get("name"),
        "upload_plan": [{key: entry[key] for key in known if key in entry} for entry in plan],
        "checks": prepared.get("checks", []),
        "proposals": prepared.get("proposals", {}),
        "notes": prepared.get("notes", []),
    }


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_PAGE)
    except OSError as error:
        raise from_os_error(error, path, "read it") from error
