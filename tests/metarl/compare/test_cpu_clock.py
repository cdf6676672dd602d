"""The CPU time of training, over interruptions."""

from metarl.compare.work import CpuClock, cpu_seconds


def test_the_clock_goes_on_where_it_stopped_and_waits_for_a_run(tmp_path):
    path = tmp_path / "cost.json"
    with CpuClock(path):
        pass
    assert cpu_seconds(path) is None
    (tmp_path / "config.json").write_text("{}")
    path.write_text('{"cpu_seconds": 7.5}')
    with CpuClock(path, every=0.01) as clock:
        while not clock._stop.wait(0.02) and cpu_seconds(path) == 7.5:
            sum(range(10_000))
        assert cpu_seconds(path) > 7.5  # written while it runs
    assert cpu_seconds(path) < 60
