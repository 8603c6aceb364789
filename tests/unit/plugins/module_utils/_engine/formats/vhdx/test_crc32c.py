# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seal on VHDX's structures."""

from __future__ import annotations

import random

from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhdx.crc32c import is_sealed, seal


def test_a_seal_holds_until_a_bit_changes():
    data = seal(b"head" + random.Random(1).randbytes(4092))
    assert is_sealed(data)
    for at in (0, 4, 7, 8, 4095):
        broken = bytearray(data)
        broken[at] ^= 0x10
        assert not is_sealed(bytes(broken)), at
