"""Names of files that a folder from elsewhere must not bring, and the content of a folder."""

from lk_jupyter.config.files import platform_path

#: Names that git, shells, Python, IPython, Jupyter, pip, pytest, editors, desktops and build tools read unasked.
OBEYED = [
    *(".git/config", "repo/.git/hooks/post-checkout", ".gitattributes", ".bashrc", ".profile", ".ssh/config"),
    *(".ipython/profile_default/startup/x.py", ".jupyter/jupyter_server_config.py", ".config/lk_jupyter/config.json"),
    *(".vscode/tasks.json", ".envrc", ".env", ".pypirc", ".npmrc", ".condarc", ".pdbrc", ".netrc", ".Rprofile"),
    *("x-1.0.dist-info/entry_points.txt", "x.egg-info/PKG-INFO", "__pycache__/data.cpython-311.pyc", "data.pyc"),
    *("pytest.ini", "tox.ini", "setup.cfg", "setup.py", "pyproject.toml", "deep/conftest.py", "noxfile.py", "x.pth"),
    *("kernels/evil/kernel.json", "profile_default/startup/00.py", "sub/Makefile", "Dockerfile", "docker-compose.yml"),
    *(
        "bare/HEAD",
        "hooks/post-update",
        "test_evil.py",
        "sub/evil_test.py",
        "test_notes.txt",
        "jupyter_config.d/x.json",
    ),
    *("package.json", "a.desktop", "AutoRun.inf", "my.code-workspace", "jupyter_config.json", "environment.yml"),
]


def content(folder):
    """Return name → content of the files below a folder, without our own data, as the home may be this folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and platform_path("data") not in path.parents)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
