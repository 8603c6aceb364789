# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A raw disk of so many MiB, half of it random: it is compressed neither quickly nor much."""

from __future__ import annotations

import random
import sys

numbers = random.Random(1)
words = [numbers.getrandbits(64 * 8).to_bytes(64, "big") for number in range(64)]
block = b"".join(numbers.choice(words) + numbers.getrandbits(256).to_bytes(32, "big") for number in range(1 << 14))[: 1 << 20]
with open(sys.argv[1], "wb") as disk:
    for number in range(int(sys.argv[2])):
        disk.write(number.to_bytes(8, "big") + block[8:])
