# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Between a module and the engine: the engine's errors become the module's failure, in one place."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import ImageError
from .._engine.progress import Progress
from .progress import reported

SOURCE = {
    "src": {"type": "path", "required": True},
    "src_format": {"type": "str"},
    "disk": {"type": "str"},
    "system": {"type": "str"},
    "configuration": {"type": "str"},
    "checksum": {"type": "str"},
    "manifest": {"type": "str", "choices": ["require", "verify", "ignore"], "default": "verify"},
    "max_size": {"type": "bytes"},
    "snapshot": {"type": "str"},
    "references": {"type": "path"},
}
"""Options of a module that reads an image; doc_fragments/_source.py documents them"""

PACKAGE = {
    "src": {"type": "path", "required": True},
    "max_size": {"type": "bytes"},
}
"""Options of a module that opens a package; doc_fragments/_package.py documents them"""

DESTINATION = {
    "dest": {"type": "path", "required": True},
    "force": {"type": "bool", "default": False},
    "backup": {"type": "bool", "default": False},
}
"""Options of a module that writes a file; doc_fragments/_dest.py documents them"""

CHECKSUMS = {"type": "list", "elements": "str", "choices": ["md5", "sha1", "sha256", "sha512"], "default": []}
"""An option that asks for checksums"""

Result = dict[str, t.Any]


def run(module: AnsibleModule, work: t.Callable[[AnsibleModule, Progress], Result]) -> None:
    """Do the module's work and end the module with its result, or with a failure that says all there is to say."""
    try:
        with reported() as progress:
            result = work(module, progress)
    except ImageError as error:
        module.fail_json(
            msg=_chain(error),
            exception=error,
            error={"kind": error.kind, "path": error.path, "offset": error.offset},
        )
    else:
        module.exit_json(**result)


def _chain(error: BaseException) -> str:
    """The message with those of its causes: a registered result keeps only what stands here."""
    parts = [str(error)]
    cause = error.__cause__
    while cause is not None:
        text = str(cause)
        if text and text not in parts[-1]:
            parts.append(text)
        cause = cause.__cause__
    return ": ".join(parts)
