"""A second user of the machine, for the tests of this folder."""

from localcloud.test_other_user import as_another_user  # noqa: F401 (a fixture)
