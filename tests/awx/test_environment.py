# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-builder makes the context of the execution environment, and finds what the collections in it require."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ansible_collections.openstack.cloud
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from conftest import ROOT  # noqa: E402


def build(*arguments):
    done = subprocess.run(["ansible-builder", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_context_of_the_environment(tmp_path):
    build("create", "--file", ROOT / "extensions/awx/execution-environment.yml", "--context", tmp_path)
    wanted = yaml.safe_load((tmp_path / "_build/requirements.yml").read_text())
    assert [entry["name"] for entry in wanted["collections"]] == ["vmimage.prep", "openstack.cloud"]
    steps = (tmp_path / "Dockerfile").read_text()
    assert "ansible-galaxy collection install" in steps
    assert "introspect.py" in steps


def test_our_collection_requires_nothing(tmp_path):
    """As ansible-builder finds it out within the image. The other collection shows that it looks."""
    (cloud,) = ansible_collections.openstack.cloud.__path__
    for name, folder in (("vmimage/prep", ROOT), ("openstack/cloud", cloud)):
        place = tmp_path / "ansible_collections" / name
        place.parent.mkdir(parents=True)
        place.symlink_to(folder)
    found = yaml.safe_load(build("introspect", tmp_path))
    assert [line.partition(">")[0] for line in found["python"]] == ["openstacksdk"]
    declared = yaml.safe_load((ROOT / "meta/execution-environment.yml").read_text())["dependencies"]
    for path in declared.values():
        lines = (ROOT / path).read_text().splitlines()
        assert [line for line in lines if not line.startswith("#")] == []
