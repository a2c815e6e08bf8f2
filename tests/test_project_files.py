"""Files of the project that other programs read: citation, workflow, issue templates."""

import os
import re
from pathlib import Path

import pytest
import yaml

import espnet_s3router

ROOT = Path(__file__).parents[1]


def read(path):
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


def test_citation():
    citation = read("CITATION.cff")
    assert citation["version"] == espnet_s3router.__version__
    assert citation["license"] == "Apache-2.0" and citation["cff-version"] == "1.2.0"
    papers = [paper["url"].rpartition("/")[2] for paper in citation["references"]]
    assert papers == ["2211.01522", "2106.05933", "2302.14132"]
    assert all(author.keys() == {"family-names", "given-names"} for p in citation["references"] for author in p["authors"])


def test_the_newest_release_notes_are_those_of_the_version():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    sections = re.split(r"^## ", text, flags=re.M)[1:]
    assert sections[0].startswith("[Unreleased]\n")
    version, day = re.match(r"\[(.+)\] - (\d{4}-\d\d-\d\d)\n", sections[1]).groups()
    assert version == espnet_s3router.__version__
    assert day == str(read("CITATION.cff")["date-released"])
    assert "### Added\n- " in sections[1]


def test_workflow_runs_the_checks_on_both_pythons():
    workflow = read(".github/workflows/ci.yml")
    (job,) = workflow["jobs"].values()
    pythons = {path.stem.removeprefix("python") for path in (ROOT / "constraints").glob("python*.txt")}
    assert set(job["strategy"]["matrix"]["python"]) == pythons
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert job["env"]["PYTHON"] == "python${{ matrix.python }}"  # of install.sh
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_reports_of_faults_ask_for_the_doctor():
    fields = {field["id"]: field for field in read(".github/ISSUE_TEMPLATE/fault.yml")["body"]}
    assert "s3router doctor --json" in fields["doctor"]["attributes"]["label"]
    assert fields["doctor"]["validations"]["required"] is True


@pytest.mark.xdist_group("a group")
def test_groups_of_tests_stay_in_one_process(request):
    """Else every process makes the fixtures that take minutes. pytest 9.2 with pytest-xdist 3.8 splits groups silently."""
    if "PYTEST_XDIST_WORKER" in os.environ and request.config.getvalue("loadgroup"):
        assert request.node.nodeid.endswith("@a group")
