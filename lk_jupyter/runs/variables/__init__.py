"""Variables that travel with a run, both ways; ``lk_jupyter/shipped`` holds what works at both ends."""
