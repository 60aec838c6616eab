"""Variables that travel with a run, both ways; ``lk_jupyter/remote`` holds the code that works on both sides."""
