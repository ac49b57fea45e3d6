"""One measurement to be made, as plain data that travels to another process or device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from neurokit import statistics as samples
from neurokit.bench import meters
from neurokit.errors import InputError

SCENARIOS = ("single", "offline", "multi", "stream")
# What runs a model: PyTorch in four ways, or the event engine; "artifact" is what a target wrote.
SUBJECTS = ("artifact", "eager", "compile", "kernels", "aoti", "engine")
# About how long each of them prepares the first inference.
_PREPARING_S = {"compile": 40.0, "kernels": 10.0, "aoti": 120.0, "engine": 10.0}


_LONGEST_S = 86_400.0

MOST = 1_000_000  # of a job's batch, threads, steps and streams: what is more would end in a runtime's own words


@dataclass(frozen=True)
class Rules:
    """How long to measure; times in seconds.

    Attributes:
        seconds: Measure at least this long.
        samples: Take at least this many samples.
        limit_s: Stop here all the same; the verdict then says what is missing.
        warm_up_runs: Warm up with at least this many runs.
        warm_up_s: Warm up at least this long.
        warm_up_limit_s: Stop warming up here, settled or not.
    """

    seconds: float = samples.MIN_SECONDS
    samples: int = samples.MIN_SAMPLES
    limit_s: float = 120.0
    warm_up_runs: int = 10
    warm_up_s: float = 1.0
    warm_up_limit_s: float = 20.0

    def __post_init__(self) -> None:
        timed = 0 < self.seconds <= self.limit_s <= _LONGEST_S
        if not (timed and self.samples >= 1 and self.warm_up_runs >= 1):
            raise InputError(
                f"rules seconds={self.seconds:g}, samples={self.samples}, limit_s={self.limit_s:g}",
                expected="0 < seconds <= limit_s <= 86400 (a day), samples >= 1, warm_up_runs >= 1",
            )


@dataclass(frozen=True)
class Job:
    """One subject in one scenario.

    Attributes:
        subject: One of `SUBJECTS`.
        source: Artifact folder, or zoo name or `path/file.py:factory`.
        scenario: One of `SCENARIOS`.
        batch: Batch size of one call; 0 takes the scenario's own (1; for "offline" 16).
        streams: Streams that run at once in the scenario "multi".
        deadline_s: Period of the scenario "stream"; None for steps back to back.
        threads: Threads within an operator; 0 leaves it to the runtime.
        provider: Execution provider of ONNX Runtime, or "" for its CPU provider.
        time_steps: T for a subject that is no artifact; 0 takes the model's own.
        numerics: "float", or "exact" for the form that the event engine computes.
        bits: Bits of a weight in the exact form.
        weights: File with the model's weights, or "".
        preprocess: What is done to a sample first (a .toml file, or FILE.py:NAME), or "".
        input_shape: Sizes of one sample, for a module that does not say, or (dtype, sizes) by name of several inputs;
            () otherwise.
        meter: "auto", "none", the name of a meter, or "csv:FILE".
        data: .npz file with labelled data (`x`, `y`), or "".
        allow_mismatch: Whether to measure an artifact whose verification failed.
        rules: How long to measure.
    """

    subject: str
    source: str
    scenario: str = "single"
    batch: int = 0
    streams: int = 4
    deadline_s: float | None = None
    threads: int = 0
    provider: str = ""
    time_steps: int = 0
    numerics: str = "float"
    bits: int = 8
    weights: str = ""
    preprocess: str = ""
    input_shape: tuple[int | str, ...] | dict[str, Any] = ()
    meter: str = "auto"
    data: str = ""
    allow_mismatch: bool = False
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        if self.subject not in SUBJECTS:
            raise InputError(f"unknown subject {self.subject!r}", expected="one of " + ", ".join(SUBJECTS))
        if self.scenario not in SCENARIOS:
            raise InputError(f"unknown scenario {self.scenario!r}", expected="one of " + ", ".join(SCENARIOS))
        counts = self.batch, self.threads, self.time_steps, self.streams - 1
        if min(counts) < 0 or max(counts) > MOST:
            raise InputError(
                f"batch={self.batch}, streams={self.streams}, threads={self.threads}, time_steps={self.time_steps}",
                expected=f"batch, threads, time_steps from 0, streams from 1, none above {MOST:,}",
            )
        if self.numerics not in ("float", "exact") or not 2 <= self.bits <= 8:
            raise InputError(
                f"numerics {self.numerics!r}, bits={self.bits}", expected="float or exact, and 2 to 8 bits of a weight"
            )
        meters.check(self.meter)
        if self.deadline_s is not None and not 0 < self.deadline_s < 3600:
            raise InputError(f"a deadline of {self.deadline_s!r} s", expected="more than 0 and less than 3600 s")

    @property
    def calls_of(self) -> int:
        """Batch size of one call."""
        return self.batch or (16 if self.scenario == "offline" else 1)

    @property
    def variant(self) -> str:
        """What tells this job's subject apart from others of the same target."""
        name = self.provider.replace("ExecutionProvider", "")
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}" if self.threads else ""
        return ", ".join(part for part in (name, threads) if part)

    @property
    def expected_s(self) -> float:
        """About how long the job takes, with loading and warming up."""
        return 4.0 + _PREPARING_S.get(self.subject, 0.0) + self.rules.warm_up_s + self.rules.seconds

    def to_json(self) -> dict[str, Any]:
        """Returns the job as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        """Reads what `to_json` wrote.

        Raises:
            InputError: If it is no such object.
        """
        known = {entry.name for entry in fields(cls)}
        if not isinstance(data, Mapping) or not {"subject", "source"} <= set(data) <= known:
            raise InputError("this is no benchmark job", expected="an object with subject, source and more")
        try:
            shape = data.get("input_shape", ())
            shape = dict(shape) if isinstance(shape, Mapping) else tuple(shape)
            rules = _typed(Rules, data.get("rules", {}), {})
            more = {"subject": str, "source": str, "deadline_s": float}
            plain = {k: v for k, v in data.items() if k not in ("input_shape", "rules") and v is not None}
            return cls(**_typed(cls, plain, more), input_shape=shape, rules=Rules(**rules))
        except (TypeError, ValueError) as error:
            raise InputError(f"this is no benchmark job: {error}", expected="fields as --pack writes them") from error


def _typed(cls: type[Any], data: Any, more: Mapping[str, type]) -> dict[str, Any]:
    """Returns the fields of a dataclass, each of the type of its default; `more` are those that have none.

    Raises:
        TypeError: If one is of another type, or unknown.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"{data!r} in place of its fields")
    kinds = {entry.name: type(entry.default) for entry in fields(cls)} | dict(more)
    for name, value in data.items():
        if name not in kinds:
            raise TypeError(f"unknown field {name!r}")
        kind = kinds[name]
        fits = (kind is float and type(value) is int) or type(value) is kind
        if not fits or (kind is str and "\0" in value):
            raise TypeError(f"{name} is {value!r}")
    return dict(data)
