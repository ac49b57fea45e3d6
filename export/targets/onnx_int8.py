"""Lowers a network without neurons to int8: ONNX with quantize and dequantize operators, calibrated on data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.dims import Dim
from neurokit.errors import InputError, Unsupported, UnsupportedError
from neurokit.export.onnx.calibrated import SAMPLES_FILE, against_float, allowed_of, count_of, judge_kept
from neurokit.export.onnx.int8_layers import OPERATORS, Layer, layers_of
from neurokit.export.onnx.probe import OnnxProbe
from neurokit.export.onnx.qdq_reference import forced_model, reference_run
from neurokit.export.onnx.quantise import OF_TRAINING, Settings, quantise, settings_of
from neurokit.export.onnx.ranges import kept_ranges, with_method
from neurokit.export.onnx.sensitivity import Choice, Job, choose
from neurokit.export.targets.onnx import MODEL_FILE, OnnxTarget
from neurokit.feeds import named_inputs
from neurokit.scratch import scratch
from neurokit.target import LowerOptions, TargetInfo, register_target

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured
    from neurokit.data.labelled import Labelled
    from neurokit.feeds import Feeds
    from neurokit.parity.vectors import Vectors
    from neurokit.spec import TensorSpec

_EXAMPLES = 32  # samples drawn from the model's own example, where no calibration data are given
# A network for TensorRT runs at ONNX Runtime's basic level, which computes quantize and dequantize as they are written:
# above it, the integer kernels of a CPU without VNNI saturate on symmetric activations, and TensorRT has its own.
_AS_WRITTEN = 1
_HIGHEST = 3


@register_target
class Int8Target(OnnxTarget):
    """The target `onnx-int8`; its options are those of `neurokit.export.onnx.quantise.Settings`."""

    info = TargetInfo(
        name="onnx-int8",
        summary="ONNX in int8 (QDQ) for networks without neurons",
        requires=("onnx", "onnxscript"),
        opens_with=("onnxruntime", "onnx"),
        install='pip install "neurokit-edge[onnx]"',
        calibrated=True,
        quantised=True,
        takes=frozenset({"dims", "dtypes", "inputs"}),
        runtime="onnxruntime",
    )
    rewrites = False  # layers keep the names and weights of the model's own, by which they are kept and fine-tuned

    def check_options(self, options: LowerOptions) -> None:
        """Refuses options that quantising does not have."""
        settings_of(options)

    def check(self, captured: Captured, options: LowerOptions) -> Sequence[Unsupported]:
        """Returns why the model cannot be quantised."""
        from neurokit.program.element_types import other_types

        settings_of(options)
        if captured.spiking:
            why = "rounding activations would flip its spikes"
            return [
                Unsupported("", captured.spec.name, why, "--target onnx --numerics exact: 8-bit weights, same spikes")
            ]
        if options.numerics == "exact":
            why = "int8 rounds activations in its own way"
            return [Unsupported("", "--numerics exact", why, "leave --numerics away, or --target onnx")]
        others = [reason for part in captured.graphs for reason in other_types(part, "8 bits are calibrated in")]
        if others:
            return others
        if options.flat:
            return [Unsupported("", "--flat", "there are no local functions to inline", "leave --flat away")]
        return []

    def fine_tune(self, captured: Captured, options: LowerOptions, data: Labelled) -> tuple[Captured, LowerOptions]:
        """Returns the model trained with the roundings of its own int8 file, and options that keep that file's ranges.

        Raises:
            InputError: If weights alone are in 8 bits, or the data do not fit.
            UnsupportedError: If the program would be trained as another network than the one that is written.
        """
        from neurokit.export.onnx.finetune import fine_tune

        settings = settings_of(options)
        if settings.activations == "float":
            raise InputError("fine-tuning is for activations in 8 bits", fix="leave activations=float away")
        feeds, _ = calibration_of(captured, options.calibration)
        return fine_tune(captured, options, feeds, data, level_of(settings.device))

    def lower(self, captured: Captured, folder: Path, options: LowerOptions) -> Mapping[str, Any]:
        """Writes model.onnx and returns manifest entries.

        Raises:
            InputError: If there are no calibration data, or they do not fit.
        """
        import onnx

        from neurokit.export.ort import new_session

        settings = settings_of(options)
        if options.tuned is None and (alone := sorted(set(OF_TRAINING) & set(options.extra))):
            raise InputError(f"{alone[0]} is a setting of fine-tuning", fix="give --fine-tune DATA as well")
        feeds, origin = calibration_of(captured, options.calibration)
        size, count = captured.batch if isinstance(captured.batch, int) else 1, count_of(feeds)
        if count < size:
            raise InputError(f"{count} calibration samples", expected=f"at least one batch of {size}")
        entries = dict(super().lower(captured, folder, LowerOptions(batch=options.batch)))
        path, source = folder / MODEL_FILE, folder / "float.onnx"
        path.rename(source)
        layers = quantised_layers(captured, onnx.load(str(source)))
        level, tuned = level_of(settings.device), options.tuned
        with scratch("int8") as trials:
            if tuned is None:
                settings, ranges, tried, chosen = _chosen(captured, source, feeds, size, settings, layers, trials)
                nodes = [layer.node for layer in layers if layer not in chosen.kept]
                quantise(source, path, ranges, size, settings, nodes, kept_ranges(trials, settings))
            else:
                settings, tried, chosen = tuned.settings, tuned.methods, tuned.chosen
                _write_tuned(tuned.model, source, path)
        model = onnx.load(str(path))
        onnx.checker.check_model(str(path), full_check=True)
        before, after = new_session(source), new_session(path, level=level)
        entries["numerics"] = "int8"
        entries["form"] = "sequence"
        entries["target_info"] |= {
            "quantisation": describe_quantisation(settings, count, origin, layers, chosen)
            | ({"methods_tried": tried} if tried else {})
            | no_smaller(path, source, len(chosen.kept), len(layers))
            | ({} if tuned is None else {"fine_tuning": dict(tuned.said)}),
            "against_float": against_float(before, after, feeds, size, folder / SAMPLES_FILE),
            "nodes": len(model.graph.node),
            "nodes_inlined": len(model.graph.node),
        }
        source.unlink()
        return entries

    def probe(self, artifact: Artifact, **options: Any) -> Int8Probe:
        """Opens the artifact for verification."""
        return Int8Probe(artifact, **options)

    def open(self, artifact: Artifact, **options: Any) -> Any:
        """Opens the artifact; a network for TensorRT as its operators are written, unless a level is given."""
        device = artifact.manifest.target_info["quantisation"]["device"]
        return super().open(artifact, **({"level": level_of(device)} | options))


class Int8Probe(OnnxProbe):
    """Runs an int8 artifact, and every layer of it on the reference's integers."""

    def __init__(self, artifact: Artifact, level: int = _HIGHEST, **options: Any) -> None:
        self._info = artifact.manifest.target_info
        self.tolerance = float(self._info["quantisation"]["max_error"])
        # A sample has the same integers in every batch: what its answer may move by is far below what int8 moved it by.
        self.batch_tolerance = min(self.tolerance, allowed_of(self._info["against_float"]["output_relative_l2"]))
        highest = level_of(self._info["quantisation"]["device"])
        self._capped = highest < level
        super().__init__(artifact, level=min(level, highest), **options)

    def restrict(self, vectors: Vectors) -> Vectors:
        """Returns the vectors without coverage stimuli: beyond what it was calibrated on, int8 clips by design."""
        return replace(super().restrict(vectors), coverings=(), blind=())

    def inspect(self, vectors: Vectors) -> tuple[list[str], list[str]]:
        """Compares every layer with the meaning of its operators, and the answers with what export measured."""
        faults, notes = self._layers_as_written(vectors)
        most = float(self._info["quantisation"]["max_error"])
        more, said = judge_kept(self._artifact, lambda part: self.free(part)[0], most)
        return [*faults, *more], [*notes, *said]

    def _layers_as_written(self, vectors: Vectors) -> tuple[list[str], list[str]]:
        """Compares every layer with the meaning of its operators; returns faults and notes."""
        reference = reference_run(self._model, vectors.feeds)
        model, names = forced_model(self._model)
        if not names:
            return [], ["weights alone are in 8 bits: there are no integers between the layers"]
        session = self._session(model)
        feeds = {
            i.name: vectors.feeds[i.name] if i.name in vectors.feeds else _forced(reference, i.name)
            for i in session.get_inputs()
        }
        found = dict(zip(names, session.run(names, feeds), strict=True))
        faults, off, total = [], 0, 0
        for name in names:
            away = np.abs(found[name].astype(np.int64) - reference[name].astype(np.int64))
            off, total = off + int((away > 0).sum()), total + away.size
            if away.max(initial=0) > 1:
                faults.append(
                    f"{name}: {int((away > 1).sum()):,} of {away.size:,} integers are up to {int(away.max())} units "
                    "from what QDQ means; on x86 without VNNI: --option reduce_range=true"
                )
        notes = [f"{off:,} of {total:,} integers in {len(names)} layers are one unit off QDQ's meaning, none more"]
        if self._capped:
            notes.append("run at ONNX Runtime's basic level, as its operators are written: it is for TensorRT")
        return faults, [] if faults else notes


