"""Decoder language models with explicit states: Llama, Qwen2, Qwen3, Doge and TransNormerLLM in one network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from neurokit.dims import Dim
from neurokit.errors import InputError, Unsupported
from neurokit.models.decoder.config import DecoderConfig, RopeScaling
from neurokit.models.decoder.mixing import largest_block, states_of, token_work
from neurokit.spec import AttentionHost, ModelSpec, SparseForms, StateSpec, TaskSpec, TensorSpec, register_model

if TYPE_CHECKING:
    import torch
    from torch import nn

_TINY = {"vocabulary": 256, "width": 64, "inner": 176, "layers": 4, "heads": 4, "kv_heads": 2, "longest": 512}
TINY_LM = DecoderConfig(**_TINY, head_size=16, stop=(2,))
TINY_LM_QWEN3 = DecoderConfig(**_TINY, head_size=32, qk_norm=True, stop=(2,))
_SMALLER = {"vocabulary": 256, "width": 64, "inner": 128, "layers": 3, "heads": 4, "head_size": 16}
TINY_DOGE = DecoderConfig(
    **_SMALLER,
    kv_heads=2,
    longest=256,
    eps=1e-6,
    qk_norm=True,
    residual_weight=True,
    mixers=("dynamic_mask",) * 3,
    keep=8,
    stop=(2,),
)
TINY_TNL = DecoderConfig(
    **_SMALLER,
    kv_heads=4,
    longest=65536,
    eps=1e-6,
    tied=True,
    mixers=("lightning",) * 3,
    norm_weight=False,
    gate="linear",
)
SPIKING_TNL = DecoderConfig(**_SMALLER, kv_heads=4, longest=65536)
LLAMA3_1B = DecoderConfig(
    vocabulary=128256,
    width=2048,
    inner=8192,
    layers=16,
    heads=32,
    kv_heads=8,
    head_size=64,
    longest=131072,
    theta=500000.0,
    scaling=RopeScaling(factor=32.0, low=1.0, high=4.0, original=8192),
    tied=True,
    stop=(128001, 128008, 128009),
)
QWEN3_0_6B = DecoderConfig(
    vocabulary=151936,
    width=1024,
    inner=3072,
    layers=28,
    heads=16,
    kv_heads=8,
    head_size=128,
    longest=40960,
    eps=1e-6,
    theta=1e6,
    qk_norm=True,
    tied=True,
    stop=(151645, 151643),
)


@register_model
def tiny_lm() -> ModelSpec:
    """A decoder in Llama's form with 217,664 parameters, drawn by name."""
    return decoder_spec("tiny_lm", TINY_LM, _drawn, "decoder in Llama's form, 0.2 M parameters, untrained")


@register_model
def tiny_lm_qwen3() -> ModelSpec:
    """A decoder in Qwen3's form with 267,072 parameters, drawn by name."""
    return decoder_spec("tiny_lm_qwen3", TINY_LM_QWEN3, _drawn, "decoder in Qwen3's form, 0.3 M parameters, untrained")


@register_model
def tiny_doge() -> ModelSpec:
    """A decoder in Doge's form with 144,486 parameters, drawn by name; its dynamic mask keeps 8 keys a query."""
    return decoder_spec("tiny_doge", TINY_DOGE, _drawn, "decoder in Doge's form, 0.1 M parameters, untrained")


@register_model
def tiny_tnl() -> ModelSpec:
    """A decoder in the form of TransNormerLLM, 151,680 parameters drawn by name: linear attention in all layers."""

    def build(config: DecoderConfig) -> nn.Module:
        from neurokit.models.decoder.drawn import fill
        from neurokit.models.decoder.names import transnormer
        from neurokit.models.decoder.net import blank

        return fill(blank(config), transnormer, {})

    return decoder_spec("tiny_tnl", TINY_TNL, build, "decoder in TransNormerLLM's form, 0.2 M parameters, untrained")


@register_model
def spiking_tnl() -> ModelSpec:
    """A decoder of spikes whose linear attention counts coincidences; the same bits on every machine."""

    def build() -> nn.Module:
        from neurokit.models.decoder.spiking import drawn

        return drawn(SPIKING_TNL)

    def whole(module: Any) -> Any:
        from neurokit.models.decoder.spiking import in_whole_numbers

        return in_whole_numbers(module)

    c = SPIKING_TNL
    new = Dim("S", max=c.longest)
    counts = (c.heads, c.head_size, c.head_size)
    return ModelSpec(
        "spiking_tnl",
        build,
        (TensorSpec("ids", (new,), "int64", "L", high=c.vocabulary - 1, meaning="tokens; -1 is padding, left"),),
        description="decoder of spikes with linear attention, 0.1 M parameters, untrained",
        source="after TransNormerLLM (Qin et al., 2023); binary q, k, v and counts: design of its own",
        task=TaskSpec("generation", loop_of(c)),
        example=example_of(c.vocabulary),
        states=tuple(StateSpec(f"kv{at}", counts, layout="HFF") for at in range(c.layers)),
        spiking_text=whole,
        outputs=(TensorSpec("logits", (new, c.vocabulary), layout="LF", meaning="of the token after each token"),),
    )


