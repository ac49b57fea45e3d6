"""Commands replace their own reports, and never a file of the user's unless --force is given."""

import dataclasses

import pytest

from neurokit import cli
from neurokit.bench.run import BenchRun
from neurokit.cli.outputs import GENERATOR, check_outputs, is_own_report
from neurokit.errors import OutputError
from neurokit.page.energy import TEMPLATES
from neurokit.reports.energy import EnergyReport

THEIRS = ["my notes\n", '{"reports": 1}', "<!doctype html><title>mine</title>", "[[[[", '{"network": "x"}']


@pytest.mark.parametrize("text", THEIRS)
@pytest.mark.parametrize(
    "command",
    [
        ["report", "nowhere", "--html"],
        ["energy", "no.py:model", "--chip", "loihi2", "--html"],
        ["energy", "no.py:model", "--chip", "loihi2", "--out"],
        ["bench", "nowhere", "--out"],
    ],
)
def test_a_file_of_the_users_stays(command, text, tmp_path, capsys):
    file = tmp_path / "f"
    file.write_text(text)
    assert cli.main([*command, str(file)]) == 2
    said = capsys.readouterr().err
    assert "is no report of neurokit" in said
    assert "--force" in said
    assert file.read_text() == text
    cli.main([*command, str(file), "--force"])  # fails later: there is no such model
    assert "is no report of neurokit" not in capsys.readouterr().err


def test_own_reports_are_known(tmp_path):
    """What bench and energy write is known, by the keys that their classes have."""
    BenchRun(()).save(tmp_path / "bench.json")
    assert is_own_report(tmp_path / "bench.json")
    names = [field.name for field in dataclasses.fields(EnergyReport)]
    (tmp_path / "energy.json").write_text("{" + ", ".join(f'"{name}": 0' for name in names) + "}")
    assert is_own_report(tmp_path / "energy.json")
    pages = list(TEMPLATES.glob("*.html.j2"))
    assert len(pages) >= 2
    assert all(GENERATOR in page.read_text()[:500] for page in pages)


def test_places_that_cannot_be_written(tmp_path):
    check_outputs(None, tmp_path / "new.json", force=False)
    with pytest.raises(OutputError, match="no folder"):
        check_outputs(tmp_path / "none" / "new.json", force=True)
    with pytest.raises(OutputError, match="is a folder"):
        check_outputs(tmp_path, force=True)
