"""The shell for IPython's syntax in a run: ``get_ipython()``, with magics that are useful in a run.

Any further magic is IPython's, if the run has IPython.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from collections.abc import Callable
    from typing import Any

_WORDS = re.compile(r"\$\$(?P<escaped>\w+)|\$(?P<name>[A-Za-z_]\w*)|\{(?P<expression>[^{}\n]+)\}")


#: Backends of matplotlib that show nothing, anywhere.
_WITHOUT_PICTURE = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}


class MagicError(Exception):
    """A line that cannot be run here."""


def _make_command_magic(name: str) -> Callable[[Shell, str], None]:
    """Return a magic that is a command of the shell."""
    return lambda shell, line: shell.system(name + " " + line)


class Shell:
    """Replaces IPython's shell for translated code."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.user_ns = namespace

    def system(self, command: str) -> None:
        """Run a command in a shell; the command prints to the output of the code."""
        sys.stdout.flush()
        sys.stderr.flush()
        code = subprocess.call(self._expand_names(command), shell=True, env=_build_environment())
        self.user_ns["_exit_code"] = code

    system_piped = system_raw = system

    def getoutput(self, command: str, split: bool = True, **_: Any) -> Any:
        """Run a command in a shell and return the printed lines."""
        done = subprocess.run(
            self._expand_names(command),
            shell=True,
            env=_build_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            check=False,
        )
        self.user_ns["_exit_code"] = done.returncode
        return done.stdout.splitlines() if split else done.stdout

    def run_line_magic(self, name: str, line: str = "", **_: Any) -> Any:
        """Run a line magic."""
        method = getattr(self, "line_" + name, None)
        if method is None:
            return self._require_shell("%" + name).run_line_magic(name, line)
        return method(line if name in ("time", "timeit") else self._expand_names(line))

    def run_cell_magic(self, name: str, line: str, cell: str) -> Any:
        """Run a cell magic."""
        method = getattr(self, "cell_" + name, None)
        if method is None:
            return self._require_shell("%%" + name).run_cell_magic(name, line, cell)
        return method(line, cell)

    def magic(self, line: str) -> Any:
        """Run a magic, as older code does."""
        name, _, rest = line.partition(" ")
        return self.run_line_magic(name, rest)

    def line_time(self, line: str) -> Any:
        """Run a statement or an expression, and print the time taken."""
        return self._run_and_print_times(self._compile_code(line))

    def cell_time(self, line: str, cell: str) -> Any:
        """Run the lines below, and print the time that they took."""
        if line.strip():
            self._run_and_print_times(self._compile_code(line))
        return self._run_and_print_times(self._compile_code(cell, _find_caller_line() + 1))

    def line_timeit(self, line: str) -> Any:
        """Run a statement many times, and print the time of one execution."""
        options, rest = _parse_options(line, "n:r:t:c:p:qo")
        return _measure_loops(options, "pass", rest, self.user_ns)

    def cell_timeit(self, line: str, cell: str) -> Any:
        """Run the lines below many times; the line is the setup."""
        options, rest = _parse_options(line, "n:r:t:c:p:qo")
        return _measure_loops(options, rest or "pass", cell, self.user_ns)

    def line_pip(self, line: str) -> None:
        """Run pip in this interpreter."""
        sys.stdout.flush()
        subprocess.call([sys.executable, "-m", "pip", *shlex.split(line)], env=_build_environment())
        import importlib

        importlib.invalidate_caches()

    def line_cd(self, line: str) -> None:
        """Change the folder."""
        os.chdir(os.path.expanduser(line.strip().strip("'\"") or "~"))
        print(os.getcwd())

    def line_pwd(self, _: str) -> str:
        """Return the folder."""
        return os.getcwd()

    def line_env(self, line: str) -> Any:
        """Set a variable of the environment, or return one variable or all."""
        name, sign, value = line.strip().partition("=" if "=" in line else " ")
        if sign:
            os.environ[name.strip()] = value.strip()
            print("env: {}={}".format(name.strip(), value.strip()))
            return None
        return os.environ[name] if name else dict(os.environ)

    line_set_env = line_env

    def line_matplotlib(self, line: str) -> None:
        """Show figures in the notebook, also where the backend would open windows."""
        from . import show

        if shell := show.shell():
            words = line.split()
            if set(words) & {"-l", "--list"} or set(words[:1]) & _WITHOUT_PICTURE:
                shell.find_line_magic("matplotlib")(line)
            else:
                shell.enable_matplotlib("inline")
            return
        import matplotlib

        matplotlib.use("module://{}.figures".format(__package__))

    def line_autoreload(self, line: str) -> None:
        """Do nothing: the modules of a run do not change."""

    def line_load_ext(self, line: str) -> None:
        """Load an extension of IPython, unless useless in a run."""
        if line.strip() != "autoreload":
            self._require_shell("%load_ext " + line.strip()).extension_manager.load_extension(line.strip())

    line_reload_ext = line_load_ext

    def line_run(self, line: str) -> None:
        """Run a file of Python in this namespace, with the arguments after the file name."""
        words = shlex.split(line)
        path = os.path.abspath(os.path.expanduser(words[0]))
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
        before, sys.argv = sys.argv, words
        try:
            exec(code, self.user_ns)
        finally:
            sys.argv = before

    line_ls = _make_command_magic("ls")
    line_cat = _make_command_magic("cat")
    line_mkdir = _make_command_magic("mkdir")
    line_cp = _make_command_magic("cp")
    line_mv = _make_command_magic("mv")
    line_rm = _make_command_magic("rm")

    def cell_script(self, line: str, cell: str) -> None:
        """Give the lines below to a program."""
        sys.stdout.flush()
        sys.stderr.flush()
        words = shlex.split(line)
        subprocess.run(words, input=cell.encode(), env=_build_environment(), check=True)

    def cell_bash(self, line: str, cell: str) -> None:
        """Run the lines below in bash."""
        self.cell_script("bash " + line, cell)

    def cell_sh(self, line: str, cell: str) -> None:
        """Run the lines below in the plain shell."""
        self.cell_script("sh " + line, cell)

    def cell_python(self, line: str, cell: str) -> None:
        """Run the lines below in a process of this interpreter."""
        self.cell_script(shlex.quote(sys.executable) + " - " + line, cell)

    cell_python3 = cell_python

    def cell_writefile(self, line: str, cell: str) -> None:
        """Write the lines below to a file."""
        words = shlex.split(line)
        with open(os.path.expanduser(words[-1]), "a" if "-a" in words[:-1] else "w", encoding="utf-8") as file:
            file.write(cell)
        print("Writing {}".format(words[-1]))

    cell_file = cell_writefile

    def cell_capture(self, line: str, cell: str) -> None:
        """Run the lines below, and capture printed text and outputs."""
        import contextlib
        import io

        from . import show

        code = self._compile_code(cell, _find_caller_line() + 1)
        if show.shell():
            self._capture_with_ipython(line, cell, code)
            return
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self._run_code(code)
        names = [word for word in line.split() if not word.startswith("-")]
        if names:
            captured = type("Captured", (), {"stdout": out.getvalue(), "stderr": err.getvalue()})()
            self.user_ns[names[0]] = captured

    def _capture_with_ipython(self, line: str, cell: str, code: tuple[types.CodeType, types.CodeType | None]) -> None:
        """Capture as IPython does."""
        from IPython.core.displayhook import DisplayHook
        from IPython.core.magic_arguments import parse_argstring
        from IPython.core.magics.execution import ExecutionMagics
        from IPython.utils.capture import capture_output

        from . import show

        arguments = parse_argstring(ExecutionMagics.capture, line)
        ends = DisplayHook.semicolon_at_end_of_expression(cell)
        with capture_output(not arguments.no_stdout, not arguments.no_stderr, not arguments.no_display) as captured:
            value = self._run_code(code)
            if value is not None and not ends:
                (show.show_result if arguments.no_display else sys.displayhook)(value)
            show.shell().end_cell()
        if arguments.output and ends:
            self.user_ns.pop(arguments.output, None)
        elif arguments.output:
            self.user_ns[arguments.output] = captured

    def cell_html(self, line: str, cell: str) -> None:
        """Show the lines below as HTML."""
        _publish_text("text/html", cell)

    def cell_markdown(self, line: str, cell: str) -> None:
        """Show the lines below as Markdown."""
        _publish_text("text/markdown", cell)

    def cell_latex(self, line: str, cell: str) -> None:
        """Show the lines below as LaTeX."""
        _publish_text("text/latex", cell)

    def cell_svg(self, line: str, cell: str) -> None:
        """Show the lines below as SVG."""
        _publish_text("image/svg+xml", cell)

    def cell_javascript(self, line: str, cell: str) -> None:
        """Run the lines below in the browser."""
        _publish_text("application/javascript", cell)

    cell_js, cell_HTML, cell_SVG = cell_javascript, cell_html, cell_svg  # noqa: N815

    def _expand_names(self, text: str) -> str:
        """Replace ``{expressions}`` and ``$names`` by values, as IPython does; leave unknown names unchanged."""

        def value(match: re.Match[str]) -> str:
            if match["escaped"]:
                return "$" + match["escaped"]
            try:
                if match["name"]:
                    return str(self.user_ns[match["name"]])
                return str(eval(match["expression"], self.user_ns))
            except Exception:
                return match[0]

        return _WORDS.sub(value, text)

    def _compile_code(self, text: str, line: int = 1) -> tuple[types.CodeType, types.CodeType | None]:
        """Compile code; return the statements and the last expression separately."""
        import ast

        from ..script import run as driver

        tree: Any = ast.parse("\n" * (line - 1) + text, driver._file)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = compile(ast.Expression(tree.body.pop().value), driver._file, "eval")
        return compile(tree, driver._file, "exec"), last

    def _run_code(self, code: tuple[types.CodeType, types.CodeType | None]) -> Any:
        statements, last = code
        exec(statements, self.user_ns)
        return eval(last, self.user_ns) if last else None

    def _run_and_print_times(self, code: tuple[types.CodeType, types.CodeType | None]) -> Any:
        wall, cpu = time.perf_counter(), os.times()
        try:
            return self._run_code(code)
        finally:
            spent, took = os.times(), time.perf_counter() - wall
            user, system = spent[0] - cpu[0], spent[1] - cpu[1]
            print(
                "CPU times: user {}, sys: {}, total: {}\nWall time: {}".format(
                    *map(_format_seconds, (user, system, user + system, took))
                )
            )

    @staticmethod
    def _require_shell(name: str) -> Any:
        """Return IPython's shell. Raises MagicError without IPython, with the fix."""
        from . import show

        if not show.shell():
            raise MagicError(
                name + " is a magic of IPython, which the run doesn't have: add -r ipython, or write plain Python."
            )
        return show.shell()


