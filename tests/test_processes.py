"""Each place at which the product starts a program, and what keeps files of the working folder from being executed.

The working folder may belong to another person. A new place is missing here, so this file fails until the place starts
its program in isolation, or has a row with a reason.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import lk_jupyter

PACKAGE = Path(lk_jupyter.__file__).parent

#: Modules that start programs → names of their functions and classes that do.
STARTS = {
    "asyncio": r"create_subprocess_(exec|shell)",
    "concurrent.futures": "ProcessPoolExecutor",
    "multiprocessing": "Process|Pool|get_context|Manager",
    "os": "system|popen|exec.*|spawn.*|posix_spawnp?|startfile|fork|forkpty",
    "processes": "start|spawn",
    "pty": "spawn|fork",
    "subprocess": "Popen|run|call|check_call|check_output|getoutput|getstatusoutput",
    "webbrowser": "open|open_new|open_new_tab|get",
}

#: Names that start a program whatever their owner is, and the argument of asyncssh that does.
ANY_OWNER = re.compile(
    r"Popen|ProcessPoolExecutor|create_subprocess_\w+|subprocess_(exec|shell)|(posix_)?spawn[vl]?p?e?|exec[vl]p?e?"
    r"|get_context|startfile|forkpty|create_job"
)
ARGUMENTS = {"proxy_command", "preexec_fn"}

#: Commands and code in texts.
TEMPLATE = re.compile(r"\bpython[0-9.]* (-\w+ )*-[mc]\b|\bsubprocess\.\w+|\bos\.(exec|spawn|system|popen)\w*")

#: The form for a module of Python: the command and the environment of ``_python``, in a folder of the product.
ISOLATED = "isolated"

#: The form for another program: ``find_program`` finds its absolute path, and the environment is of ``_python``.
FOUND = "found"

#: The agent on the machine of a run, whose files are the user's own.
REMOTE = "on the machine of a run, whose code is the user's"
TEXT = "a text that the user reads"
CALLER = "starts the command of its callers"
GUEST = "the user's own command on a VM of the local cloud"

#: File, function and names of the calls and templates → the form, or why the form isn't needed.
PLACES = {
    ("_python.py", "has_browser", "get"): "only if PATH has no relative folder",
    ("_python.py", "module_command", "-c python"): "is the isolated command",
    ("_python.py", "open_if_possible", "open"): "only if PATH has no relative folder",
    ("account/leases.py", "_send", "python -m"): TEXT,
    ("broker/__main__.py", "_build_parser", "python -m"): TEXT,
    ("broker/operator.py", "send_request", "python -m"): TEXT,
    ("check/__main__.py", "_build_parser", "python -m"): TEXT,
    ("code/project_lock.py", "_export_uv_lock", "run"): FOUND,
    ("code/syntax.py", "module", "python -m subprocess.run"): TEXT,
    ("job_scheduler.py", "_continue_jobs", "get_context"): "in a block of IsolatedSpawn",
    ("job_scheduler.py", "create_job", "create_job"): "in a block of IsolatedSpawn",
    ("journal/drivers.py", "_open_driver", "Popen"): ISOLATED,
    ("kernels/specs.py", "bridge_command", "-m python"): "replaces this form with module_command",
    ("localcloud/__main__.py", "_build_parser", "python -m"): TEXT,
    ("localcloud/accounts/invitations.py", "module", "python -m"): TEXT,
    ("localcloud/buckets/seaweedfs.py", "_start_program", "-c Popen"): FOUND,
    ("localcloud/buckets/seaweedfs.py", "recover", "-c run"): "umount, with the environment of _python",
    ("localcloud/launch.py", "_start_process", "Popen"): ISOLATED,
    ("localcloud/runs/engine.py", "call", "spawn"): FOUND,
    ("localcloud/runs/environments.py", "_build_install_command", "-c python"): "imports nothing",
    ("localcloud/runs/live_run.py", "_run_setup_command", "start"): CALLER,
    ("localcloud/runs/live_run.py", "_start_process", "start"): "the user's own code, in the folder of the run",
    ("localcloud/runs/processes.py", "spawn", "create_subprocess_exec"): CALLER,
    ("localcloud/runs/processes.py", "start", "spawn"): CALLER,
    ("localcloud/runs/provision.py", "_build_prefix", "-c"): "/bin/sh, before the user's own code",
    ("localcloud/runs/provision.py", "_find_unshare_command", "-c run"): FOUND,
    ("localcloud/vms/guests.py", "_run_in_terminal", "spawn"): GUEST,
    ("localcloud/vms/guests.py", "_run_session_command", "-c spawn"): GUEST,
    ("magics/vms.py", "_run_program", "run"): FOUND,
    ("remote/display/magics.py", "cell_script", "run"): REMOTE,
    ("remote/display/magics.py", "getoutput", "run"): REMOTE,
    ("remote/display/magics.py", "line_pip", "-m call python"): REMOTE,
    ("remote/display/magics.py", "system", "call"): REMOTE,
    ("remote/script/packages.py", "_pack_files", "run"): REMOTE,
    ("remote/script/packages.py", "_restore_late", "-c Popen python"): "python -I",
    ("remote/script/packages.py", "_run_installer", "-m python run"): "pip, in a folder without modules",
    ("remote/script/packages.py", "_unpack_tar", "Popen"): REMOTE,
    ("remote/script/ranks.py", "before", "fork"): REMOTE,
    ("remote/script/session.py", "install", "-m python run"): "pip, in a folder without modules",
    ("remote/vm/agent.py", "_execute_command", "Popen"): REMOTE,
    ("remote/vm/agent.py", "_fork_process", "fork"): REMOTE,
    ("remote/vm/agent.py", "_install_and_execute", "python"): REMOTE,
    ("remote/vm/agent.py", "_install_requirements", "-m python"): "on the VM, in the folder of the agent",
    ("remote/vm/agent.py", "_run_command", "run"): "on the VM, in the folder of the agent",
    ("runs/containers/containers.py", "_build_command", "-c"): "a command in a container",
    ("runs/package/image.py", "image_request", "-c"): "a command in a container",
    ("runs/package/image.py", "module", "os.execv"): "the user's own code, in a container",
    ("storage/_preview_process.py", "__init__", "Popen"): ISOLATED,
    ("vms/hosted.py", "_agent", "python3 -m"): "on the VM, in the folder of the agent",
    ("vms/shell.py", "_open_connection", "proxy_command"): "the jump, which is module_command or a found ssh",
    ("vms/shell.py", "read", "proxy_command"): "the jump, which is module_command or a found ssh",
    ("vms/ssh.py", "make_key", "run"): FOUND,
}


class Places(ast.NodeVisitor):
    """Collects the places of a module: function → name of the call or template → the nodes."""

    def __init__(self, source: str) -> None:
        self.places: dict[str, dict[str, list[ast.AST]]] = {}
        self._functions = ["module"]
        self._calls: dict[ast.expr, ast.Call] = {}
        self._modules: dict[str, str] = {}
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                self._modules |= {name.asname or name.name: name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                self._modules |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
        self.visit(tree)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._functions.append(node.name)
        body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
        for child in (*node.decorator_list, *([] if isinstance(node, ast.ClassDef) else [node.args]), *body):
            self.visit(child)
        self._functions.pop()

    visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef  # noqa: N815 (ast's names)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # the docstring of a module or a variable
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        self._calls[node.func] = node
        for keyword in node.keywords:
            if keyword.arg in ARGUMENTS:
                self._add(keyword.arg, node)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute | ast.Name) -> None:
        name = self._resolve(node)
        owner, _, last = name.rpartition(".")
        if ANY_OWNER.fullmatch(last) or any(
            re.fullmatch(pattern, last) and (owner == module or owner.endswith(f".{module}"))
            for module, pattern in STARTS.items()
        ):
            self._add(last, self._calls.get(node, node))
        self.generic_visit(node)

    visit_Name = visit_Attribute  # noqa: N815

    def visit_arg(self, node: ast.arg) -> None:
        """Skip the annotation."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_List(self, node: ast.List | ast.Tuple) -> None:
        words = [item.value for item in node.elts if isinstance(item, ast.Constant)]
        for word in ("-m", "-c"):
            if word in words:
                self._add(word, node)
        if node.elts and re.search(r"\b(sys\.executable|python)$", ast.unparse(node.elts[0])):
            self._add("python", node)
        self.generic_visit(node)

    visit_Tuple = visit_List  # noqa: N815

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and (match := TEMPLATE.search(node.value)):
            self._add(match[0].replace("(", ""), node)

    def _resolve(self, node: ast.AST) -> str:
        name = ast.unparse(node)
        first, dot, rest = name.partition(".")
        return self._modules.get(first, first) + dot + rest

    def _add(self, name: str, node: ast.AST) -> None:
        self.places.setdefault(self._functions[-1], {}).setdefault(name, []).append(node)


SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def list_places(source: str) -> dict[tuple[str, str], list[ast.AST]]:
    """Return function and names of each place of a module → the nodes."""
    return {
        (function, " ".join(sorted(places))): [node for nodes in places.values() for node in nodes]
        for function, places in Places(source).places.items()
    }


def test_each_place_that_starts_a_program_is_isolated_or_has_a_reason():
    places = {(name, *place) for name, source in SOURCES.items() for place in list_places(source)}
    assert places == PLACES.keys()


@pytest.mark.parametrize("place", [place for place, form in PLACES.items() if form in {ISOLATED, FOUND}], ids="-".join)
def test_each_isolated_place_uses_the_command_and_the_environment(place):
    name, *key = place
    source = SOURCES[name]
    assert ("module_command(" if PLACES[place] == ISOLATED else "find_program(") in source
    for call in list_places(source)[tuple(key)]:
        if isinstance(call, ast.Call):
            arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert "child_environment(" in arguments["env"]
            assert PLACES[place] != ISOLATED or "cwd" in arguments


def test_a_program_is_never_searched_in_the_working_folder():
    assert [
        name for name, source in SOURCES.items() if "shutil.which(" in source and not name.startswith("remote/")
    ] == ["_python.py"]


def test_each_module_that_a_text_shows_with_python_m_leaves_the_working_folder_first():
    for name, *key in (place for place, form in PLACES.items() if form == TEXT):
        texts = [node.value for node in list_places(SOURCES[name])[tuple(key)]]
        for module in re.findall(r"python -m lk_jupyter\.(\w+)", "".join(texts)):
            assert "leave_working_folder()" in SOURCES[f"{module}/__main__.py"]


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run(['git', 'log'])",
        "from subprocess import check_output as read; read(['git'])",
        "import subprocess as sub; sub.Popen(['git'])",
        "start = subprocess.run; start(['git'])",
        "threading.Thread(target=webbrowser.open, args=(page,))",
        "os.system('git log')",
        "os.execvp('git', ['git'])",
        "os.spawnlp(os.P_WAIT, 'git')",
        "os.posix_spawnp('git', ['git'], {})",
        "os.startfile('page.html')",
        "import pty; pty.spawn('bash')",
        "await asyncio.create_subprocess_shell('git log')",
        "await loop.subprocess_exec(Protocol, 'git')",
        "multiprocessing.Process(target=work).start()",
        "from multiprocessing import get_context; get_context('spawn').Pool()",
        "concurrent.futures.ProcessPoolExecutor()",
        "await keys.connect(host, proxy_command=['ssh', '-W', host])",
        "command = [sys.executable, '-u', script]",
        "command = [python, '-m', 'pip']",
        "command = ('sh', '-c', line)",
        "command = 'python3 -m vm.agent'",
        "template = 'import subprocess; subprocess.run(command)'",
    ],
)
def test_a_new_place_would_be_noticed(line):
    assert list_places(f"async def planted():\n    {line}\n")


def test_an_annotation_or_a_docstring_is_no_place():
    source = (
        '"""``python -m x``"""\ndef run(child: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:\n    "python -m"'
    )
    assert list_places(source) == {}
