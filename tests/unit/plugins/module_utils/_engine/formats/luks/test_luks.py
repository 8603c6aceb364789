# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS, judged by those who can open it: qemu-img (version 1) and cryptsetup (version 2)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import lzma
import random
import re
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, InvalidImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.detect import detect, require_disk
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import open_reader, target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.convert import survey

MIB = 1 << 20
HEADER = 16 << 10
CHECKSUM = slice(448, 512)


def run(*command, **kwargs):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, **kwargs).stdout


def opened(source):
    storage = Memory(bytes(source), "some.img") if isinstance(source, (bytes, bytearray)) else FileStorage(source)
    name = require_disk(detect(storage), storage)
    assert name == "luks"
    return open_reader(name, storage)


def described(source):
    reader = opened(source)
    info = reader.describe()
    assert (info.format, info.encrypted, info.virtual_size) == ("luks", True, reader.virtual_size)
    return info


def qemu_words(value):
    """qemu-img's JSON with underscores for its hyphens."""
    if isinstance(value, dict):
        return {key.replace("-", "_"): qemu_words(member) for key, member in value.items()}
    return [qemu_words(member) for member in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def made_by_qemu(qemu_img, tmp_path_factory):
    """A LUKS1 volume of 1 MiB. (qemu-img measures the machine for seconds each time, so there is one only.)"""
    image = tmp_path_factory.mktemp("qemu") / "disk.luks"
    run(qemu_img, "create", "-f", "luks", "--object", "secret,id=s,data=pw", "-o", "key-secret=s,iter-time=10", image, "1M")
    return image


def described_as_by_qemu_img(qemu_img, image):
    said = json.loads(run(qemu_img, "info", "--output=json", image))
    info = described(image)
    assert info.virtual_size == said["virtual-size"]
    assert said["encrypted"] is True
    expected = qemu_words(said["format-specific"]["data"])
    expected.pop("detached_header", None)  # not before qemu 9
    assert info.format_specific == {"version": 1, **expected}
    assert info.warnings == []
    return info


def test_what_qemu_img_made_is_described_as_by_it(qemu_img, made_by_qemu):
    assert described_as_by_qemu_img(qemu_img, made_by_qemu).virtual_size == MIB


@pytest.mark.parametrize(
    "options", [["-c", "aes-xts-plain64", "-s", "256"], ["-c", "aes-cbc-plain", "-h", "sha1"], ["-c", "aes-cbc-essiv:sha256", "-h", "sha512"]]
)
def test_version_1_is_described_as_by_qemu_img(tmp_path, qemu_img, cryptsetup, options):
    image = cryptsetup(tmp_path / "disk.luks", 5 * MIB, "--type", "luks1", *options)
    described_as_by_qemu_img(qemu_img, image)
    run(cryptsetup.tool, "luksAddKey", "-q", "--pbkdf-force-iterations", "1500", "--key-file", cryptsetup.key, "--key-slot", "3", image, cryptsetup.key)
    assert described_as_by_qemu_img(qemu_img, image).format_specific["slots"][3]["iters"] == 1500
    with image.open("ab") as file:
        file.write(b"odd")
    assert described_as_by_qemu_img(qemu_img, image).virtual_size % 512 == 0


def test_it_is_never_read(made_by_qemu):
    reader = opened(made_by_qemu)
    for attempt in (reader.require_readable, reader.check, lambda: list(reader.extents()), lambda: reader.read_at(0, 512), lambda: survey(reader)):
        with pytest.raises(UnsupportedImage, match=r"the content is encrypted \(LUKS1, aes-256-xts\); decrypt it first"):
            attempt()
    with pytest.raises(UnsupportedImage, match="read, not written"):
        target("luks")
    storage = FileStorage(made_by_qemu)
    assert require_disk(detect(storage), storage, declared="raw") == "raw"  # a backup of the volume as it is
    with pytest.raises(InvalidImage, match="declared as qcow2"):
        require_disk(detect(storage), storage, declared="qcow2")


@pytest.fixture(scope="module")
def cryptsetup(program, tmp_path_factory):
    """Makes LUKS2 volumes: cryptsetup(path, bytes, *options)."""
    tool = program("cryptsetup")
    key = tmp_path_factory.mktemp("key") / "key"
    key.write_bytes(b"secret")

    def make(path, size, *options):
        with path.open("wb") as file:
            file.truncate(size)
        pbkdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
        done = subprocess.run(
            [tool, "luksFormat", "-q", "--type", "luks2", *pbkdf, "--key-file", key, *map(str, options), path], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"cryptsetup cannot encrypt here: {done.stderr.decode()}")
        return path

    make.tool = tool
    make.key = key
    return make


@pytest.fixture(scope="module")
def volume(cryptsetup, tmp_path_factory):
    """The bytes of a small LUKS2 volume."""
    path = tmp_path_factory.mktemp("volume") / "disk.luks"
    return cryptsetup(path, 2 * MIB, "--luks2-keyslots-size", 512 << 10, "--offset", 2048).read_bytes()


@pytest.mark.parametrize(
    "options", [[], ["--label", "my disk", "--subsystem", "vm", "--sector-size", "512"], ["-s", "256", "-h", "sha512", "--luks2-metadata-size", "64k"]]
)
def test_version_2_is_described_as_cryptsetup_does(tmp_path, cryptsetup, options):
    image = cryptsetup(tmp_path / "disk.luks", 20 * MIB, *options)
    dump = run(cryptsetup.tool, "luksDump", image, text=True)
    said = json.loads(run(cryptsetup.tool, "luksDump", "--dump-json-metadata", image))
    info = described(image)
    facts = info.format_specific
    segment, slot = said["segments"]["0"], said["keyslots"]["0"]
    assert info.virtual_size == 20 * MIB - int(segment["offset"])
    assert info.subformat == "luks2"
    assert info.warnings == []
    assert facts["payload_offset"] == int(segment["offset"])
    assert facts["sector_size"] == segment["sector_size"]
    assert facts["uuid"] == re.search(r"UUID:\s*(\S+)", dump)[1]
    assert facts["seqid"] == int(re.search(r"Epoch:\s*(\d+)", dump)[1])
    assert facts["metadata_size"] == int(re.search(r"Metadata area:\s*(\d+)", dump)[1])
    assert facts.get("label", "(no label)") == re.search(r"Label:\s*(.+)", dump)[1]
    assert facts.get("subsystem", "(no subsystem)") == re.search(r"Subsystem:\s*(.+)", dump)[1]
    assert f"{facts['cipher_alg'].split('-')[0]}-{facts['cipher_mode']}-{facts['ivgen_alg']}" == segment["encryption"]
    assert facts["cipher_alg"] == f"aes-{slot['key_size'] * 8 // 2}"
    assert facts["hash_alg"] == said["digests"]["0"]["hash"]
    assert facts["slots"] == [
        {
            "slot": 0,
            "active": True,
            "type": "luks2",
            "key_size": slot["key_size"],
            "kdf": "pbkdf2",
            "iters": 1000,
            "key_offset": int(slot["area"]["offset"]),
            "stripes": 4000,
        }
    ]
    with pytest.raises(UnsupportedImage, match="LUKS2, aes-.*cryptsetup does, with its key"):
        opened(image).require_readable()


def test_keyslots_and_tokens_that_come_and_go(tmp_path, cryptsetup):
    image = cryptsetup(tmp_path / "disk.luks", 20 * MIB)
    more = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "2000", "--key-file", cryptsetup.key]
    run(cryptsetup.tool, "luksAddKey", "-q", *more, "--key-slot", "5", image, cryptsetup.key)
    run(cryptsetup.tool, "luksKillSlot", "-q", "--key-file", cryptsetup.key, image, "0")
    run(cryptsetup.tool, "token", "add", "--key-description", "my:key", image)
    said = json.loads(run(cryptsetup.tool, "luksDump", "--dump-json-metadata", image))
    facts = described(image).format_specific
    assert [slot["slot"] for slot in facts["slots"]] == [int(number) for number in said["keyslots"]] == [5]
    assert facts["tokens"] == [token["type"] for token in said["tokens"].values()] == ["luks2-keyring"]


