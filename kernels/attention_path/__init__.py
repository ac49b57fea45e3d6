"""Which way to attend to selected keys is fastest for a shape, from measured rows, and whether selecting pays."""

from neurokit.kernels.attention_path.calibrated import calibrated_attention as calibrated_attention
from neurokit.kernels.attention_path.choose import Choice as Choice
from neurokit.kernels.attention_path.choose import path_for as path_for
from neurokit.kernels.attention_path.run import pattern_attention as pattern_attention
from neurokit.kernels.attention_path.run import sparse_attention as sparse_attention
