"""Talking to models from a notebook."""

import pandas as pd
import pytest
import upstream_stub
from PIL import Image

from lk_jupyter.magics._engine.completion import complete
from lk_jupyter.magics._output import chat


@pytest.fixture
def stub(upstream):
    return upstream


@pytest.fixture
def ask(talking, run_cell):
    """A notebook that is signed in to a cloud with an upstream; gives what a cell shows."""
    return run_cell


@pytest.fixture
def live(kernel, talkative, cloud, upstream):
    """A kernel that is signed in to that cloud."""
    kernel.run(f"%env LK_BASE_URL={talkative.base_url}\n%env LK_API_KEY={talkative.api_key}")
    yield kernel
    kernel.run(f"%env LK_BASE_URL={cloud.base_url}\n%env LK_API_KEY={cloud.api_key}")


def last(stub):
    return stub.requests[-1]["messages"]


def test_models_are_listed_with_their_prices_and_what_they_read_at_once(ask, shell):
    shown = ask("%lk_models --save models")
    rows = [line.split() for line in shown.splitlines()]
    assert ["local/echo", "chat", "0.10", "0.40", "131,072"] in rows
    assert ["up/large", "chat", "0.60", "2.20", "unknown"] in rows
    frame = shell.user_ns["models"].set_index("model")
    assert frame.prompt["local/echo"] == pytest.approx(0.1)
    assert frame.context["local/echo"] == 131_072
    assert "up/large" not in ask("%lk_models echo")
    assert "Near: local/echo" in ask("%lk_models ecko")
    assert complete("lk_chat", "local/e") == ("local/e", ["local/echo"])


def test_an_answer_is_shown_with_its_tokens_time_and_cost_and_saved(ask, shell):
    shown = ask("%%lk_chat up/large --save answer\none two three")
    text, line = shown.splitlines()
    assert text == "ONETWOTHREE"
    assert line.startswith("✓ answered · up/large · 7 + 5 tokens · ")
    assert line.endswith(" s · under 0.0001 credits")
    answer = shell.user_ns["answer"]
    assert (str(answer), answer.usage.completion_tokens, answer.finish_reason) == ("ONETWOTHREE", 5, "stop")
    assert f"{answer.cost:f}" == "0.0000152"


def test_the_talk_goes_on_with_the_model_and_instructions_until_a_new_one_begins(ask, stub):
    ask('%%lk_chat up/large --system "Be brief."\none')
    ask("%%lk_chat\ntwo")
    roles = [(message["role"], message["content"]) for message in last(stub)]
    assert roles == [("system", "Be brief."), ("user", "one"), ("assistant", "ONE"), ("user", "two")]
    ask("%%lk_chat --new\nthree")
    assert [message["content"] for message in last(stub)] == ["three"]


def test_variables_are_filled_in_and_other_braces_stay(ask, shell, stub):
    shell.user_ns["table"] = pd.DataFrame({"x": range(100)})
    shell.user_ns["share"] = 0.256
    ask('%%lk_chat up/large\n{share:.1%} of {table.x[3]} {{share}} {"a": {1}}')
    assert last(stub)[-1]["content"] == '25.6% of 3 {share} {"a": {1}}'
    ask("%%lk_chat\n{table}")
    assert last(stub)[-1]["content"].count("\n") == 100
    shown = ask("%%lk_chat\n{tabel}")
    assert "Unknown variable 'tabel' in the prompt. Nothing was sent. Did you mean {table}?" in shown
    assert len(stub.requests) == 2


def test_images_go_beside_the_text(ask, shell, stub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (2, 2)).save("dot.png")
    shell.user_ns["drawn"] = Image.new("RGB", (2, 2))
    stub.answer = lambda _: (400, {"error": {"message": "up/large reads text only"}})
    shown = ask("%%lk_chat up/large --image dot.png drawn https://example.org/a.jpg\nWhat is it?")
    assert "BadRequest: up/large reads text only" in shown
    text, *images = last(stub)[-1]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    urls = [part["image_url"]["url"][:22] for part in images]
    assert urls == ["data:image/png;base64,", "data:image/png;base64,", "https://example.org/a."]
    assert "no file and no variable 'nothing.png'" in ask("%%lk_chat --image nothing.png\nx")
    (tmp_path / "a.txt").write_text("x")
    assert "'a.txt' isn't an image" in ask("%%lk_chat --image a.txt\nx")


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("%%lk_chat\nhello", "Name a model: %%lk_chat MODEL. Models: local/echo"),
        ("%%lk_chat local/ecko\nhello", "Unknown model or deployment 'local/ecko'. Near: local/echo."),
        ("%%lk_chat ECHO\nhello", "Unknown model or deployment 'ECHO'."),
        ("%%lk_chat local/hash-embedding\nhello", "local/hash-embedding is for %lk_embed."),
        ("%%lk_chat local/echo\n ", "The cell is empty"),
        ("%%lk_chat local/echo --max-tokens 70000\nhello", "--max-tokens must be 65536 or less"),
        ("%%lk_chat local/echo --save a-b\nhello", "--save takes a variable name"),
        ("%%lk_chat local/echo\n" + "long " * 132_000, "The prompt is too long: The context of local/echo is 131072"),
    ],
)
def test_a_slip_is_one_line_with_the_next_step(ask, cell, told):
    shown = ask(cell)
    assert told in shown
    assert "Traceback" not in shown


