// The engine in Verilator. Everything goes through the load stream.
#include "Vcsbrnn_accelerator.h"
#include "verilated.h"

#include "driver.h"
#include "spaces.h"

#include <type_traits>

double sc_time_stamp() { return 0; }

// Sixteen bits of a port, which is an integer or, above 64 bits, an array of them.
template <class Port>
void put(Port &port, size_t k, uint16_t value)
{
    if constexpr (std::is_integral<Port>::value) {
        uint64_t bits = port;
        bits &= ~(uint64_t(0xFFFF) << (16 * k));
        port = Port(bits | uint64_t(value) << (16 * k));
    } else {
        auto shift = 16 * (k % 2);
        port[k / 2] = (port[k / 2] & ~(0xFFFFu << shift)) | uint32_t(value) << shift;
    }
}

template <class Port>
uint16_t get(const Port &port, size_t k)
{
    if constexpr (std::is_integral<Port>::value)
        return uint16_t(uint64_t(port) >> (16 * k));
    else
        return uint16_t(port[k / 2] >> (16 * (k % 2)));
}

struct Dut {
    VerilatedContext context;
    Vcsbrnn_accelerator top{&context};

    void reset(bool value) { top.rst = value; }
    void eval()
    {
        top.clk = 0;
        top.eval();
    }
    void tick()
    {
        eval();
        top.clk = 1;
        top.eval();
    }
    void set_load(bool valid, uint32_t value)
    {
        top.s_axis_load_tvalid = valid;
        top.s_axis_load_tdata = value;
    }
    bool load_ready() const { return top.s_axis_load_tready; }
    bool ready() const { return top.ready; }
    void set_start(bool start, uint32_t steps)
    {
        top.start = start;
        top.steps = steps;
    }
    void set_input(bool valid, bool last, const uint16_t *values, size_t lanes)
    {
        top.s_axis_input_tvalid = valid;
        top.s_axis_input_tlast = last;
        for (size_t k = 0; k < lanes; k++)
            put(top.s_axis_input_tdata, k, values[k]);
    }
    bool input_ready() const { return top.s_axis_input_tready; }
    void set_output_ready(bool ready) { top.m_axis_output_tready = ready; }
    bool output_valid() const { return top.m_axis_output_tvalid; }
    bool get_output(uint16_t *values, size_t lanes) const
    {
        for (size_t k = 0; k < lanes; k++)
            values[k] = get(top.m_axis_output_tdata, k);
        return top.m_axis_output_tlast;
    }
    uint64_t cycles() const { return top.cycles; }
    uint64_t state() const { return top.state; }
    uint64_t code() const { return top.code; }
    uint64_t pc() const { return top.pc; }

    size_t limbs(uint32_t space) const
    {
        driver::check(space < SPACE_COUNT && SPACE_LIMBS[space], "no such memory");
        return SPACE_LIMBS[space];
    }
    bool poke(const uint32_t *, uint32_t, const uint32_t *, size_t) { return false; }
};

int main(int argc, char **argv)
{
    driver::check(argc == 3, "usage: STIMULUS OUTCOME");
    static Dut dut;
    return driver::run(dut, argv[1], argv[2]);
}
