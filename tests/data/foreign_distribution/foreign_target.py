"""A target of another distribution: the captured program itself, run by PyTorch."""

from neurokit.target import TargetInfo, register_target


@register_target
class TorchProgram:
    """Saves the captured program."""

    info = TargetInfo("torch-program", "the captured program, run by PyTorch", requires=("torch",))

    def check(self, captured, options):
        return []

    def lower(self, captured, folder, options):
        import torch

        from neurokit.export.describe import describe

        torch.export.save(captured.program, folder / "program.pt2")
        return {"form": captured.form, **describe(captured)}

    def open(self, artifact, **options):
        return Runner(artifact)


class Runner:
    """Runs the program; states begin anew with every call."""

    def __init__(self, artifact):
        import torch

        import neurokit.neurons.ops  # noqa: F401 - the program's neurons are its operators

        self.program = torch.export.load(artifact.file("program.pt2")).module()
        self.manifest = artifact.manifest

    def __call__(self, feeds):
        import numpy as np
        import torch

        name = self.manifest.inputs[0].name
        given = isinstance(feeds, dict)
        x = torch.from_numpy(np.ascontiguousarray(feeds[name] if given else feeds))
        with torch.no_grad():
            outputs = self.program(x, *(torch.zeros(x.shape[1], 12) for _ in range(1)))
        named = {port.name: y.numpy() for port, y in zip(self.manifest.outputs, outputs, strict=False)}
        return named if given else next(iter(named.values()))

    def reset(self, batch=1):
        pass

    def step(self, x_t):
        raise NotImplementedError

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
