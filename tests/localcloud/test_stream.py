"""The output stream: its bytes, its order, its replay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx

ENDLESS = "import time\nprint('up')\ntime.sleep(600)"


def test_a_clean_run_streams_the_bytes_of_the_protocol(api):
    run = api.start("import os\nos.write(1, b'epoch 1\\n')")
    assert b"".join(api.stream(run)) == (
        b'data: {"output":{"content":"epoch 1\\n"}}\n\ndata: {"jobFinished":{"job":{"result":{"returnCode":0}}}}\n\n'
    )


def test_code_that_fails_ends_the_stream_with_its_exit_code_as_text(api):
    run = api.start("raise SystemExit(3)")
    assert b"".join(api.stream(run)) == b'data: {"jobFinished":{"job":{"result":{"returnCode":"3"}}}}\n\n'


def test_an_end_that_is_not_the_codes_own_carries_its_reason(api):
    run = api.start(ENDLESS)
    api.first_line(run)
    api.post(f"/workloads/abort/{run}")
    assert list(api.events(run))[-1:] == [{"jobFinished": {"job": {"result": {"error": "aborted on request"}}}}]


def test_two_streams_are_joined_in_the_order_written(api):
    code = "import sys\nfor i in range(2000):\n    print(i, file=(sys.stdout, sys.stderr)[i % 2])"
    run = api.start(code)
    assert api.output(run).split() == [str(i) for i in range(2000)]
    record = api.ended(run)
    assert record["stdout"].split() == [str(i) for i in range(0, 2000, 2)]
    assert record["stderr"].split() == [str(i) for i in range(1, 2000, 2)]
    assert record["combined_output"].split() == [str(i) for i in range(2000)]


def test_output_without_a_line_end_comes_at_once(api):
    run = api.start("import time\nprint('half', end='')\ntime.sleep(600)")
    assert next(api.events(run)) == {"output": {"content": "half"}}
    api.post(f"/workloads/abort/{run}")


def test_many_readers_see_all_of_a_run_early_and_late(api):
    run = api.start("import time\nfor i in range(100):\n    print(i)\n    time.sleep(0.005)")
    with ThreadPoolExecutor(8) as readers:
        texts = list(readers.map(api.output, [run] * 8))
    assert {*texts, api.output(run)} == {"".join(f"{i}\n" for i in range(100))}


def test_a_character_written_in_two_parts_arrives_whole(api):
    parts = "(b'gr\\xc3', b'\\xbcn', b'\\xff!\\n')"
    code = f"import os, time\nfor part in {parts}:\n    os.write(1, part)\n    time.sleep(0.05)"
    assert api.output(api.start(code)) == "grün\ufffd!\n"


def test_colours_and_carriage_returns_pass_unchanged(api):
    assert api.output(api.start(r"print('\x1b[32mok\x1b[0m\r\u2028', end='\r\n')")) == "\x1b[32mok\x1b[0m\r\u2028\r\n"


def test_a_flood_is_complete_and_lets_others_in(api):
    run = api.start("for i in range(100000):\n    print('line number', i)")
    with ThreadPoolExecutor(1) as other:
        flood = other.submit(api.output, run)
        assert api.get("/user/org").status_code == 200
    assert flood.result() == "".join(f"line number {i}\n" for i in range(100000))


def test_the_stream_of_an_unknown_run_is_404(api):
    answer = httpx.post(f"{api.cloud.base_url}/api/v1/stream/nobody")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Stream not found"})
