# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that open a package (mirrors PACKAGE in plugins/module_utils/_module/run.py)."""

    DOCUMENTATION = r"""
options:
  src:
    description:
      - Path of the package on the managed node.
      - It may be an OVA, the folder or the C(.ovf) file of an OVF package, a Vagrant box, or a tar or zip archive with any of these or
        with plain disk images in it. Tar archives may be compressed with gzip, xz, bzip2 or zstd.
    type: path
    required: true
  max_size:
    description:
      - How much may come out of a compressed package.
      - A number of bytes, or a number with a unit such as V(20G).
      - When it is not set, no more than 250 times the size of the package is taken.
    type: bytes
notes:
  - Needs nothing but Python 3.9 or newer on the managed node.
"""
