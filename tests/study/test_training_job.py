import dataclasses
import gc
import json

import pytest
import torch

from csbrnn.errors import ArgumentError, ScheduleWarning
from csbrnn.model import load
from csbrnn.study import jobs_of, read_recipe, read_report, run_job
from csbrnn.study.training_job import PACKED

from .test_recipe import SMALL


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "t.txt"
    path.write_text("to be or not to be, that is the question\n" * 60)
    return path


def jobs(text, **changes):
    tables = SMALL | {"start": {"steps": 3}, "task": {"name": "char-lm"}} | changes
    return jobs_of(read_recipe(tables, data=str(text)))


@pytest.fixture(scope="module")
def done(text, tmp_path_factory):
    """The directory of a study whose dense networks and first two trials are done."""
    root = tmp_path_factory.mktemp("study")
    for job in jobs(text)[:4]:
        run_job(job, root)
    return root


def test_a_trial_reports_what_is_stored(text, done):
    stripes = jobs(text)[3]
    report = read_report(stripes, done)
    packed = load(stripes.directory(done) / PACKED)
    pruned = [m for name, m in packed.products.items() if name.startswith("rnn/")]
    assert packed.precision == "int8"
    assert report["total_weights"] == sum(matrix.size for matrix in pruned) == 4 * 8 * (64 + 8)
    assert report["kept_weights"] == sum(matrix.kept for matrix in pruned)
    assert report["total_bits_int8"] == 8 * sum(matrix.nbytes for matrix in pruned)
    assert report["nbytes_int8"] == packed.nbytes
    assert report["recipe"]["pattern"] == "csb(block=4x8,row_group=4)"
    assert report["settings"]["recipe"]["pruning_rate"] == 8
    assert not (stripes.directory(done) / "checkpoint.pt").exists()


def test_the_reference_counts_the_same_matrices(text, done):
    report = read_report(jobs(text)[1], done)
    assert report["total_bits_fp32"] == 32 * 4 * 8 * (64 + 8)
    assert "kept_weights" not in report


def test_cells_without_a_fused_module_are_counted_too(text, tmp_path):
    start, dense, *_ = jobs(text, network={"hidden_size": 8, "cell": "ligru"})
    for job in (start, dense):
        run_job(job, tmp_path)
    assert read_report(dense, tmp_path)["total_bits_fp32"] == 32 * 2 * 8 * (64 + 8)


def test_trials_begin_with_the_start_and_learn_from_the_reference(text, done):
    start, dense, trial, *_ = jobs(text)
    assert trial.needs == {"start": start.name, "teacher": dense.name}
    tables = json.loads(json.dumps(SMALL["methods"]))
    tables["admm"]["teacher"] = "start"
    other = jobs(text, methods=tables)[2]
    assert other.needs == {"start": start.name}
    run_job(other, done)
    assert read_report(other, done)["score"] != read_report(trial, done)["score"]


def test_the_network_that_trials_need_must_be_there(text, tmp_path):
    with pytest.raises(ArgumentError, match=r"weights\.pt: can't be read .* delete .* to train it"):
        run_job(jobs(text)[1], tmp_path)


def test_data_that_changes_meanwhile_is_noticed(text, tmp_path):
    (tmp_path / "t.txt").write_text(text.read_text())
    start = jobs(tmp_path / "t.txt")[0]
    (tmp_path / "t.txt").write_text(text.read_text() + "more of it\n")
    with pytest.raises(ArgumentError, match="the data has changed since the study began"):
        run_job(start, tmp_path)


def test_progress_is_passed_on(text, tmp_path):
    seen = []
    run_job(jobs(text)[0], tmp_path, progress=lambda done, loss: seen.append((done, loss)))
    assert [done for done, _ in seen] == [1, 2, 3]
    assert all(torch.tensor([loss for _, loss in seen]) > 0)


