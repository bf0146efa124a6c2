"""Linear recurrences as convolutions: the kernels of S4D and S4, and the causal convolution by FFT."""

from .fft import fft_conv
from .s4 import s4_kernel
from .s4d import s4d_kernel

__all__ = ["fft_conv", "s4_kernel", "s4d_kernel"]
