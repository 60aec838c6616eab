"""Kernels on machines of the cloud, for the launcher and the kernel picker of a local Jupyter.

Jupyter starts a kernel by ``provisioner``; ``bridge`` is the local process that forwards messages; ``specs`` lists the
kernel in the launcher.
"""
