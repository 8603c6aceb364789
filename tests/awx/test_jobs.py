# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project's playbooks, run by ansible-runner as AWX runs them: the workflow, and long jobs with an idle timeout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import datetime
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from conftest import ROOT  # noqa: E402
from jobs import Slowed, Tower, users  # noqa: E402

DEBIAN = ROOT / ".cache/molecule/trixie"
IDLE = 5
"""seconds without output after which a job is ended"""


def make_disk(path, size):
    """A raw disk of so many MiB, by the tool of the progress tests: it is compressed neither quickly nor much."""
    subprocess.run([sys.executable, ROOT / "tests/integration/targets/progress/make_disk.py", path, str(size)], check=True)


@pytest.fixture(scope="module")
def tower(tmp_path_factory, controller_data):
    """AWX with the project as it comes, and the inventories of the lists; the fleet is the project's, with images that are there."""
    folder = tmp_path_factory.mktemp("awx")
    shutil.copytree(ROOT / "extensions/awx/project", folder / "project", ignore=shutil.ignore_patterns("collections"))
    (folder / "images").mkdir()
    (source,) = controller_data["controller_inventory_sources"]
    fleet = folder / "project" / source["source_path"]
    text = fleet.read_text().replace("/srv/incoming", str(folder / "images")).replace("/srv/images", str(folder / "images"))
    fleet.write_text(text)
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache/collections")}
    listing = [Path(sys.executable).with_name("ansible-inventory"), "-i", fleet, "--list", "--export"]
    done = subprocess.run(listing, env=environment, capture_output=True, text=True, check=True)
    hosts = {host["name"]: host["variables"] for host in controller_data["controller_hosts"]}
    alone = {"all": {"hosts": list(hosts)}, "_meta": {"hostvars": hosts}}
    return Tower(controller_data, folder, folder / "project", {"vmimage one image": alone, "vmimage fleet": json.loads(done.stdout)})


@pytest.fixture
def second(tower):
    """A folder on a second host of the inventory: the Debian of the molecule tests if root can use it, else this machine with an older Python."""
    hosts = tower.inventories["vmimage one image"]["_meta"]["hostvars"]
    if os.geteuid() == 0 and (DEBIAN / "usr/bin/python3").exists():
        hosts["second"] = {"ansible_connection": "community.general.chroot", "ansible_host": str(DEBIAN), "ansible_python_interpreter": "/usr/bin/python3"}
        root = DEBIAN
    else:
        python = next(filter(None, map(shutil.which, ("python3.9", "python3.10"))), "/usr/bin/python3")
        hosts["second"] = {"ansible_connection": "local", "ansible_python_interpreter": python}
        root = Path("/")
    tower.inventories["vmimage one image"]["all"]["hosts"] = list(hosts)
    with tempfile.TemporaryDirectory(dir=root / "var/tmp", prefix="vmimage-awx-") as folder:
        yield Path(folder), Path("/") / Path(folder).relative_to(root)


@pytest.fixture(scope="module")
def glance(tmp_path_factory):
    """The URL of a Glance, and a clouds.yaml as AWX makes of a credential for OpenStack."""
    folder = tmp_path_factory.mktemp("glance")
    tool = ROOT / "tests/tools/glance"
    url = subprocess.run([tool, "start", folder], check=True, capture_output=True, text=True).stdout.strip()
    (folder / "awx.yaml").write_text((folder / "clouds.yaml").read_text().replace("  local:", "  devstack:"))
    yield url, folder / "awx.yaml"
    subprocess.run([tool, "stop", folder], check=True)


def images(url):
    with urllib.request.urlopen(f"{url}/v2/images") as answer:
        return json.load(answer)["images"]


