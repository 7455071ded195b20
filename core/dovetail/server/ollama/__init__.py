"""Ollama's API: /api/chat, generate, embed, embeddings, tags, show, ps and version."""
