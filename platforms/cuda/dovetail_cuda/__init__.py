"""The platform `cuda`: NVIDIA GPUs through torch and Triton."""
