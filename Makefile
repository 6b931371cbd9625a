# make demo   set everything up, train MixCycle on the embedded corpus, self-evaluate, show an HTML report
# make test   set everything up, run lint, doctests and tests
# make study  run the study's rows that are not there yet, then write its tables
# make bench  time us beside the peers
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test lint study bench clean

$(VENV)/.installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip setuptools wheel
	$(RUN) -m pip install --quiet -r requirements.txt
	$(RUN) -m pip install --quiet --no-deps -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.txt
	$(RUN) -m pip install --quiet -r requirements-test.txt
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-test requirements-bench.txt
	$(RUN) -m pip install --quiet -r requirements-bench.txt
	touch $@

demo: $(VENV)/.installed
	$(RUN) -m sb_ext.demo

test: $(VENV)/.installed-test lint
	$(RUN) -m pytest -q -n 2

lint: $(VENV)/.installed-test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

study: $(VENV)/.installed
	$(RUN) -m sb_ext.study run --workers 2; failed=$$?; $(RUN) -m sb_ext.study table; exit $$failed

# PUBLIC_MIXCYCLE, PUBLIC_SANET: checkouts of github.com/ertug/MixCycle and github.com/fjiang9/sanet; MODEL: a trained model's folder; SPEECH: a LibriSpeech folder
bench: $(VENV)/.installed-bench
	$(RUN) benchmarks/mixcycle_step.py --compile $(if $(PUBLIC_MIXCYCLE),--public_mixcycle $(PUBLIC_MIXCYCLE))
	$(RUN) benchmarks/losses.py $(if $(PUBLIC_MIXCYCLE),--public_mixcycle $(PUBLIC_MIXCYCLE))
	$(RUN) benchmarks/sinkpit.py
	$(RUN) benchmarks/dptnet_step.py
	$(RUN) benchmarks/attractors.py $(if $(PUBLIC_SANET),--public_sanet $(PUBLIC_SANET))
	$(RUN) benchmarks/perceptual.py
	$(RUN) benchmarks/evaluation.py $(if $(SPEECH),--speech_folder $(SPEECH))
	$(RUN) benchmarks/data.py
	$(RUN) benchmarks/scale.py
	$(RUN) benchmarks/inference.py $(if $(MODEL),--model $(MODEL)) $(if $(SPEECH),--librispeech_folder $(SPEECH))
	$(if $(and $(MODEL),$(SPEECH)),$(RUN) benchmarks/remixes.py --librispeech_folder $(SPEECH) $(MODEL))
	$(RUN) benchmarks/endurance.py

clean:
	rm -rf $(VENV) results
