# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles say twice is the same both times."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.vmimage.prep.plugins.module_utils._engine.profiles import PROFILES

ROLES = Path(__file__).resolve().parents[3] / "roles"


def load(role: str, path: str) -> dict:
    return yaml.safe_load((ROLES / role / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", ["awx_setup", "build_ami", "fetch_image", "import_ovf", "prepare_image", "publish_image"])
def test_documented_defaults_are_the_defaults(role):
    options = load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    documented = {name: option["default"] for name, option in options.items() if "default" in option}
    assert documented == load(role, "defaults/main.yml")


@pytest.mark.parametrize("role", ["build_ami", "fetch_image", "import_ovf", "prepare_image", "publish_image"])
def test_every_documented_option_is_used(role):
    text = "".join(path.read_text(encoding="utf-8") for folder in ("tasks", "vars") for path in (ROLES / role).glob(f"{folder}/*.yml"))
    options = load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert [name for name in options if name not in text] == []


def test_images_end_as_the_formats_of_the_platforms():
    endings = load("import_ovf", "vars/main.yml")["__import_ovf_endings"]
    assert endings == {**{name: profile.format for name, profile in PROFILES.items()}, "vpc": "vhd"}


@pytest.mark.parametrize(
    "file",
    ["x-1.2.qcow2", "x-1.2.raw.xz", "x-1.2.tar.gz", "x-1.2.tgz", "x-1.2.gz", "x-1.2.ova.zst"],
)
def test_images_are_called_as_files_without_their_endings(file):
    assert re.sub(load("prepare_image", "vars/main.yml")["__prepare_image_ending"], "", file) == "x-1.2"