def _build_environment() -> dict[str, str]:
    """Return the environment for commands, which find the tools of this interpreter first."""
    tools = os.path.dirname(sys.executable)
    return {**os.environ, "PATH": tools + os.pathsep + os.environ.get("PATH", "")}


def _parse_options(line: str, letters: str) -> tuple[dict[str, str], str]:
    """Split ``-n 10 -r 3 code`` into options and code."""
    import getopt

    words = re.findall(r"\S+\s*", line)
    options, rest = getopt.getopt([word.strip() for word in words], letters)
    return dict(options), "".join(words[len(words) - len(rest) :]).strip()


def _measure_loops(options: dict[str, str], setup: str, code: str, namespace: dict[str, Any]) -> float | None:
    import timeit

    timer = timeit.Timer(code, setup, globals=namespace)
    number = int(options.get("-n", 0)) or timer.autorange()[0]
    rounds = int(options.get("-r", 7))
    runs = [seconds / number for seconds in timer.repeat(rounds, number)]
    mean = sum(runs) / len(runs)
    deviation = (sum((run - mean) ** 2 for run in runs) / len(runs)) ** 0.5
    if "-q" not in options:
        text = "{} ± {} per loop (mean ± std. dev. of {} runs, {:,} loops each)"
        print(text.format(_format_seconds(mean), _format_seconds(deviation), rounds, number))
    return mean if "-o" in options else None


def _format_seconds(seconds: float) -> str:
    for unit, size in (("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return "{:.3g} {}".format(seconds / size, unit)
    return "{:.3g} ns".format(seconds / 1e-9)


def _publish_text(kind: str, text: str) -> None:
    from . import show

    show.publish_display_data({kind: text, "text/plain": text})


def _find_caller_line() -> int:
    """Return the line of the author's file that calls a magic."""
    from ..script import run as driver

    frame: Any = sys._getframe(1)
    while frame and frame.f_code.co_filename != driver._file:
        frame = frame.f_back
    return frame.f_lineno if frame else 0
