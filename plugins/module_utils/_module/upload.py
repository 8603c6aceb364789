# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The option of modules that judge an upload. Not in run.py, as it takes what judges with it to the node."""

from __future__ import annotations

from .._engine.openstack.services import PROFILES
from .._engine.openstack.verdict import RELEASES

UPLOAD = {
    "type": "dict",
    "options": {
        "disk_format": {"type": "str"},
        "container_format": {"type": "str", "default": "bare"},
        "release": {"type": "str", "choices": list(RELEASES), "default": RELEASES[-1]},
        "profile": {"type": "str", "choices": list(PROFILES)},
    },
}
"""Arguments of openstack.verdict.judge(); doc_fragments/_upload.py documents them"""