def _write_tuned(tuned: bytes, source: Path, path: Path) -> None:
    """Writes the int8 file that fine-tuning scored, with what the float file says of itself."""
    import onnx

    model = onnx.load_from_string(tuned)
    del model.metadata_props[:]
    model.metadata_props.extend(onnx.load(str(source)).metadata_props)
    onnx.save(model, str(path))


def _chosen(
    captured: Captured, source: Path, feeds: Feeds, size: int, settings: Settings, layers: list[Layer], scratch: Path
) -> tuple[Settings, Feeds, Mapping[str, float], Choice]:
    """Returns how to quantise, on what to find ranges, the error of each method tried, and what stays in float."""
    level = level_of(settings.device)
    named = [layer.node for layer in layers]
    settings, ranges, tried = with_method(source, feeds, size, settings, named, level, scratch)
    return settings, ranges, tried, choose(Job(source, ranges, size, settings, layers, level, captured.spec))


def quantised_layers(captured: Captured, model: Any) -> list[Layer]:
    """Returns the layers that are quantised; refuses a model without any."""
    layers = layers_of(model, captured)
    if not layers:
        kinds = ", ".join(sorted({node.op_type for node in model.graph.node})[:8])
        why = f"it has no convolution or linear layer, so nothing would be in 8 bits (its operators: {kinds})"
        raise UnsupportedError(
            f"model {captured.spec.name!r} cannot be quantised",
            [Unsupported("", captured.spec.name, why, "--target onnx")],
        )
    return layers


