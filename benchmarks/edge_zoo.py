"""Cards of the edge zoo: parameters and multiply-adds counted on empty weights, and what is faithful in each.

`python benchmarks/edge_zoo.py docs/edge-zoo.md` writes the page; nothing is computed, so it takes seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from edge_zoo_measured import compiled, forms, in_8_bits
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from neurokit.models.acdit.net import ACDiT, Sizes
from neurokit.models.att_swin_unet.net import AttSwinUNet
from neurokit.models.common.pvt import B2
from neurokit.models.dae_former.net import DAEFormer
from neurokit.models.dae_former.spiking import SpikingTransDAE
from neurokit.models.dsa_decoder.net import DSADecoder
from neurokit.models.ear_unet.net import EARUNet
from neurokit.models.ecapa_tdnn.net import EcapaTDNN
from neurokit.models.ecapa_tdnn.stream import VoiceStream
from neurokit.models.emotionic.net import EmotionIC
from neurokit.models.macmd.net import MACMD
from neurokit.models.oat.net import OAT
from neurokit.models.para_trans_cnn.net import ParaTransCNN
from neurokit.spec import MODELS

_HEAD = """\
# Edge zoo
Made by `python benchmarks/edge_zoo.py docs/edge-zoo.md`: parameters are all of the module's, those of public
checkpoints that nothing reads among them; multiply-adds are those of convolutions and products of one sample of the
named size (torch's FlopCounterMode, halved), counted on empty weights. "Figures" means: equal in float64 to what the
public code gives for weights filled by a rule (tests/neurokit/models), "form" that no code is published and the
description was followed.

What a file becomes, with any of them exported by `neurokit export NAME --target onnx --out build/m`:

    neurokit run build/ecapa first.wav second.wav                     # embeddings, and their distance
    neurokit run build/stream call.wav                                # ecapa_tdnn_512_stream (--target onnx-step)
    neurokit run build/swin case.nii.gz --out masks --overlap 0.7     # windows over a volume, masks/case_mask.nii.gz
    neurokit run build/macmd photo.png --out masks                    # masks/photo_mask.png in the picture's own size
    neurokit run build/oat shelf.json                                 # objects, target: a scanpath (--target onnx-step)
    neurokit run build/emotionic dialogue.json                        # an emotion an utterance
    neurokit run build/acdit wanted.json --seed 1 --out images        # {"label": 207}: latents (acdit_b_blocks, step)

A stream is handed on in Python, in chunks of any whole number of 10 ms: `with nk.open("build/stream") as runner`, then
`runner.reset()`, and `runner.step(chunk)` returns the embedding of all that was heard since. Its states are named in
the manifest; chunks of any sizes give what one call on the whole gives (tests/neurokit/models/test_ecapa_stream.py).

A model of several inputs takes `.npz` files, or JSON: an object (or a list of them, or one a line in `.jsonl`) with
every input by its name as numbers, or as paths beside the file, of pictures or `.npy` arrays; a shelf is

    {"images": ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png"], "target": 4}

and a dialogue names who speaks, with the features of a text encoder (of one utterance, or of all in `features` beside
`utterances`) and, for `export --data` and `--calibration`, the label that is right:

    {"utterances": [{"speaker": "Ana", "features": "ana.npy", "label": "sad"}, {"speaker": "Ben", "features": [0.1]}]}

A recording of another sample rate, with several channels, silent, empty or too short is refused with the command that
mends it, a dialogue of one speaker is answered with a note, a picture of any size is brought to the model's and its
mask back, a volume smaller than a window is filled up, and one of other voxels or modalities, or with a modality of
zeros, is refused.

| model | parameters | G multiply-adds | of a sample | gives | licence | faithful by | filled in, mended |
|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Card:
    """A model of the page.

    Attributes:
        make: Makes its module.
        shapes: Sizes of what its method takes, without a batch; a whole number is the largest value of an index.
        gives: What it gives.
        licence: Of the original.
        faithful: By what it is known to be the original.
        filled: What is filled in, or mended.
        method: What is counted.
    """

    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    gives: str
    licence: str
    faithful: str
    filled: str = ""
    method: str = "forward"


def ear_unet() -> nn.Module:
    """Returns EAR-U-Net at its published size."""
    import timm

    body = timm.create_model("efficientnet_b4", features_only=True, pretrained=False)
    return EARUNet(body, tuple(body.feature_info.channels()))


def swin_unetr(features: int) -> nn.Module:
    """Returns MONAI's Swin UNETR."""
    from monai.networks.nets import SwinUNETR

    with torch.device("cpu"):  # it reads numbers from tensors when it is made
        module: nn.Module = SwinUNETR(in_channels=4, out_channels=3, feature_size=features)
    return module.to("meta")


_IMAGE, _GREY = ((3, 224, 224),), ((1, 224, 224),)
_MASK = "scores of 9 classes"
_SO_FAR = "embedding of 192 of what was heard so far"
_CAUSAL = "looks back only: weights of the two-sided form have to be fine-tuned; front end counted"
CARDS: dict[str, Card] = {
    "acdit_b": Card(lambda: ACDiT(Sizes()), ((4, 256, 4), (4, 256, 4), (4,), (0,)), "noise", "MIT", "figures"),
    "acdit_b_blocks": Card(
        lambda: ACDiT(Sizes()),
        ((256, 4), (0,), (), (0,), (), (144, 768, 64), (144, 768, 64)),
        "noise of a block; latents by the host's loop",
        "MIT",
        "figures",
        "the last of four blocks counted; latents need an image autoencoder's decoder",
        "step",
    ),
    "att_swin_unet": Card(
        AttSwinUNet, _IMAGE, _MASK, "none given", "figures", "the encoder's maps are added before they are used"
    ),
    "dae_former": Card(DAEFormer, _IMAGE, _MASK, "MIT", "figures"),
    "dsa_decoder": Card(DSADecoder, _IMAGE, _MASK, "no code", "form", "how the parts are joined, inner sizes"),
    "ear_unet": Card(
        ear_unet, _IMAGE, "a mask, four gates", "encoder Apache-2.0", "figures of the encoder", "the decoder's widths"
    ),
    "ecapa_tdnn_512": Card(lambda: EcapaTDNN(512), ((200, 80),), "embedding of 192", "Apache-2.0", "figures"),
    "ecapa_tdnn_1024": Card(lambda: EcapaTDNN(1024), ((200, 80),), "embedding of 192", "Apache-2.0", "figures at 512"),
    "ecapa_tdnn_512_stream": Card(lambda: VoiceStream(512), ((32_000,),), _SO_FAR, "Apache-2.0", "form", _CAUSAL),
    "ecapa_tdnn_1024_stream": Card(lambda: VoiceStream(1024), ((32_000,),), _SO_FAR, "Apache-2.0", "form", _CAUSAL),
    "emotionic": Card(
        EmotionIC,
        ((32, 1024), (32, 0)),
        "emotions, decoded on the host",
        "none given",
        "figures",
        "positions centred on each dialogue, so padding changes nothing; the field's sum for one speaker",
        "forward",
    ),
    "macmd_b0": Card(MACMD, _GREY, _MASK, "none given", "figures", "blocks made in every call are layers"),
    "macmd_b2": Card(lambda: MACMD(B2), _GREY, _MASK, "none given", "figures at B0", "as above"),
    "oat": Card(
        OAT,
        ((22, 150, 93, 3), (0,)),
        "objects for the step",
        "none given",
        "figures",
        "table of places; encoder counted",
        "encode",
    ),
    "para_trans_cnn_32": Card(lambda: ParaTransCNN(32), ((3, 64, 64),), _MASK, "none given", "figures"),
    "para_trans_cnn_64": Card(lambda: ParaTransCNN(64), _IMAGE, _MASK, "none given", "figures at 32"),
    "para_trans_cnn_320": Card(lambda: ParaTransCNN(320), _IMAGE, _MASK, "none given", "figures at 32"),
    "swin_unetr": Card(
        lambda: swin_unetr(48), ((4, 96, 96, 96),), "three regions", "Apache-2.0", "the library's class"
    ),
    "swin_unetr_12": Card(lambda: swin_unetr(12), ((4, 64, 64, 64),), "three regions", "Apache-2.0", "figures"),
    "trans_dae": Card(
        lambda: DAEFormer(channels=1, interacting=True), _GREY, _MASK, "no code", "form", "sizes are DAE-Former's"
    ),
    "trans_dae_spiking": Card(
        SpikingTransDAE,
        ((1, 1, 224, 224),),
        _MASK,
        "own design",
        "form",
        "multiply-adds of one of 4 steps, silence counted too; attention counts spikes, without softmax",
    ),
}


def drawn(shape: tuple[int, ...]) -> Tensor:
    """Returns an empty input; a last size of 0 makes whole numbers."""
    if shape and shape[-1] == 0:
        return torch.zeros(1, *shape[:-1], dtype=torch.int64, device="meta")
    return torch.empty(1, *shape, device="meta")


def counted(card: Card) -> tuple[int, float]:
    """Returns parameters, and multiply-adds of one sample in thousand millions."""
    with torch.device("meta"), torch.no_grad():
        module = card.make().eval()
        counter = FlopCounterMode(display=False)
        with counter:
            getattr(module, card.method)(*(drawn(shape) for shape in card.shapes))
    return sum(parameter.numel() for parameter in module.parameters()), counter.get_total_flops() / 2e9


def row(name: str, card: Card) -> str:
    """Returns a model's line of the page."""
    parameters, work = counted(card)
    size = " and ".join(" x ".join(map(str, [n for n in shape if n])) or "a number" for shape in card.shapes)
    cells = [f"`{name}`", f"{parameters:,}", f"{work:.3g}", size, card.gives, card.licence, card.faithful, card.filled]
    return "| " + " | ".join(cells) + " |"


KNOWN = """
## What small twins learn in a minute
`make test-slow` trains each (tests/neurokit/models/test_edge_learning.py), holds its metric against a bound, and the
metric through ONNX Runtime within 0.5 points of torch's and in int8 within 2. Seen:

| model | task | metric | torch | ONNX Runtime | int8 |
|---|---|---|---|---|---|
| `ecapa_tdnn_512` | speakers that were not heard in training | EER | 2.30 % | 2.30 % | 2.06 % |
| `ear_unet` | ellipses in noise | Dice | .9900 | .9900 | .9901 |
| `para_trans_cnn_32` | | Dice | .9731 | .9731 | .9720 |
| `att_swin_unet` | | Dice | .9799 | .9799 | .9801 |
| `dae_former` | | Dice | .9470 | .9470 | .9462 |
| `dsa_decoder` | | Dice | .9270 | .9270 | .9271 |
| `macmd_b0` | | Dice | .9696 | .9696 | .9693 |
| `trans_dae` | | Dice | .9144 | .9144 | .9145 |
| `emotionic` | emotions that last, under noise | weighted F1 | .8229 | .8229 | .8235 |
| `oat` | reading order up to what is searched for | sequence score | 1.000 | 1.000 | refused: several graphs |

Untrained, `macmd_b0`'s twin loses much in int8 (relative error 0.62 of its hardest test vector, 0.2 on calibration
data): no layer alone costs more than 0.085 (`decoder.decoder1.conv_local.conv`, then `decoder.decoder1.conv.conv` and
`decoder.ffb.output_conv`), all 193 together do: with the six dearest in float 0.51 is left, with all activations in
float (`--option activations=float`) 0.05. Trained it loses nothing.

## As spiking networks
`--transform qcfs:time_steps=T` (with `calibration=` or `train=`) converts what has ReLUs, at `export`, `energy`,
`bench` and `deploy`; a free axis gets a number first:

    neurokit energy macmd_b0 --transform qcfs:time_steps=4 --chip loihi2 --weights W
    neurokit energy ecapa_tdnn_512 --input-shape 16000 --transform qcfs:time_steps=16 --chip loihi2 --weights W

The twins above, converted without training on 48 recordings and 32 pictures (`make test-slow`):

| model | metric | without spikes | T = 4 | T = 16 | output error (relative L2) |
|---|---|---|---|---|---|
| `ecapa_tdnn_512` | EER | 2.30 % | 2.50 % | 2.12 % | .38, .18; .07 at T = 64 |
| `macmd_b0` | Dice | .9696 | .9670 | .9700 | .085, .026 |

A converted network takes a sequence, and a sequence of one image is convolved anew in every step. With
`--transform still_image` behind `qcfs` it takes the image itself, and `aoti` computes what stands before the first
neurons once (`neurokit/program/passes/static_input.py`). No other target has that pass: there it is computed anew.

TransDAE has no ReLU, and its attention is softmax: `trans_dae_spiking` is a form of its own, trained directly.
neurokit/models/dae_former/spiking.py says what differs; weights meet spikes alone, but for the image's. Its twin
reaches a Dice of .839 after 150 steps on ellipses (71 s of a CPU; .840 through ONNX Runtime, verified exact), where
TransDAE's own twin has .914 after 200. `neurokit energy trans_dae_spiking --chip loihi2` prices it as any other.

ECAPA-TDNN normalises behind its ReLUs. These normalisations go forward into the convolutions that read them (13 of the
twin), exactly, since its convolutions reflect at the ends where zeros would lose the shift; a sum of two is read side
by side. What squeeze-excitation has weighted, and the attentive statistics, are graded values: the first convolution
of the second and third block and the one that joins the blocks read them. Gates, softmax, deviations and MACMD's
attention are computed from the rates so far (their mean over T is the function of the mean, so the error falls with T);
without that ECAPA's error grew with T, from 0.91 at 2 steps to 2.5 at 64, and MACMD's stayed at 0.09. Such a network is
a sequence: it has no form of single steps.

## Targets
Small twins of all go through `onnx` (with caches: `onnx-step`), `onnx-int8` and `tensorrt` in
tests/neurokit/models/test_edge_zoo.py, but: int8 takes no model of several graphs or with states (`oat`,
`acdit_b_blocks`, `ecapa_tdnn_512_stream`), and `tensorrt` takes no several graphs (`oat`). TensorRT's builder stops
where one number is added to a convolution over one axis (the smallest power before the logarithm of `ecapa_tdnn_512`);
there the number is repeated for each channel (`export/tensorrt/rewrite.py`). `aoti` was verified with `acdit_b`,
`ear_unet`, `ecapa_tdnn_512`, `ecapa_tdnn_512_stream`, `para_trans_cnn_32`, `dae_former`, `att_swin_unet` and
`macmd_b0`; models with states take it as `--option form=step`. Nine systems at full size stand below.

Small twins of `para_trans_cnn_32`, `att_swin_unet`, `dae_former`, `trans_dae` and `swin_unetr_12` through the others:
`openvino` verifies all five (relative errors of 2.5e-7 to 4.7e-6 of 1e-4). `litert` verifies `para_trans_cnn_32`,
`att_swin_unet`, `trans_dae` and `dae_former` (2.8e-7 to 4.4e-6 of 1e-4)
and refuses `swin_unetr_12`: LiteRT has no kernel for its transposed convolutions of volumes. `nir` refuses all, by
module and operation (axes in another order, softmax, gates, ReLU); `c` takes exact numerics only, and says so. With
`--numerics exact` it verifies the twin of `trans_dae_spiking`, and refuses the five and `macmd_b0` in a line: their
LayerNorms are no sums of products, and neither are the sums over time of `macmd_b0` converted by `qcfs`, which finds
no ReLU in the others but `para_trans_cnn_32`; `ecapa_tdnn_512` has a free axis.
"""


def main() -> None:
    """Writes the page."""
    missing = sorted(set(CARDS) - set(MODELS.names()))
    assert not missing, missing
    sources = [f"- `{name}`: {MODELS.get(name)().source}" for name in CARDS]
    lines = [row(name, card) for name, card in CARDS.items()]
    measured = [*KNOWN.rstrip().splitlines(), *forms(CARDS), *in_8_bits(CARDS), *compiled(CARDS)]
    page = _HEAD + "\n".join([*lines, *measured, "", "## Sources", *sources]) + "\n"
    Path(sys.argv[1]).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
