from csbrnn.report.hardware import (
    fixed_point_markdown,
    patterns_markdown,
    synthesis_markdown,
    utilization_markdown,
)


def row(**change):
    found = {
        "case": "sr",
        "arch": "pe256",
        "pattern": "csb",
        "block": "32x32",
        "row_group": 4,
        "goal": 0.97,
        "cycles": 3825.0,
        "latency_cycles": 4430,
        "pes": 256,
        "utilization": 0.99928,
    }
    return found | change


BASELINES = {
    "lock_step": {"utilization": 0.3},
    "lock_step_neighbours": {"utilization": 0.66},
    "unbalanced": {"utilization": 0.9},
}


def test_utilization():
    rows = [
        row(baselines=BASELINES),
        row(block="4x64", goal=None),
        row(row_group=1, case="mt", pes=512),
        row(pattern="banks"),
        row(arch="pe256 of 1 lane"),
    ]
    lines = utilization_markdown({"rows": rows}).splitlines()[4:]
    assert lines == [
        "| SR: LSTM 2 x 1024, 13.5x, 256 | 32x32, row groups of 4 | 3,825 | 4,430 | **99.93%** "
        "| 97.00% | 90.00% | 30.00% / 66.00% |",
        "| SR: LSTM 2 x 1024, 13.5x, 256 | 4x64, stripes of 4 rows | 3,825 | 4,430 | **99.93%** "
        "|  |  |  |",
        "| MT: LSTM 2 x 1500, 12x, 512 | 32x32, free rows | 3,825 | 4,430 | **99.93%** "
        "| 97.00% |  |  |",
    ]


def test_patterns():
    rows = [row(), row(pattern="blocks", block="8x8"), row(arch="pe256 of 1 lane", row_group=1)]
    lines = patterns_markdown({"rows": rows}).splitlines()[4:]
    assert lines == [
        "| block sparsity, 8x8 | 8 x 2 | 3,825 | 99.93% |",
        "| CSB 32x32, free rows | 16 x 1 | 3,825 | 99.93% |",
    ]


def test_fixed_point():
    assert "Not simulated yet" in fixed_point_markdown({})
    bits = {"fp32": 2.0, "fixed16": 2.0001, "fixed12": 1.9999, "characters": 6400}
    reached = {"cycles": 900.0, "pes": 64, "utilization": 0.5}
    demo = {"dense": bits, "pruned": bits | {"pe64": reached, "pe256": reached}}
    text = fixed_point_markdown({"demo": demo})
    assert "6,400 characters" in text
    assert "| pruned | 2.0000 | +0.00010 | -0.00010 |" in text
    assert "900 cycles on 64 PEs (utilization 50.00%)" in text


def synthesized(**change):
    found = {
        "network": "sr",
        "arch": "pe256",
        "pes": 256,
        "family": "xilinx",
        "tools": {"yosys": "Yosys 0.70"},
        "resources": {"lut": 43000, "ff": 60000, "block_ram": 8, "ultra_ram": 512, "dsp": 260},
        "step": {
            "clock_mhz": 200.0,
            "cycles": 3825.0,
            "us_per_step": 19.125,
            "gops_effective": 102.33,
            "gops_dense_equivalent": 1381.4,
        },
        "energy": {"total_nj": 12345.0},
    }
    return found | change


def test_synthesis_says_which_clock_was_measured():
    placed = {"fmax_mhz": 158.25, "fmax_median_mhz": 152.0, "fmax_mhz_by_seed": {"1": 1, "2": 2}}
    rows = [
        synthesized(),
        synthesized(
            network="small",
            pes=16,
            family="ecp5",
            tools={"yosys": "Yosys 0.70", "nextpnr-ecp5": "nextpnr 0.11"},
            resources={"lut": 5588, "ff": 11000, "block_ram": 80, "dsp": 21},
            place_and_route=placed,
        ),
        synthesized(place_and_route=placed | {"fmax_mhz_by_seed": {"1": 1}}),
    ]
    lines = synthesis_markdown({"rows": rows}).splitlines()
    assert lines[4:6] == [
        "| 256, UltraScale+ | 43,000 | 60,000 | 8 + 512 UltraRAMs | 260 | 200, assumed "
        "| SR: LSTM 2 x 1024, 13.5x | 3,825 | 19.1 | 102.3 / 1381.4 | 12.35 |",
        "| 16, ECP5 | 5,588 | 11,000 | 80 | 21 | **158.2**, best of 2; median 152.0 "
        "| LSTM 96 from 40 inputs, 4x | 3,825 | 19.1 | 102.3 / 1381.4 | 12.35 |",
    ]
    assert "| **158.2**, one seed |" in lines[6]
    assert lines[-1] == "Tools: Yosys 0.70; nextpnr 0.11."