@pytest.mark.parametrize("version", ["luks1", "luks2"])
def test_a_detached_header(tmp_path, cryptsetup, version):
    header = tmp_path / "header"
    cryptsetup(tmp_path / "data", MIB, "--header", header, *(["--type", "luks1"] if version == "luks1" else []))
    info = described(header)
    assert info.subformat == version
    assert info.virtual_size == 0
    assert ["detached header" in warning for warning in info.warnings] == [True]


def test_a_backup_of_the_header(tmp_path, cryptsetup):
    image = cryptsetup(tmp_path / "disk.luks", 20 * MIB)
    run(cryptsetup.tool, "luksHeaderBackup", image, "--header-backup-file", tmp_path / "backup")
    info = described(tmp_path / "backup")
    assert info.virtual_size == 0
    assert ["only a copy of the header" in warning for warning in info.warnings] == [True]
    assert info.format_specific == described(image).format_specific


def test_the_second_header_stands_in(tmp_path, volume, cryptsetup):
    """As cryptsetup does: it takes the second, and writes the first one anew."""
    whole = described(volume)
    damaged = bytearray(volume)
    damaged[5000] ^= 1
    info = described(damaged)
    assert info.format_specific == whole.format_specific
    assert info.virtual_size == whole.virtual_size == MIB
    assert ["checksum of the LUKS2 header is wrong" in warning for warning in info.warnings] == [True]
    path = tmp_path / "damaged"
    path.write_bytes(damaged)
    assert re.search(r"UUID:\s*(\S+)", run(cryptsetup.tool, "luksDump", path, text=True))[1] == info.format_specific["uuid"]
    lost = bytes(4096) + volume[4096:]
    info = described(lost)
    assert info.format_specific == whole.format_specific
    assert ["the second one is used" in warning for warning in info.warnings] == [True]
    damaged = bytearray(volume)
    damaged[HEADER + 5000] ^= 1
    assert ["the first one is used" in warning for warning in described(damaged).warnings] == [True]
    damaged[5000] ^= 1
    with pytest.raises(CorruptImage, match="checksum of the LUKS2 header is wrong"):
        opened(damaged)


