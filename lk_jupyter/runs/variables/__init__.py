"""Variables that travel with a run, both ways; ``lk_jupyter/remote`` holds what works at both ends."""
