// Runs the engine in a compiled simulation: reads a stimulus, writes an outcome.
//
// A Dut has: reset(bool), eval() (settle combinational outputs), tick() (one clock edge, then
// settled), setters and getters of the ports below, and poke() for loading memories directly.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace driver {

constexpr uint64_t kMagic = 0x314d495362737263;  // file format 1, see exchange.py
enum State { kIdle = 0, kRunning = 1, kDone = 2, kError = 3 };

struct Stimulus {
    uint64_t lanes, steps, seed, limit, drain_cycles, direct, reset_at;
    double input_gaps, output_gaps;
    std::vector<uint32_t> load;
    std::vector<uint16_t> inputs;
    std::vector<uint8_t> input_last;
};

inline void check(bool good, const char *what)
{
    if (!good) {
        std::fprintf(stderr, "driver: %s\n", what);
        std::exit(3);
    }
}

template <class T>
void read(std::FILE *file, T *values, size_t count)
{
    check(std::fread(values, sizeof(T), count, file) == count, "the stimulus is too short");
}

inline Stimulus read_stimulus(const char *path)
{
    std::FILE *file = std::fopen(path, "rb");
    check(file != nullptr, "can't open the stimulus");
    uint64_t head[10];
    Stimulus s;
    read(file, head, 10);
    check(head[0] == kMagic, "not a stimulus file");
    s.lanes = head[3], s.steps = head[4], s.seed = head[5], s.limit = head[6];
    s.drain_cycles = head[7], s.direct = head[8], s.reset_at = head[9];
    read(file, &s.input_gaps, 1);
    read(file, &s.output_gaps, 1);
    s.load.resize(head[1]);
    s.inputs.resize(head[2] * s.lanes);
    s.input_last.resize(head[2]);
    read(file, s.load.data(), s.load.size());
    read(file, s.inputs.data(), s.inputs.size());
    read(file, s.input_last.data(), s.input_last.size());
    std::fclose(file);
    return s;
}

// The same in outcome.py: a number in [0, 1) for a cycle.
inline double hashed(uint64_t counter, uint64_t seed)
{
    uint64_t z = (counter + 1) * 0x9E3779B97F4A7C15u + seed * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return double(z ^ z >> 31) / 18446744073709551616.0;
}

template <class Dut>
void send(Dut &dut, const uint32_t *beats, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        dut.set_load(true, beats[k]);
        dut.eval();
        while (!dut.load_ready())
            dut.tick();
        dut.tick();
    }
    dut.set_load(false, 0);
}

// Loads packet by packet. The last entry of each goes through the load stream even if the others
// are put straight into the memory: streams learn from it where their memories end.
template <class Dut>
void load(Dut &dut, const Stimulus &s)
{
    size_t at = 0;
    while (at < s.load.size()) {
        check(at + 3 <= s.load.size(), "the load stream ends within a header");
        const uint32_t *head = &s.load[at];
        uint32_t count = head[2];
        size_t limbs = dut.limbs(head[0] & 15);
        size_t total = 3 + count * limbs;
        check(at + total <= s.load.size(), "the load stream ends within a packet");
        uint32_t direct = 0;
        if (s.direct)
            while (direct + 1 < count && dut.poke(head, direct, head + 3 + direct * limbs, limbs))
                direct++;
        const uint32_t rest[3] = {head[0], head[1] + direct, count - direct};
        send(dut, rest, 3);
        send(dut, head + 3 + direct * limbs, (count - direct) * limbs);
        at += total;
    }
    for (int k = 0; k < 8; k++)  // the last entry is on its way
        dut.tick();
}

template <class Dut>
void load_and_wait(Dut &dut, const Stimulus &s)
{
    load(dut, s);
    dut.eval();
    for (uint64_t k = 0; !dut.ready(); k++) {
        check(k < s.limit, "the engine does not become ready");
        dut.tick();
    }
}

template <class Dut>
void reset(Dut &dut)
{
    dut.set_load(false, 0);
    dut.set_start(false, 0);
    dut.set_input(false, false, nullptr, 0);
    dut.set_output_ready(false);
    dut.reset(true);
    for (int k = 0; k < 3; k++)
        dut.tick();
    dut.reset(false);
}

struct Outcome {
    std::vector<uint64_t> cycles;
    std::vector<uint8_t> last;
    std::vector<uint16_t> values;
    uint64_t offered = 0, idle = 0;
};

// Runs all steps, or until a cycle.
template <class Dut>
Outcome run_steps(Dut &dut, const Stimulus &s, uint64_t until)
{
    Outcome o;
    std::vector<uint16_t> beat(s.lanes);
    dut.set_start(true, uint32_t(s.steps));
    for (uint64_t cycle = 0; o.idle < s.drain_cycles && cycle <= until; cycle++) {
        bool valid = o.offered < s.input_last.size() && hashed(2 * cycle, s.seed) >= s.input_gaps;
        if (valid)
            dut.set_input(true, s.input_last[o.offered], &s.inputs[o.offered * s.lanes], s.lanes);
        else
            dut.set_input(false, false, nullptr, 0);
        bool ready = o.idle || hashed(2 * cycle + 1, s.seed) >= s.output_gaps;
        dut.set_output_ready(ready);
        dut.eval();
        o.offered += valid && dut.input_ready();
        bool taken = ready && dut.output_valid();
        if (taken) {
            o.cycles.push_back(cycle);
            o.last.push_back(dut.get_output(beat.data(), s.lanes));
            o.values.insert(o.values.end(), beat.begin(), beat.end());
        }
        dut.tick();
        dut.set_start(false, 0);
        bool over = cycle > 3 && dut.state() != kRunning;  // what is shown is a few cycles old
        o.idle += over && !taken;                          // what is queued is part of the run
    }
    return o;
}

template <class Dut>
int run(Dut &dut, const char *stimulus_path, const char *outcome_path)
{
    const Stimulus s = read_stimulus(stimulus_path);
    reset(dut);
    if (s.reset_at < s.limit) {
        load_and_wait(dut, s);
        run_steps(dut, s, s.reset_at);
        reset(dut);
    }
    load_and_wait(dut, s);
    const Outcome o = run_steps(dut, s, s.limit);

    std::FILE *file = std::fopen(outcome_path, "wb");
    check(file != nullptr, "can't write the outcome");
    const uint64_t head[7] = {kMagic,     o.cycles.size(), dut.cycles(), dut.state(),
                              dut.code(), dut.pc(), o.idle < s.drain_cycles};
    std::fwrite(head, sizeof(uint64_t), 7, file);
    std::fwrite(o.cycles.data(), sizeof(uint64_t), o.cycles.size(), file);
    std::fwrite(o.values.data(), sizeof(uint16_t), o.values.size(), file);
    std::fwrite(o.last.data(), 1, o.last.size(), file);
    return std::fclose(file) ? 3 : 0;
}

}  // namespace driver
