# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The header of a qcow2 image that is written. Source: qemu, docs/interop/qcow2.rst, "Header", "Header extensions"."""

from __future__ import annotations

import os
import typing as t

from ...errors import UnsupportedImage
from . import layout

if t.TYPE_CHECKING:  # pragma: no cover
    from .options import Options


def make_header(options: Options, size: int, l1: tuple[int, int], refcount_table: tuple[int, int]) -> bytes:
    """The first cluster's bytes: header, extensions, name of the backing file.

    :param size: guest bytes
    :param l1: the L1 table's host offset, and its entries
    :param refcount_table: its host offset, and its clusters
    :raises UnsupportedImage: the backing file's name does not fit into the first cluster
    """
    v3 = _version_3(options) if options.version == 3 else b""
    name = os.fsencode(options.backing_file)
    backing_format = _extension(layout.EXT_BACKING_FORMAT, options.backing_format.encode("ascii")) if options.backing_format else b""
    end = _extension(layout.EXT_END, b"")
    features = _feature_names() if v3 else b""
    before = layout.HEADER_V2.size + len(v3) + len(backing_format) + len(end)
    if before + len(features) + len(name) > options.cluster_size:
        features = b""  # they only help older readers to explain themselves
    offset = before + len(features)
    if offset + len(name) > options.cluster_size:
        raise UnsupportedImage(f"the name of the backing file ({len(name)} bytes) does not fit into a cluster of {options.cluster_size} bytes")
    fixed = layout.HEADER_V2.pack(
        magic=layout.MAGIC,
        version=options.version,
        backing_file_offset=offset if name else 0,
        backing_file_size=len(name),
        cluster_bits=options.cluster_bits,
        size=size,
        crypt_method=0,
        l1_size=l1[1],
        l1_table_offset=l1[0],
        refcount_table_offset=refcount_table[0],
        refcount_table_clusters=refcount_table[1],
        nb_snapshots=0,
        snapshots_offset=0,
    )
    return fixed + v3 + backing_format + features + end + name


def _version_3(options: Options) -> bytes:
    more = layout.HEADER_V3.pack(
        incompatible_features=layout.COMPRESSION_TYPE * options.zstd | layout.EXTENDED_L2 * options.extended_l2,
        compatible_features=layout.COMPATIBLE_LAZY_REFCOUNTS * options.lazy_refcounts,
        autoclear_features=0,
        refcount_order=options.refcount_order,
        header_length=112,
    )
    return more + bytes((options.zstd,)) + bytes(7)  # the compression type, and padding up to a multiple of 8


def _feature_names() -> bytes:
    """The table that lets an older reader name what it does not know. Source: qcow2.rst, "Feature name table"."""
    rows = [(0, bit, name) for bit, name in layout.INCOMPATIBLE.items()]
    rows += [(1, 0, "lazy refcounts"), (2, 0, "bitmaps"), (2, 1, "raw external data")]
    return _extension(layout.EXT_FEATURE_NAMES, b"".join(bytes((kind, bit)) + name.encode("ascii").ljust(46, b"\0") for kind, bit, name in rows))


def _extension(kind: int, data: bytes) -> bytes:
    return layout.EXTENSION.pack(type=kind, length=len(data)) + data + bytes(-len(data) % 8)
