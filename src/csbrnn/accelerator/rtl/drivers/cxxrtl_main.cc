// The engine in CXXRTL. SPACE_LIMBS and SPACE_NAMES are generated: limbs and names of memories.
#include "sim.h"

#include "driver.h"
#include "spaces.h"

#include <map>

using Top = cxxrtl_design::p_csbrnn__accelerator;

struct Dut {
    Top top;
    bool settled = false;
    cxxrtl::debug_items items;
    std::map<std::string, cxxrtl::debug_item *> memories;

    Dut()
    {
        top.debug_info(&items, nullptr, "");
        for (auto &entry : items.table)
            for (auto &item : entry.second)
                if (item.type == CXXRTL_MEMORY)
                    memories[entry.first] = &item;
    }

    void reset(bool value) { top.p_rst.set<bool>(value); }
    void eval()
    {
        top.p_clk.set<bool>(false);
        top.step();
        settled = true;
    }
    void tick()
    {
        if (!settled)
            eval();
        top.p_clk.set<bool>(true);
        top.step();
        settled = false;
    }
    void set_load(bool valid, uint32_t value)
    {
        top.p_s__axis__load__tvalid.set<bool>(valid);
        top.p_s__axis__load__tdata.set<uint32_t>(value);
    }
    bool load_ready() const { return top.p_s__axis__load__tready.get<bool>(); }
    bool ready() const { return top.p_ready.get<bool>(); }
    void set_start(bool start, uint32_t steps)
    {
        top.p_start.set<bool>(start);
        top.p_steps.set<uint32_t>(steps);
    }
    void set_input(bool valid, bool last, const uint16_t *values, size_t lanes)
    {
        top.p_s__axis__input__tvalid.set<bool>(valid);
        top.p_s__axis__input__tlast.set<bool>(last);
        auto &data = top.p_s__axis__input__tdata.data;
        for (size_t k = 0; k < lanes; k++) {
            auto shift = 16 * (k % 2);
            data[k / 2] = (data[k / 2] & ~(0xFFFFu << shift)) | uint32_t(values[k]) << shift;
        }
    }
    bool input_ready() const { return top.p_s__axis__input__tready.get<bool>(); }
    void set_output_ready(bool ready) { top.p_m__axis__output__tready.set<bool>(ready); }
    bool output_valid() const { return top.p_m__axis__output__tvalid.get<bool>(); }
    bool get_output(uint16_t *values, size_t lanes) const
    {
        auto &data = top.p_m__axis__output__tdata.data;
        for (size_t k = 0; k < lanes; k++)
            values[k] = uint16_t(data[k / 2] >> (16 * (k % 2)));
        return top.p_m__axis__output__tlast.get<bool>();
    }
    uint64_t cycles() const { return top.p_cycles.get<uint32_t>(); }
    uint64_t state() const { return top.p_state.get<uint8_t>(); }
    uint64_t code() const { return top.p_code.get<uint8_t>(); }
    uint64_t pc() const { return top.p_pc.get<uint16_t>(); }

    size_t limbs(uint32_t space) const
    {
        driver::check(space < SPACE_COUNT && SPACE_LIMBS[space], "no such memory");
        return SPACE_LIMBS[space];
    }
    // Puts an entry of a packet into its memory; false where that has to go the long way.
    bool poke(const uint32_t *head, uint32_t index, const uint32_t *entry, size_t limbs)
    {
        uint32_t space = head[0] & 15, group = head[0] >> 8 & 255, stream = head[0] >> 16 & 255;
        const char *form = SPACE_NAMES[space];
        if (!form)
            return false;
        if (head != poked_head) {
            char name[256];
            std::snprintf(name, sizeof name, form, unsigned(group), unsigned(stream));
            auto found = memories.find(name);
            poked = found == memories.end() ? nullptr : found->second;
            poked_head = head;
        }
        if (!poked)
            return false;
        size_t row = head[1] + index - poked->zero_at;
        driver::check(row < poked->depth, "the address is out of range");
        for (size_t k = 0; k < limbs; k++)
            poked->curr[row * limbs + k] = entry[k];
        return true;
    }
    const uint32_t *poked_head = nullptr;
    cxxrtl::debug_item *poked = nullptr;
};

int main(int argc, char **argv)
{
    static Dut dut;
    if (argc == 2 && std::string(argv[1]) == "--memories") {
        for (auto &memory : dut.memories)
            std::printf("%s\n", memory.first.c_str());
        return 0;
    }
    driver::check(argc == 3, "usage: STIMULUS OUTCOME");
    return driver::run(dut, argv[1], argv[2]);
}
