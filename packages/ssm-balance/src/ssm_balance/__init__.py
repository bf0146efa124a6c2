"""Balanced truncation, error bounds, system norms and order selection for state-space models."""

from . import interop, plots
from ._balance import Projection, balance
from ._bounds import coprime_error_bound, error_bound, hankel_error_bound, relative_error_bound
from ._budget import Budget
from ._certificate import Certificate, RelativeError
from ._diagonalize import Diagonalization, diagonalize
from ._difference import difference
from ._errors import (
    BalanceError,
    FileFormatError,
    MissingLibraryError,
    OrderError,
    PassivityError,
    PrecisionError,
    RiccatiError,
    SingularDescriptorError,
    StabilityLossError,
)
from ._hankel import hankel_singular_values
from ._multiple import Multiple
from ._order import Energy, Error, Order, Selection
from ._project import project
from ._reduction import Reduction
from ._refinement import Refinement, refine_h2
from ._snapshots import snapshot_error
from ._stable_split import StableSplit, split_stable
from .methods import (
    balanced_truncation,
    bounded_real_truncation,
    cross_gramian_truncation,
    data_weighted_truncation,
    frequency_limited_truncation,
    frequency_weighted_truncation,
    h2_optimal,
    hankel_norm_approximation,
    low_rank_truncation,
    lqg_truncation,
    modal_truncation,
    positive_real_truncation,
    singular_perturbation,
    stochastic_truncation,
    time_limited_truncation,
)
from .norms import (
    GainBracket,
    NormBracket,
    estimate_peak_gain,
    h2_norm,
    hankel_norm,
    hinf_bracket,
    hinf_norm,
    horizon_gain,
    linf_bracket,
    peak_gain,
    peak_to_peak_bracket,
)

__version__ = "0.1.0.dev0"

__all__ = [
    "BalanceError",
    "Budget",
    "Certificate",
    "Diagonalization",
    "Energy",
    "Error",
    "FileFormatError",
    "GainBracket",
    "MissingLibraryError",
    "Multiple",
    "NormBracket",
    "Order",
    "OrderError",
    "PassivityError",
    "PrecisionError",
    "Projection",
    "Reduction",
    "Refinement",
    "RelativeError",
    "RiccatiError",
    "Selection",
    "SingularDescriptorError",
    "StabilityLossError",
    "StableSplit",
    "balance",
    "balanced_truncation",
    "bounded_real_truncation",
    "coprime_error_bound",
    "cross_gramian_truncation",
    "data_weighted_truncation",
    "diagonalize",
    "difference",
    "error_bound",
    "estimate_peak_gain",
    "frequency_limited_truncation",
    "frequency_weighted_truncation",
    "h2_norm",
    "h2_optimal",
    "hankel_error_bound",
    "hankel_norm",
    "hankel_norm_approximation",
    "hankel_singular_values",
    "hinf_bracket",
    "hinf_norm",
    "horizon_gain",
    "interop",
    "linf_bracket",
    "low_rank_truncation",
    "lqg_truncation",
    "modal_truncation",
    "peak_gain",
    "peak_to_peak_bracket",
    "plots",
    "positive_real_truncation",
    "project",
    "refine_h2",
    "relative_error_bound",
    "singular_perturbation",
    "snapshot_error",
    "split_stable",
    "stochastic_truncation",
    "time_limited_truncation",
]
