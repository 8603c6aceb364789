# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Creation options of qcow2, with qemu-img's names and meaning. Source: qemu, block/qcow2.c (qcow2_co_create) and qemu-img.c."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ...errors import UnsupportedImage
from ...limits import MIB
from ..base import Target
from ..options import impossible, size, switch
from ..registry import FORMATS, canonical
from . import layout

_VERSIONS = {"1.1": 3, "v3": 3, "0.10": 2, "v2": 2}
_PREALLOCATIONS = ("off", "metadata", "falloc", "full")
_WIDTHS = {str(1 << order): order for order in range(7)}
_SMALLEST_EXTENDED = layout.SUBCLUSTERS * 512


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of one image, checked against each other."""

    version: int
    """2 or 3"""
    cluster_bits: int
    refcount_order: int
    """log2 of ``refcount_bits``"""
    zstd: bool
    """compression_type zstd; else zlib"""
    extended_l2: bool
    lazy_refcounts: bool
    preallocation: str
    backing_file: str
    """name as stored; empty: none"""
    backing_format: str
    """qemu's name"""

    @property
    def cluster_size(self) -> int:
        return 1 << self.cluster_bits


def read_options(target: Target) -> Options:
    """The creation options of a target, checked.

    :raises UnsupportedImage: a value that is not possible, or options that contradict each other
    """
    options = Options(
        version=_VERSIONS[_one_of(target, "compat", _VERSIONS)],
        cluster_bits=_cluster_bits(target),
        refcount_order=_WIDTHS[_one_of(target, "refcount_bits", _WIDTHS)],
        zstd=_one_of(target, "compression_type", layout.COMPRESSION_NAMES.values()) == "zstd",
        extended_l2=switch(target, "extended_l2"),
        lazy_refcounts=switch(target, "lazy_refcounts"),
        preallocation=_one_of(target, "preallocation", _PREALLOCATIONS),
        backing_file=target.options["backing_file"],
        backing_format=_backing_format(target),
    )
    _require_version(options)
    if options.extended_l2 and options.cluster_size < _SMALLEST_EXTENDED:
        raise UnsupportedImage(f"qcow2 option extended_l2=on needs a cluster_size of at least {_SMALLEST_EXTENDED}, not {options.cluster_size}")
    if target.compress and options.preallocation != "off":
        raise UnsupportedImage(f"qcow2 option preallocation={options.preallocation} and compression exclude each other")
    _require_backing(options)
    return options


def _require_version(options: Options) -> None:
    """What version 2 has no place for."""
    if options.version == 3:
        return
    for wanted, text in (
        (options.refcount_order != 4, "refcount_bits other than 16"),
        (options.zstd, "compression_type=zstd"),
        (options.extended_l2, "extended_l2=on"),
        (options.lazy_refcounts, "lazy_refcounts=on"),
    ):
        if wanted:
            raise UnsupportedImage(f"qcow2 option {text} needs compat=1.1")


def _require_backing(options: Options) -> None:
    name = options.backing_file
    if not name:
        if options.backing_format:
            raise UnsupportedImage("qcow2 option backing_fmt means nothing without backing_file")
        return
    if not options.backing_format:
        raise UnsupportedImage("qcow2 option backing_file needs backing_fmt, its format: one that is guessed can be forged")
    if options.preallocation != "off" and not options.extended_l2:
        raise UnsupportedImage(f"qcow2 option preallocation={options.preallocation} hides the backing_file, unless extended_l2=on")
    if "\0" in name or len(os.fsencode(name)) > layout.MAX_BACKING_NAME:
        raise UnsupportedImage(f"qcow2 option backing_file is a file name of at most {layout.MAX_BACKING_NAME} bytes")


def _one_of(target: Target, name: str, allowed: t.Iterable[str]) -> str:
    values = list(allowed)
    if target.options[name] not in values:
        raise impossible(target, name, f"one of {', '.join(values)}")
    return target.options[name]


def _cluster_bits(target: Target) -> int:
    wanted = "a power of two from 512 to 2M"
    found = size(target, "cluster_size", 2 * MIB, wanted)
    if found not in [1 << bits for bits in range(9, 22)]:
        raise impossible(target, "cluster_size", wanted)
    return found.bit_length() - 1


def _backing_format(target: Target) -> str:
    """By the name that the image stores: qemu's."""
    name = canonical(target.options["backing_fmt"])
    known = sorted(set(FORMATS) - {"iso"})
    if name and name not in known:
        raise impossible(target, "backing_fmt", f"one of {', '.join(known)}")
    return "vpc" if name == "vhd" else name
