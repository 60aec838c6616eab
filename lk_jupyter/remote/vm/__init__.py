"""Programs of the VM of a run: uploaded as the package ``vm``, without other modules of lk_jupyter."""
