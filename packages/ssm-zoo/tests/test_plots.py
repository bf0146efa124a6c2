import numpy as np
import pytest

from ssm_zoo import plots
from ssm_zoo.tasks import BITS_PER_BYTE


def metrics(steps=3, d_state=8):
    return [
        {"step": k, "elapsed": 0.5 * k, "eval_accuracy": None if k == 2 else 0.1 * k, "d_state": [d_state, 2 * d_state],
         "seconds_per_step": 0.01 * k}
        for k in range(1, steps + 1)
    ]  # fmt: skip


def cut(step, layer, status="cut", after=2):
    hsv = [8.0, 4.0, 2.0, 1e-9]
    kept = hsv[:after] if status == "cut" else []
    return {"step": step, "layer": layer, "status": status, "before": 4, "after": after, "hsv": hsv, "hsv_after": kept}


def panels(figure):
    return figure.get_axes()


def test_spectra_have_a_panel_per_layer_and_a_legend_entry_per_cut():
    figure = plots.spectra([cut(1, "a"), cut(5, "a", "refused"), cut(1, "b", "kept")])

    a, b = panels(figure)
    assert (a.get_title(), b.get_title()) == ("a", "b")
    assert [text.get_text() for text in a.get_legend().get_texts()] == ["1: 4 → 2", "5: 4 refused"]
    assert a.get_yscale() == "log"


def test_spectra_are_relative_and_leave_rounding_out():
    figure = plots.spectra([cut(1, "a")])

    line = panels(figure)[0].get_lines()[0]
    np.testing.assert_allclose(line.get_ydata(), [1, 0.5, 0.25])


def test_learning_shows_only_the_lines_that_were_evaluated():
    figure = plots.learning({"run": [metrics()]})

    accuracy, states = panels(figure)
    np.testing.assert_allclose(accuracy.get_lines()[0].get_xydata(), [[0.5, 10], [1.5, 30]])
    np.testing.assert_allclose(states.get_lines()[0].get_ydata(), [12, 12, 12])


def test_pace_is_in_milliseconds():
    line = panels(plots.pace({"run": [metrics()]}))[0].get_lines()[0]

    np.testing.assert_allclose(line.get_ydata(), [10, 20, 30])


def test_a_name_has_one_colour_and_one_legend_entry_whatever_its_seeds():
    figure = plots.pace({"full": [metrics(), metrics()], "small": [metrics()]})

    (panel,) = panels(figure)
    first, second, third = (line.get_color() for line in panel.get_lines())
    assert first == second != third
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["full", "small"]


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_summary_is_written_as_png(tmp_path, seeds):
    runs = {name: [metrics()] * seeds for name in ("full", "reduced", "small")}
    accuracies = {name: [0.9] * seeds for name in runs}

    file = plots.save(plots.summary(runs, accuracies), tmp_path / "new" / "summary.png")

    assert file.read_bytes().startswith(b"\x89PNG")
    assert file.stat().st_size > 10_000


def text_metrics():
    return [
        {"step": k, "elapsed": float(k), "loss": 2.0 / k, "accuracy": 0.1, "eval_loss": 1.0 / k if k % 2 else None,
         "eval_accuracy": 0.1, "d_state": [16, 16], "seconds_per_step": 0.1}
        for k in range(1, 5)
    ]  # fmt: skip


def test_learning_a_text_shows_bits_of_batches_and_held_out_text():
    (panel,) = panels(plots.learning({"run": [text_metrics()]}, BITS_PER_BYTE))

    batches, held_out = panel.get_lines()
    np.testing.assert_allclose(batches.get_ydata(), 2 / np.log(2) / np.arange(1, 5))
    np.testing.assert_allclose(held_out.get_xydata(), [[1, 1 / np.log(2)], [3, 1 / np.log(2) / 3]])
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["training batches", "held out"]
    assert panel.get_ylabel() == "bits per byte"


def test_learning_a_text_shows_the_states_if_they_change():
    metrics = text_metrics()
    metrics[-1]["d_state"] = [8, 8]

    assert len(panels(plots.learning({"run": [metrics]}, BITS_PER_BYTE))) == 2
