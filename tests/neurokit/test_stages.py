"""Time by stage."""

import time

from neurokit.stages import stage, timed


def test_a_stage_that_runs_twice_is_summed_and_others_are_apart():
    with timed() as seconds:
        for _ in range(2):
            with stage("a"):
                time.sleep(0.02)
        with stage("b"):
            pass
    assert 0.04 <= seconds["a"] < 1.0
    assert seconds["b"] < 0.02


def test_a_stage_outside_of_a_measurement_is_no_error():
    with stage("alone"):
        pass
    with timed() as seconds:
        pass
    assert seconds == {}
