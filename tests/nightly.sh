#!/usr/bin/env bash
# What takes too long for every change, each in an environment of its own that is thrown away:
#
#   tests/nightly.sh audit    known weaknesses of the tested versions, as the Python Packaging Advisory Database has them
#   tests/nightly.sh lowest   the tests on the oldest versions that pyproject.toml allows
#   tests/nightly.sh wheel    wheel and sdist, and the quickstart from the installed wheel, far from this clone
#
# PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
clone=$PWD
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

"${PYTHON:-python3}" -m venv "$room/environment"
bin=$room/environment/bin
install() { "$bin/python" -m pip install --disable-pip-version-check --quiet "$@"; }

audit() {
  install 'pip-audit>=2.9,<3'
  "$bin/pip-audit" --requirement constraints.txt --no-deps --disable-pip --strict --progress-spinner off
}

# Old releases warn about themselves and each other, and the tests of constraints.txt are not about them. What starts
# Ray, vLLM or lm-eval is left out: these are held to one line of releases.
lowest() {
  "$bin/python" tests/lowest.py >"$room/lowest.txt"
  install --constraint "$room/lowest.txt" --editable '.[dev,offline,openai,train]'
  "$bin/python" -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile -m "not vllm" \
    --override-ini filterwarnings=default --ignore tests/test_ray_workers.py --ignore tests/test_project.py "$@"
}

wheel() {
  install hatchling
  "$bin/python" -m hatchling build --directory "$room/dist"
  tar --extract --gzip --file "$room"/dist/*.tar.gz --directory "$room"
  (cd "$room"/concept_forget-*/ && "$bin/python" -m hatchling build --target wheel --directory "$room/again")
  # What comes by the sdist is what comes by the wheel.
  cmp <(unzip -Z1 "$room"/dist/*.whl | sort) <(unzip -Z1 "$room"/again/*.whl | sort)

  rm -rf "$room/environment" "$room"/concept_forget-*/
  "${PYTHON:-python3}" -m venv "$room/environment"
  install --constraint constraints.txt "$(echo "$room"/dist/*.whl)[offline]"
  mkdir "$room/elsewhere"
  cd "$room/elsewhere"
  "$bin/concept-forget" doctor
  "$bin/concept-forget" init concept.yaml --name "Mira Kestrel"
  quickstart=$("$bin/python" -c 'from concept_forget.workspace import data_folder; print(data_folder("pipelines"))')/quickstart.yaml
  case $quickstart in "$clone"/*) echo "the clone's own config was found: $quickstart" >&2; exit 1 ;; esac
  "$bin/concept-forget" run "$quickstart" --gate
  test -s runs/quickstart/report/report.html
}

job=${1:?audit, lowest or wheel}
shift
case $job in
  audit | lowest | wheel) "$job" "$@" ;;
  *) echo "there is no job '$job': audit, lowest or wheel" >&2; exit 2 ;;
esac
