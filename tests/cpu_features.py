"""Print this processor's newest features that NumPy would use (AVX-512), for NPY_DISABLE_CPU_FEATURES."""

from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

print(" ".join(f for f in __cpu_dispatch__ if __cpu_features__[f] and f.startswith(("AVX512", "X86_V4"))))
