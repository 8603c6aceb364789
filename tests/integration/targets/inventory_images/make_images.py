# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Twenty raw disks of one MiB, no two alike, in the folder that is named."""

from __future__ import annotations

import random
import sys
from pathlib import Path

for number in range(1, 21):
    content = random.Random(number).getrandbits(8 * 65536).to_bytes(65536, "big")
    Path(sys.argv[1], f"vm{number:02}.raw").write_bytes(content.ljust(1 << 20, b"\0"))
