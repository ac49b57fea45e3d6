"""What is the same in the C++ of all packages is compiled once, and says what PyTorch's own constructor says."""

from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from neurokit.export.aoti.compile import compiled, exported, package
from neurokit.export.aoti.wrapper import parted

INTERFACE = '#include <vector>\n\nextern "C" {\nint same();\n}'
TEXT = (
    "#include <device.h>\n"
    + INTERFACE
    + """
namespace torch::aot_inductor {
AOTInductorModel::AOTInductorModel(std::shared_ptr<ConstantMap> constants_map,
                                   std::optional<std::string> cubin_dir)
    : AOTInductorModelBase(1,
                           1,
                           1,
                           device_str,
                           std::move(cubin_dir),
                           true) {
    inputs_info_[0].name = "x";
    constants_info_[0].name = "w";
    constants_info_[0].dtype = cached_torch_dtype_float32;
    constants_info_[0].device_type = cached_torch_device_type_cpu;
    constants_info_[0].offset = 0;
    constants_info_[0].data_size = 24;
    constants_info_[0].from_folded = false;
    constants_info_[0].type = static_cast<int32_t>(torch::aot_inductor::ConstantType::Buffer);
    constants_info_[0].shape = {2, 3};
    constants_info_[0].stride = {3, 1};
    constants_info_[0].layout = static_cast<int32_t>(cached_torch_layout_strided);
    constants_info_[0].original_fqn = "body.w";
    update_constants_map(std::move(constants_map));
    update_constants_array(std::move(constants_array));
    in_spec_ = R"([1, {"type": null}])";
    out_spec_ = R"([1, {"type": null}])";
    outputs_info_[0].name = "output0";
    this->kernels_ = std::make_unique<AOTInductorModelKernels>();
}

void AOTInductorModel::run_impl() {}
}
"""
)


class Network(nn.Module):
    """A network of constants of several types and ranks, one of which no dimension."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(2, 3, 3, padding=1)
        self.register_buffer("shift", torch.tensor(0.75))
        self.register_buffer("counts", torch.arange(6).reshape(3, 2))

    def forward(self, *given):
        y = self.layer(given[0]) + self.shift
        return y, y.sum((2, 3)) @ self.counts.float()


class Twice(nn.Module):
    """A program without weights."""

    def forward(self, *given):
        return (given[0] * 2,)


@pytest.fixture(scope="module")
def program():
    torch.manual_seed(0)
    free = {0: torch.export.Dim.AUTO} | dict.fromkeys((1, 2, 3), torch.export.Dim.STATIC)
    return exported(Network(), [torch.randn(2, 2, 5, 4)], [free], "cpu")


@pytest.fixture
def started(monkeypatch):
    """The commands that are run from here on."""
    subprocess = import_module("subprocess")
    commands = []

    class Watched(subprocess.Popen):
        def __init__(self, args, *rest, **kwargs):
            commands.append(args if isinstance(args, str) else " ".join(map(str, args)))
            super().__init__(args, *rest, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    return commands


def opened(files, path):
    package(path, {"model": files})
    return torch._inductor.aoti_load_package(str(path))


def test_the_parts_are_linked_to_what_the_whole_is(program, tmp_path, monkeypatch, started):
    """The same outputs, bit for bit, and the same weights by name as of PyTorch's one file."""
    apart = opened(compiled(program, {}, {}), tmp_path / "apart.pt2")
    assert any(".program.cpp" in command for command in started)
    started.clear()
    monkeypatch.setattr(import_module("neurokit.export.aoti.wrapper"), "parted", lambda *_: None)
    whole = opened(compiled(program, {}, {}), tmp_path / "whole.pt2")
    assert not any(".program.cpp" in command or "neurokit-interface" in command for command in started)
    x = torch.randn(3, 2, 5, 4)
    for a, b, wanted in zip(apart(x), whole(x), program.module()(x), strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, wanted)
    assert sorted(apart.get_constant_fqns()) == sorted(whole.get_constant_fqns())
    assert apart.get_metadata() == whole.get_metadata()


def test_other_programs_link_the_same_object(program, tmp_path, started):
    """It is there since the first program, and no process is started to try which of the CPU's instructions work."""
    compiled(program, {}, {})
    started.clear()
    isa = import_module("torch._inductor.cpu_vec_isa")
    isa.valid_vec_isa_list.cache_clear()
    plain = exported(Twice(), [torch.randn(2)], [{0: torch.export.Dim.STATIC}], "cpu")
    model = opened(compiled(plain, {}, {}), tmp_path / "plain.pt2")
    assert model(torch.ones(2))[0].tolist() == [2.0, 2.0]
    (linked,) = (command for command in started if "neurokit-interface" in command)
    assert ".wrapper.o" in linked
    assert [command for command in started if "LoadLibrary" in command] == []
    assert isa.pick_vec_isa() is not isa.invalid_vec_isa or "avx2" not in Path("/proc/cpuinfo").read_text()


def test_a_constructor_becomes_a_table():
    own, same = parted(TEXT, INTERFACE)
    assert "extern" not in own
    assert own.startswith("#include <device.h>\n#include <vector>\n")
    assert same.startswith("#include <device.h>\n" + INTERFACE)
    assert "AOTInductorModel::AOTInductorModel(" in same
    assert "AOTInductorModel::AOTInductorModel(" not in own
    assert "static const int64_t sizes[] = {2, 3, 3, 1, 0};" in own
    (row,) = (line for line in own.splitlines() if "PackageConstant constants[]" in line)
    assert '{"w", cached_torch_dtype_float32, cached_torch_device_type_cpu, 0, 24, false, ' in row
    assert row.endswith('2, static_cast<int32_t>(cached_torch_layout_strided), "body.w"}, {}};')
    assert own.index("package_kernels() {") < own.index("run_impl")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    inputs_info_", "    something_else();\n    inputs_info_"),
        ("    constants_info_[0].offset = 0;\n", ""),
        ('    outputs_info_[0].name = "output0";\n', ""),
        ("constants_info_[0].layout", "constants_info_[0].opaque_metadata = {1};\n    constants_info_[0].layout"),
        ("int same();", "int other();"),
        ("AOTInductorModelBase", "AnotherBase"),
    ],
)
def test_a_file_of_another_kind_stays_whole(old, new):
    assert parted(TEXT.replace(old, new), INTERFACE) is None
