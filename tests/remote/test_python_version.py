"""The Python of a run is compared with the range of a script block as packaging compares them."""

from packaging.specifiers import SpecifierSet

from lk_jupyter.remote.script.python_version import is_matching


def test_a_range_includes_the_versions_that_packaging_includes():
    versions = [(3, minor, micro) for minor in (8, 10, 11, 12) for micro in (0, 3, 4, 9)]
    for text in ("3.11", "3.11.4", "3.12", "3.9", "3"):
        for operator in (">=", "<=", ">", "<", "==", "!=", "~=") if "." in text else (">=", "<", "=="):
            for form in (text, f"{text}.*") if operator in {"==", "!="} else (text,):
                specifier = SpecifierSet(operator + form)
                for version in versions:
                    expected = specifier.contains(".".join(map(str, version)))
                    assert is_matching(version, operator, form) == expected, (operator, form, version)
