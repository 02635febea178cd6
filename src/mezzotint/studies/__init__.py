"""Studies on top of models and runs: doctor, report, tune, sweep."""
