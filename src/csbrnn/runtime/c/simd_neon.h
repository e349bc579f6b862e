/* Arm NEON on AArch64: 4 lanes. See simd_baseline.h for the contract of each function. */
#ifndef CSBRNN_SIMD_NEON_H
#define CSBRNN_SIMD_NEON_H

#define VL 4
typedef float32x4_t vf;

static inline vf v_load(const float *p) { return vld1q_f32(p); }
static inline void v_store(float *p, vf a) { vst1q_f32(p, a); }
static inline vf v_load_bf16(const uint16_t *p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
static inline void v_split_bf16(vf *even, vf *odd, const uint16_t *p) {
    const uint32x4_t both = vreinterpretq_u32_u16(vld1q_u16(p));
    *even = vreinterpretq_f32_u32(vshlq_n_u32(both, 16));
    *odd = vreinterpretq_f32_u32(vandq_u32(both, vdupq_n_u32(0xffff0000u)));
}
static inline vf v_set1(float a) { return vdupq_n_f32(a); }
static inline vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
static inline vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
static inline vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
static inline vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
static inline vf v_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }
static inline vf v_min(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
static inline vf v_max(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
static inline vf v_abs(vf a) { return vabsq_f32(a); }
static inline vf v_neg(vf a) { return vnegq_f32(a); }
static inline vf v_round(vf a) { return vrndnq_f32(a); }
static inline vf v_exp2i(vf n) {
    int32x4_t biased = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(biased, 23));
}
static inline vf v_where_less(vf a, vf b, vf yes, vf no) {
    return vbslq_f32(vcltq_f32(a, b), yes, no);
}
static inline vf v_where_nan(vf a, vf yes, vf no) { return vbslq_f32(vceqq_f32(a, a), no, yes); }
static inline vf v_bits_and_or(vf a, int32_t keep, int32_t set) {
    int32x4_t i = vandq_s32(vreinterpretq_s32_f32(a), vdupq_n_s32(keep));
    return vreinterpretq_f32_s32(vorrq_s32(i, vdupq_n_s32(set)));
}
static inline vf v_exponent(vf a) {
    return vcvtq_f32_u32(vshrq_n_u32(vreinterpretq_u32_f32(a), 23));
}
static inline vf v_spread8(const float *x, uint32_t c, unsigned piece) {
    return vld1q_dup_f32(x + (c >> 16 * (piece / 2) & 0xffff));
}
static inline vf v_spread4(const float *x, uint64_t c, unsigned piece) {
    return vld1q_dup_f32(x + (c >> 16 * piece & 0xffff));
}

#endif