@register_model
def llama3_1b() -> ModelSpec:
    """Llama 3.2 1B in full size, 1,235,814,400 parameters, all zero: its weights come from a checkpoint."""
    return _blank("llama3_1b", LLAMA3_1B, "Llama 3.2 1B, weights empty")


@register_model
def qwen3_0_6b() -> ModelSpec:
    """Qwen3 0.6B in full size, 596,049,920 parameters, all zero: its weights come from a checkpoint."""
    return _blank("qwen3_0_6b", QWEN3_0_6B, "Qwen3 0.6B, weights empty")


def _blank(name: str, config: DecoderConfig, description: str) -> ModelSpec:
    def build(config: DecoderConfig) -> nn.Module:
        from neurokit.models.decoder.net import blank

        return blank(config)

    return replace(decoder_spec(name, config, build, description), large=True)


def _drawn(config: DecoderConfig) -> nn.Module:
    from neurokit.models.decoder.drawn import fill
    from neurokit.models.decoder.net import blank

    return fill(blank(config))


def decoder_spec(
    name: str,
    config: DecoderConfig,
    build: Callable[[DecoderConfig], nn.Module],
    description: str = "decoder language model",
    options: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """Returns the specification of a decoder.

    Its one graph takes `ids` `[B, S]` and keeps `padding` `[B]` and, for each layer, keys and values `[B, Hk, P, D]`
    that grow by the S tokens of a call: the same graph takes a prompt, a part of it and one token.

    Args:
        name: Name of the model.
        config: Its sizes.
        build: Returns the module of such sizes.
        description: One line for listings.
        options: What goes into manifests.
    """
    block = largest_block(config)
    new = Dim("S", max=config.longest, beyond=min(block, config.longest - 1) if block > 1 else 0)
    states = states_of(config)

    def fixed(entries: int) -> ModelSpec:
        smaller = replace(config, cache=entries, longest=min(entries, config.longest))
        return decoder_spec(name, smaller, build, description, options)

    def changed(made: Callable[[DecoderConfig], nn.Module] = build, **what: Any) -> ModelSpec:
        return decoder_spec(name, replace(config, **what), made, description, options)

    def scorer() -> ModelSpec:
        from neurokit.models.decoder.scorer import scorer_spec

        return scorer_spec(name, config, lambda: build(config))

    def with_tokens(count: int, rows: Callable[[torch.Tensor, str], torch.Tensor]) -> ModelSpec:
        def more(given: DecoderConfig) -> nn.Module:
            from neurokit.models.decoder.widened import widen

            net: Any = build(replace(given, vocabulary=config.vocabulary))
            return widen(net, count, rows)

        return decoder_spec(name, replace(config, vocabulary=config.vocabulary + count), more, description, options)

    dense = {config.mixer(at) for at in range(config.layers)} == {"dense"}
    return ModelSpec(
        name,
        lambda: build(config),
        (TensorSpec("ids", (new,), "int64", "L", high=config.vocabulary - 1, meaning="tokens; -1 is padding, left"),),
        description=description,
        source="Llama 3 (Meta, 2024), Qwen2 and Qwen3 (Qwen team, 2024, 2025), from their equations",
        options=dict(options or {}),
        task=TaskSpec("generation", loop_of(config)),
        example=example_of(config.vocabulary, tokens_of(config)),
        states=states,
        fixed_cache=fixed if any(state.grows for state in states) else None,
        sparse=_sparse(config, changed, build),
        attention=attention_of(config, changed),
        scorer=scorer if dense and not config.calibrations else None,
        with_tokens=with_tokens,
        token_work=lambda before: token_work(config, before),
        outputs=(TensorSpec("logits", (new, config.vocabulary), layout="LF", meaning="of the token after each token"),),
    )


def attention_of(config: DecoderConfig, changed: Callable[..., ModelSpec]) -> AttentionHost:
    """Returns what can calibrate a decoder's attention; `changed` gives the decoder with other sizes."""

    def calibrate(method: Any) -> ModelSpec:
        kept = {m.name for there in (*config.calibrations, method) for m in there.memories}
        if len(kept) < sum(len(there.memories) for there in (*config.calibrations, method)):
            raise InputError(f"{method.name!r} is given twice", expected="once: what it remembers has one name")
        return changed(calibrations=(*config.calibrations, method))

    return AttentionHost(
        config.layers,
        config.heads,
        config.kv_heads,
        config.width,
        config.longest,
        config.vocabulary,
        tuple(at for at in range(config.layers) if config.mixer(at) == "dense"),
        calibrate,
        image=config.image_token is not None,
    )


def tokens_of(config: DecoderConfig) -> int:
    """Returns how many tokens an example of a call has: enough for what is marked by its position, and two blocks.

    The program of a layer that looks at blocks is traced with several, and torch holds it to that.
    """
    wanted = max([12, largest_block(config) + 1, *(2 * method.least for method in config.calibrations)])
    return min(wanted, config.longest)


def _sparse(
    config: DecoderConfig, changed: Callable[..., ModelSpec], build: Callable[[DecoderConfig], nn.Module]
) -> SparseForms:
    """Returns what the attention of a decoder may select."""

    def obstacles(form: str) -> list[Unsupported]:
        from neurokit.models.decoder.sparse import obstacles

        return list(obstacles(config, form)) if set(config.mixers) - {"dense", "lightning"} else []

    def select(
        pattern: str, settings: Mapping[str, Any], layers: Sequence[int] | None, texts: Sequence[Sequence[int]] = ()
    ) -> ModelSpec:
        if texts and pattern != "sale":
            raise InputError(f"pattern {pattern!r} keeps no means of texts", expected="means= with pattern=sale")
        if pattern == "recycled" and config.calibrations:
            raise InputError("recycled attention that is calibrated", expected="one of the two transforms")
        if pattern == "recycled":
            return _recycled(changed(), config, settings, layers)
        wrong = [at for at in layers or () if not 0 <= at < config.layers]
        if wrong:
            raise InputError(f"layer {wrong[0]} is named", expected=f"0 to {config.layers - 1}")
        chosen = [at for at in range(config.layers) if config.mixer(at) == "dense" and (not layers or at in layers)]
        if not chosen:
            raise InputError("no layer of dense attention is named", expected="one at least")
        mixers = tuple(pattern if at in chosen else config.mixer(at) for at in range(config.layers))
        kept = {name: held for name, held in config.patterns.items() if name in mixers}
        made = build
        if texts:
            import torch

            from neurokit.models.decoder.sparse import frozen

            made = frozen(build, [torch.tensor([ids]) for ids in texts])
        return changed(made, mixers=mixers, patterns={**kept, pattern: dict(settings)})

    selects = bool(set(config.mixers) - {"dense", "lightning"})
    return SparseForms(obstacles, (lambda: changed(gathered=True)) if selects else None, select)


def _recycled(
    spec: ModelSpec, config: DecoderConfig, settings: Mapping[str, Any], layers: Sequence[int] | None
) -> ModelSpec:
    """Returns a decoder that recycles attention in all its layers, with the weights of a dense one."""
    from neurokit.attention.pattern import pattern
    from neurokit.models.decoder.recycled import recycled_spec

    if layers:
        raise InputError(f"layers {list(layers)} for 'recycled'", expected="all: a step is full or partial as a whole")

    def fill(module: nn.Module) -> nn.Module:
        module.load_state_dict(spec.build().state_dict())
        return module

    recycled: Any = pattern("recycled", **settings)
    return recycled_spec(spec.name, config, fill, recycled, f"{spec.description}, attention recycled")


def loop_of(config: DecoderConfig) -> dict[str, Any]:
    """Returns what a host needs to write a text with the graph; `neurokit.tasks.decoding` reads it from manifests."""
    whole = any(method.whole_prompt for method in config.calibrations)
    least = max((method.least for method in config.calibrations), default=1)
    return {
        **({"whole_prompt": True} if whole else {}),
        **({"least": least} if least > 1 else {}),
        "ids": "ids",
        "logits": "logits",
        "vocabulary": config.vocabulary,
        "padding": -1,
        "longest": config.longest,
        "stop": list(config.stop),
    }


def example_of(vocabulary: int, new: int = 12) -> Callable[..., Mapping[str, torch.Tensor]]:
    """Returns what draws the tokens of a call: `new` of them where no size is asked for."""

    def example(batch: int, time_steps: int, seed: int, sizes: Mapping[str, int] | None = None) -> Any:
        """Returns random tokens; in a first call every second row begins with padding."""
        import torch

        sizes = {"S": new, "P": 0, **(sizes or {})}
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, vocabulary, (batch, sizes["S"]), generator=generator)
        if sizes["P"] == 0 and new > 1:
            ids[1::2, : sizes["S"] // 3] = -1
        return {"ids": ids}

    return example
