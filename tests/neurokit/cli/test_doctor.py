"""`neurokit doctor`: what it looks at, and libraries that are broken."""

import json
import sys
import types

from neurokit import cli


def test_doctor_looks_at_everything(capsys):
    import torch

    status = cli.main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in found["checks"]}
    assert {"python", "torch", "onnx", "onnxruntime", "tensorrt", "triton", "cuda", "c compiler"} <= set(checks)
    assert checks["torch"]["detail"] == torch.__version__.split("+")[0]
    assert checks["cuda"]["state"] == ("ok" if torch.cuda.is_available() else "missing")
    assert all(check["install"] for name, check in checks.items() if check["state"] != "ok" and name != "cuda")
    assert status == (0 if found["healthy"] else 1)


def test_doctor_finds_what_is_installed_under_another_name(monkeypatch):
    from neurokit import doctor

    library = types.ModuleType("tensorrt_rtx")
    library.__version__ = "1.7.1"
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", library)
    checks = {check.name: check for check in doctor.examine()}
    assert (checks["tensorrt_rtx"].state, checks["tensorrt_rtx"].detail) == ("ok", "1.7.1")


def test_doctor_survives_a_broken_library(monkeypatch):
    from neurokit import doctor

    broken = types.ModuleType("onnxruntime")
    monkeypatch.setitem(sys.modules, "onnxruntime", broken)
    monkeypatch.setattr(doctor, "_DETAILS", {})
    real = doctor.importlib.import_module

    def import_module(name):
        if name == "tensorrt":
            raise ImportError("libnvinfer.so.11: cannot open shared object file")
        if name == "nir":
            raise ModuleNotFoundError("No module named 'h5py'", name="h5py")
        return real(name)

    monkeypatch.setattr(doctor.importlib, "import_module", import_module)
    checks = {check.name: check for check in doctor.examine()}
    assert checks["tensorrt"].state == "broken"
    assert "libnvinfer" in checks["tensorrt"].detail
    assert checks["nir"].detail == "needs h5py"


def test_doctor_loads_nothing_twice(monkeypatch):
    from neurokit import doctor

    tried = []
    real = doctor.importlib.import_module

    def import_module(name):
        tried.append(name)
        if name in ("tensorrt", "triton"):  # a library that fails is tried anew by every import
            raise ImportError("no driver")
        return real(name)

    monkeypatch.setattr(doctor.importlib, "import_module", import_module)
    doctor.examine()
    assert len(tried) == len(set(tried)) == len(doctor._LIBRARIES)
