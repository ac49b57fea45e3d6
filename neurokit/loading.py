"""From a zoo name, `path/file.py:factory` or another tool's file to a ModelSpec."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.dims import InputShape, as_size
from neurokit.errors import (
    InputError,
    ModelLoadError,
    NeurokitError,
    UnknownNameError,
    Unsupported,
    UnsupportedError,
    WeightsError,
)
from neurokit.interchange.models import is_model_file, spec_from_file
from neurokit.plain import no_file
from neurokit.preprocess import with_preprocessing
from neurokit.pretrained import is_pretrained, published, with_published
from neurokit.spec import MODELS, ModelSpec, TensorSpec, TimeInput
from neurokit.user_file import call_factory, guarded, import_file, near_files, one_line

if TYPE_CHECKING:
    from torch import nn

DEFAULT_TIME_STEPS = 4
Ports = tuple[tuple[str, str, tuple[int | str, ...]], ...]
_LAYOUTS = {1: "F", 2: "CL", 3: "CHW", 4: "CDHW"}


def load(
    name_or_ref: str | Path | ModelSpec | nn.Module | Callable[[], Any],
    input_shape: InputShape = None,
    time_steps: int | None = None,
    weights: str | Path | None = None,
    preprocess: Any = None,
) -> ModelSpec:
    """Returns what is to be known of a model, with your choices applied.

    Args:
        name_or_ref: A zoo name, `path/file.py:factory`, another tool's file (`net.nir`, `net.onnx`, `net.pt2`; see
            `neurokit.interchange`), the folder of a public checkpoint of Llama, Qwen2 or Qwen3 (config.json and
            safetensors), a ModelSpec, an nn.Module, or a factory. A factory takes no arguments and returns an
            nn.Module or a ModelSpec; one in a file may import what lies next to it.
        input_shape: Sizes of one sample without time and batch, numbers or free axes ("S"). Needed where the factory
            returns an nn.Module; of several inputs by name, {"ids": ("int64", ("S",)), "mask": ("bool", ("S", "S"))}.
        time_steps: Number of time steps T, instead of the model's own; 4 for a bare module that does not say.
        weights: A weights file; `build` loads it, see `neurokit.weights.load_weights`. "pretrained" are those that are
            published for the model, by their library's own loader: a last layer of other classes stays untrained.
        preprocess: What is done to an image or a recording before the model takes it: a .toml file, `FILE.py:NAME`,
            transforms of torchvision or torchaudio, or a `Preprocessing` (`neurokit.preprocess.preprocessing`).

    Returns:
        The spec. For a bare module, `build` returns deep copies of it, so that it stays as it is, and what its
        forward takes over time was found out by small runs of such a copy.

    Raises:
        UnknownNameError: If the zoo has no such name.
        ModelLoadError: If the file or the factory gives no model.
        InputError: If `input_shape` or `time_steps` do not fit the model, or the model is nothing of these.
        WeightsError: If the weights file does not exist, or nothing is published for the model.
    """
    shape = _checked_shape(input_shape)
    _check_time_steps(time_steps)
    if isinstance(name_or_ref, Path):
        name_or_ref = str(name_or_ref)
    if isinstance(name_or_ref, ModelSpec):
        spec = name_or_ref
    elif not isinstance(name_or_ref, str):
        spec = _from_object(name_or_ref, input_shape, time_steps)
    elif is_model_file(name_or_ref):
        spec = spec_from_file(name_or_ref, time_steps)
    elif (Path(name_or_ref) / "config.json").is_file():
        from neurokit.models.decoder.checkpoints import load_checkpoint

        spec = load_checkpoint(name_or_ref)
    elif ":" in name_or_ref or name_or_ref.endswith(".py") or "/" in name_or_ref:
        spec = _from_file(name_or_ref, input_shape, time_steps)
    else:
        spec = _from_zoo(name_or_ref)
    spec = _with_choices(spec, shape, time_steps, weights)
    return spec if preprocess is None else with_preprocessing(spec, preprocess)


def _checked_shape(given: InputShape) -> Ports | None:
    """Returns the ports that were asked for: (name, dtype, sizes), without a name and dtype where only sizes were."""
    if given is None:
        return None
    if isinstance(given, Mapping):
        return tuple((name, dtype, _sizes(sizes)) for name, (dtype, sizes) in given.items())
    return (("", "", _sizes(given)),)


def _sizes(shape: Sequence[int | str]) -> tuple[int | str, ...]:
    try:
        sizes = [as_size(size) for size in shape]
    except (InputError, TypeError):
        sizes = [0]
    if not sizes or 0 in sizes:
        raise InputError(
            f"input shape {shape!r} is not usable", expected="whole numbers >= 1, for example (3, 224, 224)"
        )
    return tuple(shape)


def _check_time_steps(time_steps: int | None) -> None:
    if time_steps is not None and (isinstance(time_steps, bool) or not isinstance(time_steps, int) or time_steps < 1):
        raise InputError(f"time_steps={time_steps!r} is not usable", expected="a whole number >= 1")


def _with_choices(
    spec: ModelSpec, shape: Ports | None, time_steps: int | None, weights: str | Path | None
) -> ModelSpec:
    """Returns `spec` with another input shape, number of steps or weights."""
    changes: dict[str, Any] = {}
    inputs = spec.inputs if shape is None else _reshaped(spec, shape)
    if inputs != spec.inputs:
        changes.update(inputs=inputs, example=None)  # the example inputs are of the old shape
    if time_steps is not None:
        if not spec.spiking:
            raise InputError(
                f"model {spec.name!r} has no spiking neurons, so no time steps", fix="leave time_steps away"
            )
        changes["time_steps"] = time_steps
        if spec.time_input == "image" and time_steps != spec.time_steps:
            from neurokit.capture.step_count import build_with_steps

            changes["build"] = build_with_steps(spec, time_steps)
    if is_pretrained(weights):
        found = published(spec)
        changes.update(
            build=with_published(changes.get("build", spec.build), found),
            options={**spec.options, "weights": found.said},
        )
    elif weights is not None:
        path = Path(weights)
        if lacks := no_file(path):
            raise WeightsError(f"weights file {path} {lacks}", expected="a .safetensors, .pt or .pth file")
        changes.update(
            build=_build_with_weights(changes.get("build", spec.build), path),
            options={**spec.options, "weights": path.name},
        )
    return dataclasses.replace(spec, **changes) if changes else spec


def _reshaped(spec: ModelSpec, ports: Ports) -> tuple[TensorSpec, ...]:
    """Returns a model's inputs with other sizes."""
    named = {name or spec.inputs[0].name: (dtype, shape) for name, dtype, shape in ports} if spec.inputs else {}
    known = {port.name: port for port in spec.inputs}
    fits = named.keys() == known.keys() and all(
        len(shape) == len(known[name].shape) and dtype in ("", known[name].dtype)
        for name, (dtype, shape) in named.items()
    )
    if not fits:
        given = " and ".join(f"{name}{' ' if name else ''}{shape}" for name, _, shape in ports)
        raise InputError(
            f"input shape {given} does not fit model {spec.name!r}",
            expected=" and ".join(str(tensor.shape) for tensor in spec.inputs) or "its graphs' own shapes",
        )
    return tuple(dataclasses.replace(port, shape=named[port.name][1]) for port in spec.inputs)


