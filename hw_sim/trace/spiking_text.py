"""What torch computes for a text of a spiking language model: spikes by population, counts, logits."""

from __future__ import annotations

from typing import Any


def spikes_of(module: Any, tokens: Any) -> tuple[dict[str, Any], tuple[Any, ...], Any]:
    """Returns what torch computes for a text: spikes by population as the engine names them, counts, and logits.

    Spikes are read where they go into a matrix.

    Args:
        module: A decoder of spikes.
        tokens: Token numbers.
    """
    import torch

    taken: dict[str, Any] = {}

    def note(name: str) -> Any:
        return lambda _, given: taken.__setitem__(name, given[0][0].numpy().astype("uint8"))

    def note_parts(at: int) -> Any:
        def hook(_: Any, __: Any, sums: Any) -> None:
            parts = (sums[0] >= 0.5).numpy().astype("uint8")
            width = parts.shape[1] // 3
            taken.update({f"layer {at} {p}": parts[:, n * width : (n + 1) * width] for n, p in enumerate("qkv")})

        return hook

    hooks = [module.lm_head.register_forward_pre_hook(note("last"))]
    for at, layer in enumerate(module.layers):
        inputs = {"in": layer.self_attn.qkv_proj, "won": layer.self_attn.out_proj}
        inputs |= {"middle": layer.up_proj, "inner": layer.down_proj}
        hooks += [part.register_forward_pre_hook(note(f"layer {at} {name}")) for name, part in inputs.items()]
        hooks.append(layer.self_attn.qkv_proj.register_forward_hook(note_parts(at)))
    size = module.layers[0].self_attn.out_proj.weight.shape[1] // module.layers[0].self_attn.heads
    rest = [torch.zeros(1, layer.self_attn.heads, size, size) for layer in module.layers]
    try:
        with torch.no_grad():
            found = module(torch.as_tensor(tokens, dtype=torch.int64)[None], *rest)
    finally:
        for hook in hooks:
            hook.remove()
    counts = tuple(found[f"kv{at}"][0].numpy() for at in range(len(module.layers)))
    return taken, counts, found["logits"][0].numpy()
