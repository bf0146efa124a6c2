"""How large a map is: one file for each norm."""

from .estimate import estimate_peak_gain
from .h2 import h2_norm
from .hinf import GainBracket, hinf_bracket, hinf_norm, linf_bracket
from .peak import peak_gain

__all__ = ["GainBracket", "estimate_peak_gain", "h2_norm", "hinf_bracket", "hinf_norm", "linf_bracket", "peak_gain"]