def _build_with_weights(build_bare: Callable[[], nn.Module], path: Path) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from neurokit.weights import load_weights

        module = build_bare()
        load_weights(module, path)
        return module

    return build


def _from_zoo(name: str) -> ModelSpec:
    try:
        factory = MODELS.get(name)
    except UnknownNameError as error:
        hint = "your own model is path/file.py:factory"
        raise UnknownNameError(
            error.what, expected=error.expected, fix=f"{error.fix}; {hint}" if error.fix else hint
        ) from None
    try:
        return factory()
    except NeurokitError:
        raise
    except Exception as error:  # of a model that another distribution registered
        raise ModelLoadError(f"the definition of model {name!r} raised {one_line(error)}") from error


def _from_object(given: Any, shape: InputShape, time_steps: int | None) -> ModelSpec:
    """Returns the spec of a module, or of what a factory returns."""
    name = getattr(given, "__name__", type(given).__name__)
    if hasattr(given, "state_dict") and not isinstance(given, type):
        return spec_of_module(given, type(given).__name__, shape, time_steps, type(given).__name__)
    if not callable(given):
        raise InputError(
            f"a {type(given).__name__} was given as the model",
            expected="a zoo name, path/file.py:factory, a ModelSpec, an nn.Module, or a factory of one",
        )
    try:
        made = given()
    except NeurokitError:
        raise
    except Exception as error:
        raise ModelLoadError(
            f"factory {name} raised {one_line(error)}", expected="a callable without arguments that returns the model"
        ) from error
    return made if isinstance(made, ModelSpec) else spec_of_module(made, name, shape, time_steps, name)


