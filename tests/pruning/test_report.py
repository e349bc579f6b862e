from csbrnn.pruning.report import MatrixReport, Report


def test_the_printed_table():
    report = Report(
        (
            MatrixReport("rnn.weight_ih_l0", (64, 8), "csb(block=4x4,row_group=1)", 0.25, 128, 512),
            MatrixReport("rnn.weight_hh_l0", (64, 16), "unstructured()", 0.5, 1024, 1024),
        ),
        phase="admm",
        step=20,
        total_steps=100,
    )
    assert str(report).splitlines() == [
        "weight            shape  pattern                     target  density   kept",
        "rnn.weight_ih_l0  64x8   csb(block=4x4,row_group=1)  0.2500   0.2500    128",
        "rnn.weight_hh_l0  64x16  unstructured()              0.5000   1.0000  1,024",
        "all                                                           0.7500  1,152",
        "step 20 of 100 (admm); the schedule has not ended",
    ]
    assert report.pruning_rate == 4 / 3


def test_schedules_that_have_ended_or_not_begun():
    assert str(Report((), "complete", 9, 9)).endswith("step 9 of 9 (complete)")
    assert str(Report((), "dense", 0, 9)).endswith("the schedule has not begun")


def test_rounding_is_told():
    report = Report((), "retraining", 5, 9, rounded_to="int8")
    assert str(report).endswith(
        "step 5 of 9 (retraining); forward passes round to int8; the schedule has not ended"
    )
