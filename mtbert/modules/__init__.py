"""The network of mtbert: encoders of text and table, fusions, a head. Needs torch."""

from mtbert.modules.bert import BertText
from mtbert.modules.cnn import CnnText
from mtbert.modules.cross_attention import CrossAttention
from mtbert.modules.fusion import Concatenation, GateFusion, MixtureOfExperts
from mtbert.modules.head import Head
from mtbert.modules.lstm import LstmText
from mtbert.modules.network import ARCHITECTURES, FusionNet, build_network
from mtbert.modules.parameter_groups import layerwise_parameter_groups
from mtbert.modules.tabular import ColumnTokens, TabularEncoder
from mtbert.modules.text_encoder import Encoded, TextEncoder, TextFieldSpec

__all__ = [
    "ARCHITECTURES",
    "BertText",
    "CnnText",
    "ColumnTokens",
    "Concatenation",
    "CrossAttention",
    "Encoded",
    "FusionNet",
    "GateFusion",
    "Head",
    "LstmText",
    "MixtureOfExperts",
    "TabularEncoder",
    "TextEncoder",
    "TextFieldSpec",
    "build_network",
    "layerwise_parameter_groups",
]
