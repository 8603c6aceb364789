# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs and workflows as AWX runs them: by ansible-runner, with the variables, the inventory and the settings that AWX writes for it.

Sources: AWX 24, awx/main/tasks/jobs.py (what is written), models/mixins.py (surveys), models/workflow.py (artifacts).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import ansible_runner
import yaml


class Unsafe(str):
    """A text that is not to be evaluated. AWX marks all as such that do not come from a job template."""


class Dumper(yaml.SafeDumper):
    """For the file of extra variables."""


Dumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style="'"))


def unsafe(value):
    if isinstance(value, dict):
        return {unsafe(key): unsafe(one) for key, one in value.items()}
    if isinstance(value, list):
        return [unsafe(one) for one in value]
    return Unsafe(value) if isinstance(value, str) else value


class Tower:
    """Runs the templates of controller.yml.

    :param data: the lists
    :param folder: for the private data of each job
    :param project: the checkout of the project
    :param inventories: by name, as ansible-inventory --list prints them
    """

    def __init__(self, data, folder, project, inventories):
        self.data, self.folder, self.project, self.inventories = data, folder, project, inventories
        self.environment = {}
        """what credentials add to the environment"""
        self.settings = {}
        """of ansible-runner"""
        self.jobs = []

    def launch(self, name, artifacts=None, limit=None, **answers):
        """Run a job template with answers to its survey, and return the finished job."""
        (template,) = [one for one in self.data["controller_templates"] if one["name"] == name]
        private = self.folder / f"job{len(self.jobs)}"
        own = template.get("extra_vars", {})
        variables = {**own, **defaults(template), **(artifacts or {}), **answers}
        safe = {key: value for key, value in variables.items() if own.get(key) == value}
        for place in ("env", "inventory"):
            (private / place).mkdir(parents=True)
        shutil.copytree(self.project, private / "project")
        text = yaml.dump({**{key: unsafe(value) for key, value in variables.items()}, **safe}, Dumper=Dumper)
        (private / "env/extravars").write_text(text)
        (private / "env/settings").write_text(json.dumps(self.settings))
        (private / "env/envvars").write_text(json.dumps({"ANSIBLE_FORCE_COLOR": "false", **self.environment}))
        script = private / "inventory/hosts"
        script.write_text(f"#!/usr/bin/env python3\nprint({json.dumps(self.inventories[template['inventory']])!r})\n")
        script.chmod(0o700)
        job = ansible_runner.run(private_data_dir=str(private), playbook=template["playbook"], ident="1", limit=limit, quiet=True)
        job.seen = list(job.events)
        job.artifacts = {}
        for event in job.seen:
            job.artifacts.update(event.get("event_data", {}).get("artifact_data", {}))
        job.text = (private / "artifacts/1/stdout").read_text()
        self.jobs.append(job)
        return job

    def work(self, name, **answers):
        """Run a workflow, approve everything, and return the jobs by the names of their nodes, in their order."""
        (workflow,) = [one for one in self.data["controller_workflows"] if one["name"] == name]
        answers = {**defaults(workflow), **answers}
        nodes = {node["identifier"]: node for node in workflow["simplified_workflow_nodes"]}
        followers = {other for node in nodes.values() for kind in ("success_nodes", "failure_nodes") for other in node.get(kind, [])}
        waiting = [(identifier, {}) for identifier in nodes if identifier not in followers]
        jobs = {}
        while waiting:
            identifier, artifacts = waiting.pop(0)
            node, succeeded = nodes[identifier], True
            if "unified_job_template" in node:
                job = jobs[identifier] = self.launch(node["unified_job_template"], artifacts, **answers)
                succeeded, artifacts = job.status == "successful", {**artifacts, **job.artifacts}
            waiting += [(other, artifacts) for other in node.get("success_nodes" if succeeded else "failure_nodes", [])]
        return jobs


def defaults(template):
    return {question["variable"]: question["default"] for question in template.get("survey_spec", {"spec": []})["spec"] if "default" in question}


class Slowed(threading.Thread):
    """Makes the work of every process that has a file open take longer, whatever the machine.

    For three seconds it may work for a tenth of the time only, so that there is progress to be seen; then it has to wait.

    :param seconds: for how long it has to wait
    """

    def __init__(self, path, seconds):
        super().__init__(daemon=True)
        self.path, self.seconds, self.done = path, seconds, threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.done.set()
        self.join()

    def run(self):
        began = None
        while not self.done.wait(0.05):
            stopped = users(self.path)
            if not stopped:
                continue
            began = began or time.monotonic()
            last = time.monotonic() - began > 3
            for number in stopped:
                send(number, signal.SIGSTOP)
            self.done.wait(self.seconds if last else 0.45)
            for number in stopped:
                send(number, signal.SIGCONT)
            if last:
                return


def users(path):
    """Numbers of the processes that have a file open."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if any(os.readlink(link) == str(path) for link in Path(f"/proc/{process}/fd").iterdir()):
                found.append(int(process))
        except OSError:
            continue  # it has ended meanwhile, or is not ours
    return found


def send(number, what):
    try:
        os.kill(number, what)
    except ProcessLookupError:
        pass
