"""The kernels for NVIDIA GPUs, in Numba CUDA."""
