# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An overlay's extents over those of the image below it, against the same said byte by byte."""

from __future__ import annotations

import random

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import COMPRESSED, DATA, HOLE, ZERO, Extent, Stored, fill_holes, merge


def extents_of(kinds, name):
    """Runs of a kind for each byte, each byte's host offset being its guest offset + 1000."""
    found = []
    for at, kind in enumerate(kinds):
        stored = Stored("zlib", 9, 1, 0) if kind == COMPRESSED else None
        found.append(Extent(at, 1, kind, name if kind in (DATA, COMPRESSED) else None, at + 1000 if kind in (DATA, COMPRESSED) else 0, stored))
    return list(merge(found))


def ranged(kinds, asked):
    """A reader's extents(), of an image with these kinds; notes what it is asked for."""

    def below(start, length):
        asked.append((start, length))
        return iter([extent.clip(start, start + length) for extent in extents_of(kinds, "below") if extent.end > start and extent.start < start + length])

    return below


def each(extents):
    """(kind, storage, host offset) of each guest byte; a gap or an overlap fails."""
    found = []
    for extent in extents:
        assert extent.start == len(found)
        assert extent.length > 0
        found += [(extent.kind, extent.storage, extent.offset + at if extent.kind == DATA else extent.offset) for at in range(extent.length)]
    return found


@pytest.mark.parametrize("seed", range(200))
def test_every_byte_is_the_overlay_s_or_the_one_below(seed):
    chance = random.Random(seed)
    overlay = [kind for _run in range(20) for kind in [chance.choice([DATA, HOLE, ZERO, HOLE])] * chance.randint(1, 5)]
    under = [kind for _run in range(20) for kind in [chance.choice([DATA, HOLE, ZERO, COMPRESSED])] * chance.randint(1, 5)]
    end = min(len(under), len(overlay))
    wanted = each(extents_of(overlay, "overlay"))
    lower = each(extents_of(under, "below"))
    for at in range(end):
        if overlay[at] == HOLE:
            wanted[at] = lower[at]
    asked = []
    assert each(fill_holes(extents_of(overlay, "overlay"), ranged(under, asked), end)) == wanted
    assert len(asked) <= 1  # walked once, however many holes there are


def test_the_image_below_is_not_asked_where_there_are_no_holes():
    extents = extents_of([DATA, ZERO], "overlay")
    assert list(fill_holes(extents, None, 2)) == extents


def test_an_image_below_that_gives_less_than_it_should_leaves_a_hole():
    assert list(fill_holes([Extent(0, 8, HOLE)], lambda _start, _length: iter([]), 8)) == [Extent(0, 8, HOLE)]