def forged(volume, change=None, body=None, size=None, **fields):
    """A LUKS2 volume whose headers say something else, with checksums that are right."""
    found = json.loads(volume[4096:HEADER].partition(b"\0")[0])
    if change:
        change(found)
    size = size or HEADER
    stored = (json.dumps(found).encode() if body is None else body).ljust(size - 4096, b"\0")
    image = bytearray(volume.ljust(2 * size, b"\0"))
    for offset in (0, size):
        header = bytearray(volume[:512])
        header[:6] = b"SKUL\xba\xbe" if offset else b"LUKS\xba\xbe"
        struct.pack_into(">Q", header, 8, size)
        struct.pack_into(">Q", header, 256, offset)
        for at, form, value in fields.values():
            struct.pack_into(form, header, at, value)
        header[CHECKSUM] = bytes(64)
        area = bytes(header) + bytes(4096 - 512) + stored
        header[CHECKSUM] = hashlib.sha256(area).digest().ljust(64, b"\0")
        image[offset : offset + size] = bytes(header) + area[512:]
    return bytes(image)


def test_what_is_forged_here_is_taken_by_cryptsetup(tmp_path, volume, cryptsetup):
    path = tmp_path / "forged"
    path.write_bytes(forged(volume))
    run(cryptsetup.tool, "luksDump", path)
    assert described(forged(volume)).format_specific == described(volume).format_specific


def test_the_newer_header_counts(volume):
    newer = bytearray(volume)
    newer[HEADER : 2 * HEADER] = forged(volume, lambda found: found["segments"]["0"].update(size="524288"), seqid=(16, ">Q", 99))[HEADER : 2 * HEADER]
    info = described(newer)
    assert (info.format_specific["seqid"], info.virtual_size) == (99, 524288)
    assert ["differ in age" in warning for warning in info.warnings] == [True]


def test_while_it_is_encrypted_anew(volume):
    def reencrypting(found):
        crypt = found["segments"]["0"]
        found["segments"] = {
            "0": {**crypt, "size": "262144"},
            "1": {"type": "linear", "offset": str(int(crypt["offset"]) + 262144), "size": "dynamic"},
            "2": {**crypt, "flags": ["backup-final"]},
            "3": {"type": "linear", "offset": crypt["offset"], "size": "dynamic", "flags": ["backup-previous"]},
        }
        found["config"]["requirements"] = {"mandatory": ["online-reencrypt-v2"]}

    info = described(forged(volume, reencrypting))
    assert info.virtual_size == MIB
    assert ["online-reencrypt-v2" in warning for warning in info.warnings] == [True]