def test_what_looks_like_a_key_is_not_sent(ask, stub):
    key = "lk_" + "a1b2c3d4" * 5
    shown = ask(f"%%lk_chat up/large\nWhat is wrong with {key}?")
    assert "The prompt seems to contain a secret: line 1" in shown
    assert "lk_a1b2" not in shown
    assert not stub.requests
    ask(f"%%lk_chat up/large --allow-secrets\nWhat is wrong with {key}?")
    assert len(stub.requests) == 1


def test_an_answer_that_breaks_off_is_shown_as_far_as_it_came_and_raises(ask, stub, shell):
    stub.cut = {"error": {"message": "out of memory"}}
    shown = ask("%%lk_chat up/large --save answer\none two")
    assert shown.startswith("ONETWO\n✗ failed · up/large · tokens unknown")
    assert "ServerError: out of memory" in shown
    assert str(shell.user_ns["answer"]) == "ONETWO"


def test_an_answer_at_its_token_limit_says_so(ask):
    shown = ask("%%lk_chat local/echo --max-tokens 3\nhello")
    assert "reached its maximum length. Allow more: --max-tokens" in shown


def test_reasoning_is_told_apart_and_its_markup_is_not_followed():
    from lk_jupyter.inference.conversation import ChatReply  # noqa: PLC0415

    said = chat.ChatMarkdown(ChatReply("m", text="**4**", reasoning="2 + 2\n</details><b>"))
    assert str(said) == "[reasoning]\n2 + 2\n</details><b>\n[answer]\n**4**"
    shown = said._repr_mimebundle_()["text/html"]
    assert "<summary>Reasoning, 4 words</summary>" in shown
    assert "2 + 2\n&lt;/details&gt;&lt;b&gt;" in shown
    assert "<strong>4</strong>" in shown


def test_an_answer_is_never_published_as_markdown_which_the_page_would_follow(live, upstream, monkeypatch):
    monkeypatch.setattr(upstream_stub, "said", lambda _: "**a**\t<img\tsrc=x\tonerror=alert(1)>")
    cell = live.run("%%lk_chat up/large\nread that page")
    assert not [output for output in rich(cell) if "text/markdown" in output["data"]]
    shown = "".join(output["data"].get("text/html", "") for output in rich(cell))
    assert "<strong>a</strong>\t&lt;img\tsrc=x\tonerror=alert(1)&gt;" in shown
    assert "<img" not in shown


def rich(cell):
    return [content for kind, content in cell.messages if kind in {"display_data", "update_display_data"}]


def texts(cell):
    return [content["data"]["text/plain"] for content in rich(cell)]


def test_an_answer_grows_in_one_output_above_its_receipt(live):
    cell = live.run("%%lk_chat local/echo\n**bold** " + "word " * 9000)
    said, line = cell.shown
    assert said.startswith("I am local/echo, a stand-in that repeats. You said: **bold** word")
    assert line.startswith("✓ answered · local/echo · ")
    assert "tokens/s" in line
    assert "<strong>bold</strong>" in rich(cell)[-2]["data"]["text/html"]
    (facts,) = cell.metadata
    assert facts["lk_jupyter"]["state"] == "answered"
    assert facts["lk_jupyter"]["usage"]["completion_tokens"] > 9000
    assert len(rich(cell)) < 100


def test_an_interrupt_stops_the_answer_and_keeps_what_came(live, upstream):
    upstream.hold.clear()
    interrupt = live.interrupt_when(lambda cell: "ONE" in texts(cell))
    cell = live.run("%%lk_chat up/large --new --save answer\none two", on=interrupt)
    assert cell.error["evalue"] == "interrupted; the partial answer is kept."
    assert cell.shown[0] == "ONE"
    assert cell.shown[1].startswith("■ stopped · up/large · tokens unknown")
    assert live.value("answer.text") == "'ONE'"
    upstream.hold.set()
    live.run("%%lk_chat\nthree")
    assert [message["content"] for message in last(upstream)] == ["one two", "ONE", "three"]


def test_a_deployment_is_shown_waking_up_and_answers(live, make_cloud):
    slow = make_cloud("--clock-speed", "4")
    live.run(f"%env LK_BASE_URL={slow.base_url}\n%env LK_API_KEY={slow.api_key}")
    made = slow.client.inference.create({"hf_model_id": "local/echo", "gpu_type": "a100"})
    short = made.deployment_id[:8]
    cell = live.run(f"%%lk_chat {short}\nhello")
    assert cell.error is None, cell.error
    assert any(text.startswith("◌ waking up · ") for text in texts(cell)), texts(cell)
    assert "You said: hello" in cell.shown[0]
    assert "no cost beyond the price of the GPUs" in cell.shown[1]
    slow.client.inference.stop({"deployment_id": made.deployment_id})
    error = live.run(f"%%lk_chat {short}\nhello").error
    assert "was stopped. Start it again: %lk_deploy local/echo" in error["evalue"]
