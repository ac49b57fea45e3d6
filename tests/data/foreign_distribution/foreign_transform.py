"""A transform of another distribution: the input times a factor, inside of the model."""

from dataclasses import replace

from neurokit.transforms.transform import Option, Transformed, TransformInfo, register_transform


@register_transform
class ScaledInput:
    """Multiplies the input."""

    info = TransformInfo("scaled_input", "the input times a factor", options={"factor": Option(2.0, "any number")})

    def check(self, spec, settings):
        return []

    def apply(self, spec, settings):
        factor = settings["factor"]

        def build():
            from torch import nn

            class Scaled(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.net = spec.build()

                def forward(self, x):
                    return self.net(x * factor)

            return Scaled().eval()

        return Transformed(replace(spec, build=build), (f"input times {factor:g}",))
