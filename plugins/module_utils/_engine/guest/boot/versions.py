# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Which of two versions is the newer one: the rules of dpkg, of RPM and of the Boot Loader Specification.

Each function gives less than 0, 0 or more than 0 when the first version is older, the same or newer.
"""

from __future__ import annotations

import itertools
import re

_DPKG_PARTS = re.compile(r"([^0-9]*)([0-9]*)")
_RPM_PARTS = re.compile(r"[0-9]+|[A-Za-z]+|[~^]")
_UAPI_PARTS = re.compile(r"[0-9]+|[A-Za-z]+|[~^.-]")


def compare_dpkg(one: str, other: str) -> int:
    """As dpkg compares upstream versions (deb-version(7)), with ``-`` as any other character."""
    for (text, digits), (other_text, other_digits) in itertools.zip_longest(_DPKG_PARTS.findall(one), _DPKG_PARTS.findall(other), fillvalue=("", "")):
        order, other_order = [*map(_dpkg_order, text), 0], [*map(_dpkg_order, other_text), 0]
        difference = _compare(order, other_order) or _compare_numbers(digits, other_digits)
        if difference:
            return difference
    return 0


def compare_rpm(one: str, other: str) -> int:
    """As rpmvercmp() of RPM, and the boot loader's copy of it in Fedora."""
    for left, right in itertools.zip_longest(_RPM_PARTS.findall(one), _RPM_PARTS.findall(other), fillvalue=""):
        if left == right:
            continue
        if "~" in (left, right):  # before everything, even before the end
            return -1 if left == "~" else 1
        if "^" in (left, right) and left and right:  # behind the end, but before everything else
            return -1 if left == "^" else 1
        if not left or not right:
            return 1 if left else -1
        difference = _compare_parts(left, right)
        if difference:
            return difference
    return 0


def compare_uapi(one: str, other: str) -> int:
    """As UAPI.10 Version Format Specification has it, and systemd-boot with it."""
    for left, right in itertools.zip_longest(_UAPI_PARTS.findall(one), _UAPI_PARTS.findall(other), fillvalue=""):
        for sign in ("~", "", "-", "^", "."):
            if left != right and sign in (left, right):
                return -1 if left == sign else 1
        difference = _compare_parts(left, right)
        if difference:
            return difference
    return 0


def _dpkg_order(char: str) -> int:
    """``~`` before the end (0), then letters, then all else."""
    return -1 if char == "~" else ord(char) if char.isascii() and char.isalpha() else ord(char) + 256


def _compare_parts(one: str, other: str) -> int:
    """Parts of which each is a number or none: a number is the newer one."""
    if one[0].isdigit() != other[0].isdigit():
        return 1 if one[0].isdigit() else -1
    return _compare_numbers(one, other) if one[0].isdigit() else _compare(one, other)


def _compare_numbers(one: str, other: str) -> int:
    one, other = one.lstrip("0"), other.lstrip("0")
    return _compare((len(one), one), (len(other), other))


def _compare(one: object, other: object) -> int:
    return (one > other) - (one < other)  # type: ignore[operator]
