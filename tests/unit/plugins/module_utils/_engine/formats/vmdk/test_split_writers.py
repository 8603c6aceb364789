# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMDKs in several files, judged by qemu-img (two versions) and 7-Zip; and the creation options of all variants."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats import companions, registry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vmdk import names
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.convert import convert

MIB, GIB = 1 << 20, 1 << 30
SUBFORMATS = ["monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse"]
ENGINE = Path(__file__).resolve().parents[6] / "tools" / "engine"


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout!r} {done.stderr!r}"
    return done.stdout


def write(raw, path, subformat, **options):
    reader = registry.open_reader("raw", FileStorage(raw) if not isinstance(raw, bytes) else Memory(raw))
    with Sink(path, replaces=companions.present(str(path))) as sink:
        convert(reader, registry.create_writer(registry.target("vmdk", subformat, False, options), sink, reader.virtual_size))
        sink.commit()


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


# name: size of the disk, {offset: data}, number of 2 GiB parts
DISKS = {
    "one sector": (512, {0: b"a" * 512}, 1),
    "less than a grain": (4 * 512, {600: b"abc"}, 1),
    "all zero": (16 * MIB, {}, 1),
    "just one part": (2 * GIB, {0: noise(10), 2 * GIB - 5: b"END.."}, 1),
    "one sector more": (2 * GIB + 512, {2 * GIB - 100_000: noise(100_512)}, 2),
    "5 GiB and a bit": (
        5 * GIB + 1024,
        {at + 12_345: noise(100_000, at) for at in (0, 2 * GIB - 50_000, 2 * GIB + 34 * MIB, 4 * GIB - 20_000, 5 * GIB - 200_000)},
        3,
    ),
}


@pytest.fixture(scope="module", params=DISKS, ids=[name.replace(" ", "-") for name in DISKS])
def disk(request, tmp_path_factory):
    size, parts, count = DISKS[request.param]
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    with open(path, "wb") as file:
        for at, data in parts.items():
            file.seek(at)
            file.write(data)
        file.truncate(size)
    return path, count


@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_the_judges(disk, tmp_path, qemu_img, qemu_img_system, seven_zip, subformat):
    """One test for all of them: the disks are large."""
    raw, count = disk
    image = tmp_path / "größe 'x'.v1.vmdk"
    write(raw, image, subformat)
    kind = {"monolithicFlat": ["flat"], "twoGbMaxExtentFlat": ["f001", "f002", "f003"], "twoGbMaxExtentSparse": ["s001", "s002", "s003"]}[subformat]
    assert sorted(os.listdir(tmp_path)) == sorted(["größe 'x'.v1.vmdk", *(f"größe 'x'.v1-{part}.vmdk" for part in kind[:count])])
    for judge in (qemu_img, qemu_img_system):
        run(judge, "check", "-f", "vmdk", image)
        run(judge, "compare", "-f", "raw", "-F", "vmdk", raw, image)
    info = json.loads(run(qemu_img, "info", "--output=json", image))
    assert (info["virtual-size"], info["format-specific"]["data"]["create-type"]) == (raw.stat().st_size, subformat)
    if subformat == "twoGbMaxExtentSparse":
        run(seven_zip, "t", "-tvmdk", image)
    if raw.stat().st_size < 100 * MIB:
        assert run(seven_zip, "x", "-tvmdk", "-so", image) == raw.read_bytes()
    assert sum(path.stat().st_blocks for path in tmp_path.iterdir()) * 512 < 3 * MIB
    reader = registry.open_reader("vmdk", FileStorage(image))
    companions.open_present(reader)
    assert reader.check().clean
    assert companions.present(str(image)) == companions.planned(registry.target("vmdk", subformat), str(image), raw.stat().st_size)
    reader.close()


@pytest.mark.parametrize("name", ["disk.vmdk", "disk", "disk.v1.img", ".vmdk", "a b.vmdk", "x-flat.vmdk"])
@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_the_names_are_qemu_imgs(tmp_path, qemu_img, subformat, name):
    run(qemu_img, "create", "-q", "-f", "vmdk", "-o", f"subformat={subformat}", tmp_path / name, "5G")
    theirs = sorted(os.listdir(tmp_path))
    assert sorted([name, *names.extent_names(f"/somewhere/{name}", subformat, 5 * GIB)]) == theirs
    assert sorted(companions.present(str(tmp_path / name))) == sorted(set(theirs) - {name})


