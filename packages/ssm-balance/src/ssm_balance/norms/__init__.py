"""How large a map is: one file for each norm."""

from .bracket import GainBracket, NormBracket
from .estimate import estimate_peak_gain
from .h2 import h2_norm
from .hankel import hankel_norm
from .hinf import hinf_bracket, hinf_norm, linf_bracket
from .horizon import horizon_gain
from .peak import peak_gain
from .peak_to_peak import peak_to_peak_bracket

__all__ = [
    "GainBracket",
    "NormBracket",
    "estimate_peak_gain",
    "h2_norm",
    "hankel_norm",
    "hinf_bracket",
    "hinf_norm",
    "horizon_gain",
    "linf_bracket",
    "peak_gain",
    "peak_to_peak_bracket",
]