DAMAGE = {
    "no json": {"body": b""},
    "cut json": {"body": b'{"keyslots": {'},
    "no object": {"body": b"[]"},
    "no utf-8": {"body": b'{"\xff": 1}'},
    "deep": {"body": b"[" * 12000},
    "huge number": {"body": b'{"keyslots": ' + b"9" * 12000 + b"}"},
    "no keyslots": {"change": lambda found: found.pop("keyslots")},
    "keyslots as a list": {"change": lambda found: found.update(keyslots=[])},
    "keyslot as a string": {"change": lambda found: found["keyslots"].update({"0": "x"})},
    "keyslot without a number": {"change": lambda found: found["keyslots"].update({"x": found["keyslots"]["0"]})},
    "33 keyslots": {"change": lambda found: found.update(keyslots={str(number): found["keyslots"]["0"] for number in range(33)})},
    "key of no size": {"change": lambda found: found["keyslots"]["0"].update(key_size="64")},
    "kdf as a list": {"change": lambda found: found["keyslots"]["0"].update(kdf=[1])},
    "offset as a number": {"change": lambda found: found["segments"]["0"].update(offset=1048576)},
    "negative offset": {"change": lambda found: found["segments"]["0"].update(offset="-1")},
    "size of words": {"change": lambda found: found["segments"]["0"].update(size="all")},
    "digests as a string": {"change": lambda found: found.update(digests="x")},
    "flags as a number": {"change": lambda found: found["segments"]["0"].update(flags=1)},
    "sector size as text": {"change": lambda found: found["segments"]["0"].update(sector_size="512")},
    "requirements as a list": {"change": lambda found: found["config"].update(requirements=["x"])},
    "header size 0": {"size_field": (8, ">Q", 0)},
    "header size of 16 EiB": {"size_field": (8, ">Q", (1 << 64) - 1)},
    "header at another place": {"place": (256, ">Q", 4096)},
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_contradicts_itself_is_refused(volume, case):
    with pytest.raises(CorruptImage) as caught:
        opened(forged(volume, **DAMAGE[case]))
    assert str(caught.value).startswith("some.img: ")


def test_what_is_too_much_is_refused(volume):
    with pytest.raises(LimitExceeded, match="more than 100000 elements"):
        opened(forged(volume, body=b"[" + b"[]," * 1_300_000 + b"0]", size=4 * MIB))
    with pytest.raises(LimitExceeded, match="the image declares a disk of"):
        opened(forged(volume, lambda found: found["segments"]["0"].update(size=str(1 << 63))))


def test_versions_and_checksums_that_are_not_known(volume):
    with pytest.raises(UnsupportedImage, match="LUKS version 3"):
        opened(forged(volume, version=(6, ">H", 3)))
    with pytest.raises(UnsupportedImage, match="checksum 'md5-sum'"):
        opened(forged(volume, algorithm=(72, "32s", b"md5-sum")))
    sha512 = bytearray(forged(volume, algorithm=(72, "32s", b"sha512")))
    for offset in (0, HEADER):
        sha512[offset + 448 : offset + 512] = bytes(64)
        sha512[offset + 448 : offset + 512] = hashlib.sha512(sha512[offset : offset + HEADER]).digest()
    assert described(sha512).warnings == []


def test_a_damaged_header_of_version_1(tmp_path, qemu_img, made_by_qemu):
    whole = made_by_qemu.read_bytes()
    for at, value, message in ((208, 1, "neither active nor inactive"), (108, 0, "key of 0 bytes"), (108, 1 << 31, "key-bytes")):
        damaged = whole[:at] + struct.pack(">I", value) + whole[at + 4 :]
        with pytest.raises(CorruptImage, match=message):
            opened(damaged)
        (tmp_path / "damaged").write_bytes(damaged)
        if value != 1:  # qemu takes any other state of a slot for inactive
            assert subprocess.run([qemu_img, "info", tmp_path / "damaged"], capture_output=True, check=False).returncode
    with pytest.raises(CorruptImage, match="LUKS1 header ends at byte 592"):
        opened(whole[:591])
    assert ["truncated" in warning for warning in described(whole[:4096]).warnings] == [True]


def test_damage_anywhere_has_a_clear_answer(volume):
    chance = random.Random(3)
    plain = volume.partition(b"\0\0\0\0\0\0\0\0")[0]
    assert plain
    for round_number in range(300):
        body = bytearray(volume[4096:HEADER].partition(b"\0")[0])
        for change in range(chance.randrange(1, 4)):
            body[chance.randrange(len(body))] = chance.choice(b'{}[],":0x\x00\xff') if change else chance.randrange(256)
        with contextlib.suppress(ImageError):
            assert opened(forged(volume, body=bytes(body))).describe().encrypted, round_number


def test_the_corpus(shared, tmp_path):
    for name, size in (("ul-luks1/luks1.img.xz", 0), ("gen-q72-luks/q72-luks.img.xz", 4194304)):
        image = tmp_path / "image"
        image.write_bytes(lzma.decompress((shared / "corpus/shared/luks" / name).read_bytes()))
        info = described(image)
        assert (info.virtual_size, info.format_specific["version"], bool(info.warnings)) == (size, 1, not size)
