# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What ovf_info and ovf_extract do."""

from __future__ import annotations

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import printable
from .._engine.extract import extract, plan
from .._engine.inspect import describe_package, look_at_disks
from .._engine.packages.codes import ERRORS, NOTES
from .._engine.packages.opening import open_package
from .._engine.packages.package import Package
from .._engine.source import source_identity
from .._engine.transfer.provenance import file_identity, recall, remember
from .openssl import verify_signature
from .run import Result

EVERYTHING = "all"
AGAINST_THE_STANDARD = "errors"


def package_info(module: AnsibleModule) -> Result:
    """ovf_info."""
    params = module.params
    codes = {EVERYTHING: {*ERRORS, *NOTES}, AGAINST_THE_STANDARD: set(ERRORS), **{code: {code} for code in (*ERRORS, *NOTES)}}
    unknown = [code for code in params["fail_on"] if code not in codes]
    if unknown:
        module.fail_json(msg=f"fail_on: there is no code {unknown[0]!r}; there are: {', '.join(codes)}")
    with open_package(params["src"], configuration=params["configuration"], max_size=params["max_size"]) as package:
        verify_signature(module, package)
        if params["inspect_disks"]:
            look_at_disks(package)
        package.verify_manifest(params["manifest"])
        facts = describe_package(package)
    result: Result = {"changed": False, "package": facts}
    wanted = set().union(*(codes[code] for code in params["fail_on"]))
    bad = [warning for warning in facts["warnings"] if warning["code"] in wanted]
    if bad:
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        module.fail_json(msg=f"{printable(params['src'])}: {bad[0]['message']} ({bad[0]['code']}, {bad[0]['location']}){more}", nonconformities=bad, **result)
    return result


def extract_package(module: AnsibleModule) -> Result:
    """ovf_extract."""
    params = module.params
    if params["creates"] and os.path.exists(params["creates"]):
        return {"changed": False, "msg": f"{params['creates']} exists"}
    return _Extraction(module).run()


class _Extraction:
    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params = module.params
        # The record lies in dest under the package's name, and is about all files that were extracted from it.
        self.record = os.path.join(os.path.realpath(self.params["dest"]), os.path.basename(os.path.abspath(self.params["src"])))
        asked = ("manifest", "max_size")
        self.request = {"source": source_identity(self.params["src"]), **{name: self.params[name] for name in asked}}
        memory = recall(self.record, self.request)
        self.known: dict[str, t.Any] = memory.result if memory else {}
        self.identities: dict[str, t.Any] = self.known.get("identities", {})

    def run(self) -> Result:
        result = self._remembered()
        if result is None:
            with open_package(self.params["src"], max_size=self.params["max_size"]) as package:
                result = self._extract(package)
        return self._set_attributes(result)

    def _remembered(self) -> Result | None:
        """The result of the run that extracted the same, if nothing was touched since: the package need not be opened."""
        known = self.known.get("result")
        if known is None or self.params["force"] or self.known["asked"] != [self.params["include"], self.params["exclude"]]:
            return None
        if any(self.identities.get(file["path"]) != file_identity(file["path"]) for file in known["files"]):
            return None
        return t.cast("Result", known)

    def _extract(self, package: Package) -> Result:
        params = self.params
        package.expect_manifest(params["manifest"])
        package.require_complete_manifest()
        planned = plan(package, params["dest"], include=params["include"], exclude=params["exclude"], known=self.identities, force=params["force"])
        verified = set(self.known.get("manifest_verified", []))
        if not self.module.check_mode:
            verified.update(extract(package, params["dest"], planned))
        else:
            for file in planned:
                if file.reason is not None:
                    package.open_name(file.name)
            found = package.verify_used()
            verified.update(found.files if found else [])
        return {
            "src": params["src"],
            "dest": params["dest"],
            "files": [{"name": file.name, "path": file.path, "length": file.size, "reason": file.reason} for file in planned],
            "contained_files": package.container.names(),
            "manifest_verified": sorted(verified),
            "package": describe_package(package),
        }

    def _set_attributes(self, result: Result) -> Result:
        module, files = self.module, result["files"]
        written = [file for file in files if file["reason"] is not None]
        changed = bool(written)
        for file in files:
            if os.path.exists(file["path"]):
                arguments = module.load_file_common_arguments(self.params, path=file["path"])
                changed = module.set_fs_attributes_if_different(arguments, changed)
        if not module.check_mode:
            self._remember(result)
        before = {file["path"]: file["reason"] or "as it should be" for file in files}
        shown = {key: value for key, value in result.items() if key != "contained_files"}
        if self.params["list_files"]:
            shown["contained_files"] = result["contained_files"]
        return {
            **shown,
            "changed": changed,
            "msg": f"{len(written)} of {len(files)} files written" if written else "all files are there as they should be",
            "diff": {"before": before, "after": dict.fromkeys(before, "as it should be")},
        }

    def _remember(self, result: Result) -> None:
        files = [{**file, "reason": None} for file in result["files"]]
        now = {
            "result": {**result, "files": files},
            "asked": [self.params["include"], self.params["exclude"]],
            "manifest_verified": result["manifest_verified"],
            "identities": {**self.identities, **{file["path"]: file_identity(file["path"]) for file in files}},
        }
        if now != self.known:
            remember(self.record, self.request, now)
