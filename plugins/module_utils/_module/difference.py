# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""In what the image at dest is not the one that is wanted, by what it says of itself."""

from __future__ import annotations

import typing as t

from .._engine.formats.base import Target


def difference(image: dict[str, t.Any], wanted: Target, given: dict[str, t.Any]) -> str | None:
    """The first difference, as a sentence, or None.

    :param image: dest, as image_info describes it
    :param given: the creation options that were given: only these count
    """
    if image["format"] != wanted.format:
        return f"dest is {image['format']}, {wanted.format} wanted"
    if wanted.subformat is not None and image["subformat"] != wanted.subformat:
        return f"dest is {image['format']} {image['subformat']}, {wanted.subformat} wanted"
    if not image["readable"]:
        return f"dest can not stand alone: {image['unreadable_reason']}"
    if image["compressed"] not in (None, wanted.compress):
        return f"dest is {'' if image['compressed'] else 'not '}compressed"
    for option, want in given.items():
        have = _OPTIONS.get(option, _cannot_tell)(image)
        if want not in _ANY and have is not CANNOT_TELL and _plain(want) != _plain(have):
            return f"dest has {option} {have}, {want} wanted"
    return None


CANNOT_TELL = object()
"""What an image does not show"""


_ANY = ("undefined", "0")
"""What leaves the choice to the writer"""


def _cannot_tell(_image: dict[str, t.Any]) -> t.Any:
    return CANNOT_TELL


def _zeroed_grain(image: dict[str, t.Any]) -> t.Any:
    version = image["format_specific"].get("version")
    return CANNOT_TELL if version is None else "on" if version == 2 else "off"


def _preallocation(image: dict[str, t.Any]) -> t.Any:
    """A raw file with holes is not preallocated; one without may be, or be full of data."""
    return "off" if image["format"] == "raw" and image["actual_size"] < image["file_size"] else CANNOT_TELL


def _backing(image: dict[str, t.Any]) -> dict[str, t.Any]:
    return next((reference for reference in image["references"] if reference["role"] == "backing"), {})


_OPTIONS: dict[str, t.Callable[[dict[str, t.Any]], t.Any]] = {
    "adapter_type": lambda image: image["format_specific"].get("adapter_type"),
    "backing_file": lambda image: _backing(image).get("name", ""),
    "backing_fmt": lambda image: _backing(image).get("format", ""),
    "block_size": lambda image: image["cluster_size"],
    "cluster_size": lambda image: image["cluster_size"],
    "compat6": lambda image: "on" if image["format_specific"].get("hw_version") == "6" else "off",
    "compat": lambda image: image["format_specific"].get("compat"),
    "compression_type": lambda image: image["format_specific"].get("compression_type"),
    "extended_l2": lambda image: "on" if image["format_specific"].get("extended_l2") else "off",
    "hwversion": lambda image: image["format_specific"].get("hw_version"),
    "log_size": lambda image: image["format_specific"].get("log_length"),
    "logical_sector_size": lambda image: image["format_specific"].get("logical_sector_size"),
    "lazy_refcounts": lambda image: "on" if image["format_specific"].get("lazy_refcounts") else "off",
    "preallocation": _preallocation,
    "refcount_bits": lambda image: image["format_specific"].get("refcount_bits"),
    "toolsversion": lambda image: image["format_specific"].get("tools_version"),
    "zeroed_grain": _zeroed_grain,
}
"""Where an image's description shows what a creation option has set. Of those that are not here it shows nothing, or what else
is compared: the variant (``static``), the disk's size (``force_size``)"""
_SAME = {"v2": "0.10", "v3": "1.1"}


def _plain(value: t.Any) -> str:
    """``64K`` and 65536 are the same."""
    text = _SAME.get(str(value), str(value))
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper())
    return str(int(text[:-1]) * factor) if factor and text[:-1].isdigit() else text
