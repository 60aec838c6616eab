"""Tiny wheels, and locks of them: what a test installs without a network."""

import random
import zipfile
from hashlib import sha256


def write_wheel(folder, name, version, tag="py3-none-any"):
    """Write a wheel of an empty package; return its path."""
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(zipfile.ZipInfo(file), text)
    return path


def write_index(folder, count=8, versions=("1.0", "1.1", "2.0")):
    """Write wheels of packages ``lk_tiny_0`` and so on; return package → version → path."""
    names = [f"lk_tiny_{number}" for number in range(count)]
    return {name: {version: write_wheel(folder, name, version) for version in versions} for name in names}


def choose_packages(index, seed):
    """Choose some packages, a version of each, by a seed."""
    choice = random.Random(seed)
    names = choice.sample(sorted(index), choice.randint(2, 5))
    return {name: choice.choice(sorted(index[name])) for name in names}


def digest(path):
    return sha256(path.read_bytes()).hexdigest()


def as_pylock(index, chosen):
    """Return the text of ``pylock.toml`` for chosen packages."""
    lines = ['lock-version = "1.0"', 'created-by = "tests"']
    for name, version in chosen.items():
        path = index[name][version]
        file = f'{{ name = "{path.name}", path = "{path.as_posix()}", hashes = {{ sha256 = "{digest(path)}" }} }}'
        lines += ["[[packages]]", f'name = "{name.replace("_", "-")}"', f'version = "{version}"', f"wheels = [{file}]"]
    return "\n".join(lines) + "\n"


def as_requirements(index, chosen):
    """Return the text of ``requirements.txt`` with hashes for chosen packages."""
    return "".join(
        f"{name}=={version} \\\n    --hash=sha256:{digest(index[name][version])}\n" for name, version in chosen.items()
    )
