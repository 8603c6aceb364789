#!/usr/bin/env python3
# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random folders to fill file systems with, and what is in them. The same seed makes the same tree.

build_tree.py FOLDER SEED [FILES]
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import typing as t
from pathlib import Path

NAMES = ("a", "README", "with space", "ünïcode-ß", "日本語", "UPPER.TXT", "many.dots.in.name", "x" * 200, "trailing~", "#hash")
SIZES = (0, 1, 59, 60, 61, 155, 512, 1000, 4095, 4096, 4097, 12_288, 65_536, 100_000, 1_000_003)


def build_tree(folder: Path, seed: int, files: int = 60, *, links: bool = True, names: t.Sequence[str] = NAMES, crowded: int = 400) -> None:
    """Fill a folder.

    :param files: regular files beside those of the crowded directory
    :param links: with symbolic and hard links, for file systems that have them
    :param names: what names are made of
    :param crowded: files in one directory of many, so that it needs more than one block
    """
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    folders = [folder]
    for number in range(max(4, files // 6)):
        made = chance.choice(folders) / f"{chance.choice(names)[:60]}-d{number}"
        made.mkdir()
        folders.append(made)
    made_files: list[Path] = []
    for number in range(files):
        path = chance.choice(folders) / f"{chance.choice(names)}-{number}"
        _fill(path, chance, SIZES[number % len(SIZES)] if number < len(SIZES) else int(chance.triangular(0, 300_000, 2000)))
        made_files.append(path)
    _sparse(folder / "sparse.bin", chance)
    crowd = folder / "crowded"
    crowd.mkdir()
    for number in range(crowded):
        (crowd / f"entry-{number:05}-{'n' * chance.randrange(40)}").write_bytes(b"%d" % number)
    if not links:
        return
    for number in range(max(4, files // 6)):
        target = chance.choice((*map(str, made_files), "/absolute/nowhere", "relative/nowhere", "../" * 3 + "etc", "t" * 59, "t" * 60, "t" * 255, "t/" * 500))
        inside = target[len(str(folder)) :] if target.startswith(str(folder)) else target
        (chance.choice(folders) / f"link-{number}").symlink_to(inside)
        os.link(chance.choice(made_files), chance.choice(folders) / f"hard-{number}")


def contents(folder: Path) -> dict[str, str]:
    """What a folder holds: of a file its SHA-256, of a symbolic link ``-> target``, of a directory ``/``, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_dir():
            found[name] = "/"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _fill(path: Path, chance: random.Random, size: int) -> None:
    # Half of it compresses well, so that compressing file systems compress some and leave some.
    data = chance.randbytes(size) if chance.random() < 0.5 else (chance.randbytes(64) * (size // 64 + 1))[:size]
    path.write_bytes(data)
    path.chmod(chance.choice((0o644, 0o600, 0o755)))


def _sparse(path: Path, chance: random.Random) -> None:
    with path.open("wb") as file:
        for _piece in range(12):
            file.seek(chance.randrange(4_000_000))
            file.write(chance.randbytes(chance.randrange(1, 9000)))
        file.truncate(4_200_000)


def main() -> None:
    folder, seed, *files = sys.argv[1:]
    build_tree(Path(folder), int(seed), *map(int, files))
    for name, what in contents(Path(folder)).items():
        sys.stdout.write(f"{what}  {name}\n")


if __name__ == "__main__":
    main()