def test_a_workflow(tower, glance):
    """Each node does its part, and what it leaves is the next one's."""
    url, clouds = glance
    tower.environment = {"OS_CLIENT_CONFIG_FILE": str(clouds)}
    folder = tower.folder / "images"
    make_disk(folder / "disk.raw", 2)
    answers = {"prepare_image_src": str(folder / "disk.raw"), "prepare_image_name": "a disk {{ not evaluated }}"}

    jobs = tower.work("vmimage prepare and publish", **answers, prepare_image_dest=str(folder / "disk.qcow2"))
    assert {name: job.status for name, job in jobs.items()} == dict.fromkeys(("inspect", "prepare", "publish"), "successful"), tower.jobs[-1].text
    inspection = jobs["inspect"].artifacts["prepare_image_inspections"]["localhost"]
    assert (inspection["format"], inspection["virtual_size"], inspection["accepted"]) == ("raw", 2 << 20, True)
    assert len(json.dumps(jobs["inspect"].artifacts)) < 10_000
    assert jobs["prepare"].artifacts == {"prepare_image_files": [str(folder / "disk.qcow2")]}
    assert [(image["name"], image["disk_format"], image["status"]) for image in images(url)] == [(answers["prepare_image_name"], "qcow2", "active")]

    # The upload fails: what was prepared goes.
    jobs = tower.work("vmimage prepare and publish", **answers, prepare_image_dest=str(folder / "again.qcow2"), publish_image_cloud="unknown")
    assert {name: job.status for name, job in jobs.items()} == {
        **dict.fromkeys(("inspect", "prepare", "clean up"), "successful"),
        "publish": "failed",
    }
    assert sorted(name for name in os.listdir(folder) if not name.startswith(".disk")) == ["disk.qcow2", "disk.raw"]

    # The preparation fails: there is nothing to clean up.
    jobs = tower.work("vmimage prepare and publish", **answers, prepare_image_dest=str(folder / "missing/disk.qcow2"))
    assert {name: job.status for name, job in jobs.items()} == {"inspect": "successful", "prepare": "failed", "clean up": "successful"}
    assert len(images(url)) == 1


def test_a_fleet(tower):
    """The project's list, read by the inventory plugin; the images of a limit only."""
    fleet = yaml.safe_load((tower.project / "fleet.images.yml").read_text())
    make_disk(tower.folder / "images/erp.source", 2)
    (tower.folder / "images/erp.source").rename(fleet["images"][2]["src"])
    job = tower.launch("vmimage prepare fleet", limit="erp")
    assert job.status == "successful", job.text
    assert job.stats["ok"].keys() == {"erp"}
    assert (tower.folder / "images/erp.raw").stat().st_size == 2 << 20


def await_end(path):
    """Wait until no process uses a file."""
    end = time.monotonic() + 120
    while users(path):
        assert time.monotonic() < end
        time.sleep(0.1)


def work_slowly(tower, second):
    """Prepare an image on the second host, slowly, and return the job and the seconds that the conversion had."""
    here, there = second
    make_disk(here / "disk.raw", 80)
    answers = {"prepare_image_src": str(there / "disk.raw"), "prepare_image_dest": str(there / "disk.qcow2"), "prepare_image_compress": "true"}
    with Slowed(here / "disk.raw", IDLE + 2):
        job = tower.launch("vmimage prepare", **answers, prepare_image_hosts="second")
    return job


def test_a_job_that_shows_progress_is_left_alone(tower, second):
    """It takes longer than the idle timeout, and its lines are events of their own, in time."""
    tower.environment = {"VMIMAGE_PROGRESS_INTERVAL": "1"}
    tower.settings = {"idle_timeout": IDLE}
    job = work_slowly(tower, second)
    assert job.status == "successful", job.text
    (start,) = [event for event in job.seen if event["event"] == "runner_on_start" and event["event_data"]["task"].startswith("Convert")]
    (end,) = [event for event in job.seen if event["event"] == "runner_on_ok" and event["event_data"]["task"].startswith("Convert")]
    assert (datetime.fromisoformat(end["created"]) - datetime.fromisoformat(start["created"])).total_seconds() > IDLE
    shown = [event for event in job.seen if "second: image_convert: " in event["stdout"]]
    assert {event["event"] for event in shown} == {"verbose"}
    assert all(start["counter"] < event["counter"] < end["counter"] for event in shown)
    assert re.search(r"second: image_convert: convert \d+ % of 80[.]0 MiB, .* left", job.text)


def test_a_silent_job_is_ended(tower, second):
    """The same job without progress; and what it leaves is cleaned up."""
    here, there = second
    tower.environment = {"VMIMAGE_PROGRESS_INTERVAL": "0"}
    tower.settings = {"idle_timeout": IDLE}
    job = work_slowly(tower, second)
    assert job.status == "timeout", job.text
    assert "image_convert: " not in job.text
    # Who ends a playbook does not end what it began on another machine. In AWX that is the end of the container, for what runs in it.
    await_end(here / "disk.raw")
    job = tower.launch("vmimage clean up", prepare_image_dest=str(there / "disk.qcow2"), prepare_image_hosts="second")
    assert job.status == "successful", job.text
    assert os.listdir(here) == ["disk.raw"]
