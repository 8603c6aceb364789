# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""qcow, version 1, on disk: a header, the name of the backing file, an L1 table, then L2 tables and clusters. Big endian.

There is no published specification; names and rules are those of qemu's block/qcow.c (QCowHeader, qcow_open). All sizes
and offsets are bytes.
"""

from __future__ import annotations

from ...structure import Structure

MAGIC = b"QFI\xfb"
VERSION = 1

HEADER = Structure(
    ">",
    ("magic", "4s"),
    ("version", "I"),
    ("backing_file_offset", "Q"),
    ("backing_file_size", "I"),
    ("mtime", "I"),
    ("size", "Q"),
    ("cluster_bits", "B"),
    ("l2_bits", "B"),
    ("_", "2s"),
    ("crypt_method", "I"),
    ("l1_table_offset", "Q"),
)

MIN_CLUSTER_BITS, MAX_CLUSTER_BITS = 9, 16
MIN_L2_BITS, MAX_L2_BITS = 6, 13
"""An L2 table has 512 bytes to 64 KiB."""
MAX_BACKING_NAME = 1023
CRYPT_NONE, CRYPT_AES = 0, 1

COMPRESSED_FLAG = 1 << 63
"""In an L2 entry: below it the size of the stored bytes in ``cluster_bits`` bits, below that their offset"""
