"""Text Generation Inference's API: /generate, /generate_stream and /info."""
