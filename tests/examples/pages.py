# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the documentation, page by page: those of the plugins, the guides, and the README files.

A comment in a guide right before a block can say what is special about it; readers do not see it:

``.. example: fails WORDS``       the play stops, and the words are in what it says
``.. example: file NAME``         not a play: a file that lies beside the playbook
``.. example: output``            lines that the plays before it print; "..." stands for lines that are left out
``.. example: run``               the commands of a console block that begin with "$ " are run
"""

from __future__ import annotations

import ast
import dataclasses
import re
import textwrap
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class Block:
    """One example.

    :ivar line: where it begins in the file, from 1
    :ivar language: as the page says
    :ivar mark: what the comment before it says, without "example:"
    """

    line: int
    language: str
    text: str
    mark: str = ""


@dataclasses.dataclass
class Page:
    """A file with examples, by its path from the root of the collection."""

    name: str
    blocks: list[Block]

    @property
    def key(self) -> str:
        """The name as a file name."""
        return re.sub(r"[^A-Za-z0-9]+", "_", self.name.rpartition(".")[0])


def pages() -> list[Page]:
    """All pages that have an example."""
    found = [Page(str(path.relative_to(ROOT)), read(path)) for path in sources()]
    return [page for page in found if page.blocks]


def sources() -> t.Iterator[Path]:
    """The files in which examples can be."""
    for kind in ("modules", "filter", "inventory", "lookup", "test"):
        yield from sorted((ROOT / "plugins" / kind).glob("*.py"))
    yield from sorted((ROOT / "docs/docsite/rst").glob("*.rst"))
    yield ROOT / "README.md"
    yield from sorted((ROOT / "roles").glob("*/README.md"))


def read(path: Path) -> list[Block]:
    """The blocks of a file."""
    text = path.read_text(encoding="utf-8")
    return {".py": from_plugin, ".rst": from_guide, ".md": from_readme}[path.suffix](text)


def from_plugin(text: str) -> list[Block]:
    """What is assigned to EXAMPLES; of several YAML documents each is a block."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and getattr(node.targets[0], "id", "") == "EXAMPLES":
            return [Block(node.lineno, "yaml", part) for part in re.split(r"^---$", str(node.value.value), flags=re.MULTILINE) if part.strip()]
    return []


def from_guide(text: str) -> list[Block]:
    """The code blocks of a page in reStructuredText."""
    blocks, mark = [], ""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        directive = re.fullmatch(r"\.\. code-block:: (\S+)", line)
        comment = re.fullmatch(r"\.\. example: (.+)", line)
        if directive:
            body = []
            for follower in lines[number + 1 :]:
                if follower and not follower.startswith(" "):
                    break
                body.append(follower)
            while body and (not body[0].strip() or body[0].lstrip().startswith(":")):  # options such as :caption:
                body.pop(0)
            blocks.append(Block(number + 1, directive[1], textwrap.dedent("\n".join(body)).strip("\n") + "\n", mark))
        if comment:
            mark = comment[1]
        elif line:
            mark = ""
    return blocks


def from_readme(text: str) -> list[Block]:
    """The fenced blocks of a page in Markdown."""
    return [
        Block(text.count("\n", 0, match.start()) + 1, match[1], match[2])
        for match in re.finditer(r"^```(\S+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    ]
