# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""QED on disk: a header, the name of the backing file, then clusters that are tables or data. Little endian.

Source: qemu, docs/interop/qed_spec.rst, sections "Header" and "Tables". All sizes and offsets are bytes.
"""

from __future__ import annotations

from ...limits import KIB, MIB
from ...structure import Structure

MAGIC = b"QED\0"

HEADER = Structure(
    "<",
    ("magic", "4s"),
    ("cluster_size", "I"),
    ("table_size", "I"),
    ("header_size", "I"),
    ("features", "Q"),
    ("compat_features", "Q"),
    ("autoclear_features", "Q"),
    ("l1_table_offset", "Q"),
    ("image_size", "Q"),
    ("backing_filename_offset", "I"),
    ("backing_filename_size", "I"),
)
"""``table_size`` and ``header_size`` count clusters."""

BACKING_FILE, NEED_CHECK, BACKING_FORMAT_NO_PROBE = 1, 2, 4
"""bits of ``features``"""

MIN_CLUSTER, MAX_CLUSTER = 4 * KIB, 64 * MIB
MAX_TABLE = 16
MAX_BACKING_NAME = 1023
"""qemu's bound; the specification has none"""

ZERO_CLUSTER = 1
"""L2 entry: reads as zeros, whatever the backing file has"""
