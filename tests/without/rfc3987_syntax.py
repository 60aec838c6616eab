"""Found in place of the grammar that each Jupyter server compiles for jsonschema: half of its start, for no test."""

raise ImportError