def test_a_trial_that_fails_says_so_once(text, done, recwarn):
    job = dataclasses.replace(jobs(text)[2], name="fails")

    def stop(done, loss):
        raise ArgumentError("enough")

    with pytest.raises(ArgumentError, match="enough"):
        run_job(job, done, progress=stop)
    gc.collect()
    assert [str(w.message) for w in recwarn if issubclass(w.category, ScheduleWarning)] == []


def test_reports_that_can_not_be_read_say_what_to_do(text, tmp_path):
    job = jobs(text)[0]
    job.directory(tmp_path).mkdir()
    (job.directory(tmp_path) / "report.json").write_text("{")
    with pytest.raises(ArgumentError, match=r"report\.json: is no JSON: .*; delete it"):
        read_report(job, tmp_path)


def variant(text, pattern, **changes):
    methods = json.loads(json.dumps(SMALL["methods"]))
    methods["admm"] |= changes
    trials = [{"patterns": [pattern], "pruning_rates": [4]}]
    return jobs(text, methods=methods, trials=trials)[-1]


def test_units_are_permuted_before_they_are_pruned(text, done):
    plain, permuted = variant(text, "stripes"), variant(text, "stripes", permute=True)
    for job in (plain, permuted):
        run_job(job, done)
    reports = [read_report(job, done) for job in (plain, permuted)]
    assert reports[0]["kept_weights"] == reports[1]["kept_weights"]
    assert reports[0]["score"] != reports[1]["score"]
    with pytest.raises(ArgumentError, match="permute must be true or false, not 1"):
        variant(text, "stripes", permute=1)


def test_whole_units_leave_a_smaller_network(text, done):
    job = variant(text, "row_column", scope="units")
    run_job(job, done)
    report = read_report(job, done)
    packed = load(job.directory(done) / PACKED)
    rows, _ = packed.products["rnn/weight_hh_l0"].shape
    assert rows < 4 * 8
    assert report["total_bits_int8"] == 8 * sum(
        matrix.nbytes for name, matrix in packed.products.items() if name.startswith("rnn/")
    )
    assert report["score_int8"]["value"] == pytest.approx(report["score"]["value"], abs=0.05)


def test_each_matrix_gets_the_pattern_that_was_chosen(text, done, monkeypatch):
    # Rows that share no columns cost nothing on the input matrix, and all there is on the other.
    def cost(name, pattern, projected):
        return 0.0 if "ih" in name or pattern.row_group == 4 else 1.0

    monkeypatch.setattr("csbrnn.study.shapes.product_time", lambda precision: cost)
    free = "csb(block=1x8,row_group=1)"
    job = variant(text, "stripes", choose=[free])
    run_job(job, done)
    report = read_report(job, done)
    assert report["recipe"]["patterns"] == {
        "rnn.weight_ih_l0": free,
        "rnn.weight_hh_l0": "csb(block=4x8,row_group=4)",
    }
    kept = json.loads((job.directory(done) / "blocks.json").read_text())
    assert kept["patterns"] == report["recipe"]["patterns"]
    assert len(kept["options"]) == 4


def test_a_choice_is_made_once(text, done, monkeypatch):
    job = variant(text, "stripes", choose=["csb(block=2x8,row_group=2)"])
    monkeypatch.setattr("csbrnn.study.shapes.product_time", lambda _: lambda *__: 1.0)
    run_job(job, done)
    first = read_report(job, done)
    (job.directory(done) / "report.json").unlink()
    monkeypatch.setattr("csbrnn.study.shapes.choose_blocks", None)
    run_job(job, done)
    assert read_report(job, done)["recipe"] == first["recipe"]


def test_candidates_must_go_with_the_method(text):
    with pytest.raises(ArgumentError, match="choose must be a list of patterns in text form"):
        variant(text, "stripes", choose="unstructured")
    with pytest.raises(ArgumentError, match="a pattern's name must be one of"):
        variant(text, "stripes", choose=["cubes"])
    gradual = {"name": "gradual", "begin": 0, "end": 5}
    with pytest.raises(ArgumentError, match="block_circulant"):
        variant(text, "stripes", method=gradual, choose=["block_circulant(block=4)"])
