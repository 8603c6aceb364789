# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VHD, VHDX and VDI that qemu writes at random, read by us; and ours, of the same content and any options, read by qemu and 7-Zip."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.produce import produce
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink

MIB = 1 << 20
DRIVERS = {"vhd": "vpc", "vhdx": "vhdx", "vdi": "vdi"}
THEIRS = {
    "vhd": {"subformat": ["dynamic", "dynamic", "fixed"], "force_size": ["on", "off"]},
    "vhdx": {"subformat": ["dynamic", "dynamic", "fixed"], "block_size": ["0", "1M", "2M"], "block_state_zero": ["on", "off"], "log_size": ["1M", "2M"]},
    "vdi": {"static": ["on", "off"]},
}
OURS = {
    "vhd": {"force_size": ["on", "off"], "block_size": ["512K", "2M"]},
    "vhdx": {"block_size": ["0", "1M", "2M"], "block_state_zero": ["on", "off"], "log_size": ["1M", "2M"]},
    "vdi": {},
}


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True).stdout


def chosen(chance, options):
    return {name: chance.choice(values) for name, values in options.items()}


def commands(chance, size):
    """Writes, zeros and discards of whole sectors, for qemu-io."""
    found = []
    for _number in range(chance.randrange(1, 12)):
        start = chance.randrange(size // 512) * 512
        where = f"{start} {min(chance.choice((512, 4096, 65536, chance.randrange(1, 4096) * 512)), size - start)}"
        kind = chance.choice((f"write -q -P {chance.randrange(1, 256)}",) * 4 + ("write -q -z", "write -q -z -u", "write -q -P 0", "discard -q"))
        found += ["-c", f"{kind} {where}"]
    return found


@pytest.mark.parametrize("form", DRIVERS)
@pytest.mark.parametrize("seed", range(4))
def test_both_directions(tmp_path, qemu_img, qemu_io, seven_zip, form, seed):
    chance, driver = random.Random(f"{form}{seed}"), DRIVERS[form]
    image, raw, ours = tmp_path / f"theirs.{form}", tmp_path / "disk.raw", tmp_path / f"ours.{form}"
    options = chosen(chance, THEIRS[form])
    run(qemu_img, "create", "-f", driver, "-o", ",".join(map("=".join, options.items())), image, chance.randrange(1, 10 * 2048) * 512)
    size = json.loads(run(qemu_img, "info", "-f", driver, "--output=json", image))["virtual-size"]
    # What a driver cannot do (vpc cannot discard) it says, and goes on.
    subprocess.run([qemu_io, "-f", driver, "-d", "unmap", *commands(chance, size), image], check=False, capture_output=True)
    before = hashlib.sha256(image.read_bytes()).digest()
    run(qemu_img, "convert", "-f", driver, "-O", "raw", image, raw)
    with open_source(Request(str(image))) as source:
        assert source.reader.read_at(0, size + 1) == raw.read_bytes()
        assert not source.reader.check().corruptions
        assert hashlib.sha256(image.read_bytes()).digest() == before
        with Sink(ours) as sink:
            wanted = target(form, chance.choice(("dynamic", "fixed")), options=chosen(chance, OURS[form]))
            shown = produce(source, wanted, sink, threads=1).virtual_size
            sink.commit()
    run(qemu_img, "compare", "-f", "raw", "-F", driver, raw, ours)
    if form != "vhd":  # qemu-img cannot check it
        run(qemu_img, "check", "-f", driver, ours)
    if form != "vhdx" or not shown % 2048:  # 7-Zip also refuses qemu's images of other sizes
        assert run(seven_zip, "x", "-so", f"-t{form}", ours) == raw.read_bytes().ljust(shown, b"\0")
