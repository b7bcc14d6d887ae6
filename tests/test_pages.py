"""What is published is one page, which names no machine."""

import base64
import platform
import re
from pathlib import Path

import pytest
import yaml

from check_page import names_of_this_machine


@pytest.fixture
def workflow(root):
    return yaml.safe_load((root / ".github/workflows/pages.yml").read_text())


def test_the_workflow_publishes_the_report_after_it_was_looked_at(root, workflow):
    steps = workflow["jobs"]["build"]["steps"]
    last = [step.get("run", "") for step in steps][-2]
    assert steps[-1]["with"] == {"path": "site"}
    assert "cp data/report.html site/index.html" in last
    assert all((root / path).is_file() for path in re.findall(r"tests/\S+\.py", last))
    assert workflow[True].keys() == {"workflow_dispatch", "release"}, "not at every push"


def test_only_the_job_that_deploys_may_write(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in workflow["jobs"]["build"]
    assert workflow["jobs"]["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}


def test_the_name_of_a_machine_is_found_in_the_text_and_in_an_embedded_file():
    folder = Path("/srv/people/somebody")
    hidden = base64.b64encode(b"tEXt /srv/people/somebody/x.png").decode()
    for page in (f"<p>made in {folder}/x</p>", f'<img src="data:image/png;base64,{hidden}">'):
        assert names_of_this_machine(page, folder) == [str(folder)], page
        assert names_of_this_machine(page) == []
    assert names_of_this_machine(f"<p>on {platform.node()}</p>") == [platform.node()]
    assert names_of_this_machine(f"<p>{Path(__file__)}</p>") == [str(Path(__file__).parents[1])]
