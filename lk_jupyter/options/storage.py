"""Options of the magics for files in the bucket."""

from __future__ import annotations

from lk_jupyter.options.fields import option, switch, word, yes
from lk_jupyter.options.runs import Options


class LsOptions(Options):
    """Options of ``%lk_ls``."""

    folder: str = word("Folder, file or pattern such as data/*.csv. Default: the entire bucket.", "", completer="keys")
    recursive: bool = switch("List subfolders too.", "-r")
    tree: bool = switch("Show folders and files as a tree.")
    limit: int = option(100, "Maximum number of items.", "-n", metavar="N", ge=1, le=100_000)


class PutOptions(Options):
    """Options of ``%lk_put``."""

    source: str = word("File, folder, or pattern such as *.csv on this machine.", completer="paths")
    key: str = word(
        "Key, or a folder ending with a slash, in the bucket. Default: the source's name.", "", completer="keys"
    )
    overwrite: bool = switch("Replace files that have different content.")


class GetOptions(Options):
    """Options of ``%lk_get``."""

    key: str = word("Key of a file, or a folder ending with a slash.", completer="keys")
    target: str = word("File or folder on this machine.", ".", completer="paths")
    checksum: bool = switch("Read the downloaded file again and compare its checksum.")
    include_hidden: bool = switch(
        "Also download hidden files, code and configuration, after a list and your confirmation."
    )
    yes: bool = yes()


class StageOptions(Options):
    """Options of ``%lk_stage``."""

    source: str = word("Folder or file of the bucket, such as lk://data/imagenet.", completer="keys")
    target: str = word("Folder on this machine.", completer="paths")
    overwrite: bool = switch("Replace files that have different content.")
    checksum: bool = switch("Also compare large files with their checksums in the bucket.")
    include_hidden: bool = switch(
        "Also download hidden files, code and configuration, after a list and your confirmation."
    )
    yes: bool = yes()


class SyncOptions(Options):
    """Options of ``%lk_sync``."""

    source: str = word("Source folder. A folder of the bucket starts with lk://.", completer="places")
    target: str = word(
        "Target folder, which is made equal to the source. A folder of the bucket starts with lk://.",
        completer="places",
    )
    delete: bool = switch("Delete files in the target that the source doesn't have.")
    checksum: bool = switch("Compare the content of all files, not only size and time.")
    include_hidden: bool = switch(
        "Also download hidden files, code and configuration, after a list and your confirmation."
    )
    yes: bool = yes()


class RmOptions(Options):
    """Options of ``%lk_rm``."""

    keys: list[str] = word(
        "Keys, patterns such as data/*.csv, or folders ending with a slash.", metavar="KEY", completer="keys"
    )
    yes: bool = switch("Delete without asking.", "-y")


class LoadOptions(Options):
    """Options of ``%lk_load``."""

    key: str = word("Key of a file; its suffix decides how it is loaded.", completer="keys")
    save: str | None = option(None, "Variable that receives the value.", "--as", metavar="VAR")
    sample: int | None = option(None, "Load only the first rows or lines.", metavar="N", ge=1)
    columns: list[str] = option([], "Load only these columns, such as price,size.", "-c", metavar="NAME", greedy=True)
