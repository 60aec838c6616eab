"""Kernels on machines of the cloud, for the launcher and the kernel picker of a Jupyter here.

``provisioner`` is what Jupyter asks to start one, ``bridge`` the process here that passes its messages
on, ``specs`` what makes it appear in the launcher.
"""
