# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWX is told: extensions/awx/controller.yml, as the tests see it. The part awx of ./dev test runs them."""

from __future__ import annotations

import copy
import os
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "awx_setup_project_url": "https://git.example.com/images.git",
    "awx_setup_image": "registry.example.com/vmimage-ee:1",
    "awx_setup_credential": "my cloud",
    "awx_setup_slices": 3,
}
"""of the role; what is not set has its default"""


class Loader(yaml.SafeLoader):
    """Of a file for Ansible."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


@pytest.fixture(autouse=True)
def collections(monkeypatch):
    """The collection is found, and so are the programs beside this Python."""
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(ROOT / ".cache/collections"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ANSIBLE_PIPELINING", "1")


@pytest.fixture(scope="session")
def controller_data():
    """The lists, without expressions."""
    text = (ROOT / "extensions/awx/controller.yml").read_text(encoding="utf-8")
    defaults = yaml.safe_load((ROOT / "roles/awx_setup/defaults/main.yml").read_text(encoding="utf-8"))
    settings = {**defaults, **SETTINGS}

    def evaluate(value):
        if isinstance(value, dict):
            return {key: evaluate(one) for key, one in value.items()}
        if isinstance(value, list):
            return [evaluate(one) for one in value]
        if isinstance(value, str) and value.startswith("{{ [awx_setup_credential]"):
            return [settings["awx_setup_credential"]]
        if isinstance(value, str) and value.startswith("{{ awx_setup_"):
            return settings[value.strip("{} ")]
        return copy.copy(value)

    return evaluate(yaml.load(text, Loader))  # noqa: S506 (a safe one)
