"""The layers of checks, one module each; every module has `checks()`, the same ones in the same order always."""
