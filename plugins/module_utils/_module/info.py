# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What image_info does."""

from __future__ import annotations

import dataclasses

from ansible.module_utils.basic import AnsibleModule

from .._engine.guest.guest import guest_on
from .._engine.inside import look_inside
from .._engine.inspect import describe_package
from .._engine.openstack.upload import image_proposals, upload_facts
from .._engine.openstack.verdict import judge
from .._engine.produce import verify_manifest, verify_source
from .._engine.progress import Progress
from .._engine.source import open_source
from .._engine.transfer.digest import content_digests
from .image import facts, request
from .run import Result


def describe_image(module: AnsibleModule, progress: Progress) -> Result:
    """image_info."""
    check, guest = module.params["check"], module.params["guest"]
    wanted = request(module, manifest=module.params["manifest"] if check else "ignore")
    wanted.any_order = guest
    with open_source(wanted, progress=progress) as source:
        verify_source(source, module.params["checksum"], progress=progress)
        result: Result = {"changed": False, **facts(source, check=check, key="image")}
        if guest and source.reader.unreadable_reason() is None:
            found = guest_on(source.reader)
            result["image"].update(look_inside(source.reader, found))
            result["image"]["openstack"] = upload_facts(source.reader.format, source.reader.virtual_size, image_proposals(source, found))
        upload = module.params["upload"]
        if upload is not None:
            result["image"]["verdict"] = dataclasses.asdict(judge(module.params["src"], source, **upload))
        if module.params["content_checksums"]:
            result["image"]["content_checksums"] = content_digests(source.reader, module.params["content_checksums"], progress=progress)
        if check and verify_manifest(source, progress=progress) and source.package is not None:
            result["package"] = describe_package(source.package)
        return result
