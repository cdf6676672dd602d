"""Draw the learning curves of runs: ``python -m experiments.plot RUN [RUN ...] --output FILE.png``.

Runs of one method and preset are one line, the mean over their seeds. Where such runs differ in
another setting they are lines of their own, and the legend names the setting.
"""

from metarl.run.plot import main

if __name__ == "__main__":
    main(program=f"python -m {__package__}.plot")