def _from_file(ref: str, shape: InputShape, time_steps: int | None) -> ModelSpec:
    if Path(ref).expanduser().is_dir():
        raise ModelLoadError(f"folder {ref} has no config.json", expected="a checkpoint: config.json and safetensors")
    file, _, name = ref.rpartition(":")
    if not file or not name or "/" in name:
        raise ModelLoadError(f"model {ref!r} names no factory", expected="path/file.py:factory")
    path = Path(file).expanduser()
    lacks = no_file(path)
    if path.suffix != ".py" or lacks:
        near = [str(other) for other in near_files(path)]
        raise ModelLoadError(
            f"model file {file} {lacks}" if path.suffix == ".py" else f"model file {file} is not a .py file",
            expected="path/file.py:factory",
            fix=f"did you mean {' or '.join(near)}?" if near else "",
        )
    path = path.resolve()
    module = import_file(path, ref)
    made = call_factory(module, name, path, ref)
    if isinstance(made, ModelSpec):
        return dataclasses.replace(made, build=guarded(made.build, path, ref))
    return spec_of_module(made, name, shape, time_steps, ref)


def _with_several_inputs(module: nn.Module, name: str, inputs: tuple[TensorSpec, ...], ref: str) -> ModelSpec:
    """Wraps a bare module with several inputs, which must be one without neurons.

    Raises:
        InputError: If it has neurons: what it takes over time cannot be tried out.
    """
    from neurokit.capture.time_input import neurons_of

    if neurons_of(module):
        raise InputError(
            f"{ref} has spiking neurons and {len(inputs)} inputs, so what it takes over time cannot be tried out",
            expected="one input",
            fix="return a ModelSpec that states time_input",
        )
    return ModelSpec(name, lambda: copy.deepcopy(module), inputs)


