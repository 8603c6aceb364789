# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Physical volumes of LVM2, named only; volumes/lvm2/ has the logical volumes in them."""

from __future__ import annotations

from ...storage.base import Storage
from ...volumes.lvm2.label import read_label
from ..base import Signature
from .values import RAID


def identify(storage: Storage) -> Signature | None:
    """A physical volume, with its UUID; None when it is none."""
    label = read_label(storage)
    return None if label is None else Signature("LVM2_member", RAID, uuid=label.uuid, version="LVM2 001")
