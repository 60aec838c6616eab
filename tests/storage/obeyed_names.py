"""Names of files that a folder from elsewhere must not bring."""

#: Names that git, shells, Python, IPython, Jupyter, pip, pytest, editors, desktops and build tools read unasked.
OBEYED = [
    *(".git/config", "repo/.git/hooks/post-checkout", ".gitattributes", ".bashrc", ".profile", ".ssh/config"),
    *(".ipython/profile_default/startup/x.py", ".jupyter/jupyter_server_config.py", ".config/lk_jupyter/config.json"),
    *(".vscode/tasks.json", ".envrc", ".env", ".pypirc", ".npmrc", ".condarc", ".pdbrc", ".netrc", ".Rprofile"),
    *("x-1.0.dist-info/entry_points.txt", "x.egg-info/PKG-INFO", "__pycache__/data.cpython-311.pyc", "data.pyc"),
    *("pytest.ini", "tox.ini", "setup.cfg", "setup.py", "pyproject.toml", "deep/conftest.py", "noxfile.py", "x.pth"),
    *("kernels/evil/kernel.json", "profile_default/startup/00.py", "sub/Makefile", "Dockerfile", "docker-compose.yml"),
    *("package.json", "a.desktop", "AutoRun.inf", "my.code-workspace", "jupyter_config.json", "environment.yml"),
]
