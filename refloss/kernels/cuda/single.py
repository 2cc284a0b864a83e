"""The CUDA kernels with float32 arithmetic inside; only fused calls have it."""