@pytest.mark.parametrize("name", ['a"b.vmdk', "nbd:x.vmdk", "a\\b.vmdk", "a\nb.vmdk", "a\udc80.vmdk"])
def test_names_that_a_descriptor_cannot_hold(tmp_path, name):
    for subformat in SUBFORMATS:
        with pytest.raises(UnsupportedImage, match="name"):
            write(noise(512), tmp_path / name, subformat)
    assert os.listdir(tmp_path) == []
    write(noise(512), tmp_path / name, "monolithicSparse")


def test_a_name_that_gets_too_long(tmp_path):
    with pytest.raises(AccessError, match="too long"):
        write(noise(512), tmp_path / ("x" * 250 + ".vmdk"), "monolithicFlat")
    assert os.listdir(tmp_path) == []


def test_what_is_not_a_part():
    for name in ("disk-flat.vmdk", "disk-f001.vmdk", "disk-s123.vmdk", "disk-s10000.vmdk"):
        assert names.is_own("/x/disk.vmdk", name)
    for name in (
        "disk.vmdk",
        "disk-f1.vmdk",
        "disk-flat.img",
        "disk-delta.vmdk",
        "disk-s٠٠١.vmdk",
        "other-flat.vmdk",
        "disk-flat",
        "-flat.vmdk",
        "disk-f001\n.vmdk",
    ):
        assert not names.is_own("/x/disk.vmdk", name)
    assert not names.is_own("/x/a", "a-flat.vmdk")
    assert not names.is_own("/x/-flat", "-flat")


@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_the_same_bytes_everywhere(tmp_path, subformat):
    """The descriptor follows the name, as it has to name the others; all else is the content's."""
    content = noise(300_000) + bytes(MIB) + noise(70_000)
    write(content, tmp_path / "a.vmdk", subformat)
    write(content, tmp_path / "b.vmdk", subformat)
    for name in names.extent_names("a.vmdk", subformat, len(content)):
        assert (tmp_path / name).read_bytes() == (tmp_path / f"b{name[1:]}").read_bytes()
    assert (tmp_path / "a.vmdk").read_bytes().replace(b'"a-', b'"b-') == (tmp_path / "b.vmdk").read_bytes()
    content = content[:-1] + b"\0"
    write(content, tmp_path / "b.vmdk", subformat)
    cids = [[line for line in (tmp_path / name).read_bytes().splitlines() if line.startswith(b"CID=")] for name in ("a.vmdk", "b.vmdk")]
    assert cids[0] != cids[1]


PYTHONS = [python for python in (shutil.which(f"python3.{minor}") for minor in (9, 13)) if python]


def test_the_same_bytes_from_every_python(tmp_path):
    (tmp_path / "disk.raw").write_bytes(noise(3 * MIB) + bytes(MIB) + noise(5000))
    results = []
    for threads, python in enumerate(PYTHONS or [sys.executable], 1):
        folder = tmp_path / str(threads)
        folder.mkdir()
        run(
            python, ENGINE, "convert", tmp_path / "disk.raw", folder / "d.vmdk", "--format", "vmdk", "--subformat", "twoGbMaxExtentSparse", "--threads", threads
        )
        results.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert all(result == results[0] for result in results)


def test_a_single_write_across_parts(tmp_path, qemu_img):
    start = 2 * GIB - MIB
    content = noise(2 * MIB)
    with open(tmp_path / "disk.raw", "wb") as file:
        file.seek(start)
        file.write(content)
    for subformat in SUBFORMATS:
        with Sink(tmp_path / f"{subformat}.vmdk") as sink:
            writer = registry.create_writer(registry.target("vmdk", subformat), sink, start + len(content))
            writer.write(start, memoryview(content))
            writer.finish()
            sink.commit()
        run(qemu_img, "compare", "-f", "raw", "-F", "vmdk", tmp_path / "disk.raw", tmp_path / f"{subformat}.vmdk")


def test_header_of_a_split_extent(tmp_path):
    """As VMware's own: no room for a descriptor, both directories."""
    write(noise(512) + bytes(MIB), tmp_path / "d.vmdk", "twoGbMaxExtentSparse")
    fields = struct.unpack_from("<4sIIQQQQIQQQB4sH", (tmp_path / "d-s001.vmdk").read_bytes())
    assert fields == (b"KDMV", 1, 3, 2049, 128, 0, 0, 512, 1, 6, 128, 0, b"\n \r\n", 0)


def test_too_many_parts(tmp_path):
    for size, wanted in ((20_001 * GIB, "split into 10001 files"), (2000 * GIB, None)):
        if wanted is None:
            assert len(names.extent_names("x", "twoGbMaxExtentFlat", size)) == 1000
            continue
        with pytest.raises(LimitExceeded, match=wanted), Sink(tmp_path / "x") as sink:
            registry.create_writer(registry.target("vmdk", "twoGbMaxExtentFlat"), sink, size)


