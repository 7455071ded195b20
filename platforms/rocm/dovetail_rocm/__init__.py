"""The platform `rocm`: AMD GPUs through torch and Triton."""
