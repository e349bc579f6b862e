// Loads the engine, runs it, and compares every output beat and the number of cycles.
// Prints one line that begins with PASS or FAIL. Reads load.hex, input.hex and expected.hex from
// the working directory. Comparisons are by === and !==, for which x and z are values: with == and !=
// what is unknown would count as right.
`timescale 1ns / 1ps

module csbrnn_tb;
    localparam BEAT = $beat_bits;       // bits of a beat; the bit above is TLAST
    localparam LOADS = $loads;
    localparam INPUTS = $inputs;
    localparam OUTPUTS = $outputs;
    localparam STEPS = $steps;
    localparam CYCLES = $cycles;        // the cycle model's; checked exactly
    localparam LIMIT = $limit;          // cycles of the run
    localparam LOAD_LIMIT = $load_limit;
    localparam READY_LIMIT = $ready_limit;

    reg [31:0] load [0:LOADS - 1];
    reg [BEAT:0] in [0:INPUTS - 1];
    reg [BEAT:0] expected [0:OUTPUTS - 1];

    reg clk = 0, rst = 1, start = 0;
    reg load_valid = 0, input_valid = 0, output_ready = 1;
    integer loaded = 0, given = 0, taken = 0, wrong = 0, age = 0;
    wire ready, load_ready, input_ready, output_valid, output_last;
    wire [1:0] state;
    wire [3:0] code;
    wire [11:0] pc;
    wire [31:0] cycles;
    wire [BEAT - 1:0] output_data;
    wire [31:0] load_data = load[loaded];
    wire [BEAT:0] input_beat = in[given];

    csbrnn_accelerator dut (
        .clk(clk), .rst(rst), .start(start), .steps(STEPS), .ready(ready),
        .state(state), .code(code), .pc(pc), .cycles(cycles),
        .s_axis_load_tdata(load_data), .s_axis_load_tvalid(load_valid),
        .s_axis_load_tready(load_ready),
        .s_axis_input_tdata(input_beat[BEAT - 1:0]), .s_axis_input_tlast(input_beat[BEAT]),
        .s_axis_input_tvalid(input_valid), .s_axis_input_tready(input_ready),
        .m_axis_output_tdata(output_data), .m_axis_output_tlast(output_last),
        .m_axis_output_tvalid(output_valid), .m_axis_output_tready(output_ready)
    );

    always #5 clk = ~clk;

    initial begin
        $$readmemh("load.hex", load);
        $$readmemh("input.hex", in);
        $$readmemh("expected.hex", expected);
        repeat (4) @(negedge clk);
        rst = 0;
        load_valid = 1;
        while (loaded < LOADS && age < LOAD_LIMIT) begin
            @(posedge clk);
            age = age + 1;
            if (load_ready) begin
                #1 loaded = loaded + 1;
                if (loaded == LOADS) load_valid = 0;
            end
        end
        repeat (8) @(negedge clk);
        age = 0;
        while (loaded == LOADS && ready !== 1 && state !== 3 && age < READY_LIMIT) begin
            @(negedge clk);
            age = age + 1;
        end
        if (loaded < LOADS)
            $$display("FAIL: %0d of %0d beats loaded after %0d cycles", loaded, LOADS, LOAD_LIMIT);
        else if (state === 3)
            $$display("FAIL: stopped with code %0d at loading", code);
        else if (ready !== 1)
            $$display("FAIL: not ready %0d cycles after loading", READY_LIMIT);
        else
            run;
        $$finish;
    end

    task run;
        begin
            age = 0;
            start = 1;
            input_valid = 1;
            @(negedge clk);
            start = 0;
            repeat (4) @(negedge clk);
            while (state === 1 && age < LIMIT) begin
                @(negedge clk);
                age = age + 1;
            end
            repeat (160) @(negedge clk);
            if (state === 3)
                $$display("FAIL: stopped with code %0d at pc %0d", code, pc);
            else if (state !== 2)
                $$display("FAIL: still running after %0d cycles, at pc %0d", age, pc);
            else if (taken !== OUTPUTS || wrong !== 0)
                $$display("FAIL: %0d of %0d output beats came, %0d of them wrong",
                         taken, OUTPUTS, wrong);
            else if (cycles !== CYCLES)
                $$display("FAIL: %0d cycles, and %0d were to be expected", cycles, CYCLES);
            else
                $$display("PASS: %0d output beats, %0d cycles", taken, cycles);
        end
    endtask

    always @(posedge clk) if (input_valid && input_ready) begin
        #1 given = given + 1;
        if (given == INPUTS) input_valid = 0;
    end

    always @(posedge clk) if (!rst && output_valid && output_ready) begin
        if (taken >= OUTPUTS || {output_last, output_data} !== expected[taken]) begin
            if (wrong < 8)
                $$display("beat %0d: %h, expected %h", taken, {output_last, output_data},
                         expected[taken]);
            wrong = wrong + 1;
        end
        taken = taken + 1;
    end
endmodule
