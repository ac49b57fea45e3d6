"""Attention over selected keys, and token mixing without softmax: one definition a method."""

from neurokit.attention.definition import attend as attend
from neurokit.attention.definition import merge as merge
from neurokit.attention.index import BlockIndex as BlockIndex
from neurokit.attention.mixer import MIXERS as MIXERS
from neurokit.attention.mixer import TokenMixer as TokenMixer
from neurokit.attention.mixer import register_mixer as register_mixer
from neurokit.attention.pattern import PATTERNS as PATTERNS
from neurokit.attention.pattern import AttentionPattern as AttentionPattern
from neurokit.attention.pattern import Call as Call
from neurokit.attention.pattern import pattern as pattern
from neurokit.attention.pattern import register_pattern as register_pattern
from neurokit.attention.tokens import TokenSet as TokenSet
