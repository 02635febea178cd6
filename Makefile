# Everything is done by make.py, which also works without make: python3 make.py COMMAND
PYTHON ?= python3

help:
	@$(PYTHON) make.py

# make test PART=lint|types|unit, make test ARGS="-k heun", make install TORCH=cpu|cuda TORCH_INDEX=URL
install demo test lint types unit format notebooks docs clean:
	@$(PYTHON) make.py $@ $(PART) $(if $(ARGS),-- $(ARGS))

.PHONY: help install demo test lint types unit format notebooks docs clean
