"""Upload and download the variables of runs; ``lk_jupyter/remote`` contains the code that works on both sides."""
