"""ECAPA-TDNN over a stream: chunks of a waveform in, the embedding of all that was heard so far out.

The parameters are those of `EcapaTDNN`, so its checkpoints load; the function is another one, in which no frame sees
what comes after it. Convolutions look back only, with zeros before the recording; means and deviations over the
recording are those of the frames so far; features are not freed of their mean. Published weights were trained with the
two-sided form: the causal one has to be trained, or fine-tuned, as itself.

Whatever the sizes of the chunks, the state after them, and so the embedding, is the same function of all samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.models.ecapa_tdnn.features import LogMel
from neurokit.models.ecapa_tdnn.net import SMALLEST_VARIANCE, EcapaTDNN, Res2NetBlock, TDNNBlock
from neurokit.models.ecapa_tdnn.states import BLOCKS, KEPT_SAMPLES, NO_PEAK, POOLED, state_sizes


class VoiceStream(nn.Module):
    """Takes a chunk and the states that the chunk before gave; checkpoints of SpeechBrain are those of `embedding`.

    Args:
        channels: Width of the trunk.
        pooled: Width after the three blocks are joined.
        scale: Parts of a Res2Net block.
        inner: Width inside of squeeze-excitation and of the attention.
        mels: Features a frame.
    """

    def __init__(self, channels: int, pooled: int = 1536, scale: int = 8, inner: int = 128, mels: int = 80) -> None:
        super().__init__()
        self.sizes = state_sizes(channels, pooled, scale, mels)
        self.features = LogMel(mels, causal=True)
        self.embedding = EcapaTDNN(channels, pooled, scale, inner, mels)

    def start(self, waveform: Tensor) -> list[Tensor]:
        """Returns the states before the first chunk, for a batch such as `waveform`'s."""
        return [
            waveform.new_full((len(waveform), *size), NO_PEAK if name == "peak" else 0.0)
            for name, size in self.sizes.items()
        ]

    def forward(self, waveform: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Takes a chunk `[B, samples]` at 16 kHz, a multiple of 160 samples, and the states; none for the first chunk.

        Returns:
            The embedding of what was heard so far, `[B, 192]`, and the states.
        """
        given = dict(zip(self.sizes, states or self.start(waveform), strict=True))
        net, new = self.embedding, {}
        audio = torch.cat([given["audio"], waveform], 1)
        new["audio"] = audio[:, -KEPT_SAMPLES:]
        features = self.features.of_frames(audio).transpose(1, 2)
        # The number of frames so far at each frame, [B, 1, F].
        seen = given["frames"].unsqueeze(2) + torch.ones_like(features[:, :1]).cumsum(2)
        new["frames"] = seen[:, :, -1]
        x, new["stem"] = _causal(net.blocks[0], features, given["stem"])
        outputs = []
        for block, layer in zip(BLOCKS, net.blocks[1:], strict=True):
            y, new[f"past{block}"] = _res2net(layer.res2net_block, layer.tdnn1(x), given[f"past{block}"])
            y = layer.tdnn2(y)
            total = given[f"excited{block}"].unsqueeze(2) + y.cumsum(2)
            new[f"excited{block}"] = total[:, :, -1]
            squeeze = layer.se_block
            x = x + y * squeeze.conv2(squeeze.conv1(total / seen).relu()).sigmoid()
            outputs.append(x)
        joined = net.mfa(torch.cat(outputs, 1))
        pooled, last = self._pooled(joined, seen, [given[name] for name in POOLED])
        new |= zip(POOLED, last, strict=True)
        embedding = net.fc(net.asp_bn(pooled.unsqueeze(2))).squeeze(2)
        return embedding, *(new[name] for name in self.sizes)

    def _pooled(self, x: Tensor, seen: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Returns weighted mean and deviation of the frames so far, `[B, 2 C]`, and the states of the pooling.

        Sums are of differences from the first frame of the recording, so that a channel that hardly changes loses no
        digits; the softmax over frames is held as its largest logarithm and sums that are scaled by it.
        """
        asp = self.embedding.asp
        origin, total, squares, peak, weight, weighted, weighted_squares = states
        first = seen[:, :, :1] == 1
        origin = torch.where(first.squeeze(2), x[:, :, 0], origin)
        d = x - origin.unsqueeze(2)
        totals, all_squares = total.unsqueeze(2) + d.cumsum(2), squares.unsqueeze(2) + d.square().cumsum(2)
        mean = totals / seen
        deviation = (all_squares / seen - mean.square()).clamp_min(SMALLEST_VARIANCE).sqrt()
        context = torch.cat([x, mean + origin.unsqueeze(2), deviation], 1)
        log_weight = asp.conv(asp.tdnn(context).tanh())
        highest = torch.maximum(peak, log_weight.amax(2))
        scale, weights = (peak - highest).exp(), (log_weight - highest.unsqueeze(2)).exp()
        weight = weight * scale + weights.sum(2)
        weighted = weighted * scale + (weights * d).sum(2)
        weighted_squares = weighted_squares * scale + (weights * d.square()).sum(2)
        offset = weighted / weight
        variance = (weighted_squares / weight - offset.square()).clamp_min(SMALLEST_VARIANCE)
        states = [origin, totals[:, :, -1], all_squares[:, :, -1], highest, weight, weighted, weighted_squares]
        return torch.cat([offset + origin, variance.sqrt()], 1), states

    def of_public(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns SpeechBrain's names as those of the part that they belong to."""
        if any(name.startswith("embedding.") for name in state):
            return state
        return {f"embedding.{name}": value for name, value in state.items()}


def _causal(block: nn.Module, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """Applies a block whose convolution looks back only; returns its output and the frames that the next chunk needs.

    Args:
        block: The block.
        x: Frames `[B, C, F]`.
        past: The frames before them, `[B, C, dilation (kernel - 1)]`.
    """
    assert isinstance(block, TDNNBlock)
    conv = block.conv.conv
    whole = torch.cat([past, x], 2)
    y = F.conv1d(whole, conv.weight, conv.bias, dilation=conv.dilation)
    return block.norm(y.relu()), whole[:, :, -past.shape[2] :]


def _res2net(layer: Res2NetBlock, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """Applies a Res2Net block that looks back only; `past` holds what its convolutions need, one after the other."""
    first, *rest = x.chunk(len(layer.blocks) + 1, dim=1)
    done, kept = [first], []
    for index, (block, part) in enumerate(zip(layer.blocks, rest, strict=True)):
        before = past.chunk(len(layer.blocks), dim=1)[index]
        y, needed = _causal(block, part if index == 0 else part + done[-1], before)
        done.append(y)
        kept.append(needed)
    return torch.cat(done, 1), torch.cat(kept, 1)
