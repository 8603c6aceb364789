# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""streamOptimized beside what VMware's ovftool and VirtualBox write: header, order of the markers, keys of the descriptor.

What these two programs write stands here as facts (files of a 16 GiB and an 8 GiB disk); where the files are at hand, the
facts are taken from them again, by the same functions.
"""

from __future__ import annotations

import importlib.util
import itertools
import random
import re
import struct

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats import registry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink

GRAIN = 65536
TABLE = 512 * GRAIN
HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")
NAMES = "magic version flags capacity grain descriptor descriptor_size gtes rgd gd overhead unclean newline compression".split()

# What both have in common: the rule for whoever wants ESXi to take it.
RULE = {
    "magic": b"KDMV",
    "version": 3,
    "flags": 0x30001,
    "grain": 128,
    "descriptor": 1,
    "gtes": 512,
    "rgd": 0,
    "gd": 0xFFFFFFFFFFFFFFFF,
    "overhead": 128,
    "unclean": 0,
    "newline": b"\n \r\n",
    "compression": 1,
}
# In a group of grains, each table behind its own; a directory of one entry a table; the three sectors at the end.
END = ["directory", "footer", "end"]
OVFTOOL = {
    "capacity": 33554432,
    "order": ["grains", "table"] * 53 + END,
    "directory sectors": 4,
    "keys": [
        "version",
        "CID",
        "parentCID",
        "createType",
        "ddb.adapterType",
        "ddb.geometry.cylinders",
        "ddb.geometry.heads",
        "ddb.geometry.sectors",
        "ddb.longContentID",
        "ddb.virtualHWVersion",
    ],
    "values": {"createType": "streamOptimized", "adapterType": "lsilogic", "cylinders": "2088", "heads": "255", "sectors": "63"},
}
VIRTUALBOX = {
    "capacity": 16777216,
    "order": END,
    "directory sectors": 2,
    "keys": [
        "version",
        "CID",
        "parentCID",
        "createType",
        "ddb.virtualHWVersion",
        "ddb.adapterType",
        "ddb.geometry.cylinders",
        "ddb.geometry.heads",
        "ddb.geometry.sectors",
        "ddb.uuid.image",
        "ddb.uuid.parent",
        "ddb.uuid.modification",
        "ddb.uuid.parentmodification",
        "ddb.comment",
    ],
    "values": {"createType": "streamOptimized", "adapterType": "ide", "cylinders": "16383", "heads": "16", "sectors": "63"},
}


def facts(raw):
    """What a stream is made of, read from its front to its end without any table."""
    header = dict(zip(NAMES, HEADER.unpack_from(raw)))
    kinds, values = [], {}
    sector = header["overhead"]
    while not kinds or kinds[-1] != "end":
        value, size, kind = struct.unpack_from("<QII", raw, sector * 512)
        name = "grains" if size else ("end", "table", "directory", "footer")[kind]
        kinds.append(name)
        values[name] = (sector, value)
        sector += -(-(size + 12) // 512) if size else 1 + value
    assert sector * 512 == len(raw)
    text = raw[512 : 512 * (1 + header["descriptor_size"])].rstrip(b"\0").decode("ascii")
    pairs = re.findall(r'^([\w.]+)\s*=\s*"?([^"\n]*?)"?\s*$', text, re.MULTILINE)
    return {
        "rule": {name: header[name] for name in RULE},
        "footer": {**dict(zip(NAMES, HEADER.unpack_from(raw, len(raw) - 1024))), "gd": None} == {**header, "gd": None},
        "footer's directory": HEADER.unpack_from(raw, len(raw) - 1024)[9] == values["directory"][0] + 1,
        "capacity": header["capacity"],
        "order": [name for name, _group in itertools.groupby(kinds)],
        "directory sectors": values["directory"][1],
        "keys": [name for name, _value in pairs],
        "values": {name.rpartition(".")[2]: value for name, value in pairs if name.rpartition(".")[2] in OVFTOOL["values"]},
    }


def ours(path, size, tables, **options):
    """A disk of ``size`` bytes with a grain or two in each of some tables."""
    chance = random.Random(2)
    with Sink(path) as sink:
        writer = registry.create_writer(registry.target("vmdk", "streamOptimized", False, options), sink, size)
        for table in tables:
            for grain in (0, 7):
                writer.write(table * TABLE + grain * GRAIN, writer.encode(chance.randbytes(GRAIN)))
        writer.finish()
        sink.commit()
    return facts(path.read_bytes())


@pytest.mark.parametrize(
    ("theirs", "tables", "options"),
    [(OVFTOOL, (0, 1, *range(10, 511, 10)), {"adapter_type": "lsilogic"}), (VIRTUALBOX, (), {"adapter_type": "ide"})],
    ids=["ovftool", "VirtualBox"],
)
def test_the_structure_is_theirs(tmp_path, theirs, tables, options):
    found = ours(tmp_path / "disk.vmdk", theirs["capacity"] * 512, tables, **options)
    assert found["rule"] == RULE
    assert found["footer"]
    assert found["footer's directory"]
    for name in ("capacity", "order", "directory sectors"):
        assert found[name] == theirs[name], name
    # ovftool rounds the last cylinder off, we round it up: a guest that goes by the geometry sees all of the disk.
    assert {**found["values"], "cylinders": None} == {**theirs["values"], "cylinders": None}
    assert int(found["values"]["cylinders"]) - int(theirs["values"]["cylinders"]) in (0, 1)


def test_the_keys_are_ovftools(tmp_path):
    """Those, and in that order, and no other; tools are only spoken of where it is asked for."""
    assert ours(tmp_path / "disk.vmdk", 1 << 30, [0])["keys"] == OVFTOOL["keys"]
    with_tools = ours(tmp_path / "disk.vmdk", 1 << 30, [0], toolsversion="2147483647")["keys"]
    assert with_tools == [*OVFTOOL["keys"][:-1], "ddb.toolsVersion", OVFTOOL["keys"][-1]]


@pytest.mark.parametrize(("case", "theirs"), [("vmdk-ovftool-v3", OVFTOOL), ("vmdk-vbox-export-ubuntu", VIRTUALBOX)])
def test_the_facts_are_those_of_the_files(shared, tmp_path, case, theirs):
    spec = importlib.util.spec_from_file_location("corpus_tool", shared / "corpus/tool.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with open(tool.materialize(case, tmp_path / case), "rb") as file:
        found = facts(file.read())
    assert found == {"rule": RULE, "footer": True, "footer's directory": True, **theirs}
