"""The estimated rest of a run, from logs of many forms at half of their time."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from lk_jupyter.runs.eta import RunEta, estimate_rest
from lk_jupyter.text.scalars import ScalarParser

#: Seconds of a step, which take up to half longer or shorter.
STEP = 2.0


def tqdm(steps):
    return [
        (1, f"\r{100 * i // steps:3d}%|██▌       | {i}/{steps} [00:01<00:02, 1.2it/s]") for i in range(1, steps + 1)
    ]


def slow_start(steps):
    """Steps of which the first ones take ten times longer, such as compilation."""
    return [(10 if i <= 3 else 1, f"step {i}/{steps} loss: {1 / i:.3f}\n") for i in range(1, steps + 1)]


def epochs(steps):
    return [(20, f"Epoch {i}/{steps // 20} - loss: {1 / i:.3f}\n") for i in range(1, steps // 20 + 1)]


def keras(steps):
    """Keras: an epoch starts with its line, its batches start again."""
    count, lines = 5, []
    for epoch in range(1, count + 1):
        lines.append((0, f"Epoch {epoch}/{count}\n"))
        lines += [(1, f"\r{i}/{steps} ━━━━ 1s 2ms/step - loss: 0.{i}") for i in range(1, steps + 1)]
    return lines


def validated(steps):
    """Epochs with a validation after the batches, which has another count."""
    count, lines = 6, []
    for epoch in range(1, count + 1):
        lines += [(1, f"epoch {epoch}/{count} batch {i}/{steps} loss 0.3\n") for i in range(1, steps + 1)]
        lines += [(0.5, f"val {i}/{steps // 5}\n") for i in range(1, steps // 5 + 1)]
    return lines


def rare(steps):
    """Lines of each tenth step."""
    return [(10, f"iteration {i} of {steps}: loss=0.5 ({i}/{steps})\n") for i in range(10, steps + 1, 10)]


FORMS = (tqdm, slow_start, epochs, keras, validated, rare)


def estimate_at_half(form, seed):
    """Return the estimated rest at half of the time, and the true rest, in seconds."""
    generator = random.Random(seed)
    lines, moment = [], generator.uniform(0, 60)  # loading takes time before the first step
    for seconds, text in form(generator.choice((60, 100, 240))):
        moment += sum(STEP * generator.uniform(0.5, 1.5) for _ in range(int(seconds))) + STEP * (seconds % 1)
        lines.append((moment, text))
    half, parser = moment / 2, ScalarParser()
    for seconds, text in lines:
        if seconds <= half:
            parser.feed(text, seconds)
    eta = estimate_rest(parser.rate, Decimal(1), half)
    return eta and eta.seconds, moment - half


def test_at_half_of_the_time_the_estimate_is_within_a_fifth_in_18_of_20_logs(record_property):
    near = 0
    for number in range(20):
        estimate, rest = estimate_at_half(FORMS[number % len(FORMS)], number)
        near += estimate is not None and abs(estimate - rest) <= 0.2 * rest
    record_property("within a fifth", f"{near} of 20")
    print(f"estimates within 20 % at half of the time: {near} of 20")
    assert near >= 18


def test_the_estimate_has_words_and_a_price_only_if_the_price_is_known():
    assert RunEta(7800, Decimal("3.4"), 5, 10).label == "about 2 h 10 min left · about 3.40 credits more"
    assert RunEta(7800, None, 5, 10).label == "about 2 h 10 min left"


@pytest.mark.parametrize("text", ["", "loss: 0.3\n", "step 1/10\n", "step 10/10\n", "2026/11/30\n"])
def test_without_two_steps_and_after_the_last_there_is_no_estimate(text):
    parser = ScalarParser()
    parser.feed(text, 5.0)
    assert estimate_rest(parser.rate, None, 6.0) is None
