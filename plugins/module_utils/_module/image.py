# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What image_verify does; what all modules that read an image do."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule

from .._engine.inspect import describe, describe_package
from .._engine.progress import Progress
from .._engine.source import Request, Source, open_source
from .._engine.verify import Expectation, verify
from .run import Result


def verify_image(module: AnsibleModule, progress: Progress) -> Result:
    """image_verify."""
    params = module.params
    names = ("format", "subformat", "virtual_size", "standalone", "openstack", "checksum", "sound", "clean", "content_checksum")
    expected = Expectation(**{name: params[name] for name in names}, upload=params["upload"] or {})
    if params["same_as"] is not None:
        expected.same_as = Request(params["same_as"], references=params["references"], spool_folder=module.tmpdir)
    with open_source(request(module), progress=progress) as source:
        checks, difference = verify(source, expected, progress=progress)
        result: Result = {"changed": False, "checks": checks, **facts(source, check=False, key="image")}
    if difference is not None:
        found = {"aspect": difference.aspect, "expected": difference.expected, "found": difference.found}
        module.fail_json(msg=f"{params['src']}: {difference.reason}", difference=found, **result)
    return {**result, "msg": "the image is as expected"}


def facts(source: Source, *, check: bool, key: str) -> Result:
    """The image, and the package that it lies in, as part of a module's result.

    :param check: walk all structures, too
    :param key: the image's name in the result
    """
    found: Result = {key: describe(source, check=check)}
    if source.package is not None:
        found["package"] = describe_package(source.package)
    return found


def request(module: AnsibleModule, *, manifest: str | None = None) -> Request:
    """How the module's source is to be opened, by the options of run.SOURCE.

    :param manifest: another policy than the option's
    """
    params = module.params
    given = {key: params[key] for key in ("src_format", "disk", "system", "configuration", "max_size", "snapshot", "references")}
    return Request(params["src"], spool_folder=_spool_folder(module), manifest=manifest or params["manifest"], **given)


def _spool_folder(module: AnsibleModule) -> str:
    """Where an image is unpacked that cannot be read in order: where the result will lie, as there is room. Not beside a device, which is in memory."""
    dest = module.params.get("dest")
    if not dest or module.params.get("dest_device"):
        return str(module.tmpdir)
    return dest if os.path.isdir(dest) else os.path.dirname(os.path.abspath(dest))
