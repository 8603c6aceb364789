# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What ovf_extract does."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule

from .._engine.extract import extract, plan
from .._engine.inspect import describe_package
from .._engine.packages.package import Package, open_package
from .._engine.source import source_identity
from .._engine.transfer.provenance import file_identity, recall, remember
from .run import Result


def extract_package(module: AnsibleModule) -> Result:
    """ovf_extract."""
    params = module.params
    if params["creates"] and os.path.exists(params["creates"]):
        return {"changed": False, "msg": f"{params['creates']} exists"}
    with open_package(params["src"]) as package:
        return _extract(module, package)


def _extract(module: AnsibleModule, package: Package) -> Result:
    params = module.params
    # The record lies beside the extracted descriptor and is about all files.
    record = os.path.join(os.path.realpath(params["dest"]), package.descriptor)
    request = {"source": source_identity(params["src"]), "manifest": params["manifest"]}
    memory = recall(record, request)
    known = memory.result if memory else {}
    files: dict[str, object] = known.get("files", {})
    planned = plan(package, params["dest"], include=params["include"], exclude=params["exclude"], known=files, force=params["force"])
    written = [file for file in planned if file.reason is not None]
    verified: list[str] = known.get("manifest_verified", [])
    if written or not known:
        found = package.verify_manifest(params["manifest"])
        verified = found.files if found else []
    if written and not module.check_mode:
        extract(package, params["dest"], planned)
    changed = bool(written)
    for file in planned:
        if os.path.exists(file.path):
            arguments = module.load_file_common_arguments(params, path=file.path)
            changed = module.set_fs_attributes_if_different(arguments, changed)
    if not module.check_mode:
        now = {**files, **{file.path: file_identity(file.path) for file in planned}}
        if now != files or not known:
            remember(record, request, {"files": now, "manifest_verified": verified})
    before = {file.path: "as it should be" if file.reason is None else file.reason for file in planned}
    return {
        "changed": changed,
        "msg": f"{len(written)} of {len(planned)} files written" if written else "all files are there as they should be",
        "src": params["src"],
        "dest": params["dest"],
        "files": [{"name": file.name, "path": file.path, "length": file.size, "reason": file.reason} for file in planned],
        "manifest_verified": verified,
        "package": describe_package(package),
        "diff": {"before": before, "after": dict.fromkeys(before, "as it should be")},
    }