def describe_quantisation(
    settings: Settings, samples: int, origin: str, layers: Sequence[Layer], chosen: Choice
) -> dict[str, Any]:
    """Returns what a manifest says of how a network was quantised."""
    import onnxruntime

    floats = settings.activations == "float"
    return {
        **{name: value for name, value in asdict(settings).items() if name not in OF_TRAINING},
        "operators": [op for op in OPERATORS if any(layer.operator == op for layer in layers)],
        "layers": len(layers),
        **chosen.measured,
        "format": "QDQ",
        "activations": "float" if floats else "symmetric S8" if settings.device == "tensorrt" else "U8",
        "weights": ("7-bit" if settings.reduce_range and not floats else "8-bit") + " S8, one scale a channel",
        "calibration_samples": samples,
        "calibrated_on": origin,
        "quantizer": f"onnxruntime {onnxruntime.__version__}",
    }


def no_smaller(path: Path, source: Path, kept: int, layers: int) -> dict[str, list[str]]:
    """Returns a warning where an int8 file is no smaller than the float file that it is made of.

    Args:
        path: The int8 file.
        source: The float file.
        kept: Layers that stay in float.
        layers: All layers.
    """
    made, before = path.stat().st_size, source.stat().st_size
    if made < before:
        return {}
    why = f"with {kept} of {layers} layers in float" if kept else f"with all {layers} layers in 8 bits"
    return {"warnings": [f"{why} the file has {made:,} B, the float file {before:,} B: --target onnx writes that one"]}


def level_of(device: str) -> int:
    """Returns ONNX Runtime's optimisation level for a network that is quantised for a device."""
    return _AS_WRITTEN if device == "tensorrt" else _HIGHEST


def _forced(reference: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return reference[name.removesuffix(".forced")]


def calibration_of(captured: Captured, given: Any) -> tuple[dict[str, np.ndarray], str]:
    """Returns the calibration data by the names of the inputs, `[N, *shape]`, and where they are from.

    Raises:
        InputError: If there are none, or they do not fit.
    """
    from neurokit.capture.drawing import drawn_beside
    from neurokit.capture.reference import example_inputs

    ports = captured.spec.inputs
    if given is None:
        if captured.spec.example is None:
            sizes = [f"[N, {', '.join(map(str, port.shape))}]" for port in ports]
            named = [f"{port.name} {each}" for port, each in zip(ports, sizes, strict=True)]
            wanted = sizes[0] if len(ports) == 1 else ", ".join(named)
            raise InputError(
                "int8 needs calibration data, and this model brings no example",
                expected=f"inputs {wanted} as the model will see them",
                fix="--calibration F.npy" if len(ports) == 1 else "--calibration F.npz, every input by its name",
            )
        made = example_inputs(captured.spec, None, _EXAMPLES, 1)
        return {name: value.numpy() for name, value in made.items()}, "the model's own example"
    data = named_inputs(drawn_beside(captured, given), [port.name for port in ports])
    feeds = {port.name: _fitted(data[port.name], port) for port in ports}
    if len({len(x) for x in feeds.values()}) > 1:
        counts = ", ".join(f"{name} {len(x)}" for name, x in feeds.items())
        raise InputError(f"calibration data of different numbers of samples: {counts}", expected="as many of each")
    return feeds, "given data"


def _fitted(values: Any, port: TensorSpec) -> np.ndarray:
    """Returns calibration data of one input, checked."""
    x = np.asarray(values, dtype=port.dtype)
    fits = x.ndim == len(port.shape) + 1 and all(map(_is_size, port.shape, x.shape[1:]))
    if not fits or not len(x):
        raise InputError(
            f"calibration data have shape {list(x.shape)}", expected=f"[N, {', '.join(map(str, port.shape))}]"
        )
    if not np.isfinite(x).all():
        raise InputError("calibration data hold numbers that are not finite", expected="finite numbers")
    return x


def _is_size(wanted: Any, size: int) -> bool:
    """Whether a size is that of an axis, or one that a free axis may have."""
    return not wanted.refusal(size) if isinstance(wanted, Dim) else not isinstance(wanted, int) or wanted == size
