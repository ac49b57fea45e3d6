"""The largest network of the edge zoo at its full size, from its specification to a mask beside a volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.cli import main
from neurokit.reports import ParityReport


@pytest.mark.slow  # 8 minutes of CPU, 14 of two cores that other work shares; 15 GiB
def test_swin_unetr_from_export_to_a_mask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracles: torch's own answer to one window, and the published number of parameters."""
    nibabel = pytest.importorskip("nibabel")
    pytest.importorskip("monai.networks.nets")
    spec = nk.load("swin_unetr")
    module = spec.build()
    assert sum(value.numel() for value in module.parameters()) == 62_191_941
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "swin")
    report = ParityReport.from_json(artifact.manifest.parity)
    assert report.passed, report.notes
    assert report.output_error_free < report.output_tolerance <= 1e-4
    x = torch.rand(1, 4, 96, 96, 96, generator=torch.Generator().manual_seed(1))
    with nk.open(artifact) as runner, torch.no_grad():
        said, wanted = runner(x.numpy()), module(x).numpy()
    assert np.linalg.norm(said - wanted) < 1e-4 * np.linalg.norm(wanted)
    case = np.zeros((104, 96, 96, 4), np.float32)
    case[16:80, 16:80, 16:80] = np.random.default_rng(0).uniform(100, 400, (64, 64, 64, 4))
    nibabel.save(nibabel.Nifti1Image(case, np.eye(4)), tmp_path / "case.nii.gz")
    capsys.readouterr()
    assert main(["run", str(artifact.path), str(tmp_path / "case.nii.gz"), "--out", str(tmp_path / "masks")]) == 0
    mask = nibabel.load(tmp_path / "masks" / "case_mask.nii.gz")
    assert mask.shape == (*case.shape[:3], 3)  # three regions that lie inside each other, a mask each
    assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1}
    assert "case_mask.nii.gz" in capsys.readouterr().out
