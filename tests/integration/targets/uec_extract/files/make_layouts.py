# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tarballs of kernel, ramdisk and root.img as people have made them: make_layouts.py FOLDER makes FOLDER/layouts/*."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile


def main() -> None:
    folder = sys.argv[1]
    data = {}
    for name in ("kernel", "ramdisk", "root.img", "root.qcow2"):
        with open(os.path.join(folder, name), "rb") as file:
            data[name] = file.read()
    kernel, ramdisk, image = data["kernel"], data["ramdisk"], data["root.img"]
    sums = f"{hashlib.sha256(image).hexdigest()} *server-amd64.img\n".encode()
    layouts = {
        "ubuntu.tar.gz": {
            "server-amd64-disk1.img": data["root.qcow2"],
            "server-amd64.img": image,
            "server-amd64-vmlinuz-virtual": kernel,
            "README.files": b"server-amd64.img is the image\n",
            "SHA256SUMS": sums,
        },
        "cirros-1.0-x86_64-uec.tar.xz": {
            "cirros-1.0-x86_64-blank.img": bytes(1 << 20),
            "cirros-1.0-x86_64-vmlinuz": kernel,
            "cirros-1.0-x86_64-initrd": ramdisk,
        },
        "ec2.tar": {"aki-1/image": kernel, "ari-1/image": ramdisk, "ami-1/image": image},
        "broken.tar.gz": {"server-amd64.img": bytes(1 << 20), "server-amd64-vmlinuz": kernel, "SHA256SUMS": sums},
    }
    out = os.path.join(folder, "layouts")
    os.makedirs(out, exist_ok=True)
    for name, files in layouts.items():
        ending = name.rpartition(".")[2]
        with tarfile.open(os.path.join(out, name), f"w:{ending}" if ending != "tar" else "w") as tar:
            for member, content in files.items():
                entry = tarfile.TarInfo(member)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    for name in ("aki-1", "ari-1", "ami-1"):
        os.makedirs(os.path.join(out, "folder", name), exist_ok=True)
        with open(os.path.join(out, "folder", name, "image"), "wb") as file:
            file.write(layouts["ec2.tar"][f"{name}/image"])


main()
