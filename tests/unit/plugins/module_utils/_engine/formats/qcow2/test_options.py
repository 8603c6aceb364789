# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every creation option of qcow2 and its values, judged by two versions of qemu-img, 7-Zip and the cloud's inspector."""

from __future__ import annotations

import json
import random
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine import codecs
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats import registry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.convert import convert

SIZES = ["512", "1k", "2K", "4096", "8K", "16K", "32K", "64K", "128K", "256K", "512K", "1M", "2M"]
WIDTHS = ["1", "2", "4", "8", "16", "32", "64"]
COMMON = [{"compat": "0.10"}, {"compat": "v2"}, {"compat": "v3"}, {"compression_type": "zstd"}, {"lazy_refcounts": "on"}]
COMMON += [{"refcount_bits": bits} for bits in WIDTHS] + [{"refcount_bits": bits, "cluster_size": "512"} for bits in ("1", "8", "64")]
COMMON += [{"extended_l2": "on"}, {"extended_l2": "on", "cluster_size": "16K", "refcount_bits": "2", "lazy_refcounts": "on"}]
COMMON += [{"extended_l2": "on", "cluster_size": "2M", "compression_type": "zstd"}]
PLAIN = [{"preallocation": how} for how in ("metadata", "falloc", "full")]
PLAIN += [{"preallocation": "metadata", "extended_l2": "on"}, {"preallocation": "full", "extended_l2": "on", "cluster_size": "16K"}]
PLAIN += [{"preallocation": "metadata", "compat": "0.10", "cluster_size": "512"}]
CASES = [(compress, options) for compress in (False, True) for options in COMMON] + [(False, options) for options in PLAIN]
CASES += [(True, {"cluster_size": size}) for size in SIZES] + [(False, {"cluster_size": size}) for size in SIZES[:2]]


def write(content, path, compress=False, threads=1, **options):
    reader = registry.open_reader("raw", Memory(content) if isinstance(content, bytes) else FileStorage(content))
    with Sink(path) as sink:
        writer = registry.create_writer(registry.target("qcow2", None, compress, options), sink, reader.virtual_size)
        convert(reader, writer, threads=threads)
        sink.commit()


def disk(size):
    """Pieces of all lengths that do or do not shrink, with zeros of all lengths between; the last bytes are data."""
    chance = random.Random(7)
    content = bytearray(size)
    at = 0
    while at < size:
        length = 1 << chance.randrange(6, 19)
        if chance.random() < 0.6:
            content[at : at + length] = chance.randbytes(length) if chance.random() < 0.5 else b"0123456789abcdef" * (length // 16)
        at += length + 512 * chance.randrange(3)
    content[size - 3 :] = b"end"
    return bytes(content[:size])


CONTENT = disk((3 << 20) + 5 * 512)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    path = tmp_path_factory.mktemp("options") / "disk.raw"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def image(tmp_path):
    return tmp_path / "disk.qcow2"


def need_zstd(options):
    if options.get("compression_type") == "zstd":
        try:
            codecs.zstd_compress(b"", 3)
        except UnsupportedImage as error:
            pytest.skip(str(error))


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True).stdout


@pytest.mark.parametrize(("compress", "options"), CASES, ids=str)
def test_an_option(raw, image, tmp_path, qemu_img, qemu_img_system, compress, options):
    need_zstd(options)
    write(CONTENT, image, compress, **options)
    write(raw, tmp_path / "again", compress, threads=3, **options)
    assert image.read_bytes() == (tmp_path / "again").read_bytes()
    assert b"leak" not in run(qemu_img, "check", image)
    run(qemu_img_system, "compare", "-f", "raw", "-F", "qcow2", raw, image)
    info = json.loads(run(qemu_img, "info", "--output=json", image))
    found = info["format-specific"]["data"]
    version_2 = options.get("compat") in ("0.10", "v2")
    assert found["compat"] == ("0.10" if version_2 else "1.1")
    assert found["refcount-bits"] == int(options.get("refcount_bits", "16"))
    assert found["compression-type"] == options.get("compression_type", "zlib")
    if not version_2:
        assert found["lazy-refcounts"] is (options.get("lazy_refcounts") == "on")
        assert found["extended-l2"] is (options.get("extended_l2") == "on")
    text = options.get("cluster_size", "64K").upper()
    assert info["cluster-size"] == int(text.rstrip("KM")) * {"K": 1 << 10, "M": 1 << 20}.get(text[-1], 1)
    assert info["dirty-flag"] is False


