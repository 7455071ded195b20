"""A pytest plugin for proof.py: Hypothesis stops at the first example that fails, instead of looking for a small one."""

from hypothesis import Phase, settings

settings.register_profile("unshrunk", phases=[Phase.explicit, Phase.generate], print_blob=False)
settings.load_profile("unshrunk")
