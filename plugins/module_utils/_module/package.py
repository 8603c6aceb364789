# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What ovf_info and ovf_extract do."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import printable
from .._engine.extract import PlannedFile
from .._engine.inspect import describe_package, look_at_disks
from .._engine.packages.codes import ERRORS, NOTES
from .._engine.packages.opening import open_package
from .._engine.packages.package import Package
from .._engine.progress import Progress
from .._engine.source import source_identity
from .extraction import Extraction
from .openssl import verify_signature
from .run import Result

EVERYTHING = "all"
AGAINST_THE_STANDARD = "errors"


def package_info(module: AnsibleModule, progress: Progress) -> Result:
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
        package.verify_manifest(params["manifest"], progress=progress)
        facts = describe_package(package)
    result: Result = {"changed": False, "package": facts}
    wanted = set().union(*(codes[code] for code in params["fail_on"]))
    bad = [warning for warning in facts["warnings"] if warning["code"] in wanted]
    if bad:
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        module.fail_json(msg=f"{printable(params['src'])}: {bad[0]['message']} ({bad[0]['code']}, {bad[0]['location']}){more}", nonconformities=bad, **result)
    return result


def extract_package(module: AnsibleModule, progress: Progress) -> Result:
    """ovf_extract."""
    params = module.params
    if params["creates"] and os.path.exists(params["creates"]):
        return {"changed": False, "msg": f"{params['creates']} exists"}
    asked = {name: params[name] for name in ("manifest", "max_size")}
    return _PackageExtraction(module, {"source": source_identity(params["src"]), **asked}, progress).run()


class _PackageExtraction(Extraction[Package]):
    verified = "manifest_verified"

    @contextlib.contextmanager
    def open(self) -> t.Iterator[Package]:
        with open_package(self.params["src"], max_size=self.params["max_size"]) as package:
            package.expect_manifest(self.params["manifest"])
            package.require_complete_manifest()
            yield package

    def describe(self, contents: Package, planned: t.Sequence[PlannedFile]) -> Result:
        return {"contained_files": contents.container.names(), "package": describe_package(contents)}

    def shown(self, result: Result) -> Result:
        return result if self.params["list_files"] else {key: value for key, value in result.items() if key != "contained_files"}