def spec_of_module(
    module: nn.Module, name: str, shape: InputShape, time_steps: int | None = None, ref: str = ""
) -> ModelSpec:
    """Wraps a bare module in a spec; what it takes over time is found out by trying.

    Args:
        module: The module; copies of it are run and built.
        name: Name of the model.
        shape: Sizes of one sample without time and batch; of several inputs by name, with their dtypes.
        time_steps: T; default is the module's own, or 4. A module without the neurons of a library needs it if it
            takes a sequence.
        ref: What to call the model in messages.

    Raises:
        InputError: If the shape is missing, or the module has other time steps of its own.
        ModelLoadError: If the module cannot be copied, or what it takes over time is unclear.
    """
    ref = ref or name
    from neurokit.capture.attribute_state import mark_states
    from neurokit.capture.batch_first import turned
    from neurokit.capture.dict_input import first_key, from_dict, refuses_tensors, takes_dict, takes_parts
    from neurokit.capture.handed_state import handed_on, hands_on_its_state, marked
    from neurokit.capture.legacy import modernised
    from neurokit.capture.ordinary import ordinary_copy
    from neurokit.capture.step_count import build_with_steps, own_steps, steps_are_held
    from neurokit.capture.time_input import (
        calls_differ,
        calls_no_neuron,
        check_takes_sequence,
        element_type,
        find_time_semantics,
        neurons_of,
        steps_of_its_own,
    )

    ports = _checked_shape(shape)
    if ports is None:
        raise InputError(
            f"factory {ref} returned a bare module, so its input is unknown",
            expected="the shape of one sample, without time and batch",
            fix="give --input-shape 3,224,224 (input_shape=(3, 224, 224)), or return a ModelSpec",
        )
    try:
        pristine = modernised(ordinary_copy(module))
    except Exception as error:
        raise ModelLoadError(
            f"the module of {ref} cannot be copied: {one_line(error)}",
            fix="reset its neurons (functional.reset_net) or build it under torch.no_grad()",
        ) from error
    pristine.eval()
    inputs = tuple(
        TensorSpec(own or "input", sizes, dtype or element_type(module), _LAYOUTS.get(len(sizes), ""))
        for own, dtype, sizes in ports
    )
    named = all(own for own, _, _ in ports)
    key = first_key(pristine) if len(inputs) == 1 else None
    parts = (
        takes_parts(pristine, inputs, ref) if named and (len(inputs) > 1 or refuses_tensors(pristine, inputs)) else None
    )
    if parts is not None:
        module = pristine = parts
    elif takes_dict(pristine, inputs, named, key):
        module = pristine = from_dict(pristine, [tensor.name for tensor in inputs])
    elif key is not None and refuses_tensors(pristine, inputs):
        given = ", ".join(own for own, _, _ in ports if own) or "a shape without a name"
        raise InputError(
            f"the forward of {ref} takes a dict and asks it for {key!r}, and {given} was given",
            expected="its inputs by the names that it asks for",
            fix=f"name them: --input-shape {key}:float32:SIZES, one for each (input_shape={{{key!r}: (dtype, sizes)}})",
        )
    if len(inputs) > 1:
        return _with_several_inputs(pristine, name, inputs, ref)
    known = neurons_of(pristine)
    kept = mark_states(pristine, inputs[0], known)
    if kept and not known:
        raise UnsupportedError(
            f"{ref} keeps values between calls that are not known as a state",
            [Unsupported("", name, part, "hand the state in and out, or use SpikingJelly's neurons") for part in kept],
        )

    def without_neurons() -> ModelSpec:
        if time_steps is not None:
            try:
                check_takes_sequence(pristine, inputs[0], time_steps, ref)
            except InputError:
                if hands_on_its_state(pristine, inputs[0]):
                    return spec_of_module(handed_on(pristine), name, shape, time_steps, ref)
                first = turned(pristine, inputs[0], time_steps)
                if first is None:
                    raise
                return ModelSpec(name, lambda: copy.deepcopy(first), inputs, time_steps=time_steps)
        elif hands_on_its_state(pristine, inputs[0]):
            vars(pristine)["notes_for_user"] = (
                f"{ref} is called once, from rest; --time-steps N hands its state on N times",
            )
        return ModelSpec(name, lambda: copy.deepcopy(pristine), inputs, time_steps=time_steps)

    if not neurons_of(pristine):
        return without_neurons()
    _check_one_input(pristine, ref)
    own = own_steps(module)
    looped = steps_of_its_own(pristine, inputs[0]) if own is None else None
    if looped is not None and time_steps not in (None, looped) and calls_differ(pristine, inputs[0]):
        looped = None  # a neuron at several places, not a loop over time
    if looped is not None and time_steps not in (None, looped):
        bare = ModelSpec(name, lambda: copy.deepcopy(pristine), inputs, time_steps=looped, time_input="image")
        if steps_are_held(pristine, bare):  # by whatever name: num_steps, config.T
            made = build_with_steps(bare, time_steps or looped)
            return dataclasses.replace(bare, build=made, time_steps=time_steps)
        raise InputError(
            f"{ref}: its forward runs {looped} time steps itself, and time_steps={time_steps} was given",
            fix="leave time_steps away, or let its forward take its number from an attribute",
        )
    steps = time_steps or own or looped or DEFAULT_TIME_STEPS

    def build() -> nn.Module:
        built: Any = copy.deepcopy(pristine)
        if own is not None:
            built.T = steps
        return built

    semantics: TimeInput = "image"
    if looped is None:
        try:
            semantics = find_time_semantics(build(), inputs[0], steps, repeats=own is not None, ref=ref)
        except ModelLoadError:
            if calls_no_neuron(pristine, inputs[0], time_steps):
                return without_neurons()
            other = _in_another_layout(build, name, inputs[0], steps, time_steps)
            if other is None:
                raise
            return other
    if semantics == "step":
        pristine = marked(pristine, inputs[0])
    return ModelSpec(name, build, inputs, time_steps=steps, time_input=semantics)


def _check_one_input(module: nn.Module, ref: str) -> None:
    """Refuses a module with neurons whose forward needs more inputs than the one that is known.

    Raises:
        InputError: As said.
    """
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # of a scripted function nothing is known
        return
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [each.name for each in parameters if each.kind in positional and each.default is inspect.Parameter.empty]
    if len(needed) > 1:
        raise InputError(
            f"the forward of {ref} takes {len(needed)} inputs ({', '.join(needed)}), and one shape was given",
            expected="a model of one input, or one that says what its inputs are over time",
            fix="return a ModelSpec with inputs= and time_input=",
        )


def _in_another_layout(
    build: Callable[[], nn.Module], name: str, tensor: TensorSpec, steps: int, asked: int | None
) -> ModelSpec | None:
    """Returns the spec of a module over `[B, T, ...]`, or of one whose samples have a time axis of their own."""
    from neurokit.capture.batch_first import BatchFirst
    from neurokit.capture.time_input import batch_first_outputs, steps_inside

    flags = batch_first_outputs(build(), tensor, steps)
    if flags is not None:
        return ModelSpec(name, lambda: BatchFirst(build(), flags).eval(), (tensor,), time_steps=steps)
    inside = steps_inside(build(), tensor)
    if inside is None or asked not in (None, inside):
        return None
    return ModelSpec(name, build, (tensor,), time_steps=inside, time_input="image")
