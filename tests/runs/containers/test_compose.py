"""A stack is read before it is sent, and its author told the line of what is wrong."""

import pytest

from lk_jupyter.errors import UsageError
from lk_jupyter.runs.containers.compose import Stack


def test_images_and_published_ports_are_found():
    text = """
services:
  web:
    image: nginx:1
    ports: ["8080:80", "127.0.0.1:9000:9000/tcp", {target: 70, published: 7070}, "6000-6010:6000-6010"]
    depends_on: {store: {condition: service_started}}
  store:
    image: redis:7
    networks: [default, inner]
networks:
  inner:
"""
    assert Stack.parse(text) == Stack(("nginx:1", "redis:7"), (8080, 9000, 7070))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services:\n  web:\n\timage: a", "Not YAML in line 4: the line contains a tab; indent YAML with spaces."),
        ("services: [", "Not YAML in line 2"),
        ("", "The cell isn't a compose file"),
        ("just words", "The cell isn't a compose file"),
        ("web:\n  image: a", "Line 2: 'web' isn't a top-level key of a compose file."),
        ("service:\n  web: {image: a}", "Did you mean 'services'?"),
        ("services:", "Line 2: a compose file needs 'services:' with at least one service"),
        ("services:\n  web:", "Line 3: service 'web' is empty"),
        ("services:\n  web:\n    command: x", "Line 4: service 'web' has no image"),
        ("services:\n  web: {image: a}\n  web: {image: b}", "Line 4: 'web' appears twice"),
        ("services:\n  web:\n    build: .", "Line 4: service 'web': build needs files of this machine"),
        ("services:\n  web:\n    image: a\n    env_file: x", "Line 5: service 'web': env_file refers to a local file"),
        (
            "services:\n  web: {image: a, depends_on: [stor]}\n  store: {image: b}",
            "Line 3: service 'web' depends on 'stor', which isn't a service of this file. Did you mean 'store'?",
        ),
        (
            "services:\n  web: {image: a, depends_on: {b: {condition: x}}}",
            "Line 3: service 'web' depends on 'b', which isn't a service of this file. Nothing was sent.",
        ),
        (
            "services:\n  a: {image: a, depends_on: [b]}\n  b: {image: b, depends_on: [a]}",
            "these services wait for each other: a → b → a",
        ),
        ("services:\n  web: {image: a, networks: [back]}", "uses network 'back', which isn't declared in 'networks:'"),
        ("services:\n  web: {image: a, secrets: [{source: s}]}", "uses secret 's', which isn't declared in 'secrets:'"),
    ],
)
def test_the_first_thing_that_is_wrong_is_told_with_its_line_in_the_cell(text, said):
    with pytest.raises(UsageError) as error:
        Stack.parse(text, first_line=2)
    assert said in str(error.value)
    assert str(error.value).endswith("Nothing was sent.")
    assert "\n" not in str(error.value)
