# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that write a file (mirrors DESTINATION in plugins/module_utils/_module/run.py)."""

    DOCUMENTATION = r"""
options:
  dest:
    description:
      - Path of the file to write on the managed node. Its folder must exist.
      - The file is written beside it under another name, verified, and takes the name in one step. When anything goes
        wrong, what was there before stays, and nothing else is left.
    type: path
    required: true
  force:
    description:
      - Write O(dest) even if it already is what it should be.
      - With V(true) the module is always changed.
    type: bool
    default: false
  backup:
    description:
      - Keep the file that is replaced, under a name with the date and time.
      - It is kept as a hard link where the file system has them, which costs neither time nor space.
    type: bool
    default: false
notes:
  - A small hidden file beside O(dest), C(.<name>.provenance.json), notes what it was made from. It lets the next run know
    without reading any image data that nothing is to be done. It may be deleted at any time; then the contents are compared.
"""