@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_an_empty_disk_is_refused(tmp_path, subformat):
    with pytest.raises(UnsupportedImage, match="0 bytes"):
        write(b"", tmp_path / "disk.vmdk", subformat)


@pytest.mark.parametrize("subformat", [*SUBFORMATS, "monolithicSparse", "streamOptimized"])
def test_options_as_qemu_img_has_them(tmp_path, qemu_img, subformat):
    given = {"adapter_type": "buslogic", "compat6": "on", "toolsversion": "2147483647"}
    write(noise(MIB), tmp_path / "ours.vmdk", subformat, **given)
    options = ",".join(f"{name}={value}" for name, value in given.items())
    run(qemu_img, "create", "-q", "-f", "vmdk", "-o", f"subformat={subformat},{options}", tmp_path / "theirs.vmdk", "1M")
    found = []
    for name in ("ours.vmdk", "theirs.vmdk"):
        values = registry.open_reader("vmdk", FileStorage(tmp_path / name)).describe().format_specific
        found.append({key: values[key] for key in ("create_type", "adapter_type", "hw_version", "tools_version")})
    assert found[0] == found[1] == {"create_type": subformat, "adapter_type": "buslogic", "hw_version": "6", "tools_version": "2147483647"}


@pytest.mark.parametrize("subformat", ["monolithicSparse", "twoGbMaxExtentSparse"])
def test_zeroed_grain(tmp_path, qemu_img, qemu_io, subformat):
    """The header is as in a disk by qemu-img, and qemu then marks zeros instead of writing them."""
    (tmp_path / "disk.raw").write_bytes(noise(MIB))
    headers = []
    write(tmp_path / "disk.raw", tmp_path / "ours.vmdk", subformat, zeroed_grain="on")
    run(qemu_img, "create", "-q", "-f", "vmdk", "-o", f"subformat={subformat},zeroed_grain=on", tmp_path / "theirs.vmdk", "1M")
    for name in ("ours", "theirs"):
        path = tmp_path / (f"{name}.vmdk" if subformat == "monolithicSparse" else f"{name}-s001.vmdk")
        headers.append(struct.unpack_from("<4sII", path.read_bytes()))
    assert headers == [(b"KDMV", 2, 7)] * 2
    run(qemu_img, "compare", "-f", "raw", "-F", "vmdk", tmp_path / "disk.raw", tmp_path / "ours.vmdk")
    before = (tmp_path / ("ours.vmdk" if subformat == "monolithicSparse" else "ours-s001.vmdk")).stat().st_size
    run(qemu_io, "-f", "vmdk", "-c", "write -z 64k 64k", tmp_path / "ours.vmdk")
    assert (tmp_path / ("ours.vmdk" if subformat == "monolithicSparse" else "ours-s001.vmdk")).stat().st_size == before
    with open(tmp_path / "disk.raw", "r+b") as file:
        file.seek(65536)
        file.write(bytes(65536))
    run(qemu_img, "compare", "-f", "raw", "-F", "vmdk", tmp_path / "disk.raw", tmp_path / "ours.vmdk")


@pytest.mark.parametrize(
    ("subformat", "options"),
    [
        ("monolithicFlat", {"zeroed_grain": "on"}),
        ("twoGbMaxExtentFlat", {"zeroed_grain": "on"}),
        ("streamOptimized", {"zeroed_grain": "on"}),
        ("monolithicSparse", {"zeroed_grain": "yes"}),
        ("monolithicSparse", {"compat6": "on", "hwversion": "7"}),
        ("monolithicSparse", {"compat6": "1"}),
        ("monolithicSparse", {"toolsversion": "1.2"}),
        ("monolithicSparse", {"toolsversion": '1"\nRW 1 FLAT "/etc/passwd'}),
        ("monolithicSparse", {"adapter_type": "LSILOGIC"}),
        ("monolithicFlat", {"preallocation": "full"}),  # qemu-img has none either
    ],
)
def test_options_that_make_no_sense(subformat, options):
    """Refused before anything is opened."""
    with pytest.raises(UnsupportedImage, match="option"):
        registry.target("vmdk", subformat, False, options)


def test_adapters():
    for adapter in ("ide", "lsilogic", "buslogic", "legacyESX", "pvscsi"):
        assert registry.target("vmdk", None, False, {"adapter_type": adapter}).options["adapter_type"] == adapter