def test_our_own_reader_agrees(image):
    for compress, options in CASES[:: len(CASES) // 12]:
        need_zstd(options)
        write(CONTENT, image, compress, **options)
        reader = registry.open_reader("qcow2", FileStorage(image))
        assert reader.check().clean
        assert reader.read_at(0, len(CONTENT)) == CONTENT


@pytest.mark.parametrize("how", ["metadata", "falloc", "full"])
@pytest.mark.parametrize("more", [{}, {"compat": "0.10", "cluster_size": "512"}], ids=str)
def test_preallocated_is_all_of_the_disk(image, qemu_img, how, more):
    """An empty disk of several L2 tables: every cluster has its place, and the room for it is taken or not."""
    size = 8 << 20
    write(bytes(size), image, preallocation=how, **more)
    run(qemu_img, "check", image)
    found = json.loads(run(qemu_img, "map", "--output=json", image))
    assert all("offset" in extent and extent["depth"] == 0 for extent in found)
    taken = image.stat().st_blocks * 512
    assert taken < size // 4 if how == "metadata" else taken >= size


def test_runs_across_the_ends_of_l2_tables(tmp_path, image, qemu_img):
    """With extended L2 entries and clusters of 16 KiB a table maps 16 MiB."""
    path = tmp_path / "disk.raw"
    with open(path, "wb") as file:
        for at in ((16 << 20) - 5000, (48 << 20) - (3 << 20), (64 << 20) - 100):
            file.seek(at)
            file.write(random.Random(at).randbytes(100_000))
        file.truncate(80 << 20)
    for how in ("off", "metadata"):
        write(path, image, extended_l2="on", cluster_size="16K", preallocation=how)
        run(qemu_img, "check", image)
        run(qemu_img, "compare", "-f", "raw", "-F", "qcow2", path, image)


def test_only_the_subclusters_that_hold_something(image, qemu_img):
    content = bytearray(4 << 20)
    for at in range(3 * 2048, 4 << 20, 65536):
        content[at : at + 4096] = b"\x55" * 4096
    write(bytes(content), image, extended_l2="on")
    found = json.loads(run(qemu_img, "map", "--output=json", image))
    assert [(extent["start"] % 65536, extent["length"]) for extent in found if extent["data"]] == [(6144, 4096)] * 64


def test_a_refcount_of_one_bit_shares_no_cluster(image, qemu_img):
    """What is not written of a host cluster is a hole: compression still saves room."""
    write(b"0123456789abcdef" * 65536, image, compress=True, refcount_bits="1")
    run(qemu_img, "check", image)
    assert image.stat().st_size >= 16 * 65536
    assert image.stat().st_blocks * 512 < 8 * 65536


@pytest.mark.parametrize(
    "options", [{"refcount_bits": "64"}, {"refcount_bits": "1"}, {"lazy_refcounts": "on"}, {"cluster_size": "2M"}, {"cluster_size": "4K"}], ids=str
)
@pytest.mark.parametrize("compress", [False, True])
def test_seven_zip_reads_it(image, seven_zip, compress, options):
    write(CONTENT, image, compress, **options)
    assert run(seven_zip, "x", "-so", "-tqcow", image) == CONTENT


def test_the_cloud_takes_it_for_safe(image, oslo_inspector):
    """All but extended L2 entries, a feature that OpenStack's services do not know."""
    for options in ({"compression_type": "zstd"}, {"lazy_refcounts": "on"}, {"preallocation": "metadata"}, {"refcount_bits": "1"}):
        write(CONTENT[: 1 << 20], image, **options)
        found = oslo_inspector.detect_file_format(str(image))
        assert str(found) == "qcow2"
        found.safety_check()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"compat": "2"}, "1.1, v3, 0.10, v2"),
        ({"cluster_size": "1000"}, "from 512 to 2M"),
        ({"cluster_size": "4M"}, "from 512 to 2M"),
        ({"compression_type": "lz4"}, "zlib, zstd"),
        ({"refcount_bits": "3"}, "1, 2, 4, 8, 16, 32, 64"),
        ({"refcount_bits": "128"}, "1, 2, 4, 8, 16, 32, 64"),
        ({"extended_l2": "maybe"}, "on or off"),
        ({"lazy_refcounts": ""}, "on or off"),
        ({"preallocation": "some"}, "off, metadata, falloc, full"),
        ({"backing_file": "base", "backing_fmt": "iso"}, "one of .*qcow2, .*raw, .*vmdk"),
        ({"compat": "0.10", "refcount_bits": "8"}, "refcount_bits .* needs compat=1.1"),
        ({"compat": "0.10", "compression_type": "zstd"}, "zstd needs compat=1.1"),
        ({"compat": "v2", "extended_l2": "on"}, "extended_l2=on needs compat=1.1"),
        ({"compat": "v2", "lazy_refcounts": "on"}, "lazy_refcounts=on needs compat=1.1"),
        ({"extended_l2": "on", "cluster_size": "8K"}, "at least 16384"),
        ({"backing_file": "base"}, "needs backing_fmt"),
        ({"backing_fmt": "raw"}, "without backing_file"),
        ({"backing_file": "base", "backing_fmt": "raw", "preallocation": "full"}, "unless extended_l2=on"),
        ({"backing_file": "b" * 1024, "backing_fmt": "raw"}, "1023 bytes"),
        ({"backing_file": "a\0b", "backing_fmt": "raw"}, "file name"),
        ({"data_file": "x"}, "no option data_file"),
    ],
    ids=str,
)
def test_values_that_cannot_be(options, reason):
    with pytest.raises(UnsupportedImage, match=reason):
        registry.target("qcow2", options=options)


def test_preallocation_and_compression():
    with pytest.raises(UnsupportedImage, match="exclude each other"):
        registry.target("qcow2", None, True, {"preallocation": "metadata"})


def test_a_refcount_table_that_nobody_reads_is_not_written(tmp_path):
    """With 64 bits a cluster of 512 bytes counts 64 clusters: 32 GiB of file fill the largest table."""
    with Sink(tmp_path / "disk.qcow2") as sink:
        writer = registry.create_writer(registry.target("qcow2", options={"cluster_size": "512", "refcount_bits": "64"}), sink, 64 << 30)
        writer._end = 33 << 30
        with pytest.raises(UnsupportedImage, match="refcount_bits"):
            writer.finish()
