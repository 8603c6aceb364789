# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small kernels, ramdisks and file systems, and the tarballs and EC2 bundles that programs made of such; without any code of ours.

The layouts are those of Ubuntu's, cirros' and EC2's files. Bundles are made by tar, gzip and openssl, as Amazon's tools do it.
"""

from __future__ import annotations

import gzip
import hashlib
import random
import re
import struct
import subprocess
from pathlib import Path

MIB = 1 << 20


def build_kernel(seed: int = 1) -> bytes:
    """A bzImage as far as its header goes (Linux, Documentation/arch/x86/boot.rst), of an odd number of bytes."""
    data = bytearray(random.Random(seed).getrandbits(8 * 70001).to_bytes(70001, "little"))
    data[0x1F1] = 1  # setup_sects
    struct.pack_into("<I", data, 0x1F4, (len(data) - 1024) // 16)  # syssize
    data[0x1FE:0x206] = b"\x55\xaa\xeb\x66HdrS"
    struct.pack_into("<H", data, 0x206, 0x020F)  # version
    struct.pack_into("<H", data, 0x20E, 0x300)  # kernel_version, from 0x200
    data[0x211] = 1  # loadflags: LOADED_HIGH
    struct.pack_into("<H", data, 0x236, 1)  # xloadflags: XLF_KERNEL_64
    data[0x500:0x530] = b"6.1.0-1-test (builder@test) #1 SMP".ljust(48, b"\0")
    return bytes(data)


def build_ramdisk(seed: int = 1) -> bytes:
    """A cpio archive (newc) with a file of random bytes, packed with gzip."""

    def entry(name: str, mode: int, data: bytes) -> bytes:
        fields = (1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        return header + bytes(-len(header) % 4) + data + bytes(-len(data) % 4)

    content = random.Random(seed).getrandbits(8 * 5000).to_bytes(5000, "little")
    return gzip.compress(entry("init", 0o100755, content) + entry("TRAILER!!!", 0, b""), mtime=0)


def build_filesystem(size: int = 4 * MIB, seed: int = 1) -> bytes:
    """The superblock of an ext2 file system, and random bytes in the middle: enough to be recognised."""
    data = bytearray(size)
    superblock = struct.pack("<13I6H4I2H", 16, size // 1024, 0, 0, 0, 1, 0, 0, 8192, 8192, 16, 0, 0, 0, 20, 0xEF53, 1, 1, 0, 0, 0, 0, 1, 0, 0)
    data[1024 : 1024 + len(superblock)] = superblock
    struct.pack_into("<IHHI", data, 1024 + 84, 11, 128, 0, 0)
    data[1024 + 104 : 1024 + 120] = bytes(range(1, 17))
    data[size // 2 : size // 2 + 50000] = random.Random(seed).getrandbits(8 * 50000).to_bytes(50000, "little")
    return bytes(data)


def build_disk(size: int = 2 * MIB) -> bytes:
    """A disk with a partition table."""
    data = bytearray(size)
    struct.pack_into("<B3sB3sII", data, 446, 0x80, b"\0\2\0", 0x83, b"\0\0\0", 2048, size // 512 - 2048)
    data[510:512] = b"\x55\xaa"
    return bytes(data)


def layouts() -> dict[str, dict[str, bytes]]:
    """The files of tarballs as they are seen in the field, by name."""
    kernel, ramdisk, image = build_kernel(), build_ramdisk(), build_filesystem()
    sums = "".join(f"{hashlib.md5(data).hexdigest()}  {name}\n" for name, data in (("old-i386.img", image), ("old-i386-vmlinuz-server", kernel)))
    return {
        "ubuntu": {
            "server-amd64.img": image,
            "server-amd64-vmlinuz-virtual": kernel,
            "server-amd64-loader": build_kernel(2),
            "server-amd64-disk1.img": build_disk(),
            "README.files": b"server-amd64.img: the image of a partition\n",
        },
        "ubuntu-initrd": {"old-i386.img": image, "old-i386-vmlinuz-server": kernel, "old-i386-initrd-server": ramdisk, "MD5SUMS": sums.encode()},
        "cirros": {"cirros-1.0-x86_64-blank.img": bytes(MIB), "cirros-1.0-x86_64-vmlinuz": kernel, "cirros-1.0-x86_64-initrd": ramdisk},
        "ec2": {"aki-1/image": kernel, "ari-1/image": ramdisk, "ami-1/image": image},
    }


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write files by their names below a folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def pack(folder: Path, tarball: Path, *options: str) -> None:
    """Pack what is in a folder with GNU tar; the ending of ``tarball`` says how it is compressed."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.iterdir())
    subprocess.run(["tar", "-C", folder, "--auto-compress", *options, "-cf", tarball, *names], check=True)


def make_key(path: Path) -> None:
    """An RSA key (PEM) for bundles."""
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-quiet", "-out", path], check=True)


def bundle(image: Path, folder: Path, key: Path, part_size: int = 100_000) -> Path:
    """Make an EC2 bundle of an image by tar, gzip and openssl, and return its manifest's path."""
    aes, vector = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"
    tar = subprocess.run(["tar", "-C", image.parent, "-c", image.name], check=True, stdout=subprocess.PIPE).stdout
    packed = subprocess.run(["gzip"], check=True, input=tar, stdout=subprocess.PIPE).stdout
    encrypted = subprocess.run(["openssl", "enc", "-e", "-aes-128-cbc", "-K", aes, "-iv", vector], check=True, input=packed, stdout=subprocess.PIPE).stdout

    def for_user(text: str) -> str:
        command = ["openssl", "pkeyutl", "-encrypt", "-inkey", key, "-pkeyopt", "rsa_padding_mode:pkcs1"]
        return subprocess.run(command, check=True, input=text.encode(), stdout=subprocess.PIPE).stdout.hex()

    parts = []
    for number, start in enumerate(range(0, len(encrypted), part_size)):
        piece, name = encrypted[start : start + part_size], f"{image.name}.part.{number:02}"
        (folder / name).write_bytes(piece)
        digest = hashlib.sha1(piece).hexdigest()
        parts.append(f'<part index="{number}"><filename>{name}</filename><digest algorithm="SHA1">{digest}</digest></part>')
    manifest = f"""<?xml version="1.0" encoding="UTF-8"?>
<manifest>
  <version>2007-10-10</version>
  <bundler><name>test</name><version>1.0</version><release>0</release></bundler>
  <machine_configuration><architecture>x86_64</architecture><kernel_id>aki-1</kernel_id></machine_configuration>
  <image>
    <name>{image.name}</name><user>000000000000</user><type>machine</type>
    <digest algorithm="SHA1">{hashlib.sha1(tar).hexdigest()}</digest>
    <size>{image.stat().st_size}</size><bundled_size>{len(encrypted)}</bundled_size>
    <ec2_encrypted_key algorithm="AES-128-CBC">00</ec2_encrypted_key>
    <user_encrypted_key algorithm="AES-128-CBC">{for_user(aes)}</user_encrypted_key>
    <ec2_encrypted_iv>00</ec2_encrypted_iv>
    <user_encrypted_iv>{for_user(vector)}</user_encrypted_iv>
    <parts count="{len(parts)}">{"".join(parts)}</parts>
  </image>
  <signature>UNSIGNED</signature>
</manifest>
"""
    path = folder / f"{image.name}.manifest.xml"
    path.write_text(re.sub(r">\s+<", "><", manifest), encoding="utf-8")
    return path
