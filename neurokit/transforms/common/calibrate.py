"""What the transforms that calibrate attention share: which layers and heads, checks, and how a method gets in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from neurokit.errors import InputError, Unsupported
from neurokit.spec import AttentionHost, ModelSpec
from neurokit.transforms.common.heads import file_settings, numbers, read_scope
from neurokit.transforms.transform import Option, Transformed, TransformInfo

if TYPE_CHECKING:
    from torch import Tensor

    from neurokit.attention.calibration import View

Scope = tuple[tuple[int, tuple[int, ...] | None], ...]
NO_IMAGE = "it marks no visual tokens"


@dataclass(frozen=True)
class CalibrationCard:
    """What the page on calibration says of a method.

    Attributes:
        equation: The rule, one line an equation.
        sets: Which sets of keys there are.
        factors: What each set's weights are multiplied by.
        source: Paper and released code.
        licence: Licence of the released code, and what was taken of it.
        released: What the released code does otherwise.
        cost: What it costs beside attention.
        method: When it is defined: whether a prompt must come in one call.
    """

    equation: str
    sets: str
    factors: str
    source: str
    licence: str
    released: str
    cost: str
    method: str


@dataclass(frozen=True)
class Kept:
    """What a method must remember of the tokens so far; `neurokit.attention.calibration.Memory` says what it is."""

    name: str
    meaning: str
    by_head: bool = False
    shared: bool = False


@dataclass(frozen=True)
class Calibration:
    """A method with its settings; `neurokit.attention.calibration.Method` says what each part is.

    Attributes:
        scope: Layers that are changed, and the query heads of each; None for all of them.
    """

    scope: Scope

    name: ClassVar[str] = ""
    needs_weights: ClassVar[bool] = True
    memories: ClassVar[tuple[Kept, ...]] = ()
    whole_prompt: ClassVar[bool] = False  # whether a text's prompt must be one call
    looks_at_stream: ClassVar[bool] = False  # whether it is given what enters the layer

    def heads_in(self, layer: int) -> tuple[int, ...] | None:
        """Returns the query heads that a layer changes; None for all, () for none."""
        return dict(self.scope).get(layer, ())

    @property
    def looks_at_image(self) -> bool:
        """Whether a prompt must have visual tokens that the model marks."""
        return False

    @property
    def least(self) -> int:
        """Smallest number of tokens of a prompt."""
        return 1

    def touches(self, layer: int) -> bool:
        """Whether the method changes a layer, or remembers something of it."""
        return layer in dict(self.scope)

    def remember(self, view: View, weights: Tensor | None, layer: int) -> None:
        """Remembers nothing."""

    def key_bias(self, view: View) -> Tensor | None:
        """Returns None: no key has a bias of its own."""
        return None


@dataclass(frozen=True)
class ImageCalibration(Calibration):
    """A method that looks at visual tokens.

    Attributes:
        image: Positions of the visual tokens, first and end; None for those that the model marks.
    """

    image: tuple[int, int] | None = None

    @property
    def looks_at_image(self) -> bool:
        """Whether a prompt must have visual tokens that the model marks."""
        return self.image is None

    @property
    def least(self) -> int:
        """Smallest number of tokens of a prompt: the image must be in it, and something behind it."""
        return 1 if self.image is None else self.image[1] + 1

    def image_of(self, view: View) -> Tensor:
        """Returns which keys are visual tokens, bool `[B, T]`."""
        if self.image is not None:
            return (view.key >= self.image[0]) & (view.key < self.image[1])
        assert view.image is not None
        return view.image & (view.key >= 0)

    def behind_image(self, view: View) -> Tensor:
        """Returns which rows stand behind all visual tokens that they see, with one at least, bool `[B, S]`."""
        if self.image is not None:  # a row sees all positions before its own
            return view.query >= self.image[1]
        image = self.image_of(view)[:, None]
        before = (image & (view.key[:, None] <= view.query[..., None])).any(-1)
        own = (image & (view.key[:, None] == view.query[..., None])).any(-1)
        return before & ~own


class CalibrationTransform:
    """A transform that puts one method into a model's attention; a subclass says which."""

    info: TransformInfo
    card: ClassVar[CalibrationCard]
    joint: ClassVar[bool] = False  # whether it is for text and image tokens in one attention

    def check(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Sequence[Unsupported]:
        """Returns why a model's attention cannot be calibrated; wrong settings are refused in a line."""
        host = spec.attention
        if host is None or host.joint != self.joint:
            why = "it has no softmax attention that a transform can reach"
            fix = "take joint_dit_tiny" if self.joint else "take a language model: tiny_lm, tiny_vlm, a checkpoint"
            if spec.transforms:  # one before may have made something else of a model that had it
                fix = f"leave {spec.transforms[-1].name} out"
            return [Unsupported("", spec.name, why, fix)]
        settings = self.filled(settings)
        found = self.refusals(spec, host, settings)
        if not found:
            self.method(settings, host)
        return found

    def filled(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns settings with what a file of heads says of those that are at their defaults."""
        if not settings.get("file"):
            return settings
        said, options = file_settings(settings["file"], self.info), self.info.options
        return {**settings, **{key: value for key, value in said.items() if settings[key] == options[key].default}}

    def refusals(self, spec: ModelSpec, host: AttentionHost, settings: Mapping[str, Any]) -> list[Unsupported]:
        """Returns why this model's attention cannot be calibrated so; none by default."""
        return []

    def apply(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Transformed:
        """Returns the specification with the method in its layers; the plain one where nothing would change."""
        host = spec.attention
        assert host is not None
        given, settings = settings, self.filled(settings)
        said = tuple(f"{key} = {settings[key]}, from {given['file']}" for key in given if given[key] != settings[key])
        if self.neutral(settings):
            return Transformed(spec, ("this setting changes nothing: the model is the plain one",))
        return Transformed(host.calibrate(self.method(settings, host)), (*self.notes(settings), *said))

    def neutral(self, settings: Mapping[str, Any]) -> bool:
        """Whether settings change nothing."""
        raise NotImplementedError

    def notes(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Returns what was approximated; nothing by default."""
        return ()

    def method(self, settings: Mapping[str, Any], host: AttentionHost) -> Calibration:
        """Returns the method with its settings.

        Raises:
            InputError: If a setting is out of range or names what the model does not have.
        """
        raise NotImplementedError

    def scope(self, settings: Mapping[str, Any], host: AttentionHost, layers: Sequence[int]) -> Scope:
        """Returns the layers and heads that settings name; `layers` is what "default" stands for.

        Raises:
            InputError: If a layer or head does not exist, or a file is no list of heads.
        """
        name = self.info.name
        if settings["file"]:
            if settings["layers"] != "default" or settings["heads"] != "all":
                raise InputError(f"transform {name!r}: layers or heads beside file", expected="one of the two")
            listed = read_scope(settings["file"], name, host)
            _refuse_layers(name, [layer for layer, _ in listed], host)
            return listed
        asked, named = settings["layers"], settings["heads"]
        chosen = list(layers) if asked == "default" else numbers(name, "layers", asked, host.layers, "layer")
        heads = None if named == "all" else tuple(numbers(name, "heads", named, host.heads, "query head", host))
        _refuse_layers(name, chosen, host)
        return tuple((layer, heads) for layer in chosen)


def _refuse_layers(name: str, chosen: Sequence[int], host: AttentionHost) -> None:
    other = [layer for layer in chosen if layer not in host.dense]
    if other:
        raise InputError(
            f"transform {name!r}: layer {other[0]} has no dense softmax attention",
            expected="layers " + ", ".join(map(str, host.dense)),
        )
    if not chosen:
        raise InputError(f"transform {name!r}: no layer is left to change", expected="layers=..., one at least")


def scope_options(layers: str) -> dict[str, Option]:
    """Returns the settings that say where a method is applied; `layers` says what its default layers are."""
    return {
        "layers": Option("default", f"numbers and ranges: 1-2 or 0,3, or all; default is {layers}"),
        "heads": Option("all", "numbers of query heads and ranges: 0,3, or all"),
        "file": Option("", "a TOML file of query heads by layer, in the place of layers and heads"),
    }


def unit(name: str, key: str, value: float) -> float:
    """Returns a setting from 0 to 1.

    Raises:
        InputError: If it is outside.
    """
    if not 0 <= value <= 1:
        raise InputError(f"transform {name!r}: {key} is {value:g}", expected="0 to 1")
    return value


def image_range(name: str, text: str, key: str = "image") -> tuple[int, int] | None:
    """Reads which positions are visual tokens: "tokens" for those that the model marks (None), or "3-19".

    Raises:
        InputError: If it is neither.
    """
    if text == "tokens":
        return None
    first, dash, end = text.partition("-")
    if not (dash and first.isdigit() and end.isdigit() and int(first) < int(end)):
        raise InputError(
            f"transform {name!r}: {key}={text}",
            expected=("tokens, or " if key == "image" else "") + "first-end of positions, the end not in it: 3-19",
        )
    return int(first), int(end)


def image_refusals(spec: ModelSpec, host: AttentionHost, name: str, text: str) -> list[Unsupported]:
    """Returns why a method that looks at visual tokens finds none in a model."""
    at = image_range(name, text)
    if at is not None and at[1] >= host.longest:
        raise InputError(f"transform {name!r}: image={text}", expected=f"inside of texts of {host.longest} tokens")
    if at is None and not host.image:
        return [Unsupported("", spec.name, NO_IMAGE, "image=3-19 says where they stand, or take tiny_vlm")]
    return []
